//! Spectra of best fits beside the observed ones, as one FITS file per model, written batch by batch.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2, Zip};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::fits::{Column, FitsReader, UnfinishedFits};
use crate::data::value::Value;
use crate::device::to_f64;
use crate::error::Result;
use crate::models::cannon::NO_INFORMATION;
use crate::models::{FluxPrediction, LabelEstimates};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::quality::star_flags;

/// `[output]`: what is written beside labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSettings {
    /// Observed flux, best fit, residual and continuum of every star, as `spectra-<model>.fits`, for models that predict flux.
    pub spectra: bool,
}

/// Header key of what wrote the file, and how its value begins.
pub const CREATOR: (&str, &str) = ("CREATOR", "maury ");

/// The value of [`CREATOR`]: this version of the program.
pub fn creator() -> String {
    format!("{}{}", CREATOR.1, env!("CARGO_PKG_VERSION"))
}

/// The header key of a file that [`creator`] made: name, value, comment.
pub fn created_by(creator: &str) -> (&'static str, &str, &'static str) {
    (CREATOR.0, creator, "program and version")
}

/// Where spectra and their best fits go, in one shape or another.
pub trait BestFits {
    /// Adds the next stars.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`], [`crate::error::Error::Fits`], for instance when the disk is full.
    fn add(&mut self, rows: &SpectraRows) -> Result<()>;

    /// Gives what was written its name; where it is, or `None` where the model predicts no flux.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
    fn finish(self: Box<Self>) -> Result<Option<PathBuf>>;
}

/// The images of the file, [n_stars, n_pixels] each, and what they hold.
const IMAGES: [(&str, &str); 5] = [
    ("FLUX", "observed flux over pseudo-continuum; NaN where masked"),
    ("IVAR", "inverse variance of FLUX; 0 where masked"),
    ("MODEL", "flux of the best fit; NaN where the model knows nothing"),
    ("RESIDUAL", "FLUX - MODEL"),
    ("CONTINUUM", "pseudo-continuum that FLUX was divided by"),
];
/// What a model adds to the noise, [n_models, n_pixels].
const SCATTER: &str = "SCATTER";
/// How chi^2 of a star follows from the images.
const CHI_SQUARED: &str = "chi^2 has the model's own scatter in it beside the noise: \
    chi^2 = sum of RESIDUAL^2 / (1 / IVAR + SCATTER^2) of pixels that have a RESIDUAL. A model with nuisance spectra adds the \
    squares of their amplitudes.";

/// Whether a file is one of best fits, whatever model and spectra it is of.
pub fn is_best_fits(path: &Path) -> bool {
    let creator = FitsReader::open(path).ok().and_then(|mut file| file.key_text(0, CREATOR.0));
    creator.is_some_and(|creator| creator.starts_with(CREATOR.1))
}

/// Whether a file is maury's and holds no spectrum to be read: a table of labels, or best fits but for those of single stars.
pub fn is_result(path: &Path) -> bool {
    // None of them is packed.
    let Some(mut file) = path.extension().filter(|end| *end == "fits").and_then(|_| FitsReader::open(path).ok()) else {
        return false;
    };
    let mut is_ours = |hdu: usize| file.key_text(hdu, CREATOR.0).is_some_and(|by| by.starts_with(CREATOR.1));
    // Of tables in the HDU of the labels, which one layout has behind an empty one.
    is_ours(1) || is_ours(2) || is_ours(0) && file.key_text(1, "EXTNAME").as_deref() == Some(IMAGES[0].0)
}

/// What else is known of a star.
pub struct StarNote<'a> {
    /// Signal-to-noise ratio per pixel; NaN where unknown.
    pub snr: f64,
    /// Flags of its spectrum.
    pub flags: i64,
    /// What is handed on of it.
    pub values: &'a [Value],
}

/// Some stars' rows of the images.
pub struct SpectraRows<'a> {
    /// Star identifiers.
    pub ids: &'a [String],
    /// The spectra's files; empty where they came as rows of an array.
    pub files: &'a [String],
    /// Normalized flux, [n_stars, n_pixels].
    pub flux: ArrayView2<'a, f32>,
    /// Its inverse variance.
    pub ivar: ArrayView2<'a, f32>,
    /// The continuum.
    pub continuum: ArrayView2<'a, f32>,
    /// What was estimated of the stars.
    pub estimates: &'a LabelEstimates,
    /// The best fits; none of a model that predicts no flux.
    pub best_fit: Option<&'a FluxPrediction>,
    /// What else is known of the stars; empty where nothing is.
    pub notes: &'a [StarNote<'a>],
}

/// Flux and best fit of some stars, NaN where there is none, [n_stars, n_pixels].
pub(super) struct FittedFlux {
    /// Observed flux over continuum, of pixels that carry information.
    pub flux: Array2<f32>,
    /// The best fit, of pixels that the model knows and stars that were fitted.
    pub model: Array2<f32>,
    /// `flux` - `model`.
    pub residual: Array2<f32>,
    /// The model's own scatter, beside the noise, of pixels that it knows, `[n_pixels]`.
    pub scatter: Vec<f32>,
}

