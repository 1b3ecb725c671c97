//! Arrays of any survey: spectra and pixel lists in .npy, .npz, FITS images or CSV.
//!
//! What a header claims is held against the bytes that are there before memory is asked for.

use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array, Array2, Axis, CowArray, Dimension, Ix1, Ix2, s};
use ndarray_npy::ReadableElement;

use super::fits::FitsReader;
use super::keyed_path::{FITS_ENDINGS, ends_in, hdu_name, named_hdu, split_key};
use super::npy;
use super::table::Table;
use crate::error::{Error, Result};
use crate::stats::robust::median;

/// Numbers of a .npy file that are decoded at a time.
const BLOCK: usize = 1 << 20;
/// Values that tell a matrix's level: enough for a median, whatever its size.
const LEVEL_SAMPLE: usize = 1_000_000;

/// A two-dimensional array [n_stars, n_pixels] of floats in a file, found but not read.
#[derive(Debug, Clone)]
pub struct MatrixFile {
    file: PathBuf,
    entry: Entry,
    /// Rows and columns.
    pub shape: (usize, usize),
    is_wide: bool,
}

/// Which of a file's arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Where the numbers begin, and whether each begins with its most significant byte; none where rows lie scattered.
    Npy(Option<(u64, bool)>),
    Npz(String),
    /// The HDU, and whether the file is packed as a whole.
    Fits(usize, bool),
}

/// A two-dimensional array of floats in the precision in which it came, from a file or from whoever holds it in memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Matrix<'a> {
    /// f32.
    Narrow(CowArray<'a, f32, Ix2>),
    /// f64.
    Wide(CowArray<'a, f64, Ix2>),
}

impl MatrixFile {
    /// Finds the array that a path names: a .npy file, `FILE.npz:key`, `FILE.fits[NAME]` or `FILE.fits[HDU]`; the only one of
    /// a .npz or FITS file needs no name.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for another shape or type, for several arrays of which none is named, and for a
    /// header that claims more than its file holds.
    pub fn find(path: &Path) -> Result<Self> {
        let (file, key) = split_key(path);
        match kind(&file) {
            Kind::Npy => {
                let header = npy::header_of_file(&file)?;
                let rows = Some((header.start, header.is_big_endian())).filter(|_| !header.is_fortran);
                Self::of(&file, Entry::Npy(rows), &header).ok_or_else(|| {
                    let what = "not a two-dimensional array of f32 or f64 [n_stars, n_pixels], but";
                    let remedy = match header.shape.len() {
                        2 => "numpy's array.astype(\"f4\") makes one of other real numbers",
                        _ => "give one row for each star, one column for each pixel (numpy's array.reshape)",
                    };
                    Error::format(&file, format!("{what} {}; {remedy}", header.describe()))
                })
            }
            Kind::Npz => the_only(&file, key, "two-dimensional array of floats", |name, header| {
                Self::of(&file, Entry::Npz(name.to_string()), header)
            }),
            Kind::Fits => {
                let (hdu, shape, is_wide) = find_image(&file, key.as_deref())?;
                let is_packed = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
                Ok(Self { file, entry: Entry::Fits(hdu, is_packed), shape, is_wide })
            }
            Kind::Other => Err(Error::format(&file, "spectra are read from .npy, .npz or .fits files")),
        }
    }

    fn of(file: &Path, entry: Entry, header: &npy::Header) -> Option<Self> {
        let shape = <[usize; 2]>::try_from(header.shape.as_slice()).ok()?;
        let is_wide = header.is_float(8);
        let found = Self { file: file.to_path_buf(), entry, shape: (shape[0], shape[1]), is_wide };
        (is_wide || header.is_float(4)).then_some(found)
    }

    /// Whether two paths came to the very same array.
    pub fn is_same(&self, other: &Self) -> bool {
        let real = |file: &Path| file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
        self.entry == other.entry && real(&self.file) == real(&other.file)
    }

    /// The file it is in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether some rows can be read without the others: not in .npz and .gz files, and not in arrays in Fortran's order.
    pub fn has_rows_of_their_own(&self) -> bool {
        matches!(self.entry, Entry::Npy(Some(_)) | Entry::Fits(_, false))
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for a damaged file, [`Error::Fits`].
    pub fn read(&self) -> Result<Matrix<'static>> {
        self.read_rows(0..self.shape.0)
    }

    /// Reads some rows; all, to come to them, unless they [can be read alone](Self::has_rows_of_their_own).
    ///
    /// # Errors
    /// As [`MatrixFile::read`].
    pub fn read_rows(&self, rows: Range<usize>) -> Result<Matrix<'static>> {
        Ok(match self.is_wide {
            true => Matrix::Wide(self.numbers(rows)?.into()),
            false => Matrix::Narrow(self.numbers(rows)?.into()),
        })
    }

    /// Reads rows that follow each other nowhere, one after the other; only where they [can be read alone](Self::has_rows_of_their_own) is
    /// that cheap.
    ///
    /// # Errors
    /// As [`MatrixFile::read`].
    pub fn read_some(&self, rows: &[usize]) -> Result<Matrix<'static>> {
        fn stacked<T: Number>(file: &MatrixFile, rows: &[usize]) -> Result<CowArray<'static, T, Ix2>> {
            let mut values = Vec::with_capacity(rows.len() * file.shape.1);
            for row in rows {
                values.extend(file.numbers::<T>(*row..row + 1)?);
            }
            let stacked = Array2::from_shape_vec((rows.len(), file.shape.1), values);
            Ok(stacked.map_err(|err| Error::format(&file.file, err.to_string()))?.into())
        }
        Ok(match self.is_wide {
            true => Matrix::Wide(stacked(self, rows)?),
            false => Matrix::Narrow(stacked(self, rows)?),
        })
    }

    fn numbers<T: Number>(&self, rows: Range<usize>) -> Result<Array2<T>> {
        let n_columns = self.shape.1;
        let elements = rows.start * n_columns..rows.end * n_columns;
        let values = match &self.entry {
            Entry::Npy(None) => return Ok(npy::read::<T, Ix2>(&self.file)?.slice_move(s![rows, ..])),
            Entry::Npz(name) => return Ok(npy::read_entry::<T, Ix2>(&self.file, name)?.slice_move(s![rows, ..])),
            Entry::Fits(hdu, _) => T::image(&mut FitsReader::open(&self.file)?, *hdu, elements)?,
            Entry::Npy(Some((start, is_big_endian))) => {
                let (width, mut values) = (size_of::<T>(), Vec::with_capacity(elements.len()));
                for first in elements.clone().step_by(BLOCK) {
                    let n_bytes = BLOCK.min(elements.end - first) * width;
                    let bytes = npy::read_bytes(&self.file, start + (first * width) as u64, n_bytes)?;
                    values.extend(bytes.chunks_exact(width).map(|bytes| T::decoded(bytes, *is_big_endian)));
                }
                values
            }
        };
        Array2::from_shape_vec((rows.len(), n_columns), values)
            .map_err(|err| Error::format(&self.file, err.to_string()))
    }
}

