//! Estimates of training stars by models that did not see them. No test star takes part.

use ndarray::{Array2, Axis, s};

use super::context::Context;
use super::kind::{Job, Part, Strangers, Trained, Unseen};
use crate::error::{Error, Result};
use crate::inference::calibration::{Formal, HeldOut, WithoutChip};
use crate::inference::fit_quality::HeldOutMisfit;
use crate::inference::fitted::estimate_arrays;
use crate::inference::slopes::Slopes;
use crate::models::{LabelEstimates, LabelEstimator};
use crate::spectra::noise::Conditions;

/// What training stars give when they are held out.
#[derive(Default)]
pub(super) struct ByParts {
    /// Their estimates, and what is known of them beside.
    pub held_out: Option<HeldOut>,
    /// How their estimates followed their labels, where they were made to follow them in full.
    pub slopes: Option<Slopes>,
    /// How well models that had not seen them describe their spectra.
    pub unseen: HeldOutMisfit,
    /// The models that tell, where they are trained quickly.
    pub parts: Vec<Part>,
}

/// Estimates of a fold's training stars with data by models that had not seen them: what the model has of the kind, or else each
/// part of the stars by a model of the others.
///
/// Continuum pixels that are found, and nothing else, are those of all training stars together. Nothing where calibration is off, or
/// where a part of the training stars cannot train the model.
///
/// # Errors
/// [`Error::Interrupted`]; those of the model, asked what a lost chip does.
pub(super) fn held_out(trained: &dyn Trained, estimator: &dyn LabelEstimator, job: &Job) -> Result<ByParts> {
    let context = &job.context;
    let (mut unseen, mut parts) = (HeldOutMisfit::default(), Vec::new());
    if context.settings.calibration.folds == 0 {
        return Ok(ByParts::default());
    }
    // Of the stars that teach the model, those that taught what estimated the held-out ones.
    let share_of_parts = 1.0 - 1.0 / context.settings.calibration.folds as f64;
    let (rows, estimates, excess, share) = match trained.unseen(job, estimator)? {
        Unseen::Nothing => return Ok(ByParts::default()),
        Unseen::Known(known) => (known.rows, known.estimates, known.excess, 1.0),
        Unseen::ByParts => match by_parts(trained, job, &mut unseen, &mut parts)? {
            Some((rows, estimates)) => (rows, estimates, None, share_of_parts),
            None => return Ok(ByParts { unseen, ..ByParts::default() }),
        },
    };
    let mut held_out = described(context, rows, estimates, excess)?;
    let slopes = trained.corrects_slopes().then(|| Slopes::fit(job.name, &context.set.label_names, &held_out));
    if let Some(slopes) = &slopes {
        slopes.apply_to(&mut held_out);
    }
    let slopes = slopes.map(|slopes| slopes.of_more_stars(share));
    held_out.without_chip = without_chips(context, &held_out.rows, estimator, slopes.as_ref())?;
    Ok(ByParts { held_out: Some(held_out), slopes, unseen, parts })
}

