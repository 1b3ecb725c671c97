//! One file from the archive to its place: continued where an earlier run left it, verified, and only then named.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::archive::Source;
use super::flaw::Flaw;
use super::pace::Pace;
use super::part::Part;
use super::refusal::{Refusal, Trouble};
use super::stream::{Flow, Stream};
use super::transport::{Answer, Transport};
use super::whole::{FITS_BLOCK, GZIP};
use crate::error::{Error, Result};

/// A broken transfer that brought so many bytes more than any before does not count as failed.
const HEADWAY: u64 = 1 << 20;

/// A file to fetch.
pub(super) struct Job<'a> {
    /// Where it comes from.
    pub source: &'a Source,
    /// Where it goes.
    pub destination: &'a Path,
    /// Bytes that no such file comes near.
    pub longest: u64,
    /// Whether it may come compressed.
    pub may_be_packed: bool,
    /// Whether what came is what was asked for.
    pub check: &'a dyn Fn(&Path) -> Result<(), Flaw>,
    /// Told how many bytes of the file have come, and how many it has, where known.
    pub watch: &'a dyn Fn(u64, Option<u64>),
}

/// Carries files from an archive at a pace.
pub(super) struct Carrier<'a> {
    pub transport: &'a Transport,
    pub pace: &'a Pace<'a>,
    timeout: Duration,
    received: AtomicU64,
}

impl<'a> Carrier<'a> {
    pub fn new(transport: &'a Transport, pace: &'a Pace<'a>, timeout_s: f64) -> Self {
        Self { transport, pace, timeout: Duration::from_secs_f64(timeout_s), received: AtomicU64::new(0) }
    }

    /// Bytes that have come so far, whether kept or not.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Fetches a file; its length.
    ///
    /// # Errors
    /// Why it does not lie at its destination.
    pub fn carry(&self, job: &Job) -> Result<u64, Trouble> {
        let part = Part::of(job.destination);
        let mut furthest = part.continuable().map_or(0, |(length, _)| length);
        self.pace.persist(&self.transport.url(job.source), || {
            self.attempt(job, &part).map_err(|refusal| match refusal {
                Refusal::Passing(reason) if part.length() >= furthest + HEADWAY => {
                    furthest = part.length();
                    Refusal::Headway(reason)
                }
                refusal => refusal,
            })
        })
    }

    /// One request: for the rest where there is a beginning.
    fn attempt(&self, job: &Job, part: &Part) -> Result<u64, Refusal> {
        let begun = part.continuable();
        let from = begun.as_ref().map(|(length, version)| (*length, version.as_str()));
        let answer = match (self.transport.ask(job.source, from, self.pace), from) {
            // Everything had come, only the last step was missing.
            (Err(Refusal::Beyond(Some(total))), Some((length, _))) if total == length => {
                return finish(job, part, length);
            }
            (Err(Refusal::Beyond(_)), Some(_)) => return Err(start_over(part)),
            (answer, _) => answer?,
        };
        // Some servers continue whatever there is, unasked whether it is still the same.
        let continues = |(length, version): (u64, &str)| {
            answer.start == length && answer.version.as_deref().is_none_or(|now| now == version)
        };
        if answer.start > 0 && !from.is_some_and(continues) {
            return Err(start_over(part));
        }
        self.receive(answer, job, part)
    }

