//! Rows of Astra's catalogue in a loopback archive of DR19, DR17 beside it, and a folder to fetch them into.

use std::io::Write;
use std::path::{Path, PathBuf};

use maury::data::catalogue::{APOGEE_ID, Naming};
use maury::data::columns::ColumnNames;
use maury::data::fetch::{ArchiveSettings, FetchReport, FetchRequest, Release, fetch};
use maury::data::fits::{self, Column};
use maury::data::sdss_v_paths::{SpectrumFolder, part_of};
use maury::data::selection::{Selection, select};
use maury::data::spectrum_file;
use maury::error::Result;
use maury::progress::Silent;

use super::archive::Archive;
use crate::support::N_PIXELS;

pub const SUMMARY: &str = "spectro/astra/0.6.0/summary/astraAllStarASPCAP-0.6.0.fits";
pub const STARS: &str = "spectro/apogee/redux/1.3/stars";

/// A row of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub sdss_id: i64,
    pub obj: &'static str,
    pub release: &'static str,
    pub telescope: &'static str,
    pub healpix: i64,
}

impl Row {
    /// A star of SDSS-V, seen from the north.
    pub const fn new(sdss_id: i64, obj: &'static str) -> Self {
        Self { sdss_id, obj, release: "sdss5", telescope: "apo25m", healpix: 10_105 }
    }

    /// The same star as DR17 has it, by a telescope.
    pub const fn of_dr17(self, telescope: &'static str) -> Self {
        Self { release: "dr17", telescope, ..self }
    }

    pub fn apred(&self) -> &'static str {
        if self.release == "dr17" { "dr17" } else { "1.3" }
    }

    pub fn field(&self) -> &'static str {
        if self.release == "dr17" { "060+00" } else { "" }
    }

    /// Name of its own file.
    pub fn file(&self) -> String {
        match self.release {
            "dr17" if self.telescope == "lco25m" => format!("asStar-dr17-{}.fits", self.obj),
            "dr17" => format!("apStar-dr17-{}.fits", self.obj),
            _ => format!("apStar-1.3-{}-{}.fits", self.telescope, self.obj),
        }
    }

    /// Path of its own file below the root of its release.
    pub fn own(&self) -> String {
        match self.release {
            "dr17" => format!("apogee/spectro/redux/dr17/stars/{}/060+00/{}", self.telescope, self.file()),
            _ => self.own_in(self.healpix),
        }
    }

    pub fn own_in(&self, healpix: i64) -> String {
        format!("{STARS}/{}/{}/{healpix}/{}", self.telescope, healpix / 1000, self.file())
    }

    /// Path of its star's file below the root.
    pub fn star(&self) -> String {
        let (id, tens, ones) = (self.sdss_id, self.sdss_id / 100 % 100, self.sdss_id % 100);
        format!("spectro/astra/0.6.0/spectra/star/{tens:02}/{ones:02}/mwmStar-0.6.0-{id}.fits")
    }
}

pub const A: Row = Row::new(99_990_001, "2M17335483-2753043");
pub const B: Row = Row::new(99_990_002, "2M17335483-2753044");
pub const C: Row = Row::new(99_990_103, "2M17335483-2753045");
/// The folder that their names give.
pub const PIXEL: i64 = 144_502;

/// Column by column, as much of Astra's table as is needed.
pub fn columns(rows: &[Row]) -> Vec<Column> {
    let text = |value: &dyn Fn(&Row) -> &'static str| rows.iter().map(|row| value(row).to_string()).collect();
    let number = |first: f32, step: f32| (0..rows.len()).map(|n| first + step * n as f32).collect();
    vec![
        Column::i64("sdss_id", rows.iter().map(|row| row.sdss_id).collect()),
        Column::fixed_text("sdss4_apogee_id", 19, vec![String::new(); rows.len()]),
        Column::i32("healpix", rows.iter().map(|row| row.healpix as i32).collect()),
        Column::fixed_text("release", 5, text(&|row| row.release)),
        Column::fixed_text("apred", 4, text(&|row| row.apred())),
        Column::fixed_text("obj", 19, text(&|row| row.obj)),
        Column::fixed_text("telescope", 6, text(&|row| row.telescope)),
        Column::fixed_text("field", 19, text(&|row| row.field())),
        Column::f32("snr", "", number(120.0, 0.0)),
        Column::f32("teff", "K", number(4500.0, 60.0)),
        Column::f32("fe_h", "dex", number(-0.25, 0.1)),
        Column::f32("mg_h", "dex", number(0.0, 0.05)),
        Column::i64("flag_bad", vec![0; rows.len()]),
    ]
}

