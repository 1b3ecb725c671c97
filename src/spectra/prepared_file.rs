//! The FITS file that keeps a prepared set: images FLUX and IVAR, tables PIXELS and STARS.
//!
//! The images are filled as stars are prepared, and read as they are needed: a set need not fit into memory.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};

use super::grid::WavelengthGrid;
use super::labels;
use super::prepared::PreparedSet;
use super::quality::{N_MASK_BITS, Quality};
use super::stored::{Images, Spectra, see};
use crate::data::fits::{Column, FitsReader, UnfinishedFits};
use crate::error::{Error, Result};

/// Layout version of the file; a cache of another version is rebuilt.
pub const FORMAT_VERSION: &str = "7";

/// A prepared set's file on its way; it has its name when everything is in it.
pub struct PreparedFile {
    file: UnfinishedFits,
    path: PathBuf,
    shape: (usize, usize),
    hash: SetHash,
    /// Pixels that some star has measured.
    seen: Vec<bool>,
}

impl PreparedFile {
    /// Begins the file of so many stars on a grid; `key` identifies the inputs and settings the set is made from.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Fits`].
    pub fn begin(
        path: &Path,
        key: &str,
        n_stars: usize,
        grid: &WavelengthGrid,
        continuum_pixels: &[bool],
    ) -> Result<Self> {
        let mut file = UnfinishedFits::begin(path)?;
        let fits = file.writer();
        let n_pixels = grid.n_pixels();
        let chip_of = |pixel: usize| grid.chips.iter().position(|chip| chip.contains(&pixel)).unwrap_or(0) as i64;
        fits.append_key("ORIGIN", "maury", "prepared set of normalized spectra")?;
        fits.append_key("MFORMAT", FORMAT_VERSION, "layout version")?;
        fits.append_key("MKEY", key, "inputs and settings this was made from")?;
        fits.image_to_fill("FLUX", [n_stars, n_pixels])?;
        fits.image_to_fill("IVAR", [n_stars, n_pixels])?;
        let columns = [
            Column::f64("wavelength", "Angstrom", grid.wavelength.clone()),
            Column::i64("chip", (0..n_pixels).map(chip_of).collect()),
            Column::i64("continuum", continuum_pixels.iter().map(|is| i64::from(*is)).collect()),
        ];
        fits.table("PIXELS", &columns)?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            shape: (n_stars, n_pixels),
            hash: SetHash::default(),
            seen: vec![false; n_pixels],
        })
    }

    /// Fills in the spectra of stars from `first` on, row by row; every star once, in order.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn add(&mut self, first: usize, flux: &[f32], ivar: &[f32]) -> Result<()> {
        self.hash.add(flux, ivar);
        see(&mut self.seen, ivar);
        for (name, values) in [("FLUX", flux), ("IVAR", ivar)] {
            let rows = ArrayView2::from_shape((values.len() / self.shape.1, self.shape.1), values);
            self.file.writer().fill_rows(name, first, rows.expect("whole rows"))?;
        }
        Ok(())
    }

    /// The spectra filled in, which stay in the file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Fits`].
    pub fn spectra(&mut self) -> Result<Spectra> {
        let start = [self.file.writer().data_start("FLUX")?, self.file.writer().data_start("IVAR")?];
        let images = Images::open(self.file.flushed()?, &self.path, start, self.shape)?;
        Ok(Spectra::on_disk(images, self.seen.clone()))
    }

    /// Adds what is known of the stars beside their spectra, and gives the file its name.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Fits`].
    pub fn complete(mut self, set: &PreparedSet) -> Result<()> {
        let fits = self.file.writer();
        fits.table("STARS", &star_columns(set))?;
        fits.primary_key("MHASH", &self.hash.finish(set), "of what is in here")?;
        self.file.complete()
    }
}

fn star_columns(set: &PreparedSet) -> Vec<Column> {
    let quality = &set.quality;
    let count = |value: fn(&Quality) -> usize| quality.iter().map(|q| value(q) as i64).collect::<Vec<_>>();
    let ids = set.ids.iter().map(|id| escaped(id)).collect();
    let mut columns = vec![Column::text("id", ids), Column::f64("snr", "", set.snr.clone())];
    for (k, name) in set.label_names.iter().enumerate() {
        let unit = labels::unit(name);
        columns.push(Column::f64(format!("label_{name}"), unit, set.labels.column(k).to_vec()));
        columns.push(Column::f64(format!("error_{name}"), unit, set.label_errors.column(k).to_vec()));
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
        Column::f64("continuum_residual", "", quality.iter().map(|q| q.continuum_residual).collect()),
        Column::f64("fraction_masked", "", quality.iter().map(Quality::fraction_masked).collect()),
    ]);
    for bit in 0..N_MASK_BITS {
        let counts = quality.iter().map(|q| i64::from(q.n_per_bit[bit])).collect();
        columns.push(Column::i64(format!("n_bit{bit}"), counts));
    }
    columns
}

