//! `maury label` and `maury posterior` of arrays: new spectra of any survey under a model that was trained on arrays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, s};
use ndarray_npy::{NpzWriter, WriteNpyExt};

use crate::labelling::killed;
use crate::support::{csv, real_data, refused, save, succeeded, told, truth};

const MODEL: &str = "experiments/own/latest/models/cannon";

const EXPERIMENT: &str = "\
labels = [\"teff\", \"logg\"]
[data.arrays]
flux = \"flux.npy\"
error = \"error.npy\"
labels = \"labels.csv\"
wavelengths = \"wavelength.npy\"
[continuum]
method = \"none\"
";

fn save_list(folder: &Path, name: &str, list: Vec<f64>) {
    ndarray::Array1::from_vec(list).write_npy(std::fs::File::create(folder.join(name)).unwrap()).unwrap();
}

/// Wavelengths of 30 pixels in vacuum Angstrom.
fn wavelength() -> Vec<f64> {
    (0..30).map(|pixel| 8500.0 + 0.5 * f64::from(pixel)).collect()
}

/// A survey of 120 stars of which half trained a Cannon; the first two pixels no star has.
fn trained() -> (tempfile::TempDir, Array2<f32>, Array2<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let truth = truth(120, 2, 30, 71);
    truth.save(folder.path());
    let mut error = truth.error();
    error.slice_mut(s![.., ..2]).fill(f32::NAN);
    save(folder.path(), "error.npy", &error);
    save_list(folder.path(), "wavelength.npy", wavelength());
    std::fs::write(folder.path().join("own.toml"), EXPERIMENT).unwrap();
    succeeded(folder.path(), &["run", "own.toml"]);
    (folder, truth.flux, error)
}

/// Rows of a table by the star's name, each cell by its column's.
fn by_star(path: &Path) -> HashMap<String, HashMap<String, String>> {
    let (names, rows) = csv(path);
    let id = names.iter().position(|name| name == "id").unwrap();
    rows.into_iter().map(|cells| (cells[id].clone(), names.iter().cloned().zip(cells).collect())).collect()
}

fn label(folder: &Path, model: &str, out: &str, more: &[&str]) -> HashMap<String, HashMap<String, String>> {
    let words = [&["label", "--model", model, "--out", out], more].concat();
    succeeded(folder, &words);
    by_star(&folder.join(format!("{out}.csv")))
}

/// How a star's row differs from its row of a run: labels and errors by more than two thousandths of the errors, which is a step of
/// the last digit, chi^2, flags.
fn difference(ours: &HashMap<String, String>, run: &HashMap<String, String>, labels: &[&str]) -> Option<String> {
    let number = |row: &HashMap<String, String>, column: &str| row[column].parse::<f64>().unwrap_or(f64::NAN);
    let scale = |label: &str| number(run, &format!("{label}_error"));
    let of_label = |label: &&str| ["estimate", "error"].map(|kind| (format!("{label}_{kind}"), scale(label)));
    let columns = labels.iter().flat_map(of_label).chain([("chi2_reduced".to_string(), 1.0)]);
    for (column, scale) in columns {
        let (ours, theirs) = (number(ours, &column), number(run, &column));
        if (ours - theirs).abs() > 2.1e-3 * scale || ours.is_nan() != theirs.is_nan() {
            return Some(format!("{column}: {ours}, and {theirs} in the run"));
        }
    }
    // A new spectrum has no catalogue that could miss its labels.
    let flags = |row: &HashMap<String, String>| row["flags"].parse::<i64>().unwrap() & !(1 << 6);
    (flags(ours) != flags(run)).then(|| format!("flags {}, and {} in the run", flags(ours), flags(run)))
}

