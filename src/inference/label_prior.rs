//! What is believed of a star's labels before its spectrum is looked at: settings, words, and the scaled prior they become.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};
use ndarray::{ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hull::Hull;
use super::mixture::{self, Component};
use crate::error::{Error, Result, nearest_name};
use crate::schema;
use crate::spectra::labels::{LabelScaler, unit};

/// Prior of one label, in its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum LabelPrior {
    /// Every value is as likely.
    #[default]
    Flat,
    /// A Gaussian.
    Normal {
        /// Its centre.
        mean: f64,
        /// Its standard deviation.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        sigma: f64,
    },
    /// Every value between two bounds is as likely, and none outside.
    Uniform {
        /// The lower bound.
        min: f64,
        /// The upper bound.
        max: f64,
    },
}

/// Prior of all labels together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum JointPrior {
    /// Every combination of labels is as likely.
    #[default]
    Flat,
    /// The Gaussian with mean and covariance of the training labels.
    Training,
    /// Several Gaussians fitted to the training labels.
    Mixture {
        /// How many.
        #[schemars(range(min = 1, max = 50))]
        components: usize,
    },
}

/// `[posterior.prior]`: the product of all that is named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PriorSettings {
    /// Of all labels together.
    pub joint: JointPrior,
    /// Whether labels outside the hull of the training labels are excluded.
    pub within_hull: bool,
    /// Of single labels, by name.
    pub labels: BTreeMap<String, LabelPrior>,
}

