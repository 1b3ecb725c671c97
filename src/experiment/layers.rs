//! The texts an experiment is composed of: base file, own file, `--set` values; merged, and blamed line by line.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Table;

use super::advice::{advice, plain, read};
use super::presets::{self, SCHEME};
use crate::data::files;
use crate::error::{Error, Result, nearest_name};

/// One source of settings. Later layers override earlier ones.
#[derive(Debug, Clone)]
struct Layer {
    /// How messages call it: the file's path, or the `--set` as typed.
    name: String,
    text: String,
    is_file: bool,
}

/// All sources of one experiment, in the order in which they apply.
#[derive(Debug, Clone)]
pub struct Layers(Vec<Layer>);

impl Layers {
    /// Reads a file, the file or preset it extends, what that extends in turn, and values set on the command line; checks each against
    /// `T` by itself, as far as one that is to be completed by others can be.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] naming file, line and the nearest valid name.
    pub fn read<T: DeserializeOwned>(path: &Path, sets: &[String]) -> Result<Self> {
        Self::of_text::<T>(&path.display().to_string(), read(path)?, sets)
    }

    /// The same of a text that was not read from a file, and is called by a name.
    ///
    /// # Errors
    /// As [`Layers::read`].
    pub fn of_text<T: DeserializeOwned>(name: &str, text: String, sets: &[String]) -> Result<Self> {
        /// Files that are extended one by the other, at most.
        const MOST_LEVELS: usize = 5;
        let own = Layer { name: name.into(), text, is_file: true };
        own.check::<T>()?;
        let mut layers = vec![own];
        loop {
            let last = layers.last().expect("the file itself is the first");
            let table = last.table()?;
            let Some(base) = table.get("extends").and_then(toml::Value::as_str) else { break };
            if layers.len() > MOST_LEVELS {
                let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
                let chain = names.join(" extends ");
                return Err(Error::Config(format!(
                    "{chain} extends {base}: {MOST_LEVELS} levels are allowed, and none that leads back"
                )));
            }
            let layer = extended(Path::new(&last.name), base)?;
            layer.check::<T>()?;
            layers.push(layer);
        }
        layers.reverse();
        for set in sets {
            let layer = Layer { name: format!("--set '{set}'"), text: assignment(set)?, is_file: false };
            layer.check::<T>()?;
            layers.push(layer);
        }
        Ok(Self(layers))
    }

    /// All layers merged into one table, the later over the earlier. Where `T` wants one of several kinds and two layers name two,
    /// the later is chosen, and the log says so.
    ///
    /// # Errors
    /// [`Error::Config`] if a layer is no TOML.
    pub fn table<T: DeserializeOwned>(&self) -> Result<Table> {
        let mut merged = Table::new();
        for layer in &self.0 {
            let own = layer.table()?;
            let both = keys_of_both(&merged, &own, "");
            merge(&mut merged, own);
            for (path, before, now) in both {
                if !is_ambiguous::<T>(&merged) {
                    break;
                }
                let mut chosen = merged.clone();
                if let Some(table) = table_at(&mut chosen, &path) {
                    before.iter().for_each(|key| _ = table.remove(key));
                }
                // Where more than one choice was made twice, each changes what is said of the whole.
                if problem::<T>(&chosen) != problem::<T>(&merged) || !is_ambiguous::<T>(&chosen) {
                    tracing::info!(
                        "{path}: `{}` takes the place of `{}` ({})",
                        now.join("`, `"),
                        before.join("`, `"),
                        layer.name
                    );
                    merged = chosen;
                }
            }
        }
        Ok(merged)
    }

    /// All layers merged and understood.
    ///
    /// # Errors
    /// [`Error::Config`] if the layers do not fit together.
    pub fn merged<T: DeserializeOwned>(&self) -> Result<T> {
        let names: Vec<&str> = self.0.iter().map(|layer| layer.name.as_str()).collect();
        let text = |err: toml::de::Error| {
            Error::Config(format!("{}: {}", names.join(" + "), plain(err.to_string().trim_end())))
        };
        self.table::<T>()?.try_into().map_err(text)
    }

