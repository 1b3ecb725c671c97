//! One list of spectra, shared by many processes that know nothing of each other: who labels or samples what, where it goes, and what they
//! must agree on.
//!
//! The list is cut into batches by the places of its lines alone, and batch b falls to shard b mod n. Which spectra are dealt with together
//! then does not depend on n, so that what comes of them does not either, to the last bit.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::journal::{self, Journal, JournalRow, Verb};
use super::journal_lines::checksum;
use super::label_table::TableForm;
use super::places::key;
use super::posterior_row::SummaryForm;
use crate::data::spectrum_file::{name_of, split_part};
use crate::data::{files, leftovers};
use crate::error::{Error, Result};
use crate::stars::spectrum_files::SpectrumFiles;

/// Shards that a list is cut into at most: indices of a Slurm array end at MaxArraySize - 1, which is 1000 where nobody changed it.
pub const MOST_SHARDS: usize = 1000;
/// The file, in the folder of parts, that says what all shards agree on.
const PLAN: &str = "plan.json";

/// One of n shards, as in `3/64`; counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which one.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// How the files of its journals begin.
    fn stem(self) -> String {
        format!("shard-{:04}-of-{:04}", self.index, self.of)
    }

    /// The shard that the file of a journal is of.
    fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_prefix("shard-")?;
        let (index, rest) = name.split_once("-of-")?;
        Some(Self { index: index.parse().ok()?, of: rest.split('.').next()?.parse().ok()? })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed =
            text.split_once('/').and_then(|(index, of)| Some((index.trim().parse().ok()?, of.trim().parse().ok()?)));
        match parsed {
            Some((_, of)) if of > MOST_SHARDS => Err(format!(
                "{of} shards; at most {MOST_SHARDS}: a Slurm array has indices up to 1000 where nobody changed MaxArraySize (`scontrol show \
                 config | grep MaxArraySize`)"
            )),
            Some((index, of)) if index < of => Ok(Self { index, of }),
            _ => Err("K/N expected, K from 0 to N - 1, as in 3/64".into()),
        }
    }
}

/// What the rows of all shards are to become.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A table of labels.
    Label(TableForm),
    /// A summary of posteriors, and draws.
    Posterior(SummaryForm),
}

impl Form {
    /// What makes the rows.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Label(_) => Verb::Label,
            Self::Posterior(_) => Verb::Posterior,
        }
    }
}

/// What all shards of a list agree on: kept beside their rows by the first that comes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The version of maury that made it.
    pub maury_version: String,
    /// The list, from the root of the file system.
    pub list: PathBuf,
    /// Spectra in it, each counted once.
    pub n_spectra: usize,
    /// Hash of their names, in their order.
    pub names: String,
    /// Spectra that are dealt with together.
    pub batch: usize,
    /// Shards that the first to come was told of.
    pub shards: usize,
    /// Model, settings and layout.
    pub fingerprint: String,
    /// What makes the rows, and what they are to become.
    pub form: Form,
}

/// A plan as it is kept.
#[derive(Serialize, Deserialize)]
struct PlanFile {
    plan: Plan,
    checksum: String,
}

impl Plan {
    fn checksum(&self) -> String {
        checksum(&serde_json::to_string(self).expect("plain values are JSON"))
    }

    /// Keeps the plan in a folder, unless one is there already, which must be the same; that one is returned.
    ///
    /// # Errors
    /// [`Error::Config`] that says what differs; [`Error::Io`].
    pub fn settle(self, folder: &Path) -> Result<Self> {
        files::create_folder(folder)?;
        let path = folder.join(PLAN);
        if !path.exists() {
            let file = PlanFile { plan: self.clone(), checksum: self.checksum() };
            let text = serde_json::to_string_pretty(&file).expect("plain values are JSON") + "\n";
            // Whole when it appears, and never in the place of another's: a link fails where something is.
            let own = folder.join(format!("{PLAN}.{}", attempt_name()));
            fs::write(&own, &text).map_err(Error::io(&own, "write"))?;
            let linked = fs::hard_link(&own, &path);
            let known = path.exists();
            if linked.is_err() && !known {
                // A file system without links.
                files::write_bytes(&path, &text)?;
            }
            let _ = fs::remove_file(&own);
        }
        let there = Self::read(folder)?;
        let differs = [
            (self.form.verb() == there.form.verb(), format!("`maury {}`", there.form.verb().name())),
            (self.n_spectra == there.n_spectra && self.names == there.names, "another list".into()),
            (self.fingerprint == there.fingerprint, "another model, other settings or other columns".into()),
            (self.batch == there.batch, "batches of another size".into()),
        ];
        match differs.into_iter().find(|(same, _)| !same) {
            Some((_, what)) => Err(Error::Config(format!(
                "{}: these shards were begun with {what} ({} of {} spectra); finish them with that, or name another --out",
                folder.display(),
                there.list.display(),
                there.n_spectra
            ))),
            None => Ok(there),
        }
    }

