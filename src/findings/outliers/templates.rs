//! What a template added to the model would explain of many stars' residuals, the labels free to follow it.
//!
//! For residuals r of weight w, templates t and nuisances g (the gradient spectra of the labels, and more):
//!
//! ```text
//! a = t' w r / t' w t',   gain = (t' w r)^2 / t' w t',   t' = t - the part of t that the g can imitate
//! ```
//!
//! The gain is what chi^2 falls by when the template enters with its best amplitude a and the labels are fitted again, to
//! first order in them. Everything is a matrix product over all pixels; the systems left are tiny.

use burn::tensor::Tensor;
use ndarray::Array2;

use crate::device::{Compute, to_f64};
use crate::inference::solve::solve;

/// What the labels and other nuisances of several stars can imitate.
#[derive(Debug, Clone)]
pub(super) struct Nuisances {
    /// The nuisances' spectra, [n_stars, n_nuisances, n_pixels].
    spectra: Tensor<3>,
    /// sum w g g, [n_stars, n_nuisances, n_nuisances], on [`Compute::small_systems`].
    with_itself: Tensor<3>,
    /// sum w r g, [n_stars, n_nuisances, 1], there.
    with_residual: Tensor<3>,
}

/// Templates of several stars in sums over pixels, all on [`Compute::small_systems`].
struct Sums {
    /// sum w r t, [n_stars, n_templates, 1].
    with_residual: Tensor<3>,
    /// sum w t g, [n_stars, n_templates, n_nuisances].
    with_nuisances: Tensor<3>,
}

/// Shifts of a spectrum on a grid of which some pixels are known.
pub(super) struct Shifts {
    /// To longer wavelengths [pixels].
    pub by: Vec<isize>,
    /// 1 where the copy is known, 0 elsewhere, [n_shifts, n_pixels].
    known: Tensor<2>,
}

impl Shifts {
    /// On a grid whose known pixels are 1 and all others 0, [1, n_pixels].
    pub(super) fn new(by: Vec<isize>, valid: &Tensor<2>) -> Self {
        let mut shifts = Self { by, known: valid.clone() };
        shifts.known = shifts.copies(valid);
        shifts
    }

    /// One spectrum, [1, n_pixels], moved by each shift, [n_shifts, n_pixels]; 0 moves in.
    fn copies(&self, spectrum: &Tensor<2>) -> Tensor<2> {
        let n_pixels = spectrum.dims()[1];
        let reach = self.by.iter().map(|by| by.unsigned_abs()).max().unwrap_or_default();
        let nothing = Tensor::zeros([1, reach], (&spectrum.device(), spectrum.dtype()));
        let padded = Tensor::cat(vec![nothing.clone(), spectrum.clone(), nothing], 1);
        let copy = |by: &isize| padded.clone().narrow(1, reach.saturating_add_signed(-by), n_pixels);
        Tensor::cat(self.by.iter().map(copy).collect(), 0)
    }
}

/// The gain in chi^2 of each template alone, and its amplitude; 0 where a template is empty or imitated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gains {
    /// [n_stars, n_templates]
    pub gain: Array2<f64>,
    /// [n_stars, n_templates]
    pub amplitude: Array2<f64>,
}

/// The best of a star's templates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Best {
    pub index: usize,
    pub gain: f64,
    pub amplitude: f64,
}

impl Nuisances {
    /// From the nuisances' spectra, [n_stars, n_nuisances, n_pixels], and weight and residual, [n_stars, n_pixels].
    pub(super) fn new(spectra: Tensor<3>, weight: &Tensor<2>, residual: &Tensor<2>) -> Self {
        let small = Compute::small_systems();
        let weighted = spectra.clone() * weight.clone().unsqueeze_dim(1);
        let with_itself = small.bring(weighted.clone().matmul(spectra.clone().swap_dims(1, 2)));
        let with_residual = small.bring(weighted.matmul(residual.clone().unsqueeze_dim(2)));
        Self { spectra, with_itself, with_residual }
    }

    /// Of templates that all stars share, [n_templates, n_pixels].
    pub(super) fn gains_of_shared(&self, templates: &Tensor<2>, weight: &Tensor<2>, residual: &Tensor<2>) -> Gains {
        let small = Compute::small_systems();
        let [n_stars, n_nuisances, n_pixels] = self.spectra.dims();
        let n_templates = templates.dims()[0];
        let across = templates.clone().transpose();
        let with_residual = small.bring((weight.clone() * residual.clone()).matmul(across.clone()));
        let with_itself = small.bring(weight.clone().matmul(across.clone() * across.clone()));
        let weighted = self.spectra.clone() * weight.clone().unsqueeze_dim(1);
        let with_nuisances = small.bring(weighted.reshape([n_stars * n_nuisances, n_pixels]).matmul(across));
        let sums = Sums {
            with_residual: with_residual.reshape([n_stars, n_templates, 1]),
            with_nuisances: with_nuisances.reshape([n_stars, n_nuisances, n_templates]).swap_dims(1, 2),
        };
        self.gains(sums, with_itself.reshape([n_stars, n_templates, 1]))
    }

