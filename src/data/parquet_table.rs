//! Parquet tables: columns of single values, by the `parquet` crate.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::cells::Cells;
use super::{arrow_schema, files, packed};
use crate::error::{Error, Result};

/// How such a file begins.
pub(super) const MAGIC: &[u8] = b"PAR1";
/// Values read at a time: memory follows what is there, not what is claimed.
const BATCH: usize = 1 << 16;

/// Bytes of a number in memory.
const SHORTEST_CELL: u64 = 8;

/// A Parquet table whose columns are read when they are asked for.
pub(super) struct ParquetTable {
    path: PathBuf,
    /// Column names.
    pub names: Vec<String>,
    /// Number of rows.
    pub n_rows: usize,
    /// Of each column, its position among those that hold single values; `None` for lists and groups.
    leaves: Vec<Option<usize>>,
    /// Of each column of durations, how many of its units make a second; may be empty.
    per_second: Vec<Option<f64>>,
}

impl ParquetTable {
    /// Reads the names of the columns and the number of rows.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a damaged file.
    pub fn open(path: &Path) -> Result<Self> {
        let reader = reader(path)?;
        let about = guarded(path, || {
            let metadata = reader.metadata();
            let schema = metadata.file_metadata().schema_descr();
            let place = |name: &str| {
                schema.columns().iter().position(|leaf| leaf.path().parts() == [name] && leaf.max_rep_level() == 0)
            };
            let names: Vec<String> =
                schema.root_schema().get_fields().iter().map(|field| field.name().to_string()).collect();
            let leaves = names.iter().map(|name| place(name)).collect();
            let in_groups: i64 = metadata.row_groups().iter().map(|group| group.num_rows().max(0)).sum();
            let notes = metadata.file_metadata().key_value_metadata().into_iter().flatten();
            let schema = notes.filter(|note| note.key == arrow_schema::KEY).find_map(|note| note.value.as_deref());
            let per_second = schema.map(arrow_schema::durations).filter(|all| all.len() == names.len());
            Ok((names, leaves, metadata.file_metadata().num_rows(), in_groups, per_second.unwrap_or_default()))
        });
        let (names, leaves, claimed, in_groups, per_second) = about?;
        if claimed != in_groups {
            let detail = format!("it claims {claimed} rows, and its parts have {in_groups}: damaged; write it again");
            return Err(Error::format(path, detail));
        }
        // Encoded, a billion equal values take a few bytes.
        let most = packed::most_expanded(files::expect_file(path)?.len());
        if (claimed as u64).saturating_mul(SHORTEST_CELL) > most {
            let detail = format!(
                "it claims {claimed} rows, of which one column expands to more than {} MB, as of no file of its size; write it as FITS",
                most >> 20
            );
            return Err(Error::format(path, detail));
        }
        Ok(Self { path: path.to_path_buf(), names, n_rows: claimed as usize, leaves, per_second })
    }

    /// Reads columns, by their positions.
    ///
    /// # Errors
    /// As [`ParquetTable::open`]; [`Error::Format`] where a column has another number of rows than the table claims.
    pub fn read(&self, wanted: &[usize]) -> Result<Vec<Cells>> {
        let reader = reader(&self.path)?;
        let column = |index: &usize| {
            let Some(leaf) = self.leaves[*index] else { return Ok(Cells::Others("lists or groups".into())) };
            let cells = guarded(&self.path, || column(&reader, leaf))?;
            if !matches!(cells, Cells::Others(_)) && cells.len() != self.n_rows {
                let detail = format!(
                    "it claims {} rows, and column {} has {}: damaged; write it again",
                    self.n_rows,
                    self.names[*index],
                    cells.len()
                );
                return Err(Error::format(&self.path, detail));
            }
            Ok(match (cells, self.per_second.get(*index).copied().flatten()) {
                (Cells::Integers(values), Some(per_second)) => {
                    let seconds = |value: &Option<i64>| value.map_or(f64::NAN, |value| value as f64 / per_second);
                    Cells::Numbers(values.iter().map(seconds).collect())
                }
                (cells, _) => cells,
            })
        };
        wanted.iter().map(column).collect()
    }
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = files::open(path)?;
    guarded(path, || SerializedFileReader::new(file))
}

/// What the crate answers; where it panics, which it does on some damaged files, an error.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(err)) => {
            let detail = format!(
                "cannot be read as Parquet ({err}); write it again, uncompressed or with snappy, zstd or gzip, not encrypted"
            );
            Err(Error::format(path, detail))
        }
        Err(_) => Err(Error::format(path, "cannot be read as Parquet: damaged; write it again")),
    }
}

