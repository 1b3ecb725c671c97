//! The colours of every figure: the colour-blind-safe set of Okabe & Ito, with two more, for kinds, two ramps for amounts.

use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};

/// An RGB colour with an opacity in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Color {
    /// Red, green, blue.
    pub rgb: (u8, u8, u8),
    /// Opacity: 0 is invisible, 1 hides what lies below.
    pub alpha: f64,
}

impl Color {
    /// An opaque colour.
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { rgb: (red, green, blue), alpha: 1.0 }
    }

    /// The same colour with this opacity.
    pub const fn faded(self, alpha: f64) -> Self {
        Self { rgb: self.rgb, alpha }
    }

    /// The opaque colour a `fraction` of the way from this one to `other`.
    pub fn towards(self, other: Self, fraction: f64) -> Self {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        let mix = |a: u8, b: u8| (f64::from(a) + fraction * (f64::from(b) - f64::from(a))).round() as u8;
        Self::new(mix(self.rgb.0, other.rgb.0), mix(self.rgb.1, other.rgb.1), mix(self.rgb.2, other.rgb.2))
    }
}

/// Text, frames and reference lines.
pub const BLACK: Color = Color::new(0, 0, 0);
/// The page.
pub const WHITE: Color = Color::new(255, 255, 255);
/// Secondary marks: flagged stars, zero lines.
pub const GREY: Color = Color::new(110, 110, 110);
/// First kind of data.
pub const BLUE: Color = Color::new(0, 114, 178);
/// Second kind of data, and warnings.
pub const VERMILLION: Color = Color::new(213, 94, 0);
/// Third kind of data.
pub const GREEN: Color = Color::new(0, 158, 115);
/// Fourth kind of data.
pub const ORANGE: Color = Color::new(230, 159, 0);
/// Fifth kind of data.
pub const PURPLE: Color = Color::new(204, 121, 167);
/// Sixth kind of data.
pub const SKY: Color = Color::new(86, 180, 233);

/// Seventh kind of data.
pub const WINE: Color = Color::new(136, 34, 85);
/// Eighth kind of data.
pub const SLATE: Color = Color::new(70, 70, 70);
/// Where values lie by chance.
pub const BAND: Color = Color::new(222, 222, 222);

/// Colours of kinds in the order in which figures use them.
pub const KINDS: [Color; 8] = [BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, WINE, SLATE];

/// Colour of one of so many kinds: few have colours that nobody confuses, many are a sequence.
pub fn kind(index: usize, n_kinds: usize) -> Color {
    match KINDS.get(index) {
        Some(color) if n_kinds <= KINDS.len() => *color,
        _ => viridis(0.92 * index as f64 / (n_kinds.max(2) - 1) as f64),
    }
}

/// Amount as depth of blue, for counts per cell on a white page: 0 is pale, 1 nearly black.
pub fn depth(fraction: f64) -> Color {
    let (pale, dark) = (Color::new(198, 219, 239), Color::new(3, 25, 66));
    if fraction < 0.5 { pale.towards(BLUE, 2.0 * fraction) } else { BLUE.towards(dark, 2.0 * fraction - 1.0) }
}

/// Amount as hue (viridis), for points coloured by a third quantity: 0 is violet, 1 yellow.
pub fn viridis(fraction: f64) -> Color {
    let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
    let plotters::style::RGBColor(red, green, blue) = ViridisRGB.get_color(fraction);
    Color::new(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_reach_their_ends_and_survive_any_amount() {
        assert_eq!(depth(0.5), BLUE);
        assert_eq!(depth(0.0), Color::new(198, 219, 239));
        assert_eq!(depth(7.0), depth(1.0));
        assert_eq!(depth(f64::NAN), depth(f64::NAN));
        assert_eq!(viridis(-1.0), viridis(0.0));
        assert_ne!(viridis(0.0), viridis(1.0));
        viridis(f64::NAN);
    }
}