/// Finds and reads a whole array, in single precision as it stands.
///
/// # Errors
/// As [`MatrixFile::find`] and [`MatrixFile::read`].
pub fn read_matrix(path: &Path) -> Result<Array2<f32>> {
    let matrix = MatrixFile::find(path)?.read()?;
    Ok(matrix.scaled_rows(&(0..matrix.dim().0).collect::<Vec<_>>(), 1.0))
}

/// Numbers that spectra come in.
trait Number: ReadableElement + Copy {
    fn image(fits: &mut FitsReader, hdu: usize, elements: Range<usize>) -> Result<Vec<Self>>;

    /// From its bytes, as many as it has.
    fn decoded(bytes: &[u8], is_big_endian: bool) -> Self;
}

macro_rules! number {
    ($float:ty) => {
        impl Number for $float {
            fn image(fits: &mut FitsReader, hdu: usize, elements: Range<usize>) -> Result<Vec<Self>> {
                fits.image_section(hdu, elements)
            }

            fn decoded(bytes: &[u8], is_big_endian: bool) -> Self {
                let bytes = bytes.try_into().expect("as many bytes as it has");
                if is_big_endian { Self::from_be_bytes(bytes) } else { Self::from_le_bytes(bytes) }
            }
        }
    };
}

number!(f32);
number!(f64);

