//! Other models of the experiment, combined fold by fold, as the training stars that none of them had seen teach.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::s;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination_report::{CombinationReport, HeldOutScatter};
use super::context::CalibrationSettings;
use super::kind::{FoldResult, Job, Kind, Loaded, Model, ModelFolder, Subject, Training, TrainingReport};
use crate::error::{Error, Result, nearest_name};
use crate::inference::calibration::ErrorCalibration;
use crate::inference::combination::Combination;
use crate::inference::combination_estimator::{self, CombinationEstimator, KIND};
use crate::inference::combination_learning::Learned;
use crate::inference::stacking::Member;
use crate::models::{LabelEstimates, LabelEstimator};
use crate::stats::robust::median;
use crate::timings::Timings;
use crate::training::checkpoint::Preparation;

/// `[models.<name>.combination]` of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CombinationConfig {
    /// The models of the experiment that are combined.
    pub of: Vec<String>,
}

impl Model for CombinationConfig {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        let refuse = |problem: String| Err(subject.problem("of", problem));
        if self.of.len() < 2 {
            return refuse("must name at least two models of this experiment".into());
        }
        for (index, member) in self.of.iter().enumerate() {
            if self.of[..index].contains(member) {
                return refuse(format!("names {member} twice"));
            }
            match subject.models.get(member.as_str()) {
                Some([]) => {}
                Some(_) => {
                    return refuse(format!("cannot combine {member}, a combination; name the models it is made of"));
                }
                None => {
                    let near = nearest_name(member, subject.models.keys().copied());
                    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    return refuse(format!("names {member}, which is no model of this experiment{near}"));
                }
            }
        }
        if subject.calibration.folds == 0 {
            let problem = "must be at least 2 for models to be combined: it is stars held out that teach how";
            return Err(("calibration.folds".into(), problem.into()));
        }
        Ok(())
    }

    fn train_and_label(&self, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
        let context = &job.context;
        let results: Vec<(&String, &FoldResult)> =
            self.of.iter().filter_map(|name| Some((name, job.earlier.get(name)?))).collect();
        let members = results.iter().map(|(name, result)| match (&result.held_out, &result.calibrated) {
            (Some(held_out), Some(calibrated)) => Ok(Member { name, held_out, calibration: &calibrated.calibration }),
            _ => Err(Error::TooFewStars {
                stage: format!("combining models: {name} has no calibrated errors"),
                n_stars: job.fold.training.len(),
                needed: ErrorCalibration::fewest_stars(true).max(job.fold.training.len() + 1),
                remedy: "give more training stars, or leave it out of the combination".into(),
            }),
        });
        let members = members.collect::<Result<Vec<Member>>>()?;
        let Learned { combination, held_out, scatters } =
            timings.measure("combine", || Combination::learn(&members))?;
        let theirs: Vec<LabelEstimates> = results.iter().map(|(_, result)| result.estimates.clone()).collect();
        let conditions = context.conditions(&job.fold.test)?;
        let combined = timings.measure("combine", || combination.combine(&theirs, &conditions));
        let label_names = &context.set.label_names;
        if let Some(place) = job.place {
            let folders: Vec<PathBuf> = self.of.iter().map(|member| from_combination(&place.model, member)).collect();
            let save = || combination_estimator::save(&place.model, &combination, label_names, &folders);
            timings.measure("save", save)?;
        }
        let by_member = |value: &dyn Fn(usize) -> f64| -> BTreeMap<String, f64> {
            self.of.iter().enumerate().map(|(m, name)| (name.clone(), value(m))).collect()
        };
        let weights = |k: usize| by_member(&|m| median(&combined.weights.slice(s![.., k, m]).to_vec()));
        let scatter = |k: usize| HeldOutScatter {
            members: by_member(&|m| scatters[k][m]),
            combination: scatters[k][self.of.len()],
        };
        let labels = || label_names.iter().cloned().enumerate();
        let report = CombinationReport {
            n_held_out: held_out.rows.len(),
            weights: labels().map(|(k, label)| (label, weights(k))).collect(),
            recipes: labels().map(|(k, label)| (label, combination.labels[k].as_ref().map(|of| of.recipe))).collect(),
            held_out_scatter: labels().map(|(k, label)| (label, scatter(k))).collect(),
        };
        let words: Vec<String> = label_names.iter().map(|label| report.words(label)).collect();
        let (name, n_held_out) = (job.name, report.n_held_out);
        tracing::info!("{name}: combined on {n_held_out} training stars held out: {}", words.join("; "));
        Ok(FoldResult {
            parts: Vec::new(),
            model: None,
            n_train: results.iter().map(|(_, result)| result.n_train).max().unwrap_or(0),
            n_parameters: results.iter().map(|(_, result)| result.n_parameters).sum(),
            training: Training::new(report),
            estimates: combined.estimates,
            shown_fits: None,
            posteriors: None,
            held_out: Some(held_out),
            slopes: None,
            calibrated: None,
            n_usual: results.iter().map(|(_, result)| result.n_usual).min().unwrap_or(0),
        })
    }

    fn made_of(&self) -> &[String] {
        &self.of
    }

    fn trains_on_parts(&self, _calibration: &CalibrationSettings) -> bool {
        false
    }
}

impl Kind for CombinationConfig {
    const NAME: &'static str = KIND;

    fn load(folder: &ModelFolder) -> Result<Loaded> {
        let (combination, label_names, folders) = combination_estimator::load(folder.path)?;
        let mut members: Vec<Box<dyn LabelEstimator>> = Vec::with_capacity(folders.len());
        let mut files = Vec::new();
        let mut shared: Option<Preparation> = None;
        for path in &folders {
            let member = (folder.load)(&ModelFolder { path, ..*folder })?;
            if shared.as_ref().is_some_and(|shared| *shared != member.preparation) || member.label_names != label_names
            {
                let detail =
                    "it has other labels or treats spectra otherwise than the combination it is part of".into();
                return Err(Error::Checkpoint { path: path.clone(), detail });
            }
            shared = Some(member.preparation);
            files.extend(member.files);
            members.push(member.estimator);
        }
        let preparation = shared.expect("a combination has members");
        let estimator = CombinationEstimator { combination, members, grid: preparation.grid.clone() };
        Ok(Loaded { files, ..Loaded::new(Box::new(estimator), preparation, label_names) })
    }
}

impl TrainingReport for CombinationReport {}

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