    /// Of each star's own spectrum, [n_stars, n_pixels], moved by some pixels, less the spectrum itself; in pixels that both know.
    /// Spectrum and weight are 0 where the model knows nothing.
    ///
    /// With copies m_s and k_s = 1 where a copy is known, `sum w x (m_s - m k_s) = sum w x m_s - sum (w x m) k_s`: templates
    /// are never made, copies serve every sum, and what they know is the same for all stars.
    pub(super) fn gains_of_shifts(
        &self,
        spectrum: &Tensor<2>,
        shifts: &Shifts,
        weight: &Tensor<2>,
        residual: &Tensor<2>,
    ) -> Gains {
        let small = Compute::small_systems();
        let [n_stars, n_nuisances, n_pixels] = self.spectra.dims();
        let n_shifts = shifts.by.len();
        let row = |matrix: &Tensor<2>| matrix.clone().unsqueeze_dim::<3>(1);
        // The residual, the nuisances and the spectrum itself, weighted.
        let n_others = n_nuisances + 2;
        let others = Tensor::cat(vec![row(residual), self.spectra.clone(), row(spectrum)], 1) * row(weight);
        let flat = (others.clone() * row(spectrum)).reshape([n_stars * n_others, n_pixels]);
        let of_itself = small.bring(flat.matmul(shifts.known.clone().transpose()));
        let of_itself = of_itself.reshape([n_stars, n_others, n_shifts]).swap_dims(1, 2);
        let of_copies = (0..n_stars).map(|star| {
            let copies = shifts.copies(&spectrum.clone().narrow(0, star, 1));
            let others = others.clone().narrow(0, star, 1).squeeze_dim::<2>(0);
            let weight = weight.clone().narrow(0, star, 1);
            let squares = copies.clone().square().matmul(weight.transpose());
            Tensor::cat(vec![copies.matmul(others.transpose()), squares], 1).unsqueeze_dim::<3>(0)
        });
        let of_copies = small.bring(Tensor::cat(of_copies.collect(), 0));
        let squares = of_copies.clone().narrow(2, n_others, 1);
        let difference = of_copies.narrow(2, 0, n_others) - of_itself.clone();
        let with_spectrum = difference.clone().narrow(2, n_others - 1, 1);
        let sums = Sums {
            with_residual: difference.clone().narrow(2, 0, 1),
            with_nuisances: difference.narrow(2, 1, n_nuisances),
        };
        // sum w (m_s - m k_s)^2 = sum w m_s^2 - sum w m m_s - (sum w m m_s - sum w m^2 k_s)
        let across = with_spectrum.clone() + of_itself.narrow(2, n_others - 1, 1);
        self.gains(sums, squares - across - with_spectrum)
    }

    /// The gain of all of a star's own templates together, `[n_stars]`.
    pub(super) fn joint_gain(&self, templates: Tensor<3>, weight: &Tensor<2>, residual: &Tensor<2>) -> Vec<f64> {
        let small = Compute::small_systems();
        let weighted = templates.clone() * weight.clone().unsqueeze_dim(1);
        let with_itself = small.bring(weighted.clone().matmul(templates.swap_dims(1, 2)));
        let sums = self.sums(weighted, residual);
        let (imitated, score) = self.project(&sums);
        let left = with_itself.clone() - sums.with_nuisances.matmul(imitated);
        // A ridge far below the data keeps templates that nuisances imitate, or that have no pixel, from blowing up.
        let [n_stars, n, _] = left.dims();
        let identity: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect();
        let identity = small.tensor(&identity, [1, n, n]);
        let diagonal = (with_itself * identity.clone()).sum_dim(2);
        let ridge = identity.repeat(&[n_stars, 1, 1]) * diagonal * RIDGE;
        let amplitudes = solve(left + ridge, score.clone());
        to_f64((score * amplitudes).sum_dim(1))
    }

    fn sums(&self, weighted: Tensor<3>, residual: &Tensor<2>) -> Sums {
        let small = Compute::small_systems();
        Sums {
            with_residual: small.bring(weighted.clone().matmul(residual.clone().unsqueeze_dim(2))),
            with_nuisances: small.bring(weighted.matmul(self.spectra.clone().swap_dims(1, 2))),
        }
    }

