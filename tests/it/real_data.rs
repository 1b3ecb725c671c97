//! Real spectra, real labels, a real Cannon. Skipped with a message where they are not beside the project.

use std::path::Path;

use maury::data::arrays::read_matrix;
use maury::data::catalogue::Catalogue;
use maury::data::selection::{Selection, select};
use maury::device::{Compute, Precision, to_f64};
use maury::inference::fit::FitSettings;
use maury::inference::fitted::{FittedCannon, estimate_arrays};
use maury::models::SpectralModel;
use maury::spectra::continuum::{ContinuumSettings, FindSettings};
use maury::spectra::continuum_pixels;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::labels::LabelScaler;
use maury::spectra::pixmask::PixmaskSettings;
use maury::stats::robust::{mean, robust_scatter, standard_deviation};
use maury::training::cannon_config::CannonConfig;
use maury::training::checkpoint::{Preparation, TrainedCannon};
use maury::training::closed_form::train;
use maury::training::continuum_search::continuum_pixels_of;
use maury::training::import::{ForeignCannon, import};
use ndarray::{Array2, Axis};

use crate::support::{apstar_fixture, dr10_and_spectra, maury, metrics, real_data, succeeded, write_apstar};

/// The set of 671 real giants, 100 pixels.
pub struct Hipparcos {
    pub names: Vec<String>,
    pub labels: Array2<f64>,
    pub scaled: Array2<f64>,
    pub flux: Array2<f32>,
    pub ivar: Array2<f32>,
}

pub fn hipparcos(folder: &Path) -> Hipparcos {
    let names = ["teff", "logg", "m_h"].map(String::from).to_vec();
    let table = Catalogue::read(&folder.join("labels.csv"), "", &names).unwrap();
    let labels = Array2::from_shape_fn((table.len(), 3), |(n, k)| table.labels[n][k]);
    let scaled = LabelScaler::fit(&names, labels.view()).unwrap().scale(labels.view());
    let flux = read_matrix(&folder.join("flux.npy")).unwrap();
    let ivar = read_matrix(&folder.join("error.npy")).unwrap().mapv(|error| 1.0 / (error * error));
    Hipparcos { names, labels, scaled, flux, ivar }
}

/// Scatter of the other half's labels when `training` rows train: (bias, scatter, robust scatter) by label.
fn halves(set: &Hipparcos, training: &[usize]) -> Vec<(f64, f64, f64)> {
    let compute = Compute::flex(Precision::F64);
    let test: Vec<usize> = (0..set.labels.nrows()).filter(|row| !training.contains(row)).collect();
    let rows = |matrix: &Array2<f32>, rows: &[usize]| matrix.select(Axis(0), rows);
    let labels = set.labels.select(Axis(0), training);
    let scaler = LabelScaler::fit(&set.names, labels.view()).unwrap();
    let (flux, ivar) = (rows(&set.flux, training), rows(&set.ivar, training));
    let (cannon, _) =
        train(&CannonConfig::default(), scaler.scale(labels.view()).view(), flux.view(), ivar.view(), &compute)
            .unwrap();
    let preparation = Preparation {
        grid: WavelengthGrid::from_pixel_numbers(100),
        pixmask: PixmaskSettings::default(),
        continuum: ContinuumSettings::default(),
        continuum_pixels: Vec::new(),
        gaps: Vec::new(),
    };
    let latent_labels = Array2::zeros((labels.nrows(), 0));
    let trained = TrainedCannon { cannon, scaler, preparation, training_labels: labels, latent_labels };
    let fitted = FittedCannon::new(&trained, &FitSettings::default(), &compute);
    let (flux, ivar) = (rows(&set.flux, &test), rows(&set.ivar, &test));
    let estimates = estimate_arrays(&fitted, flux.view(), ivar.view(), 256, &compute, &|_| ()).unwrap();
    (0..3)
        .map(|k| {
            let residuals: Vec<f64> =
                test.iter().enumerate().map(|(n, row)| estimates.labels[[n, k]] - set.labels[[*row, k]]).collect();
            (mean(&residuals), standard_deviation(&residuals), robust_scatter(&residuals))
        })
        .collect()
}

