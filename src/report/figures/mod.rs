//! The figures of a run, each from plain data to SVG, most to PNG too.

pub mod calibration;
pub mod comparison;
pub mod departures;
pub mod emulator;
pub mod lab;
pub mod latent;
pub mod one_to_one;
pub mod outlier;
pub mod repeats;
pub mod slopes;
pub mod spectrum;
pub mod sweep;
pub mod training_curves;

use std::path::Path;

use crate::data::files;
use crate::error::Result;
use crate::plot::Figure;

/// Writes a figure as `<name>.svg` and `<name>.png` into a folder.
///
/// # Errors
/// [`crate::error::Error::Figure`], [`crate::error::Error::Io`].
pub fn write(folder: &Path, name: &str, figure: &Figure) -> Result<()> {
    write_svg(folder, name, figure)?;
    files::write_bytes(&folder.join(format!("{name}.png")), figure.png()?)
}

/// Writes a figure as `<name>.svg` alone, where many would be drawn for a page that shows this.
///
/// # Errors
/// [`crate::error::Error::Io`].
pub fn write_svg(folder: &Path, name: &str, figure: &Figure) -> Result<()> {
    files::write_bytes(&folder.join(format!("{name}.svg")), &figure.svg)
}
