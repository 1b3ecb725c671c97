//! A trained model and new spectra: rows of labels on disk, best fits, posteriors of single stars.

pub mod astra;
mod astra_table;
pub mod best_fits;
pub mod digits;
pub mod journal;
mod journal_lines;
pub mod label_table;
pub mod labeller;
pub mod merge;
pub mod posterior;
pub mod posterior_folder;
pub mod shards;
pub mod spectra_arrays;
pub mod spectra_folder;
pub mod star_spectra;
mod table_files;
