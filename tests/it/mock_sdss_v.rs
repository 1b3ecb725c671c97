//! The mock survey in the formats of SDSS-V: the same stars and pixels as in those of DR17, by what the readers find.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use maury::data::files::files_below;
use maury::data::fits::FitsReader;
use maury::data::selection::{Selection, select};
use maury::data::spectrum_file::{Format, Part, RawSpectrum, read, visits};
use maury::mock::{MockFormat, MockSettings, survey};
use maury::progress::Silent;
use maury::spectra::grid::WavelengthGrid;

use crate::support::{N_PIXELS, is_measured, maury, python_has, refused, succeeded, told};

/// APOGEE_PIXMASK bits 0 to 7 and 14.
const BAD: i64 = 0x40FF;
const ONLY: Part = Part { observatory: None, visit: None };
/// The table of APOGEE's stars.
const APOGEE: usize = 2;

fn make(folder: &Path, stars: usize, seed: u64, format: MockFormat) -> survey::MockSummary {
    survey::write(folder, &MockSettings { stars, seed, format, ..MockSettings::default() }, &Silent).unwrap()
}

/// A survey in both formats.
struct Both {
    root: tempfile::TempDir,
    dr17: PathBuf,
    sdss_v: PathBuf,
    summaries: [survey::MockSummary; 2],
}

/// Large enough for a star of every kind: from forty on there are all.
fn both() -> Both {
    let root = tempfile::tempdir().unwrap();
    let [dr17, sdss_v] = ["dr17", "sdss-v"].map(|name| root.path().join(name));
    let summaries = [make(&dr17, 40, 3, MockFormat::Dr17), make(&sdss_v, 40, 3, MockFormat::SdssV)];
    Both { root, dr17, sdss_v, summaries }
}

