//! Gradient spectra of an anchored Cannon: those of physics, and what stars changed of them.

use crate::error::Result;
use crate::plot::Figure;
use crate::plot::spectrum_rows::{Reference, SpectrumRow, SpectrumRows, spectrum_rows};
use crate::report::figures::latent::marked_lines;
use crate::report::label_title;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::unit;
use crate::training::departures::{Departure, PerStep};

/// Draws a row for the spectrum and one for each label.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(title: &str, grid: &WavelengthGrid, departures: &[Departure]) -> Result<Figure> {
    let row = |departure: &Departure| {
        let PerStep { step, physics, change, correlation } = departure.per_step();
        SpectrumRow {
            title: departure.label.as_deref().map_or("flux \u{2212} 1".into(), label_title),
            unit: departure.label.as_deref().map(|label| format!("per {step} {}", unit(label))).unwrap_or_default(),
            values: physics,
            reference: Some(Reference { name: "change".into(), values: change, is_scaled: false, correlation }),
            ..SpectrumRow::default()
        }
    };
    let rows: Vec<SpectrumRow> = departures.iter().map(row).collect();
    let lines = marked_lines()?;
    let data = SpectrumRows {
        wavelength: &grid.wavelength,
        chips: &grid.chips,
        windows: &[],
        rows: &rows,
        meaning: "physics: the spectrum, and its change with each label",
        reference_meaning: "what the survey's stars changed of it; r: correlation",
        lines: &lines,
        highlighted_meaning: "",
        remark: "",
    };
    spectrum_rows(title, &data)
}
