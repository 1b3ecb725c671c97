//! Mock surveys: read and selected like real ones, laid out like real ones, the same on every machine, whole or not there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maury::data::apstar::{self, locate};
use maury::data::catalogue::Catalogue;
use maury::data::files::files_below;
use maury::data::fits::FitsReader;
use maury::data::selection::select;
use maury::data::table::Table;
use maury::experiment::load::Experiment;
use maury::mock::{MockSettings, survey};
use maury::progress::Silent;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::pixmask::{self, PixmaskSettings};
use maury::stats::robust::median;

use crate::support::{N_PIXELS, apstar_fixture, metrics, refused, succeeded};

/// Bits that leave nothing of a pixel.
const LOST: i64 = 0xFF | 1 << 14;

fn make(folder: &Path, stars: usize, seed: u64) -> survey::MockSummary {
    survey::write(folder, &MockSettings { stars, seed, ..MockSettings::default() }, &Silent).unwrap()
}

/// The lab's stars in a mock survey.
fn lab_sample(folder: &Path) -> Catalogue {
    let sets = ["catalogue=allStar.fits", "spectra=spectra"].map(|set| format!("data.apstar.{set}"));
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/apogee.toml");
    let config = Experiment::load(&lab, &sets, None).unwrap().config;
    select(&folder.join("allStar.fits"), "APOGEE_ID", &config.labels, &config.selection).unwrap().0
}

/// Tags of all spectra by id and field.
fn pathologies(folder: &Path) -> BTreeMap<(String, String), String> {
    let mut truth = Table::open(&folder.join("truth.csv")).unwrap();
    let rows = 0..truth.n_rows();
    let [ids, fields, tags] =
        ["apogee_id", "field", "pathology"].map(|column| truth.texts(column, rows.clone(), "").unwrap());
    ids.into_iter().zip(fields).zip(tags).collect()
}

#[test]
fn the_lab_finds_the_stars_asked_for_and_their_spectra_and_the_truth() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mock");
    let summary = make(&folder, 40, 3);
    assert_eq!((summary.n_stars, summary.n_spectra), (40, 45));
    let stars = lab_sample(&folder);
    assert_eq!(stars.len(), 40);
    assert!(["2M21235315+1244123", "2M03533659+2512012"].iter().all(|named| stars.id.iter().any(|id| id == named)));

    let labels = ["teff", "logg", "fe_h", "mg_fe", "si_fe"].map(String::from);
    let truth = Catalogue::read(&folder.join("truth.csv"), "", &labels).unwrap();
    assert_eq!(truth.len(), 45);
    let tags = pathologies(&folder);
    let mut kinds: Vec<&str> = tags.values().map(String::as_str).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 10, "{kinds:?}");

    let grid = WavelengthGrid::apogee();
    let settings = PixmaskSettings::default();
    let places = settings.places(&grid, &grid.chip_cores());
    let mut errors = vec![Vec::new(); labels.len()];
    for star in 0..stars.len() {
        let place = (stars.id[star].clone(), stars.field[star].clone());
        let path = locate(
            &folder.join("spectra"),
            &stars.file[star],
            &stars.telescope[star],
            &stars.field[star],
            &stars.id[star],
        );
        let spectrum = apstar::read(&path.unwrap()).unwrap();
        assert_eq!((&spectrum.id, &spectrum.field), (&place.0, &place.1));
        assert!((spectrum.snr - stars.snr[star]).abs() < 1e-4 * spectrum.snr && spectrum.snr > 50.0);
        let (_, quality) =
            pixmask::apply(&spectrum.raw_flux, &spectrum.raw_error, &spectrum.pixmask, &places, &settings);
        let tag = tags[&place].as_str();
        let dead = tag == "dead_chip";
        assert_eq!(quality.n_good > 7300, !dead, "{}: {} good pixels", spectrum.id, quality.n_good);
        if tag != "wrong_label" {
            let row = truth.id.iter().position(|id| *id == spectrum.id).unwrap();
            for (label, errors) in errors.iter_mut().enumerate() {
                errors.push((stars.labels[star][label] - truth.labels[row][label]).abs());
            }
        }
    }
    // Medians of the absolute errors, 0.67 sigma, with a factor of two to each side.
    for (errors, typical) in errors.iter().zip([14.0, 0.027, 0.008, 0.010, 0.012]) {
        let middle = median(errors);
        assert!((0.5 * typical..2.0 * typical).contains(&middle), "{middle} {typical}");
    }
}