impl Matrix<'_> {
    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        match self {
            Self::Narrow(matrix) => matrix.dim(),
            Self::Wide(matrix) => matrix.dim(),
        }
    }

    /// The median of the absolute values that are finite and not 0, from at most a million of them; NaN where there is none.
    pub fn level(&self) -> f64 {
        fn sample<'a, T: Copy + Into<f64> + 'a>(values: impl Iterator<Item = &'a T>, n: usize) -> f64 {
            let values = values.step_by(n.div_ceil(LEVEL_SAMPLE).max(1)).map(|value| (*value).into().abs());
            median(&values.filter(|value: &f64| value.is_finite() && *value > 0.0).collect::<Vec<_>>())
        }
        match self {
            Self::Narrow(matrix) => sample(matrix.iter(), matrix.len()),
            Self::Wide(matrix) => sample(matrix.iter(), matrix.len()),
        }
    }

    /// Values that are infinite.
    pub fn n_infinite(&self) -> usize {
        match self {
            Self::Narrow(matrix) => matrix.iter().filter(|value| value.is_infinite()).count(),
            Self::Wide(matrix) => matrix.iter().filter(|value| value.is_infinite()).count(),
        }
    }

    /// Some rows, each value times `factor` before it goes to f32; finite values stay finite.
    pub fn scaled_rows(&self, rows: &[usize], factor: f64) -> Array2<f32> {
        let narrow = |value: f64| {
            let value = value * factor;
            let bounded = value.clamp(-f64::from(f32::MAX), f64::from(f32::MAX));
            if value.is_finite() { bounded as f32 } else { value as f32 }
        };
        match self {
            Self::Narrow(matrix) if factor == 1.0 => matrix.select(Axis(0), rows),
            Self::Narrow(matrix) => matrix.select(Axis(0), rows).mapv(|value| narrow(f64::from(value))),
            Self::Wide(matrix) => {
                Array2::from_shape_fn((rows.len(), matrix.ncols()), |(row, pixel)| narrow(matrix[[rows[row], pixel]]))
            }
        }
    }
}

/// Reads a list of wavelengths or other numbers: .npy, .npz (`file.npz:key`), a FITS image by name (`file.fits[WAVE]`), or
/// a CSV/FITS column whose name starts with `wavelength`.
///
/// # Errors
/// As [`MatrixFile::find`].
pub fn read_numbers(path: &Path) -> Result<Vec<f64>> {
    let (file, key) = split_key(path);
    let read = |header: &npy::Header, wide: &dyn Fn() -> Result<Vec<f64>>, narrow: &dyn Fn() -> Result<Vec<f32>>| match (
        header.shape.len(),
        header.is_float(8),
        header.is_float(4),
    ) {
        (1, true, _) => Some(wide()),
        (1, _, true) => Some(narrow().map(|values| values.into_iter().map(f64::from).collect())),
        _ => None,
    };
    match kind(&file) {
        Kind::Npy => {
            let (wide, narrow) = (|| list(npy::read::<f64, Ix1>(&file)), || list(npy::read::<f32, Ix1>(&file)));
            let one_dimensional = || Error::format(&file, "a one-dimensional array of numbers is expected here");
            read(&npy::header_of_file(&file)?, &wide, &narrow).ok_or_else(one_dimensional)?
        }
        Kind::Npz => the_only(&file, key, "list of numbers", |name, header| {
            let wide = || list(npy::read_entry::<f64, Ix1>(&file, name));
            read(header, &wide, &|| list(npy::read_entry::<f32, Ix1>(&file, name)))
        })?,
        Kind::Fits if key.is_some() => image_list(&file, &key.unwrap_or_default()),
        Kind::Fits | Kind::Other => {
            let mut table = Table::open(&file)?;
            let column = table.names().iter().find(|name| name.to_lowercase().starts_with("wavelength")).cloned();
            let column = column.unwrap_or_else(|| "wavelength".into());
            let rows = 0..table.n_rows();
            table.numbers(&column, rows, "the column must be called `wavelength`, vacuum Angstrom")
        }
    }
}

/// Reads an array of booleans from .npy, or the only one of an .npz file.
///
/// # Errors
/// As [`MatrixFile::find`].
pub fn read_booleans(path: &Path) -> Result<Vec<bool>> {
    let (file, key) = split_key(path);
    let is_list = |header: &npy::Header| header.shape.len() == 1 && header.is_boolean();
    if kind(&file) == Kind::Npy {
        if !is_list(&npy::header_of_file(&file)?) {
            return Err(Error::format(&file, "a one-dimensional array of booleans is expected here"));
        }
        return list(npy::read::<bool, Ix1>(&file));
    }
    the_only(&file, key, "list of booleans", |name, header| {
        is_list(header).then(|| list(npy::read_entry::<bool, Ix1>(&file, name)))
    })?
}