/// Astra's table of all stars, that of BOSS first and empty.
pub fn write_table(path: &Path, rows: &[Row]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    fits::write(path, |fits| {
        fits.table("", &columns(&[]))?;
        fits.table("", &columns(rows))
    })
    .unwrap();
}

/// Not compressed, though in its dress: as long as the file itself.
pub fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// The one row, or none, of a table of an mwmStar.
pub fn spectrum(row: Option<Row>, flux: &[f64], ivar: &[f64]) -> Vec<Column> {
    let n_rows = usize::from(row.is_some());
    let text = |value: &dyn Fn(Row) -> &'static str| row.map(|row| value(row).to_string()).into_iter().collect();
    let vector = |name: &str, values: &[f64]| {
        let width = values.len() * n_rows;
        Column::vectors(name, width, values[..width].to_vec())
    };
    vec![
        Column::text("release", text(&|row| row.release)),
        Column::i32("min_mjd", vec![59_804; n_rows]),
        Column::text("obj", text(&|row| row.obj)),
        Column::i32("n_visits", vec![2; n_rows]),
        Column::f32("snr", "", vec![120.0; n_rows]),
        Column::f32("v_rad", "", vec![15.5; n_rows]),
        vector("flux", flux),
        vector("ivar", ivar),
        vector("pixel_flags", &vec![0.0; flux.len()]),
    ]
}

/// A file with spectra of a star from both sites.
pub fn write_mwm(path: &Path, apo: Option<Row>, lco: Option<Row>, flux: &[f64], ivar: &[f64]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let none = spectrum(None, flux, ivar);
    let of_site = [spectrum(apo, flux, ivar), spectrum(lco, flux, ivar)];
    let tables = [("BOSS/APO", &none), ("BOSS/LCO", &none), ("APOGEE/APO", &of_site[0]), ("APOGEE/LCO", &of_site[1])];
    fits::write(path, |fits| {
        fits.append_key("SDSS_ID", apo.or(lco).map_or(0, |row| row.sdss_id), "")?;
        for (name, columns) in tables {
            fits.table(name, columns)?;
            for (key, value) in [("CRVAL", 4.179), ("CDELT", 6e-6), ("CRPIX", 1.0)] {
                fits.append_key(key, value, "")?;
            }
        }
        Ok(())
    })
    .unwrap();
}

/// A row's own file.
pub fn write_apstar(path: &Path, row: Row, flux: &[f64]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    fits::write(path, |fits| {
        fits.append_key("OBJID", row.obj, "")?;
        if row.release == "sdss5" {
            fits.append_key("APRED", row.apred(), "")?;
        }
        for (key, value) in [("CRVAL1", 4.179), ("CDELT1", 6e-6), ("CRPIX1", 1.0), ("SNR", 120.0)] {
            fits.append_key(key, value, "")?;
        }
        let shape = [1, flux.len()];
        fits.image("FLUX", flux, &shape)?;
        fits.image("ERROR", &vec![1.0; flux.len()], &shape)?;
        fits.image("MASK", &vec![0_i64; flux.len()], &shape)
    })
    .unwrap();
}

/// Rows in an archive, and a folder to fetch them into.
pub struct Sample {
    pub folder: tempfile::TempDir,
    pub archive: Archive,
    pub settings: ArchiveSettings,
    pub selection: Selection,
    pub labels: Vec<String>,
    pub columns: ColumnNames,
    pub catalogue: PathBuf,
    pub spectra: PathBuf,
    pub rows: Vec<Row>,
}

