//! Sentences whose every number is looked up: a number on a page says where in the run's JSON it stands, and a test holds them
//! together.

use serde_json::Value;

use super::escape::escaped;

/// The numbers of a run, `metrics.json`, by their places in it.
///
/// A sentence holds its numbers as `{path}` or `{path:format}`, the path in steps with dots between, lists counted from 0:
/// `{selection.3.left}`, `{lab.gravity.0.logg:.2}`. Formats:
///
/// | format | writes |
/// |---|---|
/// | (none) | words as they are, numbers to three digits, zeros at the end left out |
/// | `.N` | N decimals |
/// | `+.N` | N decimals and always a sign |
/// | `%N` | a fraction in percent, N decimals |
/// | `e` | a small number as a power of ten, two digits |
/// | `K` or `dex` | the decimals a label of this unit deserves; `+K` and `+dex` with a sign |
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    json: &'a Value,
}

impl<'a> Facts<'a> {
    /// Facts of this JSON.
    pub fn new(json: &'a Value) -> Self {
        Self { json }
    }

    /// What stands at a path; none where nothing does, or null.
    pub fn at(&self, path: &str) -> Option<&'a Value> {
        let step = |value: &'a Value, step: &str| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            Value::Object(fields) => fields.get(step),
            _ => None,
        };
        path.split('.').try_fold(self.json, step).filter(|value| !value.is_null())
    }

    /// Whether anything stands at a path.
    pub fn has(&self, path: &str) -> bool {
        self.at(path).is_some()
    }

    /// The number at a path.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.at(path)?.as_f64()
    }

    /// The words at a path.
    pub fn words(&self, path: &str) -> Option<&'a str> {
        self.at(path)?.as_str()
    }

    /// Yes or no at a path.
    pub fn yes(&self, path: &str) -> Option<bool> {
        self.at(path)?.as_bool()
    }

    /// How many items or fields stand at a path.
    pub fn count(&self, path: &str) -> usize {
        match self.at(path) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(fields)) => fields.len(),
            _ => 0,
        }
    }

    /// Names of the fields at a path, in their order.
    pub fn names(&self, path: &str) -> Vec<&'a str> {
        let fields = self.at(path).and_then(Value::as_object);
        fields.map(|fields| fields.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// A sentence as HTML, its numbers in place; none if one of them is not known.
    pub fn tell(&self, sentence: &str) -> Option<String> {
        let mut html = String::new();
        let mut rest = sentence;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}')?;
            html += &escaped(before);
            html += &self.fact(inside)?;
            rest = after;
        }
        Some(html + &escaped(rest))
    }

    /// The same without markup, for what is read aloud.
    pub fn plain(&self, sentence: &str) -> Option<String> {
        let mut text = String::new();
        let mut rest = sentence;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}')?;
            text += before;
            text += &self.written(inside)?.1;
            rest = after;
        }
        Some(text + rest)
    }

    /// One number as HTML that says where it comes from.
    fn fact(&self, placeholder: &str) -> Option<String> {
        let (path, text) = self.written(placeholder)?;
        let known = self.at(path)?;
        let (value, text) = (escaped(&known.to_string()), escaped(&text));
        // Numbers stay on one line, words need not.
        let class = if known.is_string() { " class=\"words\"" } else { "" };
        Some(format!("<data value=\"{value}\" title=\"{}\"{class}>{text}</data>", escaped(path)))
    }

    /// Path and text of `path:format`.
    fn written<'p>(&self, placeholder: &'p str) -> Option<(&'p str, String)> {
        let (path, format) = placeholder.split_once(':').unwrap_or((placeholder, ""));
        let text = match self.at(path)? {
            Value::String(words) => words.clone(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_string(),
            Value::Number(number) => formatted(number.as_f64()?, format),
            _ => return None,
        };
        Some((path, text))
    }
}

