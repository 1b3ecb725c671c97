//! Where `maury label` puts tables and best fits, and in which shape.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::data::files;
use crate::error::{Error, Result};
use crate::labelling::astra;
use crate::labelling::best_fits::{BestFits, SpectraFile, is_best_fits};
use crate::labelling::label_table::TableShape;
use crate::labelling::labeller::Labeller;
use crate::labelling::spectra_arrays::SpectraArrays;
use crate::labelling::spectra_folder;
use crate::labelling::star_spectra::StarSpectra;
use crate::report::explorer::labelled::write_labelled;
use crate::spectra::grid::WavelengthGrid;
use crate::stars::spectra::{HandedOn, SpectrumSource};

/// How best fits are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum SpectraShape {
    /// One FITS file with an image of everything, `<STEM>-spectra.fits`.
    #[default]
    Maury,
    /// A folder `<STEM>-spectra` with a file for each star in the layout of an mwmStar (SDSS-V), which specutils opens by itself.
    Mwm,
    /// A folder `<STEM>-spectra` of arrays: flux.npy, ivar.npy, model.npy, residual.npy, continuum.npy, wavelength.npy, scatter.npy.
    Arrays,
}

/// What is written.
#[derive(Debug, Args)]
pub(super) struct OutArgs {
    /// Where to put the table; `.fits` and `.csv` are added.
    #[arg(long, value_name = "STEM")]
    out: Option<PathBuf>,
    /// Layout of the table. `astra`: that of astraAllStarTheCannon (SDSS-V), labels in HDU 2 as teff, e_teff, ...
    #[arg(
        long,
        value_enum,
        default_value_t,
        requires = "out",
        hide_possible_values = true,
        value_name = "maury|astra"
    )]
    shape: TableShape,
    /// Further columns: keys of the spectra's headers (ra, dec, field, ...), columns of the table in an mwmStar, or of that of --ids.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', requires = "out")]
    columns: Vec<String>,
    /// Also write observed flux, best fit, residual and continuum of every spectrum, as `<STEM>-spectra.fits`, and the model's own
    /// scatter, which chi^2 has in it beside the noise. A job that was killed then begins anew.
    #[arg(long = "spectra", requires = "out", conflicts_with_all = ["shard", "script"])]
    best_fits: bool,
    /// Best fits as a folder `<STEM>-spectra`. `mwm`: a file for each star in the layout of an mwmStar, which specutils opens;
    /// `arrays`: .npy files, [stars, pixels].
    #[arg(
        long,
        value_enum,
        default_value_t,
        requires = "best_fits",
        hide_possible_values = true,
        value_name = "maury|mwm|arrays"
    )]
    spectra_shape: SpectraShape,
    /// Replace a finished table of that name, whatever model and files made it.
    #[arg(long, requires = "out")]
    overwrite: bool,
}

/// Writes the page to explore of a table of labels, by this model; what is told of it. Labels are complete without it.
pub(super) fn page_of(stem: &Path, model: &Path, best_fits: Option<(&Path, &WavelengthGrid)>) -> String {
    let name = model.file_name().unwrap_or(model.as_os_str()).to_string_lossy();
    match write_labelled(stem, &name, best_fits) {
        Ok(path) => format!("{}: every star, to look at\n", path.display()),
        Err(err) => {
            tracing::warn!("{err}; the labels are complete all the same");
            String::new()
        }
    }
}

