//! Labels that are worked out from columns: `mg_h - fe_h`, `5040 / theta`, `10 ** log_teff`.
//!
//! A small grammar of its own, because the columns are the user's, their names may be odd, and partial derivatives are wanted
//! for errors: numbers, columns, `+ - * /`, powers `**`, parentheses, and `log10(...)`. Names with other characters than
//! letters, digits, `_` and `.` stand in backticks.

use std::iter::Peekable;
use std::str::CharIndices;

/// Expressions nest no deeper than this.
const MOST_DEPTH: usize = 64;
/// Expressions have no more parts than this.
const MOST_PARTS: usize = 1000;

/// What is wrong with an expression, and at which character, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at character {at}")]
pub(super) struct Wrong {
    pub problem: String,
    pub at: usize,
}

/// An expression of columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expression {
    columns: Vec<(String, usize)>,
    root: Part,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Number(f64),
    Column(usize),
    Negative(Box<Part>),
    Log10(Box<Part>),
    Two(char, Box<Part>, Box<Part>),
}

impl Expression {
    /// The column of this name, whatever its characters.
    pub fn column(name: &str) -> Self {
        Self { columns: vec![(name.to_string(), 1)], root: Part::Column(0) }
    }

    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let mut parser = Parser { rest: text.char_indices().peekable(), text, columns: Vec::new(), n_parts: 0 };
        let root = parser.sum(0)?;
        match parser.next_sign() {
            None if parser.columns.is_empty() => Err(parser.wrong("no column; name one")),
            None => Ok(Self { columns: parser.columns, root }),
            Some('^') => Err(parser.wrong("`^`; powers are written `**`")),
            Some(')') => Err(parser.wrong("`)` without `(`")),
            Some(odd) => Err(parser.wrong(format!("`{odd}` where an operator or the end is expected"))),
        }
    }

    /// Its columns, each once, and at which character each stands first.
    pub fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.columns.iter().map(|(name, at)| (name.as_str(), *at))
    }

    /// Its column, if it is nothing else.
    pub fn only_column(&self) -> Option<&str> {
        match (&self.root, self.columns.as_slice()) {
            (Part::Column(_), [(name, _)]) => Some(name),
            _ => None,
        }
    }

    /// Its value, and the partial derivative by each column, where these are the columns' values. NaN where there is none.
    pub fn value(&self, columns: &[f64]) -> (f64, Vec<f64>) {
        self.root.value(columns)
    }

    /// Error of its value to first order, from independent errors of the columns:
    ///
    /// ```text
    /// sigma^2 = sum_c (d f / d x_c)^2 sigma_c^2
    /// ```
    ///
    /// Unknown, and NaN, where one of these is.
    pub fn error(&self, columns: &[f64], errors: &[f64]) -> f64 {
        let (_, slopes) = self.value(columns);
        slopes.iter().zip(errors).map(|(slope, error)| (slope * error).powi(2)).sum::<f64>().sqrt()
    }
}

impl Part {
    fn value(&self, columns: &[f64]) -> (f64, Vec<f64>) {
        let scaled = |slopes: Vec<f64>, factor: f64| slopes.into_iter().map(|slope| slope * factor).collect();
        match self {
            Self::Number(value) => (*value, vec![0.0; columns.len()]),
            Self::Column(index) => {
                let slopes = (0..columns.len()).map(|column| f64::from(u8::from(column == *index))).collect();
                (columns.get(*index).copied().unwrap_or(f64::NAN), slopes)
            }
            Self::Negative(part) => {
                let (value, slopes) = part.value(columns);
                (-value, scaled(slopes, -1.0))
            }
            Self::Log10(part) => {
                let (value, slopes) = part.value(columns);
                (value.log10(), scaled(slopes, 1.0 / (value * std::f64::consts::LN_10)))
            }
            Self::Two(sign, left, right) => {
                let ((a, by_a), (b, by_b)) = (left.value(columns), right.value(columns));
                let (value, of_a, of_b) = match sign {
                    '+' => (a + b, 1.0, 1.0),
                    '-' => (a - b, 1.0, -1.0),
                    '*' => (a * b, b, a),
                    '/' => (a / b, 1.0 / b, -a / (b * b)),
                    _ => (a.powf(b), b * a.powf(b - 1.0), a.powf(b) * a.ln()),
                };
                // What does not depend on a column is not asked for its slope: (-1) ** 2 has no logarithm to be had.
                let add = |(by_a, by_b): (f64, f64)| {
                    let through = |slope: f64, of: f64| if slope == 0.0 { 0.0 } else { slope * of };
                    through(by_a, of_a) + through(by_b, of_b)
                };
                (value, by_a.into_iter().zip(by_b).map(add).collect())
            }
        }
    }
}

