//! `maury repeats`: visits of one star held against each other, of arrays, of a mock survey and of a real star.

use std::path::Path;

use ndarray::Array2;
use serde_json::Value;

use crate::support::{Normal, apstar_fixture, csv, json, quadratic_terms, real_data, refused, save, succeeded, truth};

const VISITS_OF_STAR: usize = 3;

fn found(folder: &Path) -> Value {
    json(&folder.join("repeats.json"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// A Cannon of 200 stars that differ in every pixel by so much that their labels do not tell, and three visits each of 150 others in
/// arrays, whose noise is white and as large as it is said to be.
fn visits_in_arrays(folder: &Path, untold: f64) {
    let (n_stars, n_pixels) = (150, 60);
    let mut normal = Normal::new(5);
    let mut survey = truth(200, 2, n_pixels, 71);
    survey.flux.mapv_inplace(|flux| flux + (untold * normal.draw()) as f32);
    survey.save(folder);
    let experiment = "labels = ['teff', 'logg']\nsplit = 'all'\n[data.arrays]\nflux = 'flux.npy'\nerror = 'error.npy'\n\
                      labels = 'labels.csv'\n[continuum]\nmethod = 'none'\n";
    std::fs::write(folder.join("own.toml"), experiment).unwrap();
    succeeded(folder, &["run", "own.toml"]);

    let shape = (VISITS_OF_STAR * n_stars, n_pixels);
    let (mut flux, mut error, mut rows) = (Array2::zeros(shape), Array2::zeros(shape), Vec::new());
    for star in 0..n_stars {
        let terms = quadratic_terms(&[normal.draw(), normal.draw()]);
        let sigma = 10_f64.powf(normal.uniform(-2.9, -1.1));
        for visit in 0..VISITS_OF_STAR {
            // Visits of one star are not neighbours.
            let row = visit * n_stars + star;
            for pixel in 0..n_pixels {
                let clean: f64 = terms.iter().zip(survey.theta.column(pixel)).map(|(x, t)| x * t).sum();
                flux[[row, pixel]] = (clean + sigma * normal.draw()) as f32;
                error[[row, pixel]] = sigma as f32;
            }
        }
        rows.push(format!("star{star:03},{}\n", 1.0 / sigma));
    }
    let rows = rows.concat().repeat(VISITS_OF_STAR);
    std::fs::write(folder.join("visits.csv"), format!("id,snr\n{rows}")).unwrap();
    save(folder, "visit_flux.npy", &flux);
    save(folder, "visit_error.npy", &error);
}

#[test]
fn white_noise_scatters_by_its_formal_errors_and_a_models_own_scatter_does_not_show() {
    let work = tempfile::tempdir().unwrap();
    let here = work.path();
    visits_in_arrays(here, 0.0);
    let model = ["--model", "experiments/own/latest/models/cannon"];
    let arrays = ["--keep-bad-fits", "--flux", "visit_flux.npy", "--error", "visit_error.npy", "--ids", "visits.csv"];
    let said = succeeded(here, &[&["repeats", "--out", "r"], &model[..], &arrays[..]].concat());
    assert!(said.contains("450 visits of 150 stars") && said.contains("as formal errors say"), "{said}");
    let of_model = found(&here.join("r"));
    assert_eq!((of_model["n_stars"].as_u64(), of_model["statistic"].as_str()), (Some(150), Some("robust")));
    let pull = |of: &Value| number(&of["formal"]["pull"]["value"]);
    for label in ["teff", "logg"] {
        // 300 degrees of freedom know a robust width to 1.17 / sqrt(300) = 7%; three pixels in four have a percent of scatter that
        // training stars showed and that counts as noise, which takes the pull some 8% below 1.
        let all = pull(&of_model["labels"][label]["all"]);
        assert!((0.75..1.2).contains(&all), "{label}: {all}");
        let bins = of_model["labels"][label]["along_snr"].as_array().unwrap();
        assert_eq!(bins.len(), 6, "{label}");
        let scatter = |bin: usize| number(&bins[bin]["scatter"]["value"]);
        assert!(scatter(0) > 8.0 * scatter(5), "{label}: noise is {} and {}", scatter(0), scatter(5));
    }
    // What stars differ in by two percent is in formal errors at any SNR, and visits of a star share it.
    let other = tempfile::tempdir().unwrap();
    visits_in_arrays(other.path(), 0.02);
    let said = succeeded(other.path(), &[&["repeats", "--out", "r"], &model[..], &arrays[..]].concat());
    assert!(said.contains("these take for noise what all visits of a star share"), "{said}");
    for (label, of) in found(&other.path().join("r"))["labels"].as_object().unwrap() {
        let [lowest, highest] = [0, 5].map(|bin| pull(&of["along_snr"][bin]));
        assert!((0.6..1.5).contains(&lowest) && highest < 0.3, "{label}: {lowest} {highest}");
    }

    // The same from a table, which says whose it is.
    succeeded(here, &[&["label", "--out", "t"], &model[..], &arrays[1..]].concat());
    succeeded(here, &["repeats", "--labels", "t.fits", "--keep-bad-fits", "--out", "of-table"]);
    let of_table = found(&here.join("of-table"));
    assert_eq!((&of_table["labels"], &of_table["model"]), (&of_model["labels"], &Value::from(model[1])));
    assert!(!here.join("of-table/visits.fits").exists() && here.join("r/visits.fits").exists());
    succeeded(here, &["repeats", "--labels", "t.csv", "--keep-bad-fits", "--out", "of-text"]);
    let [exact, rounded] = [&of_table, &found(&here.join("of-text"))]
        .map(|found| number(&found["labels"]["teff"]["all"]["scatter"]["value"]));
    assert!((rounded / exact - 1.0).abs() < 0.01, "{rounded} {exact}");

    // Its tables are known for no spectra.
    let mut stars = maury::data::fits::FitsReader::open(&here.join("r/stars.fits")).unwrap();
    assert_eq!(stars.key_text(1, "CREATOR").as_deref(), Some(concat!("maury ", env!("CARGO_PKG_VERSION"))));
    assert_eq!((stars.key_text(1, "MODELDIR").as_deref(), stars.table_layout(1).unwrap().0), (Some(model[1]), 150));

    // What is there stays; rows of stars that have one each are no repeats.
    let again = [&["repeats", "--out", "r"], &model[..], &arrays[..]].concat();
    refused(here, &again, 2, &["holds what an earlier job found", "--overwrite"]);
    succeeded(here, &[&again[..], &["--overwrite"]].concat());
    let alone = [&["repeats", "--out", "alone"], &model[..], &arrays[..5]].concat();
    refused(here, &alone, 1, &["450 the only one of its star", "--ids in which a star comes up again"]);
    assert!(!here.join("alone/repeats.json").exists());
    refused(here, &["repeats", "--labels", "visits.csv", "--out", "x"], 1, &["no column <label>_estimate"]);
    refused(here, &["repeats", "--out", "x", "spectra"], 2, &["--model"]);
    refused(here, &["repeats", "--labels", "t.fits", "spectra"], 2, &["cannot be used with"]);
    // A table is fitted by nobody: what tells how is refused.
    for option in [["--precision", "f64"], ["--backend", "flex"], ["--nuisances", "fixed"]] {
        let words = [&["repeats", "--labels", "t.fits", "--out", "x"], &option[..]].concat();
        refused(here, &words, 2, &[option[0], "--labels <TABLE>"]);
    }
    refused(here, &["repeats"], 2, &["--model <MODEL>", "--labels <TABLE>"]);
    // What a table's header says of its errors is told whole.
    let mut labels = maury::data::fits::FitsReader::open(&here.join("t.fits")).unwrap();
    assert_eq!(of_table["errors"].as_str(), labels.key_text(1, "ERRORS").as_deref());
    assert!(of_table["errors"].as_str().unwrap().len() > 68 && of_table["errors"] == of_model["errors"]);
}

const SURVEY: &str = "labels = ['teff', 'logg', 'fe_h']\nsplit = 'halves'\n[data.mock]\nstars = 160\nseed = 3\n[calibration]\nfolds = 3\n";

#[test]
fn visits_of_a_mock_survey_scatter_by_more_than_formal_errors_and_less_than_calibrated_ones() {
    let work = tempfile::tempdir().unwrap();
    let here = work.path();
    std::fs::write(here.join("survey.toml"), SURVEY).unwrap();
    succeeded(here, &["run", "survey.toml"]);
    let prepared = here.join("experiments/.prepared");
    let survey = std::fs::read_dir(prepared).unwrap().map(|entry| entry.unwrap().path());
    let spectra = survey.map(|folder| folder.join("spectra")).find(|folder| folder.is_dir()).unwrap();
    let spectra = spectra.display().to_string();
    let model = "experiments/survey/latest/models/cannon";
    let said = succeeded(here, &["repeats", "--model", model, &spectra]);
    let tells = [
        "errors called calibrated are calibrated on stars held out",
        "in quadrature, formal errors",
        "figures/repeats.png",
    ];
    assert!(tells.iter().all(|words| said.contains(words)), "{said}");
    let folder = here.join("repeats");
    let found = found(&folder);
    for label in ["teff", "logg", "fe_h"] {
        let of = &found["labels"][label];
        // A visit has correlated errors of half a percent, residues of airglow, and a fibre's own line widths beside white noise.
        let pull = number(&of["all"]["formal"]["pull"]["value"]);
        assert!((1.1..2.6).contains(&pull), "{label}: {pull}");
        let bins = of["along_snr"].as_array().unwrap();
        assert!(bins.len() > 2, "{label}: {} bins", bins.len());
        let scatter = |bin: &Value| number(&bin["scatter"]["value"]);
        assert!(scatter(&bins[0]) > 1.3 * scatter(&bins[bins.len() - 1]), "{label}: {bins:?}");
        for bin in bins {
            // Stars differ in more than their labels: that no visit tells.
            assert!(number(&bin["calibrated"]["pull"]["value"]) < 0.7, "{label}: {bin}");
            assert!(number(&bin["calibrated"]["error"]) > scatter(bin), "{label}: {bin}");
        }
        let (share, beyond) = (number(&of["noise_share"]["value"]), number(&of["beyond_noise"]));
        let (error, noise) = (number(&of["all"]["calibrated"]["error"]), scatter(&of["all"]));
        assert!((beyond.hypot(noise) / error - 1.0).abs() < 1e-9 && share < 0.4, "{label}: {share} {beyond}");
    }
    // Tables hold what the file of numbers says, and the visits that were used are those of two or more of a star.
    let rows = |name: &str| csv(&folder.join(name)).1;
    let stars = rows("stars.csv");
    assert_eq!(Some(stars.len() as u64), found["n_stars"].as_u64());
    let n_used: u64 = stars.iter().map(|row| row[1].parse::<u64>().unwrap()).sum();
    assert_eq!(Some(n_used), found["n_used"].as_u64());
    let left_out = &found["left_out"];
    let flagged: u64 = left_out["flagged"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let others = ["nameless", "again", "alone"].map(|why| left_out[why].as_u64().unwrap()).iter().sum::<u64>();
    assert_eq!(n_used + flagged + others, rows("visits.csv").len() as u64, "{left_out}");
    assert!(left_out["alone"].as_u64() > Some(0), "some stars of the mock are visited once: {left_out}");
    let n_bins = |label: &str| 1 + found["labels"][label]["along_snr"].as_array().unwrap().len();
    assert_eq!(rows("repeats.csv").len(), ["teff", "logg", "fe_h"].map(n_bins).iter().sum::<usize>());
    for figure in ["repeats.svg", "repeats.png"] {
        assert!(folder.join("figures").join(figure).is_file());
    }

    // An apStar and an mwmVisit hold the same visits, and an mwmStar none.
    succeeded(here, &["mock", "--stars", "12", "--format", "sdss-v", "sdss-v"]);
    let of = |folder: &str, out: &str| {
        succeeded(here, &["repeats", "--model", model, "--keep-bad-fits", "--out", out, folder]);
        let found = self::found(&here.join(out));
        (found["n_used"].as_u64().unwrap(), found["left_out"]["again"].as_u64().unwrap())
    };
    let (n_used, again) = of("sdss-v/spectro/apogee", "once");
    assert!(n_used > 10 && again == 0, "{n_used}, {again}");
    let (of_all, again) = of("sdss-v/spectro", "twice");
    assert!(of_all == n_used && again >= n_used, "{of_all} of {n_used}, {again} again");
    let coadds = ["repeats", "--model", model, "--out", "coadds", "sdss-v/spectro/astra"];
    std::fs::remove_dir_all(here.join("sdss-v/spectro/astra/0.6.0/spectra/visit")).unwrap();
    refused(here, &coadds, 1, &["no single visits"]);
}

#[test]
fn a_real_star_of_three_visits_has_an_interval_as_wide_as_three_visits_deserve() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband").display().to_string();
    let work = tempfile::tempdir().unwrap();
    // A star that was visited once repeats nothing.
    let once = apstar_fixture().display().to_string();
    let words = ["repeats", "--model", &model, "--keep-bad-fits", "--out", "once", &once];
    refused(work.path(), &words, 1, &["the only one of its star", "visited more than once"]);
    let Some(spectra) = real_data("apstar") else { return };
    let star = spectra.join("apStar-dr17-2M17335483-2753043.fits").display().to_string();
    let said = succeeded(work.path(), &["repeats", "--model", &model, "--keep-bad-fits", &star]);
    assert!(said.contains("3 visits of 1 star") && said.contains("bear no resamples"), "{said}");
    let found = found(&work.path().join("repeats"));
    let teff = &found["labels"]["teff"];
    assert_eq!((found["statistic"].as_str(), teff["along_snr"].as_array().map(Vec::len)), (Some("standard"), Some(0)));
    let scatter = &teff["all"]["scatter"];
    let [low, high] = [0, 1].map(|end| number(&scatter["interval"][end]) / number(&scatter["value"]));
    // sqrt(2 / chi^2) at the ends of 95% with two degrees of freedom.
    assert!((low - 0.5207).abs() < 1e-3 && (high - 6.285).abs() < 1e-2, "{low} {high}");
    // Visits of SNR of tens know a temperature to tens of K.
    assert!((0.5..60.0).contains(&number(&scatter["value"])), "{scatter}");
}
