//! A trained model and new spectra: rows of labels and posteriors on disk, best fits.

pub mod astra;
mod astra_table;
pub mod best_fits;
pub mod digits;
pub mod journal;
mod journal_lines;
mod label_row;
pub mod label_table;
pub mod labeller;
pub mod merge;
pub mod places;
pub mod posterior;
pub mod posterior_draws;
pub mod posterior_folder;
pub mod posterior_row;
pub mod posterior_table;
pub mod shards;
pub mod spectra_arrays;
pub mod spectra_folder;
pub mod star_spectra;
pub mod table_files;
