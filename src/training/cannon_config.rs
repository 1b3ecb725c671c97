//! What an experiment says of a Cannon: its polynomial, how it is trained, and what is known of it beforehand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::descent_settings::{DescentSettings, LEARNING_RATES, MOST_EPOCHS};

use super::nuisance_choice::NuisanceCount;
use super::optimizer::{OptimizerSettings, Schedule};
use super::window_settings::WindowSettings;
use crate::models::vectorizer::{Entry, Vectorizer};

/// `[models.<name>.cannon]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CannonConfig {
    /// Highest degree of the polynomial in the labels: 1, 2 or 3.
    #[schemars(range(min = 1, max = 3))]
    pub order: usize,
    /// Labels in which flux is linear, with slopes that the other labels bend: no squares of them, no products among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub linear: Vec<String>,
    /// Labels in which flux is linear, with the same slopes in all stars: no products of them with any label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additive: Vec<String>,
    /// Pixels trained together; fewer need less memory.
    #[schemars(range(min = 1))]
    pub block_pixels: usize,
    /// Trial values of s^2 that first bracket the maximum of each pixel's likelihood; pixels that need more get more. Of
    /// the closed form only.
    #[schemars(range(min = 2, max = 50))]
    pub scatter_trials: usize,
    /// How coefficients and scatter are found.
    pub training: CannonTraining,
    /// Strength Lambda of the L1 penalty on all coefficients but the constant (Casey et al. 2016); 0 for none.
    #[schemars(range(min = 0.0, max = 1e12))]
    pub l1: f64,
    /// Wavelength windows [from, to] in Angstrom, by label: outside its windows every term that contains the label is nil.
    /// Labels that are not named act everywhere.
    pub censor: BTreeMap<String, Vec<[f64; 2]>>,
    /// The same for all abundances, in windows that the emulator finds; those of `censor` stay as they are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowSettings>,
    /// Whether labels count as uncertain as the catalogue says. In closed form they are then found together with the model, where that
    /// makes labels of stars held out better; a descent adds what they do to the flux to the variance.
    pub label_errors: bool,
    /// Whether stars that lack labels train, too, where that makes labels of stars held out better; in closed form only.
    pub partial_labels: bool,
    /// What is learned beside the labels: latent labels and nuisance spectra.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latent: Option<LatentSettings>,
    /// What is known from physics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<AnchorSettings>,
}

impl Default for CannonConfig {
    fn default() -> Self {
        Self {
            order: 2,
            linear: Vec::new(),
            additive: Vec::new(),
            block_pixels: 64,
            scatter_trials: 5,
            training: CannonTraining::default(),
            l1: 0.0,
            censor: BTreeMap::new(),
            windows: None,
            label_errors: false,
            partial_labels: true,
            latent: None,
            anchor: None,
        }
    }
}

/// `[models.<name>.cannon.training]`: how coefficients and scatter are found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CannonTraining {
    /// By linear algebra, and Newton steps in the scatter.
    #[default]
    ClosedForm,
    /// By automatic differentiation and an optimizer.
    Descent(CannonDescent),
}

/// `[models.<name>.cannon.training.descent]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CannonDescent {
    /// Passes through the training stars.
    #[schemars(range(min = 1, max = MOST_EPOCHS))]
    pub epochs: usize,
    /// Stars per step; 0 for all. L-BFGS always takes all.
    pub batch_rows: usize,
    /// Learning rate the schedule starts from, in units of the noise of one star in one pixel. L-BFGS finds its own.
    #[schemars(range(min = *LEARNING_RATES.start(), max = *LEARNING_RATES.end()))]
    pub learning_rate: f64,
    /// The rule of the steps. L-BFGS wants `device.precision = "f64"`: in f32 it comes to a halt before all pixels have
    /// converged, and more epochs change nothing.
    pub optimizer: OptimizerSettings,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Share of the epochs, the last ones, whose coefficients are averaged; 0 for no average.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub average_last: f64,
}

impl Default for CannonDescent {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch_rows: 0,
            learning_rate: 0.05,
            optimizer: OptimizerSettings::Lbfgs { history: 20, steps: 10 },
            schedule: Schedule::default(),
            average_last: 0.0,
        }
    }
}

