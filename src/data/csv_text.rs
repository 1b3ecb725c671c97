//! Texts in CSV tables: how they are kept from being formulas, and the table's delimiter.

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

/// The delimiter of a table: comma, tab or semicolon, whichever its header line has most of outside quotes. ECSV tables say it
/// themselves; where they do not, it is a blank, unless their header line has none.
pub(super) fn delimiter(start: &str) -> u8 {
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
