//! What may be wrong with a file that came, or that lay there already.

/// Why a file is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It came to harm, or is another one: it may come better.
    Damaged(String),
    /// It is whole, and has not what is wanted of it: nor will it the next time.
    Unfit(String),
}

impl Flaw {
    /// What is wrong, in words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Damaged(reason) | Self::Unfit(reason) => reason,
        }
    }
}
