//! What happens, said on stderr and kept in the run's folder.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use super::terminal::shown;
use crate::error::{Error, Result};

/// The run's log file, while there is one.
static LOG: Mutex<Option<File>> = Mutex::new(None);

/// Writes to stderr, and to the log file if one is open. What cannot be written is lost, and nothing else with it: the reader
/// may have left, the disk be full.
struct Tee;

impl Write for Tee {
    /// An event comes in one piece. Where stderr or the log file takes no more, the work goes on.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = shown(&text);
        if let Some(file) = LOG.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut() {
            let _ = file.write_all(text.as_bytes());
        }
        let _ = io::stderr().write_all(text.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

/// Starts logging; the environment variable MAURY_LOG takes a filter, as in `MAURY_LOG=debug`.
pub fn init(quiet: bool) {
    let usual = if quiet { "maury=warn" } else { "maury=info" };
    let filter = EnvFilter::try_from_env("MAURY_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false).without_time();
    // A second start, as in tests that share a process, keeps the first.
    let _ = subscriber.with_writer(|| Tee).try_init();
}

/// Keeps a copy of everything said from now on in a file, after what is in it.
///
/// # Errors
/// [`Error::Io`].
pub fn keep_in(path: &Path) -> Result<()> {
    let file = File::options().create(true).append(true).open(path).map_err(Error::io(path, "write"))?;
    *LOG.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
    Ok(())
}
