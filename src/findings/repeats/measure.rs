//! From labels of visits to scatters along SNR, each beside the errors claimed for the same visits.

use super::deviations::{Deviation, deviations};
use super::outcome::{Claimed, Growth, LabelRepeats, Measured, RepeatBin, Repeats, Statistic};
use super::visits::{LeftOut, Selected, VisitLabels, select};
use crate::error::{Error, Result};
use crate::findings::metrics::BootstrapSettings;
use crate::stats::bootstrap::{Resampling, Sample, Summary, Wanted, central};
use crate::stats::chi_squared::chi_squared_quantile;
use crate::stats::robust::median;

/// Bins of SNR at most.
const SNR_BINS: usize = 6;
/// Stars that a bin has at least, and stars with repeat visits from which on resamples of them tell how well a scatter is known.
pub const FEWEST_STARS: usize = 20;
/// Of a normal distribution the standard deviation over the median of the absolute values.
const OF_MEDIAN: f64 = 1.4826;

/// How repeat visits are looked into.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RepeatSettings {
    /// Whether visits flagged `BAD_FIT` count.
    pub keeps_bad_fits: bool,
    /// Resamples of the stars.
    pub bootstrap: BootstrapSettings,
    /// Their seed.
    pub seed: u64,
}

/// Holds the visits of each star against each other.
///
/// # Errors
/// [`Error::TooFewStars`] where no star has two visits that count, with what became of them.
pub fn measure(visits: &VisitLabels, settings: &RepeatSettings) -> Result<(Repeats, Selected)> {
    let selected = select(visits, settings.keeps_bad_fits);
    let stars = &selected.stars;
    if stars.is_empty() {
        return Err(Error::TooFewStars {
            stage: format!("repeat visits ({})", words(visits.n_visits(), &selected.left_out)),
            n_stars: 0,
            needed: 1,
            remedy: remedy(visits, settings.keeps_bad_fits).into(),
        });
    }
    let statistic = if stars.len() < FEWEST_STARS { Statistic::Standard } else { Statistic::Robust };
    let bins = bins(visits, stars);
    let of = |k: usize| label_repeats(visits, stars, &bins, (k, statistic), settings);
    let labels = visits.label_names.iter().enumerate();
    let repeats = Repeats {
        n_visits: visits.n_visits(),
        n_stars: stars.len(),
        n_used: stars.iter().map(Vec::len).sum(),
        left_out: selected.left_out.clone(),
        doubts: visits.doubts(stars),
        statistic,
        interval_level: settings.bootstrap.level,
        labels: labels.filter_map(|(k, name)| Some((name.clone(), of(k)?))).collect(),
        label_names: visits.label_names.clone(),
    };
    Ok((repeats, selected))
}

/// What became of the visits that do not count, in words.
pub fn words(n_visits: usize, left_out: &LeftOut) -> String {
    let flagged = left_out.flagged.iter().map(|(flag, n)| format!("{n} flagged {flag}"));
    let others = [
        (left_out.nameless, "of stars without a name"),
        (left_out.again, "given a second time"),
        (left_out.alone, "the only one of its star"),
    ];
    let others = others.into_iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}"));
    let parts: Vec<String> = flagged.chain(others).collect();
    let of = format!("of {n_visits} visit{}", if n_visits == 1 { "" } else { "s" });
    if parts.is_empty() { of } else { format!("{of} left out: {}", parts.join(", ")) }
}

/// What to do about what most visits were left out for; bad fits are to blame for those alone that would count without that flag.
fn remedy(visits: &VisitLabels, keeps_bad_fits: bool) -> &'static str {
    let Selected { stars, left_out } = select(visits, true);
    let n_bad_fits = if keeps_bad_fits { 0 } else { stars.iter().map(Vec::len).sum() };
    let causes = [
        (
            left_out.flagged.values().sum(),
            "most spectra have no labels: their flags say why, and `maury label` warned of each",
        ),
        (left_out.again, "most rows are of a spectrum that is there before: give other visits of the stars"),
        (
            n_bad_fits,
            "a model that does not describe the stars has no errors to hold against; --keep-bad-fits counts such visits all the same",
        ),
        (left_out.nameless, "most rows do not say of which star they are: give the table a column id, or arrays --ids"),
        (
            left_out.alone,
            "give spectra of stars that were visited more than once: a table made by `maury label --visits`, apStar or mwmVisit files, \
             or arrays with --ids in which a star comes up again",
        ),
    ];
    causes.into_iter().max_by_key(|(n, _)| *n).map_or("", |(_, remedy)| remedy)
}

