//! Texts in CSV tables: how they are kept from being formulas, and how a table of text is laid out.

/// A text as a cell that no spreadsheet takes for a formula: an apostrophe goes before `=`, `+`, `-`, `@`, a tab or a line
/// break at its start (and before apostrophes that stand before one of them). [`unshielded`] takes it off again.
pub fn shielded(text: &str) -> String {
    if is_formula(text) { format!("'{text}") } else { text.to_string() }
}

/// The text of a cell that [`shielded`] wrote; any other as it is.
pub fn unshielded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| is_formula(text)).unwrap_or(cell)
}

fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}

/// Lines that tell how a table is laid out.
const FIRST_LINES: usize = 20;

/// How a table of text is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// What stands between values.
    pub delimiter: u8,
    /// Whether any number of blanks is one delimiter.
    pub joins_blanks: bool,
    /// The names, where they stand in a line behind `#`, as astropy's `commented_header` and numpy write them.
    pub names: Option<Vec<String>>,
}

impl Layout {
    /// The layout of a table that begins like this.
    ///
    /// Values are separated as [`delimiter`] says; where that finds none, by blanks, if the first rows have as many of them as
    /// the line of names. The names stand in the last line behind `#` before the first row where that row has numbers in it,
    /// which names are not, and the line as many names.
    pub fn of(start: &str) -> Self {
        let plain = |delimiter| Self { delimiter, joins_blanks: false, names: None };
        let delimiter = delimiter(start);
        let start = start.trim_start_matches('\u{feff}');
        if start.starts_with("# %ECSV") {
            return plain(delimiter);
        }
        let is_comment = |line: &&str| line.starts_with('#');
        let lines = || start.lines().filter(|line| !line.trim().is_empty());
        let rows: Vec<&str> = lines().filter(|line| !is_comment(line)).take(FIRST_LINES).collect();
        let Some(first) = rows.first() else { return plain(delimiter) };
        let remark = lines().take_while(is_comment).last().map(|line| line.trim_start_matches('#'));
        let has_delimiter = first.as_bytes().contains(&delimiter);
        let values = |line: &str| match has_delimiter {
            true => line.split(char::from(delimiter)).map(|value| value.trim().to_string()).collect(),
            false => words(line),
        };
        let n_values = values(first).len();
        let is_number = |value: &String| value.contains(|c: char| c.is_ascii_digit()) && value.parse::<f64>().is_ok();
        let names = remark.map(values).filter(|names| {
            let are_names = names.len() == n_values && !names.iter().any(|name| name.is_empty() || is_number(name));
            are_names && values(first).iter().any(is_number)
        });
        let is_even = (names.is_some() || rows.len() > 1) && rows.iter().all(|row| words(row).len() == n_values);
        match !has_delimiter && n_values > 1 && is_even {
            true => Self { delimiter: b' ', joins_blanks: true, names },
            false => Self { names: names.filter(|_| has_delimiter || n_values == 1), ..plain(delimiter) },
        }
    }
}

/// What blanks separate, those in quotes aside.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut is_open, mut is_quoted) = (Vec::<String>::new(), false, false);
    for letter in line.trim().chars() {
        match letter {
            ' ' | '\t' if !is_quoted => is_open = false,
            _ => {
                if !is_open {
                    words.push(String::new());
                }
                is_quoted = if letter == '"' { !is_quoted && !is_open } else { is_quoted };
                is_open = true;
                if let Some(word) = words.last_mut().filter(|_| letter != '"') {
                    word.push(letter);
                }
            }
        }
    }
    words
}

/// The delimiter of a table: comma, tab or semicolon, whichever its header line has most of outside quotes. ECSV tables say it
/// themselves; where they do not, it is a blank, unless their header line has none.
fn delimiter(start: &str) -> u8 {
    let header = start.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty()).unwrap_or_default();
    let outside: String = header.split('"').step_by(2).collect();
    let count = |delimiter: &u8| outside.bytes().filter(|byte| byte == delimiter).count();
    if start.trim_start_matches('\u{feff}').starts_with("# %ECSV") {
        let mut lines = start.lines().take_while(|line| line.starts_with('#'));
        let said = lines.find_map(|line| line.trim_start_matches('#').trim().strip_prefix("delimiter:"));
        let said = said.and_then(|said| said.trim().trim_matches(['\'', '"']).bytes().next().or(Some(b' ')));
        if let Some(delimiter) = said.or(outside.trim().contains(' ').then_some(b' ')) {
            return delimiter;
        }
    }
    [b';', b'\t', b','].into_iter().max_by_key(count).filter(|delimiter| count(delimiter) > 0).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_formula_is_shielded_and_comes_back() {
        for text in ["=1+1", "+x", "-12", "@y", "'=a", "''-b", "'c", "2M00+01", "", "'", "a=b", "\tz"] {
            let cell = shielded(text);
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t']), "{cell}");
            assert_eq!(unshielded(&cell), text);
        }
        assert_eq!(shielded("=1+1"), "'=1+1");
        assert_eq!(shielded("2M00+01"), "2M00+01");
    }

    #[test]
    fn blanks_separate_where_every_row_has_as_many_as_the_names() {
        let names = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let blanks = |names| Layout { delimiter: b' ', joins_blanks: true, names };
        let plain = |delimiter, names| Layout { delimiter, joins_blanks: false, names };
        for (text, expected) in [
            ("id teff\na 4500\n", blanks(None)),
            ("id    teff\n\"a b\"   4500\n  c\t4600 \n", blanks(None)),
            ("# id teff\na 4500\nb 4600\n", blanks(names(&["id", "teff"]))),
            ("#Table 1\n# id teff\na 4500\n", blanks(names(&["id", "teff"]))),
            ("# id, teff\na,4500\n", plain(b',', names(&["id", "teff"]))),
            ("# id\tteff\na\t4500\n", plain(b'\t', names(&["id", "teff"]))),
            ("# wavelength\n15200.5\n", plain(b',', names(&["wavelength"]))),
            // SkyServer's first line, and a remark above a line of names.
            ("#Table1\nid,teff\na,4500\n", plain(b',', None)),
            ("# my stars\nid teff\na 4500\n", blanks(None)),
            ("#pixel\npixel\n1\n", plain(b',', None)),
            // One column: its name has a blank, or its values have.
            ("T eff\n4500\n", plain(b',', None)),
            ("star\nM 15\n", plain(b',', None)),
            ("id teff\na 4500\nb\n", plain(b',', None)),
            ("id teff\n", plain(b',', None)),
            ("# 2 rows\n1 2\n", plain(b',', None)),
            ("", plain(b',', None)),
        ] {
            assert_eq!(Layout::of(text), expected, "{text}");
        }
        assert_eq!(words(" \"a  b\" c\"d  \t e "), ["a  b", "cd", "e"]);
    }

    #[test]
    fn delimiters_are_told_by_the_header() {
        for (text, expected) in [
            ("id,teff\n", b','),
            ("id\tteff\tlog,g\n", b'\t'),
            ("\"a,b,c\";teff\n1;2\n", b';'),
            ("# %ECSV 1.0\n# ---\nid teff\n", b' '),
            ("# %ECSV 1.0\n# delimiter: ','\nid,teff\n", b','),
            ("# %ECSV 1.0\n# delimiter: ' '\nid x,y;z\n", b' '),
            ("# %ECSV 1.0\n# ---\nid,x teff\n", b' '),
            ("# %ECSV 1.0\n# ---\nid,teff\n", b','),
            ("pixel\n1\n", b','),
        ] {
            assert_eq!(delimiter(text), expected, "{text}");
        }
    }
}