fn list<T: Clone, D: Dimension>(array: Result<Array<T, D>>) -> Result<Vec<T>> {
    array.map(|array| array.iter().cloned().collect())
}

/// The one array of an .npz file that `pick` takes.
fn the_only<A>(
    path: &Path,
    key: Option<String>,
    what: &str,
    pick: impl Fn(&str, &npy::Header) -> Option<A>,
) -> Result<A> {
    let names = npy::entries(path)?;
    let chosen: Vec<&String> = match &key {
        Some(key) => names.iter().filter(|name| *name == key).collect(),
        None => names.iter().collect(),
    };
    if let Some(key) = key.filter(|_| chosen.is_empty()) {
        return Err(Error::format(path, format!("no array `{key}` (it has {})", names.join(", "))));
    }
    let (mut found, mut damage) = (Vec::new(), None);
    for name in &chosen {
        match npy::header_of_entry(path, name) {
            Ok(header) => found.extend(pick(name, &header).map(|array| (*name, array))),
            Err(err) => damage = Some(err),
        }
    }
    match (found.pop(), found.last(), damage) {
        (Some((_, array)), None, _) => Ok(array),
        (Some((last, _)), Some((first, _)), _) => {
            let file = path.display();
            let detail = format!("more than one {what}; pick one, as in {file}:{first} or {file}:{last}");
            Err(Error::format(path, detail))
        }
        (None, _, Some(damage)) => Err(damage),
        (None, _, None) => {
            let chosen: Vec<&str> = chosen.iter().map(|name| name.as_str()).collect();
            Err(Error::format(path, format!("no {what} among {}", chosen.join(", "))))
        }
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Npy,
    Npz,
    Fits,
    Other,
}

fn kind(path: &Path) -> Kind {
    let name = path.to_string_lossy().to_lowercase();
    match name {
        name if name.ends_with(".npy") => Kind::Npy,
        name if name.ends_with(".npz") => Kind::Npz,
        _ if ends_in(path, &FITS_ENDINGS) => Kind::Fits,
        _ => Kind::Other,
    }
}

/// The two-dimensional image of this name, or the only one: its HDU, its shape, and whether it needs f64.
fn find_image(path: &Path, key: Option<&str>) -> Result<(usize, (usize, usize), bool)> {
    let mut fits = FitsReader::open(path)?;
    let hdus = match key {
        Some(key) => {
            let hdu = named_hdu(&mut fits, key, "image")?;
            hdu..hdu + 1
        }
        None => 0..fits.n_hdus()?,
    };
    let mut found = Vec::new();
    for hdu in hdus {
        if let Some([n_rows, n_columns]) = fits.image_shape(hdu)?.as_deref() {
            let (shape, is_wide) = ((*n_rows, *n_columns), fits.bitpix(hdu)? != -32);
            found.push((hdu, shape, is_wide));
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let what =
                key.map_or("no two-dimensional image".into(), |key| format!("[{key}] is no two-dimensional image"));
            Err(Error::format(path, format!("{what} [n_stars, n_pixels] in this file")))
        }
        several => {
            let names: Vec<String> =
                several.iter().map(|(hdu, ..)| format!("{}[{}]", path.display(), hdu_name(&mut fits, *hdu))).collect();
            Err(Error::format(path, format!("more than one two-dimensional image; pick one: {}", names.join(", "))))
        }
    }
}

/// A one-dimensional image as a list.
fn image_list(path: &Path, key: &str) -> Result<Vec<f64>> {
    let mut fits = FitsReader::open(path)?;
    let hdu = named_hdu(&mut fits, key, "image")?;
    match fits.image_shape(hdu)?.as_deref() {
        Some([n]) => fits.image_section(hdu, 0..*n),
        _ => {
            Err(Error::format(path, format!("[{key}] is no one-dimensional image; a list of numbers is expected here")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use ndarray_npy::{NpzWriter, WriteNpyExt};
    use std::fs::File;

    #[test]
    fn npy_npz_and_fits_give_the_same_matrix() {
        let folder = tempfile::tempdir().unwrap();
        let matrix = Array2::from_shape_fn((3, 4), |(n, j)| (n * 10 + j) as f32);
        let npy = folder.path().join("a.npy");
        matrix.mapv(f64::from).write_npy(File::create(&npy).unwrap()).unwrap();
        let npz = folder.path().join("a.npz");
        let mut archive = NpzWriter::new(File::create(&npz).unwrap());
        archive.add_array("wavelength", &Array1::from_vec(vec![1.0_f64; 4])).unwrap();
        archive.add_array("good", &Array1::from_vec(vec![true, false])).unwrap();
        archive.add_array("flux", &matrix).unwrap();
        archive.finish().unwrap();
        let fits = folder.path().join("a.fits");
        super::super::fits::write(&fits, |fits| fits.image_f32("FLUX", matrix.as_slice().unwrap(), [3, 4])).unwrap();

        for path in [&npy, &npz, &folder.path().join("a.npz:flux"), &fits, &folder.path().join("a.fits[flux]")] {
            assert_eq!(read_matrix(path).unwrap(), matrix, "{}", path.display());
        }
        assert_eq!(read_numbers(&npz).unwrap(), [1.0; 4]);
        assert_eq!(read_booleans(&npz).unwrap(), [true, false]);
        let message = |key: &str| read_matrix(&folder.path().join(format!("a.npz:{key}"))).unwrap_err().to_string();
        assert!(message("error").contains("no array `error`") && message("error").contains("flux"));
        assert!(message("wavelength").contains("no two-dimensional array"), "{}", message("wavelength"));
    }

    #[test]
    fn some_rows_are_those_of_the_whole_however_it_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let matrix = Array2::from_shape_fn((5, 3), |(n, j)| n as f64 + 0.1 * j as f64);
        matrix.write_npy(File::create(at("c.npy")).unwrap()).unwrap();
        matrix
            .t()
            .as_standard_layout()
            .to_owned()
            .reversed_axes()
            .write_npy(File::create(at("f.npy")).unwrap())
            .unwrap();
        let narrow: Vec<f32> = matrix.iter().map(|value| *value as f32).collect();
        super::super::fits::write(&at("a.fits"), |fits| fits.image_f32("FLUX", &narrow, [5, 3])).unwrap();
        for (name, alone) in [("c.npy", true), ("f.npy", false), ("a.fits", true)] {
            let file = MatrixFile::find(&at(name)).unwrap();
            assert_eq!(file.has_rows_of_their_own(), alone, "{name}");
            let some = file.read_rows(2..4).unwrap().scaled_rows(&[0, 1], 1.0);
            assert_eq!(some, file.read().unwrap().scaled_rows(&[2, 3], 1.0), "{name}");
            assert_eq!(some[[1, 2]], 3.2_f32, "{name}");
        }
    }

    #[test]
    fn of_several_images_one_must_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        super::super::fits::write(&at("a.fits"), |fits| {
            fits.image_f32("FLUX", &[1.0, 2.0], [1, 2])?;
            fits.image_f32("IVAR", &[3.0, 4.0], [1, 2])
        })
        .unwrap();
        let message = read_matrix(&at("a.fits")).unwrap_err().to_string();
        assert!(
            message.contains("pick one") && message.contains("a.fits[FLUX], ") && message.contains("[IVAR]"),
            "{message}"
        );
        assert_eq!(read_matrix(&at("a.fits[IVAR]")).unwrap(), read_matrix(&at("a.fits[2]")).unwrap());
        assert_eq!(read_matrix(&at("a.fits[ivar]")).unwrap()[[0, 1]], 4.0);
        let message = read_matrix(&at("a.fits[ERR]")).unwrap_err().to_string();
        assert!(message.contains("no image [ERR] (it has 0, FLUX, IVAR)"), "{message}");
        let find = |name: &str| MatrixFile::find(&at(name)).unwrap();
        assert!(find("a.fits[IVAR]").is_same(&find("a.fits[2]")) && !find("a.fits[IVAR]").is_same(&find("a.fits[1]")));
    }

    #[test]
    fn faint_units_survive_single_precision() {
        let ivar = Matrix::Wide(Array2::from_shape_vec((1, 2), vec![4e38, 1e40]).unwrap().into());
        let unit = 2.0_f64.powi(-60);
        let scaled = ivar.scaled_rows(&[0], unit * unit).mapv(f64::from);
        assert!((scaled[[0, 1]] / (1e40 * unit * unit) - 1.0).abs() < 1e-7, "{scaled}");
        assert_eq!(ivar.scaled_rows(&[0], 1.0)[[0, 1]], f32::MAX);
        let level =
            Matrix::Narrow(Array2::from_shape_vec((1, 4), vec![-2e-17, f32::NAN, 0.0, 2e-17]).unwrap().into()).level();
        assert!((level / 2e-17 - 1.0).abs() < 1e-6, "{level}");
    }
}