struct Parser<'a> {
    rest: Peekable<CharIndices<'a>>,
    text: &'a str,
    columns: Vec<(String, usize)>,
    n_parts: usize,
}

impl Parser<'_> {
    /// Position of the next character, from 1.
    fn at(&mut self) -> usize {
        let byte = self.rest.peek().map_or(self.text.len(), |(byte, _)| *byte);
        self.text[..byte].chars().count() + 1
    }

    fn wrong(&mut self, problem: impl Into<String>) -> Wrong {
        Wrong { problem: problem.into(), at: self.at() }
    }

    /// The next character that is no blank.
    fn next_sign(&mut self) -> Option<char> {
        while self.rest.next_if(|(_, letter)| letter.is_whitespace()).is_some() {}
        self.rest.peek().map(|(_, letter)| *letter)
    }

    /// The next sign if it is this one; the sign `*` of a product is none of a power.
    fn take(&mut self, sign: char) -> bool {
        self.next_sign() == Some(sign) && self.rest.next().is_some()
    }

    fn is_power(&mut self) -> bool {
        self.next_sign();
        let byte = self.rest.peek().map_or(self.text.len(), |(byte, _)| *byte);
        self.text[byte..].starts_with("**")
    }

    fn two(&mut self, sign: char, left: Part, right: Part) -> Result<Part, Wrong> {
        self.n_parts += 1;
        if self.n_parts > MOST_PARTS {
            return Err(self.wrong("too long"));
        }
        Ok(Part::Two(sign, Box::new(left), Box::new(right)))
    }

    fn sum(&mut self, depth: usize) -> Result<Part, Wrong> {
        let mut left = self.product(depth)?;
        while let Some(sign @ ('+' | '-')) = self.next_sign() {
            self.rest.next();
            let right = self.product(depth)?;
            left = self.two(sign, left, right)?;
        }
        Ok(left)
    }

    fn product(&mut self, depth: usize) -> Result<Part, Wrong> {
        let mut left = self.signed(depth)?;
        while let Some(sign @ ('*' | '/')) = self.next_sign() {
            self.rest.next();
            let right = self.signed(depth)?;
            left = self.two(sign, left, right)?;
        }
        Ok(left)
    }

    /// A power with signs before it, which bind less than it does: `-x ** 2` is `-(x ** 2)`.
    fn signed(&mut self, depth: usize) -> Result<Part, Wrong> {
        if depth > MOST_DEPTH {
            return Err(self.wrong("too many brackets and signs within each other"));
        }
        if self.take('-') {
            return Ok(Part::Negative(Box::new(self.signed(depth + 1)?)));
        }
        if self.take('+') {
            return self.signed(depth + 1);
        }
        let base = self.atom(depth)?;
        if !self.is_power() {
            return Ok(base);
        }
        self.rest.next();
        self.rest.next();
        // From the right: 2 ** 3 ** 2 is 2 ** 9.
        let exponent = self.signed(depth + 1)?;
        self.two('^', base, exponent)
    }

    fn atom(&mut self, depth: usize) -> Result<Part, Wrong> {
        match self.next_sign() {
            Some('(') => self.bracket(depth),
            Some(digit) if digit.is_ascii_digit() || digit == '.' => self.number(),
            Some('`') => {
                let at = self.at();
                self.rest.next();
                let name = self.letters(|letter| letter != '`');
                if self.rest.next().is_none() || name.is_empty() {
                    return Err(Wrong { problem: "a name in backticks that is empty or does not end".into(), at });
                }
                Ok(self.named(name, at))
            }
            Some(letter) if letter.is_alphabetic() || letter == '_' => {
                let at = self.at();
                let name = self.letters(|letter| letter.is_alphanumeric() || letter == '_' || letter == '.');
                match (name.as_str(), self.next_sign()) {
                    ("log10", Some('(')) => Ok(Part::Log10(Box::new(self.bracket(depth)?))),
                    (_, Some('(')) => Err(Wrong { problem: format!("`{name}(`; the only function is log10"), at }),
                    _ => Ok(self.named(name, at)),
                }
            }
            Some(odd) => Err(self.wrong(format!("`{odd}` where a number, a column or `(` is expected"))),
            None => Err(self.wrong("it ends where a number, a column or `(` is expected")),
        }
    }

    fn bracket(&mut self, depth: usize) -> Result<Part, Wrong> {
        self.rest.next();
        let inside = self.sum(depth + 1)?;
        if self.take(')') { Ok(inside) } else { Err(self.wrong("`)` is missing")) }
    }

    fn letters(&mut self, belongs: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.rest.next_if(|(_, letter)| belongs(*letter)).map(|(_, letter)| letter)).collect()
    }

    fn number(&mut self) -> Result<Part, Wrong> {
        let at = self.at();
        let mut text = self.letters(|letter| letter.is_ascii_digit() || letter == '.');
        if let Some((_, e)) = self.rest.next_if(|(_, letter)| "eE".contains(*letter)) {
            text.push(e);
            text.extend(self.rest.next_if(|(_, letter)| "+-".contains(*letter)).map(|(_, sign)| sign));
            text += &self.letters(|letter| letter.is_ascii_digit());
        }
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
        value.map(Part::Number).ok_or_else(|| Wrong { problem: format!("`{text:.40}` is no number"), at })
    }

    fn named(&mut self, name: String, at: usize) -> Part {
        let known = self.columns.iter().position(|(known, _)| known.eq_ignore_ascii_case(&name));
        Part::Column(known.unwrap_or_else(|| {
            self.columns.push((name, at));
            self.columns.len() - 1
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, columns: &[f64]) -> f64 {
        Expression::parse(text).unwrap().value(columns).0
    }

    #[test]
    fn signs_bind_as_in_any_language() {
        // x is 2 throughout, the first column named.
        for (text, expected) in [
            ("x + 3 * 4", 14.0),
            ("(x + 3) * 4", 20.0),
            ("x - 3 - 4", -5.0),
            ("8 / x / 2", 2.0),
            ("-x ** 2", -4.0),
            ("x ** -1", 0.5),
            ("x ** 3 ** 2", 512.0),
            ("2*x**2*3", 24.0),
            ("- - x + +1e-1", 2.1),
            ("log10(50 * x)", 2.0),
            ("X * x", 4.0),
            (" .5*x ", 1.0),
        ] {
            assert!((value(text, &[2.0]) - expected).abs() < 1e-12, "{text}");
        }
        assert_eq!(value("mg_h - fe_h", &[0.1, -0.2]), 0.1 - -0.2);
        assert!(value("log10(x)", &[-1.0]).is_nan());
    }

    #[test]
    fn columns_keep_their_names_and_places() {
        let odd = Expression::parse("gaia.teff + `[Fe/H]` - GAIA.teff + log10").unwrap();
        assert_eq!(odd.columns().collect::<Vec<_>>(), [("gaia.teff", 1), ("[Fe/H]", 13), ("log10", 36)]);
        assert_eq!(odd.value(&[1.0, 2.0, 4.0]).0, 6.0);
        assert_eq!(Expression::column("T eff").value(&[7.0]), (7.0, vec![1.0]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, problem, at) in [
            ("", "it ends", 1),
            ("teff +", "it ends", 7),
            ("(teff", "`)` is missing", 6),
            ("teff)", "`)` without `(`", 5),
            ("teff logg", "`l` where an operator", 6),
            ("teff ^ 2", "powers are written `**`", 6),
            ("exp(teff)", "the only function is log10", 1),
            ("5040", "no column", 5),
            ("1.2.3 * x", "`1.2.3` is no number", 1),
            ("x * 1e999", "is no number", 5),
            ("x + `fe", "backticks", 5),
            ("x + ``", "backticks", 5),
            ("\u{e9}t\u{e9} $", "`$` where an operator", 5),
            ("x * * 2", "`*` where a number", 5),
        ] {
            let wrong = Expression::parse(text).unwrap_err();
            assert!(wrong.problem.contains(problem) && wrong.at == at, "{text}: {wrong}");
        }
        let deep = format!("{}x{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(Expression::parse(&deep).unwrap_err().problem.contains("within each other"));
        assert!(Expression::parse(&"-".repeat(10_000)).is_err());
        assert!(Expression::parse(&format!("x{}", " + x".repeat(10_000))).unwrap_err().problem.contains("too long"));
    }

    #[test]
    fn errors_add_in_quadrature_and_a_column_is_one_quantity() {
        let difference = Expression::parse("mg_h - fe_h").unwrap();
        assert!((difference.error(&[0.1, -0.2], &[0.03, 0.04]) - 0.05).abs() < 1e-15);
        assert!(difference.error(&[0.1, -0.2], &[0.03, f64::NAN]).is_nan());
        assert_eq!(Expression::parse("x - x + y").unwrap().error(&[1.0, 1.0], &[9.0, 2.0]), 2.0);
        // A square of something negative has a slope, though negative numbers have no logarithm.
        assert_eq!(Expression::parse("x ** 2").unwrap().error(&[-3.0], &[0.5]), 3.0);
    }

    /// Expressions that parse, of columns x and y.
    fn written() -> impl Strategy<Value = String> {
        let leaf =
            prop_oneof![Just("x".to_string()), Just("y".to_string()), (1..50_u32).prop_map(|n| format!("{n}e-1"))];
        leaf.prop_recursive(4, 24, 2, |inner| {
            prop_oneof![
                (inner.clone(), prop_oneof![Just('+'), Just('-'), Just('*'), Just('/')], inner.clone())
                    .prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
                inner.clone().prop_map(|a| format!("({a}) ** 2")),
                inner.clone().prop_map(|a| format!("1.1 ** ({a})")),
                inner.clone().prop_map(|a| format!("-{a}")),
                inner.prop_map(|a| format!("log10({a})")),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-+*/^() .`a-c0-9eE$\u{e9}]{0,40}") {
            if let Ok(expression) = Expression::parse(&text) {
                let columns = vec![0.5; expression.columns().count()];
                prop_assert_eq!(expression.value(&columns).1.len(), columns.len());
            }
        }

        #[test]
        fn slopes_are_those_of_finite_differences(text in written(), x in 0.5..2.0_f64, y in 0.5..2.0_f64) {
            let text = format!("{text} + 0 * x + 0 * y");
            let expression = Expression::parse(&text).unwrap();
            let columns: Vec<String> = expression.columns().map(|(name, _)| name.to_string()).collect();
            let at = |x: f64, y: f64| {
                let values: Vec<f64> = columns.iter().map(|name| if name == "x" { x } else { y }).collect();
                expression.value(&values)
            };
            let (value, slopes) = at(x, y);
            for (name, slope) in columns.iter().zip(slopes) {
                let step = 1e-6;
                let moved = |step: f64| if name == "x" { at(x + step, y).0 } else { at(x, y + step).0 };
                let (up, down) = (moved(step), moved(-step));
                let numeric = (up - down) / (2.0 * step);
                // Beside a pole or the edge of the logarithm a step of this size says nothing, as its two halves tell.
                let curved = ((up - value) - (value - down)).abs() / step;
                let size = 1.0 + value.abs() + numeric.abs();
                if value.is_finite() && numeric.is_finite() && slope.is_finite() && curved < 1e-4 * size && size < 1e6 {
                    prop_assert!((slope - numeric).abs() < 1e-3 * size, "{} by {}: {} and {}", text, name, slope, numeric);
                }
            }
        }
    }
}
