//! DATASUM and CHECKSUM of a FITS file being written, made safe.
//!
//! cfitsio's own call puts the time of day beside them, and what maury makes of one seed has the same bytes always.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_ulong};

use fitsio::sys;

use super::cfitsio::{NewFile, c_text, succeed};

/// What CHECKSUM says while the sum is taken (FITS standard 4.0, appendix J).
const NOTHING: &str = "0000000000000000";

impl NewFile {
    /// Appends both keys to the current header: the sum of its data, and what makes the whole HDU add up to nothing.
    pub(super) fn checksums(&mut self) -> Result<(), String> {
        self.key_text("CHECKSUM", NOTHING, "HDU checksum")?;
        self.key_text("DATASUM", "0", "data unit checksum")?;
        // Only a header that is closed has all its bytes.
        self.flush()?;
        let (data, _) = self.sums()?;
        self.change("DATASUM", &data.to_string())?;
        let (_, hdu) = self.sums()?;
        // Sixteen letters and a NUL; cfitsio may not be trusted to count.
        let mut letters = [0 as c_char; 64];
        // SAFETY: `letters` is longer than what is written.
        unsafe { sys::ffesum(hdu, 1, letters.as_mut_ptr()) };
        let letters: String = letters.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
        self.change("CHECKSUM", &letters)
    }

    /// Sums of the current HDU's data, and of the HDU as a whole.
    fn sums(&mut self) -> Result<(c_ulong, c_ulong), String> {
        let (mut data, mut hdu, mut status) = (0, 0, 0);
        // SAFETY: the handle is open; both numbers are written.
        unsafe { sys::ffgcks(self.0, &mut data, &mut hdu, &mut status) };
        succeed(status).map(|()| (data, hdu))
    }

    /// Changes the text of a key; its comment stays.
    fn change(&mut self, key: &str, value: &str) -> Result<(), String> {
        let (key, value, same, mut status) = (c_text(key)?, c_text(value)?, c_text("&")?, 0);
        // SAFETY: three terminated strings.
        unsafe { sys::ffmkys(self.0, key.as_ptr(), value.as_ptr(), same.as_ptr(), &mut status) };
        succeed(status)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::data::fits::{Column, FitsReader, write};

    /// The sum of bytes as 32-bit numbers, carries added at the lower end (FITS standard 4.0, appendix J).
    fn sum(bytes: &[u8]) -> u32 {
        let mut sum: u64 = bytes.chunks(4).map(|word| u64::from(u32::from_be_bytes(word.try_into().unwrap()))).sum();
        while sum >> 32 != 0 {
            sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
        }
        sum as u32
    }

    fn fill(path: &Path) {
        write(path, |fits| {
            fits.append_key("ANSWER", 42, "")?;
            fits.image("FLUX", &[1.5_f64, -2.0, f64::NAN], &[3])?;
            fits.table("EMPTY", &[Column::i64("id", Vec::new()), Column::f32_vectors("flux", 0, Vec::new())])?;
            fits.table("STARS", &[Column::text("id", vec!["a".into(), "bc".into()])])?;
            fits.append_key("LATE", "yes", "")?;
            fits.checksums()
        })
        .unwrap();
    }

    #[test]
    fn every_hdu_adds_up_and_the_same_file_has_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, again) = (folder.path().join("a.fits"), folder.path().join("b.fits"));
        fill(&path);
        let bytes = std::fs::read(&path).unwrap();
        // Headers take one block each, data one where there are some.
        let hdus = [(0, 0), (1, 1), (3, 0), (4, 1)];
        assert_eq!(bytes.len(), 6 * 2880);
        let mut fits = FitsReader::open(&path).unwrap();
        for (hdu, (start, n_data)) in hdus.into_iter().enumerate() {
            let data = (start + 1) * 2880..(start + 1 + n_data) * 2880;
            assert_eq!(sum(&bytes[start * 2880..data.end]), u32::MAX, "HDU {hdu}");
            let expected = sum(&bytes[data]).to_string();
            assert_eq!(fits.key_text(hdu, "DATASUM"), Some(expected), "HDU {hdu}");
        }
        fill(&again);
        assert_eq!(std::fs::read(&again).unwrap(), bytes);
    }
}
