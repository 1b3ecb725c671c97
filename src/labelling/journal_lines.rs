//! The lines of a journal: what made its rows, which spectra are about to be read, and a row for each that came through.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::files;
use crate::data::growing_table::{GrownTable, RowMark};
use crate::error::{Error, Result};
use crate::spectra::quality::star_flags;

/// How rows are written, counted up when that changes: rows of another kind are not gone on with.
const ROWS: u32 = 3;

/// What makes rows, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `maury label`.
    Label,
    /// `maury posterior`.
    Posterior,
}

impl Verb {
    /// All there are.
    const ALL: [Self; 2] = [Self::Label, Self::Posterior];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Posterior => "posterior",
        }
    }

    /// What becomes of spectra by it.
    pub fn done(self) -> &'static str {
        match self {
            Self::Label => "labelled",
            Self::Posterior => "sampled",
        }
    }

    /// What its rows are.
    pub fn rows(self) -> &'static str {
        match self {
            Self::Label => "labels",
            Self::Posterior => "posteriors",
        }
    }

    /// The key of a journal's first line, which says what made its rows.
    fn key(self) -> String {
        format!("{}_by", self.rows())
    }
}

/// What a journal keeps of a spectrum.
pub trait JournalRow: Sized {
    /// What makes such rows.
    const VERB: Verb;

    /// How it is written: every number comes back as it was, NaN too.
    type Line: RowLine;

    /// As it is written.
    fn line(&self) -> Self::Line;

    /// As it was written.
    ///
    /// # Errors
    /// What is wrong with the line.
    fn read(line: Self::Line) -> Result<Self, String>;

    /// The spectrum's name.
    fn file(&self) -> &str;

    /// Whether the spectrum could be read.
    fn is_read(&self) -> bool;
}

/// A row as a journal has it.
pub trait RowLine: Serialize + DeserializeOwned {
    /// The spectrum's name.
    fn file(&self) -> &str;

    /// Flags of spectrum and row.
    fn flags(&self) -> i64;

    /// Whether the spectrum could be read.
    fn is_read(&self) -> bool {
        self.flags() & star_flags::UNREADABLE == 0
    }

    /// Where its draws are in the file beside the journal, where it has any.
    fn draws(&self) -> Option<&RowMark> {
        None
    }
}

/// Where the draws lie that the rows of a journal speak of, where they speak of any.
pub fn draws_of(journal: &Path) -> PathBuf {
    journal.with_extension("draws.fits")
}

/// The first line: what makes the rows.
pub(super) fn header(verb: Verb, fingerprint: &str) -> String {
    sealed(&serde_json::json!({ verb.key(): fingerprint, "rows": ROWS }))
}

/// Whether a line is the first of a journal, whatever makes its rows, and as it was written; also of one from before lines were sealed.
pub(super) fn is_header(line: &str) -> bool {
    let header = serde_json::from_str::<serde_json::Value>(unsealed(line).unwrap_or(line));
    header.is_ok_and(|header| Verb::ALL.iter().any(|verb| header.get(verb.key()).is_some()))
}

/// A line that tells by a checksum whether it is still what was written: `["1f2e3d4c",{...}]`.
pub(super) fn sealed(content: &impl Serialize) -> String {
    let json = serde_json::to_string(content).expect("plain values are JSON");
    format!("[\"{}\",{json}]\n", checksum(&json))
}

/// What was sealed in a line; nothing where line or checksum changed.
fn unsealed(line: &str) -> Option<&str> {
    let (sum, json) = line.trim_end_matches('\n').strip_prefix("[\"")?.strip_suffix(']')?.split_once("\",")?;
    (sum == checksum(json)).then_some(json)
}

/// A short hash of what is written.
pub(super) fn checksum(json: &str) -> String {
    blake3::hash(json.as_bytes()).to_hex()[..8].to_string()
}

/// Files that are about to be read; none once those before came through.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reading {
    pub reading: Vec<String>,
    /// Whether one is read alone, to see whether that is survived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// What the lines of a journal say: which spectra have rows, and what reading them did to the job.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Spectra with rows.
    pub done: HashSet<String>,
    /// Spectra that could not be read so far.
    pub unreadable: HashSet<String>,
    /// Files that were being read when a job ended.
    pub suspects: HashSet<String>,
    /// How often a job ended while this file alone was being read.
    pub ends: HashMap<String, usize>,
    /// Bytes of its whole lines.
    pub whole: u64,
}