/// A number in one of the formats of [`Facts`].
pub fn formatted(value: f64, format: &str) -> String {
    if format == "e" && value.abs() < 0.001 && value != 0.0 {
        return power_of_ten(value);
    }
    let (signed, format) = format.strip_prefix('+').map_or((false, format), |rest| (true, rest));
    let percent = format.strip_prefix('%');
    let is_plain = percent.is_none() && matches!(format, "" | "e");
    let decimals = match (percent, format) {
        (Some(decimals), _) => decimals.parse().ok(),
        (None, "K") => Some(if value.abs() < 1000.0 { 1 } else { 0 }),
        (None, "dex") => Some(3),
        (None, _) => format.strip_prefix('.').and_then(|decimals| decimals.parse().ok()),
    };
    let scaled = if percent.is_some() { 100.0 * value } else { value };
    let decimals = decimals.unwrap_or_else(|| match scaled.abs() {
        _ if scaled.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        // Three digits, wherever they begin.
        size => (2 - size.max(1e-9).log10().floor() as i32).clamp(0, 9) as usize,
    });
    let mut rounded = format!("{:.decimals$}", scaled.abs());
    if is_plain && decimals > 0 {
        rounded.truncate(rounded.trim_end_matches('0').trim_end_matches('.').len());
    }
    // What rounds to zero has no sign.
    let is_zero = rounded.chars().all(|c| matches!(c, '0' | '.'));
    let sign = match (is_zero, scaled < 0.0, signed) {
        (false, true, _) => "\u{2212}",
        (false, false, true) => "+",
        _ => "",
    };
    let end = if percent.is_some() { "%" } else { "" };
    format!("{sign}{}{end}", with_thousands(&rounded))
}

/// 4.2 × 10⁻⁷.
fn power_of_ten(value: f64) -> String {
    let text = format!("{value:.1e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let raised = |c: char| match c {
        '-' => '\u{207b}',
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    };
    let digits = digits.replace('-', "\u{2212}");
    format!("{digits} \u{d7} 10{}", exponent.chars().map(raised).collect::<String>())
}

/// Digits before the point in groups of three, from five digits on, with thin spaces.
fn with_thousands(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && whole.len() > 4 {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    fraction.map_or(text.clone(), |fraction| format!("{text}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sentences_find_their_numbers_or_are_not_told() {
        let json =
            json!({ "cuts": [{ "left": 188_650, "name": "a < b" }], "bias": -0.0004, "p": 0.4217, "none": null });
        let facts = Facts::new(&json);
        let told = facts.tell("{cuts.0.left} stars after {cuts.0.name}, {p:%1}.").unwrap();
        assert_eq!(
            told,
            "<data value=\"188650\" title=\"cuts.0.left\">188\u{2009}650</data> stars after <data value=\"&quot;a &lt; b&quot;\" \
             title=\"cuts.0.name\" class=\"words\">a &lt; b</data>, <data value=\"0.4217\" title=\"p\">42.2%</data>."
        );
        assert_eq!(facts.plain("bias {bias:+.4}, {p}").unwrap(), "bias \u{2212}0.0004, 0.422");
        for unknown in ["{none}", "{cuts.1.left}", "{cuts.0.left.x}", "{cuts}", "{unclosed"] {
            assert_eq!(facts.tell(unknown), None, "{unknown}");
        }
        assert_eq!((facts.count("cuts"), facts.count("cuts.0"), facts.count("p")), (1, 2, 0));
    }

    #[test]
    fn numbers_are_written_as_their_unit_deserves() {
        let written = [
            (4463.4, "K", "4463"),
            (44.04, "K", "44.0"),
            (-0.0001, "+.2", "0.00"),
            (0.25, "+dex", "+0.250"),
            (12345.6, "", "12\u{2009}346"),
            (1886.0, "", "1886"),
            (0.012_345, "", "0.0123"),
            (0.5, "%0", "50%"),
            (-3.0, "", "\u{2212}3"),
            (4.2e-17, "e", "4.2 \u{d7} 10\u{207b}\u{b9}\u{2077}"),
            (0.25, "e", "0.25"),
            (0.1, "", "0.1"),
        ];
        for (value, format, expected) in written {
            assert_eq!(formatted(value, format), expected, "{value} as {format}");
        }
    }
}
