//! `[data.columns]`: what the columns of a catalogue are called, where the usual names do not find them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::expression::Expression;
use crate::error::nearest_name;

/// Where something other than labels is found, by keys that no label should have.
pub(super) const KEYS: [&str; 7] = ["id", "field", "telescope", "file", "snr", "starflag", "aspcapflag"];

/// Columns by what they are for: a label, a cut of `[selection.ranges]`, or one of `id`, `field`, `telescope`, `file`, `snr`,
/// `starflag` and `aspcapflag`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ColumnNames(BTreeMap<String, ColumnSource>);

/// What a label is read from.
///
/// In TOML an expression of columns, `mg_fe = "mg_h - fe_h"`, or a table, `teff = { column = "TEFF_SPEC", error = "E_TEFF" }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnSource(Written);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Written {
    /// A column's name as it stands in the table, whatever its characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    column: String,
    /// An expression of columns, in place of `column`.
    #[serde(skip_serializing_if = "String::is_empty")]
    expression: String,
    /// The column of its errors, or a number that all of them are; without it they are looked for by name, or worked out from those of
    /// the expression's columns.
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

impl JsonSchema for ColumnSource {
    fn schema_name() -> Cow<'static, str> {
        "ColumnSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "What a label, a cut or something else is read from: an expression of columns, or a table.";
        json_schema!({ "description": description, "anyOf": [{ "type": "string" }, generator.subschema_for::<Written>()] })
    }
}

impl Serialize for ColumnSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            written if written.column.is_empty() && written.error.is_empty() => {
                serializer.serialize_str(&written.expression)
            }
            written => written.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ColumnSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ColumnSource;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an expression of columns in quotes, or { column = \"...\", error = \"...\" }")
            }

            fn visit_str<E>(self, text: &str) -> Result<ColumnSource, E> {
                Ok(ColumnSource(Written { expression: text.into(), ..Written::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnSource, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map)).map(ColumnSource)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl ColumnSource {
    /// What it reads.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn expression(&self) -> Result<Expression, String> {
        let Written { column, expression, .. } = &self.0;
        match (column.trim(), expression.trim()) {
            ("", "") => Err("names no column; give one, or an expression of columns".into()),
            ("", _) => Expression::parse(expression).map_err(|wrong| format!("= \"{expression}\": {wrong}")),
            (column, "") => Ok(Expression::column(column)),
            _ => Err("has both `column` and `expression`; keep one".into()),
        }
    }

    /// As it is written, for messages.
    pub(super) fn text(&self) -> &str {
        if self.0.column.is_empty() { &self.0.expression } else { &self.0.column }
    }

    /// The column of its errors, if one is named, or a number.
    pub(super) fn error(&self) -> Option<&str> {
        Some(self.0.error.trim()).filter(|error| !error.is_empty())
    }

    /// What all of its errors are, if that is said; a column may have such a name, too.
    pub(super) fn error_of_all(&self) -> Option<f64> {
        self.error()?.parse().ok().filter(|error: &f64| error.is_finite() && *error > 0.0)
    }

    /// Its one column, if it is nothing else.
    fn only_column(&self) -> Option<String> {
        self.expression().ok()?.only_column().map(String::from)
    }
}

impl ColumnNames {
    /// All by their usual names.
    pub const USUAL: Self = Self(BTreeMap::new());

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a label is read from, if that is said.
    pub(super) fn of(&self, label: &str) -> Option<&ColumnSource> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(label)).map(|(_, source)| source)
    }

    /// The column of one of the keys that are no labels, if it is named.
    pub fn column(&self, key: &str) -> Option<String> {
        self.of(key)?.only_column()
    }

    /// All columns that a label or another key is read from, those of errors too, if that is said.
    pub(super) fn columns_of(&self, key: &str) -> Option<Vec<String>> {
        let source = self.of(key)?;
        let expression = source.expression().ok()?;
        let columns = expression.columns().map(|(column, _)| column.to_string());
        let of_errors = source.error().filter(|_| source.error_of_all().is_none());
        Some(columns.chain(of_errors.map(String::from)).collect())
    }

    /// Whether all make sense for these labels and cuts; if not, the key of the first that does not, and what is wrong with it.
    ///
    /// # Errors
    /// The key below `data.columns`, and the problem.
    pub fn check<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> Result<(), (String, String)> {
        let known: Vec<&str> = wanted.into_iter().chain(KEYS).collect();
        for (name, source) in &self.0 {
            let refuse = |problem: String| Err((name.clone(), problem));
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let near = nearest_name(name, known.iter().copied());
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return refuse(format!(
                    "is no label, no cut of selection.ranges and none of {}{near}",
                    KEYS.join(", ")
                ));
            }
            if let Some(other) = self.0.keys().find(|other| *other != name && other.eq_ignore_ascii_case(name)) {
                return refuse(format!("is the same as {other}: capitals do not tell names apart"));
            }
            if let Err(problem) = source.expression() {
                return refuse(problem);
            }
            let key = KEYS.iter().find(|key| key.eq_ignore_ascii_case(name));
            if key.is_some_and(|key| *key != "snr") && source.only_column().is_none() {
                return refuse("must be a column, not an expression".into());
            }
            if key.is_some() && source.error().is_some() {
                return refuse("has no error; only labels have".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(toml: &str) -> ColumnNames {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn expressions_and_tables_come_back_as_they_were_written() {
        let text = "id = \"star\"\nmg_fe = \"mg_h - fe_h\"\n\n[teff]\ncolumn = \"T eff\"\nerror = \"dT\"\n";
        let named = names(text);
        assert_eq!(names(&toml::to_string(&named).unwrap()), named);
        assert_eq!(toml::to_string(&named).unwrap(), text);
        assert_eq!(named.column("ID"), Some("star".into()));
        assert_eq!(named.column("teff"), Some("T eff".into()));
        assert_eq!((named.column("mg_fe"), named.column("field")), (None, None));
        assert_eq!(named.of("TEFF").unwrap().error(), Some("dT"));
        assert_eq!(named.columns_of("teff"), Some(vec!["T eff".into(), "dT".into()]));
        assert_eq!((named.columns_of("MG_FE").unwrap().len(), named.columns_of("field")), (2, None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        let labels = ["teff", "mg_fe"];
        let check = |toml: &str| names(toml).check(labels).unwrap_err();
        for (toml, key, problem) in [
            ("tefff = \"T\"", "tefff", "did you mean teff?"),
            ("teff = \"10 **\"", "teff", "= \"10 **\": it ends where"),
            ("teff = \" \"", "teff", "names no column"),
            ("teff = { column = \"a\", expression = \"b\" }", "teff", "keep one"),
            ("id = \"a + b\"", "id", "must be a column"),
            ("snr = { column = \"a\", error = \"b\" }", "snr", "only labels have"),
        ] {
            let (at, said) = check(toml);
            assert!(at == key && said.contains(problem), "{toml}: {at} {said}");
        }
        names("TEFF = \"5040 / theta\"\nsnr = \"sn * 2\"\nid = { column = \"star id\" }").check(labels).unwrap();
        let said = toml::from_str::<ColumnNames>("teff = { colum = \"a\" }").unwrap_err().to_string();
        assert!(said.contains("unknown field `colum`"), "{said}");
        let said = toml::from_str::<ColumnNames>("teff = 3").unwrap_err().to_string();
        assert!(said.contains("an expression of columns in quotes"), "{said}");
    }
}