    /// The keys of a table in the order in which they are written, layer by layer; a parsed table has lost it.
    pub fn order_of(&self, table: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for layer in &self.0 {
            let Ok(document) = toml::de::DeTable::parse(&layer.text) else { continue };
            let Some(toml::de::DeValue::Table(table)) = document.get_ref().get(table).map(|value| value.get_ref())
            else {
                continue;
            };
            let mut own: Vec<(usize, String)> =
                table.keys().map(|key| (key.span().start, key.get_ref().to_string())).collect();
            own.sort();
            keys.extend(own.into_iter().map(|(_, key)| key));
        }
        let mut seen = std::collections::BTreeSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        keys
    }

    /// The `--set` that gives a dotted key its value, as typed, if there is one.
    pub fn set_by(&self, key: &str) -> Option<&str> {
        let sets = self.0.iter().rev().filter(|layer| !layer.is_file);
        sets.filter(|layer| layer.line_of(key).is_some()).map(|layer| layer.name.as_str()).next()
    }

    /// The file and line that give a dotted key its value, or the `--set`; none where it has its default.
    pub fn origin(&self, key: &str) -> Option<String> {
        let found = self.0.iter().rev().find_map(|layer| Some((layer, layer.line_of(key)?)));
        found.map(
            |(layer, line)| if layer.is_file { format!("{}, line {line}", layer.name) } else { layer.name.clone() },
        )
    }

    /// An error about the value of a dotted key, naming the file and line that set it last.
    pub fn blame(&self, key: &str, problem: &str) -> Error {
        Error::Config(match self.origin(key) {
            Some(origin) => format!("{origin}: {key} {problem}"),
            None => format!("{}: {key} {problem}", self.0.iter().rfind(|l| l.is_file).map_or("", |l| &l.name)),
        })
    }
}

impl Layer {
    fn table(&self) -> Result<Table> {
        self.text.parse().map_err(|err: toml::de::Error| Error::Config(self.told(&err, &hint(err.message()))))
    }

    /// Another layer may give what is missing in this one.
    fn check<T: DeserializeOwned>(&self) -> Result<()> {
        match toml::from_str::<T>(&self.text) {
            Err(err) if !err.message().starts_with("missing field") => {
                let advice = advice::<T>(&self.text, err.span(), err.message()).map(|advice| format!("\n{advice}"));
                Err(Error::Config(self.told(&err, &advice.unwrap_or_else(|| hint(err.message())))))
            }
            _ => Ok(()),
        }
    }

    fn told(&self, err: &toml::de::Error, advice: &str) -> String {
        // toml's own text draws the line with a caret.
        let message = if self.is_file { err.to_string() } else { err.message().to_string() };
        format!("{}: {}{advice}", self.name, plain(message.trim_end()))
    }

    /// Line (from 1) where a dotted key gets its value here. Its parts may be tables, or quoted dots inside one key.
    fn line_of(&self, key: &str) -> Option<usize> {
        let document = toml::de::DeTable::parse(&self.text).ok()?;
        let (mut table, mut rest) = (document.get_ref(), key);
        loop {
            let (part, after) = match rest.split_once('.').filter(|_| !table.contains_key(rest)) {
                Some((part, after)) => (part, Some(after)),
                None => (rest, None),
            };
            let value = table.get(part)?;
            let Some(after) = after else {
                return Some(self.text[..value.span().start.min(self.text.len())].matches('\n').count() + 1);
            };
            rest = after;
            table = match value.get_ref() {
                toml::de::DeValue::Table(inner) => inner,
                _ => return None,
            };
        }
    }
}

/// What `T` has against a table.
fn problem<T: DeserializeOwned>(table: &Table) -> Option<String> {
    table.clone().try_into::<T>().err().map(|err| err.to_string())
}

/// Whether a table names two kinds where `T` wants one.
fn is_ambiguous<T: DeserializeOwned>(table: &Table) -> bool {
    problem::<T>(table).is_some_and(|problem| problem.contains("wanted exactly 1 element"))
}