/// All row groups of one column of single values.
fn column(reader: &SerializedFileReader<File>, leaf: usize) -> Result<Cells, ParquetError> {
    let kind = reader.metadata().file_metadata().schema_descr().column(leaf);
    let mut cells: Option<Cells> = None;
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index)?;
        let more = of_group(group.as_ref(), leaf, &kind)?;
        cells = Some(match cells {
            None => more,
            Some(cells) => cells.and(more),
        });
    }
    Ok(cells.unwrap_or(Cells::Numbers(Vec::new())))
}

/// What whole numbers stand for that are no numbers.
#[derive(Debug, Clone, Copy)]
enum Calendar {
    /// Days since 1970-01-01.
    Days,
    /// So many nanoseconds each since 1970-01-01, in UTC or on a clock that does not say where it stands.
    Ticks { nanoseconds: i64, in_utc: bool },
    /// So many nanoseconds each since midnight.
    Clock { nanoseconds: i64 },
}

fn nanoseconds(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000_000,
        TimeUnit::MICROS => 1000,
        TimeUnit::NANOS => 1,
    }
}

impl Calendar {
    fn of(kind: &ColumnDescriptor) -> Option<Self> {
        let ticks = |nanoseconds, in_utc| Some(Self::Ticks { nanoseconds, in_utc });
        match (kind.logical_type_ref(), kind.converted_type()) {
            (Some(LogicalType::Date), _) | (_, ConvertedType::DATE) => Some(Self::Days),
            (Some(LogicalType::Timestamp(time)), _) => ticks(nanoseconds(time.unit), time.is_adjusted_to_u_t_c),
            (Some(LogicalType::Time(time)), _) => Some(Self::Clock { nanoseconds: nanoseconds(time.unit) }),
            (_, ConvertedType::TIMESTAMP_MILLIS) => ticks(1_000_000, true),
            (_, ConvertedType::TIMESTAMP_MICROS) => ticks(1000, true),
            (_, ConvertedType::TIME_MILLIS) => Some(Self::Clock { nanoseconds: 1_000_000 }),
            (_, ConvertedType::TIME_MICROS) => Some(Self::Clock { nanoseconds: 1000 }),
            _ => None,
        }
    }

    /// As ISO 8601 has it: `2026-11-29`, `2026-11-29T14:05:00Z`, `14:05:00.5`; none beyond the years and the day that it knows.
    fn written(self, value: i64) -> Option<String> {
        match self {
            Self::Days => {
                let days = jiff::Span::new().try_days(value).ok()?;
                Some(jiff::civil::date(1970, 1, 1).checked_add(days).ok()?.to_string())
            }
            Self::Ticks { nanoseconds, in_utc } => {
                let time = jiff::Timestamp::from_nanosecond(i128::from(value) * i128::from(nanoseconds)).ok()?;
                let on_a_clock = || time.to_zoned(jiff::tz::TimeZone::UTC).datetime().to_string();
                Some(if in_utc { time.to_string() } else { on_a_clock() })
            }
            Self::Clock { nanoseconds } => {
                let past = jiff::Span::new().try_nanoseconds(value.checked_mul(nanoseconds)?).ok()?;
                Some(jiff::civil::Time::midnight().checked_add(past).ok()?.to_string())
            }
        }
    }

    fn cells(self, values: &[Option<i64>]) -> Cells {
        let cell = |value: &Option<i64>| value.map_or(Some(String::new()), |value| self.written(value));
        let texts: Option<Vec<String>> = values.iter().map(cell).collect();
        texts.map_or_else(|| Cells::Others("dates that no calendar has".into()), Cells::Texts)
    }
}