#[test]
fn files_are_laid_out_like_a_real_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mock");
    make(&folder, 14, 8);
    let mut seen = [false; 2];
    for path in files_below(&folder.join("spectra"), &[".fits"]).unwrap() {
        let mut fits = FitsReader::open(&path).unwrap();
        let key = |fits: &mut FitsReader, key: &str| fits.key_f64(0, key).unwrap_or_else(|| panic!("{key}"));
        let n_visits = key(&mut fits, "NVISITS") as usize;
        let n_rows = if n_visits == 1 { 2 } else { n_visits + 2 };
        seen[usize::from(n_visits > 1)] = true;
        assert_eq!(fits.n_hdus().unwrap(), 11);
        for hdu in 1..8 {
            assert_eq!(fits.image_shape(hdu).unwrap(), Some(vec![n_rows, N_PIXELS]));
            assert_eq!(fits.key_f64(hdu, "BITPIX"), Some(if hdu == 3 { 64.0 } else { -64.0 }));
            assert_eq!((fits.key_f64(hdu, "CRVAL1"), fits.key_f64(hdu, "CDELT1")), (Some(4.179), Some(6e-6)));
            assert_eq!(fits.key_text(hdu, "EXTNAME"), None);
        }
        assert_eq!(fits.image_shape(8).unwrap(), Some(Vec::new()));
        assert_eq!((fits.table_layout(9).unwrap().0, fits.table_layout(10).unwrap().0), (n_visits, 1));
        let windows: Vec<[usize; 2]> = ["B", "G", "R"]
            .iter()
            .map(|chip| ["MIN", "MAX"].map(|end| key(&mut fits, &format!("{chip}OVER{end}")) as usize))
            .collect();
        let inside = |pixel: usize| windows.iter().any(|[first, last]| (*first..=*last).contains(&pixel));

        let row = |fits: &mut FitsReader, hdu: usize, row: usize| {
            fits.image_section::<f64>(hdu, row * N_PIXELS..(row + 1) * N_PIXELS).unwrap()
        };
        let masks: Vec<i64> = fits.image_section(3, 0..n_rows * N_PIXELS).unwrap();
        let (flux, error) = (row(&mut fits, 1, 0), row(&mut fits, 2, 0));
        let mut ratios = Vec::new();
        for pixel in 0..N_PIXELS {
            assert_eq!((flux[pixel].is_finite(), error[pixel] > 0.0), (inside(pixel), inside(pixel)), "{pixel}");
            if !inside(pixel) {
                assert!(flux[pixel].is_nan() && error[pixel].is_nan() && masks[pixel] == 0);
                continue;
            }
            ratios.push(flux[pixel] / error[pixel]);
            if masks[pixel] & LOST != 0 {
                assert!(error[pixel] > 1e9 * flux[pixel].abs(), "pixel {pixel}");
            }
            let common = (2..n_rows).fold(-1, |all, row| all & masks[row * N_PIXELS + pixel]);
            assert!(n_visits == 1 || masks[pixel] == common, "the coadd's mask is what visits have in common");
        }
        assert!((median(&ratios) / key(&mut fits, "SNR") - 1.0).abs() < 1e-12);
        assert!(masks[N_PIXELS..2 * N_PIXELS].iter().all(|mask| *mask == 0));
        for hdu in 4..8 {
            assert!((0..2).all(|n| row(&mut fits, hdu, n).iter().all(|value| *value == 0.0)));
        }
        if n_visits == 1 {
            assert!((1..3).all(|hdu| row(&mut fits, hdu, 1).iter().all(|value| *value == 0.0)));
            assert_eq!(fits.key_f64(0, "SNRVIS1"), Some(0.0));
            continue;
        }
        for visit in 2..n_rows {
            let (flux, error) = (row(&mut fits, 1, visit), row(&mut fits, 2, visit));
            for pixel in 0..N_PIXELS {
                assert!(flux[pixel].is_finite() && error[pixel].is_finite());
                assert!(!inside(pixel) || error[pixel] > 0.0);
                let nothing = error[pixel] == 0.0;
                assert!(!nothing || (flux[pixel] == 0.0 && masks[visit * N_PIXELS + pixel] == 0));
            }
            let n = visit - 1;
            let velocity = key(&mut fits, &format!("VHELIO{n}"));
            let from_parts = key(&mut fits, &format!("VRAD{n}")) + key(&mut fits, &format!("BC{n}"));
            assert!((velocity - from_parts).abs() < 1e-9 && (velocity - key(&mut fits, "VHELIO")).abs() < 2.0);
            assert!(row(&mut fits, 4, visit).iter().any(|sky| *sky > 1000.0));
            assert!(fits.key_text(0, &format!("DATE{n}")).unwrap().starts_with("201"));
        }
    }
    assert_eq!(seen, [true, true], "both layouts must have been met");
}

/// Keys of a real header that a mock one may lack: photometry and targeting of no use here.
const NOT_MOCKED: [&str; 14] = [
    "WASH_M", "WASH_T2", "DDO51", "IRAC_3_6", "IRAC_4_5", "IRAC_5_8", "WISE_4_5", "TARG_4_5", "AKWISE", "SFD_EBV",
    "MIN_H", "MAX_H", "MIN_JK", "MAX_JK",
];

