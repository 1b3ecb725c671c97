//! What the columns of a VOTable hold, and their cells, written out or as bytes.
//!
//! Types, sizes and byte order: VOTable 1.4, IVOA Recommendation of 2019-10-21, sections 2 and 5.

use super::cells::Cells;

/// The type of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Datatype {
    Boolean,
    Bit,
    UnsignedByte,
    Short,
    Int,
    Long,
    Char,
    UnicodeChar,
    Float,
    Double,
    FloatComplex,
    DoubleComplex,
}

/// How many of them stand in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Fixed(usize),
    Variable,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub name: String,
    datatype: Datatype,
    length: Length,
    /// More than one dimension: several texts where the values are letters.
    is_array: bool,
    /// The whole number that stands for none.
    pub null: Option<i64>,
}

impl Field {
    /// A column by its name, datatype and arraysize.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn new(name: String, datatype: &str, arraysize: Option<&str>) -> Result<Self, String> {
        let datatype = match datatype {
            "boolean" => Datatype::Boolean,
            "bit" => Datatype::Bit,
            "unsignedByte" => Datatype::UnsignedByte,
            "short" => Datatype::Short,
            "int" => Datatype::Int,
            "long" => Datatype::Long,
            "char" => Datatype::Char,
            "unicodeChar" => Datatype::UnicodeChar,
            "float" => Datatype::Float,
            "double" => Datatype::Double,
            "floatComplex" => Datatype::FloatComplex,
            "doubleComplex" => Datatype::DoubleComplex,
            other => return Err(format!("field {name} has the datatype `{other:.40}`, which VOTables do not have")),
        };
        let odd = || format!("field {name} has an arraysize that is none");
        let (mut length, mut is_array) = (Length::Fixed(1), false);
        for (axis, size) in arraysize.unwrap_or("1").split('x').enumerate() {
            is_array = axis > 0;
            let Length::Fixed(before) = length else { return Err(odd()) };
            length = match size.trim() {
                size if size.ends_with('*') => Length::Variable,
                size => Length::Fixed(size.parse::<usize>().ok().and_then(|n| n.checked_mul(before)).ok_or_else(odd)?),
            };
        }
        Ok(Self { name, datatype, length, is_array, null: None })
    }

    fn is_text(&self) -> bool {
        matches!(self.datatype, Datatype::Char | Datatype::UnicodeChar)
    }

    /// A column without cells.
    pub fn empty(&self) -> Cells {
        let single = if self.is_text() { !self.is_array } else { self.length == Length::Fixed(1) };
        match self.datatype {
            _ if !single => Cells::Others("arrays".into()),
            Datatype::Boolean | Datatype::Bit => Cells::Booleans(Vec::new()),
            Datatype::UnsignedByte | Datatype::Short | Datatype::Int | Datatype::Long => Cells::Integers(Vec::new()),
            Datatype::Char | Datatype::UnicodeChar => Cells::Texts(Vec::new()),
            Datatype::Float | Datatype::Double => Cells::Numbers(Vec::new()),
            Datatype::FloatComplex | Datatype::DoubleComplex => Cells::Others("complex numbers".into()),
        }
    }

    /// Appends a cell that is written out.
    ///
    /// # Errors
    /// The text, where it is no such value.
    pub fn push_text(&self, cells: &mut Cells, text: &str) -> Result<(), String> {
        let text = text.trim();
        let odd = || text.chars().take(40).collect::<String>();
        match cells {
            Cells::Texts(cells) => cells.push(text.to_string()),
            Cells::Numbers(cells) if text.is_empty() => cells.push(f64::NAN),
            Cells::Numbers(cells) => cells.push(text.parse().map_err(|_| odd())?),
            Cells::Integers(cells) if text.is_empty() => cells.push(None),
            Cells::Integers(cells) => {
                let hexadecimal = text.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16));
                let value = hexadecimal.unwrap_or_else(|| text.parse()).map_err(|_| odd())?;
                cells.push(Some(value).filter(|value| self.null != Some(*value)));
            }
            Cells::Booleans(cells) => cells.push(match text.to_ascii_lowercase().as_str() {
                "t" | "true" | "1" => Some(true),
                "f" | "false" | "0" => Some(false),
                "" | "?" => None,
                _ => return Err(odd()),
            }),
            Cells::Others(_) => {}
        }
        Ok(())
    }

    /// Takes the bytes of a cell off the front; `None` where there are not so many.
    pub fn take<'a>(&self, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let mut split = |n: usize| {
            let (taken, rest) = bytes.split_at_checked(n)?;
            *bytes = rest;
            Some(taken)
        };
        let n = match self.length {
            Length::Fixed(n) => n,
            Length::Variable => usize::try_from(u32::from_be_bytes(split(4)?.try_into().ok()?)).ok()?,
        };
        let width = match self.datatype {
            Datatype::Bit => return split(n.div_ceil(8)),
            Datatype::Boolean | Datatype::UnsignedByte | Datatype::Char => 1,
            Datatype::Short | Datatype::UnicodeChar => 2,
            Datatype::Int | Datatype::Float => 4,
            Datatype::Long | Datatype::Double | Datatype::FloatComplex => 8,
            Datatype::DoubleComplex => 16,
        };
        split(n.checked_mul(width)?)
    }

    /// Appends a cell of bytes, as [`Field::take`] takes them; none where it is marked as null.
    pub fn push_bytes(&self, cells: &mut Cells, bytes: &[u8], is_null: bool) {
        let whole = || match *bytes {
            [a] => Some(i64::from(a)),
            [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
            [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
            _ => bytes.try_into().ok().map(i64::from_be_bytes),
        };
        match cells {
            Cells::Texts(cells) if is_null => cells.push(String::new()),
            Cells::Texts(cells) => cells.push(self.text(bytes)),
            Cells::Numbers(cells) => cells.push(match *bytes {
                _ if is_null => f64::NAN,
                [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
                _ => bytes.try_into().map_or(f64::NAN, f64::from_be_bytes),
            }),
            Cells::Integers(cells) => cells.push(whole().filter(|value| !is_null && self.null != Some(*value))),
            Cells::Booleans(cells) => cells.push(match (self.datatype, bytes.first()) {
                _ if is_null => None,
                // The standard has the bit in front, astropy behind.
                (Datatype::Bit, byte) => byte.map(|byte| *byte != 0),
                (_, Some(b'T' | b't' | b'1')) => Some(true),
                (_, Some(b'F' | b'f' | b'0')) => Some(false),
                _ => None,
            }),
            Cells::Others(_) => {}
        }
    }

    /// The text up to the first NUL.
    fn text(&self, bytes: &[u8]) -> String {
        let text = if self.datatype == Datatype::UnicodeChar {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>())
        } else {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        text.trim().to_string()
    }
}

/// Reads the rows of a BINARY stream, or of a BINARY2 one, which marks nulls; `wanted` columns into `cells`. Their number.
///
/// # Errors
/// Where the bytes end within a row.
pub(super) fn read_rows(
    mut bytes: &[u8],
    fields: &[Field],
    marks_nulls: bool,
    wanted: &[usize],
    cells: &mut [Cells],
) -> Result<usize, String> {
    let mut n_rows = 0;
    while !bytes.is_empty() {
        let before = bytes.len();
        let nulls = if marks_nulls { bytes.split_off(..fields.len().div_ceil(8)).unwrap_or_default() } else { &[] };
        if marks_nulls && nulls.is_empty() {
            return Err(format!("the stream ends within row {}", n_rows + 1));
        }
        for (index, field) in fields.iter().enumerate() {
            let cell = field.take(&mut bytes);
            let cell =
                cell.ok_or_else(|| format!("the stream ends within row {}, field {}", n_rows + 1, field.name))?;
            let is_null = nulls.get(index / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0);
            for (column, cells) in wanted.iter().zip(cells.iter_mut()) {
                if *column == index {
                    field.push_bytes(cells, cell, is_null);
                }
            }
        }
        if bytes.len() == before {
            return Err("its rows have no bytes, and its stream has some".into());
        }
        n_rows += 1;
    }
    Ok(n_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(datatype: &str, arraysize: Option<&str>) -> Field {
        Field::new("x".into(), datatype, arraysize).unwrap()
    }

    /// One cell of bytes, and the kind of cells it becomes.
    fn read(field: &Field, bytes: &[u8], is_null: bool) -> Cells {
        let (mut cells, mut rest) = (field.empty(), bytes);
        let taken = field.take(&mut rest).unwrap();
        assert!(rest.is_empty());
        field.push_bytes(&mut cells, taken, is_null);
        cells
    }

    #[test]
    fn bytes_are_read_by_type() {
        assert_eq!(read(&field("short", None), &[0xff, 0xfe], false), Cells::Integers(vec![Some(-2)]));
        assert_eq!(read(&field("unsignedByte", None), &[200], false), Cells::Integers(vec![Some(200)]));
        assert_eq!(read(&field("long", None), &[1, 0, 0, 0, 0, 0, 0, 0], false), Cells::Integers(vec![Some(1 << 56)]));
        assert_eq!(read(&field("float", None), &1.5_f32.to_be_bytes(), false), Cells::Numbers(vec![1.5]));
        assert_eq!(read(&field("double", Some("1")), &(-2.5_f64).to_be_bytes(), false), Cells::Numbers(vec![-2.5]));
        assert_eq!(read(&field("boolean", None), b"T", false), Cells::Booleans(vec![Some(true)]));
        assert_eq!(read(&field("boolean", None), b"?", false), Cells::Booleans(vec![None]));
        for (byte, bit) in [(0x80, true), (0x08, true), (0, false)] {
            assert_eq!(read(&field("bit", None), &[byte], false), Cells::Booleans(vec![Some(bit)]));
        }
        assert_eq!(read(&field("char", Some("4")), b"ab\0\0", false), Cells::Texts(vec!["ab".into()]));
        assert_eq!(read(&field("char", Some("*")), b"\0\0\0\x02ab", false), Cells::Texts(vec!["ab".into()]));
        assert_eq!(
            read(&field("unicodeChar", Some("2")), &[0, 0xe9, 0, 0], false),
            Cells::Texts(vec!["\u{e9}".into()])
        );
        assert_eq!(read(&field("int", None), &[0; 4], true), Cells::Integers(vec![None]));
        let missing = Field { null: Some(-1), ..field("int", None) };
        assert_eq!(read(&missing, &[0xff; 4], false), Cells::Integers(vec![None]));
        assert_eq!(read(&field("float", Some("3")), &[0; 12], false), Cells::Others("arrays".into()));
        assert_eq!(read(&field("bit", Some("9")), &[0; 2], false), Cells::Others("arrays".into()));
        assert_eq!(read(&field("char", Some("2x3")), &[0; 6], false), Cells::Others("arrays".into()));
    }

    #[test]
    fn what_is_written_out_is_read_by_type() {
        let push = |field: &Field, text: &str| {
            let mut cells = field.empty();
            field.push_text(&mut cells, text).map(|()| cells)
        };
        assert_eq!(push(&field("int", None), " 0xFF "), Ok(Cells::Integers(vec![Some(255)])));
        assert_eq!(push(&Field { null: Some(-1), ..field("int", None) }, "-1"), Ok(Cells::Integers(vec![None])));
        assert_eq!(push(&field("boolean", None), "False"), Ok(Cells::Booleans(vec![Some(false)])));
        assert_eq!(push(&field("double", None), "1e3"), Ok(Cells::Numbers(vec![1000.0])));
        assert_eq!(push(&field("double", None), "hot"), Err("hot".into()));
        assert_eq!(push(&field("long", None), "1.5"), Err("1.5".into()));
    }

    #[test]
    fn streams_that_end_early_and_sizes_beyond_all_memory_are_refused() {
        let fields = [field("int", None), field("char", Some("*"))];
        let whole = [0, 0, 0, 7, 0, 0, 0, 1, b'a'];
        let mut cells = [fields[0].empty()];
        assert_eq!(read_rows(&whole.repeat(2), &fields, false, &[0], &mut cells), Ok(2));
        assert_eq!(cells[0], Cells::Integers(vec![Some(7), Some(7)]));
        for length in 1..whole.len() {
            assert!(read_rows(&whole[..length], &fields, false, &[], &mut []).is_err(), "{length}");
        }
        let marked = [[0x40].as_slice(), &whole].concat();
        let mut cells = [fields[1].empty()];
        assert_eq!(read_rows(&marked, &fields, true, &[1], &mut cells), Ok(1));
        assert_eq!(cells[0], Cells::Texts(vec![String::new()]));
        let huge = field("double", Some(&usize::MAX.to_string()));
        assert!(read_rows(&[0; 9], &[huge], false, &[], &mut []).is_err());
        assert!(read_rows(&[0; 9], &[field("double", Some("0"))], false, &[], &mut []).is_err());
        assert!(Field::new("x".into(), "double", Some("9999999999x9999999999x9999999999")).is_err());
        assert!(Field::new("x".into(), "text", None).is_err());
    }
}