fn by_parts(
    trained: &dyn Trained,
    job: &Job,
    unseen: &mut HeldOutMisfit,
    parts: &mut Vec<Part>,
) -> Result<Option<(Vec<usize>, LabelEstimates)>> {
    /// These parts have nothing to do with the folds.
    const SEED: u64 = 5_000_011;
    let context = &job.context;
    let rows = context.with_data(&job.fold.training);
    let mut estimates = LabelEstimates::empty(context.set.label_names.len());
    let mut order = Vec::with_capacity(rows.len());
    let task = match trained.tells_strangers() {
        Strangers::ByFit => "fitting labels held out",
        Strangers::BySpectra(_) => "estimating labels held out",
    };
    for part in context.parts(&rows, context.settings.calibration.folds, SEED) {
        if part.test.is_empty() {
            continue;
        }
        let found = trained.again(&job.on(&part)).and_then(|again| {
            let examined = context.examine(task, &part.test, &*again.estimator(context))?;
            Ok((again, examined))
        });
        match found {
            Ok((again, (found, misfit))) => {
                unseen.add(&part.test, &found.n_pixels, misfit);
                estimates.append(found);
                order.extend_from_slice(&part.test);
                if again.trains_quickly() {
                    parts.push(Part { stars: part, trained: again });
                }
            }
            Err(stopped @ (Error::Interrupted { .. } | Error::Io { .. })) => return Err(stopped),
            Err(err) => {
                let folds = context.settings.calibration.folds;
                // Trained on all but one, or few, of the stars there would be enough.
                let remedy = match &err {
                    Error::TooFewStars { needed, .. } if *needed < rows.len() => {
                        format!("; or raise calibration.folds above {folds}: more stars then train for each part")
                    }
                    _ => String::new(),
                };
                tracing::warn!("{}: no calibrated errors: {err}{remedy}", job.name);
                return Ok(None);
            }
        }
    }
    Ok(Some((order, estimates)))
}

/// What is known of these rows beside their estimates, in the order of the rows; not what a lost chip does.
fn described(
    context: &Context,
    rows: Vec<usize>,
    estimates: LabelEstimates,
    excess: Option<Array2<f64>>,
) -> Result<HeldOut> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|position| rows[*position]);
    let excess = excess.unwrap_or_else(|| Array2::zeros(estimates.labels.raw_dim()));
    let rows: Vec<usize> = order.iter().map(|position| rows[*position]).collect();
    let set = context.set;
    Ok(HeldOut {
        estimates: estimates.select(&order),
        excess: excess.select(Axis(0), &order),
        labels: set.labels.select(Axis(0), &rows),
        label_errors: set.label_errors.select(Axis(0), &rows),
        conditions: context.conditions(&rows)?,
        without_chip: Vec::new(),
        // Only fits have a chi^2.
        formal: if estimates.chi2.iter().any(|chi2| chi2.is_finite()) { Formal::Noise } else { Formal::Residuals },
        rows,
    })
}