/// Tables of both layers: their dotted path, and the keys that only the earlier and only the later has; the deepest first.
fn keys_of_both(before: &Table, now: &Table, path: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
    let mut found = Vec::new();
    for (key, value) in now {
        if let (Some(toml::Value::Table(before)), toml::Value::Table(now)) = (before.get(key), value) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            found.extend(keys_of_both(before, now, &path));
            let alone = |of: &Table, other: &Table| -> Vec<String> {
                of.keys().filter(|key| !other.contains_key(*key)).cloned().collect()
            };
            found.push((path, alone(before, now), alone(now, before)));
        }
    }
    found.retain(|(_, before, now)| !before.is_empty() && !now.is_empty());
    found
}

/// The table below a dotted path; its parts have no dots, or there is none.
fn table_at<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Table> {
    path.split('.').try_fold(table, |table, part| table.get_mut(part)?.as_table_mut())
}

/// "did you mean" for serde's messages of the form: unknown field `a`, expected one of `b`, `c`.
pub(super) fn hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(wrong) = quoted.next().filter(|_| message.starts_with("unknown")) else { return String::new() };
    match nearest_name(wrong, quoted) {
        Some(near) => format!("\ndid you mean `{near}`?"),
        None => String::new(),
    }
}

/// `a.b=value` as TOML text; a value that is no TOML is a string, so that paths need no quotes.
fn assignment(set: &str) -> Result<String> {
    let (key, value) = set
        .split_once('=')
        .ok_or_else(|| Error::Config(format!("--set '{set}': KEY=VALUE expected, as in --set seed=2")))?;
    let (key, value) = (key.trim(), value.trim());
    let as_toml = format!("{key} = {value}\n");
    if as_toml.parse::<Table>().is_ok() {
        return Ok(as_toml);
    }
    let as_text = format!("{key} = {}\n", toml::Value::String(value.to_string()));
    match as_text.parse::<Table>() {
        Ok(_) => Ok(as_text),
        Err(err) => Err(Error::Config(format!("--set '{set}': {}", err.message()))),
    }
}

