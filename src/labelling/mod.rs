//! A trained model and new spectra: rows of labels on disk, best fits, posteriors of single stars.

pub mod best_fits;
pub mod journal;
mod label_table;
pub mod labeller;
pub mod posterior;
pub mod posterior_folder;