impl SpectraRows<'_> {
    /// Flux, best fit and residual; `None` of a model that predicts no flux.
    pub(super) fn fitted(&self) -> Option<FittedFlux> {
        let best_fit = self.best_fit?;
        let shape = self.flux.dim();
        let known = |s2: &f64| if *s2 < NO_INFORMATION { s2.sqrt() as f32 } else { f32::NAN };
        let scatter: Vec<f32> = to_f64(best_fit.variance.clone()).iter().map(known).collect();
        let mean = Array2::from_shape_vec(shape, to_f64(best_fit.mean.clone())).expect("a fit has its spectra's shape");
        let flux =
            Zip::from(self.flux).and(self.ivar).map_collect(|flux, ivar| if *ivar > 0.0 { *flux } else { f32::NAN });
        let model = Array2::from_shape_fn(shape, |(star, pixel)| {
            let is_fitted = self.estimates.flags[star] & star_flags::NO_DATA == 0;
            if is_fitted && scatter[pixel].is_finite() { mean[[star, pixel]] as f32 } else { f32::NAN }
        });
        let residual = &flux - &model;
        Some(FittedFlux { flux, model, residual, scatter })
    }
}

/// Says that a model has no best fits.
pub(super) fn tell_no_flux(model: &str) {
    tracing::warn!("{model} goes from spectra to labels and predicts no flux: it has no file of spectra");
}

/// A file of spectra on its way; it appears under its name when all its stars are in it.
///
/// On disk it has its whole size from the first batch on, and memory holds one batch. chi^2 of a star is the sum of
/// `RESIDUAL^2 / (1 / IVAR + SCATTER^2)` over pixels that have a residual, where SCATTER, [n_models, n_pixels], is the model's own: the row
/// that `scatter` of the table STARS names.
pub struct SpectraFile {
    path: PathBuf,
    model: String,
    grid: WavelengthGrid,
    n_stars: usize,
    /// None before the first batch, and with a model that predicts no flux.
    file: Option<UnfinishedFits>,
    ids: Vec<String>,
    files: Vec<String>,
    /// Scatter of each model whose stars came, and which of them each star's is.
    scatter: Vec<Vec<f32>>,
    scatter_rows: Vec<i64>,
}

