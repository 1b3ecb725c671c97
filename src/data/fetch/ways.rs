//! The ways to the spectrum of a catalogue row: files of the archive that may hold it, and where each is to lie here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::archive::{Place, Shelf, Source, expect_plain};
use super::listing::{Listing, stem};
use crate::data::catalogue::Catalogue;
use crate::data::healpix::pixel_of_name;
use crate::data::sdss_v_paths::{is_of_star, own_paths, star_path};

/// The release of Astra's tables whose spectra are DR17's own files.
const DR17: &str = "dr17";

/// A file that may hold a spectrum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub source: Source,
    pub destination: PathBuf,
}

impl Way {
    /// Whether it leads to the file with a star's spectra of all instruments.
    pub fn is_of_star(&self) -> bool {
        is_of_star(Path::new(self.source.name()))
    }
}

/// The way to a spectrum of DR17's own catalogue.
pub(super) fn of_dr17(place: &Place, spectra: &Path) -> Vec<Way> {
    vec![Way { source: Source::own(place.in_archive()), destination: place.in_folder(spectra) }]
}

/// The ways to the spectrum of a row of Astra's, best first: the star's mwmStar, which is small, then the row's own apStar.
///
/// Of SDSS-V's apStar files neither the folder nor the name is certain. The folder is that of the catalogue's HEALPix pixel or of
/// the one that the name gives; the name is as the catalogue or a [`Listing`] has it, or without the day of the last visit.
///
/// # Errors
/// Why the row leads nowhere.
pub(super) fn of_astra(stars: &Catalogue, row: usize, spectra: &Path, listing: &Listing) -> Result<Vec<Way>, String> {
    let (astra, telescope, field) = (&stars.astra[row], &stars.telescope[row], &stars.field[row]);
    for (column, value) in [("telescope", telescope), ("field", field), ("apred", &astra.apred), ("obj", &astra.obj)] {
        // What is not needed may be lacking.
        if !value.is_empty() {
            expect_plain(column, value)?;
        }
    }
    if astra.release.is_empty() {
        return Err("the catalogue gives no release, which tells what kind of spectrum it is".into());
    }
    let here = |source: Source| Way { destination: spectra.join(&source.path), source };
    let mut ways: Vec<Way> = star_path(astra).map(|path| here(Source::own(path))).into_iter().collect();
    let own = own_paths(astra, telescope, field);
    if astra.release == DR17 {
        ways.extend(own.into_iter().map(|path| here(Source { shelf: Shelf::Dr17, path })));
    } else {
        let mut paths = own.into_iter();
        if let Some(path) = paths.next() {
            ways.extend(of_reduction(stars, row, &path, listing).into_iter().map(|(source, name)| {
                // Here all lie in one folder, wherever they come from.
                let destination = spectra.join(&path).with_file_name(name);
                Way { source, destination }
            }));
        }
        ways.extend(paths.map(|path| here(Source::own(path))));
    }
    if ways.is_empty() {
        let needed = if astra.release == DR17 { "telescope, field, apred and obj" } else { "telescope, apred and obj" };
        return Err(format!(
            "the catalogue gives neither an sdss_id nor all of {needed}, which the archive's path needs"
        ));
    }
    Ok(ways)
}

/// Where an apStar of SDSS-V may lie in the archive, and under which name; `path` is that of the row's own columns.
fn of_reduction(stars: &Catalogue, row: usize, path: &str, listing: &Listing) -> Vec<(Source, String)> {
    let astra = &stars.astra[row];
    let Some((folder, plain)) = path.rsplit_once('/') else { return Vec::new() };
    let telescopes = match astra.healpix {
        // Without a pixel it is the folder of all telescope's stars, which holds no files.
        None => folder,
        Some(_) => folder.rsplitn(3, '/').nth(2).unwrap_or(folder),
    };
    let of_pixel = |pixel: i64| format!("{telescopes}/{}/{pixel}", pixel / 1000);
    let mut folders: Vec<String> = Vec::new();
    for pixel in [astra.healpix, pixel_of_name(&astra.obj)].into_iter().flatten() {
        if !folders.contains(&of_pixel(pixel)) {
            folders.push(of_pixel(pixel));
        }
    }
    let mut found: Vec<(Source, String)> = Vec::new();
    let mut add = |folder: &str, name: &str| {
        let source = Source::own(format!("{folder}/{name}"));
        if !found.iter().any(|(known, _)| *known == source) {
            found.push((source, name.to_string()));
        }
    };
    let wanted = plain.trim_end_matches(".fits");
    if let Some(listed) = listing.find(wanted) {
        match (&listed.folder, listed.healpix) {
            (Some(folder), _) => add(folder, &listed.name),
            (None, Some(pixel)) => add(&of_pixel(pixel), &listed.name),
            (None, None) => folders.iter().for_each(|folder| add(folder, &listed.name)),
        }
    }
    if stem(&stars.file[row], &HashSet::from([wanted.to_string()])).is_some() {
        folders.iter().for_each(|folder| add(folder, &stars.file[row]));
    }
    folders.iter().for_each(|folder| add(folder, plain));
    found
}

