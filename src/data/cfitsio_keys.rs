//! Reading the keys of FITS headers through cfitsio.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};

use fitsio::sys;

use super::cfitsio::{Handle, c_text};

/// How cfitsio reads the value of a key as text: file, key, value, comment, status.
type ReadKey = unsafe extern "C" fn(*mut sys::fitsfile, *const c_char, *mut c_char, *mut c_char, *mut c_int) -> c_int;

impl Handle {
    /// A text key of the current header, with what follows in CONTINUE cards.
    pub(super) fn key_text(&mut self, key: &str) -> Option<String> {
        let first = self.key(sys::ffgkys, key)?;
        if first.ends_with('&') { self.long_text(key) } else { Some(first) }
    }

    /// A text key of the current header that may be longer than a card.
    fn long_text(&mut self, key: &str) -> Option<String> {
        let key = c_text(key).ok()?;
        let (mut value, mut status) = (std::ptr::null_mut::<c_char>(), 0);
        // SAFETY: `key` is terminated; where it returns status 0, cfitsio sets `value` to a terminated text of its own.
        unsafe { sys::ffgkls(self.0, key.as_ptr(), &mut value, std::ptr::null_mut(), &mut status) };
        if value.is_null() {
            return None;
        }
        // SAFETY: the text is terminated and copied before it is given back, once, to whom it belongs.
        let text = (status == 0).then(|| unsafe { CStr::from_ptr(value) }.to_string_lossy().trim().to_string());
        let mut freed = 0;
        // SAFETY: as above.
        unsafe { sys::fffree(value.cast::<c_void>(), &mut freed) };
        text
    }

    /// The value of a key of the current header as the card has it, texts in their quotes.
    pub(super) fn key_as_written(&mut self, key: &str) -> Option<String> {
        self.key(sys::ffgkey, key)
    }

    fn key(&mut self, read: ReadKey, key: &str) -> Option<String> {
        let key = c_text(key).ok()?;
        // 71 bytes are the documented most (FLEN_VALUE); cfitsio may not be trusted to count.
        let (mut value, mut status) = (vec![0 as c_char; 256], 0);
        // SAFETY: `key` is terminated, `value` longer than any card; both of cfitsio's functions write no more than one.
        unsafe { read(self.0, key.as_ptr(), value.as_mut_ptr(), std::ptr::null_mut(), &mut status) };
        let bytes: Vec<u8> = value.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        (status == 0).then(|| String::from_utf8_lossy(&bytes).trim().to_string())
    }

    /// Whether the current header has a key, whatever its value.
    pub(super) fn has_key(&mut self, key: &str) -> bool {
        let Ok(key) = c_text(key) else { return false };
        // 81 bytes are the documented most (FLEN_CARD).
        let (mut card, mut status) = (vec![0 as c_char; 256], 0);
        // SAFETY: `key` is terminated, `card` longer than any card.
        unsafe { sys::ffgcrd(self.0, key.as_ptr(), card.as_mut_ptr(), &mut status) };
        status == 0
    }

    /// A number in the current header.
    pub(super) fn key_f64(&mut self, key: &str) -> Option<f64> {
        let key = c_text(key).ok()?;
        let (mut value, mut status) = (0.0, 0);
        // SAFETY: `key` is terminated; the number is written.
        unsafe { sys::ffgkyd(self.0, key.as_ptr(), &mut value, std::ptr::null_mut(), &mut status) };
        (status == 0).then_some(value)
    }
}
