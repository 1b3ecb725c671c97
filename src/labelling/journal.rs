//! Rows on their way to disk: written as they come, so that a killed job goes on where it stopped.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

pub use super::journal_lines::{JournalRow, RowLine, Verb, draws_of};
use super::journal_lines::{Reading, Told, each_row, header, is_header, sealed};
use super::labeller::LabelledStar;
use crate::data::{files, leftovers};
use crate::error::{Error, Result};
use crate::stars::spectra::SpectrumSource;

/// Ending of the journal's name.
const ENDING: &str = "unfinished.jsonl";

/// Whether a file holds rows on their way: by its name and by its first line.
pub fn is_journal(path: &Path) -> bool {
    let is_named = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&format!(".{ENDING}")));
    let first = || BufReader::new(files::open(path).ok()?.take(1 << 20)).lines().next()?.ok();
    is_named && first().is_some_and(|line| is_header(&line))
}

/// The rows written so far, beside the table they are to become: one JSON object a line below a line that says what made
/// them. Before files are read, a line names them: a file that ends the program is known by it.
#[derive(Debug)]
pub struct Journal<R> {
    path: PathBuf,
    file: File,
    told: Told,
    fingerprint: String,
    rows: PhantomData<R>,
}

/// Labels on their way.
pub type LabelJournal = Journal<LabelledStar>;

/// How a file is to be read, after what it did to earlier jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Together with others.
    Full,
    /// First alone, to see whether that is survived: a job has ended while it was being read, among others.
    Alone,
    /// Not again: jobs have ended twice while it was being read alone.
    Nil,
}

impl<R: JournalRow> Journal<R> {
    /// Opens the journal of the table `stem`, and keeps the whole rows of an earlier, interrupted job. What killed programs left beside
    /// it under temporary names goes.
    ///
    /// `fingerprint` says what makes the rows; a journal of another origin is not continued.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Mismatch`] if the journal is another model's, or in use.
    pub fn open(stem: &Path, fingerprint: &str) -> Result<Self> {
        let path = files::with_ending(stem, ENDING);
        let folder = stem.parent().filter(|folder| !folder.as_os_str().is_empty());
        leftovers::sweep(folder.unwrap_or(Path::new(".")));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path, "create"))?;
        let in_use = || Error::Mismatch {
            what: path.display().to_string(),
            detail: format!("another maury is writing these {}; wait for it, or choose another --out", R::VERB.rows()),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            // Some network file systems know no locks.
            Err(TryLockError::Error(err)) => tracing::debug!("{}: no lock ({err})", path.display()),
        }
        let told = Told::read::<R>(&path, &file, fingerprint)?;
        file.set_len(told.whole).map_err(Error::io(&path, "write"))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io(&path, "write"))?;
        if told.whole == 0
            && let Err(err) = file.write_all(header(R::VERB, fingerprint).as_bytes())
        {
            let _ = std::fs::remove_file(&path);
            return Err(Error::io(&path, "write")(err));
        }
        Ok(Self { path, file, told, fingerprint: fingerprint.to_string(), rows: PhantomData })
    }

    /// Begins a journal beside those of earlier attempts at the same spectra. They are only read: whoever writes them may be alive.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Mismatch`] if one of them is another model's.
    pub fn attempt(path: &Path, earlier: &[PathBuf], fingerprint: &str) -> Result<Self> {
        let mut told = Told::default();
        for path in earlier {
            told.add(Told::read::<R>(path, &files::open(path)?, fingerprint)?);
        }
        let create = || OpenOptions::new().append(true).create_new(true).open(path);
        let mut file = create().map_err(Error::io(path, "create"))?;
        // Nobody else writes it; who tidies up sees that somebody is at work.
        let _ = file.try_lock();
        file.write_all(header(R::VERB, fingerprint).as_bytes()).map_err(Error::io(path, "write"))?;
        let (path, fingerprint) = (path.to_path_buf(), fingerprint.to_string());
        Ok(Self { path, file, told, fingerprint, rows: PhantomData })
    }

    /// Whether a spectrum has its row already.
    pub fn has(&self, name: &str) -> bool {
        self.told.done.contains(name)
    }

    /// How many of some spectra have their rows already.
    pub fn n_done(&self, spectra: &dyn SpectrumSource) -> usize {
        (0..spectra.len()).filter(|n| self.has(&spectra.name(*n))).count()
    }

    /// How a spectrum is to be read.
    pub fn trust(&self, name: &str) -> Trust {
        match self.told.ends.get(name) {
            Some(2..) => Trust::Nil,
            _ if self.told.suspects.contains(name) => Trust::Alone,
            _ => Trust::Full,
        }
    }

    /// Takes note of spectra that are about to be read, by their names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&mut self, spectra: Vec<String>) -> Result<()> {
        self.note(Reading { reading: spectra, alone: false })
    }

    /// Takes note of a spectrum that is about to be read alone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin_alone(&mut self, spectrum: String) -> Result<()> {
        self.note(Reading { reading: vec![spectrum], alone: true })
    }

    /// Takes note that what was being read came through.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn came_through(&mut self) -> Result<()> {
        self.note(Reading::default())
    }

    fn note(&mut self, reading: Reading) -> Result<()> {
        self.write(&sealed(&reading))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(Error::io(&self.path, "write"))
    }

    /// Number of spectra with rows.
    pub fn len(&self) -> usize {
        self.told.done.len()
    }

    /// Whether no spectrum has a row yet.
    pub fn is_empty(&self) -> bool {
        self.told.done.is_empty()
    }

    /// Removes the journal: nothing in it is worth going on with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(self) -> Result<()> {
        remove(&self.path)
    }

    /// Removes the journal if there is nothing in it to go on with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard_empty(self) -> Result<()> {
        if self.is_empty() { self.discard() } else { Ok(()) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What makes its rows.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Adds rows and brings them to the disk.
    ///
    /// # Errors
    /// [`Error::Io`], for instance when the disk is full; the rows before are safe.
    pub fn append(&mut self, rows: &[R]) -> Result<()> {
        let text: String = rows.iter().map(|row| sealed(&row.line())).collect();
        self.write(&text)?;
        self.told.done.extend(rows.iter().filter(|row| row.is_read()).map(|row| row.file().to_string()));
        Ok(())
    }

    /// Hands on its rows in the order of writing.
    ///
    /// # Errors
    /// [`Error::Io`]; those of `each`.
    pub fn each_row(&self, each: impl FnMut(R) -> Result<()>) -> Result<()> {
        each_row(&self.path, &self.fingerprint, each)
    }
}

