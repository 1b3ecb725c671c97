//! How long work tells that it goes on; the library never draws a bar itself.

/// Receives the progress of one task at a time; who does not care for something leaves it out.
pub trait Progress: Sync {
    /// A task of `total` steps begins.
    fn start(&self, _task: &str, _total: usize) {}
    /// Some steps are done.
    fn advance(&self, _steps: usize) {}
    /// The task is over.
    fn finish(&self) {}
    /// From now on, or no longer, work asks now and then whether to stop, and does so where nothing is lost.
    fn defer_interruption(&self, _defers: bool) {}
    /// Whether work that defers interruptions should stop.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
