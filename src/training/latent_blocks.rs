//! Spectra of the stars of a training, a block of pixels at a time: in memory, or read from their file in every round.
//!
//! What is learned of a pixel needs all stars, and what is found of a star all pixels. So coefficients come from blocks of pixels of all
//! stars, and latent labels from all pixels of as many stars as can be worked on together.

use std::ops::Range;

use super::latent_pixels::Pixels;
use crate::device::Compute;
use crate::error::Result;
use crate::memory::bytes_of_spectra;
use crate::models::cannon::NO_INFORMATION;
use crate::spectra::stored::{Spectra, SpectraOf};

/// Pixels whose products of coefficients are in memory together, at most.
const BLOCK_PIXELS: usize = 1024;
/// Matrices of stars and pixels that a block has at a time.
const MATRICES: usize = 8;
/// Bytes that every product of two coefficients takes of a star while its latent labels are found.
const BYTES_OF_PRODUCT: usize = 16;

/// The spectra of some stars by blocks of pixels, and what is known of them from a first look.
pub(super) struct PixelBlocks<'a> {
    spectra: &'a Spectra,
    rows: &'a [usize],
    compute: &'a Compute,
    /// Mean flux of every pixel, from which coefficients count.
    pub mean_flux: Vec<f64>,
    /// Pixels that some of the stars has measured, `[n_pixels]`.
    pub is_seen: Vec<bool>,
    /// Number of informative pixels of each star.
    pub counts: Vec<f64>,
}