fn only_file(folder: &Path, relative: String) -> PathBuf {
    let path = folder.join(relative);
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// That DR17 and SDSS-V have the same of each pixel that is any good, to a relative difference, and nothing of the others; how many
/// are bad.
fn assert_same(dr17: &RawSpectrum, sdss_v: &RawSpectrum, within: f64) -> usize {
    let id = &dr17.id;
    assert_eq!((&sdss_v.id, sdss_v.raw_flux.len(), &sdss_v.pixmask), (id, N_PIXELS, &dr17.pixmask));
    assert!(WavelengthGrid::is_apogee_header(sdss_v.log_wavelength, N_PIXELS));
    let (mut n_good, mut n_bad) = (0, 0);
    for pixel in 0..N_PIXELS {
        if !is_measured(dr17, pixel) {
            assert!(!is_measured(sdss_v, pixel), "{id}, pixel {pixel}");
        } else if dr17.pixmask[pixel] & BAD != 0 {
            assert!(dr17.raw_error[pixel] > 1e9 * dr17.raw_flux[pixel].abs(), "{id}, pixel {pixel}");
            assert!(sdss_v.raw_error[pixel].is_infinite(), "{id}, pixel {pixel}");
            n_bad += 1;
        } else {
            n_good += 1;
            let off = [(&dr17.raw_flux, &sdss_v.raw_flux), (&dr17.raw_error, &sdss_v.raw_error)]
                .map(|(one, other)| (one[pixel] / other[pixel] - 1.0).abs());
            assert!(off[0] <= within && off[1] <= within, "{id}, pixel {pixel}: {off:?}");
        }
    }
    // Of three chips one may be dead.
    assert!(n_good > 4000, "{id}: {n_good}");
    assert!((sdss_v.snr / dr17.snr - 1.0).abs() < 1e-6 && (sdss_v.velocity_kms - dr17.velocity_kms).abs() < 1e-4);
    n_bad
}

#[test]
fn both_formats_hold_the_same_spectra() {
    let Both { root: _root, dr17, sdss_v, summaries: [of_dr17, of_sdss_v] } = both();
    assert_eq!((of_dr17.n_spectra, &of_dr17.pathologies), (of_sdss_v.n_spectra, &of_sdss_v.pathologies));
    let truth = |folder: &Path| std::fs::read(survey::truth(folder)).unwrap();
    assert_eq!(truth(&dr17), truth(&sdss_v));

    let mut fits = FitsReader::open(&survey::catalogue(&dr17, MockFormat::Dr17)).unwrap();
    let n_rows = fits.table_layout(1).unwrap().0;
    let [ids, fields] = ["APOGEE_ID", "FIELD"].map(|column| fits.texts(1, column, 0..n_rows).unwrap());
    let mut fits = FitsReader::open(&survey::catalogue(&sdss_v, MockFormat::SdssV)).unwrap();
    assert_eq!(fits.table_layout(APOGEE).unwrap().0, n_rows);
    let objects = fits.texts(APOGEE, "obj", 0..n_rows).unwrap();
    let releases = fits.texts(APOGEE, "release", 0..n_rows).unwrap();
    let [numbers, pixels] = ["sdss_id", "healpix"].map(|column| fits.integers(APOGEE, column, 0..n_rows).unwrap());
    assert_eq!(objects, ids);
    let (mut n_of_dr17, mut n_bad, mut layouts) = (0, 0, [false; 2]);
    for row in 0..n_rows {
        let (id, field, pixel, number) = (&ids[row], &fields[row], pixels[row], numbers[row]);
        let name = format!("apo25m/{field}/apStar-dr17-{id}.fits");
        let old = dr17.join("spectra").join(&name);
        if releases[row] == "dr17" {
            n_of_dr17 += 1;
            let same = sdss_v.join("apogee/spectro/redux/dr17/stars").join(&name);
            assert_eq!(std::fs::read(same).unwrap(), std::fs::read(&old).unwrap());
            continue;
        }
        let apstar =
            format!("spectro/apogee/redux/1.3/stars/apo25m/{}/{pixel}/apStar-1.3-apo25m-{id}.fits", pixel / 1000);
        let apstar = only_file(&sdss_v, apstar);
        let of_astra = |folder: &str, kind: &str| {
            let group = format!("{:02}/{:02}", number / 100 % 100, number % 100);
            only_file(&sdss_v, format!("spectro/astra/0.6.0/spectra/{folder}/{group}/{kind}-0.6.0-{number}.fits"))
        };
        let (star, visit_file) = (of_astra("star", "mwmStar"), of_astra("visit", "mwmVisit"));
        let (one, two, three) =
            (read(&old, &ONLY).unwrap(), read(&apstar, &ONLY).unwrap(), read(&star, &ONLY).unwrap());
        assert_eq!([two.format, three.format], [Format::ApStarSdssV, Format::MwmStar]);
        assert_eq!([two.n_visits, three.n_visits], [one.n_visits; 2]);
        n_bad += assert_same(&one, &two, 0.0);
        // Single precision; an error is the root of an inverse of a rounded number.
        assert_same(&one, &three, 2e-7);
        assert!(three.warning.is_none());

        let [of_old, of_apstar, of_table] = [&old, &apstar, &visit_file].map(|path| visits(path).unwrap());
        assert_eq!([of_apstar.len(), of_table.len()], [of_old.len(); 2]);
        layouts[usize::from(of_old.len() > 1)] = true;
        for visit in 0..of_old.len() {
            let [old, new, same] = [(&old, &of_old), (&apstar, &of_apstar), (&visit_file, &of_table)]
                .map(|(path, parts)| read(path, &parts[visit]).unwrap());
            assert_same(&old, &new, 0.0);
            assert_same(&old, &same, 2e-7);
            assert!(same.format == Format::MwmVisit && same.warning.is_none());
        }
    }
    assert_eq!(layouts, [true; 2], "stars with one visit and with several must have been met");
    // The ends of the chips alone are 45 bad pixels of each star with one visit.
    assert!(n_bad > 200, "{n_bad}");
    assert!(n_of_dr17 > 0 && n_of_dr17 < n_rows / 4, "{n_of_dr17}");
    // Three files of each spectrum of SDSS-V, one of each other; the table; and nothing else.
    let files = files_below(&sdss_v, &[""]).unwrap();
    assert_eq!(files.len(), 3 * (n_rows - n_of_dr17) + n_of_dr17 + 2);
    let bytes: u64 = files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert_eq!(of_sdss_v.bytes, bytes);
}

#[test]
fn the_table_holds_the_labels_of_dr17_over_hydrogen() {
    let Both { root: _root, dr17, sdss_v, .. } = both();
    let mut old = FitsReader::open(&survey::catalogue(&dr17, MockFormat::Dr17)).unwrap();
    let mut new = FitsReader::open(&survey::catalogue(&sdss_v, MockFormat::SdssV)).unwrap();
    let (n_rows, columns) = new.table_layout(APOGEE).unwrap();
    assert_eq!((n_rows, columns.len()), (45, 396));
    let (n_boss, of_boss) = new.table_layout(1).unwrap();
    assert_eq!((n_boss, of_boss.len(), new.n_hdus().unwrap()), (0, 384, 3));
    assert_eq!((new.key_f64(1, "NAXIS1"), new.key_f64(APOGEE, "NAXIS1")), (Some(1846.0), Some(2068.0)));
    assert_eq!(new.key_text(0, "PIPELINE").as_deref(), Some("ASPCAP"));

    let mut was = |column: &str| old.numbers(1, column, 0..n_rows).unwrap();
    let mut is = |column: &str| new.numbers(APOGEE, column, 0..n_rows).unwrap();
    let same = |one: &[f64], other: &[f64], within: f64| {
        for (row, (one, other)) in one.iter().zip(other).enumerate() {
            assert!((one - other).abs() <= within || one.is_nan() && other.is_nan(), "row {row}: {one} {other}");
        }
    };
    for (old, new) in [
        ("TEFF", "teff"),
        ("TEFF_ERR", "e_teff"),
        ("LOGG", "logg"),
        ("LOGG_ERR", "e_logg"),
        ("FE_H", "fe_h"),
        ("FE_H_ERR", "e_fe_h"),
        ("M_H", "m_h_atm"),
        ("ALPHA_M", "alpha_m_atm"),
        ("SNR", "snr"),
        ("VHELIO_AVG", "v_rad"),
        ("STARFLAG", "spectrum_flags"),
        ("NVISITS", "n_visits"),
        ("H", "h_mag"),
    ] {
        same(&was(old), &is(new), 0.0);
    }
    let (iron, iron_error) = (is("fe_h"), is("e_fe_h"));
    let missing =
        ["teff", "fe_h", "mg_h", "si_h"].map(|column| is(column).iter().filter(|value| value.is_nan()).count());
    assert!(missing.iter().sum::<usize>() > 0 && missing.iter().all(|n| *n < 5), "{missing:?}");
    for element in ["c", "n", "o", "na", "mg", "al", "si", "s", "k", "ca", "ti", "v", "cr", "mn", "co", "ni"] {
        let over_iron: Vec<f64> = is(&format!("{element}_h")).iter().zip(&iron).map(|(x, iron)| x - iron).collect();
        // Two numbers of single precision, of some 2 dex at most.
        same(&was(&format!("{}_FE", element.to_uppercase())), &over_iron, 5e-7);
        let error: Vec<f64> = was(&format!("{}_FE_ERR", element.to_uppercase()))
            .iter()
            .zip(&iron_error)
            .map(|(x, iron)| x.hypot(*iron))
            .collect();
        same(&error, &is(&format!("e_{element}_h")), 1e-7);
    }
    // What is lost at the grid's edge stands there before calibration, and is marked.
    let (silicon, raw, marks) = (is("si_h"), is("raw_si_h"), is("si_h_flags"));
    for row in (0..n_rows).filter(|row| iron[*row].is_finite()) {
        assert!(raw[row].is_finite());
        assert_eq!(marks[row] == 256.0, silicon[row].is_nan());
    }
    let bad: Vec<bool> = was("ASPCAPFLAG").iter().map(|flags| *flags as i64 & 1 << 23 != 0).collect();
    let marked = |fits: &mut FitsReader, column: &str| -> Vec<bool> {
        fits.logicals(APOGEE, column, 0..n_rows).unwrap().into_iter().map(Option::unwrap).collect()
    };
    assert_eq!([marked(&mut new, "flag_bad"), marked(&mut new, "flag_warn")], [bad.clone(), bad.clone()]);
    let flags = new.integers(APOGEE, "result_flags", 0..n_rows).unwrap();
    assert!(flags.iter().zip(&bad).all(|(flags, bad)| (flags & 0x0FE0_015F != 0) == *bad));

    // Rows of one star share its number and name, and one of them at most is of SDSS-V.
    let [ids, names, releases, fields, old_names] = ["obj", "telescope", "release", "field", "sdss4_apogee_id"]
        .map(|column| new.texts(APOGEE, column, 0..n_rows).unwrap());
    let numbers = new.integers(APOGEE, "sdss_id", 0..n_rows).unwrap();
    assert!(names.iter().all(|telescope| telescope == "apo25m"));
    let mut number_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    (0..n_rows).for_each(|row| number_of.entry(&ids[row]).or_default().push(row));
    let mut distinct: Vec<i64> = numbers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), number_of.len());
    for rows in number_of.values() {
        assert!(rows.iter().all(|row| numbers[*row] == numbers[rows[0]]));
        assert_eq!(rows.iter().filter(|row| releases[**row] == "sdss5").count(), 1);
        for row in rows {
            let is_old = releases[*row] == "dr17";
            assert_eq!((fields[*row].is_empty(), old_names[*row].is_empty()), (!is_old, rows.len() == 1));
        }
    }
}