impl PriorSettings {
    /// Whether the values make sense for these labels; if not, the key of the first that does not, and what is wrong with it.
    ///
    /// # Errors
    /// (key below `prior`, problem).
    pub fn check(&self, label_names: &[String]) -> Result<(), (String, String)> {
        for (name, prior) in &self.labels {
            let key = format!("labels.{name}");
            if !label_names.contains(name) {
                let near = nearest_name(name, label_names.iter().map(String::as_str));
                let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err((key, format!("is no label here ({}){hint}", label_names.join(", "))));
            }
            match *prior {
                LabelPrior::Normal { mean, sigma } if !(mean.is_finite() && sigma.is_finite()) => {
                    return Err((key, "needs a finite mean and sigma".into()));
                }
                LabelPrior::Uniform { min, max } if !(min.is_finite() && max.is_finite() && min < max) => {
                    return Err((key, "needs a min below its max".into()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The prior in words, one sentence each, for people who read the result.
    pub fn words(&self, label_names: &[String], n_training: usize) -> Vec<String> {
        let mut words: Vec<String> = label_names
            .iter()
            .filter_map(|name| {
                let with_unit = |value: f64| format!("{value} {}", unit(name)).trim_end().to_string();
                match self.labels.get(name)? {
                    LabelPrior::Flat => None,
                    LabelPrior::Normal { mean, sigma } => {
                        Some(format!("{name}: normal, {} +- {}", with_unit(*mean), with_unit(*sigma)))
                    }
                    LabelPrior::Uniform { min, max } => {
                        Some(format!("{name}: uniform from {} to {}", with_unit(*min), with_unit(*max)))
                    }
                }
            })
            .collect();
        let flat: Vec<&str> = label_names
            .iter()
            .filter(|name| matches!(self.labels.get(*name), None | Some(LabelPrior::Flat)))
            .map(String::as_str)
            .collect();
        match self.joint {
            JointPrior::Flat if flat.is_empty() => {}
            JointPrior::Flat => words.push(format!("flat in {}", flat.join(", "))),
            JointPrior::Training => {
                words.push(format!("all labels together: the Gaussian of the labels of {n_training} training stars"));
            }
            JointPrior::Mixture { components } => words.push(format!(
                "all labels together: {components} Gaussians fitted to the labels of {n_training} training stars"
            )),
        }
        if self.within_hull {
            words.push(format!("nothing outside the hull of the labels of {n_training} training stars"));
        }
        words
    }

    /// The prior of scaled labels; `training` are the labels of the training stars, [n_stars, n_labels], in their own units.
    ///
    /// # Errors
    /// [`Error::Config`] if a value makes no sense; [`Error::TooFewStars`] if the training labels cannot give what is asked.
    pub fn scaled(&self, scaler: &LabelScaler, training: ArrayView2<f64>) -> Result<ScaledPrior> {
        let checked = schema::check(self).and_then(|()| self.check(&scaler.names));
        checked.map_err(|(key, problem)| Error::Config(format!("prior.{key} {problem}")))?;
        let n_labels = scaler.n_labels();
        let scaled = scaler.scale(training);
        let mut prior = ScaledPrior::flat(n_labels);
        for (k, name) in scaler.names.iter().enumerate() {
            let (pivot, scale) = (scaler.pivot[k], scaler.scale[k]);
            match self.labels.get(name).copied().unwrap_or_default() {
                LabelPrior::Flat => {}
                LabelPrior::Normal { mean, sigma } => {
                    let precision = (scale / sigma).powi(2);
                    prior.precision[(k, k)] = precision;
                    prior.pull[k] = precision * (mean - pivot) / scale;
                }
                LabelPrior::Uniform { min, max } => {
                    prior.bounds[k] = ((min - pivot) / scale, (max - pivot) / scale);
                }
            }
        }
        let few = || Error::TooFewStars {
            stage: "prior from training labels".into(),
            n_stars: training.nrows(),
            needed: n_labels + 2,
            remedy: "the model came with too few of them, or they have no scatter; use joint = \"flat\"".into(),
        };
        match self.joint {
            JointPrior::Flat => {}
            JointPrior::Training => {
                let gaussian = mixture::fit(scaled.view(), 1).ok_or_else(few)?.remove(0);
                prior.pull += &gaussian.precision * &gaussian.mean;
                prior.precision += gaussian.precision;
            }
            JointPrior::Mixture { components } => {
                prior.mixture = mixture::fit(scaled.view(), components).ok_or_else(few)?;
            }
        }
        if self.within_hull {
            prior.spread = Some(mixture::fit(scaled.view(), 1).ok_or_else(few)?.remove(0).precision);
            prior.hull = Some(Hull::new(scaled.view()));
        }
        Ok(prior)
    }
}

/// A prior of scaled labels, up to a constant.
///
/// ```text
/// ln p(l) = -1/2 l . P l + b . l + ln sum_k w_k N(l | m_k, C_k),   inside bounds and hull
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledPrior {
    /// P, the sum of the precisions of all Gaussians.
    pub precision: DMatrix<f64>,
    /// b, the sum of their precisions times their means.
    pub pull: DVector<f64>,
    /// The mixture; empty where there is none.
    pub mixture: Vec<Component>,
    /// Lower and upper bound of each label; infinite where there is none.
    pub bounds: Vec<(f64, f64)>,
    /// The hull that labels must lie in.
    pub hull: Option<Hull>,
    /// Inverse covariance of the training labels, where the hull counts.
    spread: Option<DMatrix<f64>>,
}

impl ScaledPrior {
    /// Every value of every label is as likely.
    pub fn flat(n_labels: usize) -> Self {
        Self {
            precision: DMatrix::zeros(n_labels, n_labels),
            pull: DVector::zeros(n_labels),
            mixture: Vec::new(),
            bounds: vec![(f64::NEG_INFINITY, f64::INFINITY); n_labels],
            hull: None,
            spread: None,
        }
    }

    /// Number of labels.
    pub fn n_labels(&self) -> usize {
        self.pull.len()
    }

    /// Whether some labels are excluded altogether.
    pub fn has_walls(&self) -> bool {
        self.hull.is_some() || self.bounds.iter().any(|(low, high)| low.is_finite() || high.is_finite())
    }

    /// Whether labels, `[n_labels]`, are not excluded.
    pub fn allows(&self, labels: ArrayView1<f64>) -> bool {
        labels.iter().zip(&self.bounds).all(|(label, (low, high))| low <= label && label <= high)
            && !self.hull.as_ref().is_some_and(|hull| hull.is_outside(labels))
    }

    /// By how many standard deviations, of prior and fit together, the two disagree about the label that they disagree about most; 0
    /// where the prior is flat. Of a mixture the nearest Gaussian counts, and walls do not.
    ///
    /// `best` are the labels of the fit, and `covariance`, [n_labels, n_labels], is theirs.
    pub fn disagreement(&self, best: &[f64], covariance: &DMatrix<f64>) -> f64 {
        let from = |precision: &DMatrix<f64>, pull: &DVector<f64>| {
            let told: Vec<usize> = (0..self.n_labels()).filter(|k| precision[(*k, *k)] > 0.0).collect();
            let factor = precision.select_rows(&told).select_columns(&told).cholesky().filter(|_| !told.is_empty());
            let Some(factor) = factor else { return 0.0 };
            let (mean, spread) = (factor.solve(&pull.select_rows(&told)), factor.inverse());
            let sigmas = |(row, k): (usize, &usize)| {
                (best[*k] - mean[row]).abs() / (covariance[(*k, *k)] + spread[(row, row)]).sqrt()
            };
            told.iter().enumerate().map(sigmas).fold(0.0, f64::max)
        };
        let of_mixture = self.mixture.iter().map(|c| from(&c.precision, &(&c.precision * &c.mean))).reduce(f64::min);
        from(&self.precision, &self.pull).max(of_mixture.unwrap_or(0.0))
    }

    /// How fast the prior falls off about some labels: a positive semidefinite matrix, for the mass of a sampler. Walls count
    /// as the Gaussian of their extent.
    pub fn curvature(&self, labels: &DVector<f64>) -> DMatrix<f64> {
        let mut curvature = self.precision.clone();
        for (component, share) in self.mixture.iter().zip(mixture::shares(&self.mixture, labels)) {
            curvature += &component.precision * share;
        }
        for (k, (low, high)) in self.bounds.iter().enumerate() {
            // The variance of a uniform distribution is its width squared over 12.
            if (high - low).is_finite() {
                curvature[(k, k)] += 12.0 / (high - low).powi(2);
            }
        }
        // The hull of many stars reaches some two standard deviations out.
        self.spread.as_ref().map_or(curvature.clone(), |spread| curvature + spread * 0.25)
    }

    /// The allowed labels nearest to these, as far as a few steps find them; `None` if there are none.
    pub fn nearest_allowed(&self, labels: &[f64]) -> Option<Vec<f64>> {
        let inside = |label: &f64, (low, high): &(f64, f64)| {
            // A little off the wall, so that a chain can leave in every direction.
            let margin = if (high - low).is_finite() { 1e-3 * (high - low) } else { 1e-3 };
            label.clamp(low + margin, high - margin)
        };
        let clamped: Vec<f64> = labels.iter().zip(&self.bounds).map(|(label, bounds)| inside(label, bounds)).collect();
        let allowed = |labels: &[f64]| self.allows(ArrayView1::from(labels));
        if allowed(&clamped) {
            return Some(clamped);
        }
        // Towards the mean of the training stars, which is inside every hull; their pivot is the origin.
        let centre: Vec<f64> = self.bounds.iter().map(|bounds| inside(&0.0, bounds)).collect();
        let between = |part: f64| clamped.iter().zip(&centre).map(|(a, b)| b + part * (a - b)).collect::<Vec<f64>>();
        (0..60).map(|step| between(0.8_f64.powi(step))).chain([centre.clone()]).find(|labels| allowed(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn scaler() -> LabelScaler {
        LabelScaler { names: vec!["teff".into(), "logg".into()], pivot: vec![4500.0, 2.0], scale: vec![200.0, 0.5] }
    }

    fn settings(text: &str) -> PriorSettings {
        toml::from_str(text).unwrap()
    }

    fn training() -> Array2<f64> {
        Array2::from_shape_fn((60, 2), |(n, k)| {
            let x = (n as f64 * 0.7).sin();
            if k == 0 { 4500.0 + 300.0 * x } else { 2.0 + 0.4 * x + 0.3 * (n as f64 * 1.9).cos() }
        })
    }

    #[test]
    fn priors_in_kelvin_and_dex_become_priors_of_scaled_labels() {
        let text = "labels.teff.normal = { mean = 4600, sigma = 100 }\nlabels.logg.uniform = { min = 1, max = 3 }";
        let prior = settings(text).scaled(&scaler(), training().view()).unwrap();
        // (l - 0.5)^2 / 0.5^2, and -2 to 2.
        assert_eq!((prior.precision[(0, 0)], prior.pull[0], prior.precision[(1, 1)]), (4.0, 2.0, 0.0));
        assert_eq!(prior.bounds, [(f64::NEG_INFINITY, f64::INFINITY), (-2.0, 2.0)]);
        assert!(prior.has_walls() && prior.allows(array![99.0, 1.9].view()) && !prior.allows(array![0.0, 2.1].view()));
        assert!(!prior.allows(array![0.0, f64::NAN].view()));
        let moved = prior.nearest_allowed(&[7.0, 5.0]).unwrap();
        assert!(moved[0] == 7.0 && (1.9..2.0).contains(&moved[1]));
        assert!((prior.curvature(&DVector::zeros(2))[(1, 1)] - 12.0 / 16.0).abs() < 1e-12);
        let words = settings(text).words(&scaler().names, 60).join("; ");
        assert_eq!(words, "teff: normal, 4600 K +- 100 K; logg: uniform from 1 dex to 3 dex");
    }

    #[test]
    fn disagreement_is_told_in_errors_of_prior_and_fit_together() {
        let covariance = DMatrix::from_diagonal(&DVector::from_column_slice(&[0.09, 0.01]));
        let about = |text: &str, best: &[f64]| {
            settings(text).scaled(&scaler(), training().view()).unwrap().disagreement(best, &covariance)
        };
        // 4600 K is 0.5 and 80 K are 0.4; with the fit's 0.3 that is 0.5.
        let normal = "labels.teff.normal = { mean = 4600, sigma = 80 }";
        assert!((about(normal, &[3.0, 9.0]) - 5.0).abs() < 1e-9, "{}", about(normal, &[3.0, 9.0]));
        assert_eq!(about("labels.logg.uniform = { min = 1, max = 3 }", &[3.0, 9.0]), 0.0);
        // log g of the training stars is 2 by some 0.4.
        for joint in ["joint = \"training\"", "joint.mixture.components = 2"] {
            assert!(about(joint, &[0.0, 0.0]) < 4.0 && about(joint, &[0.0, 9.0]) > 5.0, "{joint}");
        }
    }

    #[test]
    fn the_training_prior_is_the_gaussian_of_the_training_labels() {
        let prior = settings("joint = \"training\"\nwithin_hull = true").scaled(&scaler(), training().view()).unwrap();
        let scaled = scaler().scale(training().view());
        let mean = scaled.mean_axis(ndarray::Axis(0)).unwrap();
        let covariance = prior.precision.clone().try_inverse().unwrap();
        let variance = scaled.column(0).mapv(|v| (v - mean[0]).powi(2)).mean().unwrap();
        assert!((covariance[(0, 0)] / variance - 1.0).abs() < 1e-10);
        assert!(((covariance * &prior.pull)[1] - mean[1]).abs() < 1e-10);
        assert!(prior.allows(scaled.row(7)) && !prior.allows(array![3.0, -3.0].view()));
        let moved = prior.nearest_allowed(&[3.0, -3.0]).unwrap();
        assert!(prior.allows(ArrayView1::from(&moved)) && moved[0] > 0.1, "{moved:?}");
        let mixed = settings("joint.mixture.components = 2").scaled(&scaler(), training().view()).unwrap();
        assert_eq!((mixed.mixture.len(), mixed.precision.norm()), (2, 0.0));
    }

    #[test]
    fn priors_that_make_no_sense_are_refused_with_the_nearest_name() {
        let refusal = |text: &str| settings(text).scaled(&scaler(), training().view()).unwrap_err().to_string();
        assert!(refusal("labels.tef = \"flat\"").contains("did you mean `teff`"));
        assert!(refusal("labels.teff.normal = { mean = 1, sigma = 0 }").contains("sigma must be above 0"));
        assert!(refusal("labels.teff.uniform = { min = 5, max = 4 }").contains("min below its max"));
        assert!(refusal("joint.mixture.components = 0").contains("1 to 50"));
        assert!(toml::from_str::<PriorSettings>("labels.teff.normal = { mean = 1, sgma = 2 }").is_err());
        let none = settings("joint = \"training\"").scaled(&scaler(), Array2::zeros((0, 2)).view()).unwrap_err();
        assert!(none.to_string().contains("joint = \"flat\""), "{none}");
    }
}