/// Removes a journal, and the draws beside it.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(journal: &Path) -> Result<()> {
    leftovers::remove(&draws_of(journal))?;
    leftovers::remove(journal)
}

/// Names of the spectra that have rows in a journal, and of those that could not be read.
///
/// # Errors
/// [`Error::Io`]; [`Error::Mismatch`] for a journal of other rows.
pub fn names_in<R: JournalRow>(path: &Path, fingerprint: &str) -> Result<(HashSet<String>, HashSet<String>)> {
    let told = Told::read::<R>(path, &files::open(path)?, fingerprint)?;
    Ok((told.done, told.unreadable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::value::Value;
    use crate::labelling::label_table::{TableForm, TableShape};
    use crate::spectra::quality::star_flags;
    use crate::stars::spectra::HandedOn;
    use crate::stars::spectrum_files::SpectrumFiles;

    fn star(n: usize) -> LabelledStar {
        LabelledStar {
            file: format!("apStar-{n}.fits"),
            id: format!("2M{n:04}"),
            snr: 100.0 + n as f64 / 3.0,
            labels: vec![4500.1, f64::NAN],
            errors: vec![0.1 + 0.2, f64::INFINITY],
            covariances: vec![-1.0 / 9.0],
            calibrated_errors: vec![1.0 / 7.0, f64::NAN],
            chi2: 5000.0 / 3.0,
            chi2_reduced: f64::NAN,
            fraction_masked: 1.0 / 3.0,
            flags: 1 << 40,
            values: vec![Value::Number(0.1 + 0.2), Value::Missing, Value::Text("M15".into()), Value::Integer(i64::MAX)],
        }
    }

    fn form() -> TableForm {
        TableForm {
            label_names: vec!["teff".into(), "logg".into()],
            columns: HandedOn {
                asked: vec!["ra".into(), "dec".into()],
                welcome: vec!["field".into(), "sdss_id".into()],
            },
            shape: TableShape::Maury,
            model: "models/cannon".into(),
            errors: "formal".into(),
        }
    }

    fn name_of(n: usize) -> String {
        format!("apStar-{n}.fits")
    }

    fn files(numbers: &[usize]) -> SpectrumFiles {
        SpectrumFiles::new(numbers.iter().map(|n| name_of(*n).into()).collect())
    }

    fn unreadable(n: usize) -> LabelledStar {
        LabelledStar { flags: star_flags::UNREADABLE, ..star(n) }
    }

    #[test]
    fn an_interrupted_job_goes_on_without_a_row_lost_or_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        journal.append(&[star(0), star(1), unreadable(2)]).unwrap();
        let path = journal.path.clone();
        assert!(LabelJournal::open(&stem, "model A").unwrap_err().to_string().contains("another maury"));
        drop(journal);
        // Killed in the middle of a write, at any byte of the third row.
        let whole = std::fs::read(&path).unwrap();
        let third = sealed(&star(2).line()).into_bytes();
        let torn = [1, third.len() / 2, third.len() - 1].map(|cut| third[..cut].to_vec());
        // A digit of a label that became another one is found, too.
        let garbled = String::from_utf8(third).unwrap().replacen("4500.1", "4500.7", 1).into_bytes();
        for third in torn.into_iter().chain([garbled]) {
            std::fs::write(&path, [whole.as_slice(), &third].concat()).unwrap();
            let journal = LabelJournal::open(&stem, "model A").unwrap();
            assert_eq!((journal.len(), journal.has("apStar-2.fits")), (2, false));
        }
        // Nobody knows what made rows whose journal lost its beginning; what never was a journal is somebody's.
        let text = String::from_utf8(whole.clone()).unwrap();
        for damaged in [text.replacen("model A", "model C", 1), text.replacen("labels_by", "labels\n_by", 1)] {
            std::fs::write(&path, damaged).unwrap();
            assert!(LabelJournal::open(&stem, "model A").unwrap().is_empty());
        }
        std::fs::write(&path, "{\"note\":\"mine\"}\nand more\n").unwrap();
        assert!(LabelJournal::open(&stem, "model A").is_err());
        std::fs::write(&path, &whole).unwrap();
        assert!(LabelJournal::open(&stem, "model B").unwrap_err().to_string().contains("another model"));
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        journal.append(&[star(2)]).unwrap();
        assert_eq!(journal.finish(&stem, &form(), &files(&[0, 1, 2])).unwrap(), 3);
        assert!(!path.exists());
        let csv = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
        assert_eq!(csv.lines().count(), 4, "{csv}");
        assert!(csv.lines().next().unwrap().contains("teff_error,teff_error_calibrated,logg_estimate"), "{csv}");
        assert!(csv.contains(",cov_teff_logg,flags") && csv.contains(",-0.11111,"), "{csv}");
        // What was handed on to the earlier job is there too; what only other layouts have is not.
        assert!(
            csv.starts_with("id,file,snr,ra,dec,teff_estimate") && csv.matches(",0.30000000000000004,,").count() == 3,
            "{csv}"
        );
        for n in 0..3 {
            assert_eq!(csv.matches(&format!("apStar-{n}.fits")).count(), 1);
        }
    }

    #[test]
    fn a_file_that_ends_every_job_is_not_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let trust = |expected: [Trust; 3]| {
            let journal = LabelJournal::open(&stem, "model A").unwrap();
            assert_eq!([0, 1, 2].map(|n| journal.trust(&name_of(n))), expected);
            journal
        };
        let mut journal = trust([Trust::Full; 3]);
        journal.begin([0, 1].map(name_of).to_vec()).unwrap();
        drop(journal);
        // The first two were read together; one of them did it.
        let mut journal = trust([Trust::Alone, Trust::Alone, Trust::Full]);
        journal.begin_alone(name_of(0)).unwrap();
        journal.came_through().unwrap();
        journal.begin_alone(name_of(1)).unwrap();
        drop(journal);
        // A batch of one spectrum is no trial of it.
        let mut journal = trust([Trust::Full, Trust::Alone, Trust::Full]);
        journal.begin_alone(name_of(1)).unwrap();
        journal.came_through().unwrap();
        for _ in 0..3 {
            journal.begin(vec![name_of(1)]).unwrap();
            drop(journal);
            journal = trust([Trust::Full, Trust::Alone, Trust::Full]);
        }
        journal.begin_alone(name_of(1)).unwrap();
        drop(journal);
        let mut journal = trust([Trust::Full, Trust::Nil, Trust::Full]);
        journal.append(&[star(0), unreadable(1), star(2)]).unwrap();
        assert_eq!(journal.finish(&stem, &form(), &files(&[0, 1, 2])).unwrap(), 3);
    }

    #[test]
    fn a_file_that_ends_every_attempt_at_a_shard_is_not_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut attempts: Vec<PathBuf> = Vec::new();
        for expected in [Trust::Full, Trust::Alone, Trust::Alone, Trust::Nil] {
            let path = folder.path().join(format!("attempt-{}.jsonl", attempts.len()));
            let mut journal = LabelJournal::attempt(&path, &attempts, "model A").unwrap();
            assert_eq!(journal.trust(&name_of(1)), expected);
            match expected {
                Trust::Alone => journal.begin_alone(name_of(1)).unwrap(),
                _ => journal.begin([0, 1].map(name_of).to_vec()).unwrap(),
            }
            attempts.push(path);
        }
    }

    #[test]
    fn a_batch_of_which_only_some_rows_were_written_is_labelled_again_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        for batch in [[0, 1], [2, 3]] {
            journal.begin(batch.map(name_of).to_vec()).unwrap();
            journal.append(&batch.map(star)[..2 - batch[0] / 2]).unwrap();
        }
        drop(journal);
        let journal = LabelJournal::open(&stem, "model A").unwrap();
        assert_eq!([0, 1, 2, 3].map(|n| journal.has(&name_of(n))), [true, true, false, false]);
        assert_eq!([2, 3].map(|n| journal.trust(&name_of(n))), [Trust::Full, Trust::Alone]);
    }

    #[test]
    fn rows_are_those_asked_for_in_their_order_whatever_the_job_before_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        journal.append(&[star(0), star(1), star(2)]).unwrap();
        drop(journal);
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        assert!(journal.has(&name_of(2)) && !journal.has(&name_of(5)));
        journal.append(&[star(5)]).unwrap();
        assert_eq!(journal.finish(&stem, &form(), &files(&[5, 2, 0])).unwrap(), 3);
        let csv = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
        let ids: Vec<&str> = csv.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
        assert_eq!(ids, ["2M0005", "2M0002", "2M0000"]);
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let row = serde_json::to_string(&star(7).line()).unwrap();
        let back = LabelledStar::read(serde_json::from_str(&row).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", star(7)));
    }
}
