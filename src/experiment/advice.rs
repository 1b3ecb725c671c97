//! What to write instead: what TOML's reader says of settings, in words of people who write no Rust, with the right key beside it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::data::files;
use crate::error::{Error, Result, nearest_name, short_number};

/// What TOML's reader says of a value where settings should stand.
const TABLE_WANTED: [&str; 4] = ["expected struct", "expected a table", "expected a map", "wanted string or table"];

/// A key with its value, as they are written.
struct Entry<'a> {
    path: Vec<String>,
    /// Where the value stands.
    at: Range<usize>,
    text: &'a str,
    /// The value, where it is text.
    word: Option<String>,
}

/// What `text`, which is no `T`, should say where TOML's reader has a `message` about what stands at `at`; nothing where nobody knows.
pub(super) fn advice<T: DeserializeOwned>(text: &str, at: Option<Range<usize>>, message: &str) -> Option<String> {
    let entries = DeTable::parse(text).map(|table| entries(text, table.get_ref(), &[])).unwrap_or_default();
    if message.starts_with("unknown variant") {
        return entries.iter().find_map(|entry| left_out::<T>(entry, message));
    }
    let meets = |entry: &&Entry| at.as_ref().is_none_or(|at| entry.at.start < at.end && at.start < entry.at.end);
    entries.iter().filter(meets).find_map(|entry| {
        if message.contains("unit variant, expected") {
            of_kind::<T>(entry, entry.word.as_ref()?)
        } else if message.contains("expected a sequence") {
            list::<T>(entry)
        } else {
            TABLE_WANTED.iter().any(|words| message.contains(words)).then(|| table::<T>(entry))?
        }
    })
}

/// The name of a kind alone, which has settings.
fn of_kind<T: DeserializeOwned>(entry: &Entry, kind: &str) -> Option<String> {
    let key = format!("{}.{kind}", dotted(&entry.path));
    let remedy = match toml::from_str::<T>(&format!("{key} = {{}}")) {
        Ok(_) => format!("{key} = {{}} for its defaults"),
        Err(err) => format!("{key}.{} = VALUE", err.message().strip_prefix("missing field `")?.split('`').next()?),
    };
    Some(format!("`{kind}` has settings of its own: write {remedy}"))
}

/// One value where several may stand.
fn list<T: DeserializeOwned>(entry: &Entry) -> Option<String> {
    let quoted = |part: &str| match part.trim() {
        number if number.parse::<f64>().is_ok() => number.to_string(),
        part => format!("\"{part}\""),
    };
    let values = match &entry.word {
        Some(word) => word.trim_matches(['[', ']']).split(',').map(quoted).collect::<Vec<_>>().join(", "),
        None => entry.text.to_string(),
    };
    let list = format!("{} = [{values}]", dotted(&entry.path));
    let is_right = toml::from_str::<T>(&list).is_ok();
    is_right.then(|| format!("a list stands in brackets: write {list}"))
}

/// A value where a table of settings should stand.
fn table<T: DeserializeOwned>(entry: &Entry) -> Option<String> {
    const NOBODYS: &str = "nobodys-key";
    let key = dotted(&entry.path);
    let err = toml::from_str::<T>(&format!("{key}.{NOBODYS} = 0")).err()?;
    let names: Vec<&str> = match err.message().split_once("available keys: ") {
        Some((_, names)) => names.split(", ").collect(),
        None => err.message().split('`').skip(1).step_by(2).filter(|name| *name != NOBODYS).collect(),
    };
    if names.is_empty() {
        return None;
    }
    if let Some(kind) = entry.word.as_deref().filter(|word| names.contains(word)) {
        return of_kind::<T>(entry, kind);
    }
    if let [name] = names[..] {
        return Some(format!("write {key}.{name} = {}", entry.text));
    }
    Some(format!("write {key}.NAME = VALUE, where NAME is one of {}", names.join(", ")))
}

