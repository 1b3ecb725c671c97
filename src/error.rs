//! The one error type: each message says what went wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// Result of everything in maury that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a file and a label.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a file or folder.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, as a verb ("read", "write", "create the folder").
        action: &'static str,
        /// The system's own answer.
        source: std::io::Error,
    },
    /// A FITS file could not be read or written.
    #[error("{}: {detail}", path.display())]
    Fits {
        /// The FITS file.
        path: PathBuf,
        /// What the FITS library said, and while doing what.
        detail: String,
    },
    /// A file is not of the kind its place calls for.
    #[error("{}: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected, what was found, and the remedy.
        detail: String,
    },
    /// A table lacks a column.
    #[error("{}: no column {column} (it has {found}); {remedy}", path.display())]
    MissingColumn {
        /// The table's file.
        path: PathBuf,
        /// The column looked for.
        column: String,
        /// The columns nearest in name.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An experiment file or a `--set` does not describe a valid experiment.
    #[error("{0}")]
    Config(String),
    /// A server, or the way to it, failed.
    #[error("{url}: {detail}")]
    Network {
        /// What was asked for.
        url: String,
        /// What came instead, and the remedy.
        detail: String,
    },
    /// A selection or split left too few stars to go on.
    #[error("{stage}: {n_stars} star{} left, at least {needed} needed; {remedy}", if *n_stars == 1 { "" } else { "s" })]
    TooFewStars {
        /// Where the stars ran out.
        stage: String,
        /// Stars left.
        n_stars: usize,
        /// Stars needed.
        needed: usize,
        /// What to do.
        remedy: String,
    },
    /// Spectra and model (or two files) disagree about pixels, wavelengths or labels.
    #[error("{what}: {detail}")]
    Mismatch {
        /// The things compared.
        what: String,
        /// How they differ, and the remedy.
        detail: String,
    },
    /// The pseudo-continuum cannot be found with these settings.
    #[error("pseudo-continuum: {0}")]
    Continuum(String),
    /// The backend named in the experiment is not in this build.
    #[error(
        "backend `{backend}` is not compiled in; rebuild with `cargo build --release --features {feature}`, or set device.backend = \"flex\""
    )]
    BackendNotCompiled {
        /// The backend's name in TOML.
        backend: &'static str,
        /// The cargo feature that compiles it in.
        feature: &'static str,
    },
    /// The device refused a setting.
    #[error("device {device}: {detail}")]
    Device {
        /// The device asked for.
        device: String,
        /// What it said.
        detail: String,
    },
    /// A model folder cannot be used.
    #[error("{}: {detail}", path.display())]
    Checkpoint {
        /// The model's folder.
        path: PathBuf,
        /// What is wrong, and the remedy.
        detail: String,
    },
    /// Gradient descent failed.
    #[error("training, epoch {epoch}: {detail}")]
    Training {
        /// The epoch, counted from 1.
        epoch: usize,
        /// What happened, and what to try.
        detail: String,
    },
    /// A posterior could not be sampled.
    #[error("sampling: {0}")]
    Sampling(String),
    /// Something failed in what a model does on its stars.
    #[error("model {model}: {source}")]
    OfModel {
        /// The model's name, and the fold where there are several.
        model: String,
        /// What failed.
        source: Box<Error>,
    },
    /// The user asked to stop.
    #[error("stopped as asked{}", if *.kept { "; go on with the same command and --resume" } else { "" })]
    Interrupted {
        /// Whether training can go on where it stopped.
        kept: bool,
    },
    /// What many processes share is not done yet.
    #[error("{0}")]
    Unfinished(String),
    /// Not one point of a sweep could be run.
    #[error("all {n_points} points of the sweep failed; the first, {point}: {reason}")]
    Sweep {
        /// Points of the sweep.
        n_points: usize,
        /// The first point's keys and values.
        point: String,
        /// Why it failed.
        reason: String,
    },
    /// A figure could not be drawn.
    #[error("figure {figure}: {detail}")]
    Figure {
        /// The figure's name.
        figure: String,
        /// What the drawing library said.
        detail: String,
    },
}

impl Error {
    /// Wraps an operating-system error with the path and the attempted action: `map_err(Error::io(path, "read"))`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    /// A file that is not what it should be.
    pub fn format(path: &Path, detail: impl Into<String>) -> Self {
        Self::Format { path: path.to_path_buf(), detail: detail.into() }
    }

    /// The same, and which model it happened to; who asked to stop needs no model.
    pub fn of_model(self, model: impl Into<String>) -> Self {
        match self {
            Self::Interrupted { .. } => self,
            source => Self::OfModel { model: model.into(), source: Box::new(source) },
        }
    }

    /// What failed, whichever model it happened to.
    pub fn root(&self) -> &Self {
        match self {
            Self::OfModel { source, .. } => source.root(),
            _ => self,
        }
    }

    /// Whether somebody asked to stop, and nothing else is wrong.
    pub fn is_interruption(&self) -> bool {
        matches!(self.root(), Self::Interrupted { .. })
    }

    /// Process exit code: 2 when the user's request itself is wrong, 3 when rows of shards are missing, 130 when asked to stop, 1
    /// when carrying it out failed.
    pub fn exit_code(&self) -> u8 {
        match self.root() {
            Self::Config(_) | Self::BackendNotCompiled { .. } => 2,
            // What shells give a program that Ctrl-C ended.
            Self::Interrupted { .. } => 130,
            Self::Unfinished(_) => 3,
            _ => 1,
        }
    }
}

/// Of `known`, the name most like `name`, for "did you mean" messages; `None` when nothing is close.
pub fn nearest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A number as people write it: neither three hundred zeros nor as many digits.
pub fn number_text(value: f64) -> String {
    let is_plain = value == 0.0 || (1e-5..1e15).contains(&value.abs());
    if is_plain { value.to_string() } else { format!("{value:e}") }
}

/// The same of a number that is written out already: only what is too long to read changes.
pub fn short_number(text: &str) -> String {
    let long = text.parse::<f64>().ok().filter(|_| text.len() > 24);
    long.map_or_else(|| text.to_string(), number_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_whichever_model_it_happened_to() {
        let err = Error::Config("order must be 1".into()).of_model("net, fold 2 of 5");
        assert_eq!((err.to_string().as_str(), err.exit_code()), ("model net, fold 2 of 5: order must be 1", 2));
        assert!(matches!(err.root(), Error::Config(_)));
        assert_eq!(Error::Interrupted { kept: false }.of_model("net").to_string(), "stopped as asked");
    }

    #[test]
    fn numbers_are_told_in_few_digits() {
        let texts = [0.0, 1000.0, -1e300, 1e-300, f64::INFINITY].map(number_text);
        assert_eq!(texts, ["0", "1000", "-1e300", "1e-300", "inf"]);
        assert_eq!(short_number(&format!("{:.1}", 1e300)), "1e300");
        assert_eq!(
            ["1.0", "[0.5, 1.0, 2.0, 4.0, 8.0, 16.0]"].map(short_number),
            ["1.0", "[0.5, 1.0, 2.0, 4.0, 8.0, 16.0]"]
        );
    }

    #[test]
    fn nearest_name_finds_a_misspelling_and_rejects_a_stranger() {
        let known = ["continuum", "selection", "device"];
        assert_eq!(nearest_name("contiuum", known), Some("continuum"));
        assert_eq!(nearest_name("zzz", known), None);
    }
}
