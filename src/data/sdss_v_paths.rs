//! Where the spectrum of a row of Astra's tables lies, in a folder that is flat or laid out as the archive or a part of it.
//!
//! Paths: `sdss/tree` (`dr19.cfg`, `dr20.cfg`), `sdss_access`, and Astra 0.6.0, whose summary tables both releases have.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::catalogue::AstraSpectrum;
use super::spectrum_part::{Observatory, Part};

/// The version of Astra whose files hold APOGEE spectra; those of 0.8.1 (DR20) have none.
const V_ASTRA: &str = "0.6.0";
/// The release of spectra that DR17 had already.
const DR17: &str = "dr17";

/// A folder of spectra, in which files are looked for without listing any of its folders twice.
#[derive(Debug)]
pub struct SpectrumFolder {
    root: PathBuf,
    listed: Mutex<HashMap<PathBuf, Arc<BTreeSet<String>>>>,
}

/// What leads to a file: names of folders from the archive's root on, the file's own last.
type Way = Vec<String>;

impl SpectrumFolder {
    /// The folder.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), listed: Mutex::default() }
    }

    /// The spectrum of a row: the `apStar` file of its release, or else its star's `mwmStar` file.
    ///
    /// Their flux is the same, but an `mwmStar` has only one spectrum of each site, which may be of the other release.
    /// Each file may lie in the folder itself, or below it as in the archive from any folder of the archive's path on; it may
    /// be compressed; and `apStar` files of SDSS-V may have the day of the last visit in their names, the latest of which is
    /// taken. Rows whose values are no plain names are not found.
    pub fn locate(&self, spectrum: &AstraSpectrum, telescope: &str, field: &str) -> Option<PathBuf> {
        own_ways(spectrum, telescope, field).iter().chain(&star_way(spectrum)).find_map(|way| self.find(way))
    }

    fn find(&self, way: &[String]) -> Option<PathBuf> {
        let (name, folders) = way.split_last()?;
        // From the flat folder to the archive's root.
        (0..=folders.len()).rev().find_map(|first| {
            let folder = folders[first..].iter().fold(self.root.clone(), |path, part| path.join(part));
            let names = [format!("{name}.fits"), format!("{name}.fits.gz")];
            let plain = names.into_iter().map(|name| folder.join(name)).find(|path| path.is_file());
            plain.or_else(|| {
                let listed = self.list(&folder);
                let begin = format!("{name}-");
                let days = listed.range(begin.clone()..).take_while(|found| found.starts_with(&begin));
                let day = |found: &String| {
                    let (day, ending) = found[begin.len()..].split_once(".fits")?;
                    day.parse().ok().filter(|_| ["", ".gz"].contains(&ending))
                };
                let latest = days.filter_map(|found| Some((day(found)?, found))).max_by_key(|(day, _): &(u32, _)| *day);
                latest.map(|(_, found)| folder.join(found))
            })
        })
    }

    fn list(&self, folder: &Path) -> Arc<BTreeSet<String>> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let names = listed.entry(folder.to_path_buf()).or_insert_with(|| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            Arc::new(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
        });
        Arc::clone(names)
    }
}

/// The name of the file to ask for; empty where the row leads nowhere.
pub fn first_name(spectrum: &AstraSpectrum, telescope: &str, field: &str) -> String {
    let (own, of_star) = (own_paths(spectrum, telescope, field), star_path(spectrum));
    let first =
        if spectrum.release == DR17 { own.first().or(of_star.as_ref()) } else { of_star.as_ref().or(own.first()) };
    first.and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_string()
}

/// Path below the root of DR19 of the file that has a star's spectra of all instruments.
pub fn star_path(spectrum: &AstraSpectrum) -> Option<String> {
    star_way(spectrum).map(|way| path_of(&way))
}

/// Path below the root of its release of the file that has a row's spectrum alone; one of the 1 m telescope may lie in either
/// of two. Empty where the row does not tell.
pub fn own_paths(spectrum: &AstraSpectrum, telescope: &str, field: &str) -> Vec<String> {
    own_ways(spectrum, telescope, field).iter().map(|way| path_of(way)).collect()
}

/// Whether a file is one of a star's spectra of all instruments.
pub fn is_of_star(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mwm"))
}

fn path_of(way: &[String]) -> String {
    way.join("/") + ".fits"
}

fn way(folders: &str, name: String) -> Way {
    folders.split('/').map(String::from).chain([name]).collect()
}

/// The way to a star's `mwmStar`, without the file's ending.
fn star_way(spectrum: &AstraSpectrum) -> Option<Way> {
    let id = spectrum.sdss_id?;
    let folders = format!("spectro/astra/{V_ASTRA}/spectra/star/{:02}/{:02}", id / 100 % 100, id % 100);
    Some(way(&folders, format!("mwmStar-{V_ASTRA}-{id}")))
}

/// The ways to a row's own file, without its ending.
fn own_ways(spectrum: &AstraSpectrum, telescope: &str, field: &str) -> Vec<Way> {
    let AstraSpectrum { release, apred, obj, healpix, .. } = spectrum;
    let is_plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    let mut of_release = Vec::new();
    if [apred, obj, telescope].into_iter().all(is_plain) {
        if release == DR17 {
            let prefix = if telescope.starts_with("lco") { "as" } else { "ap" };
            if is_plain(field) {
                let folders = format!("apogee/spectro/redux/{apred}/stars/{telescope}/{field}");
                of_release.push(way(&folders, format!("{prefix}Star-{apred}-{obj}")));
            }
        } else {
            let stars = format!("spectro/apogee/redux/{apred}/stars/{telescope}");
            if let Some(pixel) = healpix {
                let folders = format!("{stars}/{}/{pixel}", pixel / 1000);
                of_release.push(way(&folders, format!("apStar-{apred}-{telescope}-{obj}")));
            } else {
                of_release.push(way(&stars, format!("apStar-{apred}-{telescope}-{obj}")));
            }
            if telescope == "apo1m" && is_plain(field) {
                of_release.push(way(&format!("{stars}/{field}"), format!("apStar-{apred}-{obj}")));
            }
        }
    }
    of_release
}