impl OutArgs {
    /// What was given as --out.
    pub fn given(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    /// Whether a finished table may be replaced.
    pub fn overwrite(&self) -> bool {
        self.overwrite
    }

    /// Whose layout the table has.
    pub fn shape(&self) -> TableShape {
        self.shape
    }

    /// What is handed on from spectra, each once.
    pub fn columns(&self) -> HandedOn {
        let mut asked: Vec<String> = Vec::new();
        for name in self.columns.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            if !asked.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                asked.push(name.to_string());
            }
        }
        let is_of_astra = self.shape == TableShape::Astra || self.best_fits && self.spectra_shape == SpectraShape::Mwm;
        let welcome = if is_of_astra { astra::WELCOME.map(String::from).to_vec() } else { Vec::new() };
        HandedOn { asked, welcome }
    }

    /// What identifies rows: what makes the labels, and what is written beside them.
    ///
    /// # Errors
    /// Those of [`SpectrumSource::origin`].
    pub fn fingerprint(&self, labels: &str, spectra: &dyn SpectrumSource) -> Result<String> {
        let mut fingerprint = labels.to_string();
        let origin = spectra.origin()?;
        if !origin.is_empty() {
            fingerprint += &format!(" spectra {}", &blake3::hash(origin.as_bytes()).to_hex()[..32]);
        }
        if !self.columns.is_empty() {
            fingerprint += &format!(" columns {:?}", self.columns().asked);
        }
        if self.shape != TableShape::Maury {
            fingerprint += &format!(" shape {:?}", self.shape);
        }
        Ok(fingerprint)
    }

    /// Where the best fits go, if they are wanted.
    ///
    /// # Errors
    /// [`Error::Config`] for spectra that have no place in the shape.
    pub fn best_fits(
        &self,
        stem: &Path,
        labeller: &Labeller,
        model: &Path,
        n_stars: usize,
    ) -> Result<Option<Box<dyn BestFits>>> {
        if !self.best_fits {
            return Ok(None);
        }
        let (path, grid, model) = (self.best_fits_of(stem), labeller.grid(), model.display().to_string());
        Ok(Some(match self.spectra_shape {
            SpectraShape::Maury => Box::new(SpectraFile::new(&path, &model, grid, n_stars)),
            SpectraShape::Arrays => Box::new(SpectraArrays::new(&path, &model, grid)),
            SpectraShape::Mwm => {
                Box::new(StarSpectra::new(&path, &model, grid, labeller.label_names(), self.columns().names())?)
            }
        }))
    }

    /// Says where labels are that are not in their table, and what goes on with them.
    pub fn tell_kept(&self, n: usize, journal: &Path) {
        // Their spectra are lost.
        let without = if self.best_fits { " without --spectra" } else { "" };
        if n > 0 {
            let place = journal.display();
            tracing::warn!("labels of {n} spectra are kept in {place}; the same command{without} goes on with them");
        }
    }

    /// `--out` without its ending, if it is given; an error where what is to be written there would replace a spectrum or somebody's
    /// file.
    pub fn stem(&self, spectra: &dyn SpectrumSource, list: Option<&Path>) -> Result<Option<PathBuf>> {
        let Some(out) = &self.out else { return Ok(None) };
        let stem = match out.extension().and_then(|ending| ending.to_str()) {
            Some("fits" | "csv") => out.with_extension(""),
            _ => out.clone(),
        };
        let refused = |detail: String| Err(Error::Config(format!("--out {}: {detail}", out.display())));
        if stem.file_name().is_none() || stem.is_dir() || out.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return refused("this names a folder; name a table in it".into());
        }
        let [table, text] = ["fits", "csv"].map(|ending| files::with_ending(&stem, ending));
        let best_fits = self.best_fits.then(|| self.best_fits_of(&stem));
        let is_folder = self.spectra_shape != SpectraShape::Maury;
        if let Some(path) =
            best_fits.as_ref().filter(|path| is_folder && path.exists() && !spectra_folder::is_own(path))
        {
            let remedy = "remove it, or name another table";
            return refused(format!("{} is there and holds other things than best fits; {remedy}", path.display()));
        }
        if let Some(folder) = best_fits.as_ref().filter(|_| is_folder).and_then(|path| std::fs::canonicalize(path).ok())
        {
            let is_inside = |path: &Path| std::fs::canonicalize(path).is_ok_and(|path| path.starts_with(&folder));
            if spectra.files().any(is_inside) {
                return refused(format!("the best fits would replace spectra that are in {}", folder.display()));
            }
        }
        for target in [&table, &text].into_iter().chain(best_fits.as_ref().filter(|_| !is_folder)) {
            if target.is_dir() {
                return refused(format!("{} is a folder; name another table", target.display()));
            }
            let (Ok(place), Some(name)) = (std::fs::canonicalize(target), target.file_name()) else { continue };
            if list.is_some_and(|list| std::fs::canonicalize(list).is_ok_and(|list| list == place)) {
                return refused(format!("{} would replace the list of the spectra", target.display()));
            }
            // Only namesakes are looked up: a million spectra are not.
            let mut namesakes = spectra.files().filter(|path| path.file_name() == Some(name) || path.is_symlink());
            if namesakes.any(|path| std::fs::canonicalize(path).is_ok_and(|path| path == place)) {
                return refused(format!("{} would replace one of the spectra", target.display()));
            }
        }
        if let Some(path) =
            best_fits.filter(|path| !is_folder && !self.overwrite && path.exists() && !is_best_fits(path))
        {
            let remedy = "--overwrite replaces it, or name another table";
            return refused(format!("{} is there and holds no best fits; {remedy}", path.display()));
        }
        if let Some(folder) = stem.parent() {
            files::create_folder(folder)?;
        }
        Ok(Some(stem))
    }

    /// Where the best fits go that belong to the table `stem`.
    fn best_fits_of(&self, stem: &Path) -> PathBuf {
        let mut name = stem.as_os_str().to_owned();
        name.push("-spectra");
        let folder = PathBuf::from(name);
        if self.spectra_shape == SpectraShape::Maury { files::with_ending(&folder, "fits") } else { folder }
    }
}