/// What a file extends: a preset by its name, a file beside it or below the folder that maury runs in, or else, where a file of
/// `configs/` is nowhere, the preset that it is in the program.
fn extended(path: &Path, base: &str) -> Result<Layer> {
    let of_preset =
        |name: &str, text: &str| Layer { name: format!("{SCHEME}{name}"), text: text.into(), is_file: true };
    if let Some(name) = base.strip_prefix(SCHEME) {
        return presets::preset(name).map(|text| of_preset(name, text)).ok_or_else(|| {
            let near = nearest_name(name, presets::names()).map(|near| format!("; did you mean {SCHEME}{near}?"));
            let known: Vec<&str> = presets::names().collect();
            let known = format!("no preset of this name; there are {}{}", known.join(", "), near.unwrap_or_default());
            Error::Config(format!("{}: extends = \"{base}\": {known}", path.display()))
        });
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = folder.join(base);
    let here = PathBuf::from(base);
    if let Some(found) = [&beside, &here].into_iter().find(|place| place.exists()) {
        return Ok(Layer { name: found.display().to_string(), text: files::read_text(found)?, is_file: true });
    }
    let shipped = base.strip_prefix("configs/").and_then(|file| file.strip_suffix(".toml"));
    if let Some((name, text)) = shipped.and_then(|name| Some((name, presets::preset(name)?))) {
        tracing::info!(
            "{}: {base} is not here; {SCHEME}{name}, which is part of the program, takes its place",
            path.display()
        );
        return Ok(of_preset(name, text));
    }
    let where_looked = match here.is_absolute() || beside == here {
        true => String::new(),
        false => format!(", neither as {} nor below the folder maury runs in", beside.display()),
    };
    let remedy = "go to the folder that the paths of the experiment begin in, name the file from here, or a preset, as in \"maury:mock\"";
    Err(Error::Config(format!("{}: extends = \"{base}\": no such file{where_looked}; {remedy}", path.display())))
}

fn merge(onto: &mut Table, from: Table) {
    for (key, value) in from {
        match (onto.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => merge(inner, value),
            (_, value) => {
                onto.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_need_no_quotes_and_lists_stay_lists() {
        assert_eq!(assignment("data.flux=../a b.npy").unwrap(), "data.flux = \"../a b.npy\"\n");
        assert_eq!(assignment("labels=[\"teff\"]").unwrap(), "labels = [\"teff\"]\n");
        assert!(assignment("seed").is_err());
    }

    #[test]
    fn keys_keep_the_order_in_which_they_are_written() {
        let layer = |text: &str| Layer { name: String::new(), text: text.into(), is_file: true };
        let layers = Layers(vec![
            layer("[sweep]\nz = [1]\n\"b.c\" = [2]\n[fit]\nstarts = 1\n"),
            layer("seed = 1"),
            layer("sweep.a = [1]\nsweep.z = [3]"),
        ]);
        assert_eq!(layers.order_of("sweep"), ["z", "b.c", "a"]);
        assert!(layers.order_of("seed").is_empty() && layers.order_of("continuum").is_empty());
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    enum Kind {
        Plain { size: usize },
        Fine { size: usize, depth: usize },
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        a: Kind,
        b: Kind,
    }

    fn settings(texts: &[&str]) -> Result<Settings> {
        let layer = |text: &&str| Layer { name: format!("<{text}>"), text: text.to_string(), is_file: false };
        let layers: Vec<Layer> = texts.iter().map(layer).collect();
        layers.iter().try_for_each(|layer| layer.check::<Settings>())?;
        Layers(layers).merged()
    }

    #[test]
    fn the_kind_that_is_chosen_later_takes_the_place_of_the_earlier() {
        let base = "a.plain.size = 1\nb.plain.size = 2";
        let both =
            settings(&[base, "a.fine = { size = 3, depth = 4 }", "b = { fine = { size = 5, depth = 6 } }"]).unwrap();
        assert_eq!(both, Settings { a: Kind::Fine { size: 3, depth: 4 }, b: Kind::Fine { size: 5, depth: 6 } });
        let at_once = settings(&[base, "a.fine = { size = 3, depth = 4 }\nb.fine = { size = 5, depth = 6 }"]).unwrap();
        assert_eq!(at_once, both);
        // The same kind goes on, key by key.
        assert_eq!(settings(&[base, "b.plain.size = 9"]).unwrap().b, Kind::Plain { size: 9 });
        let two = settings(&["a = { plain = { size = 1 }, fine = { size = 1, depth = 2 } }\nb.plain.size = 2"]);
        assert!(two.unwrap_err().to_string().contains("two kinds are named"));
    }

    #[test]
    fn keys_that_need_each_other_may_come_one_by_one() {
        let one_by_one = settings(&["a.plain.size = 1", "b.fine.size = 2", "b.fine.depth = 3"]).unwrap();
        assert_eq!(one_by_one.b, Kind::Fine { size: 2, depth: 3 });
        let missing = settings(&["a.plain.size = 1", "b.fine.size = 2"]).unwrap_err().to_string();
        assert!(missing.contains("missing field `depth`"), "{missing}");
        for (text, said) in [
            ("a.plain.size = -1", "expected a whole number, 0 or more"),
            ("a.plain.size = 1.5", "floating point `1.5`, expected a whole number, 0 or more"),
            ("a.plain.size = 1e-300", "floating point `1e-300`, expected a whole number, 0 or more"),
            ("a.plain.size = -1e300", "floating point `-1e300`, expected a whole number, 0 or more"),
        ] {
            let message = settings(&[text]).unwrap_err().to_string();
            assert!(message.contains(said) && !message.contains("usize"), "{message}");
        }
    }

    #[test]
    fn tables_merge_and_values_replace() {
        let mut base: Table = "a = 1\n[t]\nx = 1\ny = 2\n[split.folds]\nk = 5\n".parse().unwrap();
        merge(&mut base, "split = \"halves\"\n[t]\ny = 3\n".parse().unwrap());
        let expected: Table = "a = 1\nsplit = \"halves\"\n[t]\nx = 1\ny = 3\n".parse().unwrap();
        assert_eq!(base, expected);
    }
}