/// The highest row of visits in each bin but the last, by SNR; nothing for all in one.
fn bins(visits: &VisitLabels, stars: &[Vec<usize>]) -> Vec<(f64, f64)> {
    let mut known: Vec<(f64, usize)> = stars
        .iter()
        .enumerate()
        .flat_map(|(star, rows)| rows.iter().map(move |visit| (visits.snr[*visit], star)))
        .filter(|(snr, _)| snr.is_finite())
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    let cut = |n_bins: usize| {
        let bin = |bin: usize| &known[bin * known.len() / n_bins..(bin + 1) * known.len() / n_bins];
        (0..n_bins).map(bin).collect::<Vec<_>>()
    };
    let is_filled = |bin: &&[(f64, usize)]| {
        let mut of: Vec<usize> = bin.iter().map(|(_, star)| *star).collect();
        of.sort_unstable();
        of.dedup();
        of.len() >= FEWEST_STARS
    };
    let rises = |bins: &[&[(f64, usize)]]| bins.windows(2).all(|pair| pair[0][0].0 < pair[1][0].0);
    let found = (2..=SNR_BINS).rev().map(cut).find(|bins| bins.iter().all(is_filled) && rises(bins));
    // Each begins at its first visit and ends before the first of the next.
    let found = found.unwrap_or_default();
    let begins = |bin: usize| found.get(bin).map_or(f64::INFINITY, |bin| bin[0].0);
    (0..found.len()).map(|bin| (begins(bin), begins(bin + 1))).collect()
}

/// One label; none where no two visits of a star have it.
fn label_repeats(
    visits: &VisitLabels,
    stars: &[Vec<usize>],
    bins: &[(f64, f64)],
    (k, statistic): (usize, Statistic),
    settings: &RepeatSettings,
) -> Option<LabelRepeats> {
    let (all, n_outweighing) = deviations(visits, stars, k);
    if all.is_empty() {
        return None;
    }
    let within = |(low, high): &(f64, f64)| {
        let is_in = |one: &&Deviation| (*low..*high).contains(&visits.snr[one.visit]);
        all.iter().filter(is_in).copied().collect::<Vec<Deviation>>()
    };
    let mut groups = vec![all.clone()];
    groups.extend(bins.iter().map(within));
    groups.retain(|group| !group.is_empty());
    let level = settings.bootstrap.level;
    let resampling =
        Resampling { n_stars: stars.len(), n_resamples: settings.bootstrap.resamples, seed: settings.seed };
    let widths: Vec<[Vec<(Deviation, f64)>; 3]> = groups.iter().map(|group| scaled(visits, group, k)).collect();
    // Widths of the resamples of each group: deviations, and those in units of formal and of calibrated errors.
    let resamples: Vec<Vec<f64>> = match statistic {
        Statistic::Standard => Vec::new(),
        Statistic::Robust => {
            let sample = |of: &Vec<(Deviation, f64)>| Sample::new(of.iter().map(|(one, size)| (one.star, size.abs())));
            let samples: Vec<Sample> = widths.iter().flatten().map(sample).collect();
            let width =
                |summaries: Vec<Summary>| summaries.into_iter().map(|summary| OF_MEDIAN * summary.median).collect();
            resampling.summaries(&samples, Wanted::Medians).into_iter().map(width).collect()
        }
    };
    let measured = |group: usize, kind: usize| {
        let of = &widths[group][kind];
        (!of.is_empty()).then(|| match statistic {
            Statistic::Standard => by_chi_squared(of, level),
            Statistic::Robust => {
                let sizes: Vec<f64> = of.iter().map(|(_, size)| size.abs()).collect();
                let interval = central(resamples[3 * group + kind].iter().copied(), level);
                Measured { value: OF_MEDIAN * median(&sizes), interval }
            }
        })
    };
    let bin = |group: usize| repeat_bin(visits, &groups[group], (k, statistic), |kind| measured(group, kind));
    let mut found: Vec<RepeatBin> = (0..groups.len()).filter_map(bin).collect();
    let along_snr = found.split_off(1);
    let all = found.pop()?;
    let growth = match &along_snr[..] {
        [lowest, .., highest] => {
            let (first, last) = (&resamples[3], &resamples[3 * (groups.len() - 1)]);
            growth(lowest, highest, first.iter().copied().zip(last.iter().copied()), level)
        }
        _ => None,
    };
    let squared = |pull: Measured| Measured {
        value: pull.value.powi(2),
        interval: (pull.interval.0.powi(2), pull.interval.1.powi(2)),
    };
    let noise_share = all.calibrated.map(|calibrated| squared(calibrated.pull));
    let beyond = all.calibrated.map(|calibrated| calibrated.error.powi(2) - all.scatter.value.powi(2));
    let beyond_noise = beyond.filter(|square| *square > 0.0).map(f64::sqrt);
    Some(LabelRepeats { all, n_outweighing, along_snr, growth, noise_share, beyond_noise })
}

