//! Stellar labels: their units, and the scaling under which models see them.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, number_text};

/// Unit of a label: Kelvin for Teff, dex for log g and abundances, km/s for microturbulence, none known for others.
pub fn unit(label: &str) -> &'static str {
    let label = label.to_lowercase();
    let is_dex = ["logg", "feh", "alpha"].contains(&label.as_str())
        || ["_h", "_fe", "_m"].iter().any(|end| label.ends_with(end));
    match label.as_str() {
        "teff" => "K",
        "vmicro" => "km/s",
        _ if is_dex => "dex",
        _ => "",
    }
}

/// The step of a label that changes of flux are given for: 100 K, or 0.1 dex.
pub fn unit_step(label: &str) -> f64 {
    if label == "teff" { 100.0 } else { 0.1 }
}

/// Every pair of some labels, the earlier one first: positions, and name and unit of the column of their covariance.
pub fn pairs(labels: &[String]) -> Vec<(usize, usize, String, String)> {
    let pair = |a: usize, b: usize| {
        let (of_a, of_b) = (unit(&labels[a]), unit(&labels[b]));
        (a, b, format!("cov_{}_{}", labels[a], labels[b]), format!("{of_a} {of_b}").trim().to_string())
    };
    (0..labels.len()).flat_map(|a| (a + 1..labels.len()).map(move |b| (a, b))).map(|(a, b)| pair(a, b)).collect()
}

/// How a label is written for people: `fe_h` is [Fe/H].
pub fn title(label: &str) -> String {
    let element = |name: &str| {
        let mut letters = name.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    match label {
        "teff" => "Teff".into(),
        "logg" => "log g".into(),
        "vmicro" => "v micro".into(),
        // DR17's names of abundances from one ion's lines.
        "ci_fe" => "[C I/Fe]".into(),
        "tiii_fe" => "[Ti II/Fe]".into(),
        _ => match label.split_once('_') {
            Some((numerator, "h")) => format!("[{}/H]", element(numerator)),
            Some((numerator, "fe")) => format!("[{}/Fe]", element(numerator)),
            Some(("alpha", "m")) => "[α/M]".into(),
            _ => label.into(),
        },
    }
}

/// Whether a label is an abundance over iron, [X/Fe].
pub fn is_over_iron(label: &str) -> bool {
    label.to_lowercase().strip_suffix("_fe").is_some_and(|element| !element.is_empty())
}

/// What an emulator's input is called that a catalogue's label measures: `vmic_kms` for `vmicro`, else as the label.
pub fn emulator_input(label: &str) -> String {
    match label.to_lowercase().as_str() {
        "vmicro" => "vmic_kms".into(),
        "ci_fe" => "c_fe".into(),
        "tiii_fe" => "ti_fe".into(),
        label => label.into(),
    }
}

/// Surface gravity of a star of one solar mass: log10 of G M / R^2 in cm s^-2.
///
/// 4.44 at 1 solar radius, 2.09 at 15, 0.44 at 100: a cut at log g = 4 keeps giants and removes dwarfs.
pub fn sun_like_logg(radius_rsun: f64) -> f64 {
    /// IAU 2015 nominal values: G M of the Sun [cm^3 s^-2] and its radius [cm].
    const GM_SUN_CGS: f64 = 1.327_124_4e26;
    const RADIUS_SUN_CM: f64 = 6.957e10;
    (GM_SUN_CGS / (radius_rsun * RADIUS_SUN_CM).powi(2)).log10()
}

/// Affine scaling of labels, `scaled = (label - pivot) / scale`, fixed by the training stars alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelScaler {
    /// Label names, in the order of every label matrix.
    pub names: Vec<String>,
    /// Labels of the pivot star.
    pub pivot: Vec<f64>,
    /// One unit of the scaled label, in the label's own unit.
    pub scale: Vec<f64>,
}

impl LabelScaler {
    /// Mean and standard deviation of the training labels, [n_stars, n_labels].
    ///
    /// # Errors
    /// [`Error::TooFewStars`] if fewer than two stars have all labels; [`Error::Mismatch`] for a label without spread.
    pub fn fit(names: &[String], training: ArrayView2<f64>) -> Result<Self> {
        let complete: Vec<_> = training.rows().into_iter().filter(|row| row.iter().all(|v| v.is_finite())).collect();
        let n_stars = complete.len();
        if n_stars < 2 {
            return Err(Error::TooFewStars {
                stage: "label scaling".into(),
                n_stars,
                needed: 2,
                remedy: "check the labels and the selection".into(),
            });
        }
        let (mut pivot, mut scale) = (Vec::new(), Vec::new());
        for (k, name) in names.iter().enumerate() {
            let values: Vec<f64> = complete.iter().map(|row| row[k]).collect();
            let spread = crate::stats::robust::standard_deviation(&values);
            // Rounding noise of identical values is no spread.
            if spread.is_nan() || spread <= 1e-9 * values[0].abs() {
                return Err(Error::Mismatch {
                    what: format!("label {name}"),
                    detail: format!(
                        "all {n_stars} training stars have the value {}; nothing can be learned",
                        number_text(values[0])
                    ),
                });
            }
            pivot.push(crate::stats::robust::mean(&values));
            scale.push(spread);
        }
        Ok(Self { names: names.to_vec(), pivot, scale })
    }

