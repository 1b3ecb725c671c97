//! Posteriors from the command line: from a raw file to figures, and of all test stars of an experiment.

use std::path::Path;

use maury::data::catalogue::Catalogue;

use crate::support::{apstar_fixture, dr10_and_spectra, json, real_data, refused, say, succeeded, survey};

/// Label, expected median, tolerance.
type Expected<'a> = [(&'a str, f64, f64)];

/// Runs `maury posterior` on the mystery spectrum and checks what it leaves.
fn mystery(folder: &Path, model: &str, spectrum: &Path, expected: &Expected) {
    let spectrum = spectrum.display().to_string();
    let said = succeeded(folder, &["posterior", "--model", model, "--draws", "2000", &spectrum]);
    say(&said);
    assert!(said.contains("prior: flat in"), "{said}");
    let columns: Vec<String> = expected
        .iter()
        .flat_map(|(label, ..)| ["q50", "rhat", "ess_bulk", "ess_tail"].map(|what| format!("{label}_{what}")))
        .collect();
    let table = Catalogue::read(&folder.join("posterior/summary.csv"), "id", &columns).unwrap();
    for (k, (label, median, tolerance)) in expected.iter().enumerate() {
        let [found, r_hat, bulk, tail] = [0, 1, 2, 3].map(|i| table.labels[0][4 * k + i]);
        assert!((found - median).abs() < *tolerance, "{label}: {found} not {median}");
        assert!(r_hat < 1.01 && bulk > 1000.0 && tail > 1000.0, "{label}: {r_hat} {bulk} {tail}");
    }
    let id = &table.id[0];
    for figure in ["corner", "traces", "ranks"] {
        for ending in ["svg", "png"] {
            let path = folder.join(format!("posterior/figures/{figure}-{id}.{ending}"));
            assert!(std::fs::metadata(&path).is_ok_and(|file| file.len() > 5000), "{}", path.display());
        }
    }
    let draws = std::fs::read_to_string(folder.join(format!("posterior/draws-{id}.csv"))).unwrap();
    assert_eq!(draws.lines().count(), 8001);
    assert!(folder.join(format!("posterior/draws-{id}.fits")).is_file());
}

#[test]
fn the_mystery_spectrum_has_a_posterior_under_the_dr10_cannon() {
    let work = tempfile::tempdir().unwrap();
    let Some(spectra) = dr10_and_spectra(work.path()) else { return };
    // What `maury label` says of it, and an independent fit.
    let expected = [("teff", 4465.0, 5.0), ("logg", 1.97, 0.02), ("feh", -0.52, 0.007), ("alpha", 0.23, 0.006)];
    let spectrum = spectra.join("mystery_spec_wiped.fits");
    mystery(work.path(), "dr10", &spectrum, &expected);
    let spectrum = spectrum.display().to_string();
    let narrow = ["--prior", "teff=normal:4400:1", "--sampler", "nuts", "--draws", "500", "--out", "narrow"];
    let said = succeeded(work.path(), &[&["posterior", "--model", "dr10", &spectrum][..], &narrow].concat());
    assert!(said.contains("prior: teff: normal, 4400 K +- 1 K") && said.contains("flat in logg"), "{said}");
    let table = Catalogue::read(&work.path().join("narrow/summary.csv"), "id", &["teff_q50".to_string()]).unwrap();
    assert!((4395.0..4462.0).contains(&table.labels[0][0]), "{}", table.labels[0][0]);
}

#[test]
fn the_mystery_spectrum_has_a_posterior_under_the_emulator() {
    let Some(spectra) = real_data("apstar") else { return };
    let work = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband").display().to_string();
    let expected = [("teff", 4469.0, 15.0), ("logg", 2.13, 0.05), ("fe_h", -0.53, 0.02), ("mg_fe", 0.22, 0.03)];
    mystery(work.path(), &model, &spectra.join("mystery_spec_wiped.fits"), &expected);
}

