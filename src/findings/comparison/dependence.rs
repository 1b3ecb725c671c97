//! Bias and scatter along SNR and along each label: the same bins of stars for every model.

use super::contestant::{Contestant, residuals};
use crate::data::fits::Column;
use crate::findings::predictions::Predictions;
use crate::stats::bootstrap::{Resampling, Sample, Summary, Wanted, central};
use crate::stats::robust::{median, quantile_of_sorted};

/// Stars that a bin should hold at least: the robust scatter of fewer says little.
const FEWEST_STARS: usize = 10;
/// How the signal-to-noise ratio is named among the labels.
pub const SNR: &str = "snr";

/// Errors of every label of every model along one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependence {
    /// [`SNR`] or the label whose catalogue values make the bins.
    pub against: String,
    /// The bins, ascending.
    pub bins: Vec<Bin>,
    /// By label, model and bin.
    pub errors: Vec<Vec<Vec<BinnedError>>>,
}

/// The stars between two quantiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Bin {
    /// Lower edge, which belongs to it.
    pub low: f64,
    /// Upper edge; belongs to the last bin only.
    pub high: f64,
    /// Median of its stars.
    pub centre: f64,
    /// Its stars.
    pub stars: Vec<usize>,
}

/// Errors of one label of one model in one bin, in the label's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BinnedError {
    /// Stars with both an estimate and a catalogue value.
    pub n_stars: usize,
    /// Median of estimate - catalogue.
    pub bias: f64,
    /// Its bootstrap interval.
    pub bias_interval: (f64, f64),
    /// 1.4826 x median absolute deviation of estimate - catalogue.
    pub robust_scatter: f64,
    /// Its bootstrap interval.
    pub robust_scatter_interval: (f64, f64),
}

/// Errors along SNR and along each label; quantities that do not vary, or are not known, or of too few stars,
/// are left out.
pub(super) fn measure(
    contestants: &[Contestant],
    most_bins: usize,
    resampling: &Resampling,
    level: f64,
) -> Vec<Dependence> {
    let Some(first) = contestants.first().map(|contestant| contestant.predictions) else { return Vec::new() };
    let labels = first.label_names.iter().enumerate();
    let columns = labels.map(|(k, name)| (name.as_str(), first.catalogue.column(k).to_vec()));
    std::iter::once((SNR, first.snr.clone()))
        .chain(columns)
        .filter_map(|(against, values)| {
            let bins = bins(&values, most_bins)?;
            let errors = errors(contestants, first, &bins, resampling, level);
            Some(Dependence { against: against.to_string(), bins, errors })
        })
        .collect()
}

/// Two bins or more of about as many stars each; `None` where stars are too few or too equal to be told apart.
fn bins(values: &[f64], most: usize) -> Option<Vec<Bin>> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let count = most.min(sorted.len() / FEWEST_STARS).max(1);
    let mut edges: Vec<f64> = (0..=count).map(|edge| quantile_of_sorted(&sorted, edge as f64 / count as f64)).collect();
    // Where many stars share a value, edges fall together.
    edges.dedup();
    let n_bins = edges.len().checked_sub(1).filter(|n_bins| *n_bins > 1)?;
    let mut bins: Vec<Bin> = edges
        .windows(2)
        .map(|edges| Bin { low: edges[0], high: edges[1], centre: f64::NAN, stars: Vec::new() })
        .collect();
    for (star, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
        let bin = edges[1..n_bins].iter().filter(|edge| *edge <= value).count();
        bins[bin].stars.push(star);
    }
    for bin in &mut bins {
        bin.centre = median(&bin.stars.iter().map(|star| values[*star]).collect::<Vec<f64>>());
    }
    bins.retain(|bin| !bin.stars.is_empty());
    Some(bins)
}

fn errors(
    contestants: &[Contestant],
    first: &Predictions,
    bins: &[Bin],
    resampling: &Resampling,
    level: f64,
) -> Vec<Vec<Vec<BinnedError>>> {
    let sample = |label: usize, contestant: &Contestant, bin: &Bin| {
        Sample::new(residuals(contestant.predictions, &first.catalogue, label, &bin.stars))
    };
    let of_bin = |sample: &Sample, resamples: &[Summary]| {
        let interval = |of: fn(&Summary) -> f64| central(resamples.iter().map(of), level);
        let summary = sample.summary();
        BinnedError {
            n_stars: sample.len(),
            bias: summary.median,
            bias_interval: interval(|summary| summary.median),
            robust_scatter: summary.robust_scatter,
            robust_scatter_interval: interval(|summary| summary.robust_scatter),
        }
    };
    let of_label = |label: usize| {
        let samples: Vec<Sample> = contestants
            .iter()
            .flat_map(|contestant| bins.iter().map(move |bin| sample(label, contestant, bin)))
            .collect();
        let resamples = resampling.summaries(&samples, Wanted::Medians);
        let errors: Vec<BinnedError> =
            samples.iter().zip(&resamples).map(|(sample, resamples)| of_bin(sample, resamples)).collect();
        errors.chunks(bins.len()).map(<[BinnedError]>::to_vec).collect()
    };
    (0..first.label_names.len()).map(of_label).collect()
}

