//! Stars to learn labels from, as tensors: all at once where their spectra are held, or else read a batch or a block at a time.

use std::ops::Range;

use burn::tensor::Tensor;
use ndarray::{Array2, Axis};

use super::checkpoint::TrainedCannon;
use super::principal_components::{RowBlocks, add_to};
use crate::device::{Compute, indices, to_f64};
use crate::error::Result;
use crate::memory::Memory;
use crate::models::network::input::masked;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::spectra::stored::SpectraOf;

/// Bytes that work on a pixel of a star takes for a while: flux, inverse variance and what is made of them.
const WORK_BYTES: u64 = 40;

/// Stars to learn from: spectra and their labels.
#[derive(Debug)]
pub struct LabelledSpectra<'a> {
    /// The grid of the spectra.
    pub grid: &'a WavelengthGrid,
    /// Normalized flux and inverse variance, 0 = no information.
    pub spectra: SpectraOf<'a>,
    /// What stands for masked flux; the mean where there is nothing.
    pub fill: Option<Fill>,
    /// Labels, [n_stars, n_labels]; NaN where missing.
    pub labels: Array2<f64>,
    /// The catalogue's errors of the labels, [n_stars, n_labels]; NaN where unknown.
    pub label_errors: Array2<f64>,
}

/// What stands for the masked flux of stars.
#[derive(Debug)]
pub enum Fill {
    /// Spectra, [n_stars, n_pixels].
    Spectra(Array2<f32>),
    /// Fits of The Cannon, of which spectra are made when they are needed.
    Fits(Fits),
}

/// Spectra of stars by the Cannons that fitted them.
#[derive(Debug)]
pub struct Fits {
    /// The Cannons.
    pub cannons: Vec<TrainedCannon>,
    /// Which of them each star's is, `[n_stars]`.
    pub of_star: Vec<usize>,
    /// Scaled labels that fit, [n_stars, n_labels].
    pub scaled_labels: Array2<f64>,
}

impl Fill {
    /// Of some stars, [n_rows, n_pixels].
    pub fn of(&self, rows: &[usize], compute: &Compute) -> Tensor<2> {
        let upload = |spectra: Array2<f32>| {
            let shape = [spectra.nrows(), spectra.ncols()];
            compute.tensor_f32(spectra.into_iter().collect(), shape)
        };
        match self {
            Self::Spectra(spectra) => upload(spectra.select(Axis(0), rows)),
            Self::Fits(Fits { cannons, of_star, scaled_labels }) => {
                let mut order: Vec<usize> = (0..rows.len()).collect();
                order.sort_by_key(|place| of_star[rows[*place]]);
                let made = order.chunk_by(|a, b| of_star[rows[*a]] == of_star[rows[*b]]).map(|places| {
                    let own: Vec<usize> = places.iter().map(|place| rows[*place]).collect();
                    cannons[of_star[own[0]]].spectra_at(&scaled_labels.select(Axis(0), &own), compute)
                });
                let made = Tensor::cat(made.collect(), 0);
                let mut place_of = vec![0; rows.len()];
                order.iter().enumerate().for_each(|(made, place)| place_of[*place] = made);
                made.select(0, compute.indices(&place_of))
            }
        }
    }
}

impl LabelledSpectra<'_> {
    /// What tells training on these stars from that on others. What stands for masked flux follows from the rest and the settings.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn fingerprint(&self, scaler: &LabelScaler, validation: &[usize]) -> Result<String> {
        /// Spectra hashed at once.
        const TOGETHER: usize = 64;
        let mut hasher = blake3::Hasher::new();
        let mut add = |values: &mut dyn Iterator<Item = f64>| {
            // One NaN is like another, and files need not keep their bits.
            let bytes: Vec<u8> =
                values.flat_map(|value| if value.is_nan() { f64::NAN } else { value }.to_le_bytes()).collect();
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        };
        add(&mut self.grid.wavelength.iter().copied());
        add(&mut scaler.pivot.iter().chain(&scaler.scale).copied());
        add(&mut validation.iter().map(|row| *row as f64));
        let rows: Vec<usize> = (0..self.spectra.n_stars()).collect();
        for rows in rows.chunks(TOGETHER) {
            let (flux, ivar) = self.spectra.of(rows)?;
            for row in flux.rows().into_iter().zip(ivar.rows()).flat_map(|(flux, ivar)| [flux, ivar]) {
                add(&mut row.iter().map(|value| f64::from(*value)));
            }
        }
        for row in self.labels.rows().into_iter().chain(self.label_errors.rows()) {
            add(&mut row.iter().copied());
        }
        Ok(hasher.finalize().to_hex()[..32].to_string())
    }
}