    /// The plan of a folder of parts.
    ///
    /// # Errors
    /// [`Error::Config`] where there is none; [`Error::Format`].
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(PLAN);
        if !path.exists() {
            let remedy = "`maury label` or `maury posterior` with --shard K/N and --out makes them";
            return Err(Error::Config(format!(
                "{}: no shards of labels or posteriors here; {remedy}",
                folder.display()
            )));
        }
        let damaged = |what: String| {
            Error::format(
                &path,
                format!("{what}; remove the file: the next shard that is started makes it anew, and rows stay"),
            )
        };
        let PlanFile { plan, checksum }: PlanFile =
            serde_json::from_str(&files::read_text(&path)?).map_err(|err| damaged(err.to_string()))?;
        let makes_sense = plan.batch > 0 && (1..=MOST_SHARDS).contains(&plan.shards) && plan.checksum() == checksum;
        if makes_sense { Ok(plan) } else { Err(damaged("it is not what was written".into())) }
    }

    /// The spectra of its list, which must be what it was.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another list; those of reading it.
    pub fn listed(&self) -> Result<Listed> {
        let listed = Listed::read(&self.list, self.batch, None)?;
        if listed.n_spectra != self.n_spectra || listed.names != self.names {
            let detail = format!(
                "the list has changed since {} spectra of it were given to shards; bring back what it was, or begin anew with another --out",
                self.n_spectra
            );
            return Err(Error::Mismatch { what: self.list.display().to_string(), detail });
        }
        Ok(listed)
    }

    /// The shard of n that a spectrum falls to, by its place in the list.
    pub fn shard_of(&self, place: usize, n: usize) -> usize {
        place / self.batch % n
    }
}

/// The spectra of a list, or those that fall to one shard of it.
#[derive(Debug)]
pub struct Listed {
    /// The spectra.
    pub files: SpectrumFiles,
    /// Spectra of the whole list, each counted once.
    pub n_spectra: usize,
    /// Hash of their names, in their order.
    pub names: String,
}

impl Listed {
    /// Reads a list of one path a line, cut into batches; of what is named again only the first counts. No file in it is looked for.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] for an empty list.
    pub fn read(list: &Path, batch: usize, shard: Option<Shard>) -> Result<Self> {
        let (mut known, mut own, mut n_named) = (HashSet::new(), Vec::new(), 0);
        let mut hasher = blake3::Hasher::new();
        for line in files::read_text(list)?.lines() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            n_named += 1;
            let (path, part) = split_part(Path::new(line));
            let name = name_of(&path, &part);
            if !known.insert(key(&name)) {
                continue;
            }
            hasher.update(name.as_bytes()).update(b"\n");
            let unit = (known.len() - 1) / batch;
            if shard.is_none_or(|shard| unit % shard.of == shard.index) {
                own.push((path, part));
            }
        }
        let n_spectra = known.len();
        if n_spectra == 0 {
            return Err(Error::Config(format!("{}: no spectrum is listed in it, one path a line", list.display())));
        }
        if n_spectra < n_named {
            let again = n_named - n_spectra;
            tracing::warn!("{again} of {n_named} spectra are named again; each counts once, where it is named first");
        }
        Ok(Self { files: SpectrumFiles::of_parts(own), n_spectra, names: hasher.finalize().to_hex()[..32].to_string() })
    }
}

/// The folder in which shards leave their rows, beside what they are to become.
pub fn folder_of(stem: &Path) -> PathBuf {
    files::with_ending(stem, "parts")
}

