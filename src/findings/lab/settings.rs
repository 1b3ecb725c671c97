//! `[lab]`: what the lab shows.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[lab]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabSettings {
    /// The Cannon to look into, one without latent causes; empty for the first of the experiment, a quadratic
    /// one if there is one.
    pub model: String,
    /// The star shown from raw to normalized; another one where it was not selected.
    pub star: String,
    /// The star shown beside its model; a test star of median chi^2 where it was not selected.
    pub fitted_star: String,
    /// Wavelengths at which spectra of single stars are shown, vacuum Angstrom.
    pub window: (f64, f64),
    /// Wavelengths at which sequences of model spectra are shown, vacuum Angstrom.
    pub sequence_window: (f64, f64),
    /// Strongest features of each gradient spectrum that are looked up in the line list.
    #[schemars(range(min = 1, max = 1000))]
    pub features: usize,
    /// A feature this near to a line's wavelength is that line, in pixels.
    #[schemars(range(min = 0.01, max = 20.0))]
    pub line_tolerance_pixels: f64,
    /// Isochrones in MIST's formats (`.iso`, `.iso.cmd`); none for those that come with maury.
    pub isochrones: Vec<PathBuf>,
    /// Age of the isochrones, in 10^9 years.
    #[schemars(range(min = 1e-4, max = 20.0))]
    pub age_gyr: f64,
}

impl Default for LabSettings {
    fn default() -> Self {
        Self {
            model: String::new(),
            star: String::new(),
            fitted_star: String::new(),
            window: (16_000.0, 16_100.0),
            sequence_window: (16_000.0, 16_200.0),
            features: 30,
            line_tolerance_pixels: 2.0,
            isochrones: Vec::new(),
            age_gyr: 6.0,
        }
    }
}

/// What to do where there can be no lab.
const WITHOUT: &str = "--set lab=false leaves the lab out, the rest of the report stays";

impl LabSettings {
    /// Whether the values make sense beside the labels and the plain Cannons of an experiment, on spectra of APOGEE or not; if not,
    /// the key of the first that does not, and what is wrong with it.
    ///
    /// # Errors
    /// (key below `lab`, problem).
    pub fn check(
        &self,
        labels: &[String],
        plain_cannons: &[&str],
        is_apogee: bool,
    ) -> Result<(), (&'static str, String)> {
        let check = |holds: bool, key: &'static str, problem: &str| {
            if holds { Ok(()) } else { Err((key, problem.to_string())) }
        };
        check(
            plain_cannons.contains(&self.model.as_str()),
            "model",
            &format!("must be a Cannon of the experiment, one without latent causes; its name, or nothing; {WITHOUT}"),
        )?;
        check(is_apogee, "model", &format!("is for APOGEE spectra; {WITHOUT}"))?;
        for label in ["teff", "logg", "fe_h"] {
            let near = labels.iter().find(|known| known.eq_ignore_ascii_case(label));
            let hint = near.map_or(String::new(), |near| format!(" (did you mean `{label}` by `{near}`?)"));
            let problem = format!("needs {label} among the labels{hint}; {WITHOUT}");
            check(labels.iter().any(|known| known == label), "model", &problem)?;
        }
        for (key, (low, high)) in [("window", self.window), ("sequence_window", self.sequence_window)] {
            check(
                low < high && low > 15_100.0 && high < 17_000.0,
                key,
                "must be two wavelengths within 15100 to 17000",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn numbers_that_nobody_means_are_refused_with_their_range() {
        let labels = ["teff", "logg", "fe_h"].map(String::from);
        let check = |settings: LabSettings| {
            LabSettings { model: "cannon".into(), ..settings }.check(&labels, &["cannon"], true)
        };
        assert_eq!(check(LabSettings::default()), Ok(()));
        let named = |names: [&str; 2]| {
            let settings = LabSettings { model: "cannon".into(), ..LabSettings::default() };
            settings.check(&names.map(String::from), &["cannon"], true).unwrap_err().1
        };
        assert_eq!(named(["teff", "logg"]), format!("needs fe_h among the labels; {WITHOUT}"));
        assert!(named(["Teff", "logg"]).contains("needs teff among the labels (did you mean `teff` by `Teff`?)"));
        for age_gyr in [1e-300, 1e300, -6.0, f64::NAN] {
            let refused = schema::check(&LabSettings { age_gyr, ..LabSettings::default() });
            assert_eq!(refused, Err(("age_gyr".to_string(), "must be 1e-4 to 20".to_string())));
        }
    }
}
