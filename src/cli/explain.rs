//! `maury explain`: what a key means, what it takes, and where an experiment's value comes from.

use std::path::{Path, PathBuf};

use clap::Args;

use super::say;
use crate::error::{Error, Result};
use crate::experiment::config::ExperimentConfig;
use crate::experiment::keys::{self, Key};
use crate::experiment::layers::Layers;
use crate::schema::ANY;

/// Explain a key of experiments: what it means, what it takes, its default, and what it is in an experiment.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\n\
maury explain                                  all tables\n\
maury explain continuum                        a table and its keys\n\
maury explain continuum.order my.toml          a key, and where my.toml has it from\n\
maury explain models.NAME.cannon.latent        NAME stands for a name of your own\n\
maury explain --schema > experiment.schema.json   for editors that complete keys")]
pub struct ExplainArgs {
    /// The dotted key; without one, all tables are listed.
    key: Option<String>,
    /// An experiment file whose value is told, too.
    file: Option<PathBuf>,
    /// Change a value of that experiment, as `maury run` does.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "file")]
    sets: Vec<String>,
    /// Print the JSON schema of experiments.
    #[arg(long, conflicts_with_all = ["key", "file"])]
    schema: bool,
}

pub fn execute(args: &ExplainArgs) -> anyhow::Result<()> {
    if args.schema {
        return say(&format!("{}\n", serde_json::to_string_pretty(&keys::schema())?));
    }
    let Some(asked) = &args.key else {
        let mut text = String::new();
        for key in keys::all().iter().filter(|key| !key.name.contains('.')) {
            text += &format!("{:<20} {}\n", key.name, first_sentence(&key.description));
        }
        return say(&text);
    };
    let key = keys::explain(asked)?;
    let mut text = format!("{asked}\n  {}\n", key.description.replace("\n\n", "\n  "));
    if key.below.is_empty() || key.takes.contains('"') {
        text += &format!("  takes:   {}\n", key.takes);
        if !key.default.is_empty() {
            text += &format!("  default: {}\n", key.default);
        }
    }
    if let Some(file) = &args.file {
        text += &here(asked, &key, file, &args.sets)?;
    }
    if !key.below.is_empty() {
        text += "\n";
        let below = |known: &&Key| known.name.rsplit_once('.').is_some_and(|(table, _)| table == key.name);
        for known in keys::all().iter().filter(below) {
            let name = &known.name[key.name.len() + 1..];
            text += &format!("  {name:<18} {}\n", first_sentence(&known.description));
        }
    }
    say(&text)
}

/// The value of a key in an experiment, and where that is from.
fn here(asked: &str, key: &Key, file: &Path, sets: &[String]) -> Result<String> {
    let layers = Layers::read::<ExperimentConfig>(file, sets)?;
    let table = layers.table::<ExperimentConfig>()?;
    if let Some((name, _)) = asked.strip_prefix("models.").map(|rest| rest.split_once('.').unwrap_or((rest, "")))
        && name != ANY
        && table.get("models").and_then(|models| models.get(name)).is_none()
    {
        return Err(Error::Config(format!("{}: no model is called {name} here", file.display())));
    }
    let mut value = Some(toml::Value::Table(table));
    for part in asked.split('.') {
        value = value.and_then(|value| value.get(part).cloned());
    }
    let text = |value: &toml::Value| match value {
        toml::Value::Table(_) => "a table".to_string(),
        value => value.to_string(),
    };
    match (value, layers.origin(asked)) {
        (Some(value), Some(origin)) => Ok(format!("  here:    {} ({origin})\n", text(&value))),
        (Some(value), None) => Ok(format!("  here:    {}\n", text(&value))),
        (None, _) if asked.contains(ANY) => {
            let detail = format!("{asked}: give a name of this experiment in place of {ANY}");
            Err(Error::Config(detail))
        }
        (None, _) if key.default.is_empty() => Ok("  here:    not given\n".into()),
        (None, _) => Ok("  here:    its default\n".into()),
    }
}

fn first_sentence(description: &str) -> &str {
    let mut ends =
        description.match_indices(". ").map(|(end, _)| end).filter(|end| !description[..*end].ends_with("et al"));
    let end = ends.next().or_else(|| description.find("\n\n"));
    end.map_or(description, |end| description[..end].trim_end_matches('.'))
}
