//! What every key of an experiment means: one description each, from the doc comments of the settings. It feeds `maury explain`, the
//! JSON schema that editors complete with, and the reference page.

use serde_json::Value;

use super::config::ExperimentConfig;
use crate::error::{Error, Result, nearest_name};
use crate::schema::{self, ANY, below, choices, properties, range, resolved};

/// A key of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The dotted key, [`ANY`] where people choose a name.
    pub name: String,
    /// What it means.
    pub description: String,
    /// What it takes: `integer`, `"f32" or "f64"`, `table`, ...
    pub takes: String,
    /// Its value where nobody gives one, as TOML has it; empty where there is none.
    pub default: String,
    /// Whether it is a table that every experiment has, named or not.
    pub is_always_there: bool,
    /// Keys below it.
    pub below: Vec<String>,
}

/// The JSON schema of experiments, of the kinds of models that are known now.
pub fn schema() -> Value {
    let mut schema = schema::of::<ExperimentConfig>();
    plain(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "An experiment of maury".into());
    }
    schema
}

/// Takes what only Rust understands out of descriptions.
fn plain(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = without_links(text);
            }
            fields.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

/// `[words](path)` and ``[`words`]`` as their words; lines of one paragraph in one.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[`") {
        plain += &rest[..start];
        let after = &rest[start + 1..];
        let Some(end) = after.find(']') else {
            plain += &rest[start..];
            return plain;
        };
        plain += &after[..end];
        rest = &after[end + 1..];
        if rest.starts_with('(') {
            rest = rest.find(')').map_or(rest, |end| &rest[end + 1..]);
        }
    }
    plain += rest;
    plain.replace("\n\n", "\u{1}").replace('\n', " ").replace('\u{1}', "\n\n")
}

/// All keys, tables before what is in them, in the order of the settings.
pub fn all() -> Vec<Key> {
    let schema = schema();
    let mut keys = Vec::new();
    gather(&schema, &schema, "", &mut keys);
    keys
}

/// A dotted key; a name of one's own may stand in place of [`ANY`], and a key of a sweep stands for itself.
///
/// # Errors
/// [`Error::Config`] with the nearest key.
pub fn explain(asked: &str) -> Result<Key> {
    /// No key is so long.
    const LONGEST: usize = 200;
    if asked.len() > LONGEST {
        let start: String = asked.chars().take(40).collect();
        return Err(Error::Config(format!("{start}...: no key has {} letters", asked.len())));
    }
    let keys = all();
    if let Some(key) = keys.iter().find(|key| key.name == asked) {
        return Ok(key.clone());
    }
    let swept = asked.strip_prefix("sweep.").map(|key| key.replace('"', ""));
    let asked = swept.as_deref().unwrap_or(asked);
    if let Some(key) = known(&keys, asked) {
        return Ok(key.clone());
    }
    // Part by part, what was meant as far as that can be told.
    let (mut meant, mut is_whole) = (String::new(), true);
    for part in asked.split('.') {
        let inside = keys.iter().find(|key| key.name == meant).map(|key| key.below.clone());
        let known = if meant.is_empty() {
            keys.iter().filter(|key| !key.name.contains('.')).map(|key| key.name.clone()).collect()
        } else {
            inside.unwrap_or_default()
        };
        let found = match known.iter().find(|known| *known == part) {
            Some(same) => Some(same.as_str()),
            None if known.iter().any(|known| known == ANY) => Some(ANY),
            None => nearest_name(part, known.iter().map(String::as_str)),
        };
        let Some(found) = found else {
            is_whole = false;
            break;
        };
        meant = below(&meant, found);
    }
    let last = asked.rsplit('.').next().unwrap_or(asked);
    let elsewhere = || keys.iter().find(|key| key.name.rsplit('.').next() == Some(last)).map(|key| key.name.clone());
    let hint = match Some(meant).filter(|meant| is_whole && !meant.is_empty()).or_else(elsewhere) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`maury explain` lists all tables".into(),
    };
    Err(Error::Config(format!("{asked:?}: no such key; {hint}")))
}

/// The key of a dotted name, in which any word may stand for [`ANY`].
pub fn known<'a>(keys: &'a [Key], asked: &str) -> Option<&'a Key> {
    let asked: Vec<&str> = asked.split('.').collect();
    let is_it = |key: &&Key| {
        let parts = key.name.split('.');
        parts.clone().count() == asked.len() && parts.zip(&asked).all(|(part, asked)| part == ANY || part == *asked)
    };
    keys.iter().find(is_it)
}

fn gather(root: &Value, node: &Value, place: &str, keys: &mut Vec<Key>) {
    let node = resolved(root, node);
    for (name, child) in properties(root, &node) {
        let name = below(place, &name);
        let whole = resolved(root, &child);
        let inside: Vec<String> = properties(root, &whole).into_iter().map(|(name, _)| name).collect();
        let words = |value: &Value| value.get("description").and_then(Value::as_str).map(String::from);
        let default = child.get("default").filter(|value| !value.is_object()).map(toml_text).unwrap_or_default();
        keys.push(Key {
            // What people name themselves is what the table around it says.
            description: words(&child).or_else(|| words(&whole)).or_else(|| words(&node)).unwrap_or_default(),
            takes: takes(root, &child),
            default,
            is_always_there: child.get("default").is_some_and(Value::is_object),
            below: inside,
            name: name.clone(),
        });
        // Layers may lie in layers; keys that are their own tables are told once.
        if place.matches('.').count() < MOST_DEPTH {
            gather(root, &child, &name, keys);
        }
    }
}

