//! An experiment written out again: all its settings, or only those that differ from defaults, with what they mean on request.

use super::config::ExperimentConfig;
use super::keys::{self, Key};
use crate::error::{Error, Result};
use crate::schema::below;

/// How much of an experiment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Settings that have their defaults, too.
    pub all: bool,
    /// What each means, as a comment above it.
    pub comments: bool,
}

/// The text of an experiment; it is an experiment itself, and the same.
///
/// # Errors
/// [`Error::Config`] if a value has no place in TOML.
pub fn written(config: &ExperimentConfig, extent: Extent) -> Result<String> {
    let known = Known(keys::all());
    let mut table = toml::Table::try_from(config).map_err(|err| Error::Config(err.to_string()))?;
    if !extent.all {
        known.drop_defaults(&mut table, "");
    }
    let text = toml::to_string_pretty(&table).map_err(|err| Error::Config(err.to_string()))?;
    Ok(if extent.comments { known.commented(&text) } else { text })
}

/// All keys.
struct Known(Vec<Key>);

impl Known {
    /// Takes out what has its default; a table that means something by being there stays.
    fn drop_defaults(&self, table: &mut toml::Table, place: &str) {
        table.retain(|name, value| {
            let place = below(place, name);
            let key = keys::known(&self.0, &place);
            match value {
                toml::Value::Table(inside) => {
                    self.drop_defaults(inside, &place);
                    !inside.is_empty() || !key.is_some_and(|key| key.is_always_there)
                }
                value => key.is_none_or(|key| key.default != value.to_string().replace('\n', "")),
            }
        });
    }

    /// The text with a line above each key and table that says what it means.
    fn commented(&self, text: &str) -> String {
        let (mut commented, mut table) = (String::new(), String::new());
        for line in text.lines() {
            let header = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
            let place = match (header, line.split_once(" = ")) {
                (Some(header), _) => {
                    table = header.into();
                    Some(table.clone())
                }
                (None, Some((name, _))) if !line.starts_with([' ', ']', '#']) => Some(below(&table, name)),
                _ => None,
            };
            if let Some(key) = place.as_deref().and_then(|place| keys::known(&self.0, place)) {
                key.description
                    .lines()
                    .filter(|line| !line.is_empty())
                    .for_each(|line| commented += &format!("# {line}\n"));
            }
            commented += &format!("{line}\n");
        }
        commented
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::load::Experiment;

    fn read(text: &str) -> ExperimentConfig {
        Experiment::parse("mine", text).unwrap().config
    }

    #[test]
    fn what_is_written_is_the_same_experiment_however_much_it_is() {
        let text = "extends = \"maury:mock\"\nseed = 7\ncontinuum.order = 3\nfit.tolerance = 0.01\n[posterior]\n[models.a.cannon]\n\
                    [models.b.cannon.latent]\n[models.c.network]\nmembers = 2\ndescent.optimizer.adamw.weight_decay = 0.5\n";
        let config = read(text);
        for extent in [(false, false), (false, true), (true, false), (true, true)] {
            let extent = Extent { all: extent.0, comments: extent.1 };
            let written = written(&config, extent).unwrap();
            assert_eq!(read(&written), config, "{extent:?}\n{written}");
        }
        let few = written(&config, Extent { all: false, comments: false }).unwrap();
        assert!(
            few.contains("order = 3") && few.contains("[models.b.cannon.latent]") && few.contains("[posterior"),
            "{few}"
        );
        assert!(!few.contains("max_steps") && !few.contains("[bootstrap]"), "{few}");
        let told = written(&config, Extent { all: false, comments: true }).unwrap();
        assert!(told.contains("# Degree of the polynomial on each chip.\norder = 3"), "{told}");
    }
}