impl CannonDescent {
    /// What the one loop of all descents is told.
    pub fn settings(&self) -> DescentSettings {
        let whole = matches!(self.optimizer, OptimizerSettings::Lbfgs { .. });
        DescentSettings {
            epochs: self.epochs,
            batch_rows: if self.batch_rows == 0 { usize::MAX } else { self.batch_rows },
            // The line search of L-BFGS begins with the full step, which is nearly always right.
            learning_rate: if whole { 1.0 } else { self.learning_rate },
            optimizer: self.optimizer,
            schedule: if whole { Schedule::Constant {} } else { self.schedule },
            patience: 0,
            average_last: self.average_last,
        }
    }
}

impl CannonConfig {
    /// The first setting that makes no sense among models of these labels: its key below `cannon`, and what is wrong.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self, labels: &[String]) -> Result<(), (String, String)> {
        let check = |holds: bool, key: &str, problem: &str| {
            if holds { Ok(()) } else { Err((key.to_string(), problem.to_string())) }
        };
        for (label, windows) in &self.censor {
            let key = format!("censor.{label}");
            let known = labels.iter().any(|name| name.eq_ignore_ascii_case(label));
            check(known, &key, &format!("is of no label of this experiment (it has {})", labels.join(", ")))?;
            check(!windows.is_empty(), &key, "has no window; leave the label out of `labels` if it acts nowhere")?;
            let ordered = windows.iter().all(|[from, to]| from < to && from.is_finite() && to.is_finite());
            check(ordered, &key, "must be a list of windows [from, to] with from below to")?;
        }
        self.check_entries(labels)?;
        if let Some(windows) = &self.windows {
            windows.check(labels).map_err(|(key, problem)| (format!("windows.{key}"), problem))?;
        }
        if self.latent.is_some() || self.anchor.is_some() {
            let other = if self.latent.is_some() { "latent" } else { "anchor" };
            let only = format!("is for Cannons without `{other}`, whose labels act everywhere");
            check(self.censor.is_empty(), "censor", &only)?;
            check(self.windows.is_none(), "windows", &only)?;
        }
        if let Some(latent) = &self.latent {
            let closed = self.training == CannonTraining::ClosedForm;
            check(closed, "latent", "needs training = \"closed-form\", from which it starts")?;
            check(
                self.order < 3 || latent.labels == 0,
                "order",
                "must be 1 or 2 beside latent labels: a cubic of so many has too many terms",
            )?;
            let count = match latent.spectra {
                NuisanceCount::Fixed(count) => count,
                NuisanceCount::HeldOut => 1,
            };
            check(
                latent.labels + count > 0,
                "latent.labels",
                "and latent.spectra are both 0; leave `latent` out instead",
            )?;
            check(latent.clip == 0.0 || latent.clip > 1.0, "latent.clip", "must be 0, for none, or above 1")?;
        }
        if let Some(anchor) = &self.anchor {
            check(self.training == CannonTraining::ClosedForm, "anchor", "needs training = \"closed-form\"")?;
            check(
                self.latent.is_none(),
                "anchor",
                "has latent labels and nuisance spectra of its own; leave `latent` out",
            )?;
            check(self.order == 2, "order", "must be 2 with an anchor")?;
            for (key, names) in [("linear", &self.linear), ("additive", &self.additive)] {
                check(names.is_empty(), key, "is for Cannons without an anchor, whose polynomial has all terms")?;
            }
            check(anchor.hidden.len() <= 12, "anchor.hidden", "must name at most 12 inputs of the emulator")?;
            check(named_twice(&anchor.hidden).is_none(), "anchor.hidden", "names an input twice")?;
            check(anchor.clip == 0.0 || anchor.clip > 1.0, "anchor.clip", "must be 0, for none, or above 1")?;
        }
        match &self.training {
            CannonTraining::ClosedForm => {
                let only = "has no closed form; train by descent, with [models.NAME.cannon.training.descent]";
                check(self.l1 == 0.0, "l1", only)?;
                let only = "has no closed form where labels have windows; train by descent, with [models.NAME.cannon.training.descent]";
                check(!self.label_errors || self.acts_everywhere(), "label_errors", only)
            }
            CannonTraining::Descent(_) => Ok(()),
        }
    }

    fn check_entries(&self, labels: &[String]) -> Result<(), (String, String)> {
        for (key, names) in [("linear", &self.linear), ("additive", &self.additive)] {
            if let Some(name) = names.iter().find(|name| !is_among(labels, name)) {
                let known = labels.join(", ");
                return Err((
                    key.into(),
                    format!("names `{name}`, which is no label of this experiment (it has {known})"),
                ));
            }
            if let Some(name) = named_twice(names) {
                return Err((key.into(), format!("names `{name}` twice")));
            }
        }
        match self.additive.iter().find(|name| is_among(&self.linear, name)) {
            Some(name) => Err(("additive".into(), format!("names `{name}`, which `linear` names too; keep one"))),
            None => Ok(()),
        }
    }

    /// The polynomial in some labels, and behind them so many latent ones.
    pub fn vectorizer(&self, labels: &[String], n_latent_labels: usize) -> Vectorizer {
        let entry = |label: &String| match label {
            label if is_among(&self.additive, label) => Entry::Additive,
            label if is_among(&self.linear, label) => Entry::Linear,
            _ => Entry::Polynomial,
        };
        let latent = std::iter::repeat_n(Entry::Polynomial, n_latent_labels);
        Vectorizer::of_entries(&labels.iter().map(entry).chain(latent).collect::<Vec<Entry>>(), self.order)
    }

    /// Whether no label has windows.
    pub fn acts_everywhere(&self) -> bool {
        self.censor.is_empty() && self.windows.is_none()
    }

    /// In which of some wavelengths a label acts, `[n_pixels]`; everywhere if it is not censored.
    pub fn acts(&self, label: &str, wavelength: &[f64]) -> Vec<bool> {
        let windows = self.censor.iter().find(|(name, _)| name.eq_ignore_ascii_case(label)).map(|(_, windows)| windows);
        let inside = |wavelength: &f64| {
            windows.is_none_or(|windows| windows.iter().any(|[from, to]| (*from..=*to).contains(wavelength)))
        };
        wavelength.iter().map(inside).collect()
    }
}

