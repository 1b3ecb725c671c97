//! Tables of a reduction of SDSS-V that say under which name and in which folder each of its apStar files lies.
//!
//! The pipeline writes `apStar-1.3-apo25m-NAME-DAY.fits`, with the day of the last visit, and a link without it; nobody but its own
//! table `allStar-1.3-apo25m.fits` tells the day. Columns: `file`, `uri`, `healpix` (data model of `allStar`, apogee_drp 1.3).

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use super::archive::expect_plain;
use crate::data::fits::find_column;
use crate::data::table::Table;
use crate::error::Result;

const REMEDY: &str = "is this an allStar table of SDSS-V's reduction, as data.archive.all_star asks for?";
/// What lies above the reductions in the archive.
const REDUCTIONS: &str = "spectro/apogee/redux";

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its name.
    pub name: String,
    /// Its folder below the archive's root, where the table tells.
    pub folder: Option<String>,
    /// HEALPix pixel of its folder, where the table tells that.
    pub healpix: Option<i64>,
    /// Day of the last visit in its name (MJD); 0 where there is none.
    day: u32,
}

/// The files that tables list, by their names without a day.
#[derive(Debug, Default)]
pub(super) struct Listing(HashMap<String, Listed>);

impl Listing {
    /// Of these tables what is wanted: names of files without day and ending.
    ///
    /// # Errors
    /// File errors; [`crate::error::Error::MissingColumn`].
    pub fn read(tables: &[PathBuf], wanted: &HashSet<String>) -> Result<Self> {
        let mut listing = Self::default();
        for path in tables {
            let mut table = Table::open(path)?;
            find_column(path, table.names(), "file", REMEDY)?;
            for rows in table.blocks() {
                listing.add(&mut table, wanted, rows)?;
            }
        }
        Ok(listing)
    }

    fn add(&mut self, table: &mut Table, wanted: &HashSet<String>, rows: Range<usize>) -> Result<()> {
        table.load(["file", "uri", "healpix"])?;
        let files = table.texts("file", rows.clone(), REMEDY)?;
        let folders = match table.has("uri") {
            true => table.texts("uri", rows.clone(), REMEDY)?.iter().map(|uri| folder(uri)).collect(),
            false => vec![None; rows.len()],
        };
        let pixels = if table.has("healpix") { table.flags("healpix", rows.clone())? } else { vec![-1; rows.len()] };
        for ((name, folder), pixel) in files.into_iter().zip(folders).zip(pixels) {
            let Some((stem, day)) = stem(&name, wanted) else { continue };
            let healpix = Some(pixel).filter(|pixel| *pixel >= 0);
            let listed = Listed { name: name.clone(), folder, healpix, day };
            let slot = self.0.entry(stem.to_string()).or_insert_with(|| listed.clone());
            if listed.day > slot.day {
                *slot = listed;
            }
        }
        Ok(())
    }

    /// The file that is called so, but for a day.
    pub fn find(&self, stem: &str) -> Option<&Listed> {
        self.0.get(stem)
    }
}

/// A file's name without ending and day, if it is wanted, and the day.
pub(super) fn stem<'a>(name: &'a str, wanted: &HashSet<String>) -> Option<(&'a str, u32)> {
    expect_plain("file", name).ok()?;
    let whole = name.strip_suffix(".fits")?;
    if wanted.contains(whole) {
        return Some((whole, 0));
    }
    let (stem, day) = whole.rsplit_once('-')?;
    wanted.contains(stem).then_some((stem, day.parse().ok()?))
}

/// The folder of a file by its `uri`, of which only what follows the reductions' own root is the archive's.
fn folder(uri: &str) -> Option<String> {
    let (_, path) = uri.rsplit_once("redux/")?;
    let (folder, _) = path.rsplit_once('/')?;
    let is_plain = folder.split('/').all(|part| expect_plain("uri", part).is_ok());
    is_plain.then(|| format!("{REDUCTIONS}/{folder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(stems: &[&str]) -> HashSet<String> {
        stems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_day_at_the_end_of_a_name_is_told_from_a_declination() {
        let star = "apStar-1.3-apo25m-2M17335483-2753043";
        let wanted = wanted(&[star]);
        assert_eq!(stem(&format!("{star}.fits"), &wanted), Some((star, 0)));
        assert_eq!(stem(&format!("{star}-59804.fits"), &wanted), Some((star, 59_804)));
        for other in ["apStar-1.3-apo25m-2M17335483.fits", "x.fits", "", "../x.fits"] {
            assert_eq!(stem(other, &wanted), None, "{other}");
        }
        assert_eq!(stem(&format!("{star}-old.fits"), &wanted), None);
        assert_eq!(stem(&format!("{star}-59804.fits.gz"), &wanted), None);
    }

    #[test]
    fn only_what_follows_the_reductions_own_root_is_the_archives() {
        let of = |uri: &str| folder(uri);
        let there = Some("spectro/apogee/redux/1.3/stars/apo25m/10/10105".to_string());
        assert_eq!(of("/home/pipeline/redux/1.3/stars/apo25m/10/10105/apStar-x.fits"), there);
        for elsewhere in ["", "apStar-x.fits", "/redux/../../x.fits", "/redux/x.fits", "redux/1.3//x.fits"] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn the_latest_file_of_each_star_is_listed_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("apo.csv"), folder.path().join("lco.csv"));
        let row = |star: &str, day: &str| format!("apStar-1.3-apo25m-{star}{day}.fits,/r/redux/1.3/{star}{day}/x,7\n");
        let rows = [row("2M1+1", "-59800"), row("2M1+1", "-59900"), row("2M1+1", ""), row("2M3+3", "-59800")];
        std::fs::write(&one, format!("file,uri,healpix\n{}", rows.concat())).unwrap();
        std::fs::write(&two, "file,snr\napStar-1.3-lco25m-2M2+2.fits,9\n").unwrap();
        let stems = wanted(&["apStar-1.3-apo25m-2M1+1", "apStar-1.3-lco25m-2M2+2"]);
        let listing = Listing::read(&[one.clone(), two], &stems).unwrap();
        let first = listing.find("apStar-1.3-apo25m-2M1+1").unwrap();
        assert_eq!((first.name.as_str(), first.healpix), ("apStar-1.3-apo25m-2M1+1-59900.fits", Some(7)));
        assert_eq!(first.folder.as_deref(), Some("spectro/apogee/redux/1.3/2M1+1-59900"));
        let second = listing.find("apStar-1.3-lco25m-2M2+2").unwrap();
        assert_eq!((second.folder.as_ref(), second.healpix), (None, None));
        assert!(listing.find("apStar-1.3-apo25m-2M3+3").is_none());
        std::fs::write(&one, "name,snr\nx,9\n").unwrap();
        let said = Listing::read(&[one], &stems).unwrap_err().to_string();
        assert!(said.contains("no column file") && said.contains("data.archive.all_star"), "{said}");
    }
}