/// Reads a set written as [`PreparedFile`]; `None` if it was made from other inputs or settings. Spectra of up to `most_bytes` come into
/// memory, others stay in the file.
///
/// # Errors
/// [`Error::Io`], [`Error::Fits`], [`Error::Format`] for a file that is not a prepared set.
pub fn read(path: &Path, key: &str, most_bytes: u64) -> Result<Option<PreparedSet>> {
    let mut fits = FitsReader::open(path)?;
    let found = (fits.key_text(0, "MFORMAT"), fits.key_text(0, "MKEY"));
    if found != (Some(FORMAT_VERSION.to_string()), Some(key.to_string())) {
        return Ok(None);
    }
    let not_a_set = |detail: &str| Error::format(path, format!("not a prepared set ({detail}); delete it"));
    let [(flux, shape), (ivar, shape_of_ivar)] = [fits.matrix_of_f32(1)?, fits.matrix_of_f32(2)?];
    if shape != shape_of_ivar {
        return Err(not_a_set("images of different shapes"));
    }
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
    let ids = fits.texts(4, "id", stars)?.iter().map(|id| unescaped(id)).collect();
    let mut hash = SetHash::default();
    let images = Images::open(path, path, [flux, ivar], shape)?;
    let spectra = Spectra::of_images(images, most_bytes, |flux, ivar| hash.add(flux, ivar))?;
    let set = PreparedSet { grid, continuum_pixels, ids, label_names, labels, label_errors, snr, spectra, quality };
    if fits.key_text(0, "MHASH") != Some(hash.finish(&set)) {
        return Err(not_a_set("its content is damaged"));
    }
    Ok(Some(set))
}

/// A name in letters that FITS has: bytes of others, of `%` and of spaces at its ends as `%` and two hexadecimal digits.
fn escaped(name: &str) -> String {
    let last = name.len().saturating_sub(1);
    let is_plain = |place: usize, byte: u8| match byte {
        b'%' => false,
        b' ' => place > 0 && place < last,
        _ => byte.is_ascii_graphic(),
    };
    let letters = name.bytes().enumerate();
    letters.map(|(n, byte)| if is_plain(n, byte) { char::from(byte).into() } else { format!("%{byte:02x}") }).collect()
}

/// The name that was escaped.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let (byte, after) = match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (byte, &after[2..]),
            None => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A hash of everything in a set, whose spectra come bit by bit: a disk may turn one.
#[derive(Default)]
struct SetHash {
    flux: blake3::Hasher,
    ivar: blake3::Hasher,
}

impl SetHash {
    fn add(&mut self, flux: &[f32], ivar: &[f32]) {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        self.flux.update(&bytes(flux));
        self.ivar.update(&bytes(ivar));
    }

