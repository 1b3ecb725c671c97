//! Stars that a model does not describe are flagged BAD_FIT by `run`, `label` and `posterior`, and good ones are not.

use std::path::{Path, PathBuf};

use fitsio::FitsFile;
use maury::device::{Compute, Precision};
use maury::experiment::config::ExperimentConfig;
use maury::inference::fit::FitSettings;
use maury::inference::fit_quality::{BadFitSettings, FitQuality};
use maury::inference::refine::{FittedPayne, RefineSettings};
use maury::kinds::context::Context;
use maury::progress::Silent;
use maury::stars::prepare::prepare;
use maury::stars::source::Source;
use maury::training::payne_checkpoint::TrainedPayne;

use crate::support::{N_PIXELS, apstar_fixture, numbers, succeeded, survey, write_apstar};

const BAD_FIT: i64 = 256;
const MODELS: &str = "\
[models.plain.cannon]
order = 1
[models.ridge.ridge]
kernel = \"linear\"
masked = \"mean\"
[models.both.combination]
of = [\"plain\", \"ridge\"]
";

/// Name and flags of every row of a table.
fn flags(table: &Path) -> Vec<(String, i64)> {
    numbers(table, "flags").into_iter().map(|(id, flags)| (id, flags as i64)).collect()
}

/// A spectrum of the survey: flux and errors.
fn spectrum(path: &Path) -> (Vec<f64>, Vec<f64>) {
    let mut file = FitsFile::open(path).unwrap();
    let mut image = |index: usize| -> Vec<f64> {
        let hdu = file.hdu(index).unwrap();
        let values: Vec<f64> = hdu.read_image(&mut file).unwrap();
        values[..N_PIXELS].to_vec()
    };
    (image(1), image(2))
}

/// Spectra that none of the survey's models describes, made from two of its stars.
fn strangers(folder: &Path) -> Vec<PathBuf> {
    let star = |n: usize| spectrum(&folder.join(format!("spectra/apo25m/M15/apStar-dr17-2M{n:08}+1234567.fits")));
    let ((flux, error), (other, _)) = (star(3), star(8));
    let scaled = |factor: f64| error.iter().map(|error| error * factor).collect::<Vec<f64>>();
    let shifted = |values: &[f64], by: usize| -> Vec<f64> {
        (0..N_PIXELS).map(|j| values[(j + N_PIXELS - by) % N_PIXELS]).collect()
    };
    let level: Vec<f64> =
        (0..N_PIXELS).map(|j| if flux[j].is_finite() { flux[j / 10 * 10] } else { f64::NAN }).collect();
    let ratio = flux[1000] / other[1000];
    let second = shifted(&other, 7);
    let two: Vec<f64> = flux.iter().zip(&second).map(|(a, b)| 0.6 * a + 0.4 * b * ratio).collect();
    let cases = [
        ("shifted", shifted(&flux, 24), shifted(&error, 24)),
        ("featureless", level, error.clone()),
        ("two_stars", two, error.clone()),
        ("errors_too_small", flux.clone(), scaled(1e-4)),
        ("errors_too_large", flux.clone(), scaled(1e4)),
    ];
    let write = |(name, flux, error): &(&str, Vec<f64>, Vec<f64>)| {
        let path = folder.join("strangers").join(format!("{name}.fits"));
        write_apstar(&path, name, flux, error, &[0; N_PIXELS]);
        path
    };
    let mut paths: Vec<PathBuf> = cases.iter().map(write).collect();
    paths.push(folder.join("strangers/real.fits"));
    std::fs::copy(apstar_fixture(), &paths[5]).unwrap();
    paths
}

#[test]
fn strangers_are_flagged_and_stars_of_the_survey_are_not() {
    let folder = survey(120);
    let root = folder.path();
    std::fs::write(root.join("all.toml"), format!("extends = \"lab.toml\"\n{MODELS}")).unwrap();
    succeeded(root, &["run", "all.toml"]);
    let run = root.join("experiments/all/latest");
    let strangers = strangers(root);
    for model in ["plain", "ridge", "both"] {
        let predicted = flags(&run.join(format!("predictions-{model}.csv")));
        assert!(
            predicted.len() > 50 && predicted.iter().all(|(_, flags)| flags & BAD_FIT == 0),
            "{model}: {predicted:?}"
        );
        let folder_of = format!("experiments/all/latest/models/{model}");
        let said = succeeded(root, &["label", "--model", &folder_of, "--out", model, "strangers", "spectra"]);
        assert!(said.contains("BAD_FIT"), "{said}");
        for (id, flags) in flags(&root.join(format!("{model}.csv"))) {
            let is_stranger = !id.starts_with("2M0");
            // Errors too large to matter leave nothing, which is another flag.
            let is_flagged = flags & (BAD_FIT | 1) != 0;
            assert_eq!(is_flagged, is_stranger, "{model}: {id} has flags {flags}");
        }
    }
    // The posterior's row says the same.
    let plain = "experiments/all/latest/models/plain";
    let quick = ["--chains", "2", "--warmup", "50", "--draws", "50"];
    let words = ["posterior", "--model", plain, "--out", "post", "strangers/two_stars.fits"];
    succeeded(root, &[&words[..], &quick[..], &["spectra/apo25m/M15/apStar-dr17-2M00000005+1234567.fits"]].concat());
    let found: Vec<bool> =
        flags(&root.join("post/summary.csv")).iter().map(|(_, flags)| flags & BAD_FIT != 0).collect();
    assert_eq!(found, [true, false]);
    // A model that came without held-out stars has a rule: chi^2 per pixel within a factor of 4 of 1, and the mean's structure.
    std::fs::remove_file(run.join("models/plain/fit_quality.json")).unwrap();
    let words = ["label", "--model", plain, "--out", "rule", "spectra"];
    let paths: Vec<String> = strangers.iter().map(|path| path.display().to_string()).collect();
    succeeded(root, &words.into_iter().chain([&paths[1], &paths[3]].map(String::as_str)).collect::<Vec<_>>());
    for (id, flags) in flags(&root.join("rule.csv")) {
        let is_stranger = ["featureless", "errors_too_small"].contains(&id.as_str());
        assert_eq!(flags & BAD_FIT != 0, is_stranger, "{id} has flags {flags}");
    }
}

/// What fits of the shipped emulator look like, learned from mock stars and kept beside it:
/// `cargo test --release --test it -- --ignored usual_fits_of_the_shipped_emulator`
#[test]
#[ignore = "writes checkpoints/payne-hband/fit_quality.json"]
fn usual_fits_of_the_shipped_emulator() {
    let work = tempfile::tempdir().unwrap();
    succeeded(work.path(), &["mock", "--stars", "500", "--seed", "77", "mock"]);
    let mock = work.path().join("mock").display().to_string();
    let config: ExperimentConfig = toml::from_str(&format!(
        "labels = ['teff', 'logg', 'fe_h', 'mg_fe', 'si_fe']\n\
         [data.apstar]\ncatalogue = '{mock}/allStar.fits'\nspectra = '{mock}/spectra'\n"
    ))
    .unwrap();
    let compute = Compute::flex(Precision::F32);
    let source = Source::open(&config.stars(), work.path(), &Silent).unwrap();
    let all: Vec<usize> = (0..source.n_stars()).collect();
    let (set, _) = prepare(&source, &config.stars(), &all, work.path(), &compute, &Silent).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband");
    let model = TrainedPayne::load(&folder, &compute).unwrap();
    let emulator = FittedPayne::new(&model, &FitSettings::default(), &RefineSettings::default(), &compute);
    let settings = config.shared();
    let context = Context { set: &set, settings: &settings, compute: &compute, progress: &Silent };
    let (estimates, misfit) = context.examine("fitting labels", &all, &emulator).unwrap();
    let conditions = context.conditions(&all).unwrap();
    let quality = FitQuality::fit(&misfit, &conditions, &estimates.n_pixels, BadFitSettings::default()).unwrap();
    quality.save(&folder).unwrap();
}
