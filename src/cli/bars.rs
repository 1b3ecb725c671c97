//! One progress bar on stderr, for tasks long enough to wonder about.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;

/// Draws the current task's bar; nothing where stderr is no terminal.
pub struct Bars {
    quiet: bool,
    current: Mutex<Option<ProgressBar>>,
}

impl Bars {
    /// No bar yet.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, current: Mutex::new(None) }
    }

    fn with_current(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bars {
    fn start(&self, task: &str, total: usize) {
        if self.quiet {
            return;
        }
        let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len}  {per_sec}  {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style);
        bar.set_message(task.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.with_current(|current| *current = Some(bar));
    }

    fn advance(&self, steps: usize) {
        self.with_current(|current| {
            if let Some(bar) = current {
                bar.inc(steps as u64);
            }
        });
    }

    fn finish(&self) {
        self.with_current(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }
}