/// A setting of a kind whose name is left out: `models.cannon.order` for `models.cannon.cannon.order`.
fn left_out<T: DeserializeOwned>(entry: &Entry, message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    let place = entry.path.iter().skip(1).position(|part| part == wrong)? + 1;
    let with = |kind: &str| {
        let mut path = entry.path.clone();
        path.insert(place, kind.to_string());
        let is_right = toml::from_str::<T>(&format!("{} = {}", dotted(&path), entry.text)).is_ok();
        is_right.then(|| dotted(&path))
    };
    // Models are often called as their kind is.
    let named = quoted.clone().find(|kind| *kind == entry.path[place - 1]).and_then(with);
    let key = named.or_else(|| quoted.find_map(with))?;
    Some(format!("did you mean `{key}`?"))
}

fn entries<'a>(text: &'a str, table: &DeTable, above: &[String]) -> Vec<Entry<'a>> {
    let mut found = Vec::new();
    for (key, value) in table {
        let path = [above, &[key.get_ref().to_string()]].concat();
        let word = match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => {
                found.extend(entries(text, inner, &path));
                continue;
            }
            DeValue::String(word) => Some(word.to_string()),
            _ => None,
        };
        let text = text.get(value.span()).unwrap_or_default();
        found.push(Entry { path, at: value.span(), text, word });
    }
    found
}

/// A path as TOML writes it.
fn dotted(path: &[String]) -> String {
    let is_bare = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) && !part.is_empty();
    let part = |part: &String| if is_bare(part) { part.clone() } else { format!("{part:?}") };
    path.iter().map(part).collect::<Vec<_>>().join(".")
}

/// What TOML's reader says, in plain words.
pub(super) fn plain(message: &str) -> String {
    const WHOLE: &str = "expected a whole number, 0 or more";
    let words = [
        ("expected usize", WHOLE),
        ("expected u64", WHOLE),
        ("expected u32", WHOLE),
        ("expected u8", WHOLE),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected a table"),
        ("invalid type: unit variant, expected newtype variant", "a name alone, expected its settings"),
        ("invalid type: unit variant, expected struct variant", "a name alone, expected its settings"),
        ("wanted string or table", "expected the name of a kind, or a table of its settings"),
        ("wanted exactly 1 element, more than 1 element", "two kinds are named where one is to be chosen"),
        ("wanted exactly 1 element, found 0 elements", "no kind is named where one is to be chosen"),
    ];
    let text = words.iter().fold(with_short_numbers(message), |text, (from, to)| text.replace(from, to));
    // The name of a type ends its line.
    let line = |line: &str| match line.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected a table of settings"),
        None => line.to_string(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A message of serde's, its floating-point number as people write it.
fn with_short_numbers(message: &str) -> String {
    const NUMBER: &str = "floating point `";
    let short = || {
        let (before, rest) = message.split_once(NUMBER)?;
        let (number, after) = rest.split_once('`')?;
        Some(format!("{before}{NUMBER}{}`{after}", short_number(number)))
    };
    short().unwrap_or_else(|| message.to_string())
}

/// Reads an experiment's file; of one that is not there the name most like it is told, of those beside it and those of maury's own
/// folders.
///
/// # Errors
/// As [`files::read_text`].
pub(super) fn read(path: &Path) -> Result<String> {
    let near = if path.exists() { None } else { near(path) };
    match near {
        Some(near) => {
            let said = format!("no such file; did you mean {}?", near.display());
            Err(Error::io(path, "read")(std::io::Error::new(std::io::ErrorKind::NotFound, said)))
        }
        None => files::read_text(path),
    }
}

fn near(path: &Path) -> Option<PathBuf> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for folder in [path.parent().unwrap_or(Path::new("")), Path::new("experiments"), Path::new("configs")] {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let names = std::fs::read_dir(here).into_iter().flatten().flatten().map(|entry| folder.join(entry.file_name()));
        found.extend(names.filter(|path| path.extension().is_some_and(|ending| ending == "toml")));
    }
    let stems: Vec<String> = found.iter().map(|path| stem(path)).collect();
    let name = stem(path);
    let nearest = stems.iter().find(|stem| **stem == name).map(String::as_str);
    let nearest = nearest.or_else(|| nearest_name(&name, stems.iter().map(String::as_str)))?;
    stems.iter().position(|stem| stem == nearest).map(|index| found.swap_remove(index))
}