#[test]
fn an_experiment_finds_the_same_stars_in_both_formats_and_their_spectra() {
    let Both { root, dr17, sdss_v, .. } = both();
    let labels = ["teff", "logg", "fe_h", "mg_fe", "si_fe"].map(String::from);
    let not_bad = Selection { reject_aspcapflag_bits: vec![23], ..Selection::default() };
    let old = select(&survey::catalogue(&dr17, MockFormat::Dr17), "APOGEE_ID", &labels, &not_bad).unwrap().0;
    let not_bad = Selection { reject_marked: vec!["flag_bad".into()], ..Selection::default() };
    let new = select(&survey::catalogue(&sdss_v, MockFormat::SdssV), "APOGEE_ID", &labels, &not_bad).unwrap().0;
    assert_eq!((&new.id, &new.snr, &new.starflag), (&old.id, &old.snr, &old.starflag));
    assert!(new.len() > 40 && new.astra.iter().all(|spectrum| spectrum.release == "sdss5"));
    for (old, new) in old.labels.iter().flatten().zip(new.labels.iter().flatten()) {
        assert!((old - new).abs() < 5e-7, "{old} {new}");
    }
    let toml = "[data]\ntruth = \"sdss-v/truth.csv\"\n[data.apstar]\nspectra = \"sdss-v\"\n\
                catalogue = \"sdss-v/spectro/astra/0.6.0/summary/astraAllStarASPCAP-0.6.0.fits.gz\"\n\
                [selection]\nreject_marked = [\"flag_bad\"]\n[models.linear.cannon]\norder = 1\n";
    std::fs::write(root.path().join("try.toml"), toml).unwrap();
    let said = format!("spectrum on disk: 0 removed, {} left", new.len());
    told(root.path(), &["prepare", "try.toml"], &[&said]);
}

