//! Why a request was not answered with what was asked for, and what follows from it.

use std::time::{Duration, SystemTime};

use crate::error::Error;

/// What came of one request instead of the thing asked for.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Not in the archive, or not for us: final.
    Absent(String),
    /// Final for another reason.
    Final(String),
    /// May go better next time.
    Passing(String),
    /// As `Passing`, but much was gained that the next try builds upon.
    Headway(String),
    /// The server wants no request for so long.
    Pause(Duration, String),
    /// The file ends where the answer was to begin; its length, where told.
    Beyond(Option<u64>),
    /// Nothing further can be done at all (disk full, stopped as asked).
    Stop(Error),
}

impl Refusal {
    /// What a failure to write says: a name that cannot be is this file's own trouble, a full disk is everyone's.
    pub fn of_disk(err: Error) -> Self {
        use std::io::ErrorKind::{
            AlreadyExists, DirectoryNotEmpty, InvalidFilename, InvalidInput, IsADirectory, NotADirectory,
        };
        let own = [AlreadyExists, DirectoryNotEmpty, InvalidFilename, InvalidInput, IsADirectory, NotADirectory];
        match &err {
            Error::Io { source, .. } if own.contains(&source.kind()) => Self::Final(err.to_string()),
            Error::Format { .. } => Self::Final(err.to_string()),
            _ => Self::Stop(err),
        }
    }

    /// What an HTTP status says, with the value of its Retry-After header.
    pub fn of_status(status: u16, described: String, retry_after: Option<&str>) -> Self {
        let pause = retry_after.and_then(|value| pause(value, SystemTime::now()));
        match (status, pause) {
            (403 | 404 | 410, _) => Self::Absent(described),
            (429 | 503, Some(pause)) => Self::Pause(pause, described),
            (408 | 425 | 429 | 500..=599, _) => Self::Passing(described),
            _ => Self::Final(described),
        }
    }
}

/// How long Retry-After asks to wait: seconds, or until a date.
fn pause(retry_after: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = retry_after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(retry_after.trim()).ok()?;
    Some(SystemTime::from(then).duration_since(now).unwrap_or_default())
}

/// Why a file was not fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is not in the archive, or not for us.
    Absent(String),
    /// It could not be had.
    Failed(String),
    /// The whole run has stopped; `Pace` knows why.
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(pause("120", now), Some(Duration::from_secs(120)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:40:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(pause("soon", now), None);
        assert_eq!(pause("-3", now), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let of = |status, retry_after| Refusal::of_status(status, String::new(), retry_after);
        assert!([403, 404, 410].into_iter().all(|status| matches!(of(status, None), Refusal::Absent(_))));
        assert!([408, 429, 500, 502, 503].into_iter().all(|status| matches!(of(status, None), Refusal::Passing(_))));
        assert!([400, 401, 414].into_iter().all(|status| matches!(of(status, Some("1")), Refusal::Final(_))));
        assert!(matches!(of(503, Some("7")), Refusal::Pause(pause, _) if pause.as_secs() == 7));
    }
}
