//! Where spectra come from, whatever their format: named, counted, and read a few at a time.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::spectrum_file::RawSpectrum;
use crate::data::value::Value;
use crate::error::Result;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::pixmask::{MaskedSpectrum, PixmaskSettings, Place};
use crate::spectra::quality::Quality;
use crate::training::checkpoint::Preparation;

/// Columns that are handed on from spectra, or the table beside them, to what is made of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOn {
    /// Somebody asked for these.
    pub asked: Vec<String>,
    /// These are welcome where there are any.
    pub welcome: Vec<String>,
}

impl HandedOn {
    /// All their names, those asked for first: the order of [`ReadSpectrum::values`].
    pub fn names(&self) -> Vec<String> {
        self.asked.iter().chain(&self.welcome).cloned().collect()
    }
}

/// What spectra are read for.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// The grid they must be on.
    pub grid: &'a WavelengthGrid,
    /// What its pixels can be, `[n_pixels]`.
    pub places: &'a [Place],
    /// Which of them are masked.
    pub pixmask: &'a PixmaskSettings,
    /// Whether spectra are expected to come normalized.
    pub are_normalized: bool,
}

/// A spectrum, masked but not normalized.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadSpectrum {
    /// Identifier of the star, as the spectrum itself or the table beside it says.
    pub id: String,
    /// Whether `id` is what the spectrum says of itself; else it is a name made of the file's.
    pub is_identified: bool,
    /// The release that reduced it (`sdss5`, `dr17`); empty where unknown.
    pub release: String,
    /// Signal-to-noise ratio per pixel; NaN where unknown.
    pub snr: f64,
    /// Flux and inverse variance.
    pub masked: MaskedSpectrum,
    /// What was masked.
    pub quality: Quality,
    /// What is handed on, a value for each name of [`HandedOn`]; empty where nothing is.
    pub values: Vec<Value>,
}

/// Spectra in some order: files, rows of an array, whatever comes.
pub trait SpectrumSource: std::fmt::Debug + Send + Sync {
    /// Number of spectra.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a spectrum is called in tables and messages; no two of a source are called alike.
    fn name(&self, spectrum: usize) -> String;

    /// What the star of a spectrum is called by something beside the spectrum itself.
    fn id(&self, _spectrum: usize) -> Option<String> {
        None
    }

    /// Refuses spectra that are not what a model was trained on, as far as can be told without reading them all.
    ///
    /// # Errors
    /// [`crate::error::Error::Mismatch`] that names model and spectra, with the remedy.
    fn expect_alike(&self, _model: &Path, _preparation: &Preparation) -> Result<()> {
        Ok(())
    }

    /// Reads some spectra: each, or why it cannot be read.
    fn read(&self, spectra: &[usize], pixels: Pixels) -> Vec<Result<ReadSpectrum>>;

    /// A spectrum as its file has it; none where it is a row of an array.
    ///
    /// # Errors
    /// File errors.
    fn raw(&self, _spectrum: usize) -> Result<Option<RawSpectrum>> {
        Ok(None)
    }

    /// The file of a spectrum of its own; none where it is a row of an array.
    fn file(&self, _spectrum: usize) -> Option<&Path> {
        None
    }

    /// All files that are read; none where the spectra are in memory.
    fn files(&self) -> Box<dyn Iterator<Item = &Path> + '_> {
        Box::new(std::iter::empty())
    }

    /// What tells these spectra from others of the same names; nothing where a name is a file's.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    fn origin(&self) -> Result<String> {
        Ok(String::new())
    }

    /// What identifies the spectra without reading them.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    fn fingerprint(&self) -> Result<String>;
}
