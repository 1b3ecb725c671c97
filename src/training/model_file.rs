//! `model.json` of a model's folder: written and read alike for every kind.

use std::path::Path;

use ndarray::Array2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::weights::{MODEL_FILE, WEIGHTS_FILE};
use crate::data::files;
use crate::error::{Error, Result};

/// Layout version of the folder.
const FORMAT_VERSION: u32 = 1;

/// What `model.json` holds: what all have, and beside it what a kind has of its own.
#[derive(Serialize, Deserialize)]
struct ModelFile<D> {
    format_version: u32,
    kind: String,
    maury_version: String,
    /// Hash of the weights beside it; none of models that have none, or were written before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<String>,
    #[serde(flatten)]
    own: D,
}

/// Writes `model.json`, the whole file or none; it is the last of a folder, for a folder without it is no model.
///
/// # Errors
/// [`Error::Io`] or [`Error::Checkpoint`].
pub fn write(folder: &Path, kind: &str, own: &impl Serialize) -> Result<()> {
    let file = ModelFile {
        format_version: FORMAT_VERSION,
        kind: kind.to_string(),
        maury_version: env!("CARGO_PKG_VERSION").to_string(),
        weights: weights_hash(folder)?,
        own,
    };
    let text = serde_json::to_string(&file).map_err(|err| failed(folder, err.to_string()))?;
    files::create_folder(folder)?;
    files::write_bytes(&folder.join(MODEL_FILE), text)
}

/// The kind of model a folder holds.
///
/// # Errors
/// [`Error::Checkpoint`] if there is no model here.
pub fn kind(folder: &Path) -> Result<String> {
    Ok(header(folder, &text(folder)?)?.kind)
}

/// What `model.json` of a folder says, which must be of this kind and of the format this maury reads, beside the weights it was written
/// with.
///
/// # Errors
/// [`Error::Checkpoint`].
pub fn read<D: DeserializeOwned>(folder: &Path, expected: &str) -> Result<D> {
    let file: ModelFile<D> = parse_file(folder, &text(folder)?, expected)?;
    match (&file.weights, weights_hash(folder)?) {
        (Some(then), Some(now)) if *then != now => {
            let detail = format!(
                "{WEIGHTS_FILE} is damaged, or of another model: {MODEL_FILE} was written beside another file of that name; copy both \
                 from one folder, or train the model anew"
            );
            Err(failed(folder, detail))
        }
        _ => Ok(file.own),
    }
}

/// The hash of the weights in a folder, if there are some.
fn weights_hash(folder: &Path) -> Result<Option<String>> {
    let path = folder.join(WEIGHTS_FILE);
    path.is_file().then(|| files::content_hash(&[path])).transpose()
}

/// The same of a text in memory; messages name `origin`.
///
/// # Errors
/// [`Error::Checkpoint`].
pub(super) fn parse<D: DeserializeOwned>(origin: &Path, text: &str, expected: &str) -> Result<D> {
    Ok(parse_file(origin, text, expected)?.own)
}

fn parse_file<D: DeserializeOwned>(origin: &Path, text: &str, expected: &str) -> Result<ModelFile<D>> {
    let Header { kind, format_version } = header(origin, text)?;
    if kind != expected {
        return Err(failed(
            origin,
            format!(
                "this is a `{kind}`, and a `{expected}` is needed; name the folder of one, of `checkpoints` or `models/<name>` of a run"
            ),
        ));
    }
    if format_version != Some(FORMAT_VERSION) {
        let found = format_version.map_or("unknown format".to_string(), |version| format!("format {version}"));
        return Err(failed(origin, format!("this is of {found}, this maury reads format {FORMAT_VERSION}")));
    }
    serde_json::from_str(text).map_err(|err| unreadable(origin, &err))
}

