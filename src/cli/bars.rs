//! One progress bar on stderr, for tasks long enough to wonder about.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::signals;
use super::terminal::{shown, tell};
use crate::progress::Progress;

/// Where stderr is no terminal, a long task says how far it is every so often.
const BETWEEN_WORDS: Duration = Duration::from_secs(60);

/// Draws the current task's bar; where stderr is no terminal, a line a minute: logs of a cluster are read as they grow.
pub struct Bars {
    quiet: bool,
    current: Mutex<Option<Task>>,
}

/// A task under way.
struct Task {
    bar: ProgressBar,
    spoke: Instant,
}

impl Bars {
    /// No bar yet.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, current: Mutex::new(None) }
    }

    fn with_current(&self, act: impl FnOnce(&mut Option<Task>)) {
        act(&mut self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

/// How far a task is, as in `12,288 of 45,813 (26.8%), 402/s, 83 seconds left`.
fn words(bar: &ProgressBar) -> String {
    let (done, all) = (bar.position(), bar.length().unwrap_or_default());
    let share = 100.0 * done as f64 / all.max(1) as f64;
    let pace = pace(done, all, bar.elapsed());
    format!("{} of {} ({share:.1}%), {pace}", HumanCount(done), HumanCount(all))
}

/// How quick a task is, and how long it will take: by all of it so far. A step may take minutes, after which a rate of the last seconds
/// is none.
fn pace(done: u64, all: u64, elapsed: Duration) -> String {
    if done == 0 {
        return "no step done yet".into();
    }
    let of_step = elapsed.as_secs_f64() / done as f64;
    let pace = match of_step.recip() {
        rate if rate >= 10.0 => format!("{rate:.0}/s"),
        rate if rate >= 1.0 => format!("{rate:.1}/s"),
        _ => format!("{of_step:.1} s each"),
    };
    let left = Duration::from_secs_f64((of_step * all.saturating_sub(done) as f64).min(1e12));
    format!("{pace}, {} left", HumanDuration(left))
}

impl Progress for Bars {
    fn start(&self, task: &str, total: usize) {
        if self.quiet {
            return;
        }
        let now = |state: &ProgressState, to: &mut dyn Write| {
            _ = to.write_str(&pace(state.pos(), state.len().unwrap_or_default(), state.elapsed()));
        };
        let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len}  {pace}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("pace", now);
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style);
        bar.set_message(shown(task).into_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.with_current(|current| *current = Some(Task { bar, spoke: Instant::now() }));
    }

    fn advance(&self, steps: usize) {
        self.with_current(|current| {
            let Some(Task { bar, spoke }) = current else { return };
            bar.inc(steps as u64);
            if bar.is_hidden() && spoke.elapsed() >= BETWEEN_WORDS {
                *spoke = Instant::now();
                tell(&format!("{}: {}", bar.message(), words(bar)));
            }
        });
    }

    fn finish(&self) {
        self.with_current(|current| {
            if let Some(Task { bar, .. }) = current.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn defer_interruption(&self, defers: bool) {
        signals::defer(defers);
    }

    fn interrupted(&self) -> bool {
        signals::told_to_stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_that_of_the_whole_task() {
        let after = |seconds: u64, done: u64| pace(done, 16, Duration::from_secs(seconds));
        assert_eq!(after(90, 3), "30.0 s each, 7 minutes left");
        assert_eq!(after(2, 12), "6.0/s, 1 second left");
        assert_eq!(after(40, 0), "no step done yet");
        assert_eq!(pace(1000, 3000, Duration::from_secs(2)), "500/s, 4 seconds left");
    }
}
