//! Where releases keep their files below the archive's root, and how their paths are written in a URL.

use std::path::{Path, PathBuf};

use super::settings::Release;
use crate::data::apstar;
use crate::data::catalogue::Catalogue;

/// Below which folder of the archive a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shelf {
    /// That of the release asked for.
    Own,
    /// That of DR17.
    Dr17,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub shelf: Shelf,
    /// Path below the shelf's folder.
    pub path: String,
}

impl Source {
    /// A file of the release asked for.
    pub fn own(path: impl Into<String>) -> Self {
        Self { shelf: Shelf::Own, path: path.into() }
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Bytes of a name beyond which file systems refuse it, less what is added to it on the way.
const LONGEST_NAME: usize = 255 - ".part.version".len();
/// The catalogue of all stars, some 4 GB.
const ALL_STAR: &str = "apogee/spectro/aspcap/dr17/synspec_rev1/allStar-dr17-synspec_rev1.fits";
/// Its successor in SDSS-V, 1.1 GB compressed. `sdss/tree` and the data model disagree whether its name ends in `.gz`.
const ASTRA_ALL_STAR: &str = "spectro/astra/0.6.0/summary/astraAllStarASPCAP-0.6.0.fits";
/// What lies above the telescopes' folders of spectra.
const STARS: &str = "apogee/spectro/redux/dr17/stars";

/// Where the catalogue may lie that is to have this name here, the likeliest first.
pub(super) fn catalogues(release: Release, destination: &Path) -> Vec<Source> {
    if !release.is_sdss_v() {
        return vec![Source::own(ALL_STAR)];
    }
    let mut sources = vec![Source::own(format!("{ASTRA_ALL_STAR}.gz")), Source::own(ASTRA_ALL_STAR)];
    if !destination.to_string_lossy().to_lowercase().ends_with(".gz") {
        sources.reverse();
    }
    sources
}

/// Whether a value of the catalogue can be part of a path.
///
/// # Errors
/// Why not.
pub(super) fn expect_plain(column: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("the catalogue gives no {column}, and the archive's path needs it"));
    }
    // A catalogue has no business pointing out of its folder, nor at hidden files.
    if value.starts_with('.') || value.contains(['/', '\\']) || value.contains(char::is_control) {
        return Err(format!("{column} `{}` cannot be part of a path", value.escape_debug()));
    }
    if value.len() > LONGEST_NAME {
        let begin: String = value.chars().take(40).collect();
        let begin = begin.escape_debug();
        return Err(format!("{column} `{begin}...` of {} bytes is too long for a file's name", value.len()));
    }
    Ok(())
}

/// The names that lead to one spectrum of DR17, in the archive and on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub telescope: String,
    pub field: String,
    pub file: String,
}

impl Place {
    /// The place of a catalogue row; where its columns do not tell, the telescope is the Sloan one unless the file's name
    /// begins as those of LCO do, and the file's name follows from the id.
    ///
    /// # Errors
    /// Why the row leads nowhere.
    pub fn of(stars: &Catalogue, row: usize) -> Result<Self, String> {
        let (telescope, field, file) = (&stars.telescope[row], &stars.field[row], &stars.file[row]);
        let telescope = match telescope.as_str() {
            "" if file.starts_with("as") => "lco25m",
            "" => "apo25m",
            named => named,
        };
        let file = if file.is_empty() { apstar::file_name(telescope, &stars.id[row]) } else { file.clone() };
        for (column, value) in [("TELESCOPE", telescope), ("FIELD", field), ("FILE", &file)] {
            expect_plain(column, value)?;
        }
        Ok(Self { telescope: telescope.into(), field: field.clone(), file })
    }

    /// Path below the archive's root.
    pub fn in_archive(&self) -> String {
        format!("{STARS}/{}/{}/{}", self.telescope, self.field, self.file)
    }

    /// Path in a folder of spectra, as `apstar::locate` looks for it.
    pub fn in_folder(&self, spectra: &Path) -> PathBuf {
        spectra.join(&self.telescope).join(&self.field).join(&self.file)
    }
}

/// A path as it is written in a URL; `+` stands for itself there.
pub(super) fn encode_path(path: &str) -> String {
    encode(path, b"-._~/+")
}

