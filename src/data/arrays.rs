//! Arrays of any survey: spectra and pixel lists in .npy, .npz, FITS images or CSV.

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Ix1, Ix2};
use ndarray_npy::{NpzReader, ReadNpyExt, ReadableElement};

use super::fits::FitsReader;
use super::table::Table;
use crate::error::{Error, Result};

/// Reads a two-dimensional array [n_stars, n_pixels] of floats.
///
/// An .npz file must hold one such array, or the path must name it: `spectra.npz:flux`. A FITS file is read from its
/// first two-dimensional image.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] for another shape or type, [`Error::Fits`].
pub fn read_matrix(path: &Path) -> Result<Array2<f32>> {
    let (file, key) = split_key(path);
    match kind(&file) {
        Kind::Npy => matrix_from_npy(&file, || File::open(&file).map_err(Error::io(&file, "open"))),
        Kind::Npz => {
            let narrow = |name: &str| npz_entry::<f32, Ix2>(&file, name);
            let wide = |name: &str| npz_entry::<f64, Ix2>(&file, name).map(|matrix| matrix.mapv(|v| v as f32));
            the_only(&file, key, "two-dimensional array of floats", |name| narrow(name).or_else(|| wide(name)))
        }
        Kind::Fits => matrix_from_fits(&file),
        Kind::Other => Err(Error::format(&file, "spectra are read from .npy, .npz or .fits files")),
    }
}

/// Reads a list of wavelengths or other numbers: .npy, .npz (`file.npz:key`), or a CSV/FITS column whose name starts
/// with `wavelength`.
///
/// # Errors
/// As [`read_matrix`].
pub fn read_numbers(path: &Path) -> Result<Vec<f64>> {
    let (file, key) = split_key(path);
    let one_dimensional = || Error::format(&file, "a one-dimensional array of numbers is expected here");
    match kind(&file) {
        Kind::Npy => {
            let read = |file: &Path| File::open(file).map_err(Error::io(file, "open"));
            if let Ok(values) = Array1::<f64>::read_npy(read(&file)?) {
                return Ok(values.to_vec());
            }
            let values = Array1::<f32>::read_npy(read(&file)?).map_err(|_| one_dimensional())?;
            Ok(values.iter().map(|v| f64::from(*v)).collect())
        }
        Kind::Npz => {
            let wide = |name: &str| npz_entry::<f64, Ix1>(&file, name);
            let narrow = |name: &str| npz_entry::<f32, Ix1>(&file, name).map(|values| values.mapv(f64::from));
            let values = the_only(&file, key, "list of numbers", |name| wide(name).or_else(|| narrow(name)))?;
            Ok(values.to_vec())
        }
        Kind::Fits | Kind::Other => {
            let mut table = Table::open(&file)?;
            let column = table.names().iter().find(|name| name.to_lowercase().starts_with("wavelength")).cloned();
            let column = column.unwrap_or_else(|| "wavelength".into());
            let rows = 0..table.n_rows();
            table.numbers(&column, rows, "the column must be called `wavelength`, vacuum Angstrom")
        }
    }
}

/// Reads an array of booleans from .npy, or the first one of an .npz file.
///
/// # Errors
/// As [`read_matrix`].
pub fn read_booleans(path: &Path) -> Result<Vec<bool>> {
    let (file, key) = split_key(path);
    let booleans = || Error::format(&file, "a one-dimensional array of booleans is expected here");
    if kind(&file) == Kind::Npy {
        let open = File::open(&file).map_err(Error::io(&file, "open"))?;
        return Ok(Array1::<bool>::read_npy(open).map_err(|_| booleans())?.to_vec());
    }
    Ok(the_only(&file, key, "list of booleans", |name| npz_entry::<bool, Ix1>(&file, name))?.to_vec())
}