    /// A^-1 C^T, [n_stars, n_nuisances, n_templates], and the score t' w r, [n_stars, n_templates, 1].
    fn project(&self, sums: &Sums) -> (Tensor<3>, Tensor<3>) {
        let [_, n_templates, _] = sums.with_nuisances.dims();
        let across = Tensor::cat(vec![sums.with_nuisances.clone().swap_dims(1, 2), self.with_residual.clone()], 2);
        let solved = solve(self.with_itself.clone(), across);
        let of_residual = solved.clone().narrow(2, n_templates, 1);
        let score = sums.with_residual.clone() - sums.with_nuisances.clone().matmul(of_residual);
        (solved.narrow(2, 0, n_templates), score)
    }

    /// `with_itself` is sum w t t, [n_stars, n_templates, 1].
    fn gains(&self, sums: Sums, with_itself: Tensor<3>) -> Gains {
        let [n_stars, n_templates, _] = with_itself.dims();
        let (imitated, score) = self.project(&sums);
        let explained = (sums.with_nuisances * imitated.swap_dims(1, 2)).sum_dim(2);
        let [whole, explained, score] = [with_itself, explained, score].map(to_f64);
        let shape = (n_stars, n_templates);
        let mut gains = Gains { gain: Array2::zeros(shape), amplitude: Array2::zeros(shape) };
        for star in 0..n_stars {
            for template in 0..n_templates {
                let index = star * n_templates + template;
                let left = whole[index] - explained[index];
                if left > RIDGE * whole[index] && left > 0.0 && score[index].is_finite() {
                    gains.gain[[star, template]] = score[index] * score[index] / left;
                    gains.amplitude[[star, template]] = score[index] / left;
                }
            }
        }
        gains
    }
}

/// What is left of a template below this part of it is rounding: the products are made in f32.
const RIDGE: f64 = 1e-4;

