//! Model stars for an anchor: labels like those of the survey's stars, and everything else as stars like them have it.

use nalgebra::DMatrix;
use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng, RngExt};

use super::cannon_config::AnchorSettings;
use super::payne_checkpoint::TrainedPayne;
use crate::error::{Error, Result};
use crate::spectra::labels::emulator_input;

/// The library reaches beyond the survey's labels by this share of their range on either side, and by so many of them over the root
/// of the number of stars: few stars do not show how far labels go.
const MARGIN: [f64; 2] = [0.2, 2.0];
/// Fewer model stars in that range do not tell what is usual there.
const FEWEST_MODELS: usize = 200;
/// Models next to one in their labels. A star lies between it and one of the first `BETWEEN` of them, which come in no order, and
/// has what labels leave open from any of them.
const NEIGHBOURS: usize = 40;
const BETWEEN: usize = 20;

/// Inputs of an emulator, and what a Cannon sees of them.
pub(super) struct AnchorLibrary {
    /// All inputs in their own units, [n_spectra, n_inputs].
    pub inputs: Array2<f64>,
    /// Labels among them, [n_spectra, n_labels].
    pub labels: Array2<f64>,
    /// Hidden labels, [n_spectra, n_hidden]: how far from what is usual at the labels, without correlation and of variance 1.
    pub hidden: Array2<f64>,
}

impl AnchorLibrary {
    /// Draws stars from those that taught an emulator.
    ///
    /// # Errors
    /// [`Error::Config`] if it does not know the labels, or stars like these.
    pub fn draw(
        emulator: &TrainedPayne,
        settings: &AnchorSettings,
        label_names: &[String],
        labels: ArrayView2<f64>,
        random: &mut impl Rng,
    ) -> Result<Self> {
        let models = Models::like(emulator, label_names, labels)?;
        let of_labels = &models.of_labels;
        let of_hidden = positions(&emulator.scaler.names, &settings.hidden)?;
        let of_hidden: Vec<usize> = of_hidden.into_iter().filter(|hidden| !of_labels.contains(hidden)).collect();
        let inputs = models.draw(settings.spectra, random);
        let (labels, hidden) = models.seen(&inputs, &of_hidden)?;
        Ok(Self { inputs, labels, hidden })
    }
}

/// Where some inputs of an emulator stand among the names of all.
pub(super) fn positions(names: &[String], inputs: &[String]) -> Result<Vec<usize>> {
    let position = |name: &String| {
        let input = emulator_input(name);
        names
            .iter()
            .position(|known| known.eq_ignore_ascii_case(&input))
            .ok_or_else(|| Error::Config(format!("the emulator has no input `{name}`; it has {}", names.join(", "))))
    };
    inputs.iter().map(position).collect()
}

/// Model stars that taught the emulator.
pub(super) struct Models {
    /// Inputs, scaled, [n_models, n_inputs].
    scaled: DMatrix<f64>,
    /// Positions of labels among the inputs.
    of_labels: Vec<usize>,
    /// What is usual: inputs as linear functions of the labels, [1 + n_labels, n_inputs].
    slopes: DMatrix<f64>,
    /// How far the models are from it, scaled, [n_models, n_inputs].
    residuals: DMatrix<f64>,
    pivot: Vec<f64>,
    scale: Vec<f64>,
}

impl Models {
    /// Those within the range of some stars' labels, [n_stars, n_labels], or not far beyond.
    ///
    /// # Errors
    /// [`Error::Config`] if the emulator does not know the labels, or stars like these.
    pub fn like(emulator: &TrainedPayne, label_names: &[String], labels: ArrayView2<f64>) -> Result<Self> {
        let of_labels = positions(&emulator.scaler.names, label_names)?;
        let margin = MARGIN[0] + MARGIN[1] / (labels.nrows().max(1) as f64).sqrt();
        let reach: Vec<(f64, f64)> = labels
            .columns()
            .into_iter()
            .map(|column| {
                let (low, high) =
                    (column.fold(f64::INFINITY, |a, b| a.min(*b)), column.fold(f64::NEG_INFINITY, |a, b| a.max(*b)));
                (low - margin * (high - low), high + margin * (high - low))
            })
            .collect();
        let scaled = emulator.scaler.scale(emulator.training_inputs.view());
        let is_near = |row: &usize| {
            let model = emulator.training_inputs.row(*row);
            of_labels.iter().zip(&reach).all(|(label, (low, high))| (*low..=*high).contains(&model[*label]))
        };
        let rows: Vec<usize> = (0..scaled.nrows()).filter(is_near).collect();
        if rows.len() < FEWEST_MODELS {
            let names = of_labels.iter().zip(&reach);
            let words: Vec<String> = names
                .map(|(label, (low, high))| format!("{} {low:.2} to {high:.2}", emulator.scaler.names[*label]))
                .collect();
            return Err(Error::Config(format!(
                "the emulator learned from {} models with {}; {FEWEST_MODELS} are needed: narrow the selection to stars \
                 that it knows",
                rows.len(),
                words.join(", ")
            )));
        }
        let near = DMatrix::from_fn(rows.len(), scaled.ncols(), |row, input| scaled[[rows[row], input]]);
        let slopes = linear(&near, &of_labels)
            .ok_or_else(|| Error::Config("labels of the emulator's models follow from each other".into()))?;
        let residuals = &near - with_constant(&near, &of_labels) * &slopes;
        let (pivot, scale) = (emulator.scaler.pivot.clone(), emulator.scaler.scale.clone());
        Ok(Self { scaled: near, of_labels, slopes, residuals, pivot, scale })
    }