/// Which spectrum of a file is the one that a telescope took: files of Astra hold those of both observatories.
pub fn part_of(path: &Path, telescope: &str) -> Part {
    let observatory = if telescope.starts_with("lco") { Observatory::Lco } else { Observatory::Apo };
    Part { observatory: Some(observatory).filter(|_| is_of_star(path) && !telescope.is_empty()), visit: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spectrum(release: &str, apred: &str) -> AstraSpectrum {
        AstraSpectrum {
            sdss_id: Some(85_993_595),
            release: release.into(),
            apred: apred.into(),
            obj: "2M17+01".into(),
            healpix: Some(10_105),
        }
    }

    fn place(folder: &Path, relative: &str) -> PathBuf {
        let path = folder.join(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn paths_are_those_of_the_archive() {
        let star = "spectro/astra/0.6.0/spectra/star/35/95/mwmStar-0.6.0-85993595.fits";
        assert_eq!(star_path(&spectrum("sdss5", "1.3")).as_deref(), Some(star));
        let apogee = "spectro/apogee/redux/1.3/stars/apo25m/10/10105/apStar-1.3-apo25m-2M17+01.fits";
        assert_eq!(own_paths(&spectrum("sdss5", "1.3"), "apo25m", ""), [apogee]);
        let dr17 = "apogee/spectro/redux/dr17/stars/lco25m/060+00/asStar-dr17-2M17+01.fits";
        assert_eq!(own_paths(&spectrum("dr17", "dr17"), "lco25m", "060+00"), [dr17]);
        let one_metre = &own_paths(&spectrum("sdss5", "1.3"), "apo1m", "calibration")[1];
        assert_eq!(one_metre, "spectro/apogee/redux/1.3/stars/apo1m/calibration/apStar-1.3-2M17+01.fits");
        let short = AstraSpectrum { sdss_id: Some(7), ..AstraSpectrum::default() };
        let star = "spectro/astra/0.6.0/spectra/star/00/07/mwmStar-0.6.0-7.fits";
        assert_eq!((star_path(&short).as_deref(), own_paths(&short, "", "").len()), (Some(star), 0));
        assert_eq!(first_name(&spectrum("sdss5", "1.3"), "apo25m", ""), "mwmStar-0.6.0-85993595.fits");
        assert_eq!(first_name(&spectrum("dr17", "dr17"), "apo25m", "M15"), "apStar-dr17-2M17+01.fits");
        assert_eq!(first_name(&AstraSpectrum::default(), "apo25m", "M15"), "");
    }

    #[test]
    fn folders_may_be_flat_or_mirror_any_part_of_the_archive() {
        for relative in [
            "mwmStar-0.6.0-85993595.fits",
            "35/95/mwmStar-0.6.0-85993595.fits.gz",
            "spectro/astra/0.6.0/spectra/star/35/95/mwmStar-0.6.0-85993595.fits",
            "apStar-1.3-apo25m-2M17+01.fits",
            "apo25m/10/10105/apStar-1.3-apo25m-2M17+01.fits",
            "redux/1.3/stars/apo25m/10/10105/apStar-1.3-apo25m-2M17+01-59800.fits",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = place(folder.path(), relative);
            let found = SpectrumFolder::new(folder.path()).locate(&spectrum("sdss5", "1.3"), "apo25m", "");
            assert_eq!(found, Some(path));
        }
    }

    #[test]
    fn the_latest_visit_is_taken_and_other_stars_and_files_on_their_way_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let locate = || SpectrumFolder::new(folder.path()).locate(&spectrum("sdss5", "1.3"), "apo25m", "");
        place(folder.path(), "apStar-1.3-apo25m-2M17+0123-59999.fits");
        place(folder.path(), "apStar-1.3-apo25m-2M17+01-old.fits");
        place(folder.path(), "apStar-1.3-apo25m-2M17+01-60100.fits.part");
        assert_eq!(locate(), None);
        let star = place(folder.path(), "mwmStar-0.6.0-85993595.fits");
        assert_eq!(locate(), Some(star));
        place(folder.path(), "apStar-1.3-apo25m-2M17+01-59800.fits");
        let latest = place(folder.path(), "apStar-1.3-apo25m-2M17+01-60012.fits");
        assert_eq!(locate(), Some(latest));
        let dr17 = place(folder.path(), "M15/apStar-dr17-2M17+01.fits");
        let found = SpectrumFolder::new(folder.path()).locate(&spectrum("dr17", "dr17"), "apo25m", "M15");
        assert_eq!(found, Some(dr17));
    }

    #[test]
    fn a_row_never_leads_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        place(root.path(), "apStar-dr17-x.fits");
        for (apred, obj, telescope, field) in [
            ("dr17", "../apStar-dr17-x", "apo25m", "M15"),
            ("dr17", "x", "apo25m", ".."),
            ("dr17", "x", "..", "M15"),
            ("..", "x", "apo25m", "M15"),
        ] {
            let (apred, obj) = (apred.to_string(), obj.to_string());
            let spectrum = AstraSpectrum { sdss_id: None, healpix: None, release: "dr17".into(), apred, obj };
            assert!(own_paths(&spectrum, telescope, field).is_empty() && star_path(&spectrum).is_none());
            assert_eq!(SpectrumFolder::new(&inside).locate(&spectrum, telescope, field), None);
        }
    }
}
