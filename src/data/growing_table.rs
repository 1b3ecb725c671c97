//! A FITS table of 32-bit numbers that grows row by row: what is in it survives whoever writes it, and between two rows it is a FITS file
//! like any other.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::fits_column::Column;
use super::fits_writer::write_in_place;
use super::leftovers;
use crate::error::{Error, Result};

/// Bytes of a block, of which a FITS file has a whole number.
const BLOCK: u64 = 2880;
/// Bytes of a header's card.
const CARD: usize = 80;

/// A row as it is found again: its number, and a hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowMark(pub u64, pub String);

/// A table that is being written.
#[derive(Debug)]
pub struct GrowingTable {
    path: PathBuf,
    file: File,
    layout: Layout,
    n_rows: u64,
}

/// Where things are in the file.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// The card that has the number of rows.
    n_rows: u64,
    /// The first row.
    rows: u64,
    /// Bytes of a row.
    row: u64,
}

impl GrowingTable {
    /// Goes on with a table, or begins one where none is: its columns have no values as yet, and its header these keys (name, value,
    /// comment).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`].
    pub fn begin(path: &Path, name: &str, columns: &[Column], keys: &[(&str, &str, &str)]) -> Result<Self> {
        let mut opened = Self::open(path);
        let is_none = match &opened {
            Err(Error::Io { source, .. }) => source.kind() == ErrorKind::NotFound,
            Err(_) => true,
            Ok(_) => false,
        };
        if is_none {
            // Whoever was killed before the first row left half a header.
            leftovers::remove(path)?;
            write_in_place(path, |file| {
                file.table(name, columns)?;
                keys.iter().try_for_each(|(key, value, comment)| file.append_key(key, *value, comment))
            })?;
            opened = Self::open(path);
        }
        opened
    }

    fn open(path: &Path) -> Result<Self> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        let mut file = open.map_err(Error::io(path, "open"))?;
        let layout = Layout::read(&mut file, path)?;
        let length = file.metadata().map_err(Error::io(path, "read"))?.len();
        // Behind all that was written, whatever its header says of the last row.
        let n_rows = length.saturating_sub(layout.rows) / layout.row.max(1);
        Ok(Self { path: path.to_path_buf(), file, layout, n_rows })
    }

    /// Adds a row, the values of one column behind those of another; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`], for instance when the disk is full; the rows before are safe.
    pub fn append(&mut self, values: &[f32]) -> Result<RowMark> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        assert_eq!(bytes.len() as u64, self.layout.row, "a row of another table");
        let number = self.n_rows;
        self.write(number, &bytes).map_err(Error::io(&self.path, "write"))?;
        self.n_rows += 1;
        Ok(RowMark(number, hash(&bytes)))
    }

    fn write(&mut self, number: u64, bytes: &[u8]) -> std::io::Result<()> {
        let begin = self.layout.rows + number * self.layout.row;
        // The file is as long as its header says it is, or longer.
        self.file.set_len((begin + self.layout.row).next_multiple_of(BLOCK))?;
        self.file.seek(SeekFrom::Start(begin))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.file.seek(SeekFrom::Start(self.layout.n_rows))?;
        let card = format!("NAXIS2  = {:>20} / number of rows in table", number + 1);
        self.file.write_all(format!("{card:<CARD$}").as_bytes())
    }
}

/// A table that was written row by row, by somebody who may not have come to its end.
#[derive(Debug)]
pub struct GrownTable {
    path: PathBuf,
    file: File,
    layout: Layout,
}

