//! Models of a run combined, fold by fold, as the training stars that none of them had seen teach.

use super::config::CombinationConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::s;

use super::crossval::{CrossValidation, FoldResult, Training};
use super::place::ModelPlace;
use super::timings::Timings;
use crate::error::{Error, Result};
use crate::findings::combination_report::{CombinationReport, HeldOutScatter};
use crate::inference::combination::Combination;
use crate::inference::combination_estimator::save;
use crate::inference::combination_learning::Learned;
use crate::inference::stacking::Member;
use crate::models::LabelEstimates;
use crate::spectra::split::Fold;
use crate::stats::robust::median;

impl CrossValidation<'_> {
    /// Combines what members made of a fold.
    ///
    /// # Errors
    /// [`Error::Config`] if a member has no calibrated errors; [`Error::TooFewStars`].
    pub(super) fn run_combination(
        &self,
        fold: &Fold,
        config: &CombinationConfig,
        earlier: &BTreeMap<String, FoldResult>,
        place: Option<&ModelPlace>,
        timings: &mut Timings,
    ) -> Result<FoldResult> {
        let results: Vec<(&String, &FoldResult)> =
            config.of.iter().filter_map(|name| Some((name, earlier.get(name)?))).collect();
        let members = results.iter().map(|(name, result)| match (&result.held_out, &result.calibrated) {
            (Some(held_out), Some(calibrated)) => Ok(Member { name, held_out, calibration: &calibrated.calibration }),
            _ => Err(Error::TooFewStars {
                stage: format!("combining models: {name} has no calibrated errors"),
                n_stars: fold.training.len(),
                needed: fold.training.len() + 1,
                remedy: "give more training stars, or leave it out of the combination".into(),
            }),
        });
        let members = members.collect::<Result<Vec<Member>>>()?;
        let Learned { combination, held_out, scatters } =
            timings.measure("combine", || Combination::learn(&members))?;
        let theirs: Vec<LabelEstimates> = results.iter().map(|(_, result)| result.estimates.clone()).collect();
        let combined = timings.measure("combine", || combination.combine(&theirs, &self.conditions(&fold.test)));
        if let Some(place) = place {
            let folders: Vec<PathBuf> = config.of.iter().map(|member| from_combination(&place.model, member)).collect();
            timings.measure("save", || save(&place.model, &combination, &self.set.label_names, &folders))?;
        }
        let label_names = &self.set.label_names;
        let by_member = |value: &dyn Fn(usize) -> f64| -> BTreeMap<String, f64> {
            config.of.iter().enumerate().map(|(m, name)| (name.clone(), value(m))).collect()
        };
        let weights = |k: usize| by_member(&|m| median(&combined.weights.slice(s![.., k, m]).to_vec()));
        let scatter = |k: usize| HeldOutScatter {
            members: by_member(&|m| scatters[k][m]),
            combination: scatters[k][config.of.len()],
        };
        let labels = || label_names.iter().cloned().enumerate();
        let report = CombinationReport {
            n_held_out: held_out.rows.len(),
            weights: labels().map(|(k, label)| (label, weights(k))).collect(),
            recipes: labels().map(|(k, label)| (label, combination.labels[k].as_ref().map(|of| of.recipe))).collect(),
            held_out_scatter: labels().map(|(k, label)| (label, scatter(k))).collect(),
        };
        let words: Vec<String> = label_names.iter().map(|label| report.words(label)).collect();
        tracing::info!("combined on {} training stars held out: {}", report.n_held_out, words.join("; "));
        Ok(FoldResult {
            n_train: results.iter().map(|(_, result)| result.n_train).max().unwrap_or(0),
            estimates: combined.estimates,
            training: Training::Combination(report),
            n_parameters: results.iter().map(|(_, result)| result.n_parameters).sum(),
            held_out: Some(held_out),
            calibrated: None,
            cannon: None,
            posteriors: None,
        })
    }
}

/// The way from a combination's folder to that of a member: beside it, or beside its parent where folds have folders.
fn from_combination(own: &Path, member: &str) -> PathBuf {
    let name = own.file_name().unwrap_or_default();
    let is_fold = own.parent().and_then(Path::parent).is_some_and(|folder| folder.ends_with("models"));
    if is_fold { Path::new("../..").join(member).join(name) } else { Path::new("..").join(member) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_beside_the_combination_with_folds_and_without() {
        let way = |own: &str| from_combination(Path::new(own), "ridge");
        assert_eq!(way("run/models/both"), Path::new("../ridge"));
        assert_eq!(way("run/models/both/fold2"), Path::new("../../ridge/fold2"));
    }
}