impl<'a> PixelBlocks<'a> {
    /// Of some rows of a set.
    ///
    /// # Errors
    /// Those of reading.
    pub fn new(spectra: &'a Spectra, rows: &'a [usize], compute: &'a Compute) -> Result<Self> {
        let mut blocks =
            Self { spectra, rows, compute, mean_flux: Vec::new(), is_seen: Vec::new(), counts: Vec::new() };
        let mut sums = vec![(0.0_f64, 0.0_f64); spectra.n_pixels()];
        let mut counts = vec![0.0; rows.len()];
        blocks.each_part(0..rows.len(), |pixels, [flux, ivar]| {
            let of_stars = flux.chunks(pixels.len()).zip(ivar.chunks(pixels.len()));
            for ((flux, ivar), count) in of_stars.zip(&mut counts) {
                for ((sum, weight), (flux, ivar)) in sums[pixels.clone()].iter_mut().zip(flux.iter().zip(ivar)) {
                    *sum += f64::from(*flux) * f64::from(*ivar);
                    *weight += f64::from(*ivar);
                    *count += f64::from(u8::from(*ivar > 0.0 && f64::from(*ivar) > 2.0 / NO_INFORMATION));
                }
            }
        })?;
        blocks.is_seen = sums.iter().map(|(_, weight)| *weight > 0.0).collect();
        blocks.mean_flux =
            sums.into_iter().map(|(sum, weight)| if weight > 0.0 { sum / weight } else { 0.0 }).collect();
        blocks.counts = counts;
        Ok(blocks)
    }

    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        self.rows.len()
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.spectra.n_pixels()
    }

    /// Whether nothing has to be read.
    pub fn is_in_memory(&self) -> bool {
        self.spectra.is_in_memory()
    }

    /// The stars in such parts as can be worked on together where products of so many coefficients are taken of each; mostly all.
    pub fn parts(&self, n_coefficients: usize) -> Vec<Range<usize>> {
        let products = BYTES_OF_PRODUCT * n_coefficients * (n_coefficients + 1) / 2;
        let read = if self.is_in_memory() { 0 } else { bytes_of_spectra(1, self.n_pixels()) };
        let most = (self.compute.memory().of_block() / read.max(products as u64).max(1)).max(1) as usize;
        (0..self.n_stars()).step_by(most).map(|start| start..(start + most).min(self.n_stars())).collect()
    }

    /// Shows some work all pixels of some of the stars, a block at a time.
    ///
    /// # Errors
    /// Those of reading.
    pub fn each_of(&self, stars: Range<usize>, mut work: impl FnMut(&Pixels)) -> Result<()> {
        self.each_part(stars, |pixels, spectra| {
            work(&Pixels::new(spectra, pixels.clone(), &self.mean_flux[pixels], self.compute));
        })
    }

    /// The same of all stars.
    ///
    /// # Errors
    /// As [`PixelBlocks::each_of`].
    pub fn each(&self, work: impl FnMut(&Pixels)) -> Result<()> {
        self.each_of(0..self.n_stars(), work)
    }

    /// Flux and inverse variance, row by row, in every block.
    fn each_part(&self, stars: Range<usize>, mut work: impl FnMut(Range<usize>, [Vec<f32>; 2])) -> Result<()> {
        let of_block = self.compute.memory().of_block();
        let of_pixel = MATRICES * stars.len().max(1) * self.compute.dtype().size();
        let spectra = SpectraOf::Rows(self.spectra, &self.rows[stars]);
        let most = spectra.most_pixels(of_block);
        let width = (of_block as usize / of_pixel).clamp(1, BLOCK_PIXELS).min(most);
        let all: Vec<usize> = (0..self.n_pixels()).collect();
        // Wide reads are quick ones: as much is held as may be, and worked on in narrower blocks.
        for held_pixels in all.chunks((most / width) * width) {
            let held = spectra.hold(held_pixels)?;
            for pixels in held_pixels.chunks(width) {
                work(pixels[0]..pixels[0] + pixels.len(), held.columns(pixels));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::device::{Precision, to_f64};
    use crate::memory::Memory;
    use crate::models::vectorizer::Vectorizer;
    use crate::progress::Silent;
    use crate::spectra::stored::tests::in_file;
    use crate::stats::normal::draw as normal;
    use crate::training::believed_labels::BelievedLabels;
    use crate::training::cannon_config::{CannonConfig, LatentSettings};
    use crate::training::latent::{LatentStars, train_terms};
    use crate::training::latent_em::TrainedLatent;
    use crate::training::nuisance_choice::NuisanceCount;

    const N_STARS: usize = 130;
    const N_PIXELS: usize = 90;

    /// Stars of two labels and two things beside them.
    fn survey() -> (Array2<f64>, Spectra) {
        let mut random = ChaCha8Rng::seed_from_u64(21);
        let inputs = Array2::from_shape_simple_fn((N_STARS, 4), || normal(&mut random));
        let shapes = Array2::from_shape_simple_fn((4, N_PIXELS), || 0.03 * normal(&mut random));
        let flux = (0.8 + inputs.dot(&shapes)).mapv(|flux| (flux + 0.005 * normal(&mut random)) as f32);
        // A pixel that nobody has, and gaps.
        let gap = |n: usize, j: usize| j == 40 || (n * 7 + j).is_multiple_of(23);
        let ivar = Array2::from_shape_fn((N_STARS, N_PIXELS), |(n, j)| if gap(n, j) { 0.0 } else { 4e4_f32 });
        (inputs.slice(ndarray::s![.., ..2]).to_owned(), Spectra::in_memory(flux, ivar))
    }

    #[test]
    fn from_a_file_the_same_is_learned_as_from_memory() {
        let (labels, in_memory) = survey();
        let folder = tempfile::tempdir().unwrap();
        let on_disk = in_file(&in_memory, folder.path());
        let rows: Vec<usize> = (3..N_STARS).collect();
        let mut labels = labels.select(ndarray::Axis(0), &rows);
        (0..10).for_each(|star| labels[[7 * star, star % 2]] = f64::NAN);
        let errors = labels.mapv(|label| if label.abs() > 1.0 { 0.2 } else { 0.0 });
        let latent = |n_labels: usize, n_spectra: usize| LatentSettings {
            labels: n_labels,
            spectra: NuisanceCount::Fixed(n_spectra),
            ..LatentSettings::default()
        };
        let (config, vectorizer) = (CannonConfig::default(), Vectorizer::new(2, 2));
        let train = |spectra: &Spectra, settings: &LatentSettings, compute: &Compute| {
            let labels = BelievedLabels::new(labels.view(), errors.view());
            let stars = LatentStars { labels, spectra, rows: &rows, barred: &[5, 80] };
            train_terms(&config, settings, &vectorizer, stars, compute, &Silent).unwrap()
        };
        // Covariances are kept in 32 bits, and which step is a pixel's last may hang on that; latent labels of so few stars and pixels
        // hardly bear that everything is.
        for (precision, tolerance) in [(Precision::F64, 1e-4), (Precision::F32, 2e-2)] {
            let usual = Compute::flex(precision);
            // Some seven pixels of all stars, or 19 stars.
            let little = usual.clone().with_memory(Memory { bytes: 8 * 19 * 8 * N_PIXELS as u64 * 4 });
            for settings in [latent(1, 1), latent(0, 2), latent(0, 0)] {
                let (here, there) = (train(&in_memory, &settings, &usual), train(&on_disk, &settings, &little));
                assert_eq!((&here.kept, here.report.n_valid_pixels), (&there.kept, N_PIXELS - 1));
                let numbers = |found: &TrainedLatent| {
                    let cannon = &found.cannon;
                    [to_f64(cannon.theta.val()), to_f64(cannon.s2.val()), found.latent_labels.iter().copied().collect()]
                };
                for (here, there) in numbers(&here).into_iter().flatten().zip(numbers(&there).into_iter().flatten()) {
                    assert!((here - there).abs() <= tolerance * here.abs().max(1.0), "{precision:?}: {here} {there}");
                }
            }
        }
    }

    #[test]
    fn stars_are_worked_on_in_parts_where_memory_is_short() {
        let (_, spectra) = survey();
        let rows: Vec<usize> = (0..N_STARS).collect();
        let usual = Compute::flex(Precision::F32);
        assert_eq!(PixelBlocks::new(&spectra, &rows, &usual).unwrap().parts(30).len(), 1);
        let little = usual.with_memory(Memory { bytes: 8 * 50 * 16 * 465 });
        let blocks = PixelBlocks::new(&spectra, &rows, &little).unwrap();
        assert_eq!(blocks.parts(30), [0..50, 50..100, 100..N_STARS]);
        assert_eq!((blocks.is_seen[40], blocks.mean_flux[40], blocks.is_seen[41]), (false, 0.0, true));
        let n_gaps = (0..N_PIXELS).filter(|pixel| *pixel == 40 || pixel % 23 == 0).count();
        assert_eq!(blocks.counts[0], (N_PIXELS - n_gaps) as f64);
    }
}