impl GrownTable {
    /// Opens a table.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = super::files::open(path)?;
        let layout = Layout::read(&mut file, path)?;
        Ok(Self { path: path.to_path_buf(), file, layout })
    }

    /// The values of a row.
    ///
    /// # Errors
    /// [`Error::Format`] where the row is not there as it was written.
    pub fn row(&mut self, mark: &RowMark) -> Result<Vec<f32>> {
        let mut bytes = vec![0; self.layout.row as usize];
        let begin = mark.0.saturating_mul(self.layout.row).saturating_add(self.layout.rows);
        let read = self.file.seek(SeekFrom::Start(begin)).and_then(|_| self.file.read_exact(&mut bytes));
        if read.is_err() || hash(&bytes) != mark.1 {
            return Err(Error::format(&self.path, format!("row {} is damaged", mark.0 + 1)));
        }
        let numbers = bytes.as_chunks::<4>().0.iter();
        Ok(numbers.map(|bytes| f32::from_be_bytes(*bytes)).collect())
    }
}

impl Layout {
    /// Looks for the end of the second header.
    fn read(file: &mut File, path: &Path) -> Result<Self> {
        let not_a_table = || Error::format(path, "this is no table that grows row by row");
        let (mut at, mut n_headers, mut n_rows, mut row) = (0, 0, None, None);
        let mut block = [0; BLOCK as usize];
        loop {
            file.read_exact(&mut block).map_err(|_| not_a_table())?;
            for (index, card) in block.chunks(CARD).enumerate() {
                let card = String::from_utf8_lossy(card);
                match card.get(..8).unwrap_or_default().trim_end() {
                    "NAXIS1" => row = card.get(10..30).and_then(|number| number.trim().parse().ok()),
                    "NAXIS2" => n_rows = Some(at + (index * CARD) as u64),
                    "END" => n_headers += 1,
                    _ => {}
                }
            }
            at += BLOCK;
            if n_headers == 2 {
                let (n_rows, row) = n_rows.zip(row).ok_or_else(not_a_table)?;
                return Ok(Self { n_rows, rows: at, row });
            }
        }
    }
}

/// What tells the bytes of a row from others.
fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::FitsReader;

    #[test]
    fn a_table_is_whole_after_each_row_and_a_torn_row_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("draws.fits");
        let columns = [Column::f32_vectors("teff", 3, Vec::new()), Column::f32_vectors("logg", 3, Vec::new())];
        let mut table = GrowingTable::begin(&path, "DRAWS", &columns, &[("CREATOR", "maury", "")]).unwrap();
        let row = |n: usize| (0..6).map(|k| (100 * n + k) as f32 + 0.25).collect::<Vec<f32>>();
        let mut marks = Vec::new();
        for n in 0..200 {
            marks.push(table.append(&row(n)).unwrap());
            if n % 50 == 0 {
                let mut fits = FitsReader::open(&path).unwrap();
                assert_eq!(fits.table_layout(1).unwrap().0, n + 1);
                assert_eq!(
                    fits.row_vector(1, "logg", n, 9).unwrap(),
                    row(n)[3..].iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
                );
                assert_eq!(std::fs::metadata(&path).unwrap().len() % BLOCK, 0);
            }
        }
        let mut grown = GrownTable::open(&path).unwrap();
        assert!(marks.iter().enumerate().all(|(n, mark)| grown.row(mark).unwrap() == row(n)));
        // Gone on with by another program.
        drop(table);
        let mark = GrowingTable::begin(&path, "DRAWS", &columns, &[("CREATOR", "maury", "")])
            .unwrap()
            .append(&row(7))
            .unwrap();
        assert_eq!(GrownTable::open(&path).unwrap().row(&mark).unwrap(), row(7));
        assert!(marks.iter().enumerate().all(|(n, mark)| grown.row(mark).unwrap() == row(n)));
        // Killed in the middle of a row, and of its blocks.
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4000]).unwrap();
        let mut grown = GrownTable::open(&path).unwrap();
        assert_eq!(grown.row(&marks[3]).unwrap(), row(3));
        let err = grown.row(&marks[199]).unwrap_err().to_string();
        assert!(err.contains("draws.fits") && err.contains("row 200 is damaged"), "{err}");
        assert!(grown.row(&RowMark(u64::MAX, marks[3].1.clone())).is_err());
        std::fs::write(&path, "notes").unwrap();
        assert!(GrownTable::open(&path).unwrap_err().to_string().contains("no table that grows"));
    }
}
