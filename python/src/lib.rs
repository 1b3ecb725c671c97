//! maury for Python: the native half of the package `maury`, which `python/maury` wraps in the conventions of scikit-learn and astropy.

mod arrays;
mod errors;
mod model;
mod prepare;
mod teach;
mod work;

use std::ffi::OsString;

use maury::spectra::labels;
use maury::spectra::quality::star_flags;
use pyo3::prelude::*;

/// As in the program: tensor operations allocate and free megabytes all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The program, `maury` on the command line; the exit code.
#[pyfunction]
fn main(py: Python, arguments: Vec<OsString>) -> u8 {
    py.detach(|| maury::cli::main_with(arguments))
}

/// The unit of a label, as astropy writes it; empty where it has none.
#[pyfunction]
fn label_unit(label: &str) -> &'static str {
    labels::unit(label)
}

/// Names and values of the flags of a star.
#[pyfunction]
fn star_flag_values() -> Vec<(&'static str, i64)> {
    star_flags::NAMES.iter().map(|(bit, name)| (*name, *bit)).collect()
}

#[pymodule]
fn _maury(module: &Bound<PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(label_unit, module)?)?;
    module.add_function(wrap_pyfunction!(star_flag_values, module)?)?;
    module.add_function(wrap_pyfunction!(teach::teach, module)?)?;
    module.add_function(wrap_pyfunction!(prepare::prepare, module)?)?;
    module.add_function(wrap_pyfunction!(prepare::read_spectrum, module)?)?;
    module.add_class::<model::Model>()
}