/// The journals of a folder of parts, of all shards and attempts, in the order of their names.
///
/// # Errors
/// [`Error::Io`].
pub fn journals(folder: &Path) -> Result<Vec<(Shard, PathBuf)>> {
    let read = |err| Error::io(folder, "read")(err);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(|err| Error::io(folder, "read")(err))?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl")
            && let Some(shard) = Shard::of_file(&path)
        {
            found.push((shard, path));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

/// Removes the rows of a folder of parts, and the folder where nothing else is in it; leaves all as it is while a process writes there.
///
/// # Errors
/// [`Error::Io`].
pub fn clean(folder: &Path) -> Result<()> {
    let journals = journals(folder)?;
    if let Some((shard, path)) = journals.iter().find(|(_, path)| leftovers::is_in_use(path)) {
        tracing::warn!("{}: shard {shard} is still at work; rows stay", path.display());
        return Ok(());
    }
    journals.iter().try_for_each(|(_, path)| journal::remove(path))?;
    leftovers::remove(&folder.join(PLAN))?;
    if fs::remove_dir(folder).is_err() {
        tracing::info!("{}: other things are in it, and stay", folder.display());
    }
    Ok(())
}

/// Begins an attempt at a shard: a journal of its own beside those of all attempts before, whose rows count.
///
/// # Errors
/// [`Error::Io`]; [`Error::Mismatch`] for journals of other rows.
pub fn begin<R: JournalRow>(folder: &Path, shard: Shard, fingerprint: &str) -> Result<Journal<R>> {
    // Of other numbers of shards, too: what is done is done.
    let earlier: Vec<PathBuf> = journals(folder)?
        .into_iter()
        .filter(|(of, _)| *of == shard || of.of != shard.of)
        .map(|(_, path)| path)
        .collect();
    let path = (1..)
        .map(|n| if n == 1 { attempt_name() } else { format!("{}-{n}", attempt_name()) })
        .map(|attempt| folder.join(format!("{}.{attempt}.jsonl", shard.stem())))
        .find(|path| !path.exists())
        .expect("numbers do not end");
    Journal::attempt(&path, &earlier, fingerprint)
}

/// What tells an attempt from all others, here and on other machines: the scheduler's job and how often it was started, or else machine
/// and process.
fn attempt_name() -> String {
    let plain = |name: String| name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>();
    if let Ok(job) = std::env::var("SLURM_JOB_ID") {
        let restarts = std::env::var("SLURM_RESTART_COUNT").unwrap_or_else(|_| "0".into());
        return format!("job-{}-{}-{}", plain(job), plain(restarts), std::process::id());
    }
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    format!("{}-{}", plain(host), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stars::spectra::SpectrumSource;

    fn listed(text: &str, batch: usize, shard: Option<Shard>) -> (Vec<String>, Listed) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        let listed = Listed::read(file.path(), batch, shard).unwrap();
        ((0..listed.files.len()).map(|n| listed.files.name(n)).collect(), listed)
    }

    #[test]
    fn shards_are_disjoint_and_complete_whatever_their_number_and_batches_are_theirs_alone() {
        for (n_lines, batch) in [(1, 256), (7, 2), (100, 3), (1000, 7)] {
            // Every tenth line comes twice.
            let lines: Vec<String> =
                (0..n_lines).flat_map(|n| vec![format!("apStar-{n}.fits"); 1 + usize::from(n % 10 == 3)]).collect();
            let text = lines.join("\n") + "\n\n";
            let (whole, all) = listed(&text, batch, None);
            assert_eq!((whole.len(), all.n_spectra), (n_lines, n_lines));
            for of in [1, 2, 8, 64, 1000] {
                let mut found = vec![Vec::new(); n_lines.div_ceil(batch)];
                for index in 0..of.min(70) {
                    let (names, part) = listed(&text, batch, Some(Shard { index, of }));
                    assert_eq!((part.n_spectra, &part.names), (n_lines, &all.names));
                    for (n, names) in names.chunks(batch).enumerate() {
                        found[index + n * of].extend_from_slice(names);
                    }
                }
                if of <= 70 || n_lines.div_ceil(batch) <= 70 {
                    let wanted: Vec<Vec<String>> = whole.chunks(batch).map(<[String]>::to_vec).collect();
                    assert_eq!(found, wanted, "{n_lines} {batch} {of}");
                }
            }
        }
    }

    #[test]
    fn a_shard_is_two_numbers_of_which_the_second_is_larger_and_no_array_is_longer() {
        assert_eq!("3/64".parse(), Ok(Shard { index: 3, of: 64 }));
        assert_eq!(Shard::of_file(Path::new("a/shard-0003-of-0064.host-7.jsonl")), Some(Shard { index: 3, of: 64 }));
        for wrong in ["", "3", "64/64", "-1/4", "0/0", "a/b"] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("as in 3/64"), "{wrong}");
        }
        assert!("0/1001".parse::<Shard>().unwrap_err().contains("MaxArraySize"));
        assert_eq!(Shard::of_file(Path::new("plan.json")), None);
    }
}