/// Deviations as they are, in units of formal errors and of calibrated ones, each as far as there are any.
fn scaled(visits: &VisitLabels, group: &[Deviation], k: usize) -> [Vec<(Deviation, f64)>; 3] {
    let over = |error: &dyn Fn(usize) -> f64| {
        let pull = |one: &Deviation| {
            let error = error(one.visit);
            (error.is_finite() && error > 0.0).then(|| (*one, one.deviation / error))
        };
        group.iter().filter_map(pull).collect()
    };
    [over(&|_| 1.0), over(&|visit| visits.errors[[visit, k]]), over(&|visit| visits.calibrated[[visit, k]])]
}

/// Standard deviation of all degrees of freedom together, and their number.
fn standard_deviation(of: &[(Deviation, f64)]) -> (f64, f64) {
    let sum = |value: &dyn Fn(&(Deviation, f64)) -> f64| of.iter().map(value).sum::<f64>();
    let freedom = sum(&|(one, _)| one.freedom);
    ((sum(&|(one, size)| one.freedom * size * size) / freedom).sqrt(), freedom)
}

fn by_chi_squared(of: &[(Deviation, f64)], level: f64) -> Measured {
    let (value, freedom) = standard_deviation(of);
    let bound = |p: f64| value * (freedom / chi_squared_quantile(p, freedom)).sqrt();
    Measured { value, interval: (bound(0.5 * (1.0 + level)), bound(0.5 * (1.0 - level))) }
}

fn repeat_bin(
    visits: &VisitLabels,
    group: &[Deviation],
    (k, statistic): (usize, Statistic),
    measured: impl Fn(usize) -> Option<Measured>,
) -> Option<RepeatBin> {
    let finite = |value: &dyn Fn(usize) -> f64| {
        let values = group.iter().map(|one| value(one.visit)).filter(|value| value.is_finite());
        values.collect::<Vec<f64>>()
    };
    let snr = finite(&|visit| visits.snr[visit]);
    let has_snr = !snr.is_empty();
    let lowest = snr.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = snr.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut of: Vec<usize> = group.iter().map(|one| one.star).collect();
    of.dedup();
    let typical = |error: &dyn Fn(usize) -> f64| match statistic {
        Statistic::Robust => median(&finite(error)),
        // The same weights as in the standard deviation.
        Statistic::Standard => {
            let known = group.iter().map(|one| (*one, error(one.visit))).filter(|(_, error)| error.is_finite());
            standard_deviation(&known.collect::<Vec<_>>()).0
        }
    };
    let claimed =
        |kind: usize, error: &dyn Fn(usize) -> f64| Some(Claimed { pull: measured(kind)?, error: typical(error) });
    let plain: Vec<(Deviation, f64)> = group.iter().map(|one| (*one, one.deviation)).collect();
    let (standard_deviation, n_repeats) = standard_deviation(&plain);
    Some(RepeatBin {
        n_stars: of.len(),
        n_visits: group.len(),
        n_repeats,
        snr: has_snr.then(|| median(&snr)),
        snr_range: has_snr.then_some((lowest, highest)),
        scatter: measured(0)?,
        standard_deviation,
        formal: claimed(1, &|visit| visits.errors[[visit, k]]),
        calibrated: claimed(2, &|visit| visits.calibrated[[visit, k]]),
    })
}