    /// Scaled inputs that are usual at the labels of some stars, [n_stars, n_inputs].
    fn usual(&self, scaled: &DMatrix<f64>) -> DMatrix<f64> {
        with_constant(scaled, &self.of_labels) * &self.slopes
    }

    /// So many models next to one in their labels, in no order.
    fn next_to(&self, model: usize, count: usize) -> Vec<usize> {
        let distance = |other: usize| -> f64 {
            self.of_labels.iter().map(|l| (self.scaled[(model, *l)] - self.scaled[(other, *l)]).powi(2)).sum()
        };
        let mut order: Vec<(f64, usize)> = (0..self.scaled.nrows()).map(|other| (distance(other), other)).collect();
        let count = count.min(order.len() - 1);
        order.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0));
        order.truncate(count);
        order.into_iter().map(|(_, model)| model).collect()
    }

    /// Inputs of stars between them, in their own units, [n_stars, n_inputs].
    pub fn draw(&self, n_stars: usize, random: &mut impl Rng) -> Array2<f64> {
        let (n_models, n_inputs) = self.scaled.shape();
        // Within what the emulator has seen.
        let seen: Vec<(f64, f64)> = self.scaled.column_iter().map(|input| (input.min(), input.max())).collect();
        let mut drawn = DMatrix::zeros(n_stars, n_inputs);
        for star in 0..n_stars {
            let model = random.random_range(0..n_models);
            let near = self.next_to(model, NEIGHBOURS);
            let other = near[random.random_range(0..near.len().min(BETWEEN))];
            let share = random.random_range(0.0..1.0);
            for &label in &self.of_labels {
                let (a, b) = (self.scaled[(model, label)], self.scaled[(other, label)]);
                drawn[(star, label)] = a + share * (b - a);
            }
            let lender = near[random.random_range(0..near.len())];
            let usual = self.usual(&drawn.rows(star, 1).into_owned());
            for input in (0..n_inputs).filter(|input| !self.of_labels.contains(input)) {
                let (low, high) = seen[input];
                drawn[(star, input)] = (usual[(0, input)] + self.residuals[(lender, input)]).clamp(low, high);
            }
        }
        Array2::from_shape_fn((n_stars, n_inputs), |(star, input)| {
            self.pivot[input] + self.scale[input] * drawn[(star, input)]
        })
    }

    /// Labels among the inputs of some stars, [n_stars, n_labels].
    pub fn labels(&self, inputs: &Array2<f64>) -> Array2<f64> {
        inputs.select(Axis(1), &self.of_labels)
    }

    /// Labels and hidden labels of some stars.
    fn seen(&self, inputs: &Array2<f64>, of_hidden: &[usize]) -> Result<(Array2<f64>, Array2<f64>)> {
        let (labels, of_labels) = (self.labels(inputs), &self.of_labels);
        let scaled = DMatrix::from_fn(inputs.nrows(), inputs.ncols(), |star, input| {
            (inputs[[star, input]] - self.pivot[input]) / self.scale[input]
        });
        let slopes = linear(&scaled, of_labels);
        let slopes =
            slopes.ok_or_else(|| Error::Config("anchor: labels of the library follow from each other".into()))?;
        let unusual = (&scaled - with_constant(&scaled, of_labels) * slopes).select_columns(of_hidden);
        let covariance = unusual.transpose() * &unusual / inputs.nrows() as f64;
        let factor = covariance.cholesky().ok_or_else(|| {
            Error::Config("anchor: one of anchor.hidden follows from the others or never varies; leave it out".into())
        })?;
        let whitened =
            factor.l().solve_lower_triangular(&unusual.transpose()).expect("a Cholesky factor is not singular");
        Ok((labels, Array2::from_shape_fn((inputs.nrows(), of_hidden.len()), |(star, k)| whitened[(k, star)])))
    }
}

/// Some columns behind a constant, [n_rows, 1 + n_columns].
fn with_constant(matrix: &DMatrix<f64>, columns: &[usize]) -> DMatrix<f64> {
    matrix.select_columns(columns).insert_column(0, 1.0)
}

/// Every column as a linear function of some, [1 + n_columns, n_all]; none where these follow from each other.
fn linear(matrix: &DMatrix<f64>, columns: &[usize]) -> Option<DMatrix<f64>> {
    let design = with_constant(matrix, columns);
    Some((design.transpose() * &design).cholesky()?.solve(&(design.transpose() * matrix)))
}