/// What a [`Listing`] is asked for: the names of all rows' apStar files without day and ending.
pub(super) fn names_to_list(stars: &Catalogue) -> HashSet<String> {
    let of_row = |row: usize| {
        let path = own_paths(&stars.astra[row], &stars.telescope[row], &stars.field[row]).into_iter().next()?;
        Some(path.rsplit('/').next()?.trim_end_matches(".fits").to_string())
    };
    (0..stars.len()).filter_map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::catalogue::AstraSpectrum;

    const OBJ: &str = "2M17335483-2753043";
    /// The pixel that its name gives.
    const PIXEL: i64 = 144_502;
    const STARS: &str = "spectro/apogee/redux/1.3/stars/apo25m";

    fn stars(release: &str, file: &str, healpix: Option<i64>) -> Catalogue {
        let apred = if release == DR17 { DR17 } else { "1.3" };
        let (release, apred, obj) = (release.into(), apred.into(), OBJ.into());
        Catalogue {
            id: vec![OBJ.into()],
            telescope: vec!["apo25m".into()],
            field: vec![if apred == "1.3" { "" } else { "M15" }.into()],
            file: vec![file.into()],
            astra: vec![AstraSpectrum { sdss_id: Some(85_993_595), release, apred, obj, healpix }],
            ..Catalogue::default()
        }
    }

    fn sources(stars: &Catalogue, listing: &Listing) -> Vec<(Shelf, String)> {
        let ways = of_astra(stars, 0, Path::new("spectra"), listing).unwrap();
        ways.into_iter().map(|way| (way.source.shelf, way.source.path)).collect()
    }

    #[test]
    fn a_row_leads_to_its_star_first_and_then_to_the_file_of_its_release() {
        let star = (Shelf::Own, "spectro/astra/0.6.0/spectra/star/35/95/mwmStar-0.6.0-85993595.fits".to_string());
        let dr17 = format!("apogee/spectro/redux/dr17/stars/apo25m/M15/apStar-dr17-{OBJ}.fits");
        assert_eq!(sources(&stars("dr17", "", Some(5)), &Listing::default()), [star.clone(), (Shelf::Dr17, dr17)]);
        let plain = format!("apStar-1.3-apo25m-{OBJ}.fits");
        let of_pixel = |pixel: i64, name: &str| (Shelf::Own, format!("{STARS}/{}/{pixel}/{name}", pixel / 1000));
        let two = [star.clone(), of_pixel(10_105, &plain), of_pixel(PIXEL, &plain)];
        assert_eq!(sources(&stars("sdss5", "", Some(10_105)), &Listing::default()), two);
        let one = [star.clone(), of_pixel(PIXEL, &plain)];
        assert_eq!(sources(&stars("sdss5", "", Some(PIXEL)), &Listing::default()), one);
        assert_eq!(sources(&stars("sdss5", "", None), &Listing::default()), one);
        // The catalogue's own name of the file comes before the one made up, but not that of another star.
        let dated = format!("apStar-1.3-apo25m-{OBJ}-59804.fits");
        let both = [star, of_pixel(PIXEL, &dated), of_pixel(PIXEL, &plain)];
        assert_eq!(sources(&stars("sdss5", &dated, Some(PIXEL)), &Listing::default()), both);
        assert_eq!(sources(&stars("sdss5", "apStar-1.3-apo25m-2M1+1.fits", Some(PIXEL)), &Listing::default()), one);
    }

    #[test]
    fn what_a_table_of_the_reduction_lists_is_asked_for_first_and_lies_where_the_row_leads() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("allStar.csv");
        let dated = format!("apStar-1.3-apo25m-{OBJ}-59804.fits");
        let stars = stars("sdss5", "", Some(PIXEL));
        assert_eq!(names_to_list(&stars), HashSet::from([format!("apStar-1.3-apo25m-{OBJ}")]));
        for (columns, there) in [
            (
                format!("file,uri\n{dated},/p/redux/1.3/stars/apo25m/9/9999/{dated}\n"),
                format!("{STARS}/9/9999/{dated}"),
            ),
            (format!("file,healpix\n{dated},8888\n"), format!("{STARS}/8/8888/{dated}")),
            (format!("file,snr\n{dated},9\n"), format!("{STARS}/144/{PIXEL}/{dated}")),
        ] {
            std::fs::write(&table, columns).unwrap();
            let listing = Listing::read(std::slice::from_ref(&table), &names_to_list(&stars)).unwrap();
            let ways = of_astra(&stars, 0, Path::new("spectra"), &listing).unwrap();
            assert_eq!((ways.len(), &ways[1].source.path), (3, &there));
            assert_eq!(ways[1].destination, Path::new("spectra").join(format!("{STARS}/144/{PIXEL}/{dated}")));
        }
    }

    #[test]
    fn a_row_that_lacks_what_paths_need_leads_nowhere_and_says_why() {
        let refused = |change: fn(&mut Catalogue)| {
            let mut stars = stars("sdss5", "", Some(5));
            change(&mut stars);
            of_astra(&stars, 0, Path::new("spectra"), &Listing::default()).unwrap_err()
        };
        assert!(refused(|stars| stars.astra[0].release = String::new()).contains("no release"));
        assert!(refused(|stars| stars.astra[0].obj = "../x".into()).contains("obj `../x` cannot be part of a path"));
        assert!(refused(|stars| stars.telescope[0] = "..".into()).contains("telescope"));
        assert!(refused(|stars| stars.astra[0].apred = "a\u{1b}".into()).contains("apred `a\\u{1b}`"));
        assert!(refused(|stars| stars.astra[0].obj = "L".repeat(300)).contains("300 bytes is too long"));
        let nothing = refused(|stars| {
            (stars.astra[0].sdss_id, stars.astra[0].obj) = (None, String::new());
        });
        assert!(nothing.contains("neither an sdss_id nor all of telescope, apred and obj"), "{nothing}");
        let only_star = &mut stars("sdss5", "", None);
        only_star.telescope[0] = String::new();
        assert_eq!(of_astra(only_star, 0, Path::new("spectra"), &Listing::default()).unwrap().len(), 1);
    }
}