/// The rows of a matrix, as a file has them.
pub(super) fn rows(matrix: &Array2<f64>) -> Vec<Vec<f64>> {
    matrix.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// A matrix of such rows; messages name `origin`.
///
/// # Errors
/// [`Error::Checkpoint`] if they are not of this shape.
pub(super) fn matrix(origin: &Path, rows: &[Vec<f64>], shape: (usize, usize)) -> Result<Array2<f64>> {
    Array2::from_shape_vec(shape, rows.concat()).map_err(|err| failed(origin, err.to_string()))
}

/// What tells whether the rest can be read.
#[derive(Deserialize)]
struct Header {
    kind: String,
    format_version: Option<u32>,
}

fn header(origin: &Path, text: &str) -> Result<Header> {
    serde_json::from_str(text).map_err(|err| unreadable(origin, &err))
}

fn text(folder: &Path) -> Result<String> {
    let path = folder.join(MODEL_FILE);
    if !path.is_file() {
        let problem = match (folder.is_dir(), folder.exists()) {
            (true, _) => format!("no {MODEL_FILE} in this folder"),
            (false, true) => "this is a file, and a model is a folder".to_string(),
            (false, false) => "there is no such folder".to_string(),
        };
        let remedy = "give `models/<name>` of a run (or its `fold1`, ...), `checkpoints/payne-hband` of maury's own repository, or \
                      make one with `maury import`";
        return Err(failed(folder, format!("{problem}; {remedy}")));
    }
    files::read_text(&path)
}

fn unreadable(origin: &Path, err: &serde_json::Error) -> Error {
    failed(origin, format!("{MODEL_FILE} is not readable: {err}"))
}

fn failed(folder: &Path, detail: String) -> Error {
    Error::Checkpoint { path: folder.to_path_buf(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Own {
        size: usize,
        values: Vec<f64>,
    }

    #[test]
    fn what_was_written_comes_back_to_the_last_bit_and_only_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let own = Own { size: 3, values: vec![0.1, 1.0 / 3.0, -1e-300, 5e17] };
        let none = |path: &Path| kind(path).unwrap_err().to_string();
        assert!(none(folder.path()).contains("no model.json in this folder; give `models/<name>`"));
        assert!(none(&folder.path().join("payne-hband")).contains("payne-hband: there is no such folder; "));
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(none(&folder.path().join("file")).contains("this is a file"));
        write(folder.path(), "own", &own).unwrap();
        assert_eq!(kind(folder.path()).unwrap(), "own");
        assert_eq!(read::<Own>(folder.path(), "own").unwrap(), own);
        let refusal = |expected: &str| read::<Own>(folder.path(), expected).unwrap_err().to_string();
        assert!(
            refusal("other").contains("this is a `own`, and a `other` is needed; name the folder"),
            "{}",
            refusal("other")
        );
        let path = folder.path().join(MODEL_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"format_version\":1", "\"format_version\":2")).unwrap();
        assert!(refusal("own").contains("this is of format 2, this maury reads format 1"), "{}", refusal("own"));
        std::fs::write(&path, text.replace("\"size\":3", "\"size\":-3")).unwrap();
        assert!(refusal("own").contains("not readable"), "{}", refusal("own"));
    }

    #[test]
    fn weights_are_those_that_were_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (own, weights) = (Own { size: 1, values: vec![0.5] }, folder.path().join(WEIGHTS_FILE));
        std::fs::write(&weights, [1, 2, 3]).unwrap();
        write(folder.path(), "own", &own).unwrap();
        assert_eq!(read::<Own>(folder.path(), "own").unwrap(), own);
        std::fs::write(&weights, [1, 2, 7]).unwrap();
        let refusal = read::<Own>(folder.path(), "own").unwrap_err().to_string();
        assert!(refusal.contains("weights.safetensors is damaged, or of another model"), "{refusal}");
        // What is not there at all is told by who needs it, and models of before are believed as they were.
        std::fs::remove_file(&weights).unwrap();
        assert_eq!(read::<Own>(folder.path(), "own").unwrap(), own);
        write(folder.path(), "own", &own).unwrap();
        std::fs::write(&weights, [1, 2, 7]).unwrap();
        assert_eq!(read::<Own>(folder.path(), "own").unwrap(), own);
    }
}
