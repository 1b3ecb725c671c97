//! The Payne: an emulator of model spectra, which learns from a library and fits labels of stars.

use ndarray::s;

use super::kind::{FoldResult, Job, Kind, Loaded, LoadedPosterior, Model, ModelFolder, Subject};
use crate::error::{Error, Result};
use crate::inference::judged::Judged;
use crate::inference::refine::FittedPayne;
use crate::spectra::grid::WavelengthGrid;
use crate::timings::Timings;
use crate::training::emulator::EmulatorConfig;
use crate::training::payne_checkpoint::{KIND, TrainedPayne};

impl Model for EmulatorConfig {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        let check =
            |holds: bool, key: &str, problem: &str| if holds { Ok(()) } else { Err(subject.problem(key, problem)) };
        check(self.hidden.len() <= 10, "hidden", "must be at most 10 widths")?;
        let widths = [self.hidden.as_slice(), &[self.components, WavelengthGrid::apogee().n_pixels()]].concat();
        let weights: f64 = widths.windows(2).map(|pair| pair[0] as f64 * pair[1] as f64).sum();
        // Each weight with its gradient, what the optimizer remembers, the best and the averaged network.
        let fits = subject.memory.check(8.0 * 4.0 * weights);
        fits.map_err(|takes| subject.problem("hidden", format!("{takes} in training: make it smaller")))
    }

    fn train_and_label(&self, _job: &Job, _timings: &mut Timings) -> Result<FoldResult> {
        Err(Error::Config("models of stars must not be emulators; those learn from data.library".into()))
    }

    fn predicts_flux(&self) -> bool {
        true
    }

    fn emulator(&self) -> Option<&EmulatorConfig> {
        Some(self)
    }
}

impl Kind for EmulatorConfig {
    const NAME: &'static str = KIND;

    fn load(folder: &ModelFolder) -> Result<Loaded> {
        let model = TrainedPayne::load(folder.path, folder.compute)?;
        let fitted = FittedPayne::new(&model, folder.fit, folder.refine, folder.compute);
        let estimator = Judged::load(folder.path, fitted.clone(), &model.preparation.grid.chips)?;
        let posterior = LoadedPosterior {
            likelihood: Box::new(fitted),
            training_labels: model.training_inputs.slice(s![.., ..model.n_labels]).to_owned(),
            words: Some(
                "inputs of the emulator that are not labels: Gaussian about what is usual at the labels; continuum of each \
                 chip: polynomial, flat, integrated out; errors: as large as the misfit",
            ),
        };
        let label_names = model.scaler.names[..model.n_labels].to_vec();
        let loaded = Loaded::new(Box::new(estimator), model.preparation, label_names);
        Ok(Loaded { posterior: Some(posterior), ..loaded })
    }
}