    /// [`LabelScaler::fit`] for models that tell the labels' effects apart: no label may follow from the others.
    ///
    /// # Errors
    /// As [`LabelScaler::fit`]; [`Error::Mismatch`] that names the labels that hang together.
    pub fn fit_independent(names: &[String], training: ArrayView2<f64>) -> Result<Self> {
        let scaler = Self::fit(names, training)?;
        let scaled = scaler.scale(training);
        let complete: Vec<_> = scaled.rows().into_iter().filter(|row| row.iter().all(|v| v.is_finite())).collect();
        let n = names.len();
        // Of as few stars as labels, every label follows from the others.
        if complete.len() < n + 2 {
            return Ok(scaler);
        }
        let covariance = nalgebra::DMatrix::from_fn(n, n, |k, l| {
            complete.iter().map(|row| row[k] * row[l]).sum::<f64>() / complete.len() as f64
        });
        let eigen = covariance.symmetric_eigen();
        let smallest = eigen.eigenvalues.imin();
        // Labels in single precision agree to 1e-7 of their scale, and so follow to 1e-14 of the variance.
        if eigen.eigenvalues[smallest] > 1e-11 {
            return Ok(scaler);
        }
        let weights = eigen.eigenvectors.column(smallest);
        let together: Vec<&str> = (0..n).filter(|k| weights[*k].abs() > 0.05).map(|k| names[k].as_str()).collect();
        Err(Error::Mismatch {
            what: format!("labels {}", together.join(", ")),
            detail: format!(
                "each follows from the others in all {} training stars; their effects on a spectrum cannot be told apart: leave one of them out",
                complete.len()
            ),
        })
    }

    /// Number of labels.
    pub fn n_labels(&self) -> usize {
        self.names.len()
    }

    /// Whether it can scale at all: one pivot and one positive scale per label, no name twice.
    pub fn is_consistent(&self) -> bool {
        let n = self.n_labels();
        self.pivot.len() == n
            && self.scale.len() == n
            && self.pivot.iter().all(|pivot| pivot.is_finite())
            && self.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0)
            && (1..n).all(|k| !self.names[..k].contains(&self.names[k]))
    }

    /// Labels to scaled labels, [n_stars, n_labels].
    pub fn scale(&self, labels: ArrayView2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(labels.raw_dim(), |(n, k)| (labels[[n, k]] - self.pivot[k]) / self.scale[k])
    }

    /// Scaled labels back to labels, [n_stars, n_labels].
    pub fn unscale(&self, scaled: ArrayView2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(scaled.raw_dim(), |(n, k)| scaled[[n, k]] * self.scale[k] + self.pivot[k])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|k| format!("l{k}")).collect()
    }

    #[test]
    fn gravities_are_those_of_the_textbook() {
        for (radius, logg) in [(1.0, 4.44), (100.0, 0.44), (15.0, 2.09)] {
            assert!((sun_like_logg(radius) - logg).abs() < 0.005);
        }
    }

    #[test]
    fn stars_without_a_label_do_not_move_the_scaling() {
        let with = array![[4000.0, 1.0], [5000.0, 2.0], [f64::NAN, 9.0]];
        let without = array![[4000.0, 1.0], [5000.0, 2.0]];
        assert_eq!(
            LabelScaler::fit(&names(2), with.view()).unwrap(),
            LabelScaler::fit(&names(2), without.view()).unwrap()
        );
    }

    #[test]
    fn a_label_without_spread_or_a_single_star_is_refused() {
        assert!(
            LabelScaler::fit(&names(1), array![[0.1], [0.1], [0.1]].view()).unwrap_err().to_string().contains("0.1")
        );
        assert!(LabelScaler::fit(&names(1), array![[4500.0]].view()).is_err());
    }

    #[test]
    fn labels_that_follow_from_each_other_are_named() {
        let star = |n: f64| [4000.0 + 100.0 * n, (0.7 * n).sin(), 0.3 * n * n, 2.0 - 0.01 * (4000.0 + 100.0 * n)];
        let training = Array2::from_shape_fn((12, 4), |(n, k)| f64::from(star(n as f64)[k] as f32));
        let said = LabelScaler::fit_independent(&names(4), training.view()).unwrap_err().to_string();
        assert!(said.contains("labels l0, l3:") && said.contains("leave one of them out"), "{said}");
        let independent = training.slice(ndarray::s![.., ..3]);
        assert!(LabelScaler::fit_independent(&names(3), independent).is_ok());
        // Two stars say nothing of it.
        assert!(LabelScaler::fit_independent(&names(2), training.slice(ndarray::s![..2, ..2])).is_ok());
    }

    proptest! {
        #[test]
        fn scaling_round_trips(teff in 3000.0..6000.0_f64, fe_h in -2.5..0.5_f64) {
            let training = array![[4000.0, -1.0], [5000.0, 0.4], [4700.0, 0.1]];
            let scaler = LabelScaler::fit(&names(2), training.view()).unwrap();
            let labels = array![[teff, fe_h]];
            let back = scaler.unscale(scaler.scale(labels.view()).view());
            prop_assert!((back[[0, 0]] - teff).abs() < 1e-9 && (back[[0, 1]] - fe_h).abs() < 1e-12);
        }
    }

    #[test]
    fn labels_are_written_as_in_papers() {
        let titles = ["teff", "logg", "fe_h", "mg_fe", "m_h", "vsini"].map(title);
        assert_eq!(titles, ["Teff", "log g", "[Fe/H]", "[Mg/Fe]", "[M/H]", "vsini"]);
    }
}
