//! Errors of maury as the exceptions of `maury/_errors.py`.

use maury::error::Error;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// The exception that an error becomes.
pub fn exception(err: &Error) -> PyErr {
    let kind = match err.root() {
        Error::Config(_) | Error::BackendNotCompiled { .. } => "ConfigError",
        Error::TooFewStars { .. } => "TooFewStarsError",
        Error::Fits { .. }
        | Error::Format { .. }
        | Error::MissingColumn { .. }
        | Error::Mismatch { .. }
        | Error::Continuum(_) => "DataError",
        Error::Checkpoint { .. } | Error::Training { .. } | Error::Sampling(_) => "ModelError",
        Error::Io { .. } | Error::Network { .. } | Error::Device { .. } => "SystemRefusal",
        Error::OfModel { .. } | Error::Unfinished(_) | Error::Sweep { .. } | Error::Figure { .. } => "MauryError",
        Error::Interrupted { .. } => return PyKeyboardInterrupt::new_err(()),
    };
    Python::attach(|py| named(py, kind, err.to_string()))
}

/// An exception of the hierarchy, by its name.
pub fn named(py: Python, kind: &str, said: String) -> PyErr {
    match class(py, kind) {
        Ok(class) => PyErr::from_type(class, said),
        Err(err) => err,
    }
}

/// A class of the hierarchy, by its name.
///
/// # Errors
/// That the package is not whole.
pub fn class<'py>(py: Python<'py>, kind: &str) -> PyResult<Bound<'py, PyType>> {
    Ok(py.import("maury._errors")?.getattr(kind)?.cast_into::<PyType>()?)
}
