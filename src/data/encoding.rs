//! Text in files is UTF-8; what to do about text that is not.

/// What to do about Latin-1.
pub(super) const OF_LATIN1: &str = "`iconv -f latin1 -t utf-8` makes that of Latin-1";
/// Bytes in which a NUL is looked for.
const START: usize = 4096;

/// What bytes are that begin like this and are no text in UTF-8, if that is told by a NUL or a mark of UTF-16.
pub(super) fn no_text(start: &[u8]) -> Option<&'static str> {
    let start = &start[..start.len().min(START)];
    let is_filled = start.len() > 1 && start.iter().any(|byte| *byte != 0);
    let alternates = |at: usize| is_filled && start.iter().skip(at).step_by(2).all(|byte| *byte == 0);
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("text in UTF-16; `iconv -f utf-16 -t utf-8` turns it into UTF-8"),
        _ if alternates(1) => Some("text in UTF-16; `iconv -f utf-16le -t utf-8` turns it into UTF-8"),
        _ if alternates(0) => Some("text in UTF-16; `iconv -f utf-16be -t utf-8` turns it into UTF-8"),
        _ => start.contains(&0).then_some("binary, and not text"),
    }
}

/// The text of a file, without the mark at its beginning that says that it is UTF-8.
///
/// # Errors
/// What it is instead, and what to do about it.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, String> {
    if let Some(what) = no_text(&bytes) {
        return Err(what.into());
    }
    let line = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_string()),
        Err(err) => Err(format!("text that is not UTF-8 in line {} ({OF_LATIN1})", line(err.valid_up_to()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn marks_are_no_text_and_other_encodings_are_named_with_the_remedy() {
        assert_eq!(text("\u{feff}a\u{feff}\nä".into()).unwrap(), "a\u{feff}\nä");
        assert_eq!(text(Vec::new()).unwrap(), "");
        for (bytes, remedy) in [
            (utf16("\u{feff}a.fits", u16::to_le_bytes), "iconv -f utf-16 "),
            (utf16("\u{feff}a.fits", u16::to_be_bytes), "iconv -f utf-16 "),
            (utf16("a.fits", u16::to_le_bytes), "iconv -f utf-16le "),
            (utf16("a.fits", u16::to_be_bytes), "iconv -f utf-16be "),
            (b"one\ntwo\xe4\n".to_vec(), "in line 2 (`iconv -f latin1 "),
            (vec![0; 9], "binary"),
            (b"SIMPLE\0\0".to_vec(), "binary"),
        ] {
            let said = text(bytes).unwrap_err();
            assert!(said.contains(remedy), "{said}");
        }
    }

    #[test]
    fn files_are_read_by_it() {
        use crate::data::files::read_text;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}a.fits\n").unwrap();
        assert_eq!(read_text(file.path()).unwrap(), "a.fits\n");
        std::fs::write(file.path(), utf16("\u{feff}seed = 1", u16::to_le_bytes)).unwrap();
        let said = read_text(file.path()).unwrap_err().to_string();
        assert!(said.contains("iconv -f utf-16") && said.contains(&file.path().display().to_string()), "{said}");
    }
}