/// The columns of `dependence.fits` and `.csv`: one row per quantity, bin, label and model.
pub fn columns(dependence: &[Dependence], models: &[String], labels: &[String]) -> Vec<Column> {
    let mut text: [Vec<String>; 3] = Default::default();
    let mut counts = Vec::new();
    let mut numbers: [Vec<f64>; 9] = Default::default();
    for (of, (label, by_model)) in
        dependence.iter().flat_map(|of| labels.iter().zip(&of.errors).map(move |errors| (of, errors)))
    {
        for (model, errors) in models.iter().zip(by_model) {
            for (bin, error) in of.bins.iter().zip(errors) {
                text.iter_mut().zip([&of.against, label, model]).for_each(|(column, word)| column.push(word.clone()));
                counts.push(error.n_stars as i64);
                let (bias, scatter) = (error.bias_interval, error.robust_scatter_interval);
                let row = [
                    bin.low,
                    bin.high,
                    bin.centre,
                    error.bias,
                    bias.0,
                    bias.1,
                    error.robust_scatter,
                    scatter.0,
                    scatter.1,
                ];
                numbers.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            }
        }
    }
    let names = [
        "bin_low",
        "bin_high",
        "bin_median",
        "bias",
        "bias_low",
        "bias_high",
        "robust_scatter",
        "robust_scatter_low",
        "robust_scatter_high",
    ];
    let mut columns: Vec<Column> =
        ["against", "label", "model"].into_iter().zip(text).map(|(name, words)| Column::text(name, words)).collect();
    columns.push(Column::i64("n_stars", counts));
    columns.extend(names.into_iter().zip(numbers).map(|(name, values)| Column::f64(name, "", values)));
    columns
}

#[cfg(test)]
mod tests {
    use super::super::tests::{compared, noise};
    use super::*;

    #[test]
    fn bins_hold_all_stars_once_and_about_as_many_each() {
        let values: Vec<f64> = (0..103).map(|i| f64::from(i * 37 % 103)).chain([f64::NAN]).collect();
        let bins = bins(&values, 7).unwrap();
        assert_eq!(bins.len(), 7);
        let mut stars: Vec<usize> = bins.iter().flat_map(|bin| bin.stars.clone()).collect();
        assert!(bins.iter().all(|bin| (14..=15).contains(&bin.stars.len())));
        stars.sort_unstable();
        assert_eq!(stars, (0..103).collect::<Vec<_>>());
        assert!(bins.windows(2).all(|pair| pair[0].high == pair[1].low && pair[0].centre < pair[1].centre));
        for bin in &bins {
            assert!(bin.stars.iter().all(|star| (bin.low..=bin.high).contains(&values[*star])));
        }
    }

    #[test]
    fn few_stars_make_few_bins_and_equal_ones_none() {
        let count = |values: &[f64]| bins(values, 7).map(|bins| bins.len());
        let values = |n: u32| (0..n).map(f64::from).collect::<Vec<f64>>();
        assert_eq!(count(&[100.0; 50]), None);
        assert_eq!(count(&[f64::NAN; 50]), None);
        assert_eq!(count(&[]), None);
        assert_eq!((count(&[1.0, 2.0]), count(&values(19)), count(&values(20))), (None, None, Some(2)));
        let mostly_equal: Vec<f64> = (0..100).map(|i| if i < 70 { 1.0 } else { f64::from(i) }).collect();
        assert_eq!(count(&mostly_equal), Some(3));
    }

    #[test]
    fn a_scatter_that_grows_with_the_label_is_seen_to_grow() {
        // Stars lie along the label; their errors grow from 0 to 20 times the noise's.
        let noise = noise(700, 0);
        let growing: Vec<f64> = noise.iter().enumerate().map(|(star, value)| star as f64 / 35.0 * value).collect();
        let comparison = compared(&[growing, noise.iter().map(|value| value + 5.0).collect()]);
        let names: Vec<&str> = comparison.dependence.iter().map(|of| of.against.as_str()).collect();
        assert_eq!(names, ["snr", "teff"]);
        let [growing, flat] = &comparison.dependence[1].errors[0][..] else { panic!() };
        // A uniform distribution of width w has a MAD of w / 4.
        // The widths in the first bins differ most; 100 stars tell a MAD to 10%.
        for (bin, error) in growing.iter().enumerate().skip(1) {
            let expected = 1.4826 / 4.0 * 20.0 * (bin as f64 + 0.5) / 7.0;
            assert!((error.robust_scatter / expected - 1.0).abs() < 0.3, "{bin}: {error:?}");
            let (low, high) = error.robust_scatter_interval;
            assert!(low < error.robust_scatter && error.robust_scatter < high);
        }
        assert!(flat.iter().all(|error| (error.bias - 5.0).abs() < 0.2 && (error.robust_scatter - 0.37).abs() < 0.12));
        let columns = columns(&comparison.dependence, &comparison.models, &comparison.labels);
        assert!(columns.iter().all(|column| column.len() == 2 * 2 * 7));
    }
}
