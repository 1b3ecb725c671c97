//! The shape of what passes from layer to layer, and what layers take of memory.

/// Shape of what a layer passes on for one star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Numbers in no order.
    Vector(usize),
    /// Channels along the spectrum.
    Sequence {
        /// Number of channels.
        channels: usize,
        /// Pixels, or what pooling left of them.
        length: usize,
    },
}

impl Shape {
    /// Numbers per star.
    pub fn size(self) -> usize {
        match self {
            Self::Vector(width) => width,
            Self::Sequence { channels, length } => channels * length,
        }
    }

    /// Channels and length; a vector is one channel.
    pub(super) fn dims(self) -> (usize, usize) {
        match self {
            Self::Vector(width) => (1, width),
            Self::Sequence { channels, length } => (channels, length),
        }
    }

    /// Channels and length of pixels in order, which `what` needs.
    ///
    /// # Errors
    /// That there is no order.
    pub(super) fn sequence(self, what: &str) -> Result<(usize, usize), String> {
        match self {
            Self::Sequence { channels, length } => Ok((channels, length)),
            Self::Vector(_) => {
                Err(format!("{what} needs pixels in order; after a dense layer or components there are none"))
            }
        }
    }
}

/// What layers take of memory, counted in numbers; real ones, which do not overflow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Size {
    /// Weights.
    pub weights: f64,
    /// Values that pass from layer to layer for each star.
    pub values: f64,
}

/// Outputs of a layer beyond which it would be a slip of the pen.
pub(super) const MOST_WIDTH: usize = 65_536;

/// What is wrong with a number that must be at least 1.
///
/// # Errors
/// That it is 0.
pub(super) fn at_least_one(value: usize, name: &str) -> Result<usize, String> {
    match value {
        0 => Err(format!("{name} must be at least 1")),
        _ => Ok(value),
    }
}

/// What is wrong with a number of outputs.
///
/// # Errors
/// That it is 0, or a slip of the pen.
pub(super) fn width_of(value: usize, name: &str) -> Result<usize, String> {
    match at_least_one(value, name)? {
        value if value > MOST_WIDTH => Err(format!("{name} must be at most {MOST_WIDTH}")),
        value => Ok(value),
    }
}