/// Spectra as tensors, and what stands for their masked flux.
#[derive(Debug, Clone)]
pub(super) struct Filled {
    pub spectra: SpectraBatch,
    /// [n_stars, n_pixels]; the mean where there is none.
    pub fill: Option<Tensor<2>>,
}

impl Filled {
    /// Flux above what stands for it where it is masked; nil there. None where the mean stands for it.
    pub fn above_fill(&self) -> Option<Tensor<2>> {
        let fill = self.fill.clone()?;
        Some((self.spectra.flux.clone() - fill).mask_fill(masked(&self.spectra), 0.0))
    }
}

/// Where the spectra of some stars come from.
pub(super) enum Supply<'a, 's> {
    /// From memory: they are all there.
    Held(Box<Filled>),
    /// From where these rows of these stars are.
    Read(&'a LabelledSpectra<'s>, Vec<usize>, Compute),
}

impl<'a, 's> Supply<'a, 's> {
    /// Of some rows.
    ///
    /// # Errors
    /// Those of reading.
    pub fn new(stars: &'a LabelledSpectra<'s>, rows: &[usize], compute: &Compute) -> Result<Self> {
        let read = Self::Read(stars, rows.to_vec(), compute.clone());
        if stars.spectra.is_held() {
            let all: Vec<usize> = (0..rows.len()).collect();
            return Ok(Self::Held(Box::new(read.of(&all)?)));
        }
        Ok(read)
    }

    /// Number of stars and of pixels.
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Self::Held(filled) => filled.spectra.flux.dims(),
            Self::Read(stars, rows, _) => [rows.len(), stars.spectra.n_pixels()],
        }
    }

    /// Whether something else than the mean stands for masked flux.
    pub fn has_fill(&self) -> bool {
        match self {
            Self::Held(filled) => filled.fill.is_some(),
            Self::Read(stars, ..) => stars.fill.is_some(),
        }
    }

    /// Whether all are in memory.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// Some of the stars.
    ///
    /// # Errors
    /// Those of reading.
    pub fn of(&self, places: &[usize]) -> Result<Filled> {
        match self {
            Self::Held(filled) => {
                let Filled { spectra, fill } = &**filled;
                let places = indices(places, &spectra.flux.device());
                let of_places = |all: &Tensor<2>| all.clone().select(0, places.clone());
                let spectra = SpectraBatch { flux: of_places(&spectra.flux), ivar: of_places(&spectra.ivar) };
                Ok(Filled { spectra, fill: fill.as_ref().map(of_places) })
            }
            Self::Read(stars, rows, compute) => {
                let rows: Vec<usize> = places.iter().map(|place| rows[*place]).collect();
                let (flux, ivar) = stars.spectra.of(&rows)?;
                let spectra = SpectraBatch::new(flux.view(), ivar.view(), compute);
                Ok(Filled { spectra, fill: stars.fill.as_ref().map(|fill| fill.of(&rows, compute)) })
            }
        }
    }

    /// The stars in blocks: one where they are in memory.
    pub fn blocks(&self) -> Vec<Range<usize>> {
        let [n_stars, n_pixels] = self.shape();
        let length = match self {
            Self::Held(_) => n_stars,
            Self::Read(_, _, compute) => stars_of_block(n_pixels, compute.memory()),
        };
        (0..n_stars).step_by(length.max(1)).map(|start| start..(start + length).min(n_stars)).collect()
    }

    /// Does some work on every block.
    ///
    /// # Errors
    /// Those of reading and of the work.
    pub fn each(&self, mut work: impl FnMut(Range<usize>, Filled) -> Result<()>) -> Result<()> {
        for block in self.blocks() {
            let filled = match self {
                Self::Held(filled) => Filled::clone(filled),
                Self::Read(..) => self.of(&block.clone().collect::<Vec<usize>>())?,
            };
            work(block, filled)?;
        }
        Ok(())
    }

    /// Mean spectrum, [1, n_pixels], masked pixels left out; 0 at a pixel that no star knows, which nobody will ever see.
    ///
    /// # Errors
    /// Those of reading.
    pub fn mean(&self) -> Result<Tensor<2>> {
        let (mut flux, mut known) = (None, None);
        self.each(|_, Filled { spectra, .. }| {
            let is_known = spectra.ivar.clone().greater_elem(0.0).float().cast(spectra.flux.dtype());
            add_to(&mut known, is_known.sum_dim(0));
            add_to(&mut flux, spectra.flux.clone().mask_fill(masked(&spectra), 0.0).sum_dim(0));
            Ok(())
        })?;
        let [flux, known]: [Tensor<2>; 2] = [flux, known].map(|sum| sum.expect("there are stars"));
        Ok(flux / known.clamp_min(1.0))
    }

    /// A row of numbers that is made of every star, now where they are held, or else whenever it is asked for.
    pub fn rows<'r>(&'r self, make: impl Fn(&Filled) -> Tensor<2> + 'r) -> MadeRows<'r, 'a, 's> {
        let made = match self {
            Self::Held(filled) => Some(make(filled)),
            Self::Read(..) => None,
        };
        MadeRows { supply: self, made, make: Box::new(make) }
    }
}

