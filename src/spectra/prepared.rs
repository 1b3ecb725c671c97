//! A prepared set: normalized spectra, labels and quality of many stars on one grid.

use std::ops::Range;

use ndarray::{Array2, Axis};

use super::grid::WavelengthGrid;
use super::quality::{MASK_BIT_NAMES, N_MASK_BITS, Quality, star_flags};
use super::stored::Spectra;

/// Stars ready for a model.
#[derive(Debug, Clone)]
pub struct PreparedSet {
    /// The grid all spectra share.
    pub grid: WavelengthGrid,
    /// Pixels the pseudo-continuum went through, `[n_pixels]`; all false where spectra came normalized.
    pub continuum_pixels: Vec<bool>,
    /// Star identifiers.
    pub ids: Vec<String>,
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// Catalogue labels, [n_stars, n_labels]; NaN where missing.
    pub labels: Array2<f64>,
    /// Errors the catalogue gives them, [n_stars, n_labels]; NaN where unknown.
    pub label_errors: Array2<f64>,
    /// Signal-to-noise ratio per pixel; NaN where unknown.
    pub snr: Vec<f64>,
    /// Normalized flux, 1 where masked, and its inverse variance, 0 = no information.
    pub spectra: Spectra,
    /// One quality row per star.
    pub quality: Vec<Quality>,
}

impl PreparedSet {
    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        self.ids.len()
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.grid.n_pixels()
    }

    /// Runs of pixels that no star has measured; none of the apStar grid, whose gaps are known.
    pub fn gaps(&self) -> Vec<Range<usize>> {
        if self.grid.is_apogee() {
            return Vec::new();
        }
        let unseen: Vec<usize> = (0..self.n_pixels()).filter(|pixel| !self.spectra.seen()[*pixel]).collect();
        unseen.chunk_by(|a, b| *b == *a + 1).map(|run| run[0]..run[0] + run.len()).collect()
    }

    /// Flags of a star that follow from its spectrum and its catalogue labels.
    pub fn flags(&self, star: usize) -> i64 {
        let missing = self.labels.row(star).iter().any(|label| !label.is_finite());
        self.quality[star].flags() | if missing { star_flags::LABEL_MISSING } else { 0 }
    }

    /// Whether a star can train: all labels known and some pixels good.
    pub fn can_train(&self, star: usize) -> bool {
        self.flags(star) & (star_flags::LABEL_MISSING | star_flags::NO_DATA) == 0
    }

    /// The stars of these rows, in this order.
    pub fn rows(&self, rows: &[usize]) -> Self {
        Self {
            grid: self.grid.clone(),
            continuum_pixels: self.continuum_pixels.clone(),
            ids: rows.iter().map(|row| self.ids[*row].clone()).collect(),
            label_names: self.label_names.clone(),
            labels: self.labels.select(Axis(0), rows),
            label_errors: self.label_errors.select(Axis(0), rows),
            snr: rows.iter().map(|row| self.snr[*row]).collect(),
            spectra: self.spectra.rows(rows),
            quality: rows.iter().map(|row| self.quality[*row].clone()).collect(),
        }
    }

    /// One bit per chip, set where no star has a pixel with information: the settings leave it out, or too little of its continuum.
    pub fn chips_without_data(&self) -> u64 {
        let is_empty = |chip: &Range<usize>| !self.spectra.seen()[chip.clone()].contains(&true);
        let chips = self.grid.chips.iter().take(64).enumerate();
        chips.filter(|(_, chip)| is_empty(chip)).fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// Fraction of the pixels inside the chips that carry each mask bit, over all stars: (bit, name, fraction).
    pub fn bit_fractions(&self) -> Vec<(usize, &'static str, f64)> {
        let inside: usize = self.quality.iter().map(|quality| quality.n_inside).sum();
        (0..N_MASK_BITS)
            .map(|bit| {
                let count: u64 = self.quality.iter().map(|quality| u64::from(quality.n_per_bit[bit])).sum();
                (bit, MASK_BIT_NAMES[bit], count as f64 / inside.max(1) as f64)
            })
            .filter(|(_, _, fraction)| *fraction > 0.0)
            .collect()
    }
}
