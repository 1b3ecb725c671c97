//! The JSON schema of settings: how it is walked, and what numbers it allows. A range is declared once, beside the setting, and is
//! what `maury explain` tells, what editors complete with, and what is refused.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// What stands for a name of one's own in dotted keys: of a model, a label, a cut.
pub const ANY: &str = "NAME";

/// The schema of some settings.
pub fn of<T: JsonSchema>() -> Value {
    let mut settings = schemars::generate::SchemaSettings::draft07();
    settings.meta_schema = Some("http://json-schema.org/draft-07/schema#".into());
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The first number that is out of its range: its dotted key, and what is wrong with it.
///
/// # Errors
/// Key and problem.
pub fn check<T: JsonSchema + Serialize>(settings: &T) -> Result<(), (String, String)> {
    let value = toml::Value::try_from(settings).map_err(|err| (String::new(), err.to_string()))?;
    let root = of::<T>();
    check_value(&root, &root, &value, "")
}

fn check_value(root: &Value, node: &Value, value: &toml::Value, place: &str) -> Result<(), (String, String)> {
    let node = resolved(root, node);
    let number = match value {
        toml::Value::Table(table) => {
            let known = properties(root, &node);
            return table.iter().try_for_each(|(name, value)| {
                let child = known.iter().find(|(key, _)| key == name).or(known.iter().find(|(key, _)| key == ANY));
                child.map_or(Ok(()), |(_, child)| check_value(root, child, value, &below(place, name)))
            });
        }
        toml::Value::Array(items) => {
            let child = |k: usize| match node.get("items")? {
                Value::Array(each) => each.get(k),
                all => Some(all),
            };
            let mut items = items.iter().enumerate();
            return items
                .try_for_each(|(k, item)| child(k).map_or(Ok(()), |child| check_value(root, child, item, place)));
        }
        toml::Value::Integer(number) => *number as f64,
        toml::Value::Float(number) => *number,
        _ => return Ok(()),
    };
    match range(root, &node) {
        Some(range) if !range.holds(number) => Err((place.into(), format!("must be {}", range.words()))),
        None if number.is_nan() => Err((place.into(), "must be a number".into())),
        _ => Ok(()),
    }
}

/// A key of a table.
pub fn below(table: &str, name: &str) -> String {
    if table.is_empty() { name.into() } else { format!("{table}.{name}") }
}

/// What a number may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    least: Option<f64>,
    above: Option<f64>,
    most: Option<f64>,
    under: Option<f64>,
}

impl Range {
    fn holds(&self, number: f64) -> bool {
        self.least.is_none_or(|least| number >= least)
            && self.above.is_none_or(|above| number > above)
            && self.most.is_none_or(|most| number <= most)
            && self.under.is_none_or(|under| number < under)
    }

    /// As in "must be 1 to 100", "above 0 and at most 1".
    pub fn words(&self) -> String {
        if let (Some(least), Some(most), None, None) = (self.least, self.most, self.above, self.under) {
            return format!("{} to {}", written(least), written(most));
        }
        let bounds = [("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.under)];
        let told = |(word, bound): (&str, Option<f64>)| bound.map(|bound| format!("{word} {}", written(bound)));
        bounds.into_iter().filter_map(told).collect::<Vec<String>>().join(" and ")
    }
}

/// A bound in as few letters as people write it with.
fn written(bound: f64) -> String {
    let is_plain = bound == 0.0 || (1e-3..1e7).contains(&bound.abs());
    if is_plain { bound.to_string() } else { format!("{bound:e}") }
}

/// What a number may be, that of the choice that is one where there are several; none where every number will do.
pub fn range(root: &Value, node: &Value) -> Option<Range> {
    let bound = |key: &str| node.get(key).and_then(Value::as_f64);
    let own = Range {
        least: bound("minimum"),
        above: bound("exclusiveMinimum"),
        most: bound("maximum"),
        under: bound("exclusiveMaximum"),
    };
    let is_bounded = [own.least, own.above, own.most, own.under].iter().any(Option::is_some);
    if is_bounded { Some(own) } else { choices(node).find_map(|choice| range(root, &resolved(root, choice))) }
}

/// A schema with what it refers to laid under it.
pub fn resolved(root: &Value, node: &Value) -> Value {
    let mut fields = Map::new();
    if let Some(path) = node.get("$ref").and_then(Value::as_str)
        && let Some(Value::Object(target)) = root.pointer(path.trim_start_matches('#'))
    {
        fields.extend(target.clone());
    }
    for part in node.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        if let Value::Object(part) = resolved(root, part) {
            fields.extend(part);
        }
    }
    fields.extend(node.as_object().cloned().unwrap_or_default());
    Value::Object(fields)
}

/// Keys of a table, those of all its kinds where it is one of several.
pub fn properties(root: &Value, node: &Value) -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = Vec::new();
    let named = node.get("properties").and_then(Value::as_object);
    found.extend(named.into_iter().flatten().map(|(name, child)| (name.clone(), child.clone())));
    if let Some(child @ Value::Object(_)) = node.get("additionalProperties") {
        found.push((ANY.into(), child.clone()));
    }
    for choice in choices(node) {
        for (name, child) in properties(root, &resolved(root, choice)) {
            if !found.iter().any(|(known, _)| *known == name) {
                // One of several kinds says what it is, where its only key does not.
                let mut child = child;
                if let (Some(words), Some(fields)) = (choice.get("description"), child.as_object_mut()) {
                    fields.entry("description").or_insert_with(|| words.clone());
                }
                found.push((name, child));
            }
        }
    }
    found
}

/// The kinds that a value may be one of.
pub fn choices(node: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().filter_map(|key| node.get(key).and_then(Value::as_array)).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize, JsonSchema)]
    enum Rule {
        Steps {
            #[schemars(range(min = 1, max = 10_000_000))]
            most: usize,
        },
    }

    #[derive(Serialize, JsonSchema)]
    struct Settings {
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        share: Option<f64>,
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 0.5))]
        between: f64,
        any: f64,
        #[schemars(inner(range(min = 2)))]
        widths: Vec<usize>,
        rules: BTreeMap<String, Rule>,
        count: u32,
    }

    fn settings() -> Settings {
        let rules = BTreeMap::from([("mine".into(), Rule::Steps { most: 3 })]);
        Settings { share: None, between: 0.25, any: -1e300, widths: vec![2, 3], rules, count: 0 }
    }

    #[test]
    fn a_number_out_of_its_range_is_told_by_its_key_wherever_it_is() {
        assert_eq!(check(&settings()), Ok(()));
        assert_eq!(check(&Settings { share: Some(1.0), any: f64::INFINITY, ..settings() }), Ok(()));
        let refused = |settings: Settings, key: &str, problem: &str| {
            assert_eq!(check(&settings), Err((key.to_string(), problem.to_string())));
        };
        for share in [0.0, 1.1, f64::NAN, f64::NEG_INFINITY] {
            refused(Settings { share: Some(share), ..settings() }, "share", "must be above 0 and at most 1");
        }
        refused(Settings { between: 0.5, ..settings() }, "between", "must be above 0 and below 0.5");
        refused(Settings { any: f64::NAN, ..settings() }, "any", "must be a number");
        refused(Settings { widths: vec![2, 1], ..settings() }, "widths", "must be at least 2");
        let rules = BTreeMap::from([("mine".into(), Rule::Steps { most: 0 })]);
        refused(Settings { rules, ..settings() }, "rules.mine.Steps.most", "must be 1 to 1e7");
    }
}