/// Stars that are worked on at once where not all are held.
pub fn stars_of_block(n_pixels: usize, memory: Memory) -> usize {
    (memory.of_block() / (WORK_BYTES * n_pixels.max(1) as u64)).max(1) as usize
}

/// What is made of stars, [n_stars, n_pixels].
pub(super) struct MadeRows<'r, 'a, 's> {
    supply: &'r Supply<'a, 's>,
    made: Option<Tensor<2>>,
    make: Box<dyn Fn(&Filled) -> Tensor<2> + 'r>,
}

impl MadeRows<'_, '_, '_> {
    /// Of all stars.
    ///
    /// # Errors
    /// Those of reading.
    pub fn whole(&self) -> Result<Tensor<2>> {
        if let Some(made) = &self.made {
            return Ok(made.clone());
        }
        let mut made = Vec::new();
        self.each(&mut |_, rows| made.push(rows))?;
        Ok(Tensor::cat(made, 0))
    }

    /// Of some stars.
    ///
    /// # Errors
    /// Those of reading.
    pub fn of(&self, places: &[usize]) -> Result<Tensor<2>> {
        Ok((self.make)(&self.supply.of(places)?))
    }

    /// Mean square of what some further work makes of them.
    ///
    /// # Errors
    /// Those of reading.
    pub fn mean_square(&self, work: impl Fn(Tensor<2>) -> Tensor<2>) -> Result<f64> {
        let n_stars = self.shape()[0] as f64;
        let mut sum = None;
        self.each(&mut |block, rows| {
            add_to(&mut sum, work(rows).powf_scalar(2.0).mean() * (block.len() as f64 / n_stars));
        })?;
        Ok(sum.map_or(0.0, |sum| to_f64(sum)[0]))
    }
}

impl RowBlocks for MadeRows<'_, '_, '_> {
    fn shape(&self) -> [usize; 2] {
        self.supply.shape()
    }

    fn each(&self, work: &mut dyn FnMut(Range<usize>, Tensor<2>)) -> Result<()> {
        match &self.made {
            Some(made) => made.each(work),
            None => self.supply.each(|block, filled| {
                work(block, (self.make)(&filled));
                Ok(())
            }),
        }
    }
}
