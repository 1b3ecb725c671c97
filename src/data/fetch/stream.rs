//! What may take its time, asked on a thread of its own: whoever waits for it looks now and then whether to go on.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::refusal::Refusal;
use crate::error::Error;

/// How often one who waits looks whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// Pieces read ahead of whoever takes them.
const AHEAD: usize = 4;
/// A connection slower than this over `timeout_s` is given up; in bytes per second.
const SLOWEST: f64 = 1000.0;

/// Does something that may block; when the run stops, it is left to itself.
///
/// # Errors
/// [`Refusal::Stop`] where the run stopped first.
pub(super) fn apart<T: Send + 'static>(pace: &Pace, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let (give, take) = mpsc::sync_channel(1);
    thread::spawn(move || give.send(work()));
    wait(pace, &take)
}

fn wait<T>(pace: &Pace, take: &Receiver<T>) -> Result<T, Refusal> {
    loop {
        match take.recv_timeout(LOOK) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) if pace.goes_on() => {}
            Err(RecvTimeoutError::Timeout) => return Err(Refusal::Stop(Error::Interrupted { kept: false })),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Refusal::Passing("the thread that asked the server has died".into()));
            }
        }
    }
}

/// The bytes of a body, piece by piece.
pub(super) enum Stream {
    /// From a disk, which does not keep anyone waiting.
    File(File),
    /// From a server.
    Server(Receiver<io::Result<Vec<u8>>>),
}

impl Stream {
    /// Begins to read what a server sends.
    pub fn of_server(mut body: impl Read + Send + 'static) -> Self {
        let (give, take) = mpsc::sync_channel(AHEAD);
        thread::spawn(move || {
            loop {
                let piece = piece(&mut body);
                let is_last = piece.as_ref().map_or(true, Vec::is_empty);
                // Nobody takes it where the run was stopped.
                if give.send(piece).is_err() || is_last {
                    break;
                }
            }
        });
        Self::Server(take)
    }

    /// The next bytes, none at the end.
    ///
    /// # Errors
    /// [`Refusal::Passing`] where the body broke off; [`Refusal::Stop`] where the run is to stop.
    pub fn next(&mut self, pace: &Pace) -> Result<Vec<u8>, Refusal> {
        let piece = match self {
            Self::File(file) => piece(file),
            Self::Server(take) => wait(pace, take)?,
        };
        piece.map_err(|err| Refusal::Passing(err.to_string()))
    }
}

fn piece(body: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PIECE];
    loop {
        match body.read(&mut bytes) {
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
            Ok(n_bytes) => {
                bytes.truncate(n_bytes);
                return Ok(bytes);
            }
        }
    }
}

/// How fast bytes come.
pub(super) struct Flow {
    since: Instant,
    bytes: usize,
    window: Duration,
}

impl Flow {
    /// Judges the speed once in a window.
    pub fn over(window: Duration) -> Self {
        Self { since: Instant::now(), bytes: 0, window }
    }

    /// Counts bytes that came.
    ///
    /// # Errors
    /// [`Refusal::Passing`] where too few came in a window.
    pub fn count(&mut self, n_bytes: usize) -> Result<(), Refusal> {
        self.bytes += n_bytes;
        let elapsed = self.since.elapsed();
        if elapsed < self.window {
            return Ok(());
        }
        let speed = self.bytes as f64 / elapsed.as_secs_f64();
        if speed < SLOWEST {
            return Err(Refusal::Passing(format!("only {speed:.0} bytes/s came")));
        }
        *self = Self::over(self.window);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fetch::settings::ArchiveSettings;
    use crate::progress::{Progress, Silent};

    #[test]
    fn a_slow_connection_is_known_by_its_speed_over_a_while() {
        let ago = |seconds, bytes| Flow {
            since: Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap(),
            bytes,
            window: Duration::from_secs(10),
        };
        assert!(ago(9, 0).count(1).is_ok());
        assert!(ago(10, 0).count(9000).is_err());
        let mut fast = ago(10, 1_000_000);
        assert!(fast.count(1).is_ok() && fast.bytes == 0, "a new while begins");
    }

    /// Says stop after a while.
    struct StopsAt(Instant);

    impl Progress for StopsAt {
        fn interrupted(&self) -> bool {
            Instant::now() >= self.0
        }
    }

    #[test]
    fn who_waits_for_an_answer_is_let_go_when_the_run_stops() {
        let settings = ArchiveSettings::default();
        let stop = StopsAt(Instant::now() + Duration::from_millis(100));
        let pace = Pace::new(&settings, &stop);
        let begun = Instant::now();
        let left = apart(&pace, || thread::sleep(Duration::from_secs(20)));
        assert!(matches!(left, Err(Refusal::Stop(Error::Interrupted { .. }))));
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(apart(&Pace::new(&settings, &Silent), || 7).unwrap(), 7);
    }

    #[test]
    fn a_body_comes_whole_and_ends_once() {
        let settings = ArchiveSettings::default();
        let pace = Pace::new(&settings, &Silent);
        let sent: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let mut stream = Stream::of_server(io::Cursor::new(sent.clone()));
        let mut came = Vec::new();
        loop {
            let piece = stream.next(&pace).unwrap();
            if piece.is_empty() {
                break;
            }
            came.extend(piece);
        }
        assert!(came == sent);
    }
}