    fn finish(&self, set: &PreparedSet) -> String {
        let mut hasher = self.flux.clone();
        hasher.update(self.ivar.finalize().as_bytes());
        let measured = set.grid.wavelength.iter().chain(&set.snr).chain(&set.labels).chain(&set.label_errors);
        for value in measured.chain(set.quality.iter().map(|quality| &quality.continuum_residual)) {
            // One not-a-number is as good as another.
            hasher.update(&if value.is_nan() { f64::NAN } else { *value }.to_le_bytes());
        }
        let counts: Vec<_> = (set.quality.iter())
            .map(|q| {
                let lost = (q.n_missing, q.n_bad_error, q.n_emission, q.chips_lost, q.n_extrapolated);
                (q.unreadable, q.n_inside, q.n_good, lost, q.n_per_bit)
            })
            .collect();
        let rest = (&set.grid.chips, &set.continuum_pixels, &set.ids, set.label_names.len(), counts);
        hasher.update(format!("{rest:?}").as_bytes());
        hasher.finalize().to_hex()[..32].to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::stored::SpectraOf;
    use super::*;
    use ndarray::{Axis, array};

    #[test]
    fn a_set_comes_back_from_its_file_and_only_under_its_key() {
        let mut grid = WavelengthGrid::from_pixel_numbers(4);
        grid.chips = vec![0..1, 1..4];
        let mut quality =
            Quality { n_inside: 4, n_missing: 1, n_good: 3, continuum_residual: 0.01, ..Quality::default() };
        quality.n_per_bit[12] = 1;
        let flux = array![[1.0, 0.9, 0.8, 1.0], [1.0, 1.0, 0.5, 0.7]];
        let ivar = array![[1e4, 0.0, 1.0, 1.0], [3.0, 2.0, 1.0, 0.0]];
        let set = PreparedSet {
            grid,
            continuum_pixels: vec![true, false, false, true],
            ids: vec![" \u{3b1} 100%41".into(), "a star".into()],
            label_names: vec!["teff".into(), "fe_h".into()],
            labels: array![[4500.0, -0.25], [4600.0, 0.1]],
            label_errors: array![[12.0, 0.01], [15.0, 0.02]],
            snr: vec![100.0, 50.0],
            spectra: Spectra::in_memory(flux.clone(), ivar.clone()),
            quality: vec![quality.clone(), quality],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.fits");
        let mut file = PreparedFile::begin(&path, "key1", 2, &set.grid, &set.continuum_pixels).unwrap();
        for star in 0..2 {
            file.add(star, flux.row(star).as_slice().unwrap(), ivar.row(star).as_slice().unwrap()).unwrap();
        }
        // What is filled in can be read at once, and after the file has its name.
        let filled = file.spectra().unwrap();
        file.complete(&set).unwrap();
        for (most_bytes, is_in_memory) in [(0, false), (64, true)] {
            let read = read(&path, "key1", most_bytes).unwrap().unwrap();
            assert_eq!(read.spectra.is_in_memory(), is_in_memory);
            for spectra in [&read.spectra, &filled, &set.spectra] {
                assert_eq!(
                    spectra.of(&[1, 0]).unwrap(),
                    (flux.select(Axis(0), &[1, 0]), ivar.select(Axis(0), &[1, 0]))
                );
                let last = spectra.rows(&[1]);
                let held = SpectraOf::Rows(&last, &[0, 0]).hold(&[1, 3]).unwrap();
                assert_eq!(held.columns(&[3, 1]), [[0.7, 1.0, 0.7, 1.0], [0.0, 2.0, 0.0, 2.0]].map(|row| row.to_vec()));
                for most_bytes in [0, 64] {
                    let some = SpectraOf::Rows(spectra, &[1, 0]).select(&[0, 2], most_bytes).unwrap();
                    let picked = |matrix: &Array2<f32>| matrix.select(Axis(0), &[1, 0]).select(Axis(1), &[0, 2]);
                    assert_eq!(some.of(&[0, 1]).unwrap(), (picked(&flux), picked(&ivar)));
                    let held = SpectraOf::Rows(&some, &[1]).hold(&[1]).unwrap();
                    assert_eq!(held.columns(&[1]), [vec![0.8], vec![1.0]]);
                    assert_eq!(
                        (some.seen(), some.is_in_memory()),
                        (&[true; 2][..], most_bytes > 0 || spectra.is_in_memory())
                    );
                }
                assert_eq!((spectra.seen(), spectra.bytes()), (&[true; 4][..], 64));
            }
            assert_eq!(format!("{:?}", without_spectra(read)), format!("{:?}", without_spectra(set.clone())));
        }
        assert!(read(&path, "key2", 0).unwrap().is_none());
        let whole = std::fs::read(&path).unwrap();
        let place = whole.windows(4).position(|bytes| bytes == 0.9_f32.to_be_bytes()).unwrap();
        for (at, bit) in [(place + 3, 0), (place, 6), (place + 2, 7)] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, damaged).unwrap();
            let said = read(&path, "key1", 0).unwrap_err().to_string();
            assert!(said.contains("content is damaged"), "{said}");
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(read(&path, "key1", 0).is_err());
        let mut without_chip = set.clone();
        without_chip.spectra = Spectra::in_memory(flux, array![[0.0_f32, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]);
        assert_eq!((set.chips_without_data(), without_chip.chips_without_data()), (0, 1));
        assert_eq!(set.bit_fractions(), [(12, "SIG_SKYLINE", 0.25)]);
        assert_eq!(set.rows(&[1]).ids, ["a star"]);
    }

    #[test]
    fn names_of_any_letters_come_back() {
        for name in [
            "2M03514146+2428096",
            "HD 1234",
            " a ",
            "%",
            "%41",
            "100 %",
            "\u{e9}\u{2605} '\"",
            "",
            " ",
            "\n\t",
            "\u{1f31f}",
        ] {
            let text = escaped(name);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && text.trim() == text, "{text}");
            assert_eq!(unescaped(&text), name);
        }
        assert_eq!((escaped("HD 1234").as_str(), unescaped("50%zz %").as_str()), ("HD 1234", "50%zz %"));
    }

    fn without_spectra(set: PreparedSet) -> PreparedSet {
        PreparedSet { spectra: Spectra::in_memory(Array2::zeros((0, 0)), Array2::zeros((0, 0))), ..set }
    }
}
