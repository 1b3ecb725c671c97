//! Which spectra are meant: files, or rows of arrays.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::data::files;
use crate::data::spectrum_file::{Part, expect_part, split_part};
use crate::error::{Error, Result};
use crate::labelling::best_fits::{is_best_fits, is_result};
use crate::labelling::spectra_folder::STAR_FILE;
use crate::stars::array_files::{ArrayChoice, ArrayFiles};
use crate::stars::spectra::{HandedOn, SpectrumSource};
use crate::stars::spectrum_files::SpectrumFiles;

/// Files without visits that are told one by one.
const MOST_PROBLEMS: usize = 5;

/// Spectra on the command line.
#[derive(Debug, Args)]
pub(super) struct SpectraArgs {
    /// apStar, mwmStar or mwmVisit files, or folders of them; `'FILE[visit 2]'` and `'FILE[APOGEE/LCO]'` name one spectrum of several.
    /// Best fits that lie below a folder, in one of their own, are passed over.
    #[arg(required_unless_present_any = ["list", "flux"])]
    spectra: Vec<PathBuf>,
    /// A text file with one spectrum's path a line.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Every single visit in the files, in place of the coadds.
    #[arg(long, conflicts_with = "flux")]
    visits: bool,
    /// In place of files: flux of any survey, [stars, pixels], treated as that the model was trained on. FILE.npy, FILE.npz:KEY or
    /// FILE.fits[NAME].
    // Options that require it exclude files themselves: clap does not ask for what files exclude.
    #[arg(long, value_name = "ARRAY", conflicts_with_all = ["spectra", "list"], help_heading = "Arrays")]
    flux: Option<PathBuf>,
    /// Error of the flux, [stars, pixels].
    #[arg(long, value_name = "ARRAY", requires = "flux", conflicts_with_all = ["ivar", "spectra", "list"], help_heading = "Arrays")]
    error: Option<PathBuf>,
    /// Inverse variance of the flux, in place of its error.
    #[arg(long, value_name = "ARRAY", requires = "flux", conflicts_with_all = ["spectra", "list"], help_heading = "Arrays")]
    ivar: Option<PathBuf>,
    /// Wavelengths of the pixels, vacuum Angstrom, to be held against the model's.
    #[arg(long, value_name = "ARRAY", requires = "flux", conflicts_with_all = ["spectra", "list"], help_heading = "Arrays")]
    wavelengths: Option<PathBuf>,
    /// A table with a row for each spectrum that names the stars; rows are numbered without it.
    #[arg(long, value_name = "TABLE", requires = "flux", conflicts_with_all = ["spectra", "list"], help_heading = "Arrays")]
    ids: Option<PathBuf>,
    /// Only this star of the arrays, by its `id` (without --ids `row0000001` is the first) or by its row as the column `file` has it,
    /// counted from 0: `flux.npy[0]`, or `[0]`. May be given again.
    #[arg(long = "star", value_name = "ID", requires = "flux", conflicts_with_all = ["spectra", "list"], help_heading = "Arrays")]
    stars: Vec<String>,
}

impl SpectraArgs {
    /// Where the spectra are, each once, in the order given, and what is handed on of them.
    ///
    /// # Errors
    /// [`Error::Config`] for arrays without noise; those of finding files and arrays.
    pub fn source(&self, columns: &HandedOn) -> Result<Box<dyn SpectrumSource>> {
        let Some(flux) = &self.flux else {
            let files = self.files(self.visits)?;
            let files = if self.visits { SpectrumFiles::of_visits(&files) } else { SpectrumFiles::of_parts(files) };
            return Ok(Box::new(files.handing_on(columns)));
        };
        if self.error.is_none() && self.ivar.is_none() {
            let detail = "--flux goes with --error or --ivar: a fit weighs pixels by their noise";
            return Err(Error::Config(detail.into()));
        }
        Ok(Box::new(ArrayFiles::open(ArrayChoice {
            flux: flux.clone(),
            error: self.error.clone(),
            ivar: self.ivar.clone(),
            wavelengths: self.wavelengths.clone(),
            ids: self.ids.clone(),
            only: self.stars.clone(),
            columns: columns.clone(),
        })?))
    }

