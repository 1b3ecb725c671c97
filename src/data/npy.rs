//! Arrays in .npy files and .npz archives: what a header claims is held against the bytes that are there.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ndarray::{Array, Dimension};
use ndarray_npy::{ReadNpyExt, ReadableElement};
use zip::ZipArchive;

use super::files;
use crate::error::{Error, Result};

/// The longest header, as numpy reads it.
const LONGEST_HEADER: usize = 10_000;
/// Deflate packs 1032 bytes into one at best: an entry that claims more is not of this world.
const MOST_PACKED: u64 = 1032;

/// What an array is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Its type as numpy writes it, such as `<f4`.
    descr: String,
    /// Its axes, slowest first (in C order).
    pub shape: Vec<usize>,
    /// Whether the first axis runs fastest on disk: its rows then lie scattered.
    pub is_fortran: bool,
    /// Bytes before the numbers.
    pub start: u64,
}

impl Header {
    /// Whether it holds floats of so many bytes.
    pub fn is_float(&self, bytes: usize) -> bool {
        self.descr.trim_start_matches(['<', '>', '=', '|']) == format!("f{bytes}")
    }

    /// Whether it holds booleans.
    pub fn is_boolean(&self) -> bool {
        self.descr.trim_start_matches('|') == "b1" || self.descr == "?"
    }

    /// Whether its numbers begin with their most significant byte.
    pub fn is_big_endian(&self) -> bool {
        self.descr.starts_with('>') || (cfg!(target_endian = "big") && !self.descr.starts_with('<'))
    }

    /// Shape and type in words.
    pub fn describe(&self) -> String {
        format!("{:?} of {}", self.shape, self.descr)
    }

    /// Reads a header whose array lies in `available` bytes with it.
    fn read(reader: &mut impl Read, available: u64) -> Result<Self, String> {
        let not_npy = |what: &str| format!("not an array as numpy saves it: {what}");
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(|_| not_npy("it ends too early"))?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(not_npy("it begins otherwise"));
        }
        let width = if start[6] == 1 { 2 } else { 4 };
        let mut length = [0; 4];
        reader.read_exact(&mut length[..width]).map_err(|_| not_npy("it ends too early"))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_HEADER {
            return Err(not_npy(&format!("a header of {length} bytes, at most {LONGEST_HEADER} are read")));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(|_| not_npy("its header ends too early"))?;
        let text = String::from_utf8(text).map_err(|_| not_npy("its header is no text"))?;
        let start = (8 + width + length) as u64;
        let header = Self::parse(&text, start).ok_or_else(|| not_npy("its header does not tell type and shape"))?;
        let claimed = header.bytes().and_then(|bytes| bytes.checked_add(start));
        match claimed {
            Some(claimed) if claimed <= available => Ok(header),
            _ => Err(format!(
                "its header claims an array {}, but only {available} bytes are there; is it cut off?",
                header.describe()
            )),
        }
    }

    fn parse(text: &str, start: u64) -> Option<Self> {
        let after = |key: &str| {
            let rest = &text[text.find(&format!("'{key}'"))? + key.len() + 2..];
            rest.trim_start().strip_prefix(':').map(str::trim_start)
        };
        let descr = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0.to_string();
        let axes = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
        let axes = axes.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let shape = axes.map(|axis| axis.parse().ok()).collect::<Option<_>>()?;
        Some(Self { descr, shape, is_fortran: after("fortran_order")?.starts_with("True"), start })
    }

    /// Bytes of the numbers; `None` beyond counting.
    fn bytes(&self) -> Option<u64> {
        let width = self.descr.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1_u64);
        // An axis of 0 makes the others no smaller to a reader that multiplies them.
        let bytes = self.shape.iter().try_fold(width, |bytes, axis| bytes.checked_mul((*axis as u64).max(1)))?;
        Some(if self.shape.contains(&0) { 0 } else { bytes })
    }
}

/// Header of a .npy file.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub(super) fn header_of_file(path: &Path) -> Result<Header> {
    let mut file = files::open(path)?;
    let length = file.seek(SeekFrom::End(0)).and_then(|length| file.rewind().map(|()| length));
    let length = length.map_err(Error::io(path, "read"))?;
    Header::read(&mut BufReader::new(file), length).map_err(|detail| Error::format(path, detail))
}

