//! Whether a FITS file is as long as its own headers say: every HDU whole, to the last block, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// FITS files are whole blocks of so many bytes.
pub(super) const FITS_BLOCK: u64 = 2880;
/// A header longer than this is none.
const MOST_BLOCKS: usize = 2000;
const CARD: usize = 80;
/// How compressed files begin.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Walks from header to header.
///
/// # Errors
/// What is not whole.
pub(super) fn is_whole(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|err| err.to_string())?;
    let length = file.metadata().map_err(|err| err.to_string())?.len();
    let mut file = BufReader::with_capacity(FITS_BLOCK as usize, file);
    if file.fill_buf().map_err(|err| err.to_string())?.starts_with(&GZIP) {
        return is_whole_unpacked(&mut BufReader::with_capacity(1 << 18, Unpacked(MultiGzDecoder::new(file))));
    }
    let (mut position, mut hdu) = (0, 0);
    while position < length {
        let Some((header, data)) = sizes(&mut file)? else {
            // What follows the last HDU is allowed to be anything.
            return if hdu > 0 { Ok(()) } else { Err("no FITS header".into()) };
        };
        let end = data.checked_next_multiple_of(FITS_BLOCK).and_then(|data| data.checked_add(position + header));
        match end {
            Some(end) if end <= length => position = end,
            _ => {
                return Err(format!(
                    "not whole: its header says that HDU {hdu} has {data} bytes, of which {} are there",
                    length.saturating_sub(position + header)
                ));
            }
        }
        file.seek(SeekFrom::Start(position)).map_err(|err| err.to_string())?;
        hdu += 1;
    }
    if hdu > 0 { Ok(()) } else { Err("an empty file".into()) }
}

/// Walks through a compressed file, down to the sum at its end.
fn is_whole_unpacked(file: &mut impl Read) -> Result<(), String> {
    let mut hdu = 0;
    while let Some((_, data)) = sizes(file)? {
        let padded = data.checked_next_multiple_of(FITS_BLOCK).unwrap_or(u64::MAX);
        let there = io::copy(&mut file.by_ref().take(padded), &mut io::sink()).map_err(|err| err.to_string())?;
        if there < padded {
            return Err(format!(
                "not whole: its header says that HDU {hdu} has {data} bytes, of which {there} are there"
            ));
        }
        hdu += 1;
    }
    io::copy(file, &mut io::sink()).map_err(|err| err.to_string())?;
    if hdu > 0 { Ok(()) } else { Err("no FITS header".into()) }
}

/// What is compressed in a file; where it breaks off, that is damage and no end.
struct Unpacked<R: Read>(MultiGzDecoder<R>);

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes).map_err(|err| match err.kind() {
            ErrorKind::Interrupted => err,
            _ => io::Error::new(ErrorKind::InvalidData, format!("not whole, or damaged: {err}")),
        })
    }
}

