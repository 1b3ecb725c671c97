//! Figures as SVG text, and PNG bytes of it, from plain slices: a canvas, axes, a palette, and the drawings built on them.
//!
//! Nothing here reads or writes files, and nothing here computes science beyond what a drawing needs (ranges, counts per cell).
//! Lengths on a page are in units of 1/96 inch: a figure one column wide has 340 of them, one across the page 690.
//!
//! - [`canvas`]: [`render`](canvas::render) makes an SVG of a drawing routine
//! - [`axes`]: a framed panel with ticks, and data drawn in it, clipped
//! - [`legend`]: samples of marks with their meanings
//! - [`marks`]: rectangles, strokes, symbols and letters
//! - [`ticks`]: round tick positions and their labels
//! - [`scale`]: linear and logarithmic axes
//! - [`palette`]: the colours of every figure
//! - [`caption`]: words in the emptier corner of a panel
//! - [`counts`]: many points as counts per cell
//! - [`one_to_one`]: estimated against catalogue labels, with residuals
//! - [`forest`]: values with their intervals, one row per model
//! - [`lines`]: measured values with their intervals against what was varied
//! - [`corner`]: posterior draws, or stars, in every label and pair of labels
//! - [`traces`], [`ranks`]: the chains of a sampler, and whether they have mixed
//! - [`coverage`], [`pit`], [`snr`]: whether errors are honest
//! - [`chips`]: spectra over the chips of a detector
//! - [`line_names`]: spectral lines marked in spectra
//! - [`spectrum_rows`]: rows of spectra: what labels do not tell, gradients of flux, scatter
//! - [`spectrum`]: spectra over each other, and how they differ
//! - [`star`]: one star's spectrum, models of it and residuals
//! - [`sequence`]: spectra above each other, coloured by a label
//! - [`colormap`]: a third quantity as colour
//! - [`kiel`]: surface gravity against effective temperature

pub mod axes;
mod callout;
pub mod canvas;
pub mod caption;
pub mod chips;
pub mod colormap;
pub mod corner;
pub mod counts;
pub mod coverage;
mod density;
mod draws;
mod expected;
mod font;
pub mod forest;
mod grid;
mod joint;
pub mod kiel;
pub mod legend;
pub mod line_names;
pub mod lines;
pub mod marks;
pub mod one_to_one;
pub mod palette;
mod pen;
mod picture;
pub mod pit;
pub mod ranks;
mod sample;
pub mod scale;
pub mod sequence;
pub mod snr;
pub mod spectrum;
pub mod spectrum_rows;
pub mod star;
#[cfg(test)]
mod testing;
pub mod ticks;
pub mod traces;

use crate::error::{Error, Result};

/// Width of a figure that fills one column of a two-column page [1/96 inch].
pub const COLUMN_WIDTH: f64 = 340.0;

/// Width of a figure across the page [1/96 inch].
pub const PAGE_WIDTH: f64 = 690.0;

/// One drawing.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The drawing as an SVG document.
    pub svg: String,
    name: String,
    /// Of the page [1/96 inch].
    size: (u32, u32),
}

impl Figure {
    /// The drawing as an encoded PNG, 192 pixels to the inch of the SVG. It costs many times what the SVG does.
    ///
    /// # Errors
    /// [`Error::Figure`].
    pub fn png(&self) -> Result<Vec<u8>> {
        picture::png_of(&self.svg, self.size).map_err(|detail| Error::Figure { figure: self.name.clone(), detail })
    }
}