/// 335 rows drawn at random, by numpy's `default_rng(1).permutation(671)[:335]`, as bits.
fn drawn() -> Vec<usize> {
    let bits = "4ee1e7cd999c5d005d6c71aab5d959f2e7fe5fe89771cf77c282b40b37ddf9ca47d72a9d844187529012d920d077c5f065\
                2466bc121826d22ad49a782fe7a2756ce3cf95ac9c28743b00668eda7307289c862a94";
    let nibble = |row: usize| u8::from_str_radix(&bits[row / 4..=row / 4], 16).unwrap();
    (0..671).filter(|row| nibble(*row) >> (3 - row % 4) & 1 == 1).collect()
}

#[test]
fn real_giants_are_labelled_as_well_as_by_an_independent_cannon() {
    let Some(folder) = real_data("hipparcos_100px") else { return };
    let set = hipparcos(&folder);
    // Scatter and robust scatter of an independent Cannon on the same stars: training by brute force in numpy, labels by
    // scipy's MINPACK from the pivot. First rows train, then even rows, odd rows, and rows drawn at random.
    let reference = [
        ((0..335).collect::<Vec<_>>(), [185.44, 0.389, 0.168], [135.93, 0.311, 0.136]),
        ((0..671).step_by(2).collect(), [213.02, 0.446, 0.219], [183.90, 0.379, 0.170]),
        ((1..671).step_by(2).collect(), [201.48, 0.426, 0.179], [151.04, 0.316, 0.126]),
        (drawn(), [215.88, 0.420, 0.193], [148.32, 0.289, 0.140]),
    ];
    for (training, scatter, robust) in &reference {
        for (k, (_, our_scatter, our_robust)) in halves(&set, training).into_iter().enumerate() {
            // Some stars have several minima, which two codes settle differently: the standard scatter feels each of
            // them, the robust one does not.
            assert!((our_robust / robust[k] - 1.0).abs() < 0.05, "label {k}: {our_robust} not {}", robust[k]);
            assert!((our_scatter / scatter[k] - 1.0).abs() < 0.12, "label {k}: {our_scatter} not {}", scatter[k]);
        }
    }
    // The notes on this set, 335 random rows training: scatter 205 K, 0.39, 0.19, robust 148 K, 0.28, 0.13.
    let found = halves(&set, &drawn());
    for (k, (scatter, robust)) in [(205.0, 148.0), (0.39, 0.28), (0.19, 0.13)].into_iter().enumerate() {
        assert!(found[k].1 < 1.05 * scatter && found[k].2 < 1.05 * robust, "label {k}: {:?}", found[k]);
    }
}

#[test]
fn five_labels_on_the_real_giants_run_too() {
    let Some(folder) = real_data("hipparcos_100px") else { return };
    let work = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    let (flux, error, labels) = (file("flux.npy"), file("error.npy"), file("labels.csv"));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/arrays.toml").display().to_string();
    let sets = [
        format!("data.arrays.flux={flux}"),
        format!("data.arrays.error={error}"),
        format!("data.arrays.labels={labels}"),
    ];
    for labels in ["labels=[\"teff\",\"logg\",\"m_h\"]", "labels=[\"teff\",\"logg\",\"fe_h\",\"mg_fe\",\"si_fe\"]"] {
        let mut arguments = vec!["run", &config, "--set", labels];
        sets.iter().for_each(|set| arguments.extend(["--set", set.as_str()]));
        succeeded(work.path(), &arguments);
    }
    let model = &metrics(work.path(), "arrays")["models"]["cannon"];
    assert_eq!(model["n_parameters"], 100 * 22);
    for label in ["teff", "logg", "fe_h", "mg_fe", "si_fe"] {
        assert!(model["labels"][label]["scatter"].as_f64().unwrap() > 0.0);
    }
}

fn dr10(folder: &Path, compute: &Compute) -> TrainedCannon {
    let foreign = ForeignCannon {
        coefficients: folder.join("coefficients.csv"),
        terms: folder.join("terms.csv"),
        pivot: folder.join("labels_baseline.csv"),
        training_labels: Some(folder.join("training_labels_dr10.csv")),
        continuum: ContinuumSettings::default(),
    };
    import(&foreign, compute).unwrap()
}