/// Bytes of the header that begins here and of the data it announces; `None` where none begins.
fn sizes(file: &mut impl Read) -> Result<Option<(u64, u64)>, String> {
    let (mut bits, mut axes, mut parameters, mut groups) = (0_u64, Vec::new(), 0_u64, 1_u64);
    let mut is_grouped = false;
    let mut block = [0; FITS_BLOCK as usize];
    for n_blocks in 1..=MOST_BLOCKS {
        match file.read_exact(&mut block) {
            Err(err) if err.kind() == ErrorKind::UnexpectedEof && n_blocks == 1 => return Ok(None),
            Err(err) if err.kind() == ErrorKind::UnexpectedEof => return Err("it ends within a header".into()),
            read => read.map_err(|err| err.to_string())?,
        }
        if n_blocks == 1 && !block.starts_with(b"SIMPLE  =") && !block.starts_with(b"XTENSION=") {
            return Ok(None);
        }
        for card in block.chunks(CARD) {
            let (key, value) = (card[..8].trim_ascii_end(), card.get(10..).unwrap_or_default());
            let text = String::from_utf8_lossy(value);
            let number = text.split('/').next().unwrap_or_default().trim();
            let size = || number.parse().map_err(|_| format!("header key {} is no size", String::from_utf8_lossy(key)));
            match key {
                b"END" => {
                    let product = |sizes: &[u64]| sizes.iter().try_fold(1_u64, |product, n| product.checked_mul(*n));
                    let elements = match axes.split_first() {
                        None => Some(0),
                        Some((0, others)) if is_grouped => product(others),
                        Some(_) => product(&axes),
                    };
                    let data = elements
                        .and_then(|elements: u64| elements.checked_add(if axes.is_empty() { 0 } else { parameters }))
                        .and_then(|elements| elements.checked_mul(groups)?.checked_mul(bits / 8))
                        .ok_or("its header says more bytes than can be counted")?;
                    return Ok(Some((n_blocks as u64 * FITS_BLOCK, data)));
                }
                b"BITPIX" => bits = number.trim_start_matches('-').parse().map_err(|_| "BITPIX is no number")?,
                b"PCOUNT" => parameters = size()?,
                b"GCOUNT" => groups = size()?,
                b"GROUPS" => is_grouped = number == "T",
                _ if key.starts_with(b"NAXIS") && key.len() > 5 => axes.push(size()?),
                _ => {}
            }
        }
    }
    Err("a header without an end".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::{Column, write_in_place};

    #[test]
    fn a_file_cut_anywhere_behind_its_first_header_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        write_in_place(&path, |file| {
            file.image_f32("FLUX", &[1.0; 3000], [2, 1500])?;
            file.image::<f64>("", &[], &[])?;
            file.table("T", &[Column::text("id", vec!["a".into(); 900]), Column::f64("x", "", vec![1.0; 900])])
        })
        .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(is_whole(&path), Ok(()));
        for n_blocks in 1..bytes.len() / 2880 {
            std::fs::write(&path, &bytes[..n_blocks * 2880]).unwrap();
            // After an HDU a file may end: only the count of HDUs could tell.
            let ends = [1, 7, 8].contains(&n_blocks);
            assert_eq!(is_whole(&path).is_ok(), ends, "{n_blocks} of {}", bytes.len() / 2880);
        }
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(is_whole(&path).unwrap_err().contains("HDU 3 has 8100 bytes"), "{:?}", is_whole(&path));
        std::fs::write(&path, [&bytes[..], &[0; 100]].concat()).unwrap();
        assert_eq!(is_whole(&path), Ok(()));
        for wrong in ["", "SIMPLE", "<html>"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(is_whole(&path).is_err(), "{wrong}");
        }
        let huge = String::from_utf8_lossy(&bytes[2880..5760]).replace("          1500", "99999999999999");
        std::fs::write(&path, huge).unwrap();
        assert!(is_whole(&path).unwrap_err().contains("of which 0 are there"));
    }

    #[test]
    fn a_compressed_file_is_whole_down_to_its_sum() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, path) = (folder.path().join("a.fits"), folder.path().join("a.fits.gz"));
        write_in_place(&plain, |file| {
            file.image::<f64>("", &[], &[])?;
            file.table("T", &[Column::f64("x", "", (0..3000).map(f64::from).collect())])
        })
        .unwrap();
        let bytes = std::fs::read(&plain).unwrap();
        let pack = |bytes: &[u8]| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut packed, bytes).unwrap();
            packed.finish().unwrap()
        };
        let packed = pack(&bytes);
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(is_whole(&path), Ok(()));
        for length in [3, 20, packed.len() / 3, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
            std::fs::write(&path, &packed[..length]).unwrap();
            assert!(is_whole(&path).is_err(), "{length} of {}", packed.len());
        }
        let mut odd = packed.clone();
        let sum = odd.len() - 8;
        odd[sum] ^= 1;
        std::fs::write(&path, odd).unwrap();
        assert!(is_whole(&path).is_err(), "the sum does not fit");
        // Whole as a compressed file, but not what is in it.
        std::fs::write(&path, pack(&bytes[..bytes.len() - 2880])).unwrap();
        assert!(is_whole(&path).unwrap_err().contains("has 24000 bytes"), "{:?}", is_whole(&path));
        std::fs::write(&path, pack(b"<html>")).unwrap();
        assert_eq!(is_whole(&path), Err("no FITS header".into()));
    }
}