#[test]
fn new_rows_get_the_labels_that_the_run_gave_them() {
    let (folder, flux, error) = trained();
    let folder = folder.path();
    let arrays =
        ["--flux", "flux.npy", "--error", "error.npy", "--wavelengths", "wavelength.npy", "--ids", "labels.csv"];
    let labelled = label(folder, MODEL, "new", &arrays);
    assert_eq!(labelled.len(), 120);
    assert_eq!(labelled["s007"]["file"], "flux.npy[7]");
    let run = by_star(&folder.join("experiments/own/latest/predictions.csv"));
    assert!(run.len() > 40);
    for (id, row) in &run {
        assert_eq!(difference(&labelled[id], row, &["teff", "logg"]), None, "{id}");
    }
    // A gap that no training star had measured is none of a new star's masked pixels.
    let masked: f64 = labelled["s007"]["fraction_masked"].parse().unwrap();
    let n_masked = masked * 28.0;
    assert!((n_masked - n_masked.round()).abs() < 1e-3, "{masked} of 28 pixels");

    // However they are stored, and by their inverse variance, they are the same spectra.
    let table = std::fs::read_to_string(folder.join("new.csv")).unwrap();
    let numbers = |table: &str| -> Vec<String> {
        table.lines().map(|row| row.rsplit_once("[").map_or(row, |(_, rest)| rest).to_string()).collect()
    };
    save(folder, "wide.npy", &flux.mapv(f64::from));
    save(folder, "fortran.npy", &flux.t().as_standard_layout().to_owned().reversed_axes());
    let bytes = std::fs::read(folder.join("flux.npy")).unwrap();
    let start = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let header = String::from_utf8_lossy(&bytes[10..start]).replace("<f4", ">f4");
    let swapped = bytes[start..].chunks(4).flat_map(|word| word.iter().rev().copied());
    let big: Vec<u8> = bytes[..10].iter().copied().chain(header.bytes()).chain(swapped).collect();
    std::fs::write(folder.join("big.npy"), big).unwrap();
    let mut archive = NpzWriter::new_compressed(std::fs::File::create(folder.join("a.npz")).unwrap());
    archive.add_array("flux", &flux).unwrap();
    archive.add_array("error", &error).unwrap();
    archive.finish().unwrap();
    maury::data::fits::write(&folder.join("a.fits"), |fits| {
        fits.image_f32("FLUX", flux.as_slice().unwrap(), [120, 30])
    })
    .unwrap();
    for stored in ["wide.npy", "fortran.npy", "big.npy", "a.npz:flux", "a.fits[FLUX]"] {
        label(
            folder,
            MODEL,
            "again",
            &["--flux", stored, "--error", "error.npy", "--ids", "labels.csv", "--overwrite"],
        );
        let again = std::fs::read_to_string(folder.join("again.csv")).unwrap();
        assert_eq!(numbers(&again), numbers(&table), "{stored}");
    }

    // The same rows with other errors are other spectra.
    save(folder, "tenfold.npy", &error.mapv(|error| 10.0 * error));
    let other = [
        "label",
        "--model",
        MODEL,
        "--out",
        "new",
        "--flux",
        "flux.npy",
        "--error",
        "tenfold.npy",
        "--ids",
        "labels.csv",
    ];
    refused(folder, &other, 2, &["a table of another model or of other files is there"]);

    // One star alone, by its name, and without names by its row.
    let one = label(folder, MODEL, "one", &[&arrays[..], &["--star", "s007"]].concat());
    assert_eq!(one.keys().collect::<Vec<_>>(), ["s007"]);
    let row = label(folder, MODEL, "row", &["--flux", "flux.npy", "--error", "error.npy", "--star", "row0000008"]);
    assert_eq!(row["row0000008"]["teff_estimate"], one["s007"]["teff_estimate"]);
    let named = row["row0000008"]["file"].as_str();
    let row = label(folder, MODEL, "named", &["--flux", "flux.npy", "--error", "error.npy", "--star", named]);
    assert_eq!(row.keys().collect::<Vec<_>>(), ["row0000008"]);
    let words = [
        &["posterior", "--model", MODEL, "--chains", "2", "--draws", "50", "--warmup", "50"],
        &arrays[..],
        &["--star", "s007"],
    ]
    .concat();
    assert!(succeeded(folder, &words).contains("s007"));
    assert!(by_star(&folder.join("posterior/summary.csv"))["s007"]["file"].ends_with("flux.npy[7]"));
}