#[test]
fn the_dr10_cannon_predicts_its_published_fluxes() {
    let Some(folder) = real_data("cannon_dr10") else { return };
    let compute = Compute::flex(Precision::F64);
    let model = dr10(&folder, &compute);
    let mut table = maury::data::table::Table::open(&folder.join("check_predictions.csv")).unwrap();
    let rows = 0..table.n_rows();
    let labels: Vec<Vec<f64>> =
        ["teff", "logg", "feh", "alpha"].iter().map(|name| table.numbers(name, rows.clone(), "").unwrap()).collect();
    let pixels = table.numbers("pix8575", rows.clone(), "").unwrap();
    let flux = table.numbers("flux", rows.clone(), "").unwrap();
    assert_eq!(rows.len(), 65);
    let matrix = Array2::from_shape_fn((rows.len(), 4), |(n, k)| labels[k][n]);
    let scaled: Vec<f64> = model.scaler.scale(matrix.view()).iter().copied().collect();
    let predicted = to_f64(model.cannon.predict_flux(compute.tensor(&scaled, [rows.len(), 4])).mean);
    for n in rows {
        let ours = predicted[n * 8575 + pixels[n] as usize];
        assert!((ours - flux[n]).abs() < 1e-6, "row {n}: {ours} {}", flux[n]);
    }
    assert_eq!(model.cannon.valid_pixels().iter().filter(|valid| **valid).count(), 7214);
}

#[test]
fn the_529_continuum_pixels_fall_out_of_the_dr10_cannon() {
    let Some(folder) = real_data("cannon_dr10") else { return };
    let model = dr10(&folder, &Compute::flex(Precision::F64));
    let found = continuum_pixels_of(&model.cannon, &model.scaler, &FindSettings::default());
    assert_eq!(found, continuum_pixels::shipped(&WavelengthGrid::apogee()).unwrap());
}

#[test]
fn the_labs_lists_of_continuum_pixels_are_read() {
    let Some(folder) = real_data("continuum") else { return };
    let grid = WavelengthGrid::apogee();
    let shipped = continuum_pixels::shipped(&grid).unwrap();
    for file in ["cannon_continuum_apogee.npz", "continuum_wavelengths_reconstructed.npz", "continuum_mask_8575.npy"] {
        assert_eq!(continuum_pixels::read(&folder.join(file), &grid).unwrap(), shipped, "{file}");
    }
}

#[test]
fn real_apstar_files_get_the_labels_of_the_dr10_cannon() {
    let work = tempfile::tempdir().unwrap();
    let Some(spectra) = dr10_and_spectra(work.path()) else { return };
    let spectra = spectra.display().to_string();
    // A flat spectrum fits a metal-poor giant; it has no feature to tell labels by.
    let raw = maury::data::apstar::read(&apstar_fixture()).unwrap();
    let flat: Vec<f64> = raw.raw_flux.iter().map(|flux| if flux.is_finite() { 1000.0 } else { f64::NAN }).collect();
    write_apstar(&work.path().join("flat.fits"), "flat", &flat, &raw.raw_error, &raw.pixmask);
    succeeded(work.path(), &["label", "--model", "dr10", "--out", "labels", &spectra, "flat.fits"]);
    let labels = ["teff_estimate", "logg_estimate", "feh_estimate", "alpha_estimate"].map(String::from);
    let table = Catalogue::read(&work.path().join("labels.csv"), "id", &labels).unwrap();
    // Teff, log g, [Fe/H], [alpha/Fe] of the data's notes, from an independent fit, and whether the star lies outside the
    // training set. The notes are rounded to 1 K and 0.01; their continuum was not clipped, which leaves a few K.
    let expected = [
        ("2M16333217+3942519", [4465.0, 1.97, -0.52, 0.23], [5.0, 0.02, 0.007, 0.006], false),
        ("2M17335483-2753043", [3645.0, 0.83, 0.08, -0.06], [6.0, 0.02, 0.007, 0.006], true),
        ("2M19485057+5005279", [5039.0, 4.0, -0.19, 0.15], [5.0, 0.02, 0.007, 0.006], true),
    ];
    for (id, values, tolerances, outside) in expected {
        let row = table.id.iter().position(|known| known == id).unwrap();
        for k in 0..4 {
            let difference = (table.labels[row][k] - values[k]).abs();
            assert!(difference < tolerances[k], "{id} {}: {} not {}", labels[k], table.labels[row][k], values[k]);
        }
        let csv = std::fs::read_to_string(work.path().join("labels.csv")).unwrap();
        let flags: i64 =
            csv.lines().find(|line| line.starts_with(id)).unwrap().rsplit(',').next().unwrap().parse().unwrap();
        assert_eq!(flags & maury::spectra::quality::star_flags::OUTSIDE_HULL != 0, outside, "{id}");
    }
    let csv = std::fs::read_to_string(work.path().join("labels.csv")).unwrap();
    for (id, is_bad) in [("flat", true), ("2M16333217+3942519", false)] {
        let row = csv.lines().find(|line| line.starts_with(id)).unwrap();
        let flags: i64 = row.rsplit(',').next().unwrap().parse().unwrap();
        assert_eq!(flags & maury::spectra::quality::star_flags::BAD_FIT != 0, is_bad, "{row}");
    }
}

