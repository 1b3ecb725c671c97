//! `[sweep]`: one experiment at every combination of some values of its keys.

pub mod outcome;
pub mod points;
pub mod run;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::short_number;

/// `[sweep]` of an experiment: dotted keys of the experiment, and the values each takes, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sweep(Vec<(String, Vec<toml::Value>)>);

impl JsonSchema for Sweep {
    fn schema_name() -> Cow<'static, str> {
        "Sweep".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "array", "minItems": 1 } })
    }
}

impl Sweep {
    /// Whether nothing is swept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the keys into this order: a table that was merged or parsed has lost the order of its file.
    pub fn sort_keys(&mut self, order: &[String]) {
        self.0.sort_by_key(|(key, _)| order.iter().position(|known| known == key));
    }

    /// The keys; the first varies slowest.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// Keys with their values.
    pub fn axes(&self) -> impl Iterator<Item = (&str, &[toml::Value])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Number of combinations.
    pub fn n_points(&self) -> usize {
        self.0.iter().fold(1, |product: usize, (_, values)| product.saturating_mul(values.len()))
    }

    /// Every combination, one value per key; the last key varies fastest.
    pub fn combinations(&self) -> impl Iterator<Item = Vec<toml::Value>> {
        (0..self.n_points()).map(|point| {
            let mut rest = point;
            let mut values: Vec<toml::Value> = Vec::new();
            for (_, of_key) in self.0.iter().rev() {
                values.push(of_key[rest % of_key.len()].clone());
                rest /= of_key.len();
            }
            values.reverse();
            values
        })
    }
}

/// A value as people write it: text without quotes, `folds.k = 5` for a table, everything else as in TOML.
pub fn value_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Table(table) => {
            let pair = |(key, value): (&String, &toml::Value)| match value {
                toml::Value::Table(_) => format!("{key}.{}", value_text(value)),
                _ => format!("{key} = {}", value_text(value)),
            };
            table.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
        other => short_number(&other.to_string()),
    }
}

impl Serialize for Sweep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, values)| (key, values)))
    }
}

impl<'de> Deserialize<'de> for Sweep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Axes;
        impl<'de> Visitor<'de> for Axes {
            type Value = Sweep;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a table of keys and their values, as in \"continuum.order\" = [1, 2, 3]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sweep, A::Error> {
                let mut axes = Vec::new();
                while let Some((key, Values(values))) = map.next_entry()? {
                    axes.push((key, values));
                }
                Ok(Sweep(axes))
            }
        }
        deserializer.deserialize_map(Axes)
    }
}

/// The values of one key.
struct Values(Vec<toml::Value>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Values;

            // A key without quotes is a table to TOML: the commonest mistake.
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter
                    .write_str("a list of values for a dotted key in quotes, as in \"continuum.order\" = [1, 2, 3]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_any(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_varies_slowest_whatever_its_name() {
        let mut sweep: Sweep = toml::from_str("\"z.order\" = [3, 1]\nseed = [7, 8]\n\"a\" = [\"x\"]\n").unwrap();
        let order = ["z.order", "seed", "a"].map(String::from);
        sweep.sort_keys(&order);
        assert_eq!(sweep.keys().collect::<Vec<_>>(), ["z.order", "seed", "a"]);
        let points: Vec<String> =
            sweep.combinations().map(|values| values.iter().map(value_text).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!((sweep.n_points(), points), (4, ["3 7 x", "3 8 x", "1 7 x", "1 8 x"].map(String::from).to_vec()));
        let written = toml::to_string_pretty(&sweep).unwrap();
        assert!(written.starts_with("\"z.order\" = "), "{written}");
        let mut back: Sweep = toml::from_str(&written).unwrap();
        back.sort_keys(&order);
        assert_eq!(back, sweep);
    }

    #[test]
    fn values_are_written_as_people_write_them() {
        let table: toml::Table =
            "a = 'find'\nb = { folds = { k = 3 } }\nc = { x = 1, y = [1.5, 2.0] }\nd = true".parse().unwrap();
        let texts: Vec<String> = ["a", "b", "c", "d"].iter().map(|key| value_text(&table[*key])).collect();
        assert_eq!(texts, ["find", "folds.k = 3", "x = 1, y = [1.5, 2.0]", "true"]);
    }

    #[test]
    fn a_key_without_quotes_is_told_about_them() {
        for text in ["continuum.order = [1, 2]", "seed = 3", "\"continuum.order\" = \"1,2\""] {
            let message = toml::from_str::<Sweep>(text).unwrap_err().to_string();
            assert!(message.contains("dotted key in quotes, as in \"continuum.order\" = [1, 2, 3]"), "{message}");
        }
    }
}
