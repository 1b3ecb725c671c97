//! Few spectra of which many are sums: what a page carries in the place of every star's best fit.
//!
//! Best fits of a polynomial in five labels are sums of 21 spectra, exactly; those of a network are of some more, nearly.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use crate::data::page_bytes::PageBytes;

/// A sum may be wrong by so much of a pixel's noise.
const TOLERANCE: f32 = 0.05;

/// No sum need be nearer than this, as 32 bits hardly tell.
const LEAST_TOLERANCE: f32 = 1e-6;

/// Spectra that a star may add: the second makes up for the rounding of the first.
const MOST_OF_A_STAR: usize = 2;

/// Stars that are looked at at once.
const TOGETHER: usize = 32;

/// The spectra, found as stars come.
#[derive(Debug, Clone)]
pub struct SpectrumBasis {
    /// Each of length 1 before its numbers were rounded to 16 bits, [n_vectors, n_pixels].
    vectors: Array2<f32>,
    numbers: Vec<i16>,
    /// What one of the numbers of each means.
    steps: Vec<f32>,
    /// How many there may be.
    most: usize,
}

impl SpectrumBasis {
    /// None as yet, of at most so many.
    pub fn new(n_pixels: usize, most: usize) -> Self {
        Self { vectors: Array2::zeros((0, n_pixels)), numbers: Vec::new(), steps: Vec::new(), most }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Amounts of which each of some spectra is the sum, to a twentieth of the noise in every pixel: as many as were needed so far,
    /// later spectra being none of it; `None` where there would be too many, or where a spectrum is not finite.
    ///
    /// # Shapes
    /// - spectra, and the inverse variance of what they are beside, 0 = no information: `[n_stars, n_pixels]`
    pub fn add(&mut self, spectra: ArrayView2<f32>, ivar: ArrayView2<f32>) -> Vec<Option<Vec<f32>>> {
        // What the first stars need serves nearly all others, for whom it is one product of matrices.
        let [spectra, ivar] = [&spectra, &ivar].map(|rows| rows.axis_chunks_iter(Axis(0), TOGETHER));
        spectra.zip(ivar).flat_map(|(spectra, ivar)| self.add_some(spectra, ivar)).collect()
    }

    fn add_some(&mut self, spectra: ArrayView2<f32>, ivar: ArrayView2<f32>) -> Vec<Option<Vec<f32>>> {
        let finite = |row: ArrayView1<f32>| row.iter().all(|value| value.is_finite());
        let is_finite: Vec<bool> = spectra.rows().into_iter().map(finite).collect();
        let mut left = spectra.to_owned();
        (0..left.nrows()).filter(|star| !is_finite[*star]).for_each(|star| left.row_mut(star).fill(0.0));
        let n_before = self.len();
        let mut amounts = Array2::<f32>::zeros((left.nrows(), n_before));
        // The second time makes up for vectors that are not quite at right angles.
        for _ in 0..2 {
            let more = left.dot(&self.vectors.t());
            left -= &more.dot(&self.vectors);
            amounts += &more;
        }
        let mut found = Vec::with_capacity(left.nrows());
        for ((star, is_finite), mut rest) in is_finite.into_iter().enumerate().zip(left.rows_mut()) {
            let mut own = amounts.row(star).to_vec();
            own.resize(self.len(), 0.0);
            for vector in (n_before..self.len()).chain(n_before..self.len()) {
                own[vector] += take_out(&mut rest.view_mut(), self.vectors.row(vector));
            }
            let tolerance = tolerance(ivar.row(star));
            let is_near = |rest: ArrayView1<f32>| rest.iter().zip(&tolerance).all(|(rest, most)| rest.abs() <= *most);
            for _ in 0..MOST_OF_A_STAR {
                if is_near(rest.view()) || self.len() == self.most {
                    break;
                }
                self.push(rest.view());
                own.push(take_out(&mut rest.view_mut(), self.vectors.row(self.len() - 1)));
            }
            found.push((is_finite && is_near(rest.view())).then_some(own));
        }
        found
    }

    /// Adds the direction of a spectrum.
    fn push(&mut self, spectrum: ArrayView1<f32>) {
        let length = spectrum.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let largest = spectrum.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let step = (f64::from(largest) / length / f64::from(i16::MAX)) as f32;
        let number = |value: &f32| (f64::from(*value) / length / f64::from(step)).round() as i16;
        let numbers: Vec<i16> = spectrum.iter().map(number).collect();
        let vector: Array1<f32> = numbers.iter().map(|number| f32::from(*number) * step).collect();
        self.vectors.push(Axis(0), vector.view()).expect("all have the same pixels");
        self.numbers.extend(numbers);
        self.steps.push(step);
    }

    /// The sum of such amounts.
    pub fn sum(&self, amounts: &[f32]) -> Vec<f32> {
        let amounts = ArrayView1::from(amounts);
        amounts.dot(&self.vectors.slice(s![..amounts.len(), ..])).to_vec()
    }

    /// As a page carries the first of them: their steps, and the numbers of each.
    pub fn text(&self, n_vectors: usize) -> String {
        let numbers = &self.numbers[..n_vectors * self.vectors.ncols()];
        PageBytes::default().with_f32(self.steps[..n_vectors].iter().copied()).with_i16(numbers.iter().copied()).text()
    }
}

/// Takes what a vector has of a spectrum out of it; how much that was.
fn take_out(rest: &mut ndarray::ArrayViewMut1<f32>, vector: ArrayView1<f32>) -> f32 {
    let amount = rest.dot(&vector) / vector.dot(&vector);
    rest.scaled_add(-amount, &vector);
    amount
}

/// By how much a sum may be wrong: pixels without information are judged as the middle one of the others.
fn tolerance(ivar: ArrayView1<f32>) -> Vec<f32> {
    let mut known: Vec<f32> = ivar.iter().copied().filter(|ivar| *ivar > 0.0).collect();
    let middle = known.len() / 2;
    let usual = match known.is_empty() {
        true => f32::INFINITY,
        false => *known.select_nth_unstable_by(middle, f32::total_cmp).1,
    };
    let of_pixel = |ivar: &f32| (TOLERANCE / if *ivar > 0.0 { *ivar } else { usual }.sqrt()).max(LEAST_TOLERANCE);
    ivar.iter().map(of_pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of three waves.
    fn spectra(n_stars: usize, n_pixels: usize) -> Array2<f32> {
        Array2::from_shape_fn((n_stars, n_pixels), |(star, pixel)| {
            let (star, pixel) = (star as f32, pixel as f32);
            1.0 + 0.3 * (0.7 * star).sin() * (0.05 * pixel).cos() + 0.1 * (1.3 * star).cos() * (0.11 * pixel).sin()
        })
    }

    #[test]
    fn sums_of_three_are_found_and_told_to_a_twentieth_of_the_noise() {
        let (spectra, noise) = (spectra(60, 400), 0.002_f32);
        let mut ivar = Array2::from_elem(spectra.dim(), noise.powi(-2));
        ivar.slice_mut(s![.., 100..140]).fill(0.0);
        let mut basis = SpectrumBasis::new(400, 20);
        for stars in [0..25, 25..60] {
            let rows = s![stars.clone(), ..];
            let found = basis.add(spectra.slice(rows), ivar.slice(rows));
            for (amounts, star) in found.iter().zip(stars) {
                let sum = basis.sum(amounts.as_ref().unwrap());
                let worst = sum.iter().zip(spectra.row(star)).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(worst <= 0.05 * noise, "star {star}: {worst}");
            }
        }
        assert!((3..=6).contains(&basis.len()), "{}", basis.len());
    }

    #[test]
    fn a_spectrum_that_has_no_place_is_left_out_and_the_others_stay() {
        let mut mixed = spectra(6, 50);
        mixed[[1, 7]] = f32::NAN;
        mixed.row_mut(5).iter_mut().step_by(3).for_each(|flux| *flux += 0.2);
        let ivar = Array2::from_elem(mixed.dim(), 1e6);
        let mut basis = SpectrumBasis::new(50, 3);
        let found = basis.add(mixed.view(), ivar.view());
        let is_kept: Vec<bool> = found.iter().map(Option::is_some).collect();
        assert_eq!(is_kept, [true, false, true, true, true, false]);
        assert!(basis.sum(found[0].as_ref().unwrap()).iter().all(|flux| flux.is_finite()));
    }
}
