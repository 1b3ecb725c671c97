//! `maury label` over many files: streamed, killed, started again; and an emulator as the model.

use std::path::Path;
use std::process::Command;

use maury::data::fits::FitsReader;

use crate::support::{apstar_fixture, real_data, refused, start, succeeded, survey, told, wait_until};

/// Links to one real spectrum: as many files as a survey, at the price of one.
pub fn many(folder: &Path, n: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for star in 0..n {
        std::os::unix::fs::symlink(apstar_fixture(), folder.join(format!("apStar-{star:05}.fits"))).unwrap();
    }
}

/// Begins a job and kills it as soon as the first rows, below two lines about them, are in its journal; how many are.
pub fn killed(folder: &Path, words: &[&str], journal: &Path) -> usize {
    let mut job = start(folder, words);
    let rows = || std::fs::read_to_string(journal).map_or(0, |text| text.lines().count());
    wait_until("300 rows", || rows() >= 300);
    job.kill().unwrap();
    job.wait().unwrap();
    rows() - 2
}

fn files_in(table: &str) -> Vec<String> {
    table.lines().skip(1).map(|row| row.split(',').nth(1).unwrap().to_string()).collect()
}

#[test]
fn a_killed_job_goes_on_and_every_spectrum_has_one_row() {
    let folder = survey(40);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    // Batches of 256 make four more rounds than the one that is waited for.
    many(&folder.path().join("many"), 1100);
    let words = ["label", "--model", "experiments/lab/latest/models/cannon", "--out", "labels", "many"];
    let journal = folder.path().join("labels.unfinished.jsonl");
    let done = killed(folder.path(), &words, &journal);
    assert!((1..1100).contains(&done), "killed with {done} rows");
    assert!(!folder.path().join("labels.csv").exists());
    // Another model does not go on with these rows.
    let other = "experiments/lab/latest/models/other";
    let copy = Command::new("cp").current_dir(folder.path()).args(["-r", words[2], other]).status().unwrap();
    assert!(copy.success());
    let model = folder.path().join(other).join("model.json");
    let text = std::fs::read_to_string(&model).unwrap();
    std::fs::write(&model, format!("{text}\n")).unwrap();
    refused(folder.path(), &["label", "--model", other, "--out", "labels", "many"], 1, &["begun with another model"]);

    told(folder.path(), &words, &["of 1100 spectra are labelled already"]);
    let table = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
    let mut files = files_in(&table);
    assert!(files.is_sorted(), "rows are in the order of the files");
    files.dedup();
    assert_eq!(files.len(), 1100);
    assert!(!journal.exists());
    // One spectrum has one set of labels, whichever job it fell to; batches of another size add up in another order.
    // The FITS table has every digit.
    let mut fits = FitsReader::open(&folder.path().join("labels.fits")).unwrap();
    let (n_rows, names) = fits.table_layout(1).unwrap();
    let columns: Vec<Vec<f64>> = names[2..].iter().map(|name| fits.numbers(1, name, 0..n_rows).unwrap()).collect();
    let rows: Vec<Vec<f64>> = (0..n_rows).map(|row| columns.iter().map(|column| column[row]).collect()).collect();
    assert_eq!((n_rows, names.join(",").as_str()), (1100, table.lines().next().unwrap()));
    let first = |name: &str| rows[0][names.iter().position(|column| column == name).unwrap() - 2];
    // A covariance may be next to nothing; what it is small against is the product of the two errors.
    let scales: Vec<f64> = names[2..]
        .iter()
        .map(|name| match name.strip_prefix("cov_").and_then(|pair| pair.split_once('_')) {
            Some((a, b)) => first(&format!("{a}_error")) * first(&format!("{b}_error")),
            None => first(name).abs(),
        })
        .collect();
    for row in &rows {
        for ((value, reference), scale) in row.iter().zip(&rows[0]).zip(&scales) {
            assert!((value - reference).abs() <= 1e-5 * scale, "{value} and {reference} for the same spectrum");
        }
    }
    // A job that nobody disturbed writes the very same table.
    succeeded(folder.path(), &["label", "--model", words[2], "--out", "undisturbed", "many"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("undisturbed.csv")).unwrap(), table);
    // So does the FITS file, but for the day it was written: the header says what made the labels, the rows are the same to the last bit.
    let mut bytes = ["labels.fits", "undisturbed.fits"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    for bytes in &mut bytes {
        let date = bytes.chunks_mut(80).find(|card| card.starts_with(b"DATE    =")).expect("a date");
        assert!(date[10..].starts_with(b"'20") && date[21] == b'\'', "{}", String::from_utf8_lossy(date));
        date.fill(b' ');
    }
    assert!(bytes[0] == bytes[1], "two jobs wrote different tables");
    let mut key = |key: &str| fits.key_text(1, key).unwrap_or_default();
    assert_eq!((key("MODEL").as_str(), key("MODELDIR").as_str()), ("cannon", words[2]));
    assert_eq!(
        (key("CREATOR").as_str(), key("FLAG8").as_str()),
        (concat!("maury ", env!("CARGO_PKG_VERSION")), "BAD_FIT")
    );
    assert!(key("ERRORS").starts_with("calibrated on stars held out") || key("ERRORS").starts_with("formal"));
}

#[test]
fn a_list_names_spectra_and_a_missing_one_gets_its_row() {
    let folder = survey(40);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    many(&folder.path().join("many"), 3);
    let list = "many/apStar-00002.fits\n\n many/absent.fits \nmany/apStar-00000.fits\nmany/apStar-00002.fits\n";
    std::fs::write(folder.path().join("list.txt"), list).unwrap();
    let words = ["label", "--model", "experiments/lab/latest/models/cannon", "--out", "t", "--list", "list.txt"];
    succeeded(folder.path(), &words);
    let table = std::fs::read_to_string(folder.path().join("t.csv")).unwrap();
    assert_eq!(files_in(&table), ["many/apStar-00002.fits", "many/absent.fits", "many/apStar-00000.fits"]);
    assert!(table.lines().nth(2).unwrap().ends_with(",129"), "unreadable and without data: {table}");
}

#[test]
fn the_shipped_emulator_labels_real_spectra_and_flags_what_lies_outside() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband");
    let work = tempfile::tempdir().unwrap();
    let model = model.display().to_string();
    let dwarf = apstar_fixture().display().to_string();
    succeeded(work.path(), &["label", "--model", &model, "--out", "dwarf", &dwarf]);
    let table = std::fs::read_to_string(work.path().join("dwarf.csv")).unwrap();
    let flags: i64 = table.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    assert!(flags & 32 != 0, "a dwarf is no giant: {table}");

    let Some(spectra) = real_data("apstar") else { return };
    let mystery = spectra.join("mystery_spec_wiped.fits").display().to_string();
    succeeded(work.path(), &["label", "--model", &model, "--out", "mystery", &mystery]);
    let table = std::fs::read_to_string(work.path().join("mystery.csv")).unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    let value = |column: usize| row[3 + 2 * column].parse::<f64>().unwrap();
    // The DR10 Cannon gives 4465, 1.97, -0.52; physical models without NLTE and a survey's calibrated labels differ by
    // some 100 K, 0.3 and 0.15 dex in the literature. What must not happen is a fit that wanders off.
    assert!((value(0) - 4465.0).abs() < 100.0, "Teff {}", value(0));
    assert!((value(1) - 1.97).abs() < 0.3, "log g {}", value(1));
    assert!((value(2) + 0.52).abs() < 0.15, "[Fe/H] {}", value(2));
    // What is usual at a star's labels is not what it is: with fixed nuisances the fit is worse.
    succeeded(work.path(), &["label", "--model", &model, "--nuisances", "fixed", "--out", "fixed", &mystery]);
    let fixed = std::fs::read_to_string(work.path().join("fixed.csv")).unwrap();
    let chi2 = |table: &str| table.lines().nth(1).unwrap().split(',').nth(13).unwrap().parse::<f64>().unwrap();
    assert!(chi2(&fixed) > chi2(&table), "{fixed}\n{table}");
}