    /// Every single visit in the files, those of which a part is named as they are, or the rows of arrays; of files alone something is
    /// handed on. Files without visits are told on the log.
    ///
    /// # Errors
    /// Those of [`SpectraArgs::source`]; what is wrong with the first file where no file has visits.
    pub fn visits(&self, columns: &HandedOn) -> Result<Box<dyn SpectrumSource>> {
        if self.flux.is_some() {
            return self.source(&HandedOn::default());
        }
        let (visits, mut problems) = SpectrumFiles::of_visits_alone(&self.files(true)?);
        if visits.is_empty() && !problems.is_empty() {
            return Err(problems.swap_remove(0));
        }
        problems.iter().take(MOST_PROBLEMS).for_each(|problem| tracing::warn!("{problem}; passed over"));
        if problems.len() > MOST_PROBLEMS {
            tracing::warn!("... and {} more files without visits", problems.len() - MOST_PROBLEMS);
        }
        Ok(Box::new(visits.handing_on(columns)))
    }

    /// Whether they are rows of arrays.
    pub fn are_rows(&self) -> bool {
        self.flux.is_some()
    }

    /// The file that lists them, if one does.
    pub fn list(&self) -> Option<&Path> {
        self.list.as_deref()
    }

    fn files(&self, of_visits: bool) -> Result<Vec<(PathBuf, Part)>> {
        let mut named = self.spectra.clone();
        if let Some(list) = &self.list {
            named.extend(files::read_text(list)?.lines().map(str::trim).filter(|l| !l.is_empty()).map(PathBuf::from));
        }
        let (mut spectra, mut n_visit_files, mut results) = (Vec::with_capacity(named.len()), 0, Vec::new());
        let mut best_fits = Vec::new();
        for path in &named {
            expect_part(path)?;
            let (file, part) = split_part(path);
            let is_named = part != Part::default() && file.exists();
            // A listed file that is not there gets its row and flag; a folder is walked.
            match (path.is_dir(), self.list.is_some()) {
                (false, listed) if listed || is_named => spectra.push((file, part)),
                _ => {
                    let mut found = files::files_below(&file, &[".fits", ".fits.gz"])?;
                    if path.is_dir() && !of_visits {
                        let n_found = found.len();
                        found.retain(|path| !is_of_visits(path));
                        n_visit_files += n_found - found.len();
                    }
                    if path.is_dir() {
                        best_fits.extend(take_best_fits(&mut found, &file));
                        results.extend(found.extract_if(.., |path| !is_called_as_spectrum(path) && is_result(path)));
                    }
                    spectra.extend(found.into_iter().map(|path| (path, Part::default())));
                }
            }
        }
        if n_visit_files > 0 {
            tracing::info!("{n_visit_files} mwmVisit files are passed over; --visits labels what is in them");
        }
        if let Some(first) = results.first() {
            let (n, first) = (results.len(), first.display());
            tracing::info!(
                "{n} files that maury wrote and that hold no spectra are passed over: tables, best fits ({first})"
            );
        }
        if let Some(first) = best_fits.first() {
            let (n, first) = (best_fits.len(), first.display());
            tracing::info!(
                "{n} best fits that maury wrote beside spectra are passed over ({first}); name their folder to read them"
            );
        }
        let mut known = HashSet::with_capacity(spectra.len());
        let n_named = spectra.len();
        spectra.retain(|spectrum| known.insert(spectrum.clone()));
        if spectra.len() < n_named {
            let again = n_named - spectra.len();
            tracing::warn!("{again} of {n_named} spectra are named again; each counts once, where it is named first");
        }
        Ok(spectra)
    }
}

/// Whether a file that nobody named holds single visits alone, by the archive's rule for names.
fn is_of_visits(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mwmVisit"))
}

/// Whether a file has a name that the archive and maury give to spectra; a folder of a million need not be looked into to tell.
fn is_called_as_spectrum(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ["apStar", "asStar", "stStar", "mwm", "aspcapStar", STAR_FILE].iter().any(|begins| name.starts_with(begins))
}

/// Takes out of what was found below a folder the best fits of single stars that are not right in it: they are copies of spectra
/// that lie elsewhere. A folder is known by the first of them.
fn take_best_fits(found: &mut Vec<PathBuf>, named: &Path) -> Vec<PathBuf> {
    let mut folders: HashMap<PathBuf, bool> = HashMap::new();
    let is_best_fit = |path: &mut PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(folder) = path.parent().filter(|folder| *folder != named && name.starts_with(STAR_FILE)) else {
            return false;
        };
        match folders.get(folder) {
            Some(known) => *known,
            None => *folders.entry(folder.to_path_buf()).or_insert(is_best_fits(path)),
        }
    };
    found.extract_if(.., is_best_fit).collect()
}

/// Nothing could be read.
pub(super) fn none_read() -> Error {
    let remedy = "name apStar files or folders that hold them, or arrays by --flux".to_string();
    Error::TooFewStars { stage: "reading spectra".into(), n_stars: 0, needed: 1, remedy }
}
