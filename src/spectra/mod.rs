//! From plain arrays to science-ready sets: grids, masks, continua, label scaling, splits.

pub mod batch;
pub mod continuum;
pub mod continuum_pixels;
pub mod features;
pub mod grid;
pub mod labels;
pub mod line_offsets;
pub mod night;
pub mod noise;
pub mod normalizer;
pub mod pixmask;
pub mod prepared;
pub mod prepared_file;
pub mod quality;
pub mod quantized;
pub mod spectrum_basis;
pub mod split;
pub mod star_table;
pub mod stored;
