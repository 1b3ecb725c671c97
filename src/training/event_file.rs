//! TensorBoard's event files: every record is on disk when it has been told, and what fails is an error.
//!
//! Records, checksums and messages are those of the tensorboard-rs crate. Its writers are left alone: they write from a thread
//! that may lose what was told, and panic when a disk is full.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use protobuf::{Message, RepeatedField};
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::summary::{Summary, Summary_Value};
use tensorboard_rs::record_writer::RecordWriter;

use crate::data::files;
use crate::error::{Error, Result};

/// What all names of event files begin with; TensorBoard reads those of a folder in the order of their names.
const PREFIX: &str = "events.out.tfevents.";

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl EventFile {
    /// Begins a file after those the folder holds.
    ///
    /// Earlier files stay as they are, even where a killed program left half a record at the end of one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path) -> Result<Self> {
        files::create_folder(folder)?;
        let mut seconds = now().as_secs().max(last_name(folder)? + 1);
        let (path, file) = loop {
            let path = folder.join(format!("{PREFIX}{seconds:010}.maury"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => seconds += 1,
                Err(err) => return Err(Error::io(&path, "create")(err)),
            }
        };
        let mut events = Self { path, file, length: 0 };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".into());
        events.append(version)?;
        Ok(events)
    }

    /// Says that steps are counted from here on: TensorBoard drops what earlier files say of this and later steps.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start(&mut self, step: usize) -> Result<()> {
        let mut session = SessionLog::new();
        session.set_status(SessionLog_SessionStatus::START);
        let mut start = Event::new();
        start.set_step(step as i64);
        start.set_session_log(session);
        self.append(start)
    }

    /// Writes the values of a step.
    ///
    /// # Errors
    /// [`Error::Io`]; the file then holds what it held before.
    pub fn write(&mut self, step: usize, values: Vec<Summary_Value>) -> Result<()> {
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_vec(values));
        let mut event = Event::new();
        event.set_step(step as i64);
        event.set_summary(summary);
        self.append(event)
    }

    fn append(&mut self, mut event: Event) -> Result<()> {
        event.set_wall_time(now().as_secs_f64());
        let message = event.write_to_bytes().expect("no field of an event is required");
        let mut record = Vec::new();
        RecordWriter::new(&mut record).write(&message).expect("memory takes all that is written to it");
        // One write, and no buffer: a killed program leaves all of it or, at worst, a part that readers pass over.
        self.file.write_all(&record).map_err(|err| {
            // Part of a record would hide all that might follow.
            let _ = self.file.set_len(self.length);
            Error::io(&self.path, "write")(err)
        })?;
        self.length += record.len() as u64;
        Ok(())
    }
}

/// Time since 1970.
fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds in the name of the last event file of a folder; 0 where there is none.
fn last_name(folder: &Path) -> Result<u64> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder, "read"))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let seconds = names.filter_map(|name| name.strip_prefix(PREFIX)?.get(..10)?.parse().ok());
    Ok(seconds.max().unwrap_or(0))
}

/// The events of all files of a folder, each checksum tested; half a record at the end of a file is passed over.
#[cfg(test)]
pub fn events_of(folder: &Path) -> Vec<Event> {
    use tensorboard_rs::masked_crc32c::masked_crc32c;
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let mut found = Vec::new();
    for path in files::files_below(folder, &[".maury"]).unwrap() {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        while rest.len() >= 12 {
            let (head, body) = rest.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(masked_crc32c(&head[..8]), number(&head[8..]));
            if body.len() < length + 4 {
                break;
            }
            assert_eq!(masked_crc32c(&body[..length]), number(&body[length..length + 4]));
            found.push(Event::parse_from_bytes(&body[..length]).unwrap());
            rest = &body[length + 4..];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(value: f32) -> Vec<Summary_Value> {
        tensorboard_rs::summary::scalar("loss", value).take_value().into_vec()
    }

    #[test]
    fn checksums_are_crc32c() {
        // The check value of CRC-32C, RFC 3720 (B.4 has others).
        assert_eq!(tensorboard_rs::masked_crc32c::crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn every_step_is_on_disk_at_once_and_files_follow_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventFile::create(folder.path()).unwrap();
        first.start(1).unwrap();
        first.write(1, loss(0.5)).unwrap();
        let events = events_of(folder.path());
        assert_eq!(events.len(), 3);
        assert_eq!(events[0].get_file_version(), "brain.Event:2");
        assert_eq!(events[1].get_session_log().get_status(), SessionLog_SessionStatus::START);
        assert_eq!((events[2].get_step(), events[2].get_summary().get_value()[0].get_simple_value()), (1, 0.5));
        assert!(events.iter().all(|event| event.get_wall_time() > 1.7e9));
        // Within the same second; the clock may also have gone back.
        let mut second = EventFile::create(folder.path()).unwrap();
        second.start(2).unwrap();
        second.write(2, loss(0.25)).unwrap();
        assert!(second.path > first.path);
        let steps: Vec<i64> = events_of(folder.path()).iter().map(Event::get_step).collect();
        assert_eq!(steps, [0, 1, 1, 0, 2, 2]);
    }

    #[test]
    fn half_a_record_of_a_killed_program_hides_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut killed = EventFile::create(folder.path()).unwrap();
        killed.write(1, loss(0.5)).unwrap();
        killed.write(2, loss(0.4)).unwrap();
        killed.file.set_len(killed.length - 9).unwrap();
        EventFile::create(folder.path()).unwrap().write(2, loss(0.3)).unwrap();
        let events = events_of(folder.path());
        let losses = events.iter().flat_map(|event| event.get_summary().get_value()).map(|v| v.get_simple_value());
        assert_eq!(losses.collect::<Vec<_>>(), [0.5, 0.3]);
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("board");
        std::fs::write(&file, "x").unwrap();
        for place in [file.clone(), file.join("below")] {
            let message = EventFile::create(&place).unwrap_err().to_string();
            assert!(message.contains("board") && message.contains("cannot"), "{message}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut full = EventFile { path: "/dev/full".into(), file, length: 0 };
        let message = full.write(1, loss(0.5)).unwrap_err().to_string();
        assert!(message.contains("/dev/full: cannot write"), "{message}");
    }
}