fn of_group(group: &dyn RowGroupReader, leaf: usize, kind: &ColumnDescriptor) -> Result<Cells, ParquetError> {
    let n_rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let optional = kind.max_def_level() > 0;
    let decimal = (kind.converted_type() == ConvertedType::DECIMAL).then(|| 10_f64.powi(kind.type_scale()));
    let calendar = Calendar::of(kind);
    let whole = |values: Vec<Option<i64>>| match (calendar, decimal) {
        (Some(calendar), _) => calendar.cells(&values),
        (None, None) => Cells::Integers(values),
        (None, Some(unit)) => {
            Cells::Numbers(values.iter().map(|value| value.map_or(f64::NAN, |v| v as f64 / unit)).collect())
        }
    };
    let unsigned = kind.converted_type() == ConvertedType::UINT_32;
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Ok(match group.get_column_reader(leaf)? {
        ColumnReader::BoolColumnReader(mut reader) => Cells::Booleans(values(&mut reader, n_rows, optional)?),
        ColumnReader::Int32ColumnReader(mut reader) => {
            let wide = |value: i32| if unsigned { i64::from(value as u32) } else { i64::from(value) };
            whole(values(&mut reader, n_rows, optional)?.into_iter().map(|value| value.map(wide)).collect())
        }
        ColumnReader::Int64ColumnReader(mut reader) => {
            let values: Vec<Option<i64>> = values(&mut reader, n_rows, optional)?;
            match kind.converted_type() {
                ConvertedType::UINT_64 => {
                    Cells::of_unsigned(values.into_iter().map(|value| value.map(|n| n as u64)).collect())
                }
                _ => whole(values),
            }
        }
        ColumnReader::FloatColumnReader(mut reader) => Cells::Numbers(
            values(&mut reader, n_rows, optional)?.into_iter().map(|v| number(v.map(f64::from))).collect(),
        ),
        ColumnReader::DoubleColumnReader(mut reader) => {
            Cells::Numbers(values(&mut reader, n_rows, optional)?.into_iter().map(number).collect())
        }
        ColumnReader::ByteArrayColumnReader(mut reader) if decimal.is_none() => Cells::Texts(
            values(&mut reader, n_rows, optional)?
                .iter()
                .map(|value| {
                    value.as_ref().map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes.data()).trim().into())
                })
                .collect(),
        ),
        _ => Cells::Others("values of a type that is not read (half precision, Int96, long decimals)".into()),
    })
}