impl Told {
    /// Reads a journal of rows that this makes; what is torn at its end is left out.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where something else makes them.
    pub fn read<R: JournalRow>(path: &Path, file: &File, fingerprint: &str) -> Result<Self> {
        let (mut told, mut reading, mut is_alone, mut read) = (Self::default(), HashSet::new(), false, Vec::new());
        let mut n_lost = 0;
        let whole = each_line::<R>(path, file, fingerprint, |line| {
            match line {
                Line::Reading(next) => {
                    let before = std::mem::replace(&mut reading, next.reading.into_iter().collect());
                    read.clear();
                    match reading.is_empty() {
                        true => before.iter().for_each(|file| _ = told.suspects.remove(file)),
                        false => told.blame(before, is_alone),
                    }
                    is_alone = next.alone;
                }
                Line::Lost(file) => {
                    reading.remove(&file);
                    n_lost += 1;
                }
                Line::Row(row) => {
                    read.extend(reading.take(row.file()));
                    let file = row.file().to_string();
                    // What could not be read is tried again: it may have been mended.
                    if row.is_read() {
                        told.unreadable.remove(&file);
                        told.done.insert(file);
                    } else {
                        told.unreadable.insert(file);
                    }
                }
            }
            Ok(())
        })?;
        // A batch of which only some rows were written is done again as a whole: sums run over all of it.
        if !reading.is_empty() {
            read.iter().for_each(|file| _ = told.done.remove(file));
        }
        told.blame(reading, is_alone);
        if n_lost > 0 {
            let (path, done) = (path.display(), R::VERB.done());
            tracing::warn!("{path}: the draws of {n_lost} spectra are lost or damaged; these have to be {done} again");
        }
        Ok(Self { whole, ..told })
    }

    /// With what another journal of the same rows says.
    pub fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.unreadable.extend(other.unreadable);
        self.suspects.extend(other.suspects);
        other.ends.into_iter().for_each(|(file, ends)| *self.ends.entry(file).or_default() += ends);
    }

    /// Takes note of files that have no row though they were to be read.
    fn blame(&mut self, unread: HashSet<String>, is_alone: bool) {
        if is_alone {
            unread.iter().for_each(|file| *self.ends.entry(file.clone()).or_default() += 1);
        }
        self.suspects.extend(unread);
    }
}

/// A line below the header.
enum Line<L> {
    /// Files that are about to be read.
    Reading(Reading),
    /// What one of them gave.
    Row(L),
    /// The same, whose draws are lost: the spectrum.
    Lost(String),
}

/// The draws beside a journal, opened when first a row speaks of them.
struct Beside<'a> {
    journal: &'a Path,
    draws: Option<Option<GrownTable>>,
}

impl Beside<'_> {
    /// Whether the draws of a row are there as they were written, where it speaks of any.
    fn has(&mut self, row: &impl RowLine) -> bool {
        let Some(mark) = row.draws() else { return true };
        let draws = self.draws.get_or_insert_with(|| GrownTable::open(&draws_of(self.journal)).ok());
        draws.as_mut().is_some_and(|draws| draws.row(mark).is_ok())
    }
}

/// Hands on the whole lines of a journal of rows that this makes, and returns how many bytes they have. What a killed job left half
/// written, or a dying disk garbled, ends it.
fn each_line<R: JournalRow>(
    path: &Path,
    file: &File,
    fingerprint: &str,
    mut each: impl FnMut(Line<R::Line>) -> Result<()>,
) -> Result<u64> {
    let header = header(R::VERB, fingerprint);
    let (mut reader, mut line, mut whole) = (BufReader::new(file), String::new(), 0);
    let mut beside = Beside { journal: path, draws: None };
    loop {
        line.clear();
        let Ok(length) = reader.read_line(&mut line) else { break };
        if !line.ends_with('\n') {
            break;
        }
        if whole == 0 {
            if line != header {
                let mut others = reader.lines().map_while(Result::ok);
                if !is_header(&line) && others.any(|line| unsealed(&line).is_some()) {
                    let (path, rows) = (path.display(), R::VERB.rows());
                    tracing::warn!(
                        "{path}: its first line is damaged, and nobody knows what made its {rows}; they are made again"
                    );
                    return Ok(0);
                }
                return Err(Error::Mismatch {
                    what: path.display().to_string(),
                    detail: format!(
                        "these {} were begun with another model or other settings or arrays; finish them with those, or remove the file",
                        R::VERB.rows()
                    ),
                });
            }
        } else {
            let Some(json) = unsealed(&line) else { break };
            if let Ok(next) = serde_json::from_str(json) {
                each(Line::Reading(next))?;
            } else if let Ok(row) = serde_json::from_str::<R::Line>(json) {
                each(if beside.has(&row) { Line::Row(row) } else { Line::Lost(row.file().to_string()) })?;
            } else {
                break;
            }
        }
        whole += length as u64;
    }
    Ok(whole)
}

/// Hands on every row of a journal but those of a batch that was not brought to its end, and those whose draws are lost, in the order of
/// writing. What is torn at its end is left out.
///
/// # Errors
/// [`Error::Io`]; [`Error::Mismatch`] for a journal of other rows; those of `each`.
pub(super) fn each_row<R: JournalRow>(
    path: &Path,
    fingerprint: &str,
    mut each: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let (mut reading, mut batch) = (HashSet::new(), Vec::new());
    each_line::<R>(path, &files::open(path)?, fingerprint, |line| match line {
        Line::Reading(next) => {
            reading = next.reading.into_iter().collect();
            std::mem::take(&mut batch).into_iter().try_for_each(&mut each)
        }
        Line::Lost(file) => {
            reading.remove(&file);
            Ok(())
        }
        Line::Row(row) => {
            reading.remove(row.file());
            let damaged = |err| Error::format(path, format!("{err}; remove the file and start again"));
            batch.push(R::read(row).map_err(damaged)?);
            Ok(())
        }
    })?;
    if reading.is_empty() { batch.into_iter().try_for_each(each) } else { Ok(()) }
}
