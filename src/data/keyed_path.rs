//! One of several: a path with a key behind it, as in `FILE.npz:key` and `FILE.fits[NAME]`.

use std::path::{Path, PathBuf};

use super::fits::FitsReader;
use crate::error::{Error, Result};

/// How FITS files end, the longest first.
pub(super) const FITS_ENDINGS: [&str; 4] = [".fits.gz", ".fits.fz", ".fits", ".fit"];
/// How VOTables end.
const VOTABLE_ENDINGS: [&str; 6] = [".vot", ".votable", ".xml", ".vot.gz", ".votable.gz", ".xml.gz"];

/// Whether a name ends in one of these, in any case.
pub(super) fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    endings.iter().any(|ending| name.ends_with(ending))
}

/// `file.npz:key`, `file.fits[NAME]` and `file.vot[NAME]` into the file and the key; any other path as it is.
pub fn split_key(path: &Path) -> (PathBuf, Option<String>) {
    let whole = (path.to_path_buf(), None);
    let Some(text) = path.to_str() else { return whole };
    if let Some((stem, key)) = text.split_once(".npz:") {
        return (format!("{stem}.npz").into(), Some(key.to_string()));
    }
    let bracketed = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
    match bracketed {
        Some((file, key)) if [&FITS_ENDINGS[..], &VOTABLE_ENDINGS].iter().any(|of| ends_in(Path::new(file), of)) => {
            (file.into(), Some(key.trim().to_string()))
        }
        _ => whole,
    }
}

/// Name of an HDU as `FILE.fits[NAME]` takes it: EXTNAME, or else its number.
pub(super) fn hdu_name(fits: &mut FitsReader, hdu: usize) -> String {
    fits.key_text(hdu, "EXTNAME").filter(|name| !name.is_empty()).unwrap_or_else(|| hdu.to_string())
}

/// The HDU of this name or number; `what` is looked for.
pub(super) fn named_hdu(fits: &mut FitsReader, key: &str, what: &str) -> Result<usize> {
    let names: Vec<String> = (0..fits.n_hdus()?).map(|hdu| hdu_name(fits, hdu)).collect();
    position(&names, key, 0)
        .ok_or_else(|| Error::format(fits.path(), format!("no {what} [{key}] (it has {})", names.join(", "))))
}

/// The one of this name, in any case, or else of this number, counted from `first`.
pub(super) fn position(names: &[String], key: &str, first: usize) -> Option<usize> {
    let numbered = || key.parse::<usize>().ok()?.checked_sub(first).filter(|index| *index < names.len());
    names.iter().position(|name| name.eq_ignore_ascii_case(key)).or_else(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_behind_files_that_have_several() {
        let split = |text: &str| split_key(Path::new(text));
        let keyed = |file: &str, key: &str| (PathBuf::from(file), Some(key.to_string()));
        assert_eq!(split("a.npz:flux"), keyed("a.npz", "flux"));
        assert_eq!(split("all.FITS.gz[2]"), keyed("all.FITS.gz", "2"));
        assert_eq!(split("a.vot[ stars ]"), keyed("a.vot", "stars"));
        for whole in ["a.fits", "a[1].fits", "a.csv[2]", "a.fits[2"] {
            assert_eq!(split(whole), (PathBuf::from(whole), None));
        }
    }

    #[test]
    fn a_name_comes_before_a_number() {
        let names = ["0", "stars", "1"].map(String::from);
        assert_eq!(position(&names, "STARS", 0), Some(1));
        assert_eq!(position(&names, "1", 0), Some(2));
        assert_eq!(position(&names, "3", 1), Some(2));
        assert_eq!(
            (position(&names, "0", 1), position(&names, "4", 1), position(&names, "x", 0)),
            (Some(0), None, None)
        );
    }
}
