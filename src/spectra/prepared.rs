//! A prepared set: normalized spectra, labels and quality of many stars on one grid, and the FITS file that keeps it.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, Axis, s};

use super::grid::WavelengthGrid;
use super::quality::{MASK_BIT_NAMES, N_MASK_BITS, Quality, star_flags};
use crate::data::fits::{Column, FitsReader, write};
use crate::error::{Error, Result};

/// Layout version of the file; a cache of another version is rebuilt.
pub const FORMAT_VERSION: &str = "5";

/// Stars ready for a model.
#[derive(Debug, Clone, PartialEq)]
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
    /// Normalized flux, [n_stars, n_pixels]; 1 where masked.
    pub flux: Array2<f32>,
    /// Inverse variance of the normalized flux, [n_stars, n_pixels]; 0 = no information.
    pub ivar: Array2<f32>,
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
        let mut unseen: Vec<usize> = (0..self.n_pixels()).collect();
        for ivar in self.ivar.rows() {
            unseen.retain(|pixel| ivar[*pixel] == 0.0);
            if unseen.is_empty() {
                break;
            }
        }
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
            flux: self.flux.select(Axis(0), rows),
            ivar: self.ivar.select(Axis(0), rows),
            quality: rows.iter().map(|row| self.quality[*row].clone()).collect(),
        }
    }

    /// One bit per chip, set where no star has a pixel with information: the settings leave it out, or too little of its continuum.
    pub fn chips_without_data(&self) -> u64 {
        let is_empty = |chip: &Range<usize>| self.ivar.slice(s![.., chip.clone()]).iter().all(|ivar| *ivar <= 0.0);
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

    /// Writes the set as FITS: images FLUX and IVAR, tables PIXELS and STARS.
    ///
    /// `key` identifies the inputs and settings the set was made from.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Fits`]; nothing is left half written.
    pub fn write(&self, path: &Path, key: &str) -> Result<()> {
        let shape = [self.n_stars(), self.n_pixels()];
        let chip_of = |pixel: usize| self.grid.chips.iter().position(|chip| chip.contains(&pixel)).unwrap_or(0) as i64;
        write(path, |fits| {
            fits.primary_key("ORIGIN", "maury", "prepared set of normalized spectra")?;
            fits.primary_key("MFORMAT", FORMAT_VERSION, "layout version")?;
            fits.primary_key("MKEY", key, "inputs and settings this was made from")?;
            fits.primary_key("MHASH", self.hash().as_str(), "of what is in here")?;
            fits.image_f32("FLUX", &self.flux.iter().copied().collect::<Vec<_>>(), shape)?;
            fits.image_f32("IVAR", &self.ivar.iter().copied().collect::<Vec<_>>(), shape)?;
            fits.table(
                "PIXELS",
                &[
                    Column::f64("wavelength", "Angstrom", self.grid.wavelength.clone()),
                    Column::i64("chip", (0..shape[1]).map(chip_of).collect()),
                    Column::i64("continuum", self.continuum_pixels.iter().map(|is| i64::from(*is)).collect()),
                ],
            )?;
            fits.table("STARS", &self.star_columns())
        })
    }

    fn star_columns(&self) -> Vec<Column> {
        let count = |value: fn(&Quality) -> usize| self.quality.iter().map(|q| value(q) as i64).collect::<Vec<_>>();
        let mut columns = vec![Column::text("id", self.ids.clone()), Column::f64("snr", "", self.snr.clone())];
        for (k, name) in self.label_names.iter().enumerate() {
            let unit = super::labels::unit(name);
            columns.push(Column::f64(format!("label_{name}"), unit, self.labels.column(k).to_vec()));
            columns.push(Column::f64(format!("error_{name}"), unit, self.label_errors.column(k).to_vec()));
        }
        columns.extend([
            Column::i64("unreadable", count(|q| usize::from(q.unreadable))),
            Column::i64("n_inside", count(|q| q.n_inside)),
            Column::i64("n_missing", count(|q| q.n_missing)),
            Column::i64("n_good", count(|q| q.n_good)),
            Column::i64("n_bad_error", count(|q| q.n_bad_error)),
            Column::i64("n_emission", count(|q| q.n_emission)),
            Column::i64("chips_lost", count(|q| q.chips_lost)),
            Column::i64("n_extrapolated", count(|q| q.n_extrapolated)),
            Column::f64("continuum_residual", "", self.quality.iter().map(|q| q.continuum_residual).collect()),
            Column::f64("fraction_masked", "", self.quality.iter().map(Quality::fraction_masked).collect()),
        ]);
        for bit in 0..N_MASK_BITS {
            let counts = self.quality.iter().map(|q| i64::from(q.n_per_bit[bit])).collect();
            columns.push(Column::i64(format!("n_bit{bit}"), counts));
        }
        columns
    }

    /// Reads a set written by [`PreparedSet::write`]; `None` if it was made from other inputs or settings.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`], [`Error::Format`] for a file that is not a prepared set.
    pub fn read(path: &Path, key: &str) -> Result<Option<Self>> {
        let mut fits = FitsReader::open(path)?;
        let found = (fits.key_text(0, "MFORMAT"), fits.key_text(0, "MKEY"));
        if found != (Some(FORMAT_VERSION.to_string()), Some(key.to_string())) {
            return Ok(None);
        }
        let not_a_set = |detail: &str| Error::format(path, format!("not a prepared set ({detail}); delete it"));
        let shape = match fits.image_shape(1)?.as_deref() {
            Some([n_stars, n_pixels]) => (*n_stars, *n_pixels),
            _ => return Err(not_a_set("no FLUX image")),
        };
        let mut matrix = |hdu: usize| -> Result<Array2<f32>> {
            let values = fits.image_section(hdu, 0..shape.0 * shape.1)?;
            Array2::from_shape_vec(shape, values).map_err(|_| not_a_set("image of another shape"))
        };
        let (flux, ivar) = (matrix(1)?, matrix(2)?);
        let chip = fits.integers(3, "chip", 0..shape.1)?;
        let mut edges = vec![0];
        edges.extend((1..shape.1).filter(|pixel| chip[*pixel] != chip[*pixel - 1]));
        edges.push(shape.1);
        let grid = WavelengthGrid {
            wavelength: fits.numbers(3, "wavelength", 0..shape.1)?,
            chips: edges.windows(2).map(|edges| edges[0]..edges[1]).collect(),
        };
        let continuum_pixels = fits.integers(3, "continuum", 0..shape.1)?.into_iter().map(|v| v != 0).collect();

        let stars = 0..shape.0;
        let (_, names) = fits.table_layout(4)?;
        let label_names: Vec<String> =
            names.iter().filter_map(|name| name.strip_prefix("label_").map(str::to_string)).collect();
        let mut by_label = |prefix: &str| -> Result<Array2<f64>> {
            let mut matrix = Array2::from_elem((shape.0, label_names.len()), f64::NAN);
            for (k, name) in label_names.iter().enumerate() {
                let values = fits.numbers(4, &format!("{prefix}_{name}"), stars.clone())?;
                matrix.column_mut(k).iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
            }
            Ok(matrix)
        };
        let (labels, label_errors) = (by_label("label")?, by_label("error")?);
        let mut quality = vec![Quality::default(); shape.0];
        let mut count = |name: &str, set: &dyn Fn(&mut Quality, usize)| -> Result<()> {
            let values = fits.integers(4, name, stars.clone())?;
            quality.iter_mut().zip(values).for_each(|(quality, value)| set(quality, value.max(0) as usize));
            Ok(())
        };
        count("unreadable", &|q, v| q.unreadable = v > 0)?;
        count("n_inside", &|q, v| q.n_inside = v)?;
        count("n_missing", &|q, v| q.n_missing = v)?;
        count("n_good", &|q, v| q.n_good = v)?;
        count("n_bad_error", &|q, v| q.n_bad_error = v)?;
        count("n_emission", &|q, v| q.n_emission = v)?;
        count("chips_lost", &|q, v| q.chips_lost = v)?;
        count("n_extrapolated", &|q, v| q.n_extrapolated = v)?;
        for bit in 0..N_MASK_BITS {
            count(&format!("n_bit{bit}"), &|q, v| q.n_per_bit[bit] = v as u32)?;
        }
        let residual = fits.numbers(4, "continuum_residual", stars.clone())?;
        quality.iter_mut().zip(residual).for_each(|(quality, value)| quality.continuum_residual = value);
        let snr = fits.numbers(4, "snr", stars.clone())?;
        let ids = fits.texts(4, "id", stars)?;
        let set = Self { grid, continuum_pixels, ids, label_names, labels, label_errors, snr, flux, ivar, quality };
        if fits.key_text(0, "MHASH") != Some(set.hash()) {
            return Err(not_a_set("its content is damaged"));
        }
        Ok(Some(set))
    }

    /// A hash of everything in the set: a disk may turn a bit.
    fn hash(&self) -> String {
        fn numbers<'a>(hasher: &mut blake3::Hasher, values: impl Iterator<Item = &'a f64>) {
            for value in values {
                // One not-a-number is as good as another.
                hasher.update(&if value.is_nan() { f64::NAN } else { *value }.to_le_bytes());
            }
        }
        let mut hasher = blake3::Hasher::new();
        for matrix in [&self.flux, &self.ivar] {
            for row in matrix.rows() {
                hasher.update(&row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            }
        }
        numbers(
            &mut hasher,
            self.grid.wavelength.iter().chain(&self.snr).chain(&self.labels).chain(&self.label_errors),
        );
        numbers(&mut hasher, self.quality.iter().map(|quality| &quality.continuum_residual));
        let counts: Vec<_> = (self.quality.iter())
            .map(|q| {
                let lost = (q.n_missing, q.n_bad_error, q.n_emission, q.chips_lost, q.n_extrapolated);
                (q.unreadable, q.n_inside, q.n_good, lost, q.n_per_bit)
            })
            .collect();
        // Texts as the file has them: without what FITS has no letters for.
        let ids = self.ids.iter().map(|id| id.chars().filter(char::is_ascii_alphanumeric).collect::<String>());
        let ids: Vec<String> = ids.collect();
        let rest = (&self.grid.chips, &self.continuum_pixels, ids, self.label_names.len(), counts);
        hasher.update(format!("{rest:?}").as_bytes());
        hasher.finalize().to_hex()[..32].to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_set_comes_back_from_its_file_and_only_under_its_key() {
        let mut grid = WavelengthGrid::from_pixel_numbers(4);
        grid.chips = vec![0..1, 1..4];
        let mut quality =
            Quality { n_inside: 4, n_missing: 1, n_good: 3, continuum_residual: 0.01, ..Quality::default() };
        quality.n_per_bit[12] = 1;
        let set = PreparedSet {
            grid,
            continuum_pixels: vec![true, false, false, true],
            ids: vec!["2M1".into(), "a star".into()],
            label_names: vec!["teff".into(), "fe_h".into()],
            labels: array![[4500.0, -0.25], [4600.0, 0.1]],
            label_errors: array![[12.0, 0.01], [15.0, 0.02]],
            snr: vec![100.0, 50.0],
            flux: array![[1.0, 0.9, 0.8, 1.0], [1.0, 1.0, 0.5, 0.7]],
            ivar: array![[1e4, 0.0, 1.0, 1.0], [3.0, 2.0, 1.0, 0.0]],
            quality: vec![quality.clone(), quality],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.fits");
        set.write(&path, "key1").unwrap();
        assert_eq!(PreparedSet::read(&path, "key1").unwrap(), Some(set.clone()));
        let mut without_chip = set.clone();
        without_chip.ivar.column_mut(0).fill(0.0);
        assert_eq!((set.chips_without_data(), without_chip.chips_without_data()), (0, 1));
        assert_eq!(PreparedSet::read(&path, "key2").unwrap(), None);
        let whole = std::fs::read(&path).unwrap();
        let flux = whole.windows(4).position(|bytes| bytes == 0.9_f32.to_be_bytes()).unwrap();
        for (at, bit) in [(flux + 3, 0), (flux, 6), (flux + 2, 7)] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, damaged).unwrap();
            let said = PreparedSet::read(&path, "key1").unwrap_err().to_string();
            assert!(said.contains("content is damaged"), "{said}");
        }
        assert_eq!(set.bit_fractions(), [(12, "SIG_SKYLINE", 0.25)]);
        assert_eq!(set.rows(&[1]).ids, ["a star"]);
    }
}
