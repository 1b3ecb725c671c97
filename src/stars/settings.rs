//! What an experiment says of its stars: where they come from, which are taken, and how their spectra are prepared.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::catalogue::{APOGEE_ID, Catalogue, Naming};
use crate::data::columns::ColumnNames;
use crate::data::fetch::ArchiveSettings;
use crate::data::selection::{Cut, Selection, select};
use crate::error::Result;
use crate::memory::Memory;
use crate::mock::MockSettings;
use crate::spectra::continuum::ContinuumSettings;
use crate::spectra::pixmask::PixmaskSettings;

/// The parts of an experiment that its prepared spectra depend on.
#[derive(Debug, Clone)]
pub struct StarSettings {
    /// Labels, by their catalogue columns unless [`DataConfig::columns`] says otherwise.
    pub labels: Vec<String>,
    /// Where stars come from.
    pub data: DataConfig,
    /// Which stars enter.
    pub selection: Selection,
    /// Which pixels are masked.
    pub pixmask: PixmaskSettings,
    /// How spectra are normalized.
    pub continuum: ContinuumSettings,
    /// Memory that may be taken; it changes no spectrum.
    pub memory: Memory,
}

impl StarSettings {
    /// The table that names the stars and their labels, and its column of identifiers; none where a survey is made up.
    pub fn catalogue(&self) -> Option<(&Path, &str)> {
        match (&self.data.apstar, &self.data.arrays) {
            (Some(apstar), _) => Some((&apstar.catalogue, APOGEE_ID)),
            (None, Some(arrays)) => Some((&arrays.labels, &arrays.id_column)),
            (None, None) => None,
        }
    }

    /// The stars of a catalogue that pass every cut, and what each cut removed.
    ///
    /// # Errors
    /// Those of [`select`].
    pub fn select(&self, catalogue: &Path, id_column: &str) -> Result<(Catalogue, Vec<Cut>)> {
        let naming = Naming { id_column, columns: &self.data.columns };
        select(catalogue, naming, &self.labels, &self.selection)
    }
}

/// `[data]`: one of several doors, and optionally a table of true labels (mock surveys have one).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// An APOGEE catalogue and a folder of apStar files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apstar: Option<ApstarData>,
    /// Where `maury fetch` takes the catalogue and the spectra of `apstar` from.
    #[serde(skip_serializing_if = "ArchiveSettings::is_usual")]
    pub archive: ArchiveSettings,
    /// Arrays of any survey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrays: Option<ArrayData>,
    /// What columns of the catalogue of `apstar`, or the labels of `arrays`, are called.
    #[serde(skip_serializing_if = "ColumnNames::is_empty")]
    pub columns: ColumnNames,
    /// A mock survey, made when it is first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock: Option<MockSettings>,
    /// Model spectra, for experiments that train an emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<LibraryData>,
    /// An apStar file of a star whose labels nobody tells, for `[lab]`; without it, a test star's labels are withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mystery: Option<PathBuf>,
    /// Table with an id column and true labels, for `<label>_truth` columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<PathBuf>,
}

/// `[data.apstar]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApstarData {
    /// allStar FITS file, a table of Astra's (`astraAllStarASPCAP-0.6.0.fits.gz`), a SkyServer answer in CSV, or any other
    /// table with their columns.
    pub catalogue: PathBuf,
    /// Folder of apStar files, and for Astra's tables mwmStar files: flat, by field, or in the archive's layout.
    pub spectra: PathBuf,
}

/// `[data.arrays]`. Paths end in .npy, .npz (`file.npz:key` picks an array) or .fits (`file.fits[NAME]` picks an image).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArrayData {
    /// Flux, [n_stars, n_pixels].
    pub flux: PathBuf,
    /// Error of the flux, [n_stars, n_pixels].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<PathBuf>,
    /// Inverse variance of the flux, in place of `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ivar: Option<PathBuf>,
    /// Table (text, FITS, VOTable or Parquet) with one row per star, in the order of the spectra.
    pub labels: PathBuf,
    /// Wavelengths of the pixels in vacuum Angstrom; pixel numbers where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wavelengths: Option<PathBuf>,
    /// Column of the star identifiers; empty for the usual names, or else row numbers.
    pub id_column: String,
}

/// `[data.library]`: model spectra on the apStar grid, normalized by their true continuum, in an .npz file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LibraryData {
    /// The file: `flux_u16` [n_models, n_pixels] times `flux_scale`, `labels` and `nuisance` [n_models, ...].
    pub path: PathBuf,
    /// Names of the columns of `nuisance`; an empty name leaves a column out.
    pub nuisances: Vec<String>,
    /// Those of the nuisances of which the logarithm counts; `log_` is put before their names.
    pub logarithmic: Vec<String>,
    /// One model in this many is held out of training, to measure the emulator's error.
    #[schemars(range(min = 2))]
    pub hold_out_every: usize,
    /// Who made the spectra, and from what: for the model card.
    pub sources: String,
}
