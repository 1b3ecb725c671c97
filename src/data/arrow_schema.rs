//! What Arrow's programs say of the columns of a Parquet table beyond Parquet's own types: which are durations.

use base64::Engine;

/// The key in a file's metadata under which Arrow keeps its schema.
pub(super) const KEY: &str = "ARROW:schema";

/// The place of a message's schema, of a schema's fields, and of a field's type and its content, among the slots of their tables
/// (`https://github.com/apache/arrow/blob/main/format/Schema.fbs`).
const SCHEMA: usize = 2;
const FIELDS: usize = 1;
const TYPE: usize = 2;
const CONTENT: usize = 3;
/// The type of a duration, whose content begins with its unit.
const DURATION: u8 = 18;
/// Units of a duration in one second, in the order of Arrow's numbers; the second is what stands for none.
const PER_SECOND: [f64; 4] = [1.0, 1e3, 1e6, 1e9];
/// Columns of the longest schema that is looked at.
const MOST_FIELDS: usize = 1 << 16;

/// Of each column, how many of its units make a second where it holds durations; `None` for other columns. Nothing where the
/// text is no schema.
pub(super) fn durations(schema: &str) -> Vec<Option<f64>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(schema).unwrap_or_default();
    // Four bytes that mark a message, and four of its length.
    bytes.get(8..).and_then(of_message).unwrap_or_default()
}

fn of_message(bytes: &[u8]) -> Option<Vec<Option<f64>>> {
    let root = Table { bytes, at: 0 }.follow(0)?;
    let fields = root.table(SCHEMA)?.slot(FIELDS)?;
    let fields = Table { bytes, at: 0 }.follow(fields)?;
    let n_fields = usize::try_from(fields.number(0)?).ok().filter(|n| *n <= MOST_FIELDS)?;
    (0..n_fields).map(|n| Some(per_second(fields.follow(fields.at + 4 + 4 * n)?))).collect()
}

fn per_second(field: Table) -> Option<f64> {
    let kind = *field.bytes.get(field.slot(TYPE)?)?;
    let content = (kind == DURATION).then(|| field.table(CONTENT)).flatten()?;
    let unit = content.slot(0).and_then(|at| content.bytes.get(at)).copied().unwrap_or(1);
    PER_SECOND.get(usize::from(unit)).copied()
}

/// A table, or a vector, of a flatbuffer (`https://flatbuffers.dev/internals`).
#[derive(Clone, Copy)]
struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Table<'_> {
    /// The number of four bytes so far behind the beginning.
    fn number(self, behind: usize) -> Option<i32> {
        let at = self.at.checked_add(behind)?;
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        bytes.try_into().ok().map(i32::from_le_bytes)
    }

    /// What the number at this place of the buffer points to.
    fn follow(self, place: usize) -> Option<Self> {
        let offset = Table { at: place, ..self }.number(0)?;
        Some(Table { at: place.checked_add(usize::try_from(offset).ok()?)?, ..self })
    }

    /// Where in the buffer a slot's content is; `None` where it is left out.
    fn slot(self, slot: usize) -> Option<usize> {
        let slots = self.at.checked_add_signed(isize::try_from(self.number(0)?).ok()?.checked_neg()?)?;
        let short = |at: usize| -> Option<usize> {
            let bytes = self.bytes.get(at..at.checked_add(2)?)?;
            bytes.try_into().ok().map(|bytes| usize::from(u16::from_le_bytes(bytes)))
        };
        let behind = 4 + 2 * slot;
        let is_there = behind < short(slots)?;
        let offset = if is_there { short(slots.checked_add(behind)?)? } else { 0 };
        (offset > 0).then(|| self.at.saturating_add(offset))
    }

    /// The table that a slot points to.
    fn table(self, slot: usize) -> Option<Self> {
        self.follow(self.slot(slot)?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// By pyarrow, of columns `id` (string), `t` (duration in ms) and `s` (duration in s).
    pub const WRITTEN: &str = "/////8gAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAMAAABsAAAANAAAAAQAAACw////AAABEhAAAAAYAAAABAAAAAAAAAABAAAAcwAGAAgABgAGAAAAAAAAANz///8AAAESEAAAABQAAAAEAAAAAAAAAAEAAAB0AAAAzP///xAAFAAIAAYABwAMAAAAEAAQAAAAAAABBRAAAAAYAAAABAAAAAAAAAACAAAAaWQAAAQABAAEAAAAAAAAAA==";

    #[test]
    fn durations_are_told_by_what_pyarrow_writes() {
        assert_eq!(durations(WRITTEN), [None, Some(1e3), Some(1.0)]);
        assert!(durations("").is_empty() && durations("AAAA").is_empty() && durations("no schema").is_empty());
    }

    #[test]
    fn a_damaged_schema_is_never_a_panic() {
        let engine = base64::engine::general_purpose::STANDARD;
        let whole = engine.decode(WRITTEN).unwrap();
        for position in 0..whole.len() {
            for damage in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[position] ^= damage;
                durations(&engine.encode(&damaged));
            }
            durations(&engine.encode(&whole[..position]));
        }
    }
}