/// The first name that stands in a list twice.
fn named_twice(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(place, name)| is_among(&names[..*place], name)).map(|(_, name)| name)
}

fn is_among(names: &[String], label: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(label))
}

/// `[models.<name>.cannon.latent]`: what the model learns beside the labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatentSettings {
    /// Latent labels: they enter the polynomial like labels, but no catalogue gives them.
    #[schemars(range(max = 20))]
    pub labels: usize,
    /// Nuisance spectra, each with a normal amplitude per star: they only add. A number, or `"held-out"`: as many as training
    /// stars held out say.
    pub spectra: NuisanceCount,
    /// Rounds of expectation and maximization.
    #[schemars(range(min = 1, max = 100))]
    pub rounds: usize,
    /// Whether coefficients, constants aside, are drawn towards nil as far as the spread of their kind over all pixels says
    /// (empirical Bayes).
    pub shrinkage: bool,
    /// Training stars whose chi^2 per pixel, or the square of whose nuisances, lies this many robust widths above the median of
    /// all (of the logarithms) are left out: wrong labels, binaries. 0 for none.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub clip: f64,
    /// The largest share of the training stars that is left out, the strangest first; if more are strange, a warning says so.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub clip_most: f64,
}

impl Default for LatentSettings {
    fn default() -> Self {
        Self { labels: 0, spectra: NuisanceCount::HeldOut, rounds: 7, shrinkage: true, clip: 3.0, clip_most: 0.05 }
    }
}

/// `[models.<name>.cannon.anchor]`: the Cannon of an emulator's spectra, from which the model starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnchorSettings {
    /// Folder of an emulator; none for the one that comes with maury.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulator: Option<PathBuf>,
    /// Model spectra in the library.
    #[schemars(range(min = 500, max = 100_000))]
    pub spectra: usize,
    /// Inputs of the emulator that enter the polynomial beside the labels, if they are none themselves.
    pub hidden: Vec<String>,
    /// Nuisance spectra: leading components of what the polynomial leaves of the library.
    #[schemars(range(min = 1, max = 100))]
    pub components: usize,
    /// The largest strength: by how much coefficients may differ from the library's, as a share of their spread over the pixels. None
    /// for what training stars, held out in turn, say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1e-4, max = 1.0))]
    pub limit: Option<f64>,
    /// Rounds of expectation and maximization; 0 for physics alone, which no star of the survey teaches.
    #[schemars(range(max = 20))]
    pub rounds: usize,
    /// As of `latent`: how strange a training star must be to be left out; 0 for none.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub clip: f64,
    /// As of `latent`: the largest share of the training stars that is left out.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub clip_most: f64,
}