/// Reads a .npy file.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub(super) fn read<T: ReadableElement, D: Dimension>(path: &Path) -> Result<Array<T, D>> {
    header_of_file(path)?;
    Array::read_npy(files::open(path)?).map_err(|err| Error::format(path, format!("not a readable array ({err})")))
}

/// Bytes of a .npy file.
///
/// # Errors
/// [`Error::Io`], where there are not so many.
pub(super) fn read_bytes(path: &Path, start: u64, length: usize) -> Result<Vec<u8>> {
    let mut file = files::open(path)?;
    let mut bytes = vec![0; length];
    let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(Error::io(path, "read"))
}

/// Names of the arrays in an .npz file.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub(super) fn entries(path: &Path) -> Result<Vec<String>> {
    let archive = archive(path)?;
    Ok(archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name).to_string()).collect())
}

/// Header of an array in an .npz file.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub(super) fn header_of_entry(path: &Path, name: &str) -> Result<Header> {
    with_entry(path, name, |_, header| Ok(header.clone()))
}

/// Reads an array of an .npz file.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub(super) fn read_entry<T: ReadableElement, D: Dimension>(path: &Path, name: &str) -> Result<Array<T, D>> {
    with_entry(path, name, |reader, _| Array::read_npy(reader).map_err(|err| format!("not a readable array ({err})")))
}

/// Hands on an entry from its beginning, and its header.
fn with_entry<A>(path: &Path, name: &str, read: impl FnOnce(&mut dyn Read, &Header) -> Result<A, String>) -> Result<A> {
    let mut archive = archive(path)?;
    let failed = |detail: String| Error::format(path, format!("array `{name}`: {detail}"));
    let stored =
        if archive.index_for_name(&format!("{name}.npy")).is_some() { format!("{name}.npy") } else { name.into() };
    let header = {
        let mut entry = archive.by_name(&stored).map_err(|err| failed(err.to_string()))?;
        let (size, packed) = (entry.size(), entry.compressed_size());
        // A size that no compression reaches is a lie, and memory would be asked for by it.
        let possible = size.min(packed.saturating_mul(MOST_PACKED).saturating_add(LONGEST_HEADER as u64));
        Header::read(&mut entry, possible).map_err(failed)?
    };
    let mut entry = archive.by_name(&stored).map_err(|err| failed(err.to_string()))?;
    read(&mut entry, &header).map_err(failed)
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<std::fs::File>>> {
    let file = BufReader::new(files::open(path)?);
    ZipArchive::new(file).map_err(|err| Error::format(path, format!("not an .npz file ({err})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Ix2;

    fn npy(shape: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00".as_slice(), &(text.len() as u16).to_le_bytes(), text.as_bytes(), data].concat()
    }

    #[test]
    fn a_header_that_claims_more_than_is_there_is_refused_before_memory_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for shape in ["(1099511627776, 60)", "(4611686018427387904, 1)", "(0, 4611686018427387904)", "(3, 2)"] {
            std::fs::write(&path, npy(shape, &[0; 20])).unwrap();
            let said = read::<f32, Ix2>(&path).unwrap_err().to_string();
            assert!(said.contains("header claims an array"), "{shape}: {said}");
        }
        std::fs::write(&path, npy("(2, 2)", &[0; 16])).unwrap();
        assert_eq!(read::<f32, Ix2>(&path).unwrap().dim(), (2, 2));
        std::fs::write(&path, [b"\x93NUMPY\x02\x00".as_slice(), &[0xff; 4], &[0; 50]].concat()).unwrap();
        assert!(read::<f32, Ix2>(&path).unwrap_err().to_string().contains("header of 4294967295 bytes"));
    }

    #[test]
    fn an_archive_cannot_claim_more_than_compression_can_pack() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        archive.start_file("flux.npy", zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut archive, &npy("(1000000000, 2)", &[0; 64])).unwrap();
        archive.finish().unwrap();
        assert_eq!(entries(&path).unwrap(), ["flux"]);
        let said = read_entry::<f32, Ix2>(&path, "flux").unwrap_err().to_string();
        assert!(said.contains("array `flux`: its header claims"), "{said}");
    }
}
