//! Bytes to plain vectors and back: FITS, CSV, VOTable, Parquet, npy, the archive, lines, isochrones. No Burn, no choice a model depends on.

pub mod apstar;
pub mod arrays;
mod aspcapstar;
pub mod catalogue;
mod cells;
mod cfitsio;
mod cfitsio_checksum;
pub mod columns;
pub mod csv_text;
mod expression;
pub mod fetch;
pub mod files;
pub mod fits;
mod fits_writer;
pub mod isochrone;
mod isochrone_file;
pub mod keyed_path;
mod label_source;
pub mod library;
pub mod linelist;
mod mwm;
mod mwm_table;
mod npy;
mod packed;
mod parquet_table;
mod raw_spectrum;
pub mod sdss_v_paths;
pub mod selection;
mod sentinels;
#[cfg(test)]
mod spectrum_examples;
pub mod spectrum_file;
mod spectrum_part;
pub mod table;
mod text_table;
mod votable;
mod votable_field;
