//! Ctrl-C, and what schedulers send: work that asks for it comes to a good end, other work ends at once.

use std::process::exit;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::terminal::tell;

/// Whether work asks for [`told_to_stop`].
static DEFERS: AtomicBool = AtomicBool::new(false);
/// The signal that came while work deferred it; 0 for none.
static TOLD: AtomicI32 = AtomicI32::new(0);

/// Says what is left of work that ends at once.
type LastWords = Box<dyn Fn() -> String + Send>;
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

/// Exit code of work that a scheduler stopped and that goes on when it is started again (EX_TEMPFAIL of sysexits.h).
const STARTED_AGAIN: u8 = 75;
/// Exit code of a program that a signal ended, as shells have it: this and the signal's number.
const OF_SIGNAL: i32 = 128;

/// From now on Ctrl-C, SIGTERM and SIGUSR1 let work that asks for it come to a good end; a second Ctrl-C, or with other work the first
/// signal, ends it at once. Schedulers send a signal to a script and to what it started, which hands it on: a second one says nothing new.
/// SIGUSR1, which warns of a time limit, does nothing to other work.
pub fn heed() {
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGUSR1]) {
        Ok(signals) => signals,
        Err(err) => return tracing::warn!("Ctrl-C will end the program at once: {err}"),
    };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let defers = DEFERS.load(Ordering::Relaxed);
            if signal == SIGUSR1 && !defers {
                continue;
            }
            let was_told = defers && TOLD.swap(signal, Ordering::Relaxed) != 0;
            if was_told && signal != SIGINT {
                continue;
            }
            if !defers || was_told {
                let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
                tell(&format!("\nerror: stopped as asked{}", words.as_ref().map(|words| words()).unwrap_or_default()));
                exit(OF_SIGNAL + signal);
            }
            let again = if signal == SIGINT { "; press Ctrl-C again to stop at once" } else { "" };
            tell(&format!("\nstopping where nothing is lost{again}"));
        }
    });
}

/// What is said behind "stopped as asked" where a signal ends the program at once; asked for when it does.
pub fn last_words(words: impl Fn() -> String + Send + 'static) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(words));
}

/// From now on, or no longer, work asks now and then whether to stop.
pub fn defer(defers: bool) {
    DEFERS.store(defers, Ordering::Relaxed);
}

/// Whether work that defers signals should stop.
pub fn told_to_stop() -> bool {
    TOLD.load(Ordering::Relaxed) != 0
}

/// Exit code of work that stopped where nothing is lost, if it was a scheduler that asked for it.
pub fn code_of_stop() -> Option<u8> {
    matches!(TOLD.load(Ordering::Relaxed), SIGTERM | SIGUSR1).then_some(STARTED_AGAIN)
}