#[test]
fn the_real_allstar_rows_of_dr12_are_selected() {
    let (Some(table), Some(list)) = (real_data("allstar/APOGEE-allStar-v603-Hipparcos.fits.gz"), real_data("labels"))
    else {
        return;
    };
    // The same cuts, done independently, left the 743 stars marked `lab_cut` of 769 with all labels.
    let labels = ["teff", "logg", "fe_h", "mg_fe", "si_fe"].map(String::from);
    let (with_labels, cuts) = select(&table, "APOGEE_ID", &labels, &Selection::default()).unwrap();
    assert_eq!(cuts[0].left, 3244);
    let config = "[data.arrays]\nflux=\"f.npy\"\nivar=\"i.npy\"\nlabels=\"l.csv\"\n[selection.ranges]\nsnr = {min = 50}\nlogg = {max = 4}\nteff = {max = 5700}\nfe_h = {min = -1}\n";
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("cuts.toml"), config).unwrap();
    let experiment = maury::experiment::load::Experiment::load(&work.path().join("cuts.toml"), &[], None).unwrap();
    let (selected, _) = select(&table, "APOGEE_ID", &labels, &experiment.config.selection).unwrap();
    let expected = Catalogue::read(&list.join("dr12_giants_5label.csv"), "apogee_id", &labels).unwrap();
    let text = std::fs::read_to_string(list.join("dr12_giants_5label.csv")).unwrap();
    let marked: Vec<bool> = text.lines().skip(1).map(|line| line.ends_with(",1")).collect();
    for (id, values) in selected.id.iter().zip(&selected.labels) {
        let row = expected.id.iter().position(|known| known == id).unwrap();
        assert!(marked[row], "{id}");
        // The list holds rounded values.
        for (k, value) in values.iter().enumerate() {
            assert!((value - expected.labels[row][k]).abs() < [0.01, 1e-4, 1e-5, 2e-5, 2e-5][k], "{id} {}", labels[k]);
        }
    }
    let unique = |rows: &Catalogue| rows.id.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(unique(&with_labels), with_labels.len());
    assert_eq!(selected.len(), marked.iter().filter(|marked| **marked).count());
}

#[test]
fn the_committed_real_spectrum_reads_as_astropy_reads_it() {
    let raw = maury::data::apstar::read(&apstar_fixture()).unwrap();
    assert_eq!((raw.id.as_str(), raw.field.as_str(), raw.n_visits), ("2M19485057+5005279", "K04_083+13", 1));
    assert!((raw.snr - 137.4889561519403).abs() < 1e-9);
    let finite: Vec<usize> = (0..8575).filter(|pixel| raw.raw_flux[*pixel].is_finite()).collect();
    assert_eq!((finite.len(), finite[0], finite[finite.len() - 1]), (7801, 202, 8381));
    let grid = WavelengthGrid::apogee();
    let settings = PixmaskSettings::default();
    let places = settings.places(&grid, &grid.chip_cores());
    let (masked, quality) =
        maury::spectra::pixmask::apply(&raw.raw_flux, &raw.raw_error, &raw.pixmask, &places, &settings);
    // Counts of the format's notes, read with astropy: bits 0, 8, 12, 14, and 310 pixels lost to the lab's rule.
    let counts = [0, 8, 12, 14].map(|bit| quality.n_per_bit[bit]);
    assert_eq!((counts, quality.n_inside), ([132, 63, 172, 100], 7801));
    assert_eq!(masked.ivar.iter().filter(|ivar| **ivar > 0.0).count(), quality.n_good);
    assert_eq!(7801 - quality.n_good - quality.n_bad_error, 310);
}

#[test]
fn a_model_for_other_spectra_is_refused_for_apstar_files() {
    let work = tempfile::tempdir().unwrap();
    let output = maury(work.path(), &["label", "--model", "nowhere", &apstar_fixture().display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere: there is no such folder"));
}
