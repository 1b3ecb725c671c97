//! Where a run keeps what it makes.

use std::path::Path;

/// Where a run keeps what it makes on its way.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the experiment; empty for a point of a sweep.
    pub name: &'a str,
    /// The run's own folder.
    pub folder: &'a Path,
    /// Prepared sets, shared between runs.
    pub cache: &'a Path,
    /// Whether it is a point of a sweep: no trained model is kept, nothing is looked into beside the comparison, and a model that needs
    /// more stars than there are is left out.
    pub is_point: bool,
}
