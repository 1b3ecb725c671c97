//! Files that may be compressed by gzip, told by their first bytes.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::files;
use crate::error::{Error, Result};

/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes to which any compressed file may expand.
const LITTLE: u64 = 256 << 20;
/// How many times its length a larger one may: tables of many empty columns pack well, and gzip could 1032 times.
const MOST_TIMES: u64 = 100;
/// Bytes read at a time.
const BUFFER: usize = 1 << 18;

/// To how many bytes a compressed file of so many may expand and still be taken for data.
pub(super) fn most_expanded(packed: u64) -> u64 {
    packed.saturating_mul(MOST_TIMES).max(LITTLE)
}

/// What is said of a file that expands to more bytes than these.
pub(super) fn expands_beyond(most: u64) -> String {
    format!("expands to more than {} MB, no file of its kind and size does; unpack it", most >> 20)
}

/// A file from its beginning, expanded where it is compressed; reading one that expands [beyond all data](most_expanded) fails.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = files::open(path)?;
    let most = most_expanded(file.metadata().map_err(Error::io(path, "read"))?.len());
    let mut file = BufReader::with_capacity(BUFFER, file);
    let is_packed = file.fill_buf().map_err(Error::io(path, "read"))?.starts_with(&GZIP);
    if !is_packed {
        return Ok(Box::new(file));
    }
    let expanded = Expanded { file: MultiGzDecoder::new(file), length: 0, most };
    Ok(Box::new(BufReader::with_capacity(BUFFER, expanded)))
}

/// A compressed file as it expands.
struct Expanded<R> {
    file: MultiGzDecoder<R>,
    /// Bytes so far, and at most.
    length: u64,
    most: u64,
}

impl<R: BufRead> Read for Expanded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.length += n as u64;
        match self.length > self.most {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, expands_beyond(self.most))),
            false => Ok(n),
        }
    }
}

/// Its first bytes, at most so many; fewer where it is damaged.
///
/// # Errors
/// [`Error::Io`] if there is no such file.
pub(super) fn start(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    // What is wrong with it is said by whoever reads it all.
    let _ = open(path)?.take(most).read_to_end(&mut start);
    Ok(start)
}

/// Whether a file is compressed.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn is_packed(path: &Path) -> Result<bool> {
    let mut start = [0; 2];
    let read = files::open(path)?.read(&mut start).map_err(Error::io(path, "read"))?;
    Ok(read == 2 && start == GZIP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_expands_beyond_all_data_is_none() {
        // 4 GB of zeros take 4 MB.
        assert!(most_expanded(4 << 20) < 1 << 30);
        assert!(most_expanded(300 << 20) > 4 << 30);
        assert_eq!((most_expanded(100), most_expanded(u64::MAX)), (LITTLE, u64::MAX));
    }

    #[test]
    fn packed_and_plain_texts_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        std::fs::write(&plain, "id,teff\n").unwrap();
        let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), Default::default());
        gzip.write_all(b"id,teff\n").unwrap();
        gzip.finish().unwrap();
        for (path, expected) in [(&plain, false), (&packed, true)] {
            assert_eq!(is_packed(path).unwrap(), expected);
            assert_eq!(start(path, 5).unwrap(), b"id,te");
            let mut text = String::new();
            open(path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "id,teff\n");
        }
        let cut = std::fs::read(&packed).unwrap();
        std::fs::write(&packed, &cut[..cut.len() - 9]).unwrap();
        assert!(open(&packed).unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
