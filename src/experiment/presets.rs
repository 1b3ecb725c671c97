//! Experiments that are part of the program: to extend from any folder, and to begin with.

/// How `extends` names one of them.
pub const SCHEME: &str = "maury:";

/// What `extends` may name behind [`SCHEME`]: the files of `configs/`.
const PRESETS: [(&str, &str); 6] = [
    ("apogee", include_str!("../../configs/apogee.toml")),
    ("arrays", include_str!("../../configs/arrays.toml")),
    ("dr19", include_str!("../../configs/dr19.toml")),
    ("lab", include_str!("../../configs/lab.toml")),
    ("mock", include_str!("../../configs/mock.toml")),
    ("network", include_str!("../../configs/network.toml")),
];

/// The text of a preset.
pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Names of the presets.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// An experiment to begin with, commented, for `maury init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Start {
    /// The classic lab on a mock survey, and what to change for APOGEE's own.
    Lab,
    /// A survey of one's own: spectra as arrays, labels as a table.
    Survey,
    /// A network beside The Cannon.
    Network,
}

impl Start {
    /// The name of its file, and what it says.
    pub fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Lab => ("lab.toml", include_str!("../../assets/starts/lab.toml")),
            Self::Survey => ("survey.toml", include_str!("../../assets/starts/survey.toml")),
            Self::Network => ("network.toml", include_str!("../../assets/starts/network.toml")),
        }
    }
}
