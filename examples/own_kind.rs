//! A kind of model of one's own: labels are the mean of those training stars whose spectra look most alike.
//! `cargo run --release --example own_kind -- run mine.toml` is maury with `[models.NAME.neighbours]` beside its own kinds.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use maury::kinds::prelude::*;
use ndarray::{Array2, Array3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Its settings.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbours {
    /// Training stars whose labels are averaged.
    count: usize,
}

impl Model for Neighbours {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        if self.count > 1 { Ok(()) } else { Err(subject.problem("count", "must be at least 2")) }
    }

    fn train_and_label(&self, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
        label_test_stars(Box::new(timings.measure("train", || Sky::new(self, job))?), job, timings)
    }
}

impl Kind for Neighbours {
    const NAME: &'static str = "neighbours";

    fn load(folder: &ModelFolder) -> Result<Loaded> {
        let taught: Taught = model_file::read(folder.path, Self::NAME)?;
        let blank = Array2::zeros((taught.rows.len(), taught.preparation.grid.n_pixels()));
        let blank = Spectra::new(SpectraBatch::new(blank.view(), blank.view(), folder.compute));
        let sky = Sky { spectra: weights::load(folder.path, blank, folder.compute)?, taught: taught.clone() };
        // Flags spectra unlike those that taught it, by what the run left in the folder.
        let judged = Recognizing::load(folder.path, sky, &taught.preparation.grid, folder.compute)?;
        Ok(Loaded::new(Box::new(judged), taught.preparation, taught.label_names))
    }
}

/// What `model.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Taught {
    settings: Neighbours,
    label_names: Vec<String>,
    preparation: Preparation,
    rows: Vec<usize>,
    labels: Vec<Vec<f64>>,
}

/// What the file of weights holds: the training spectra, [n_stars, n_pixels], their mean where a pixel is masked.
#[derive(Module, Debug)]
struct Spectra {
    flux: Param<Tensor<2>>,
}

impl Spectra {
    fn new(SpectraBatch { flux, ivar }: SpectraBatch) -> Self {
        let known = ivar.greater_elem(0.0).float().cast(flux.dtype());
        let mean = (flux.clone() * known.clone()).sum_dim(0) / known.clone().sum_dim(0).clamp_min(1.0);
        Self { flux: Param::from_tensor(mean.clone() + (flux - mean) * known) }
    }

    /// Sum of squared differences from each training star, less what they have in common, [n_spectra, n_stars].
    fn distances(&self, SpectraBatch { flux, ivar }: &SpectraBatch) -> Array2<f64> {
        let (known, own) = (ivar.clone().greater_elem(0.0).float().cast(flux.dtype()), self.flux.val().transpose());
        to_array(known.clone().matmul(own.clone() * own.clone()) - (flux.clone() * known).matmul(own) * 2.0)
    }
}

/// The trained model.
#[derive(Debug, Clone)]
struct Sky {
    taught: Taught,
    spectra: Spectra,
}

impl Sky {
    fn new(settings: &Neighbours, Job { context, fold, .. }: &Job) -> Result<Self> {
        let (settings, set, rows) = (settings.clone(), context.set, context.trainable(&fold.training));
        let (label_names, preparation) = (set.label_names.clone(), context.preparation());
        let labels = rows.iter().map(|row| set.labels.row(*row).to_vec()).collect();
        let (flux, ivar) = context.whole(&rows)?;
        let spectra = Spectra::new(SpectraBatch::new(flux.view(), ivar.view(), context.compute));
        Ok(Self { taught: Taught { settings, label_names, preparation, rows, labels }, spectra })
    }
}

impl LabelEstimator for Sky {
    fn n_labels(&self) -> usize {
        self.taught.label_names.len()
    }

    fn estimate(&self, spectra: &SpectraBatch, _wanted: Wanted) -> Result<Estimated> {
        let Taught { settings: Neighbours { count }, labels, .. } = &self.taught;
        let nearest = |distances: ndarray::ArrayView1<f64>| {
            let mut stars: Vec<usize> = (0..labels.len()).collect();
            stars.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]));
            stars.into_iter().take(*count).collect()
        };
        let nearest: Vec<Vec<usize>> = self.spectra.distances(spectra).rows().into_iter().map(nearest).collect();
        let mean = |star: usize, value: &dyn Fn(&[f64]) -> f64| {
            nearest[star].iter().map(|near| value(&labels[*near])).sum::<f64>() / nearest[star].len() as f64
        };
        let (n_stars, n) = (nearest.len(), self.n_labels());
        let means = Array2::from_shape_fn((n_stars, n), |(star, k)| mean(star, &|labels| labels[k]));
        let covariance = Array3::from_shape_fn((n_stars, n, n), |(star, k, l)| {
            mean(star, &|labels| (labels[k] - means[[star, k]]) * (labels[l] - means[[star, l]]))
        });
        Ok(LabelEstimates::read_off(means, covariance, spectra.n_known()).into())
    }
}

impl Trained for Sky {
    fn n_train(&self) -> usize {
        self.taught.rows.len()
    }

    fn estimator(&self, _context: &Context) -> Box<dyn LabelEstimator> {
        Box::new(self.clone())
    }

    fn again(&self, job: &Job) -> Result<Box<dyn Trained>> {
        Ok(Box::new(Self::new(&self.taught.settings, job)?))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        weights::write(folder, &self.spectra, |store| store)?;
        model_file::write(folder, Neighbours::NAME, &self.taught)
    }

    fn tells_strangers(&self) -> Strangers<'_> {
        Strangers::BySpectra(&self.taught.rows)
    }
}

fn main() -> std::process::ExitCode {
    registry::add::<Neighbours>();
    maury::cli::main()
}
