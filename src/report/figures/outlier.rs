//! An outlier's spectrum with the models at its estimated and at its catalogue labels.

use crate::error::Result;
use crate::findings::outliers::{Outlier, Outliers};
use crate::plot::Figure;
use crate::plot::spectrum::NamedSpectrum;
use crate::plot::star::{StarAndModel, star_and_model};
use crate::report::{in_unit, label_title};
use crate::spectra::labels::unit;

/// Draws the figure; `None` for a star whose spectrum is not among those kept.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(outliers: &Outliers, star: &Outlier) -> Result<Option<Figure>> {
    let Some(spectra) = &star.spectra else { return Ok(None) };
    let labels = |values: &[f64]| -> String {
        let named = outliers.label_names.iter().zip(values);
        named
            .map(|(name, value)| format!("{} {} {}", label_title(name), in_unit(*value, unit(name)), unit(name)))
            .map(|label| label.trim_end_matches(" dex").trim_end().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let title_lines = [
        format!("{}: {}", star.id, star.verdict.name()),
        format!("estimate: {}", labels(&star.estimates)),
        format!("catalogue: {}", labels(&star.catalogue)),
    ];
    let models: Vec<NamedSpectrum> =
        [("model at the estimate", &spectra.at_estimate), ("model at the catalogue's labels", &spectra.at_catalogue)]
            .into_iter()
            .filter_map(|(name, flux)| Some(NamedSpectrum { name, flux: flux.as_deref()? }))
            .filter(|model| model.flux.iter().any(|flux| flux.is_finite()))
            .collect();
    star_and_model(&StarAndModel {
        title_lines: &title_lines,
        wavelength: &outliers.grid.wavelength,
        chips: &outliers.grid.chips,
        flux: &spectra.flux,
        error: &spectra.error,
        masked: &spectra.masked,
        windows: &[],
        lines: &[],
        models: &models,
    })
    .map(Some)
}
