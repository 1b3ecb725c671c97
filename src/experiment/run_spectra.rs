//! Best fits of a run's test stars, pixel by pixel.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;
use rayon::prelude::*;

use super::config::ExperimentConfig;
use crate::error::Result;
use crate::kinds::context::Context;
use crate::kinds::kind::FoldResult;
use crate::labelling::best_fits::{BestFits, SpectraFile, SpectraRows};
use crate::models::{Estimated, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::normalizer::Normalizer;
use crate::spectra::split::Fold;
use crate::stars::source::Source;

/// The files of a run: one per model that predicts flux, filled fold by fold.
pub struct RunSpectra {
    files: Vec<(String, SpectraFile)>,
}

impl RunSpectra {
    /// Files of `n_stars` test stars for the models of an experiment; says which models have none.
    pub fn new(config: &ExperimentConfig, grid: &WavelengthGrid, folder: &Path, n_stars: usize) -> Self {
        let mut files = Vec::new();
        for (name, model) in &config.models {
            if model.predicts_flux() {
                let path = folder.join(format!("spectra-{name}.fits"));
                files.push((name.clone(), SpectraFile::new(&path, name, grid, n_stars)));
            } else {
                tracing::warn!("model {name} predicts no flux: output.spectra leaves it out");
            }
        }
        Self { files }
    }

    /// Adds a fold's test stars as its models, trained, fit them.
    ///
    /// # Errors
    /// Those of fitting and writing.
    pub fn add_fold(
        &mut self,
        context: &Context,
        source: &Source,
        fold: &Fold,
        results: &BTreeMap<String, FoldResult>,
    ) -> Result<()> {
        let Context { set, settings, compute, progress } = *context;
        let normalizer = Normalizer::new(&set.grid, &set.continuum_pixels, &settings.continuum)?;
        for (name, file) in &mut self.files {
            let Some(trained) = results.get(name).and_then(|result| result.model.as_ref()) else { continue };
            let estimator = trained.estimator(context);
            progress.start("spectra of best fits", fold.test.len());
            for rows in fold.test.chunks(settings.fit.batch_stars) {
                let (flux, ivar) = set.spectra.of(rows)?;
                let batch = SpectraBatch::new(flux.view(), ivar.view(), compute);
                let wanted = Wanted { best_fit: true, ..Wanted::default() };
                let Estimated { labels: estimates, best_fit, .. } = estimator.estimate(&batch, wanted)?;
                // A file that could be read when it was prepared and cannot now has no continuum.
                let of_star = |row: &usize| match source.spectrum(*row) {
                    Ok((masked, _)) => normalizer.continuum(&masked),
                    Err(_) => vec![f32::NAN; set.n_pixels()],
                };
                let continuum: Vec<f32> = rows.par_iter().map(of_star).collect::<Vec<_>>().concat();
                let continuum =
                    Array2::from_shape_vec(flux.dim(), continuum).expect("a continuum has its spectrum's pixels");
                let file_of =
                    |row: &usize| source.file(*row).map_or_else(String::new, |path| path.display().to_string());
                file.add(&SpectraRows {
                    ids: &rows.iter().map(|row| set.ids[*row].clone()).collect::<Vec<_>>(),
                    files: &rows.iter().map(file_of).collect::<Vec<_>>(),
                    flux: flux.view(),
                    ivar: ivar.view(),
                    continuum: continuum.view(),
                    estimates: &estimates,
                    best_fit: best_fit.as_ref(),
                    notes: &[],
                })?;
                progress.advance(rows.len());
            }
            progress.finish();
        }
        Ok(())
    }

    /// Gives the files their names.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
    pub fn finish(self) -> Result<()> {
        self.files.into_iter().try_for_each(|(_, file)| Box::new(file).finish().map(|_| ()))
    }
}