    /// Adds what comes to the part, and completes it.
    fn receive(&self, answer: Answer, job: &Job, part: &Part) -> Result<u64, Refusal> {
        if answer.length.is_some_and(|length| length > job.longest) {
            return Err(too_long(part, job));
        }
        let (mut body, mut position) = (answer.body, answer.start);
        let mut bytes = next(&mut body, self.pace, position)?;
        if position == 0 {
            // Before the part is touched: a server's excuse must not cost what has come of a long file.
            begins_as_fits(&bytes, job.may_be_packed)?;
        }
        let mut file = part.open(position, answer.version.as_deref()).map_err(Refusal::of_disk)?;
        (job.watch)(position, answer.length);
        let mut flow = Flow::over(self.timeout);
        while !bytes.is_empty() {
            file.write_all(&bytes).map_err(|err| Refusal::Stop(Error::io(part.path(), "write")(err)))?;
            position += bytes.len() as u64;
            self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            (job.watch)(position, answer.length);
            if position > job.longest {
                return Err(too_long(part, job));
            }
            flow.count(bytes.len())?;
            if !self.pace.goes_on() {
                return Err(Refusal::Stop(Error::Interrupted { kept: false }));
            }
            bytes = next(&mut body, self.pace, position)?;
        }
        drop(file);
        match answer.length {
            Some(length) if position != length => {
                Err(Refusal::Passing(format!("the file ended after {position} of {length} bytes")))
            }
            // The one sign of a complete file where the server tells no length.
            None if !job.may_be_packed && !position.is_multiple_of(FITS_BLOCK) => {
                let reason = format!("the file ended after {position} bytes, within a FITS block");
                Err(discarded(part, reason))
            }
            _ => finish(job, part, position),
        }
    }
}

/// The next bytes of a body, none at its end.
fn next(body: &mut Stream, pace: &Pace, position: u64) -> Result<Vec<u8>, Refusal> {
    body.next(pace).map_err(|refusal| match refusal {
        Refusal::Passing(reason) => Refusal::Passing(format!("{reason}, after {position} bytes")),
        refusal => refusal,
    })
}

fn too_long(part: &Part, job: &Job) -> Refusal {
    let reason = format!("more than {} MB, which no such file has", job.longest / 1_000_000);
    part.discard().map_or_else(Refusal::of_disk, |()| Refusal::Final(reason))
}

/// Whether a file's first bytes, however few, are those of FITS.
fn begins_as_fits(bytes: &[u8], may_be_packed: bool) -> Result<(), Refusal> {
    if may_be_packed && !bytes.is_empty() && bytes.iter().zip(&GZIP).all(|(byte, gzip)| byte == gzip) {
        return Ok(());
    }
    let what = match bytes.trim_ascii_start().first() {
        None => "an empty file",
        Some(b'<') => "a web page",
        Some(_) if bytes.iter().zip(b"SIMPLE").all(|(byte, fits)| byte == fits) => return Ok(()),
        Some(_) => "something else",
    };
    Err(Refusal::Passing(format!("{what} came in place of the FITS file")))
}

/// Verifies and names what has come.
fn finish(job: &Job, part: &Part, length: u64) -> Result<u64, Refusal> {
    match (job.check)(part.path()) {
        Err(Flaw::Damaged(problem)) => return Err(discarded(part, problem)),
        Err(Flaw::Unfit(problem)) => {
            return Err(part.discard().map_or_else(Refusal::of_disk, |()| Refusal::Absent(problem)));
        }
        Ok(()) => {}
    }
    part.complete().map_err(Refusal::of_disk)?;
    Ok(length)
}

fn start_over(part: &Part) -> Refusal {
    discarded(part, "the file in the archive is not the one that was begun".into())
}

fn discarded(part: &Part, reason: String) -> Refusal {
    part.discard().map_or_else(Refusal::of_disk, |()| Refusal::Passing(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_fits_file_is_known_by_its_first_bytes() {
        assert!(begins_as_fits(b"SIMPLE  =                    T", false).is_ok());
        assert!(begins_as_fits(b"SI", true).is_ok(), "more may follow");
        assert!(begins_as_fits(&[0x1f, 0x8b, 8], true).is_ok() && begins_as_fits(&[0x1f, 0x8b, 8], false).is_err());
        let said = |bytes: &[u8]| match begins_as_fits(bytes, bytes.len().is_multiple_of(2)) {
            Err(Refusal::Passing(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert!(said(b"").starts_with("an empty file"));
        assert!(said(b"\n<html>").starts_with("a web page"));
        assert!(said(b"error").starts_with("something else"));
    }
}