/// A value as it is written behind the `?` of a URL, where `+` would be read as a blank.
pub(super) fn encode_value(value: &str) -> String {
    encode(value, b"-._~")
}

fn encode(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// The text behind a URL's path; `%` signs that are no code stand for themselves.
pub(super) fn decode(encoded: &str) -> String {
    let bytes = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let code = encoded.get(position + 1..position + 3).filter(|_| bytes[position] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                position += 3;
            }
            None => {
                decoded.push(bytes[position]);
                position += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(telescope: &str, field: &str, file: &str, id: &str) -> Catalogue {
        let mut stars = Catalogue::default();
        stars.telescope.push(telescope.into());
        stars.field.push(field.into());
        stars.file.push(file.into());
        stars.id.push(id.into());
        stars
    }

    #[test]
    fn every_telescope_has_its_folder_and_its_prefix() {
        let path = |telescope: &str, field: &str, file: &str| {
            Place::of(&star(telescope, field, file, "2M00+01"), 0).unwrap().in_archive()
        };
        let stars = "apogee/spectro/redux/dr17/stars";
        assert_eq!(path("apo25m", "060+00", ""), format!("{stars}/apo25m/060+00/apStar-dr17-2M00+01.fits"));
        assert_eq!(path("lco25m", "M15", ""), format!("{stars}/lco25m/M15/asStar-dr17-2M00+01.fits"));
        assert_eq!(path("apo1m", "hip", ""), format!("{stars}/apo1m/hip/apStar-dr17-2M00+01.fits"));
        assert_eq!(path("apo25m", "M15", "apStarC-x.fits"), format!("{stars}/apo25m/M15/apStarC-x.fits"));
        assert_eq!(path("", "M15", "asStar-x.fits"), format!("{stars}/lco25m/M15/asStar-x.fits"));
        assert_eq!(path("", "M15", ""), format!("{stars}/apo25m/M15/apStar-dr17-2M00+01.fits"));
    }

    #[test]
    fn catalogue_values_never_lead_out_of_the_folder() {
        for (telescope, field, file) in [
            ("apo25m", "..", "x.fits"),
            ("apo25m", "../../etc", "x.fits"),
            ("apo25m", "M15", "../x.fits"),
            ("apo25m", "M15", "a/b.fits"),
            ("..", "M15", "x.fits"),
            ("apo25m", "M15", "a\\b.fits"),
            ("apo25m", "M15", "a\0.fits"),
            ("apo25m", "M15", ".hidden"),
            ("apo25m", "", "x.fits"),
        ] {
            assert!(Place::of(&star(telescope, field, file, "x"), 0).is_err(), "{telescope} {field} {file}");
        }
        assert!(Place::of(&star("apo25m", "M15", "", "../../x"), 0).is_err());
        let long = Place::of(&star("apo25m", "M15", &"L".repeat(243), "x"), 0).unwrap_err();
        assert!(long.starts_with("FILE `LLLL") && long.contains("243 bytes"), "{long}");
        assert!(Place::of(&star("apo25m", "M15", &"L".repeat(242), "x"), 0).is_ok());
    }

    #[test]
    fn the_catalogue_is_looked_for_packed_and_plain_by_the_name_it_is_to_have() {
        let names = |release, destination: &str| -> Vec<String> {
            catalogues(release, Path::new(destination)).iter().map(|source| source.name().to_string()).collect()
        };
        assert_eq!(names(Release::Dr17, "a.fits"), ["allStar-dr17-synspec_rev1.fits"]);
        let plain = "astraAllStarASPCAP-0.6.0.fits".to_string();
        let packed = format!("{plain}.gz");
        assert_eq!(names(Release::Dr19, "a.fits.gz"), [packed.clone(), plain.clone()]);
        assert_eq!(names(Release::Dr20, "a.fits"), [plain, packed]);
    }

    #[test]
    fn urls_keep_a_plus_and_encode_what_is_odd() {
        assert_eq!(encode_path("060+00/ap Star#1?%.fits"), "060+00/ap%20Star%231%3F%25.fits");
        assert_eq!(encode_value("WHERE x = '060+00'"), "WHERE%20x%20%3D%20%27060%2B00%27");
        assert_eq!(decode("/a%20b+c/%C3%A9/100%"), "/a b+c/\u{e9}/100%");
    }
}