#[test]
fn spectra_that_are_not_the_models_are_refused_by_name() {
    let (folder, flux, _) = trained();
    let folder = folder.path();
    let refuse = |arrays: &[&str], code: i32, said: &[&str]| {
        refused(folder, &[&["label", "--model", MODEL, "--out", "no"], arrays].concat(), code, said);
        assert!(!folder.join("no.csv").exists() && !folder.join("no.unfinished.jsonl").exists());
    };
    let given = ["--flux", "flux.npy", "--error", "error.npy"];
    let with = |more: &[&'static str]| [&given[..], more].concat();
    save(folder, "narrow.npy", &flux.slice(s![.., ..29]).to_owned());
    save(folder, "few.npy", &flux.slice(s![..7, ..]).to_owned());
    save(folder, "counts.npy", &flux.mapv(|flux| 1500.0 * flux));
    save_list(folder, "nm.npy", wavelength().iter().map(|w| w / 10.0).collect());
    save_list(folder, "log.npy", wavelength().iter().map(|w| w.log10()).collect());
    save_list(folder, "down.npy", wavelength().into_iter().rev().collect());
    // n - 1 of standard air at 8507 Angstrom.
    save_list(folder, "air.npy", wavelength().iter().map(|w| w / (1.0 + 2.7475e-4)).collect());
    save_list(folder, "other.npy", wavelength().iter().map(|w| w + 0.25).collect());
    refuse(&["--flux", "narrow.npy", "--error", "narrow.npy"], 1, &["both are the array"]);
    refuse(&["--flux", "narrow.npy", "--error", "error.npy"], 1, &["shapes of", "one row per star"]);
    refuse(&["--flux", "flux.npy"], 2, &["--error or --ivar"]);
    refuse(&["--flux", "flux.npy", "--error", "error.npy", "a.fits"], 2, &["cannot be used with"]);
    // What is for arrays says nothing of files.
    std::fs::write(folder.join("list.txt"), "a.fits\n").unwrap();
    for option in ["--star", "--ids", "--wavelengths", "--error", "--ivar"] {
        for files in [&["a.fits"][..], &["--list", "list.txt"]] {
            let words = [files, &[option, "s001"]].concat();
            refuse(&words, 2, &[option, "cannot be used with"]);
            refused(folder, &[&["posterior", "--model", MODEL], &words[..]].concat(), 2, &["cannot be used with"]);
        }
    }
    refuse(&with(&["--wavelengths", "nm.npy"]), 1, &["look like nanometres"]);
    refuse(&with(&["--wavelengths", "log.npy"]), 1, &["log10 of Angstrom"]);
    refuse(&with(&["--wavelengths", "down.npy"]), 1, &["descend; reverse them"]);
    refuse(&with(&["--wavelengths", "air.npy"]), 1, &["these are the same in air; give those in vacuum"]);
    refuse(&with(&["--wavelengths", "other.npy"]), 1, &["0.250 Angstrom (0.50 pixels) apart"]);
    refuse(&with(&["--ids", "wavelength.npy"]), 1, &["wavelength.npy"]);
    refuse(&with(&["--star", "row0000121"]), 1, &["star row0000121: not among the 120 stars"]);
    save(folder, "noise.npy", &Array2::from_elem(flux.dim(), 15.0_f32));
    refuse(
        &["--flux", "counts.npy", "--error", "noise.npy"],
        1,
        &["trained on normalized spectra", "divide them by their continuum"],
    );
    save(folder, "few_noise.npy", &Array2::from_elem((7, 30), 0.01_f32));
    refuse(&["--flux", "few.npy", "--error", "few_noise.npy", "--ids", "labels.csv"], 1, &["120 rows and 7 spectra"]);
    // Files are not arrays, and arrays of other pixels not the model's.
    let fixture = crate::support::apstar_fixture().display().to_string();
    refuse(&[&fixture], 1, &["trained on arrays", "--flux"]);
    save(folder, "wide.npy", &Array2::from_elem((7, 40), 1.0_f32));
    save(folder, "wide_noise.npy", &Array2::from_elem((7, 40), 0.01_f32));
    refuse(&["--flux", "wide.npy", "--error", "wide_noise.npy"], 1, &["40 pixels, and a model of 30"]);
    // A table that would replace its own spectra.
    maury::data::fits::write(&folder.join("own.fits"), |fits| {
        fits.image_f32("FLUX", flux.as_slice().unwrap(), [120, 30])
    })
    .unwrap();
    let words = ["label", "--model", MODEL, "--out", "own", "--flux", "own.fits", "--error", "error.npy"];
    refused(folder, &words, 2, &["would replace one of the spectra"]);
    // Single pixels below zero are noise, a star below zero is no normalized spectrum.
    let mut below = flux.clone();
    below.row_mut(3).mapv_inplace(|flux| -flux);
    below[[4, 7]] = -0.01;
    save(folder, "below.npy", &below);
    let arrays = ["--flux", "below.npy", "--error", "error.npy", "--ids", "labels.csv"];
    told(
        folder,
        &[&["label", "--model", MODEL, "--out", "below"], &arrays[..]].concat(),
        &["star s003: flux is 0 or below in most"],
    );
    let labelled = by_star(&folder.join("below.csv"));
    let unreadable = |star: &str| labelled[star]["flags"].parse::<i64>().unwrap() & 128 != 0;
    assert_eq!(["s002", "s003", "s004"].map(unreadable), [false, true, false]);
}

#[test]
fn wavelengths_left_out_matter_to_no_model() {
    let (folder, flux, _) = trained();
    let folder = folder.path();
    let mut garbage = flux.clone();
    garbage.slice_mut(s![.., 8..13]).mapv_inplace(|flux| 7.0 - 3.0 * flux);
    save(folder, "garbage.npy", &garbage);
    let exclude = "pixmask.exclude=[[8503.9, 8506.1]]";
    let run = |name: &str, sets: &[&str]| {
        let more = sets.iter().flat_map(|set| ["--set", set]);
        let models = ["--set", "models.cannon.cannon={}", "--set", "models.ridge.ridge={}"];
        let words: Vec<&str> = ["run", "own.toml", "--name", name].into_iter().chain(models).chain(more).collect();
        succeeded(folder, &words);
        let of = |model: &str| folder.join(format!("experiments/{name}/latest/predictions-{model}.csv"));
        ["cannon", "ridge"].map(|model| std::fs::read_to_string(of(model)).unwrap())
    };
    let whole = run("whole", &[]);
    let left_out = run("left-out", &[exclude]);
    assert_eq!(run("hidden", &[exclude, "data.arrays.flux=garbage.npy"]), left_out);
    assert!(whole.iter().zip(&left_out).all(|(whole, left_out)| whole != left_out));
    let report = std::fs::read_to_string(folder.join("experiments/left-out/latest/report.html")).unwrap();
    let text: String = report.split('<').filter_map(|tag| tag.split_once('>').map(|(_, text)| text)).collect();
    assert!(text.contains("Left out of every model are 5 of 30 pixels: what lies within 8503.9 to 8506.1."), "{text}");
    // The model knows it when it labels.
    let label_by = |flux: &str, out: &str| {
        label(folder, "experiments/left-out/latest/models/cannon", out, &["--flux", flux, "--error", "error.npy"]);
        let table = std::fs::read_to_string(folder.join(format!("{out}.csv"))).unwrap();
        table.replace(flux, "")
    };
    assert_eq!(label_by("garbage.npy", "a"), label_by("flux.npy", "b"));
    let nothing = ["run", "own.toml", "--set", "pixmask.exclude=[[8000, 9000]]"];
    refused(folder, &nothing, 2, &["leave nothing of spectra of 8500.00 to 8514.50 Angstrom"]);
    let nowhere = ["run", "own.toml", "--set", "pixmask.include=[[850.5, 851]]"];
    refused(folder, &nowhere, 2, &["no pixel of spectra of 8500.00 to 8514.50", "nanometres, write [8505.0, 8510.0]"]);
    refused(folder, &["check", "own.toml", "--set", "pixmask.exclude=[[2, 1]]"], 2, &["pixmask.exclude", "ascending"]);
}

#[test]
fn a_killed_job_on_arrays_ends_in_the_same_table() {
    let (folder, flux, error) = trained();
    let folder = folder.path();
    let many = |of: &Array2<f32>| Array2::from_shape_fn((60_000, 30), |(star, pixel)| of[[star % 120, pixel]]);
    save(folder, "many.npy", &many(&flux));
    save(folder, "many_error.npy", &many(&error));
    let arrays = ["--flux", "many.npy", "--error", "many_error.npy"];
    label(folder, MODEL, "undisturbed", &arrays);
    let words = [&["label", "--model", MODEL, "--out", "killed"], &arrays[..]].concat();
    let done = killed(folder, &words, &folder.join("killed.unfinished.jsonl"));
    assert!((1..60_000).contains(&done), "killed with {done} rows");
    succeeded(folder, &words);
    let table = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(table("killed.csv"), table("undisturbed.csv"));

    // What it had of best fits goes with the next job there.
    let words = [&["label", "--model", MODEL, "--out", "fits", "--spectra"], &arrays[..]].concat();
    killed(folder, &words, &folder.join("fits.unfinished.jsonl"));
    let parts = || {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is_part = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".maury-");
        names.filter(is_part).collect::<Vec<PathBuf>>()
    };
    assert_eq!(parts().len(), 1);
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    std::fs::File::open(&parts()[0]).unwrap().set_modified(before).unwrap();
    label(folder, MODEL, "another", &[&arrays[..], &["--star", "row0000001"]].concat());
    assert_eq!(parts(), Vec::<PathBuf>::new());
}