/// The values of one column of a row group, none where they are null.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    n_rows: usize,
    optional: bool,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let mut all = Vec::new();
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    while all.len() < n_rows {
        levels.clear();
        values.clear();
        let most = BATCH.min(n_rows - all.len());
        let (n_records, ..) = reader.read_records(most, optional.then_some(&mut levels), None, &mut values)?;
        if n_records == 0 {
            break;
        }
        if optional {
            let mut present = values.drain(..);
            all.extend(levels.iter().map(|level| if *level > 0 { present.next() } else { None }));
        } else {
            all.extend(values.drain(..).map(Some));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use parquet::schema::parser::parse_message_type;

    use super::*;

    const SCHEMA: &str = "message stars {
        required binary id (UTF8);
        optional double teff;
        required int64 starflag;
        optional boolean flag_bad;
        repeated double spectrum;
    }";

    /// Two row groups of two stars each.
    fn write(path: &Path, compression: Compression) {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        for first in [0, 2] {
            let mut group = writer.next_row_group().unwrap();
            let ids = [first, first + 1].map(|n| ByteArray::from(format!("s{n}").into_bytes()));
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&ids, None, None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<DoubleType>().write_batch(&[4500.0 + first as f64], Some(&[0, 1]), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&[first, 1 << 40], None, None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<BoolType>().write_batch(&[true], Some(&[1, 0]), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<DoubleType>().write_batch(&[1.0, 2.0], Some(&[1, 1]), Some(&[0, 0])).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
    }

    #[test]
    fn columns_of_all_row_groups_come_back_whatever_the_compression() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let gzip = Compression::GZIP(Default::default());
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default()), gzip]
        {
            write(file.path(), compression);
            let table = ParquetTable::open(file.path()).unwrap();
            assert_eq!((table.names.len(), table.n_rows), (5, 4));
            let cells = table.read(&[3, 0, 1, 2, 4]).unwrap();
            assert_eq!(cells[0], Cells::Booleans(vec![Some(true), None, Some(true), None]));
            assert_eq!(cells[1], Cells::Texts(["s0", "s1", "s2", "s3"].map(String::from).to_vec()));
            let teff = cells[2].numbers(0..4).unwrap();
            assert!(teff[0].is_nan() && teff[1] == 4500.0 && teff[2].is_nan() && teff[3] == 4502.0, "{teff:?}");
            assert_eq!(cells[3].flags(0..4).unwrap(), [0, 1 << 40, 2, 1 << 40]);
            assert_eq!(cells[4], Cells::Others("lists or groups".into()));
        }
    }

    #[test]
    fn more_rows_than_any_table_of_its_size_has_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let schema = Arc::new(parse_message_type("message t { required boolean a; }").unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
        let mut writer = SerializedFileWriter::new(File::create(file.path()).unwrap(), schema, properties).unwrap();
        let column_of = |group: &mut SerializedRowGroupWriter<File>, values: &[bool]| {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<BoolType>().write_batch(values, None, None).unwrap();
            column.close().unwrap();
        };
        for _ in 0..36 {
            let mut group = writer.next_row_group().unwrap();
            column_of(&mut group, &vec![true; 1 << 20]);
            group.close().unwrap();
        }
        writer.close().unwrap();
        let said = ParquetTable::open(file.path()).err().unwrap().to_string();
        assert!(said.contains("37748736 rows") && said.contains("expands to more than 256 MB"), "{said}");
    }

    #[test]
    fn dates_and_times_are_written_as_such() {
        const TIMES: &str = "message t { optional int32 day (DATE); required int64 at (TIMESTAMP(MICROS,true));
            required int64 local (TIMESTAMP(MILLIS,false)); required int64 plain;
            required int64 noon (TIME(MICROS,true)); required int64 old (TIME_MICROS); required int32 short (TIME(MILLIS,false)); }";
        let file = tempfile::NamedTempFile::new().unwrap();
        let schema = Arc::new(parse_message_type(TIMES).unwrap());
        let mut writer =
            SerializedFileWriter::new(File::create(file.path()).unwrap(), schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[20_000], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        let times = [[43_200_000_000, 86_399_999_999], [1_500_000, 0]];
        for values in [[1_700_000_000_500_000, -1_000_000], [1_700_000_000_000, 0], [20_000, 7]].iter().chain(&times) {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(values, None, None).unwrap();
            column.close().unwrap();
        }
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[61_001, 3_600_000], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let cells = ParquetTable::open(file.path()).unwrap().read(&[0, 1, 2, 3, 4, 5, 6]).unwrap();
        let texts = |texts: [&str; 2]| Cells::Texts(texts.map(String::from).to_vec());
        assert_eq!(cells[0], texts(["2024-10-04", ""]));
        assert_eq!(cells[1], texts(["2023-11-14T22:13:20.5Z", "1969-12-31T23:59:59Z"]));
        assert_eq!(cells[2], texts(["2023-11-14T22:13:20", "1970-01-01T00:00:00"]));
        assert_eq!(cells[3], Cells::Integers(vec![Some(20_000), Some(7)]));
        assert_eq!(cells[4], texts(["12:00:00", "23:59:59.999999"]));
        assert_eq!(cells[5], texts(["00:00:01.5", "00:00:00"]));
        assert_eq!(cells[6], texts(["00:01:01.001", "01:00:00"]));
        let no_time = Cells::Others("dates that no calendar has".into());
        assert_eq!(Calendar::Clock { nanoseconds: 1_000_000_000 }.cells(&[Some(86_400)]), no_time);
        assert_eq!(Calendar::Days.cells(&[Some(i64::MAX)]), Cells::Others("dates that no calendar has".into()));
    }

    #[test]
    fn durations_are_numbers_of_seconds() {
        use crate::data::arrow_schema::{KEY, tests::WRITTEN};
        use parquet::file::metadata::KeyValue;
        let file = tempfile::NamedTempFile::new().unwrap();
        let schema = "message d { required binary id (UTF8); required int64 t; optional int64 s; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let notes = vec![KeyValue::new(KEY.to_string(), WRITTEN.to_string())];
        let properties = Arc::new(WriterProperties::builder().set_key_value_metadata(Some(notes)).build());
        let mut writer = SerializedFileWriter::new(File::create(file.path()).unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let ids = ["a", "b"].map(|id| ByteArray::from(id.as_bytes().to_vec()));
        column.typed::<ByteArrayType>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1500, -2], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[7], Some(&[0, 1]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let cells = ParquetTable::open(file.path()).unwrap().read(&[1, 2]).unwrap();
        assert_eq!(cells[0], Cells::Numbers(vec![1.5, -0.002]));
        let seconds = cells[1].numbers(0..2).unwrap();
        assert!(seconds[0].is_nan() && seconds[1] == 7.0, "{seconds:?}");
    }

    #[test]
    fn a_damaged_file_is_an_error_or_other_values_and_never_a_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), Compression::SNAPPY);
        let whole = std::fs::read(file.path()).unwrap();
        let mut n_refused = 0;
        let mut read = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            n_refused +=
                usize::from(ParquetTable::open(file.path()).and_then(|table| table.read(&[0, 1, 2, 3])).is_err());
        };
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x2a;
            read(&damaged);
        }
        (0..whole.len()).step_by(7).for_each(|length| read(&whole[..length]));
        // All that are cut, and many that are changed.
        assert!(n_refused > whole.len().div_ceil(7) + 20, "{n_refused}");
        std::fs::write(file.path(), &whole[..whole.len() - 1]).unwrap();
        let said = ParquetTable::open(file.path()).err().unwrap().to_string();
        assert!(said.contains("cannot be read as Parquet") && said.contains("write it again"), "{said}");
    }
}
