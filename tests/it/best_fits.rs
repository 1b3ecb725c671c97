//! Best fits on disk: the same stars as the table of labels, residuals that add up, the raw flux behind them.

use std::path::Path;

use maury::data::apstar;
use maury::data::fits::FitsReader;
use maury::device::{Compute, Precision, to_f64};
use maury::inference::fit::FitSettings;
use maury::inference::fitted::FittedCannon;
use maury::models::likelihood::chi2;
use maury::models::{Estimated, LabelEstimator, Wanted};
use maury::spectra::batch::SpectraBatch;
use ndarray::Array2;

use crate::fitting::model;
use crate::support::{N_PIXELS, refused, succeeded, survey, told, truth};

/// An image of a file of spectra, [n_stars, n_pixels].
fn image(path: &Path, hdu: usize) -> Array2<f64> {
    let mut fits = FitsReader::open(path).unwrap();
    let shape = fits.image_shape(hdu).unwrap().unwrap();
    let values = fits.image_section(hdu, 0..shape[0] * shape[1]).unwrap();
    Array2::from_shape_vec((shape[0], shape[1]), values).unwrap()
}

fn texts(path: &Path, column: &str) -> Vec<String> {
    let mut fits = FitsReader::open(path).unwrap();
    let (n_rows, _) = fits.table_layout(7).unwrap();
    fits.texts(7, column, 0..n_rows).unwrap()
}

#[test]
fn a_run_and_label_write_the_spectra_of_their_tables() {
    let folder = survey(60);
    let words = ["run", "lab.toml", "--set", "output.spectra=true", "--set", "models.ridge.ridge.kernel=\"linear\""];
    let words = [&words[..], &["--set", "models.cannon.cannon.order=1", "--set", "calibration.folds=0"]].concat();
    told(folder.path(), &words, &["model ridge predicts no flux"]);
    let run = folder.path().join("experiments/lab/latest");
    let path = run.join("spectra-cannon.fits");
    assert!(!run.join("spectra-ridge.fits").exists());
    let [flux, ivar, fit, residual, continuum] = [1, 2, 3, 4, 5].map(|hdu| image(&path, hdu));
    assert_eq!(flux.ncols(), N_PIXELS);
    let table = std::fs::read_to_string(run.join("predictions-cannon.csv")).unwrap();
    let ids: Vec<&str> = table.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(texts(&path, "id"), ids);
    let mut squares = 0.0;
    for ((n, j), ivar) in ivar.indexed_iter() {
        let at = |image: &Array2<f64>| image[[n, j]];
        if *ivar > 0.0 && at(&fit).is_finite() {
            assert!((at(&residual) - (at(&flux) - at(&fit))).abs() < 1e-6, "{n} {j}");
            squares += ivar * at(&residual).powi(2);
        } else {
            assert!(at(&residual).is_nan() && (*ivar > 0.0 || at(&flux).is_nan()), "{n} {j}");
        }
    }
    let n_good = residual.iter().filter(|residual| residual.is_finite()).count();
    // The model has scatter of its own, so the noise alone explains a little less than all.
    assert!(n_good > 100_000 && (0.5..4.0).contains(&(squares / n_good as f64)), "{}", squares / n_good as f64);
    // Whoever has the file can take chi^2 again.
    let names: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let at = names.iter().position(|name| *name == "chi2_reduced").unwrap();
    let n_labels = names.iter().filter(|name| name.ends_with("_estimate")).count();
    let (scatter, rows) = (image(&path, 8), FitsReader::open(&path).unwrap().integers(7, "scatter", 0..ids.len()));
    for ((n, row), scatter_row) in table.lines().skip(1).enumerate().zip(rows.unwrap()) {
        let known: Vec<usize> = (0..N_PIXELS).filter(|j| residual[[n, *j]].is_finite()).collect();
        let of_pixel =
            |j: &usize| residual[[n, *j]].powi(2) / (1.0 / ivar[[n, *j]] + scatter[[scatter_row as usize, *j]].powi(2));
        let chi2: f64 = known.iter().map(of_pixel).sum();
        let Ok(told) = row.split(',').nth(at).unwrap().parse::<f64>() else { continue };
        let found = chi2 / (known.len() - n_labels) as f64;
        assert!((found / told - 1.0).abs() < 0.01, "{row}: {found}");
    }
    // What was observed: flux times continuum is the file's.
    let files = texts(&path, "file");
    let raw = apstar::read(&folder.path().join(&files[0])).unwrap().raw_flux;
    for j in (0..N_PIXELS).filter(|j| ivar[[0, *j]] > 0.0) {
        assert!((flux[[0, j]] * continuum[[0, j]] / raw[j] - 1.0).abs() < 1e-5, "{j}");
    }

    let model = "experiments/lab/latest/models/cannon";
    let words = ["label", "--model", model, "--spectra", "--out", "some", &files[3], &files[1]];
    assert!(succeeded(folder.path(), &words).contains("some-spectra.fits"));
    let some = folder.path().join("some-spectra.fits");
    assert_eq!(texts(&some, "id"), [ids[3], ids[1]]);
    let again = image(&some, 3);
    for (row, star) in [(0, 3), (1, 1)] {
        for j in (0..N_PIXELS).filter(|j| fit[[star, *j]].is_finite()) {
            assert!((again[[row, j]] - fit[[star, j]]).abs() < 1e-5, "{star} {j}");
        }
    }
    refused(folder.path(), &["label", "--model", model, "--spectra", &files[0]], 2, &["--out"]);

    // The same again replaces its own file; spectra and other files stay as they are.
    succeeded(folder.path(), &words);
    let spectrum = folder.path().join("star-spectra.fits");
    std::fs::copy(folder.path().join(&files[0]), &spectrum).unwrap();
    let label = |given: &'static str, said: &[&str]| {
        refused(folder.path(), &["label", "--model", model, "--spectra", "--out", "star", given], 2, said);
        assert!(!folder.path().join("star.csv").exists() && !folder.path().join("star.unfinished.jsonl").exists());
    };
    label("star-spectra.fits", &["star-spectra.fits would replace one of the spectra"]);
    std::fs::copy(&spectrum, folder.path().join("a.fits")).unwrap();
    label("a.fits", &["star-spectra.fits is there and holds no best fits", "--overwrite"]);
    assert_eq!(std::fs::read(&spectrum).unwrap(), std::fs::read(folder.path().join(&files[0])).unwrap());
    std::fs::remove_file(&spectrum).unwrap();
    std::fs::create_dir(&spectrum).unwrap();
    label("a.fits", &["star-spectra.fits is a folder"]);
}

#[test]
fn chi_square_of_the_best_fit_is_that_of_the_estimate() {
    let compute = Compute::flex(Precision::F64);
    let stars = truth(150, 2, 60, 41);
    let fitted = FittedCannon::new(&model(&stars, &compute), &FitSettings::default(), &compute);
    let spectra = SpectraBatch::new(stars.flux.view(), stars.ivar.view(), &compute);
    let wanted = Wanted { best_fit: true, ..Wanted::default() };
    let Estimated { labels: estimates, best_fit, .. } = fitted.estimate(&spectra, wanted).unwrap();
    assert_eq!(estimates, fitted.estimate_labels(&spectra).unwrap());
    let found = to_f64(chi2(spectra.flux.clone(), spectra.ivar.clone(), &best_fit.unwrap()));
    for (found, expected) in found.iter().zip(&estimates.chi2) {
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
    }
}
