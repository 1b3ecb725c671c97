//! Arrays in .npy files that are written row by row, as many rows as come.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayView2;

use crate::error::{Error, Result};

/// Bytes before the numbers; numpy likes a multiple of 64.
const HEADER_BYTES: usize = 128;

/// A `.npy` file of 32-bit floats, [n_rows, n_columns], on its way: the header that tells its rows is written last.
#[derive(Debug)]
pub struct NpyRows {
    path: PathBuf,
    file: BufWriter<File>,
    n_rows: usize,
    n_columns: usize,
}

impl NpyRows {
    /// Begins the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(path: &Path, n_columns: usize) -> Result<Self> {
        let file = File::create(path).map_err(Error::io(path, "create"))?;
        let mut rows = Self { path: path.to_path_buf(), file: BufWriter::new(file), n_rows: 0, n_columns };
        rows.write(&[0; HEADER_BYTES])?;
        Ok(rows)
    }

    /// Adds rows, [n, n_columns].
    ///
    /// # Errors
    /// [`Error::Io`], for instance when the disk is full.
    ///
    /// # Panics
    /// For rows of another length.
    pub fn add(&mut self, rows: ArrayView2<f32>) -> Result<()> {
        assert_eq!(rows.ncols(), self.n_columns, "rows of an array have one length");
        self.n_rows += rows.nrows();
        for row in rows.rows() {
            let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.write(&bytes)?;
        }
        Ok(())
    }

    /// Writes the header and brings everything to the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<()> {
        let shape = format!("({}, {})", self.n_rows, self.n_columns);
        let header = npy_header("<f4", &shape);
        self.file.seek(SeekFrom::Start(0)).map_err(Error::io(&self.path, "write"))?;
        self.write(&header)?;
        self.file.flush().map_err(Error::io(&self.path, "write"))?;
        self.file.get_ref().sync_all().map_err(Error::io(&self.path, "write"))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path, "write"))
    }
}

/// Writes a `.npy` file of 64-bit floats, `[n]`.
///
/// # Errors
/// [`Error::Io`].
pub fn write_list(path: &Path, values: &[f64]) -> Result<()> {
    let mut bytes = npy_header("<f8", &format!("({},)", values.len()));
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).map_err(Error::io(path, "write"))
}

/// What stands before the numbers (numpy's format 1.0), padded by blanks.
fn npy_header(descr: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let length = HEADER_BYTES - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, array, s};
    use ndarray_npy::ReadNpyExt;

    use super::*;

    #[test]
    fn rows_come_back_as_one_array() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let all = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.5]];
        let mut rows = NpyRows::begin(&path, 3).unwrap();
        rows.add(all.slice(s![..2, ..])).unwrap();
        rows.add(all.slice(s![2.., ..])).unwrap();
        rows.finish().unwrap();
        assert_eq!(Array2::<f32>::read_npy(File::open(&path).unwrap()).unwrap(), all);
        write_list(&path, &[1.5, 2.5]).unwrap();
        assert_eq!(Array1::<f64>::read_npy(File::open(&path).unwrap()).unwrap(), array![1.5, 2.5]);
    }

    #[test]
    fn headers_of_any_array_have_one_length() {
        let shape = format!("({}, {})", u64::MAX, u64::MAX);
        assert!(["(0, 8575)", &shape].iter().all(|shape| npy_header("<f4", shape).len() == HEADER_BYTES));
    }
}