impl Sample {
    /// The catalogue of these rows, and none of their spectra.
    pub fn new(rows: &[Row]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [dr17, dr19] = ["dr17", "dr19"].map(|release| folder.path().join(release));
        let archive = Archive::serve_releases(&[("dr17", &dr17), ("dr19", &dr19), ("dr20", &dr19)]);
        write_table(&dr19.join(SUMMARY), rows);
        let table = std::fs::read(dr19.join(SUMMARY)).unwrap();
        std::fs::remove_file(dr19.join(SUMMARY)).unwrap();
        std::fs::write(dr19.join(format!("{SUMMARY}.gz")), packed(&table)).unwrap();
        let settings = ArchiveSettings {
            release: Release::Dr19,
            root: archive.root_of("dr19"),
            connections: 3,
            requests_per_second: 500.0,
            retries: 3,
            timeout_s: 10.0,
            first_pause_s: 0.005,
            ..ArchiveSettings::default()
        };
        let own = folder.path().join("own");
        Self {
            archive,
            settings,
            selection: Selection::default(),
            labels: vec!["teff".into(), "mg_fe".into()],
            columns: ColumnNames::default(),
            catalogue: own.join("astra.fits.gz"),
            spectra: own.join("spectra"),
            rows: rows.to_vec(),
            folder,
        }
    }

    /// These rows, each in a file of its star.
    pub fn of_stars(rows: &[Row]) -> Self {
        let sample = Self::new(rows);
        for row in rows {
            sample.give_star(
                Some(*row).filter(|row| row.telescope != "lco25m"),
                Some(*row).filter(|row| row.telescope == "lco25m"),
            );
        }
        sample
    }

    pub fn in_dr19(&self, path: &str) -> PathBuf {
        self.folder.path().join("dr19").join(path)
    }

    /// Puts a star's file into the archive.
    pub fn give_star(&self, apo: Option<Row>, lco: Option<Row>) {
        let path = self.in_dr19(&apo.or(lco).unwrap().star());
        write_mwm(&path, apo, lco, &[100.0; N_PIXELS], &[1.0; N_PIXELS]);
    }

    /// Puts a row's own file into the archive.
    pub fn give_own(&self, row: Row, path: &str) {
        let release = if row.release == "dr17" { "dr17" } else { "dr19" };
        write_apstar(&self.folder.path().join(release).join(path), row, &[100.0; N_PIXELS]);
    }

    pub fn request(&self) -> FetchRequest<'_> {
        FetchRequest {
            settings: &self.settings,
            catalogue: &self.catalogue,
            spectra: &self.spectra,
            labels: &self.labels,
            columns: &self.columns,
            selection: &self.selection,
            refresh_catalogue: false,
        }
    }

    pub fn fetch(&self) -> Result<FetchReport> {
        fetch(&self.request(), &Silent)
    }

    /// Fetches, and all must come.
    pub fn fetch_all(&self) -> FetchReport {
        let report = self.fetch().unwrap();
        let lacking = (&report.missing, &report.failed);
        assert_eq!(report.n_fetched + report.n_present, report.n_selected, "{lacking:?}");
        self.find_all();
        report
    }

    /// Every row selected leads to a file on disk with its spectrum, as it does when spectra are prepared; these files.
    pub fn find_all(&self) -> Vec<PathBuf> {
        let naming = Naming { id_column: APOGEE_ID, columns: &self.columns };
        let (stars, _) = select(&self.catalogue, naming, &self.labels, &self.selection).unwrap();
        let folder = SpectrumFolder::new(&self.spectra);
        (0..stars.len())
            .map(|row| {
                let (astra, telescope) = (&stars.astra[row], &stars.telescope[row]);
                let path = folder.locate(astra, telescope, &stars.field[row]).expect("the spectrum is there");
                let read = spectrum_file::read(&path, &part_of(&path, telescope)).unwrap();
                assert_eq!((&read.id, read.raw_flux.len()), (&astra.obj, N_PIXELS));
                assert!(read.release.is_empty() || read.release == astra.release, "{}", path.display());
                path
            })
            .collect()
    }

    /// Positions that requests for a file asked to begin at.
    pub fn starts(&self, part: &str) -> Vec<Option<usize>> {
        self.archive.requests_for(part).iter().map(|request| request.range).collect()
    }
}
