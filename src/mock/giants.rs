//! Who the stars are: labels as DR17 has them, and the many inputs of a spectrum that five labels do not tell.

use nalgebra::DMatrix;

use super::emulator::Emulator;
use super::random::Random;
use crate::error::{Error, Result};

/// Teff, log g, [Fe/H], [alpha/M] of real giants; see `assets/README.md`.
const GIANTS: &str = include_str!("../../assets/dr17_giant_labels.csv");
/// Labels that the catalogue knows; the emulator's inputs begin with these.
pub(super) const N_LABELS: usize = 5;
/// Between the stars of the list: Teff [K], log g, [Fe/H], [alpha/M] [dex].
const KERNEL: [f64; 4] = [15.0, 0.03, 0.02, 0.008];
/// [Mg/Fe] and [Si/Fe] from [alpha/Fe]: offset, slope, scatter [dex]. Least squares over the 1116 models of the
/// emulator's library that follow the density of real giants, with [alpha/Fe] the mean over O, Mg, Si, S, Ca and Ti; the
/// residuals of the two are uncorrelated (r = -0.02).
const MAGNESIUM: [f64; 3] = [-0.001, 1.273, 0.035];
const SILICON: [f64; 3] = [0.007, 0.996, 0.035];
/// Nearest models of the library that may lend a star their peculiarities.
const N_NEIGHBOURS: usize = 40;

/// The population that stars are drawn from.
pub(super) struct Giants {
    real: Vec<[f64; 4]>,
    /// Smallest and largest value of every input in the library.
    range: Vec<(f64, f64)>,
    /// Labels of the library, each label with mean 0 and variance 1, and what makes them so.
    scaled: Vec<[f64; N_LABELS]>,
    pivot: [f64; N_LABELS],
    scale: [f64; N_LABELS],
    /// Linear dependence of the other inputs on the scaled labels, [1 + labels, other inputs].
    slopes: DMatrix<f64>,
    /// What the linear dependence leaves of each model, [models, other inputs].
    residuals: DMatrix<f64>,
}

