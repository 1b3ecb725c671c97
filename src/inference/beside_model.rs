//! What a model's folder keeps beside the model, as JSON.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::data::files;
use crate::error::{Error, Result};

/// Reads a file of a model's folder; `None` if it has none. `problem` says what is wrong with what was read, if anything is.
///
/// # Errors
/// [`Error::Checkpoint`] if it is unreadable, with the remedy, or there is a problem; [`Error::Io`].
pub(super) fn read<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    remedy: &str,
    problem: impl Fn(&T) -> Option<String>,
) -> Result<Option<T>> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |detail: String| Error::Checkpoint { path: path.clone(), detail };
    let found: T = serde_json::from_str(&files::read_text(&path)?)
        .map_err(|err| failed(format!("not readable: {err}; {remedy}")))?;
    problem(&found).map_or(Ok(Some(found)), |problem| Err(failed(problem)))
}

/// What is wrong with what is kept of labels where the model has others; `n` is of how many it is kept.
pub(super) fn other_labels(kept: &[String], n: usize, label_names: &[String]) -> Option<String> {
    let is_other = kept != label_names || n != label_names.len();
    is_other.then(|| "it is of other labels than the model; was it copied from another one?".into())
}
