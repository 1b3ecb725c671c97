//! Libraries of model spectra in .npz files.

use std::path::Path;

use ndarray::{Array, Array2, Axis, Dimension, Ix0};
use ndarray_npy::ReadableElement;

use super::npy;
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
    npy::entries(path)?;
    let scale = array::<f64, Ix0>(path, "flux_scale")?.into_scalar();
    let counts: Array2<u16> = array(path, "flux_u16")?;
    let library = Library {
        flux: counts.mapv(|count| (f64::from(count) * scale) as f32),
        labels: array::<f32, _>(path, "labels")?.mapv(f64::from),
        nuisances: array::<f32, _>(path, "nuisance")?.mapv(f64::from),
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

fn array<T: ReadableElement, D: Dimension>(path: &Path, name: &str) -> Result<Array<T, D>> {
    npy::read_entry(path, name).map_err(|err| {
        let said = err.to_string();
        let detail = said.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&said);
        Error::format(path, format!("no usable array `{name}` ({detail}); is this a library of model spectra?"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array0;
    use ndarray_npy::NpzWriter;
    use std::fs::File;

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