#[test]
fn apstar_and_mwm_files_are_laid_out_as_in_dr19() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mock");
    make(&folder, 12, 8, MockFormat::SdssV);
    let files = files_below(&folder, &[".fits"]).unwrap();
    let named = |begin: &str| -> Vec<&PathBuf> {
        files.iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(begin)).collect()
    };
    let (mut seen, mut n_bad) = ([false; 2], 0);
    for path in named("apStar-1.3") {
        let mut fits = FitsReader::open(path).unwrap();
        let n_visits = fits.key_f64(0, "NVISITS").unwrap() as usize;
        seen[usize::from(n_visits > 1)] = true;
        let n_rows = if n_visits == 1 { 1 } else { n_visits + 2 };
        assert_eq!((fits.n_hdus().unwrap(), fits.key_text(0, "APRED").as_deref()), (10, Some("1.3")));
        for (hdu, name) in
            ["FLUX", "ERROR", "MASK", "SKY FLUX", "SKY ERROR", "TELLURIC", "TELLURIC ERROR"].iter().enumerate()
        {
            assert_eq!(fits.image_shape(hdu + 1).unwrap(), Some(vec![n_rows, N_PIXELS]));
            assert_eq!(fits.key_text(hdu + 1, "EXTNAME").as_deref(), Some(*name));
        }
        assert_eq!(fits.table_layout(8).unwrap(), (0, Vec::new()));
        let (n_velocities, columns) = fits.table_layout(9).unwrap();
        assert!(n_velocities == n_visits && !columns.contains(&"jd".to_string()));
        assert_eq!(fits.key_text(9, "TFORM1").as_deref(), Some("300A"));
        for key in ["FIELD", "BMIN", "VHELIO", "H", "SNREV"] {
            assert!(!fits.has_key(0, key), "{key}");
        }
        let pixels = |fits: &mut FitsReader, hdu| fits.image_section::<f64>(hdu, 0..n_rows * N_PIXELS).unwrap();
        let (flux, error) = (pixels(&mut fits, 1), pixels(&mut fits, 2));
        let mask = fits.image_section::<i64>(3, 0..n_rows * N_PIXELS).unwrap();
        for pixel in 0..N_PIXELS {
            // Gaps of a coadd have no flux and an error of 0; bad pixels have an ordinary one.
            assert_eq!(flux[pixel].is_nan(), error[pixel] == 0.0, "pixel {pixel}");
            assert!(!flux[pixel].is_nan() || mask[pixel] == 0);
            if mask[pixel] & BAD != 0 {
                n_bad += 1;
                assert!(error[pixel] < 1e4 * flux[pixel].abs(), "pixel {pixel}: {} {}", flux[pixel], error[pixel]);
            }
        }
        assert!(error.iter().all(|error| error.is_finite()));
    }
    assert_eq!(seen, [true; 2], "both layouts must have been met");
    assert!(n_bad > 40, "{n_bad}");

    for (kind, n_columns, empty) in [("mwmStar", [35, 45], [121.0, 158.0]), ("mwmVisit", [73, 57], [279.0, 234.0])] {
        for path in named(kind) {
            let mut fits = FitsReader::open(path).unwrap();
            let n_visits = fits.key_f64(0, "N_APOGEE").unwrap() as usize;
            assert_eq!(fits.n_hdus().unwrap(), 5);
            let names = ["", "BOSS/APO", "BOSS/LCO", "APOGEE/APO", "APOGEE/LCO"];
            for (hdu, name) in names.into_iter().enumerate() {
                assert!(fits.has_key(hdu, "CHECKSUM") && fits.has_key(hdu, "DATASUM"), "{kind}, HDU {hdu}");
                let Some(table) = hdu.checked_sub(1) else { continue };
                assert_eq!(fits.key_text(hdu, "EXTNAME").as_deref(), Some(name));
                let (n_rows, columns) = fits.table_layout(hdu).unwrap();
                assert_eq!(columns.len(), n_columns[table / 2]);
                if name == "APOGEE/APO" {
                    assert_eq!(n_rows, if kind == "mwmStar" { 1 } else { n_visits });
                    let flags = 1 + columns.iter().position(|column| column == "pixel_flags").unwrap();
                    assert_eq!(fits.key_text(hdu, &format!("TFORM{flags}")).as_deref(), Some("8575E"));
                } else {
                    assert_eq!((n_rows, fits.key_f64(hdu, "NAXIS1")), (0, Some(empty[table / 2])));
                    assert_eq!(fits.key_text(hdu, "DATASUM").as_deref(), Some("0"));
                }
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let contents = |name: &str, threads: usize, seed: u64| -> BTreeMap<PathBuf, Vec<u8>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let folder = root.path().join(name);
        pool.install(|| make(&folder, 5, seed, MockFormat::SdssV));
        let files = files_below(&folder, &[""]).unwrap();
        let content = |path: &PathBuf| (path.strip_prefix(&folder).unwrap().into(), std::fs::read(path).unwrap());
        files.iter().map(content).collect()
    };
    let one = contents("one", 1, 7);
    // A second goes by, which a header that tells the time would tell.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let two = contents("two", 2, 7);
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (path, bytes) in &one {
        assert!(two[path] == *bytes, "{} differs", path.display());
    }
    assert!(contents("other", 2, 8).keys().ne(one.keys()));
}

#[test]
fn the_format_is_named_on_the_command_line_and_in_experiments() {
    let root = tempfile::tempdir().unwrap();
    let said = succeeded(root.path(), &["mock", "--stars", "1", "--format", "sdss-v", "new"]);
    assert!(said.contains(" --set 'selection.fields=[]'"), "a shell takes brackets for names of files: {said}");
    let table = "new/spectro/astra/0.6.0/summary/astraAllStarASPCAP-0.6.0.fits.gz";
    assert!(said.contains(&format!("data.apstar.catalogue={table}")) && root.path().join(table).is_file(), "{said}");
    assert!(said.contains("data.apstar.spectra=new --set data.truth=new/truth.csv"), "{said}");
    refused(root.path(), &["mock", "--format", "dr18", "other"], 2, &["dr18", "dr17, sdss-v"]);
    let experiment = |format: &str| {
        let toml = format!("[data.mock]\nstars = 1\nformat = \"{format}\"\n[models.linear.cannon]\norder = 1\n");
        std::fs::write(root.path().join("try.toml"), toml).unwrap();
    };
    experiment("dr18");
    refused(root.path(), &["prepare", "try.toml"], 2, &["dr18", "sdss-v"]);
    experiment("sdss-v");
    let with_fields = ["prepare", "try.toml", "--set", "selection.fields=[\"M15\"]"];
    refused(root.path(), &with_fields, 2, &["selection.fields", "must be []"]);
    // One star is too few for whatever comes next, but the survey is made.
    maury(root.path(), &["prepare", "try.toml"]);
    let mock = root.path().join("experiments/.prepared/mock-1-stars-seed-1-sdss-v-v2");
    assert!(survey::catalogue(&mock, MockFormat::SdssV).is_file());
    // Settings that name no format say what they always said.
    let settings = MockSettings { stars: 3, seed: 2, ..MockSettings::default() };
    assert_eq!(serde_json::to_string(&settings).unwrap(), r#"{"stars":3,"seed":2}"#);
}

const WITH_ASTROPY: &str = r#"
import sys, warnings
import numpy as np
from astropy.io import fits
warnings.simplefilter("error", fits.verify.VerifyWarning)
apstar, star, visit = sys.argv[1:]
for path in (star, visit):
    with fits.open(path, checksum=True) as hdus:
        warned = [hdu.name for hdu in hdus if hdu.verify_checksum() != 1 or hdu.verify_datasum() != 1]
        assert not warned, warned
        assert [hdu.name for hdu in hdus[1:]] == ["BOSS/APO", "BOSS/LCO", "APOGEE/APO", "APOGEE/LCO"]
        assert [len(hdu.data) > 0 for hdu in hdus[1:]] == [False, False, True, False]
with fits.open(apstar) as apogee, fits.open(star) as astra, fits.open(visit) as visits:
    row = astra["APOGEE/APO"].data[0]
    assert row["flux"].shape == (8575,) and row["flux"].dtype.itemsize == 4
    flux, error, mask = (np.atleast_2d(apogee[hdu].data) for hdu in (1, 2, 3))
    np.testing.assert_array_equal(row["flux"], flux[0].astype("f4"))
    with np.errstate(divide="ignore"):
        ivar = error[0] ** -2.0
    np.testing.assert_allclose(row["ivar"], np.where(np.isfinite(ivar), ivar, 0), rtol=1e-6)
    np.testing.assert_array_equal(row["pixel_flags"], mask[0])
    rows = flux[2:] if len(flux) > 1 else np.nan_to_num(flux)
    np.testing.assert_array_equal(visits["APOGEE/APO"].data["flux"], rows.astype("f4"))
    assert apogee["LSF TABLE"].header["TFIELDS"] == 0 and not visits["APOGEE/APO"].data["fps"].any()
"#;

const WITH_SPECUTILS: &str = r#"
import sys
from specutils import Spectrum, SpectrumList
apstar, star, visit = sys.argv[1:]
assert Spectrum.read(apstar).flux.shape[-1] == 8575
assert Spectrum.read(star).flux.shape[-1] == 8575
assert SpectrumList.read(visit)[0].flux.shape[-1] == 8575
"#;

#[test]
fn astropy_and_specutils_open_them() {
    if !python_has("astropy", "opening mock files of SDSS-V in astropy") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mock");
    make(&folder, 6, 4, MockFormat::SdssV);
    let files = files_below(&folder, &[".fits"]).unwrap();
    let of_star = |kind: &str| -> BTreeMap<String, PathBuf> {
        let named = |path: &&PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(kind);
        files.iter().filter(named).map(|path| (read_name(path), path.clone())).collect()
    };
    let (apstars, stars, visits) = (of_star("apStar-1.3"), of_star("mwmStar"), of_star("mwmVisit"));
    assert!(apstars.len() >= 6 && apstars.keys().eq(stars.keys()) && stars.keys().eq(visits.keys()));
    let mut scripts = vec![WITH_ASTROPY];
    if python_has("specutils", "opening mock files of SDSS-V in specutils") {
        scripts.push(WITH_SPECUTILS);
    }
    for (name, apstar) in &apstars {
        for script in &scripts {
            let output = Command::new("python3")
                .args(["-c", script])
                .args([apstar, &stars[name], &visits[name]])
                .output()
                .unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// The star's name in a file of any of the three kinds.
fn read_name(path: &Path) -> String {
    let mut fits = FitsReader::open(path).unwrap();
    let name = fits.key_text(0, "OBJID");
    name.or_else(|| fits.key_text(0, "APOGEEID")).unwrap()
}