impl Giants {
    /// The population of the emulator's library.
    pub(super) fn new(emulator: &Emulator) -> Result<Self> {
        let library = emulator.library();
        let column = |input: usize| library.column(input).to_vec();
        let range = (0..library.ncols())
            .map(|input| {
                let fold = |start: f64, pick: fn(f64, f64) -> f64| column(input).into_iter().fold(start, pick);
                (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
            })
            .collect();
        let n = library.nrows() as f64;
        let pivot: [f64; N_LABELS] = std::array::from_fn(|label| library.column(label).sum() / n);
        let scale: [f64; N_LABELS] = std::array::from_fn(|label| {
            (library.column(label).iter().map(|value| (value - pivot[label]).powi(2)).sum::<f64>() / n).sqrt()
        });
        let scaled: Vec<[f64; N_LABELS]> = library
            .rows()
            .into_iter()
            .map(|row| std::array::from_fn(|label| (row[label] - pivot[label]) / scale[label]))
            .collect();
        let design = DMatrix::from_fn(library.nrows(), 1 + N_LABELS, |row, term| match term {
            0 => 1.0,
            term => scaled[row][term - 1],
        });
        let others = DMatrix::from_fn(library.nrows(), library.ncols() - N_LABELS, |row, input| {
            library[[row, N_LABELS + input]]
        });
        let normal = (design.transpose() * &design).cholesky();
        let normal = normal.ok_or_else(|| Error::Config("the emulator's library has labels that never vary".into()))?;
        let slopes = normal.solve(&(design.transpose() * &others));
        let residuals = others - design * &slopes;
        Ok(Self { real: read_giants()?, range, scaled, pivot, scale, slopes, residuals })
    }

    /// Smallest and largest value of an input that the emulator was trained on.
    pub(super) fn range(&self, input: usize) -> (f64, f64) {
        self.range[input]
    }

    /// All inputs of a giant. Of two candidates the more metal-poor is taken with probability `metal_poor`.
    pub(super) fn draw(&self, metal_poor: f64, random: &mut Random) -> Vec<f64> {
        let candidates = [0, 1].map(|_| self.real[random.below(self.real.len())]);
        let poorer = usize::from(candidates[1][2] < candidates[0][2]);
        let chosen = if random.chance(metal_poor) { poorer } else { 1 - poorer };
        let [teff, logg, fe_h, alpha] = std::array::from_fn(|k| candidates[chosen][k] + KERNEL[k] * random.normal());
        let over_iron = |[offset, slope, scatter]: [f64; 3], random: &mut Random| {
            offset + slope * alpha + scatter * random.normal()
        };
        let labels = [teff, logg, fe_h, over_iron(MAGNESIUM, random), over_iron(SILICON, random)];
        self.complete(labels, random)
    }

    /// All inputs of a star with these labels: the rest as stars like it have it. Everything is kept within the library.
    pub(super) fn complete(&self, labels: [f64; N_LABELS], random: &mut Random) -> Vec<f64> {
        let labels: [f64; N_LABELS] = std::array::from_fn(|k| labels[k].clamp(self.range[k].0, self.range[k].1));
        let scaled: [f64; N_LABELS] = std::array::from_fn(|k| (labels[k] - self.pivot[k]) / self.scale[k]);
        let distance = |model: &[f64; N_LABELS]| -> f64 {
            model.iter().zip(&scaled).map(|(model, star)| (model - star).powi(2)).sum()
        };
        let mut order: Vec<(f64, usize)> =
            self.scaled.iter().enumerate().map(|(row, model)| (distance(model), row)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        // One model's peculiarities together: they keep their correlations, and their shapes that are not Gaussian.
        let (_, model) = order[random.below(N_NEIGHBOURS.min(order.len()))];
        let others = (0..self.slopes.ncols()).map(|input| {
            let linear: f64 = (0..N_LABELS).map(|k| self.slopes[(1 + k, input)] * scaled[k]).sum();
            let (low, high) = self.range[N_LABELS + input];
            (self.slopes[(0, input)] + linear + self.residuals[(model, input)]).clamp(low, high)
        });
        labels.into_iter().chain(others).collect()
    }
}

fn read_giants() -> Result<Vec<[f64; 4]>> {
    let row = |line: &str| {
        let numbers: Vec<f64> = line.split(',').filter_map(|number| number.parse().ok()).collect();
        let row: Result<[f64; 4], _> = numbers.try_into();
        row.map_err(|_| Error::Config(format!("assets/dr17_giant_labels.csv: `{line}` is not four numbers")))
    };
    GIANTS.lines().skip(1).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::robust::{mean, median, standard_deviation};

    #[test]
    fn stars_follow_the_list_and_stay_within_the_library() {
        let giants = Giants::new(&Emulator::shipped().unwrap()).unwrap();
        let mut random = Random::new(5, 0);
        let stars: Vec<Vec<f64>> = (0..4000).map(|_| giants.draw(0.5, &mut random)).collect();
        for star in &stars {
            for (input, value) in star.iter().enumerate() {
                let (low, high) = giants.range(input);
                assert!((low..=high).contains(value), "input {input}: {value}");
            }
        }
        let column = |k: usize| stars.iter().map(|star| star[k]).collect::<Vec<f64>>();
        for (k, tolerance) in [(0, 15.0), (1, 0.05), (2, 0.02)] {
            let real: Vec<f64> = giants.real.iter().map(|giant| giant[k]).collect();
            assert!((median(&column(k)) - median(&real)).abs() < tolerance, "label {k}");
        }
        // The red clump, which a list that is not a fair sample loses.
        let clump = stars.iter().filter(|star| (4500.0..4950.0).contains(&star[0]) && (2.25..2.75).contains(&star[1]));
        assert!((0.1..0.4).contains(&(clump.count() as f64 / 4000.0)));
        let poor: Vec<f64> = (0..1000).map(|_| giants.draw(0.9, &mut random)[2]).collect();
        assert!(mean(&poor) < mean(&column(2)) - 0.05);
    }

    #[test]
    fn what_labels_do_not_tell_scatters_as_in_the_library() {
        let emulator = Emulator::shipped().unwrap();
        let giants = Giants::new(&emulator).unwrap();
        let library = emulator.library();
        let mut random = Random::new(6, 0);
        // Stars with the labels of the library's models must have its other inputs' spread.
        let stars: Vec<Vec<f64>> = library
            .rows()
            .into_iter()
            .map(|model| giants.complete(std::array::from_fn(|k| model[k]), &mut random))
            .collect();
        for input in N_LABELS..library.ncols() {
            let drawn: Vec<f64> = stars.iter().map(|star| star[input]).collect();
            let there = library.column(input).to_vec();
            let ratio = standard_deviation(&drawn) / standard_deviation(&there);
            assert!((0.85..1.15).contains(&ratio), "{}: {ratio}", emulator.names()[input]);
        }
    }
}
