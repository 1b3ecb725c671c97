//! Weights from data: closed-form training, and the folder a trained model is kept in.

pub mod checkpoint;
pub mod closed_form;
pub mod continuum_search;
pub mod import;
mod pixel_block;
mod scatter_bracket;