/// What a model says of some training stars with all chips, and with each chip masked in turn. It needs no labels, and so may have
/// seen the stars.
///
/// # Errors
/// Those of the model.
fn without_chips(
    context: &Context,
    rows: &[usize],
    model: &dyn LabelEstimator,
    slopes: Option<&Slopes>,
) -> Result<Vec<WithoutChip>> {
    /// Enough to know a size to 5%.
    const MOST_STARS: usize = 200;
    let chips = &context.set.grid.chips;
    let conditions = context.conditions(rows)?;
    let whole = rows.iter().zip(&conditions).filter(|(_, star)| star.lost_chips == 0).map(|(row, _)| *row);
    let rows: Vec<usize> = whole.take(MOST_STARS).collect();
    if chips.len() < 2 || rows.is_empty() {
        return Ok(Vec::new());
    }
    let (flux, ivar) = context.set.spectra.of(&rows)?;
    let label = |ivar: &Array2<f32>| {
        let batch_stars = context.settings.fit.batch_stars;
        let mut found = estimate_arrays(model, flux.view(), ivar.view(), batch_stars, context.compute, &|_| ())?;
        if let Some(slopes) = slopes {
            slopes.apply(&mut found, &Conditions::of(ivar.view(), chips));
        }
        Ok::<_, Error>(found)
    };
    let whole = label(&ivar)?;
    chips
        .iter()
        .map(|chip| {
            let mut masked = ivar.clone();
            masked.slice_mut(s![.., chip.clone()]).fill(0.0);
            Ok(WithoutChip::new(&whole, &label(&masked)?))
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::device::{Compute, Precision};
    use crate::experiment::config::ExperimentConfig;
    use crate::inference::calibration::tests::normal;
    use crate::kinds::fold::run_fold;
    use crate::kinds::kind::FoldResult;
    use crate::kinds::registry::ModelConfig;
    use crate::memory::Memory;
    use crate::progress::Silent;
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::prepared::PreparedSet;
    use crate::spectra::prepared_file::{self, PreparedFile};
    use crate::spectra::quality::Quality;
    use crate::spectra::split::Fold;
    use crate::spectra::stored::Spectra;
    use crate::timings::Timings;
    use rand::SeedableRng;

    const N_STARS: usize = 240;
    const N_PIXELS: usize = 40;

    /// Stars whose two labels move the flux of every pixel; the catalogue errs a little.
    pub fn set() -> PreparedSet {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        let slopes = Array2::from_shape_fn((2, N_PIXELS), |_| 0.05 * normal(&mut rng));
        let truth = Array2::from_shape_fn((N_STARS, 2), |_| normal(&mut rng));
        let flux = Array2::from_shape_fn((N_STARS, N_PIXELS), |(star, j)| {
            (0.8 + truth.row(star).dot(&slopes.column(j)) + 0.02 * normal(&mut rng)) as f32
        });
        let quality = Quality { n_inside: N_PIXELS, n_good: N_PIXELS, ..Quality::default() };
        PreparedSet {
            grid: WavelengthGrid::from_pixel_numbers(N_PIXELS),
            continuum_pixels: vec![false; N_PIXELS],
            ids: (0..N_STARS).map(|star| format!("s{star}")).collect(),
            label_names: vec!["a".into(), "b".into()],
            labels: truth.mapv(|label| label + 0.02 * normal(&mut rng)),
            label_errors: Array2::from_elem((N_STARS, 2), 0.02),
            snr: vec![50.0; N_STARS],
            spectra: Spectra::in_memory(flux, Array2::from_elem((N_STARS, N_PIXELS), 2500.0)),
            quality: vec![quality; N_STARS],
        }
    }

    fn config(networks: &str) -> ExperimentConfig {
        let text = format!(
            "labels = ['a', 'b']\n[calibration]\nfolds = 3\nnetworks = '{networks}'\n[models.plain.cannon]\norder = 1\n\
             [models.ridge.ridge]\nkernel = 'linear'\nmasked = 'mean'\n[models.net.network]\narchitecture.mlp = {{ hidden = [16] }}\nmembers = 3\n\
             validation = 0.3\ndescent = {{ epochs = 30, batch_rows = 16, learning_rate = 3e-3 }}\n\
             [models.both.combination]\nof = ['plain', 'ridge', 'net']\n"
        );
        toml::from_str(&text).unwrap()
    }

    /// What every model makes of one fold.
    fn results(set: &PreparedSet, config: &ExperimentConfig) -> (Fold, BTreeMap<String, FoldResult>) {
        let compute = Compute::flex(Precision::F32);
        let settings = config.shared();
        let context = Context { set, settings: &settings, compute: &compute, progress: &Silent };
        let fold = config.split.folds(&set.ids, config.seed).remove(0);
        let mut results = BTreeMap::new();
        for (name, model) in config.models_in_order() {
            let job = Job { name, context, fold: &fold, earlier: &results, place: None };
            let result = run_fold(&**model, &job, &mut Timings::default()).unwrap();
            results.insert(name.clone(), result);
        }
        (fold, results)
    }

    #[test]
    fn test_stars_change_nothing_in_a_calibration_and_training_stars_do() {
        let (set, config) = (set(), config("members"));
        let (fold, before) = results(&set, &config);
        let mut changed = set.clone();
        let (mut flux, mut ivar) = set.spectra.of(&(0..N_STARS).collect::<Vec<_>>()).unwrap();
        for row in &fold.test {
            changed.labels.row_mut(*row).fill(99.0);
            changed.label_errors.row_mut(*row).fill(5.0);
            flux.row_mut(*row).fill(0.3);
            ivar.row_mut(*row).fill(7.0);
        }
        changed.spectra = Spectra::in_memory(flux, ivar);
        let (_, after) = results(&changed, &config);
        for (name, result) in &before {
            let calibration = |result: &FoldResult| result.calibrated.as_ref().unwrap().calibration.clone();
            // chi^2 may be NaN, which equals nothing.
            let known = |result: &FoldResult| {
                let HeldOut { rows, estimates, excess, .. } = result.held_out.clone().unwrap();
                (rows, estimates.labels, estimates.covariance, excess)
            };
            assert_eq!(known(result), known(&after[name]), "{name}");
            assert_eq!(calibration(result), calibration(&after[name]), "{name}");
            let held_out = result.held_out.as_ref().unwrap();
            assert!(held_out.rows.iter().all(|row| fold.training.contains(row)), "{name}");
        }
        // A training star's own label does not enter its own held-out estimate, and does enter those of others.
        let star = before["net"].held_out.as_ref().unwrap().rows[0];
        let mut moved = set.clone();
        moved.labels[[star, 0]] += 1.0;
        let (_, after) = results(&moved, &config);
        for name in ["plain", "ridge"] {
            let of = |results: &BTreeMap<String, FoldResult>| results[name].held_out.clone().unwrap();
            let (before, after) = (of(&before), of(&after));
            let own = before.rows.iter().position(|row| *row == star).unwrap();
            let change =
                |position: usize| before.estimates.labels[[position, 0]] - after.estimates.labels[[position, 0]];
            let others: Vec<f64> = (0..before.rows.len()).filter(|n| *n != own).map(|n| change(n).abs()).collect();
            let most = others.iter().copied().fold(0.0, f64::max);
            // The ridge's choice of strength, and its scaling of labels, know each star as one of 120.
            assert!(most > 1e-4 && change(own).abs() < if name == "plain" { 1e-12 } else { 0.009 }, "{name}: {most}");
        }
    }

    #[test]
    fn a_set_in_its_file_gives_what_it_gives_in_memory_whether_it_would_fit_or_not() {
        let (set, mut config) = (set(), config("members"));
        let others = "[models.few.ridge]\nlandmarks = 40\n[models.components.network]\narchitecture.mlp = { hidden = [16] }\n\
                      input = { masked = 'cannon', components = { count = 8 } }\ndescent = { epochs = 10, batch_rows = 16 }\n\
                      [models.varied.network]\narchitecture.mlp = { hidden = [16] }\ninput.masked = 'mean'\naugment.noise = 1.0\n\
                      loss.gaussian = {}\ndescent = { epochs = 10, batch_rows = 16, average_last = 0.3 }\n";
        config.models.extend(toml::from_str::<ExperimentConfig>(others).unwrap().models);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.fits");
        let all: Vec<usize> = (0..N_STARS).collect();
        let (flux, ivar) = set.spectra.of(&all).unwrap();
        let mut file = PreparedFile::begin(&path, "key", N_STARS, &set.grid, &set.continuum_pixels).unwrap();
        file.add(0, flux.as_slice().unwrap(), ivar.as_slice().unwrap()).unwrap();
        file.complete(&set).unwrap();
        let on_disk = prepared_file::read(&path, "key", 0).unwrap().unwrap();
        assert!(!on_disk.spectra.is_in_memory());
        // Seven pixels of 120 stars at once, of the 40.
        let little = Compute::flex(Precision::F32).with_memory(Memory { bytes: 8 * 7 * 120 * 8 });
        let settings = config.shared();
        let fold = config.split.folds(&set.ids, config.seed).remove(0);
        let run = |name: &str, set: &PreparedSet, compute: &Compute| {
            let context = Context { set, settings: &settings, compute, progress: &Silent };
            let job = Job { name, context, fold: &fold, earlier: &BTreeMap::new(), place: None };
            run_fold(&*config.models[name], &job, &mut Timings::default())
        };
        let usual = Compute::flex(Precision::F32);
        for name in ["plain", "ridge", "net"] {
            let (here, there) = (run(name, &set, &usual).unwrap(), run(name, &on_disk, &usual).unwrap());
            assert_eq!(here.estimates.labels, there.estimates.labels, "{name}");
            assert_eq!(here.calibrated.unwrap().errors, there.calibrated.unwrap().errors, "{name}");
        }
        // Narrower products are summed in another order.
        let (whole, by_blocks) = (run("plain", &set, &usual).unwrap(), run("plain", &on_disk, &little).unwrap());
        for (a, b) in whole.estimates.labels.iter().zip(&by_blocks.estimates.labels) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // Networks take their steps in the same order; a few hundred roundings are some thousandths of a label's spread, and
        // not always the same: products are cut as threads are free.
        for (name, most) in [("few", 2e-3), ("net", 1e-2), ("varied", 1e-2)] {
            let (whole, by_blocks) = (run(name, &set, &usual).unwrap(), run(name, &on_disk, &little).unwrap());
            let apart = |a: &Array2<f64>, b: &Array2<f64>| (a - b).mapv(f64::abs).into_iter().fold(0.0, f64::max);
            let largest = apart(&whole.estimates.labels, &by_blocks.estimates.labels);
            assert!(largest < most, "{name}: {largest}");
            let of = |result: FoldResult| result.held_out.unwrap().estimates.labels;
            let largest = apart(&of(whole), &of(by_blocks));
            assert!(largest < most, "{name}, held out: {largest}");
        }
        // A component may have the other sign, and its first random weights mean something else.
        let labels = set.labels.select(Axis(0), &fold.test);
        let error = |result: FoldResult| (result.estimates.labels - &labels).mapv(|d| d * d).mean().unwrap().sqrt();
        let whole = error(run("components", &set, &usual).unwrap());
        let by_blocks = error(run("components", &on_disk, &little).unwrap());
        assert!((by_blocks / whole - 1.0).abs() < 0.3, "{whole} {by_blocks}");
        let refusal = run("ridge", &on_disk, &little).err().unwrap().to_string();
        assert!(refusal.contains("landmarks at least, which takes"), "{refusal}");
    }

    #[test]
    fn calibrated_errors_are_those_of_the_test_stars_for_every_model_and_way() {
        let set = set();
        for networks in ["members", "folds"] {
            let (fold, results) = results(&set, &config(networks));
            for (name, result) in &results {
                let errors = &result.calibrated.as_ref().unwrap().errors;
                for k in 0..2 {
                    let pull = |(place, row): (usize, &usize)| {
                        let residual = result.estimates.labels[[place, k]] - set.labels[[*row, k]];
                        residual / errors[[place, k]].hypot(0.02)
                    };
                    let pulls: Vec<f64> = fold.test.iter().enumerate().map(pull).collect();
                    let width = crate::stats::robust::standard_deviation(&pulls);
                    // 120 stars (79 held out by members) calibrate, 120 judge: 7% to 10% each, and models of two thirds
                    // of 120 stars err a little more.
                    // A combination learns 15 correlations from those 79.
                    let most = if name == "both" { 1.6 } else { 1.4 };
                    assert!((0.65..most).contains(&width), "{networks}, {name}, {k}: {width}");
                }
            }
        }
    }

    #[test]
    fn without_folds_nothing_is_calibrated_and_too_few_stars_are_no_failure() {
        let set = set();
        let mut config = config("members");
        config.models.remove("both");
        config.calibration.folds = 0;
        let (_, off) = results(&set, &config);
        assert!(off.values().all(|result| result.calibrated.is_none() && result.held_out.is_none()));
        assert!(off["plain"].n_usual == 0 && off["ridge"].n_usual > 0, "chi^2 alone tells what a fit misses");
        // Twelve training stars train an order of 2, six coefficients; two thirds of eight do not.
        config.calibration.folds = 3;
        config.models = BTreeMap::from([("plain".to_string(), ModelConfig::default())]);
        let few: Vec<usize> = (0..16).collect();
        let (_, few) = results(&set.rows(&few), &config);
        assert!(few["plain"].calibrated.is_none());
    }
}
