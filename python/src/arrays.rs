//! Arrays of numpy as maury takes them, and back.

use maury::data::arrays::Matrix;
use maury::stars::held_arrays::{HeldArrays, Unit};
use numpy::{PyArrayLike1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::exception;

/// A two-dimensional array of single or double precision, borrowed.
pub enum Floats<'py> {
    /// float32.
    Narrow(PyReadonlyArray2<'py, f32>),
    /// float64.
    Wide(PyReadonlyArray2<'py, f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Floats<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(narrow) = value.extract::<PyReadonlyArray2<f32>>() {
            return Ok(Self::Narrow(narrow));
        }
        match value.extract::<PyReadonlyArray2<f64>>() {
            Ok(wide) => Ok(Self::Wide(wide)),
            Err(_) => Err(PyTypeError::new_err("a numpy array of float32 or float64, [n_stars, n_pixels], expected")),
        }
    }
}

impl Floats<'_> {
    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        let shape = match self {
            Self::Narrow(array) => array.shape(),
            Self::Wide(array) => array.shape(),
        };
        (shape[0], shape[1])
    }

    fn matrix(&self) -> Matrix<'_> {
        match self {
            Self::Narrow(array) => Matrix::Narrow(array.as_array().into()),
            Self::Wide(array) => Matrix::Wide(array.as_array().into()),
        }
    }
}

/// Spectra as Python gives them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Spectra<'py> {
    /// Flux, [n_stars, n_pixels].
    flux: Floats<'py>,
    /// Its error or inverse variance.
    noise: Floats<'py>,
    /// Whether `noise` is an error.
    is_error: bool,
    /// Names of the stars.
    ids: Option<Vec<String>>,
    /// Vacuum wavelengths in Angstrom.
    wavelength: Option<PyArrayLike1<'py, f64>>,
    /// Whether they came with their unit.
    knows_unit: bool,
}

impl Spectra<'_> {
    /// Stars.
    pub fn n_stars(&self) -> usize {
        self.flux.shape().0
    }

    /// The spectra as maury holds them; single precision is lent.
    ///
    /// # Errors
    /// DataError where they do not fit together.
    pub fn held(&self) -> PyResult<HeldArrays<'_>> {
        let unit = if self.knows_unit { Unit::Told } else { Unit::Guessed };
        let wavelength = self.wavelength.as_ref().map(|wavelength| (wavelength.as_array().to_vec(), unit));
        HeldArrays::new(self.flux.matrix(), self.noise.matrix(), self.is_error, self.ids.clone(), wavelength)
            .map_err(|err| exception(&err))
    }
}
