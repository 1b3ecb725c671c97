//! What tables and files in the layout of Astra, the survey's own pipeline (DR19), have in common.
//!
//! Layouts: `astraAllStarTheCannon` and `mwmStar` of DR19's data model.

use crate::data::fits::Column;
use crate::data::value::Value;

/// What is handed on of spectra to tables and files of this layout, under each of the names that releases give it.
pub const WELCOME: [&str; 17] = [
    "sdss_id",
    "sdssid",
    "release",
    "filetype",
    "apred",
    "telescope",
    "field",
    "healpix",
    "ra",
    "dec",
    "min_mjd",
    "max_mjd",
    "n_visits",
    "nvisits",
    "v_rad",
    "vhelio",
    "vrad",
];

/// Type of a column, with the layout's value for nothing: -1 for integers, NaN for numbers, empty for texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Long,
    Integer,
    Double,
    Float,
    Text,
}

/// A column that says which spectrum it was.
pub(super) struct Field {
    pub name: &'static str,
    /// Names under which files have it, the first that is there counts.
    from: &'static [&'static str],
    kind: Kind,
    unit: &'static str,
    pub meaning: &'static str,
}

const fn field(
    name: &'static str,
    from: &'static [&'static str],
    kind: Kind,
    unit: &'static str,
    meaning: &'static str,
) -> Field {
    Field { name, from, kind, unit, meaning }
}

/// The columns that say which spectrum it was, in their order; `obj` comes behind the first.
pub(super) const FIELDS: [Field; 13] = [
    field("sdss_id", &["sdss_id", "sdssid"], Kind::Long, "", "SDSS-5 unique identifier; -1: not known"),
    field("release", &["release"], Kind::Text, "", "SDSS release of the spectrum"),
    field("filetype", &["filetype"], Kind::Text, "", "SDSS file type of the spectrum"),
    field("apred", &["apred"], Kind::Text, "", "APOGEE reduction"),
    field("telescope", &["telescope"], Kind::Text, "", "telescope"),
    field("field", &["field"], Kind::Text, "", "field identifier"),
    field("healpix", &["healpix"], Kind::Integer, "", "HEALPix (128, RING); -1: not known"),
    field("ra", &["ra"], Kind::Double, "deg", "right ascension"),
    field("dec", &["dec"], Kind::Double, "deg", "declination"),
    field("min_mjd", &["min_mjd"], Kind::Integer, "", "MJD of the first visit; -1: not known"),
    field("max_mjd", &["max_mjd"], Kind::Integer, "", "MJD of the last visit; -1: not known"),
    field("n_visits", &["n_visits", "nvisits"], Kind::Integer, "", "visits; -1: not known"),
    field("v_rad", &["v_rad", "vhelio", "vrad"], Kind::Float, "km/s", "barycentric radial velocity that was taken out"),
];

impl Field {
    /// Where its value stands among what is handed on, by the order in which it is looked for.
    pub fn places(&self, names: &[String]) -> Vec<usize> {
        let place = |from: &&str| names.iter().position(|name| name.eq_ignore_ascii_case(from));
        self.from.iter().filter_map(place).collect()
    }

    /// Its column.
    pub fn column(&self, values: &[Value]) -> Column {
        let integer = |value: &Value| value.as_i64().unwrap_or(-1);
        match self.kind {
            Kind::Long => Column::i64(self.name, values.iter().map(integer).collect()),
            Kind::Integer => {
                let narrow = |value: &Value| i32::try_from(integer(value)).unwrap_or(-1);
                Column::i32(self.name, values.iter().map(narrow).collect())
            }
            Kind::Double => Column::f64(self.name, self.unit, values.iter().map(Value::as_f64).collect()),
            Kind::Float => {
                Column::f32(self.name, self.unit, values.iter().map(|value| value.as_f64() as f32).collect())
            }
            Kind::Text => Column::text(self.name, values.iter().map(Value::as_text).collect()),
        }
    }

    /// Its value among those of one spectrum.
    pub fn of(&self, names: &[String], values: &[Value]) -> Value {
        let found =
            self.places(names).into_iter().filter_map(|place| values.get(place)).find(|value| !value.is_missing());
        found.cloned().unwrap_or_default()
    }
}

/// The time as the layout's CREATED has it: UTC, `yy-mm-dd hh:mm:ss`.
pub(super) fn created() -> String {
    jiff::Timestamp::now().strftime("%y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_looked_for_is_handed_on() {
        for field in &FIELDS {
            assert!(field.from.iter().all(|from| WELCOME.contains(from)), "{}", field.name);
            assert!(field.meaning.len() <= 68, "{} is longer than a card", field.meaning);
        }
    }

    #[test]
    fn fields_take_the_first_name_that_has_a_value_and_fill_the_rest() {
        let names: Vec<String> = ["VRAD", "v_rad", "sdssid"].map(String::from).to_vec();
        let values = [Value::Number(3.5), Value::Missing, Value::Integer(7)];
        let of = |name: &str| FIELDS.iter().find(|field| field.name == name).unwrap();
        assert_eq!(of("v_rad").of(&names, &values), Value::Number(3.5));
        let column = of("sdss_id").column(&[of("sdss_id").of(&names, &values), Value::Missing]);
        assert_eq!([column.cell(0), column.cell(1)], ["7", "-1"]);
        let absent = |name: &str| of(name).column(&[of(name).of(&names, &values)]).cell(0);
        assert_eq!(["ra", "healpix", "release"].map(absent), ["", "-1", ""]);
    }

    #[test]
    fn created_is_as_long_as_astra_writes_it() {
        let created = created();
        let digits = created.chars().filter(char::is_ascii_digit).count();
        assert!(created.len() == 17 && digits == 12 && created.contains(' '), "{created}");
    }
}
