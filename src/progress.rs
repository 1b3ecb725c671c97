//! How long work tells that it goes on; the library never draws a bar itself.

/// Receives the progress of one task at a time.
pub trait Progress: Sync {
    /// A task of `total` steps begins.
    fn start(&self, task: &str, total: usize);
    /// Some steps are done.
    fn advance(&self, steps: usize);
    /// The task is over.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _task: &str, _total: usize) {}
    fn advance(&self, _steps: usize) {}
    fn finish(&self) {}
}