impl SpectraFile {
    /// A file of so many stars; nothing is written yet.
    pub fn new(path: &Path, model: &str, grid: &WavelengthGrid, n_stars: usize) -> Self {
        let (path, model, grid) = (path.to_path_buf(), model.to_string(), grid.clone());
        let (ids, files, scatter, scatter_rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { path, model, grid, n_stars, file: None, ids, files, scatter, scatter_rows }
    }

    fn begin(&self) -> Result<UnfinishedFits> {
        let mut file = UnfinishedFits::begin(&self.path)?;
        let writer = file.writer();
        writer.append_key("MODEL", self.model.as_str(), "the model that was fitted")?;
        writer.append_key(CREATOR.0, creator().as_str(), "")?;
        writer.comment(
            "Every image has a row for each star, in the order of the table STARS, and a column for each pixel, whose \
             wavelengths are in WAVELENGTH. Flux has no unit: it is divided by CONTINUUM.",
        )?;
        writer.comment(CHI_SQUARED)?;
        for (name, meaning) in IMAGES {
            writer.image_to_fill(name, [self.n_stars, self.grid.n_pixels()])?;
            writer.comment(meaning)?;
            if name == "CONTINUUM" && self.grid.is_apogee() {
                writer.append_key("BUNIT", "10**(-17) erg s-1 cm-2 Angstrom-1", "of the apStar files")?;
            }
        }
        writer.image("WAVELENGTH", &self.grid.wavelength, &[self.grid.n_pixels()])?;
        if self.grid == WavelengthGrid::from_pixel_numbers(self.grid.n_pixels()) {
            writer.comment("pixel numbers: the spectra came without wavelengths")?;
        } else {
            writer.append_key("BUNIT", "Angstrom", "wavelength in vacuum")?;
        }
        Ok(file)
    }
}

impl BestFits for SpectraFile {
    fn add(&mut self, rows: &SpectraRows) -> Result<()> {
        let first = self.ids.len();
        self.ids.extend_from_slice(rows.ids);
        self.files.extend_from_slice(rows.files);
        let Some(FittedFlux { flux, model, residual, scatter }) = rows.fitted() else {
            if first == 0 {
                tell_no_flux(&self.model);
            }
            return Ok(());
        };
        // Stars of one model come together; NaN is like no number.
        let bits = |scatter: &[f32]| scatter.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        if self.scatter.last().is_none_or(|last| bits(last) != bits(&scatter)) {
            self.scatter.push(scatter);
        }
        self.scatter_rows.resize(self.ids.len(), self.scatter.len() as i64 - 1);
        if self.file.is_none() {
            self.file = Some(self.begin()?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let images = [flux.view(), rows.ivar, model.view(), residual.view(), rows.continuum];
        for ((name, _), image) in IMAGES.iter().zip(images) {
            file.writer().fill_rows(name, first, image)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        let Some(mut file) = self.file else { return Ok(None) };
        let mut columns = vec![Column::text("id", self.ids)];
        if self.files.iter().any(|name| !name.is_empty()) {
            columns.push(Column::text("file", self.files));
        }
        columns.push(Column::i64("scatter", self.scatter_rows));
        let writer = file.writer();
        writer.table("STARS", &columns)?;
        writer.comment("scatter: the star's row of SCATTER, counted from 0")?;
        let shape = [self.scatter.len(), self.grid.n_pixels()];
        writer.image_f32(SCATTER, &self.scatter.concat(), shape)?;
        writer.comment("scatter of the model beside the noise, in units of FLUX; NaN where it")?;
        writer.comment("knows nothing. A row for each model: those of folds differ.")?;
        file.complete()?;
        Ok(Some(self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::FitsReader;
    use crate::device::{Compute, Precision};
    use ndarray::{Array3, array};

    #[test]
    fn residuals_are_flux_minus_model_and_what_is_not_known_is_nan() {
        let compute = Compute::flex(Precision::F64);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spectra-a.fits");
        let grid = WavelengthGrid::from_wavelengths(vec![15_100.0, 15_101.0, 15_102.5]).unwrap();
        let mut file = SpectraFile::new(&path, "a", &grid, 3);
        let estimates = |flags: Vec<i64>| LabelEstimates {
            labels: Array2::zeros((flags.len(), 1)),
            covariance: Array3::zeros((flags.len(), 1, 1)),
            chi2: vec![0.0; flags.len()],
            n_pixels: vec![3; flags.len()],
            flags,
        };
        let mut add = |ids: &[&str], flux: Array2<f32>, ivar: Array2<f32>, model: &[f64], flags: Vec<i64>| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let best_fit = FluxPrediction {
                mean: compute.tensor(model, [ids.len(), 3]),
                // The model of the last star is another.
                variance: compute.tensor(&[0.25 * ids.len() as f64 - 0.25, 0.0, NO_INFORMATION], [1, 3]),
            };
            file.add(&SpectraRows {
                ids: &ids,
                files: &vec![String::new(); ids.len()],
                flux: flux.view(),
                ivar: ivar.view(),
                continuum: (&flux * 2.0).view(),
                estimates: &estimates(flags),
                best_fit: Some(&best_fit),
                notes: &[],
            })
            .unwrap();
        };
        let model = [0.5, 0.75, 1.0, 0.25, 0.25, 0.25];
        let two = array![[1.0_f32, 0.5, 0.25], [0.5, 1.0, 1.0]];
        add(&["s1", "s2"], two, array![[4.0_f32, 4.0, 4.0], [4.0, 0.0, 4.0]], &model, vec![0, 0]);
        assert!(!path.exists(), "half a file has no name");
        add(&["s3"], array![[1.0_f32, 1.0, 1.0]], array![[0.0_f32, 0.0, 0.0]], &model[..3], vec![star_flags::NO_DATA]);
        assert_eq!(Box::new(file).finish().unwrap(), Some(path.clone()));
        let mut fits = FitsReader::open(&path).unwrap();
        let mut image = |hdu: usize| fits.image_section::<f64>(hdu, 0..9).unwrap();
        let nan = f64::NAN;
        let expected = [
            [1.0, 0.5, 0.25, 0.5, nan, 1.0, nan, nan, nan],
            [4.0, 4.0, 4.0, 4.0, 0.0, 4.0, 0.0, 0.0, 0.0],
            [0.5, 0.75, nan, 0.25, 0.25, nan, nan, nan, nan],
            [0.5, -0.25, nan, 0.25, nan, nan, nan, nan, nan],
            [2.0, 1.0, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        ];
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(format!("{:?}", image(index + 1)), format!("{expected:?}"), "{}", IMAGES[index].0);
        }
        assert!(is_best_fits(&path) && is_result(&path));
        assert_eq!(fits.image_section::<f64>(6, 0..3).unwrap(), grid.wavelength);
        assert_eq!(fits.key_text(6, "BUNIT").as_deref(), Some("Angstrom"));
        assert_eq!(fits.texts(7, "id", 0..3).unwrap(), ["s1", "s2", "s3"]);
        assert_eq!(fits.integers(7, "scatter", 0..3).unwrap(), [0, 0, 1]);
        let scatter = fits.image_section::<f64>(8, 0..6).unwrap();
        assert_eq!(format!("{scatter:?}"), format!("{:?}", [0.5, 0.0, nan, 0.0, 0.0, nan]));
    }
}