/// The one array of an .npz file that `read` understands.
fn the_only<A>(path: &Path, key: Option<String>, what: &str, read: impl Fn(&str) -> Option<A>) -> Result<A> {
    let names = npz_names(path, key)?;
    let mut found: Vec<(&String, A)> = names.iter().filter_map(|name| Some((name, read(name)?))).collect();
    match (found.pop(), found.last()) {
        (Some((_, array)), None) => Ok(array),
        (Some((last, _)), Some((first, _))) => {
            let file = path.display();
            let detail = format!("more than one {what}; pick one, as in {file}:{first} or {file}:{last}");
            Err(Error::format(path, detail))
        }
        (None, _) => Err(Error::format(path, format!("no {what} among {}", names.join(", ")))),
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
        name if name.ends_with(".fits") || name.ends_with(".fits.gz") => Kind::Fits,
        _ => Kind::Other,
    }
}

/// `file.npz:key` into the file and the key; any other path as it is.
pub fn split_key(path: &Path) -> (PathBuf, Option<String>) {
    let text = path.to_string_lossy();
    match text.split_once(".npz:") {
        Some((stem, key)) => (format!("{stem}.npz").into(), Some(key.to_string())),
        None => (path.to_path_buf(), None),
    }
}

fn matrix_from_npy(path: &Path, open: impl Fn() -> Result<File>) -> Result<Array2<f32>> {
    if let Ok(matrix) = Array2::<f32>::read_npy(open()?) {
        return Ok(matrix);
    }
    Array2::<f64>::read_npy(open()?).map(|matrix| matrix.mapv(|v| v as f32)).map_err(|err| {
        Error::format(path, format!("not a two-dimensional array of f32 or f64 [n_stars, n_pixels] ({err})"))
    })
}

fn matrix_from_fits(path: &Path) -> Result<Array2<f32>> {
    let mut fits = FitsReader::open(path)?;
    for hdu in 0..fits.n_hdus()? {
        if let Some([n_rows, n_columns]) = fits.image_shape(hdu)?.as_deref() {
            let shape = (*n_rows, *n_columns);
            let values = fits.image_section(hdu, 0..shape.0 * shape.1)?;
            return Array2::from_shape_vec(shape, values).map_err(|err| Error::format(path, err.to_string()));
        }
    }
    Err(Error::format(path, "no two-dimensional image [n_stars, n_pixels] in this file"))
}

fn npz_names(path: &Path, key: Option<String>) -> Result<Vec<String>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut archive = NpzReader::new(file).map_err(|err| Error::format(path, format!("not an .npz file ({err})")))?;
    let names = archive.names().map_err(|err| Error::format(path, err.to_string()))?;
    match key {
        Some(key) if names.contains(&key) => Ok(vec![key]),
        Some(key) => Err(Error::format(path, format!("no array `{key}` (it has {})", names.join(", ")))),
        None => Ok(names),
    }
}

fn npz_entry<T, D>(path: &Path, name: &str) -> Option<ndarray::Array<T, D>>
where
    T: ReadableElement,
    D: ndarray::Dimension,
{
    NpzReader::new(File::open(path).ok()?).ok()?.by_name(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray_npy::{NpzWriter, WriteNpyExt};

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

        for path in [&npy, &npz, &folder.path().join("a.npz:flux"), &fits] {
            assert_eq!(read_matrix(path).unwrap(), matrix, "{}", path.display());
        }
        assert_eq!(read_numbers(&npz).unwrap(), [1.0; 4]);
        assert_eq!(read_booleans(&npz).unwrap(), [true, false]);
        let message = read_matrix(&folder.path().join("a.npz:error")).unwrap_err().to_string();
        assert!(message.contains("no array `error`") && message.contains("flux"), "{message}");
    }

    #[test]
    fn a_vector_where_a_matrix_should_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        Array1::from_vec(vec![1.0_f32; 4]).write_npy(File::create(&path).unwrap()).unwrap();
        assert!(read_matrix(&path).unwrap_err().to_string().contains("two-dimensional"));
    }
}
