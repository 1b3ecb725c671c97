//! Which of the spectra in a file: observatory and visit, and how both are written behind the file's name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::files;
use crate::error::{Error, Result};

/// The two spectrographs of APOGEE, each with tables of its own in an mwmStar or mwmVisit file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Observatory {
    /// Apache Point, the 2.5 m and the 1 m telescope: the HDU `APOGEE/APO`.
    Apo,
    /// Las Campanas: the HDU `APOGEE/LCO`.
    Lco,
}

impl Observatory {
    /// Both, in the order of the files.
    pub const ALL: [Self; 2] = [Self::Apo, Self::Lco];

    /// EXTNAME of the observatory's table.
    pub fn hdu_name(self) -> &'static str {
        match self {
            Self::Apo => "APOGEE/APO",
            Self::Lco => "APOGEE/LCO",
        }
    }

    /// Its name in headers.
    pub fn site(self) -> &'static str {
        match self {
            Self::Apo => "APO",
            Self::Lco => "LCO",
        }
    }
}

impl fmt::Display for Observatory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.hdu_name())
    }
}

/// Which of the spectra in a file; by default the only one, or the coadd.
///
/// Written as `APOGEE/LCO`, `visit 2` or `APOGEE/LCO visit 2`; the default is the empty text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Part {
    /// Whose spectrum, in files that have those of both.
    pub observatory: Option<Observatory>,
    /// A single visit, counted from 1.
    pub visit: Option<usize>,
}

impl Part {
    /// One visit, of one observatory where files tell them apart.
    pub fn visit(observatory: Option<Observatory>, visit: usize) -> Self {
        Self { observatory, visit: Some(visit) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.observatory, self.visit) {
            (None, None) => Ok(()),
            (Some(observatory), None) => write!(formatter, "{observatory}"),
            (None, Some(visit)) => write!(formatter, "visit {visit}"),
            (Some(observatory), Some(visit)) => write!(formatter, "{observatory} visit {visit}"),
        }
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let no_part = || {
            let parts = "APOGEE/APO, APOGEE/LCO, visit 2 (counted from 1) and APOGEE/LCO visit 2 do";
            Error::Config(format!("`{text}` names no spectrum of a file; {parts}"))
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let of = |word: &str| Observatory::ALL.into_iter().find(|of| of.hdu_name() == word);
        let observatory = words.first().and_then(|word| of(word));
        if observatory.is_some() {
            words.remove(0);
        }
        let visit = match words[..] {
            [] => None,
            ["visit", number] => Some(number.parse().ok().filter(|visit| *visit > 0).ok_or_else(no_part)?),
            _ => return Err(no_part()),
        };
        Ok(Self { observatory, visit })
    }
}

/// `FILE.fits[APOGEE/LCO visit 2]` into the file and the part.
///
/// A path whose brackets name no part stays whole, and so does one that is there by its whole name.
pub fn split_part(path: &Path) -> (PathBuf, Part) {
    let bracketed = path.to_str().and_then(|text| text.strip_suffix(']')?.rsplit_once('['));
    let named = bracketed.filter(|(file, text)| !file.is_empty() && !text.trim().is_empty());
    match named.and_then(|(file, text)| Some((PathBuf::from(file), text.parse().ok()?))) {
        Some(named) if !path.exists() => named,
        _ => (path.to_path_buf(), Part::default()),
    }
}

/// Refuses what stands in brackets behind a file that is there, if it names no part.
///
/// # Errors
/// [`Error::Config`] with the names there are.
pub fn expect_part(path: &Path) -> Result<()> {
    let bracketed = path.to_str().and_then(|text| text.strip_suffix(']')?.rsplit_once('['));
    match bracketed {
        Some((file, part)) if !path.exists() && Path::new(file).is_file() => part.parse::<Part>().map(|_| ()),
        _ => Ok(()),
    }
}

/// What a spectrum is called in tables and messages: its path, and the part in brackets where it is not the default.
pub fn name_of(path: &Path, part: &Part) -> String {
    let file = files::path_text(path);
    if *part == Part::default() { file } else { format!("{file}[{part}]") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [(&str, Part); 6] = [
        ("", Part { observatory: None, visit: None }),
        ("APOGEE/APO", Part { observatory: Some(Observatory::Apo), visit: None }),
        ("APOGEE/LCO", Part { observatory: Some(Observatory::Lco), visit: None }),
        ("visit 2", Part { observatory: None, visit: Some(2) }),
        ("APOGEE/APO visit 1", Part { observatory: Some(Observatory::Apo), visit: Some(1) }),
        ("APOGEE/LCO visit 12", Part { observatory: Some(Observatory::Lco), visit: Some(12) }),
    ];

    #[test]
    fn parts_come_back_as_written() {
        for (text, part) in PARTS {
            assert_eq!((part.to_string().as_str(), text.parse::<Part>().unwrap()), (text, part.clone()));
            let name = name_of(Path::new("a/b.fits"), &part);
            assert_eq!(split_part(Path::new(&name)), ("a/b.fits".into(), part), "{name}");
        }
        assert_eq!(name_of(Path::new("a.fits"), &PARTS[3].1), "a.fits[visit 2]");
        assert_eq!(name_of(Path::new("a.fits"), &PARTS[0].1), "a.fits");
    }

    #[test]
    fn what_names_no_part_is_refused_with_what_would() {
        for text in ["visit", "visit 0", "visit -1", "visit two", "visit 1 2", "BOSS/APO", "APO", "APOGEE/APO 2", "1"] {
            let said = text.parse::<Part>().unwrap_err().to_string();
            assert!(said.contains(&format!("`{text}`")) && said.contains("APOGEE/LCO visit 2"), "{said}");
            let path = format!("a.fits[{text}]");
            assert_eq!(split_part(Path::new(&path)), (path.clone().into(), Part::default()));
        }
        for path in ["a.fits", "a[visit 2].fits", "a.fits[]", "a.fits[ ]", "[visit 2]", "a.fits[visit 2", "a.fits]"] {
            assert_eq!(split_part(Path::new(path)), (path.into(), Part::default()));
        }
    }

    #[test]
    fn a_file_whose_name_ends_like_a_part_is_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits[visit 2]");
        assert_eq!(split_part(&path), (folder.path().join("a.fits"), Part::visit(None, 2)));
        std::fs::write(&path, "").unwrap();
        assert_eq!(split_part(&path), (path.clone(), Part::default()));
    }
}