#[test]
fn real_spectra_get_by_label_what_cross_validation_gave_them() {
    let Some(miles) = real_data("miles") else { return };
    let work = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/arrays.toml").display().to_string();
    let file = |name: &str| miles.join(name).display().to_string();
    let set = |key: &str, name: &str| format!("data.arrays.{key}={}", file(name));
    let sets = [
        set("flux", "flux.npy"),
        set("error", "error.npy"),
        set("wavelengths", "wavelengths.npy"),
        set("labels", "labels.csv"),
        "labels=[\"teff\",\"logg\",\"fe_h\"]".into(),
        "split.folds.k=5".into(),
    ];
    let mut arguments = vec!["run", &config, "--name", "own"];
    sets.iter().for_each(|set| arguments.extend(["--set", set.as_str()]));
    succeeded(work.path(), &arguments);
    let run = by_star(&work.path().join("experiments/own/latest/predictions.csv"));
    let (flux, error, wavelengths, ids) =
        (file("flux.npy"), file("error.npy"), file("wavelengths.npy"), file("labels.csv"));
    let arrays = ["--flux", &flux, "--error", &error, "--wavelengths", &wavelengths, "--ids", &ids];
    // Each star has the labels of the fold that had not seen it, and of no other.
    let mut n_alike = vec![0; run.len()];
    for fold in 1..=5 {
        let labelled = label(work.path(), &format!("{MODEL}/fold{fold}"), &format!("fold{fold}"), &arrays);
        let alike = |(id, row): (&String, &HashMap<String, String>)| {
            difference(&labelled[id], row, &["teff", "logg", "fe_h"]).is_none()
        };
        let of_fold: Vec<bool> = run.iter().map(alike).collect();
        assert!((100..145).contains(&of_fold.iter().filter(|alike| **alike).count()), "fold {fold} of 609 stars");
        n_alike.iter_mut().zip(of_fold).for_each(|(n, alike)| *n += usize::from(alike));
    }
    // Of two minima that are as good, rounding decides.
    let n_others = n_alike.iter().filter(|n| **n == 0).count();
    assert!(n_others <= 3, "{n_others} stars have other labels");
}
