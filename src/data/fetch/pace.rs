//! Politeness and patience: when the next request may begin, what is tried again, and when to give up.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::refusal::{Refusal, Trouble};
use super::settings::ArchiveSettings;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// How often a waiting connection looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// What all connections share: their turns, the pauses servers ask for, and the end of the run.
pub(super) struct Pace<'a> {
    settings: &'a ArchiveSettings,
    progress: &'a dyn Progress,
    state: Mutex<State>,
}

struct State {
    /// No request may begin before.
    next: Instant,
    /// Requests failed since the last that was answered.
    failures: usize,
    /// Why the run stops.
    halted: Option<Error>,
}

impl<'a> Pace<'a> {
    pub fn new(settings: &'a ArchiveSettings, progress: &'a dyn Progress) -> Self {
        Self { settings, progress, state: Mutex::new(State { next: Instant::now(), failures: 0, halted: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the run; the first reason stands.
    pub fn halt(&self, reason: Error) {
        self.state().halted.get_or_insert(reason);
    }

    /// Whether to go on, asking for an interruption on the way.
    pub fn goes_on(&self) -> bool {
        if self.progress.interrupted() {
            self.halt(Error::Interrupted { kept: false });
        }
        self.state().halted.is_none()
    }

    /// Why the run was stopped.
    ///
    /// # Errors
    /// The reason given to [`Pace::halt`].
    pub fn verdict(&self) -> Result<()> {
        self.state().halted.take().map_or(Ok(()), Err)
    }

    /// Does one thing until it is done, refused for good, or failed too often.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn persist<T>(&self, url: &str, mut attempt: impl FnMut() -> Result<T, Refusal>) -> Result<T, Trouble> {
        let mut failures = 0;
        loop {
            self.turn()?;
            let reason = match attempt() {
                Ok(done) => {
                    self.state().failures = 0;
                    return Ok(done);
                }
                Err(Refusal::Absent(reason)) => {
                    self.state().failures = 0;
                    return Err(Trouble::Absent(reason));
                }
                Err(Refusal::Final(reason)) => {
                    self.state().failures = 0;
                    return Err(Trouble::Failed(reason));
                }
                Err(Refusal::Stop(reason)) => {
                    self.halt(reason);
                    return Err(Trouble::Stopped);
                }
                Err(Refusal::Headway(reason)) => {
                    self.state().failures = 0;
                    failures = 1;
                    reason
                }
                Err(Refusal::Pause(pause, reason)) => {
                    failures += 1;
                    self.pause_all(url, pause, &reason)?;
                    reason
                }
                Err(Refusal::Passing(reason)) => {
                    failures += 1;
                    self.count_failure(url, &reason)?;
                    reason
                }
                Err(Refusal::Beyond(_)) => {
                    failures += 1;
                    "the server says that the file ends before its beginning".into()
                }
            };
            if failures > self.settings.retries {
                return Err(Trouble::Failed(format!("{reason} ({failures} tries)")));
            }
            let pause = back_off(self.settings, failures, chance());
            tracing::info!("{url}: {reason}; trying again in {:.1} s", pause.as_secs_f64());
            self.sleep_until(Instant::now() + pause)?;
        }
    }

    /// Waits until this connection may begin a request.
    fn turn(&self) -> Result<(), Trouble> {
        let interval = Duration::from_secs_f64(1.0 / self.settings.requests_per_second);
        loop {
            let turn = {
                let mut state = self.state();
                let now = Instant::now();
                if state.next <= now {
                    state.next = now + interval;
                    None
                } else {
                    Some(state.next)
                }
            };
            match turn {
                None if self.goes_on() => return Ok(()),
                None => return Err(Trouble::Stopped),
                Some(turn) => self.sleep_until(turn)?,
            }
        }
    }

    fn sleep_until(&self, then: Instant) -> Result<(), Trouble> {
        loop {
            if !self.goes_on() {
                return Err(Trouble::Stopped);
            }
            match then.checked_duration_since(Instant::now()) {
                None | Some(Duration::ZERO) => return Ok(()),
                Some(left) => thread::sleep(left.min(LOOK)),
            }
        }
    }

    /// Keeps every connection from asking for as long as the server wishes.
    fn pause_all(&self, url: &str, pause: Duration, reason: &str) -> Result<(), Trouble> {
        if pause.as_secs_f64() > self.settings.longest_pause_s {
            let detail = format!(
                "{reason}; the server asks for a pause of {} s, longer than data.archive.longest_pause_s: \
                 run the same command again then, what was fetched is kept",
                pause.as_secs()
            );
            self.halt(Error::Network { url: url.into(), detail });
            return Err(Trouble::Stopped);
        }
        tracing::info!("{url}: {reason}; no requests for {:.0} s, as the server asks", pause.as_secs_f64());
        let mut state = self.state();
        state.next = state.next.max(Instant::now() + pause);
        Ok(())
    }

    fn count_failure(&self, url: &str, reason: &str) -> Result<(), Trouble> {
        let mut state = self.state();
        state.failures += 1;
        if state.failures < self.settings.give_up_after {
            return Ok(());
        }
        let detail = format!(
            "{reason}; {} requests failed in a row, so the run ends here: what was fetched is kept, \
             run the same command again later",
            state.failures
        );
        state.halted.get_or_insert(Error::Network { url: url.into(), detail });
        Err(Trouble::Stopped)
    }
}

/// Pause before the try after so many failures; `chance` in 0..1 spreads connections that failed together.
fn back_off(settings: &ArchiveSettings, failures: usize, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(40) as i32;
    let pause = settings.first_pause_s * 2_f64.powi(doublings) * (0.5 + chance);
    Duration::from_secs_f64(pause.min(settings.longest_pause_s))
}

/// A number in 0..1 from the randomness of the standard library's hash maps; pauses need no better.
fn chance() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn settings() -> ArchiveSettings {
        ArchiveSettings {
            requests_per_second: 1000.0,
            retries: 2,
            first_pause_s: 0.001,
            give_up_after: 5,
            ..ArchiveSettings::default()
        }
    }

    #[test]
    fn pauses_double_to_a_limit_and_vary_by_a_half() {
        let settings = ArchiveSettings { first_pause_s: 1.0, longest_pause_s: 10.0, ..settings() };
        let pause = |failures, chance| back_off(&settings, failures, chance).as_secs_f64();
        assert_eq!([pause(1, 0.5), pause(2, 0.5), pause(3, 0.5), pause(9, 0.5)], [1.0, 2.0, 4.0, 10.0]);
        assert_eq!([pause(1, 0.0), pause(1, 1.0)], [0.5, 1.5]);
        assert_eq!(pause(usize::MAX, 1.0), 10.0);
        assert!((0..100).all(|_| (0.0..1.0).contains(&chance())));
    }

    #[test]
    fn what_fails_in_passing_is_tried_again_and_what_is_final_is_not() {
        let settings = settings();
        let pace = Pace::new(&settings, &Silent);
        let mut tries = 0;
        let third = pace.persist("u", || {
            tries += 1;
            if tries < 3 { Err(Refusal::Passing("reset".into())) } else { Ok(tries) }
        });
        assert_eq!(third, Ok(3));
        let mut tries = 0;
        let never: Result<(), _> = pace.persist("u", || {
            tries += 1;
            Err(Refusal::Passing("reset".into()))
        });
        assert_eq!((tries, never), (3, Err(Trouble::Failed("reset (3 tries)".into()))));
        let gone: Result<(), _> = pace.persist("u", || Err(Refusal::Absent("404".into())));
        assert_eq!(gone, Err(Trouble::Absent("404".into())));
        assert!(pace.goes_on() && pace.verdict().is_ok());
    }

    #[test]
    fn failures_in_a_row_end_the_run_and_an_answer_breaks_the_row() {
        let settings = settings();
        let pace = Pace::new(&settings, &Silent);
        let fails = || pace.persist("u", || Err::<(), _>(Refusal::Passing("refused".into())));
        assert!(matches!(fails(), Err(Trouble::Failed(_))));
        assert!(pace.persist("u", || Ok(())).is_ok());
        assert!(matches!(fails(), Err(Trouble::Failed(_))));
        assert_eq!(fails(), Err(Trouble::Stopped));
        let message = pace.verdict().unwrap_err().to_string();
        assert!(message.contains("refused; 5 requests failed in a row"), "{message}");
    }

    #[test]
    fn a_pause_holds_everyone_and_too_long_a_pause_ends_the_run() {
        let settings = ArchiveSettings { longest_pause_s: 1.0, ..settings() };
        let pace = Pace::new(&settings, &Silent);
        let begun = Instant::now();
        let mut asked = false;
        let busy = pace.persist("u", || {
            if std::mem::replace(&mut asked, true) { Ok(()) } else { Err(Refusal::Pause(LOOK * 2, "429".into())) }
        });
        assert!(busy.is_ok() && begun.elapsed() >= LOOK * 2);
        let long: Result<(), _> = pace.persist("u", || Err(Refusal::Pause(Duration::from_secs(3600), "429".into())));
        assert_eq!(long, Err(Trouble::Stopped));
        assert!(pace.verdict().unwrap_err().to_string().contains("pause of 3600 s"));
    }
}
