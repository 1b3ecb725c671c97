//! What reaches a terminal: names and words from files and servers are shown, never obeyed.

use std::borrow::Cow;
use std::io::Write;

/// Text with its control characters, other than ends of lines and tabs, written out, as well as those that turn the
/// direction of writing: a star may be called anything, and a terminal would do what its name says.
pub fn shown(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && c != '\n' && c != '\t')
    };
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\r' => shown.push_str("\\r"),
            c if c.is_ascii_control() && is_obeyed(c) => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_obeyed(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Says a line on stderr. Where nobody listens any more, nothing is lost.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", shown(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(shown("2M0 \u{1b}[31mred\u{7}"), "2M0 \\x1b[31mred\\x07");
        assert_eq!(shown("a\u{9b}2J\u{202e}b\rc\0"), "a\\u{9b}2J\\u{202e}b\\rc\\x00");
        let plain = "Teff 4500 ± 20 K\tα/M\n2nd line";
        assert!(matches!(shown(plain), Cow::Borrowed(same) if same == plain));
    }
}