/// Tables in tables, at most.
const MOST_DEPTH: usize = 6;

/// What a key takes, in words.
fn takes(root: &Value, node: &Value) -> String {
    let node = resolved(root, node);
    if let Some(value) = node.get("const") {
        return toml_text(value);
    }
    if let Some(values) = node.get("enum").and_then(Value::as_array) {
        return values.iter().filter(|value| !value.is_null()).map(toml_text).collect::<Vec<_>>().join(" or ");
    }
    let kinds: Vec<&str> = match node.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        _ => Vec::new(),
    };
    let mut words: Vec<String> = Vec::new();
    for kind in kinds {
        words.push(match kind {
            "object" => "table".into(),
            "string" => "text".into(),
            "array" => match node.get("items").map(|items| takes(root, items)) {
                Some(items) if !items.is_empty() => format!("list of {}", several(&items)),
                _ => "list".into(),
            },
            "boolean" => "true or false".into(),
            number => {
                let name = if number == "integer" { "whole number" } else { number };
                range(root, &node).map_or(name.into(), |range| format!("{name}, {}", range.words()))
            }
        });
    }
    for choice in choices(&node) {
        let of_choice = takes(root, choice);
        if !of_choice.is_empty() && of_choice != "null" && !words.contains(&of_choice) {
            words.push(of_choice);
        }
    }
    words.join(" or ")
}

/// `whole number, 1 to 100` of each of several.
fn several(takes: &str) -> String {
    let kind = ["whole number", "number", "list", "text"].into_iter().find(|kind| takes.starts_with(kind));
    kind.map_or(takes.into(), |kind| format!("{kind}s{}", &takes[kind.len()..]))
}

/// A value as TOML writes it.
fn toml_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => format!("\"{text}\""),
        Value::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The reference page, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Every key of an experiment\n\n\
         Made from the settings themselves (`cargo test keys`); `maury explain KEY` says the same, and where an experiment's value comes \
         from. `NAME` stands for a name of your own.\n",
    );
    for key in all() {
        let is_table = !key.below.is_empty();
        if !key.name.contains('.') {
            page += &format!("\n## {}\n\n", key.name);
            page += &format!("{}\n\n", key.description);
            if !is_table || key.takes.contains('"') {
                page += &format!("Takes: {}.{}\n", key.takes, told_default(&key));
            }
            continue;
        }
        page += &format!("- `{}`: {}", key.name, key.description.replace("\n\n", " "));
        page += &if is_table && !key.takes.contains('"') {
            "\n".to_string()
        } else {
            format!(" Takes: {}.{}\n", key.takes, told_default(&key))
        };
    }
    page
}

fn told_default(key: &Key) -> String {
    if matches!(key.default.as_str(), "" | "\"\"") { String::new() } else { format!(" Default: `{}`.", key.default) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_key_says_what_it_means_and_what_it_takes() {
        let keys = all();
        assert!(keys.len() > 150, "{}", keys.len());
        for key in &keys {
            assert!(!key.description.is_empty(), "{} says nothing", key.name);
            assert!(!key.takes.is_empty() || !key.below.is_empty(), "{} takes nothing", key.name);
            assert!(!key.description.contains("[`"), "{}: {}", key.name, key.description);
            assert_eq!(explain(&key.name).unwrap(), *key);
        }
    }

    #[test]
    fn a_key_is_explained_by_its_own_name() {
        let key = explain("continuum.order").unwrap();
        assert_eq!((key.takes.as_str(), key.default.as_str()), ("whole number, 0 to 10", "2"));
        let key = explain("models.mine.cannon.order").unwrap();
        assert!(key.name == "models.NAME.cannon.order" && key.description.contains("polynomial"), "{key:?}");
        assert!(explain("device.precision").unwrap().takes.contains("\"f64\""));
        let said = |asked: &str| explain(asked).unwrap_err().to_string();
        for (asked, meant) in [
            ("continuum.odrer", "continuum.order"),
            ("contineum", "continuum"),
            ("contnuum.order", "continuum.order"),
            ("models.mine.canon.order", "models.NAME.cannon.order"),
        ] {
            assert!(said(asked).contains(&format!("did you mean `{meant}`?")), "{}", said(asked));
        }
        assert!(said(&"a.".repeat(5000)).contains("no key has 10000 letters"));
        assert_eq!(explain("sweep.\"continuum.order\"").unwrap(), explain("continuum.order").unwrap());
        let split = explain("split").unwrap();
        assert!(split.takes.contains("\"halves\"") && split.default == "\"halves\"", "{split:?}");
    }

    #[test]
    fn descriptions_lose_their_links_and_keep_their_words() {
        assert_eq!(
            without_links("As [`Foo::bar`] says,\nand [`so`](crate::so) on."),
            "As `Foo::bar` says, and `so` on."
        );
        assert_eq!(without_links("[n_stars, n_pixels]"), "[n_stars, n_pixels]");
    }

    /// `MAURY_WRITE=1 cargo test keys` makes both anew.
    #[test]
    fn the_schema_and_the_reference_page_are_those_of_the_settings() {
        let schema = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        for (file, made) in [("docs/experiment.schema.json", schema), ("docs/keys.md", reference())] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            if std::env::var_os("MAURY_WRITE").is_some() {
                std::fs::write(&path, &made).unwrap();
            }
            let is_new = std::fs::read_to_string(&path).unwrap_or_default() == made;
            assert!(is_new, "{file} is another: MAURY_WRITE=1 cargo test keys");
        }
    }
}
