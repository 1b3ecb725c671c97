//! A survey in a loopback archive, a folder to fetch it into, and what tests ask of both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use maury::data::apstar;
use maury::data::columns::ColumnNames;
use maury::data::fetch::{ArchiveSettings, FetchReport, FetchRequest, fetch};
use maury::data::selection::Selection;
use maury::error::Result;
use maury::progress::{Progress, Silent};

use super::archive::Archive;

pub const STARS: &str = "apogee/spectro/redux/dr17/stars";
pub const ALL_STAR: &str = "apogee/spectro/aspcap/dr17/synspec_rev1/allStar-dr17-synspec_rev1.fits";
/// The star whose spectrum all others borrow.
const ORIGINAL: &str = "2M19485057+5005279";
pub const HEADER: &str =
    "#Table1\napogee_id,apstar_id,field,telescope,file,snr,nvisits,starflag,aspcapflag,teff,teff_err\n";

pub fn id(star: usize) -> String {
    format!("2M{star:08}+0000000")
}

/// The real spectrum under another star's name.
pub fn spectrum_of(id: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/apStar-dr17-{ORIGINAL}.fits"));
    let mut bytes = std::fs::read(path).unwrap();
    let card = format!("OBJID   = '{ORIGINAL}'");
    let at = bytes.windows(card.len()).position(|window| window == card.as_bytes()).unwrap() + 11;
    assert_eq!(id.len(), ORIGINAL.len());
    bytes[at..at + id.len()].copy_from_slice(id.as_bytes());
    bytes
}

/// A survey in an archive, and a folder to fetch it into.
pub struct Sample {
    pub folder: tempfile::TempDir,
    pub archive: Archive,
    pub settings: ArchiveSettings,
    pub selection: Selection,
    pub labels: Vec<String>,
    pub catalogue: PathBuf,
    pub spectra: PathBuf,
    pub stars: Vec<Star>,
}

/// The names that lead to a star's spectrum.
pub struct Star {
    pub telescope: String,
    pub field: String,
    pub file: String,
}

impl Sample {
    /// Stars of these telescopes and fields, numbered from 1, in a catalogue that SkyServer gives.
    pub fn new(places: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut stars = Vec::new();
        let mut table = HEADER.to_string();
        for (n, (telescope, field)) in places.iter().enumerate() {
            let (id, prefix) = (id(n + 1), if *telescope == "lco25m" { "as" } else { "ap" });
            let file = format!("{prefix}Star-dr17-{id}.fits");
            let path = folder.path().join("sas").join(STARS).join(telescope).join(field).join(&file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, spectrum_of(&id)).unwrap();
            table += &format!("{id},apogee.{id},{field},{telescope},{file},99,1,0,0,4500,80\n");
            stars.push(Star { telescope: telescope.to_string(), field: field.to_string(), file });
        }
        let archive = Archive::serve(&folder.path().join("sas"));
        archive.answers_sql(&table);
        let settings = ArchiveSettings {
            root: archive.root(),
            skyserver: archive.skyserver(),
            connections: 3,
            requests_per_second: 500.0,
            retries: 3,
            timeout_s: 10.0,
            first_pause_s: 0.005,
            ..ArchiveSettings::default()
        };
        let mut fields: Vec<String> = places.iter().map(|(_, field)| field.to_string()).collect();
        fields.dedup();
        let (catalogue, spectra) = (folder.path().join("own/stars.csv"), folder.path().join("own/spectra"));
        let selection = Selection { fields, ..Selection::default() };
        Self { folder, archive, settings, selection, labels: vec!["teff".into()], catalogue, spectra, stars }
    }

    /// So many stars of one field.
    pub fn of(n: usize) -> Self {
        Self::new(&vec![("apo25m", "M15"); n])
    }

    pub fn own(&self) -> PathBuf {
        self.folder.path().join("own")
    }

    pub fn request(&self) -> FetchRequest<'_> {
        FetchRequest {
            settings: &self.settings,
            catalogue: &self.catalogue,
            spectra: &self.spectra,
            labels: &self.labels,
            columns: const { &ColumnNames::USUAL },
            selection: &self.selection,
            refresh_catalogue: false,
        }
    }

    pub fn fetch(&self) -> Result<FetchReport> {
        fetch(&self.request(), &Silent)
    }

    /// What lies where the archive's layout has the star numbered from 1.
    pub fn path(&self, star: usize) -> PathBuf {
        let Star { telescope, field, file } = &self.stars[star - 1];
        self.spectra.join(telescope).join(field).join(file)
    }

    /// Every spectrum under its name opens and is the right star's; their number.
    pub fn n_whole(&self) -> usize {
        let whole = |star: &usize| {
            let Star { telescope, field, file } = &self.stars[star - 1];
            let Some(path) = apstar::locate(&self.spectra, file, telescope, field, &id(*star)) else { return false };
            assert_eq!(apstar::read(&path).unwrap().id, id(*star));
            assert_eq!(std::fs::read(path).unwrap(), spectrum_of(&id(*star)));
            true
        };
        (1..=self.stars.len()).filter(whole).count()
    }

    pub fn manifest(&self) -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_path(self.spectra.join("manifest.csv")).unwrap();
        reader.deserialize().collect::<Result<_, _>>().unwrap()
    }

    /// Positions that requests for a star's file asked to begin at.
    pub fn starts(&self, star: usize) -> Vec<Option<usize>> {
        self.archive.requests_for(&id(star)).iter().map(|request| request.range).collect()
    }

    /// Bytes of a star's file that the archive sent, over all requests.
    pub fn sent(&self, star: usize) -> usize {
        // The server's own count may come a moment after the last byte.
        std::thread::sleep(Duration::from_millis(20));
        self.archive.requests_for(&id(star)).iter().map(|request| request.sent).sum()
    }

    /// Puts the catalogue there, without asking for it.
    pub fn give_catalogue(&self) {
        let mut table = HEADER.to_string();
        for (n, Star { telescope, field, file }) in self.stars.iter().enumerate() {
            table += &format!("{},x,{field},{telescope},{file},99,1,0,0,4500,80\n", id(n + 1));
        }
        std::fs::create_dir_all(self.own()).unwrap();
        std::fs::write(&self.catalogue, table).unwrap();
    }

    /// Leaves of a star's file what a killed run leaves.
    pub fn leave_part(&self, star: usize, n_bytes: usize, version: &str) {
        let path = self.path(star);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path.with_extension("fits.part"), &spectrum_of(&id(star))[..n_bytes]).unwrap();
        std::fs::write(path.with_extension("fits.part.version"), version).unwrap();
    }
}

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files_below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Asks to stop from some moment on.
pub struct StopsAt(pub Instant);

impl Progress for StopsAt {
    fn interrupted(&self) -> bool {
        Instant::now() >= self.0
    }
}
