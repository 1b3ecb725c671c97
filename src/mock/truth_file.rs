//! `truth.csv`: what no real survey knows, one row per spectrum.

use std::path::Path;

use super::plan::Star;
use crate::data::files;
use crate::error::{Error, Result};

/// Labels whose column in the catalogue has another name than the input of the spectra.
const BY_CATALOGUE: [(&str, &str); 3] = [("vmicro", "vmic_kms"), ("ci_fe", "c_fe"), ("tiii_fe", "ti_fe")];

/// A star with what only its observation decides.
pub(super) struct Truth<'a> {
    /// The star.
    pub star: &'a Star,
    /// Velocity left in the coadd: that of a visit, weighted as the visits are [km/s].
    pub residual_kms: f64,
}

/// Writes the table.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write(path: &Path, input_names: &[String], rows: &[Truth]) -> Result<()> {
    let malformed = |err: csv::Error| Error::format(path, err.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let before = ["apogee_id", "field"];
    let after = [
        "snr_asked",
        "n_visits",
        "h_mag",
        "extinction_k",
        "velocity_kms",
        "velocity_residual_kms",
        "error_scale",
        "companion_flux_ratio",
        "companion_velocity_kms",
        "pathology",
    ];
    let again: Vec<(&str, usize)> = BY_CATALOGUE
        .into_iter()
        .filter_map(|(name, input)| Some((name, input_names.iter().position(|known| known == input)?)))
        .collect();
    let header = before.into_iter().chain(input_names.iter().map(String::as_str)).chain(after);
    let header = header.chain(again.iter().map(|(name, _)| *name));
    writer.write_record(header).map_err(malformed)?;
    for Truth { star, residual_kms } in rows {
        let number = |value: f64| format!("{value:.6}");
        let companion = star.companion.as_ref();
        let mut record = vec![star.id.clone(), star.field.name.to_string()];
        record.extend(star.inputs.iter().map(|value| number(*value)));
        record.extend([number(star.snr), star.visits.len().to_string()]);
        record.extend([star.h_mag, star.extinction_k, star.velocity_kms, *residual_kms, star.error_scale].map(number));
        record.push(companion.map_or(String::new(), |companion| number(companion.flux_ratio)));
        record.push(companion.map_or(String::new(), |companion| number(companion.velocity_kms)));
        record.push(star.pathology.tag().to_string());
        record.extend(again.iter().map(|(_, input)| number(star.inputs[*input])));
        writer.write_record(&record).map_err(malformed)?;
    }
    let bytes = writer.into_inner().map_err(|err| Error::format(path, err.to_string()))?;
    files::write_bytes(path, bytes)
}
