//! One progress bar on stderr, for tasks long enough to wonder about, and Ctrl-C.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::{shown, tell};
use crate::progress::Progress;

/// Whether Ctrl-C was pressed while work deferred it.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Whether work asks for [`INTERRUPTED`].
static DEFERS: AtomicBool = AtomicBool::new(false);

/// Says what is left of work that ends at once.
type LastWords = Box<dyn Fn() -> String + Send>;
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

/// Exit code of a program that Ctrl-C ended, as shells have it.
const ENDED_BY_CTRL_C: i32 = 130;

/// From now on Ctrl-C lets work that asks for it come to a good end; pressed again, or with other work, it ends at once.
pub fn heed_ctrl_c() {
    let heeded = ctrlc::set_handler(|| {
        if !DEFERS.load(Ordering::Relaxed) || INTERRUPTED.swap(true, Ordering::Relaxed) {
            let words = LAST_WORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tell(&format!("\nerror: stopped as asked{}", words.as_ref().map(|words| words()).unwrap_or_default()));
            std::process::exit(ENDED_BY_CTRL_C);
        }
        tell("\nstopping where nothing is lost; press Ctrl-C again to stop at once");
    });
    if let Err(err) = heeded {
        tracing::warn!("Ctrl-C will end the program at once: {err}");
    }
}

/// What Ctrl-C says behind "stopped as asked" where it ends the program at once; asked for when it does.
pub fn last_words(words: impl Fn() -> String + Send + 'static) {
    *LAST_WORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Box::new(words));
}

/// Where stderr is no terminal, a long task says how far it is every so often.
const BETWEEN_WORDS: Duration = Duration::from_secs(30);

/// Draws the current task's bar; where stderr is no terminal, a line every half minute.
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

impl Progress for Bars {
    fn start(&self, task: &str, total: usize) {
        if self.quiet {
            return;
        }
        let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len}  {per_sec}  {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
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
                let (done, all) = (bar.position(), bar.length().unwrap_or_default());
                tell(&format!("{}: {done} of {all}", bar.message()));
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
        DEFERS.store(defers, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}