impl Default for AnchorSettings {
    fn default() -> Self {
        let hidden = ["c_fe", "n_fe", "o_fe", "vmic_kms", "vmac_fwhm_kms", "vsini_kms", "log_c12_c13"];
        Self {
            emulator: None,
            spectra: 2000,
            hidden: hidden.map(String::from).to_vec(),
            components: 30,
            limit: None,
            rounds: 3,
            clip: 3.0,
            clip_most: 0.05,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn parsed(text: &str) -> CannonConfig {
        toml::from_str(text).unwrap()
    }

    fn refusal(text: &str) -> (String, String) {
        parsed(text).check(&["teff".to_string(), "fe_h".to_string()]).unwrap_err()
    }

    #[test]
    fn training_is_a_word_or_a_table() {
        assert_eq!(parsed("training = \"closed-form\""), CannonConfig::default());
        let CannonTraining::Descent(descent) = parsed("[training.descent]\noptimizer.adam = {}\nepochs = 7").training
        else {
            panic!("a table `descent` asks for a descent")
        };
        assert_eq!((descent.epochs, descent.optimizer), (7, OptimizerSettings::Adam {}));
        assert_eq!(parsed("training.descent = {}").training, CannonTraining::Descent(CannonDescent::default()));
        assert!(toml::from_str::<CannonConfig>("[training.descent]\npatience = 3").is_err());
        let written = toml::to_string(&parsed("censor.fe_h = [[15000.0, 15500.0]]\n[training.descent]")).unwrap();
        assert_eq!(parsed(&written).censor["fe_h"], [[15000.0, 15500.0]]);
    }

    #[test]
    fn what_has_no_closed_form_is_refused_with_its_key() {
        for key in ["l1 = 3.0", "label_errors = true\ncensor.fe_h = [[1.0, 2.0]]"] {
            let (blamed, problem) = refusal(key);
            assert!(key.starts_with(&blamed) && problem.contains("training.descent"), "{blamed} {problem}");
            assert!(parsed(&format!("{key}\n[training.descent]")).check(&["fe_h".to_string()]).is_ok());
        }
        assert_eq!(refusal("censor.mg_fe = [[1.0, 2.0]]").0, "censor.mg_fe");
        assert_eq!(refusal("censor.fe_h = [[2.0, 1.0]]").0, "censor.fe_h");
        for rate in ["0.0", "1e-300", "1e300", "nan"] {
            let (key, problem) =
                schema::check(&parsed(&format!("training.descent.learning_rate = {rate}"))).unwrap_err();
            assert_eq!((key.as_str(), problem.as_str()), ("training.descent.learning_rate", "must be 1e-8 to 1"));
        }
    }

    #[test]
    fn labels_that_enter_linearly_are_labels_and_named_once() {
        let names = ["teff", "logg", "na_fe", "mg_fe"].map(String::from);
        let config = parsed("linear = [\"NA_FE\"]\nadditive = [\"mg_fe\"]");
        assert_eq!(config.check(&names), Ok(()));
        let terms = config.vectorizer(&names, 0).term_names(&names).join(" ");
        assert_eq!(terms, "1 teff logg na_fe mg_fe teff*teff teff*logg teff*na_fe logg*logg logg*na_fe");
        assert_eq!(config.vectorizer(&names, 2).n_labels(), 6);
        let (key, problem) = config.check(&names[..3]).unwrap_err();
        assert!(key == "additive" && problem.contains("`mg_fe`") && problem.contains("teff, logg, na_fe"), "{problem}");
        assert_eq!(refusal("linear = [\"teff\"]\nadditive = [\"Teff\"]").0, "additive");
        assert_eq!(refusal("linear = [\"teff\"]\n[anchor]").0, "linear");
        assert_eq!(refusal("windows.labels = [\"fe_h\"]\n[latent]").0, "windows");
        assert_eq!(refusal("[windows]").0, "windows.labels");
        assert_eq!(refusal("censor.fe_h = [[1.0, 2.0]]\n[anchor]").0, "censor");
        // What is not said is not written.
        let written = toml::to_string(&CannonConfig::default()).unwrap();
        assert!(!written.contains("linear") && !written.contains("windows"), "{written}");
    }

    #[test]
    fn a_label_acts_in_its_windows_and_others_everywhere() {
        let config = parsed("censor.fe_h = [[10.0, 11.0], [13.0, 14.0]]");
        assert_eq!(config.acts("FE_H", &[9.0, 10.5, 12.0, 13.0]), [false, true, false, true]);
        assert_eq!(config.acts("teff", &[9.0, 10.5]), [true, true]);
    }
}
