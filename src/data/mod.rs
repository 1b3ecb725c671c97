//! Bytes to plain vectors and back: FITS, CSV, npy, the archive, lines, isochrones. No Burn, no choice a model depends on.

pub mod apstar;
pub mod arrays;
mod aspcapstar;
pub mod catalogue;
mod cfitsio;
mod cfitsio_checksum;
pub mod csv_text;
pub mod fetch;
pub mod files;
pub mod fits;
mod fits_writer;
pub mod isochrone;
mod isochrone_file;
pub mod library;
pub mod linelist;
mod mwm;
mod mwm_table;
mod npy;
mod raw_spectrum;
pub mod selection;
mod sentinels;
#[cfg(test)]
mod spectrum_examples;
pub mod spectrum_file;
mod spectrum_part;
pub mod table;