/// What the lowest bin has in addition to the highest; `resamples` are the scatters of both.
fn growth(
    lowest: &RepeatBin,
    highest: &RepeatBin,
    resamples: impl Iterator<Item = (f64, f64)>,
    level: f64,
) -> Option<Growth> {
    // Below nothing is nothing.
    let added = |(low, high): (f64, f64)| (low * low - high * high).max(0.0).sqrt();
    let value = added((lowest.scatter.value, highest.scatter.value));
    let scatter = Measured { value, interval: central(resamples.map(added), level) };
    let claims = |of: fn(&RepeatBin) -> Option<Claimed>| Some(added((of(lowest)?.error, of(highest)?.error)));
    let (formal, calibrated) = (claims(|bin| bin.formal), claims(|bin| bin.calibrated));
    let of_calibrated = calibrated.filter(|claimed| *claimed > 0.0).map(|claimed| Measured {
        value: scatter.value / claimed,
        interval: (scatter.interval.0 / claimed, scatter.interval.1 / claimed),
    });
    Some(Growth { snr: (lowest.snr?, highest.snr?), scatter, formal, calibrated, of_calibrated })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::outcome::Verdict;
    use super::*;
    use crate::stats::normal::draw as normal;

    /// What the same model gets wrong in every visit.
    const WRONG: f64 = 40.0;

    /// Noise of one visit: 10 at an SNR of 100.
    fn noise(snr: f64) -> f64 {
        1000.0 / snr
    }

    /// Two to five visits of each star at SNR 30 to 200, whose formal errors are the noise and whose calibrated ones hold what is wrong
    /// in every visit, too.
    fn simulated(n_stars: usize, seed: u64) -> VisitLabels {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut ids, mut snr, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for star in 0..n_stars {
            let estimate = 4500.0 + 300.0 * normal(&mut rng) + WRONG * normal(&mut rng);
            // A faint star's visits are all faint.
            let bright = rng.random_range(50.0..160.0);
            for _ in 0..rng.random_range(2..6) {
                let of_visit = bright * rng.random_range(0.7..1.3);
                ids.push(star.to_string());
                snr.push(of_visit);
                labels.push(estimate + noise(of_visit) * normal(&mut rng));
            }
        }
        let n = ids.len();
        let column = |of: &dyn Fn(usize) -> f64| Array2::from_shape_fn((n, 1), |(visit, _)| of(visit));
        VisitLabels {
            label_names: vec!["teff".into()],
            files: (0..n).map(|visit| format!("flux.npy[{visit}]")).collect(),
            nights: vec![f64::NAN; n],
            flags: vec![0; n],
            has_flags: true,
            labels: column(&|visit| labels[visit]),
            errors: column(&|visit| noise(snr[visit])),
            calibrated: column(&|visit| noise(snr[visit]).hypot(WRONG)),
            ids,
            snr,
        }
    }

    fn of_teff(visits: &VisitLabels) -> LabelRepeats {
        measure(visits, &RepeatSettings::default()).unwrap().0.labels.remove("teff").unwrap()
    }

    #[test]
    fn visits_scatter_by_the_noise_that_was_put_in_whatever_the_labels_are() {
        let visits = simulated(2000, 3);
        let (repeats, selected) = measure(&visits, &RepeatSettings::default()).unwrap();
        assert_eq!((repeats.n_stars, selected.stars.len(), repeats.statistic), (2000, 2000, Statistic::Robust));
        let LabelRepeats { all, along_snr, growth, noise_share, beyond_noise, .. } = of_teff(&visits);
        assert_eq!(along_snr.len(), SNR_BINS);
        assert!((all.n_repeats / (visits.n_visits() - 2000) as f64 - 1.0).abs() < 0.03, "{}", all.n_repeats);
        // Some 800 degrees of freedom in each bin: a width is known to 1.17 / sqrt(800) = 4%.
        for bin in &along_snr {
            let (formal, calibrated) = (bin.formal.unwrap(), bin.calibrated.unwrap());
            assert!((formal.pull.value - 1.0).abs() < 0.12 && formal.pull.verdict() == Verdict::Alike, "{bin:?}");
            // Within a bin noise differs by a third: the median of what is mixed is near that of the errors.
            assert!((bin.scatter.value / formal.error - 1.0).abs() < 0.12, "{bin:?}");
            assert!((bin.standard_deviation / formal.error - 1.0).abs() < 0.15, "{bin:?}");
            let (low, high) = bin.scatter.interval;
            assert!(low < bin.scatter.value && bin.scatter.value < high && high - low < 0.3 * bin.scatter.value);
            let expected = formal.error / formal.error.hypot(WRONG);
            assert!((calibrated.pull.value / expected - 1.0).abs() < 0.12, "{bin:?}");
            assert_eq!(calibrated.pull.verdict(), Verdict::Smaller);
        }
        assert!(
            along_snr.windows(2).all(|pair| pair[0].snr < pair[1].snr && pair[0].scatter.value > pair[1].scatter.value)
        );
        // What is wrong in every visit does not grow, and what noise adds is in both.
        let growth = growth.unwrap();
        assert_eq!(growth.of_calibrated.unwrap().verdict(), Verdict::Alike, "{growth:?}");
        assert!((growth.scatter.value / growth.calibrated.unwrap() - 1.0).abs() < 0.12, "{growth:?}");
        assert!((beyond_noise.unwrap() / WRONG - 1.0).abs() < 0.03, "{beyond_noise:?}");
        let share = noise_share.unwrap();
        assert!(share.interval.0 < share.value && share.value < share.interval.1 && share.value < 0.15, "{share:?}");
    }

    #[test]
    fn errors_that_claim_too_little_or_too_much_are_found_out() {
        let mut visits = simulated(600, 5);
        visits.errors *= 0.5;
        let found = of_teff(&visits);
        let pull = found.all.formal.unwrap().pull;
        assert!((pull.value - 2.0).abs() < 0.15 && pull.verdict() == Verdict::Larger, "{pull:?}");
        visits.errors *= 4.0;
        assert_eq!(of_teff(&visits).all.formal.unwrap().pull.verdict(), Verdict::Smaller);
        // Calibrated errors that take the whole of what they know for noise.
        visits.calibrated = visits.errors.mapv(|error| 2.5 * error);
        let growth = of_teff(&visits).growth.unwrap().of_calibrated.unwrap();
        assert!((growth.value - 0.2).abs() < 0.04 && growth.verdict() == Verdict::Smaller, "{growth:?}");
        visits.calibrated = visits.errors.mapv(|error| 0.25 * error);
        let found = of_teff(&visits);
        assert_eq!(found.all.calibrated.unwrap().pull.verdict(), Verdict::Larger);
        assert_eq!(found.beyond_noise, None);
    }

    #[test]
    fn a_visit_gone_wrong_moves_the_standard_deviation_and_not_the_scatter() {
        let clean = simulated(600, 7);
        let mut wild = clean.clone();
        wild.labels.column_mut(0).iter_mut().step_by(100).for_each(|label| *label += 800.0);
        let (clean, wild) = (of_teff(&clean).all, of_teff(&wild).all);
        assert!((wild.scatter.value / clean.scatter.value - 1.0).abs() < 0.12, "{wild:?}");
        assert!(wild.standard_deviation > 3.0 * clean.standard_deviation, "{wild:?}");
    }

    #[test]
    fn few_repeats_have_one_standard_deviation_and_an_interval_that_holds_the_truth() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut of = simulated(1, 1);
        let labels = [10.0, 13.0, 16.0];
        of.labels = Array2::from_shape_fn((3, 1), |(visit, _)| labels[visit]);
        (of.errors, of.calibrated) = (Array2::from_elem((3, 1), 3.0), Array2::from_elem((3, 1), f64::NAN));
        (of.ids, of.files) = (vec!["a".into(); 3], vec![String::new(); 3]);
        (of.snr, of.nights, of.flags) = (vec![80.0; 3], vec![f64::NAN; 3], vec![0; 3]);
        let (repeats, _) = measure(&of, &RepeatSettings::default()).unwrap();
        let found = &repeats.labels["teff"];
        assert_eq!((repeats.statistic, found.along_snr.len(), found.growth.is_none()), (Statistic::Standard, 0, true));
        let Measured { value, interval: (low, high) } = found.all.scatter;
        // chi^2 of two degrees of freedom lies between 0.050636 and 7.3778 with a probability of 95%.
        let [lowest, highest] = [7.377_758_9, 0.050_635_616].map(|bound: f64| 3.0 * (2.0 / bound).sqrt());
        assert!(
            (value - 3.0).abs() < 1e-12 && (low - lowest).abs() < 1e-6 && (high - highest).abs() < 1e-5,
            "{found:?}"
        );
        assert!(found.all.calibrated.is_none() && found.noise_share.is_none());
        assert_eq!(found.all.formal.unwrap().pull.verdict(), Verdict::Alike);
        let mut holds = || {
            of.labels.mapv_inplace(|_| 4500.0 + 7.0 * normal(&mut rng));
            let (low, high) = of_teff(&of).all.scatter.interval;
            (low..high).contains(&7.0)
        };
        let n_held = (0..1000).filter(|_| holds()).count();
        // 950 expected, known to 7.
        assert!((925..975).contains(&n_held), "{n_held} of 1000");
    }

    #[test]
    fn stars_without_repeats_are_refused_and_unknown_snr_makes_no_bins() {
        let mut visits = simulated(300, 9);
        visits.snr.fill(f64::NAN);
        let found = of_teff(&visits);
        assert!(found.along_snr.is_empty() && found.all.snr.is_none() && found.growth.is_none());
        visits.snr.fill(80.0);
        assert!(of_teff(&visits).along_snr.is_empty(), "one SNR for all makes no bins");
        visits.flags.fill(crate::spectra::quality::star_flags::BAD_FIT);
        let said = measure(&visits, &RepeatSettings::default()).unwrap_err().to_string();
        assert!(said.contains("flagged BAD_FIT") && said.contains("--keep-bad-fits"), "{said}");
        assert!(measure(&visits, &RepeatSettings { keeps_bad_fits: true, ..RepeatSettings::default() }).is_ok());
        visits.flags.fill(0);
        visits.ids = (0..visits.n_visits()).map(|visit| visit.to_string()).collect();
        let said = measure(&visits, &RepeatSettings::default()).unwrap_err().to_string();
        assert!(said.contains("the only one of its star") && said.contains("visited more than once"), "{said}");
        // One bad fit is not what all the others were left out for.
        visits.flags[0] = crate::spectra::quality::star_flags::BAD_FIT;
        let said = measure(&visits, &RepeatSettings::default()).unwrap_err().to_string();
        assert!(said.contains("1 flagged BAD_FIT") && said.contains("label --visits"), "{said}");
        assert!(!said.contains("--keep-bad-fits"), "{said}");
        visits.ids.fill(String::new());
        let said = measure(&visits, &RepeatSettings::default()).unwrap_err().to_string();
        assert!(said.contains("column id") && !said.contains("--keep-bad-fits"), "{said}");
    }
}
