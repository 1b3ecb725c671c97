//! Libraries of model spectra in .npz files.

use std::fs::File;
use std::path::Path;

use ndarray::{Array0, Array2, Axis};
use ndarray_npy::{NpzReader, ReadableElement};

use crate::error::{Error, Result};

/// Model spectra with what they were made for.
#[derive(Debug, Clone)]
pub struct Library {
    /// Flux normalized by the true continuum, [n_models, n_pixels].
    pub flux: Array2<f32>,
    /// Labels, [n_models, n_labels].
    pub labels: Array2<f64>,
    /// Everything else that shapes the spectra, [n_models, n_nuisances].
    pub nuisances: Array2<f64>,
}

/// Reads `flux_u16` times `flux_scale`, `labels` and `nuisance` from an .npz file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] if an array is absent, of another type, or holds a number that is none.
pub fn read(path: &Path) -> Result<Library> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut archive = NpzReader::new(file).map_err(|err| Error::format(path, format!("not an .npz file ({err})")))?;
    let scale: Array0<f64> = archive.by_name("flux_scale").map_err(|err| absent(path, "flux_scale", &err))?;
    let counts: Array2<u16> = matrix(&mut archive, path, "flux_u16")?;
    let scale = scale.into_scalar();
    let library = Library {
        flux: counts.mapv(|count| (f64::from(count) * scale) as f32),
        labels: matrix::<f32>(&mut archive, path, "labels")?.mapv(f64::from),
        nuisances: matrix::<f32>(&mut archive, path, "nuisance")?.mapv(f64::from),
    };
    let n_models = library.flux.nrows();
    if library.labels.nrows() != n_models || library.nuisances.nrows() != n_models {
        let (labels, nuisances) = (library.labels.nrows(), library.nuisances.nrows());
        let detail =
            format!("{n_models} spectra, {labels} rows of labels, {nuisances} of nuisances; one of each per model");
        return Err(Error::format(path, detail));
    }
    let finite = |row: usize| {
        let inputs = library.labels.index_axis(Axis(0), row);
        inputs.iter().chain(library.nuisances.index_axis(Axis(0), row)).all(|v| v.is_finite())
    };
    match (0..n_models).find(|row| !finite(*row)) {
        Some(row) => Err(Error::format(path, format!("model {row} has an input that is not a number"))),
        None => Ok(library),
    }
}

fn matrix<T: ReadableElement>(archive: &mut NpzReader<File>, path: &Path, name: &str) -> Result<Array2<T>> {
    archive.by_name(name).map_err(|err| absent(path, name, &err))
}

fn absent(path: &Path, name: &str, err: &ndarray_npy::ReadNpzError) -> Error {
    Error::format(path, format!("no usable array `{name}` ({err}); is this a library of model spectra?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray_npy::NpzWriter;

    fn write(path: &Path, rows: usize, label: f32) {
        let mut archive = NpzWriter::new(File::create(path).unwrap());
        archive.add_array("flux_u16", &Array2::from_elem((2, 3), 20_000_u16)).unwrap();
        archive.add_array("flux_scale", &Array0::from_elem((), 5e-5_f64)).unwrap();
        archive.add_array("labels", &Array2::from_elem((rows, 2), label)).unwrap();
        archive.add_array("nuisance", &Array2::from_elem((2, 1), 0.5_f32)).unwrap();
        archive.finish().unwrap();
    }

    #[test]
    fn fluxes_are_counts_times_their_scale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.npz");
        write(&path, 2, 1.5);
        let library = read(&path).unwrap();
        assert_eq!((library.flux[[1, 2]], library.labels[[0, 1]], library.nuisances[[1, 0]]), (1.0, 1.5, 0.5));
        write(&path, 3, 1.5);
        assert!(read(&path).unwrap_err().to_string().contains("one of each per model"));
        write(&path, 2, f32::NAN);
        assert!(read(&path).unwrap_err().to_string().contains("model 0"));
    }
}
