//! Outliers as a table: one row each, with all the numbers that led to the verdict.

use super::{Evidence, OtherFits, Outlier, Outliers};
use crate::data::fits::Column;
use crate::spectra::labels::unit;
use crate::stars::truth::in_table;

impl Outliers {
    /// The columns of `outliers.fits` and `.csv`.
    pub fn columns(&self) -> Vec<Column> {
        let text =
            |name: &str, value: &dyn Fn(&Outlier) -> String| Column::text(name, self.stars.iter().map(value).collect());
        let number = |name: &str, unit: &'static str, value: &dyn Fn(&Evidence) -> f64| {
            Column::f64(name, unit, self.stars.iter().map(|star| value(&star.evidence)).collect())
        };
        let count = |name: &str, value: &dyn Fn(&Evidence) -> i64| {
            Column::i64(name, self.stars.iter().map(|star| value(&star.evidence)).collect())
        };
        let label_of = |star: &Outlier| self.label_names[star.evidence.worst_label].clone();
        let mut columns = vec![
            text("id", &|star| star.id.clone()),
            text("verdict", &|star| star.verdict.name().to_string()),
            text("label", &label_of),
        ];
        for (k, name) in self.label_names.iter().enumerate() {
            let mut of_labels = |what: &str, unit: &'static str, value: &dyn Fn(&Outlier) -> f64| {
                columns.push(Column::f64(format!("{name}_{what}"), unit, self.stars.iter().map(value).collect()));
            };
            of_labels("catalogue", unit(name), &|star| star.catalogue[k]);
            of_labels("estimate", unit(name), &|star| star.estimates[k]);
            of_labels("error", unit(name), &|star| star.errors[k]);
            of_labels("deviation", "", &|star| star.evidence.deviations[k]);
        }
        fn of_fits(evidence: &Evidence, value: impl Fn(&OtherFits) -> f64) -> f64 {
            evidence.fits.as_ref().map_or(f64::NAN, value)
        }
        let from_catalogue = |fits: &OtherFits| fits.from_catalogue.as_ref().map_or(f64::NAN, |fit| fit.chi2);
        columns.extend([
            number("snr", "", &|e| e.snr),
            count("flags", &|e| e.flags),
            count("starflag", &|e| e.starflag),
            count("aspcapflag", &|e| e.aspcapflag),
            number("catalogue_error", "", &|e| e.catalogue_error),
            number("fraction_masked", "", &|e| e.fraction_masked),
            count("chips_lost", &|e| e.chips_lost as i64),
            count("n_emission", &|e| e.n_emission as i64),
            number("continuum_pixels", "", &|e| e.continuum_pixels),
            number("continuum_residual", "", &|e| e.continuum_residual),
            number("chi2_per_pixel", "", &|e| e.spectrum.chi2_per_pixel()),
            number("chi2_sigma", "", &|e| e.unusual.chi2),
            number("chi2_catalogue_ratio", "", &|e| e.spectrum.chi2_catalogue / e.spectrum.chi2),
            number("concentration", "", &|e| e.spectrum.concentration),
            number("concentration_sigma", "", &|e| e.unusual.concentration),
            number("sky_part", "", &|e| e.spectrum.sky_part),
            number("sky_sigma", "", &|e| e.unusual.sky),
            number("sky_height", "", &|e| e.spectrum.sky_height),
            number("sky_velocity", "km/s", &|e| e.spectrum.sky_velocity_kms),
            number("smooth_part", "", &|e| e.spectrum.smooth_part),
            number("smooth_sigma", "", &|e| e.unusual.smooth),
            number("companion_part", "", &|e| e.spectrum.companion_part),
            number("companion_sigma", "", &|e| e.unusual.companion),
            number("companion_light", "", &|e| e.spectrum.companion_light),
            number("companion_velocity", "km/s", &|e| e.spectrum.companion_velocity_kms),
            number("chi2", "", &|e| e.reported_chi2),
            number("chi2_lowest", "", &|e| of_fits(e, |fits| fits.lowest.chi2)),
            number("lowest_deviation", "", &|e| e.lowest_deviation),
            number("n_minima", "", &|e| of_fits(e, |fits| fits.n_minima as f64)),
            number("chi2_from_catalogue", "", &|e| of_fits(e, from_catalogue)),
            number("from_catalogue_deviation", "", &|e| e.from_catalogue_deviation),
            count("n_models", &|e| e.opinions.n_models as i64),
            count("n_agree", &|e| e.opinions.n_agree as i64),
            number("look_alikes", "", &|e| e.opinions.look_alikes),
            count("look_alikes_agree", &|e| i64::from(e.opinions.look_alikes_agree)),
            text("reason", &|star| star.reason.clone()),
        ]);
        if self.stars.iter().any(|star| star.planted.is_some()) {
            columns
                .push(text("pathology", &|star| star.planted.as_deref().map(in_table).unwrap_or_default().to_string()));
        }
        columns
    }
}