#[test]
fn a_second_star_joins_the_first_and_another_model_does_not() {
    let work = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband").display().to_string();
    for name in ["a.fits", "b.fits"] {
        std::fs::copy(apstar_fixture(), work.path().join(name)).unwrap();
    }
    let words = |star: &'static str, more: &[&'static str]| -> Vec<String> {
        let base = ["posterior", "--model", &model, "--draws", "200", "--warmup", "100", star];
        base.iter().chain(more).map(|word| word.to_string()).collect()
    };
    let run = |star, more: &[&'static str]| {
        let words = words(star, more);
        succeeded(work.path(), &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let rows = || {
        let table = std::fs::read_to_string(work.path().join("posterior/summary.csv")).unwrap();
        let cells = |line: &str| line.split(',').take(2).collect::<Vec<_>>().join(" ");
        table.lines().skip(1).map(cells).collect::<Vec<_>>()
    };
    let id = "2M19485057+5005279";
    assert!(!run("a.fits", &[]).contains("sampled before"));
    assert!(run("b.fits", &[]).contains("the summary keeps 1 sampled before"));
    assert_eq!(rows(), [format!("{id} a.fits"), format!("{id}-2 b.fits")]);
    for name in [id.to_string(), format!("{id}-2")] {
        assert!(work.path().join(format!("posterior/draws-{name}.fits")).is_file(), "{name}");
    }
    // Other settings, refused before anything is sampled; replaced when asked.
    let other = words("a.fits", &["--seed", "2"]);
    let said = ["posterior/summary.fits: posteriors of another model or by other settings", "--overwrite", "--out"];
    refused(work.path(), &other.iter().map(String::as_str).collect::<Vec<_>>(), 2, &said);
    assert_eq!(rows().len(), 2);
    run("b.fits", &["--seed", "2", "--overwrite"]);
    assert_eq!(rows(), [format!("{id} b.fits")]);
    assert!(!work.path().join(format!("posterior/draws-{id}-2.fits")).exists());
    assert!(!work.path().join("posterior/.lock").exists());
}

#[test]
fn chi2_is_that_of_the_label_and_a_prior_far_from_the_fit_is_flagged() {
    let work = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband").display().to_string();
    std::fs::copy(apstar_fixture(), work.path().join("a.fits")).unwrap();
    let labelled = succeeded(work.path(), &["label", "--model", &model, "--precision", "f64", "a.fits"]);
    let row = labelled.lines().find(|line| line.starts_with("2M19485057+5005279")).unwrap();
    // After the identifier, and value, sign and error of five labels.
    let chi2 = row.split_whitespace().nth(16).unwrap();
    let short = ["posterior", "--model", &model, "--draws", "200", "--warmup", "100", "a.fits"];
    let free = succeeded(work.path(), &short);
    assert!(
        free.contains(&format!("reduced chi^2 of the best fit by the spectrum's own errors {chi2}")),
        "{row}\n{free}"
    );
    assert!(!free.contains("PRIOR_AGAINST_DATA"), "{free}");
    let held = succeeded(work.path(), &[&short[..], &["--prior", "teff=normal:3000:50", "--out", "held"]].concat());
    assert!(held.contains("PRIOR_AGAINST_DATA"), "{held}");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband").display().to_string();
    let star = apstar_fixture().display().to_string();
    let run = |more: &[&str], code: i32, said: &[&str]| {
        refused(work.path(), &[&["posterior", "--model", &model, &star][..], more].concat(), code, said);
    };
    run(&["--prior", "teff=4500"], 2, &["--prior 'teff=4500'", "normal:MEAN:SIGMA"]);
    run(&["--prior", "tef=flat"], 2, &["prior.labels.tef", "did you mean `teff`"]);
    run(&["--draws", "1"], 2, &["sampler.draws must be 4"]);
    std::fs::write(work.path().join("p.toml"), "nuisances.continuum = { order = 1, width = 0.01 }").unwrap();
    run(&["--priors", "p.toml"], 2, &["emulator's continuum is integrated out as it is"]);
    std::fs::write(work.path().join("p.toml"), "prior.jont = \"training\"").unwrap();
    run(&["--priors", "p.toml"], 2, &["p.toml", "jont"]);
    std::fs::write(work.path().join("no.fits"), "no spectrum").unwrap();
    refused(work.path(), &["posterior", "--model", &model, "no.fits"], 1, &["no.fits"]);
}

#[test]
fn an_experiment_leaves_the_posterior_of_every_test_star() {
    let folder = survey(60);
    let posterior = "posterior.sampler={chains=4,draws=300,warm_up=200}";
    let said = succeeded(
        folder.path(),
        &["run", "lab.toml", "--set", posterior, "--set", "posterior.prior.joint=\"training\""],
    );
    assert!(said.contains("posteriors of 30 stars (0 without)"), "{said}");
    let tables = succeeded(folder.path(), &["report", "--text", "lab"]);
    assert!(tables.contains("the Gaussian of the labels of 30 training stars"), "{tables}");
    let run = folder.path().join("experiments/lab/latest");
    let metrics = json(&run.join("metrics.json"));
    let found = &metrics["models"]["cannon"]["posterior"];
    assert_eq!((&found["n_sampled"], &found["sampler"]["draws"]), (&30.into(), &300.into()));
    assert!(found["fraction_mixed"].as_f64().unwrap() > 0.8, "{found}");
    let columns = ["teff_mean", "teff_sd", "teff_q50", "teff_rhat"].map(String::from);
    let table = Catalogue::read(&run.join("posterior-cannon.csv"), "id", &columns).unwrap();
    let estimates = ["teff_estimate", "teff_error"].map(String::from);
    let fits = Catalogue::read(&run.join("predictions.csv"), "id", &estimates).unwrap();
    assert_eq!(table.id, fits.id);
    for (posterior, fit) in table.labels.iter().zip(&fits.labels) {
        // Thousands of pixels at S/N 100: the prior hardly counts, and the posterior is the fit's Gaussian.
        assert!((posterior[0] - fit[0]).abs() < 0.3 * fit[1] && (posterior[1] / fit[1] - 1.0).abs() < 0.15);
    }
    assert!(run.join("posterior-cannon.fits").is_file());
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("posterior-cannon.fits, .csv") && page.contains("models.cannon.posterior.r_hat_max"));
    let wrong = ["run", "lab.toml", "--set", "posterior.prior.labels.tef=\"flat\""];
    refused(folder.path(), &wrong, 2, &["posterior.prior.labels.tef", "did you mean `teff`"]);
}