impl Gains {
    /// A star's template of highest gain among those allowed; none without one.
    pub(super) fn best(&self, star: usize, allowed: impl Fn(usize, f64) -> bool) -> Option<Best> {
        (0..self.gain.ncols())
            .filter(|index| allowed(*index, self.amplitude[[star, *index]]))
            .max_by(|a, b| self.gain[[star, *a]].total_cmp(&self.gain[[star, *b]]))
            .map(|index| Best { index, gain: self.gain[[star, index]], amplitude: self.amplitude[[star, index]] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use nalgebra::{DMatrix, DVector};

    const PIXELS: usize = 40;

    /// Numbers between -1 and 1 without a pattern.
    fn wave(i: usize, j: usize) -> f64 {
        2.0 * (((i * PIXELS + j) as f64 * 1.37).sin() * 4_375.85).fract().abs() - 1.0
    }

    /// chi^2 left after weighted least squares of the residual on these columns.
    fn chi2_left(columns: &[Vec<f64>], weight: &[f64], residual: &[f64]) -> f64 {
        let root = DVector::from_iterator(PIXELS, weight.iter().map(|w| w.sqrt()));
        let y = DVector::from_iterator(PIXELS, residual.iter().copied()).component_mul(&root);
        let x = DMatrix::from_fn(PIXELS, columns.len(), |j, k| columns[k][j] * root[j]);
        let solution = x.clone().svd(true, true).solve(&y, 1e-12).unwrap();
        (y - x * solution).norm_squared()
    }

    #[test]
    fn gains_are_those_of_least_squares_with_the_labels_fitted_again() {
        let compute = Compute::flex(Precision::F64);
        let row = |i: usize| (0..PIXELS).map(|j| wave(i, j)).collect::<Vec<f64>>();
        let nuisances = [row(1), row(2)];
        let templates = [row(3), row(4), row(5)];
        // Two stars with residuals and weights of their own, some pixels masked.
        let residuals = [row(6), row(7)];
        let weights = [0, 1]
            .map(|n| (0..PIXELS).map(|j| if (j + n) % 5 == 0 { 0.0 } else { 2.0 + wave(8, j) }).collect::<Vec<_>>());
        let flat = |rows: &[Vec<f64>]| rows.concat();
        let both = |rows: &[Vec<f64>]| [flat(rows), flat(rows)].concat();
        let weight = compute.tensor(&flat(&weights), [2, PIXELS]);
        let residual = compute.tensor(&flat(&residuals), [2, PIXELS]);
        let known = Nuisances::new(compute.tensor(&both(&nuisances), [2, 2, PIXELS]), &weight, &residual);
        let shared = known.gains_of_shared(&compute.tensor(&flat(&templates), [3, PIXELS]), &weight, &residual);
        let joint = known.joint_gain(compute.tensor(&both(&templates), [2, 3, PIXELS]), &weight, &residual);
        for star in 0..2 {
            let left = |extra: &[Vec<f64>]| {
                chi2_left(&[nuisances.as_slice(), extra].concat(), &weights[star], &residuals[star])
            };
            for template in 0..3 {
                let expected = left(&[]) - left(&templates[template..=template]);
                assert!((shared.gain[[star, template]] - expected).abs() < 1e-9 * (1.0 + expected));
            }
            // The ridge costs up to its own size.
            let expected = left(&[]) - left(&templates);
            assert!((joint[star] / expected - 1.0).abs() < 1e-3, "{} {expected}", joint[star]);
            let best = shared.best(star, |_, amplitude| amplitude.is_finite()).unwrap();
            assert!((0..3).all(|template| shared.gain[[star, template]] <= best.gain));
        }
    }

    #[test]
    fn gains_of_shifts_are_those_of_the_templates_written_out() {
        let compute = Compute::flex(Precision::F64);
        let row = |i: usize| (0..PIXELS).map(|j| wave(i, j)).collect::<Vec<f64>>();
        let by = [-7, 3, 100];
        let is_known = |pixel: usize| pixel != 11 && pixel != 30;
        let valid: Vec<f64> = (0..PIXELS).map(|j| f64::from(u8::from(is_known(j)))).collect();
        let masked = |row: Vec<f64>| row.iter().zip(&valid).map(|(value, valid)| value * valid).collect::<Vec<f64>>();
        let (spectra, nuisances) = ([masked(row(1)), masked(row(2))], [row(3), row(4)]);
        let (residuals, weights) = ([row(5), row(6)], [7, 8].map(|i| masked(row(i).iter().map(|v| 2.0 + v).collect())));
        let flat = |rows: &[Vec<f64>]| compute.tensor(&rows.concat(), [2, PIXELS]);
        let (weight, residual) = (flat(&weights), flat(&residuals));
        let both = [nuisances.concat(), nuisances.concat()].concat();
        let known = Nuisances::new(compute.tensor(&both, [2, 2, PIXELS]), &weight, &residual);
        let shifts = Shifts::new(by.to_vec(), &compute.tensor(&valid, [1, PIXELS]));
        let gains = known.gains_of_shifts(&flat(&spectra), &shifts, &weight, &residual);
        for star in 0..2 {
            let left = |extra: &[Vec<f64>]| {
                chi2_left(&[nuisances.as_slice(), extra].concat(), &weights[star], &residuals[star])
            };
            for (index, by) in by.iter().enumerate() {
                let template = |pixel: usize| {
                    let from = pixel.checked_add_signed(-by).filter(|from| *from < PIXELS && is_known(*from));
                    from.map_or(0.0, |from| valid[pixel] * (spectra[star][from] - spectra[star][pixel]))
                };
                let expected = left(&[]) - left(&[(0..PIXELS).map(template).collect()]);
                assert!((gains.gain[[star, index]] - expected).abs() < 1e-9 * (1.0 + expected), "{star} {by}");
            }
            assert_eq!(gains.gain[[star, 2]], 0.0, "moved off the grid");
        }
    }

    #[test]
    fn a_template_that_the_labels_imitate_or_that_is_masked_gains_nothing() {
        let compute = Compute::flex(Precision::F32);
        let row = |i: usize| (0..PIXELS).map(|j| wave(i, j)).collect::<Vec<f64>>();
        let weight = Tensor::<2>::ones([1, PIXELS], (compute.device(), compute.dtype()));
        let residual = compute.tensor(&row(6), [1, PIXELS]);
        let known = Nuisances::new(compute.tensor(&row(1), [1, 1, PIXELS]), &weight, &residual);
        let templates: Vec<f64> = row(1).iter().map(|value| 3.0 * value).chain(vec![0.0; PIXELS]).collect();
        let gains = known.gains_of_shared(&compute.tensor(&templates, [2, PIXELS]), &weight, &residual);
        assert_eq!(gains.gain.row(0).to_vec(), [0.0, 0.0]);
        let masked = weight * 0.0;
        let known = Nuisances::new(compute.tensor(&row(1), [1, 1, PIXELS]), &masked, &residual);
        let own = compute.tensor(&row(3), [1, PIXELS]);
        let shifts = Shifts::new(vec![2], &Tensor::ones([1, PIXELS], (compute.device(), compute.dtype())));
        assert_eq!(known.gains_of_shifts(&own, &shifts, &masked, &residual).gain[[0, 0]], 0.0);
        assert_eq!(known.joint_gain(own.unsqueeze_dim(1), &masked, &residual), [0.0]);
    }
}