#[test]
fn headers_have_the_keys_of_a_real_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mock");
    make(&folder, 1, 1);
    let mock = files_below(&folder.join("spectra"), &[".fits"]).unwrap();
    // A header is lines of 80 bytes.
    let keys = |path: &Path| -> Vec<String> {
        let bytes = std::fs::read(path).unwrap();
        let cards = bytes.chunks(80).map(|card| String::from_utf8_lossy(card).into_owned());
        cards.take_while(|card| card.trim() != "END").map(|card| card[..8].trim().to_string()).collect()
    };
    let found = keys(&mock[0]);
    for key in keys(&apstar_fixture()) {
        assert!(found.contains(&key) || NOT_MOCKED.contains(&key.as_str()), "no key {key}");
    }
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(folder, &[".fits", ".csv"]).unwrap();
    files.into_iter().map(|path| (path.strip_prefix(folder).unwrap().into(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn a_seed_gives_the_same_bytes_with_any_number_of_threads() {
    let root = tempfile::tempdir().unwrap();
    let survey = |name: &str, threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let folder = root.path().join(name);
        pool.install(|| make(&folder, 13, seed));
        contents(&folder)
    };
    let one = survey("one", 1, 7);
    let three = survey("three", 3, 7);
    assert_eq!(one.keys().collect::<Vec<_>>(), three.keys().collect::<Vec<_>>());
    for (path, bytes) in &one {
        assert!(three[path] == *bytes, "{} differs", path.display());
    }
    assert!(survey("other", 2, 8).keys().ne(one.keys()));
}

#[test]
fn a_folder_in_use_and_settings_that_cannot_be_are_refused() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("used")).unwrap();
    std::fs::write(root.path().join("used/thesis.tex"), "x").unwrap();
    refused(root.path(), &["mock", "--stars", "1", "used"], 1, &["used", "not empty"]);
    refused(root.path(), &["mock", "--stars", "1", "used/thesis.tex"], 1, &["is a file"]);
    refused(root.path(), &["mock", "--stars", "0", "new"], 2, &["stars must be 1 to 1000000"]);
    refused(root.path(), &["mock", "--stars", "9999999", "new"], 2, &["stars must be 1 to 1000000"]);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    let said = succeeded(root.path(), &["mock", "--stars", "1", "new"]);
    assert!(said.contains("data.apstar.catalogue=new/allStar.fits"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    // No file may exceed 1.2 MB: a single visit fits, more do not.
    let command = format!("trap '' XFSZ; ulimit -f 1200; {} mock --stars 20 out", env!("CARGO_BIN_EXE_maury"));
    let output = std::process::Command::new("bash").current_dir(root.path()).args(["-c", &command]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("is the disk full?"), "{stderr}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "something was left");
}

#[test]
fn an_experiment_makes_its_survey_once_and_tells_the_healthy_apart() {
    let root = tempfile::tempdir().unwrap();
    let toml = "split = \"halves\"\n[data.mock]\nstars = 60\nseed = 3\n[models.linear.cannon]\norder = 1\n";
    std::fs::write(root.path().join("try.toml"), toml).unwrap();
    let first = succeeded(root.path(), &["run", "try.toml"]);
    assert!(first.contains("estimate - truth, stars with which nothing is wrong"), "{first}");
    let tables = succeeded(root.path(), &["report", "--text", "experiments/try"]);
    assert!(tables.contains("healthy, - truth") && tables.contains("rms of - truth, by kind"), "{tables}");
    let model = &metrics(root.path(), "try")["models"]["linear"];
    let groups = model["by_pathology"].as_object().unwrap();
    let tested: u64 = groups.values().map(|group| group["n_test"].as_u64().unwrap()).sum();
    assert_eq!(tested, model["n_test"].as_u64().unwrap());
    // A linear Cannon of thirty stars is no good one, but knows a hot star from a cool one: Teff spreads over 400 K.
    let scatter = groups["healthy"]["labels_vs_truth"]["teff"]["robust_scatter"].as_f64().unwrap();
    assert!(scatter < 250.0, "{scatter}");
    let survey = root.path().join("experiments/.prepared/mock-60-stars-seed-3-v2/allStar.fits");
    let made = std::fs::metadata(&survey).unwrap().modified().unwrap();
    let again = crate::support::maury(root.path(), &["run", "try.toml", "--name", "again"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("mock survey taken from"));
    assert_eq!(std::fs::metadata(&survey).unwrap().modified().unwrap(), made);
    let table = std::fs::read_to_string(root.path().join("experiments/again/latest/predictions.csv")).unwrap();
    assert!(table.lines().next().unwrap().ends_with(",pathology"));
    let n_healthy = table.lines().filter(|row| row.ends_with(",none")).count() as u64;
    assert_eq!(n_healthy, groups["healthy"]["n_test"].as_u64().unwrap());
}
