//! What mock surveys know of their stars and no catalogue does: the true labels, and what is wrong with a star.

use std::collections::HashMap;
use std::path::Path;

use ndarray::{Array2, Axis};

use super::config::ExperimentConfig;
use crate::data::catalogue::Catalogue;
use crate::data::table::Table;
use crate::error::{Error, Result};

/// Column of the truth table that says what is wrong with a star, if it has one.
const PATHOLOGY: &str = "pathology";
/// What it says of stars with which nothing is.
const HEALTHY: &str = "none";

/// The truth about some stars, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// True labels, [n_stars, n_labels]; NaN for stars the table does not know.
    pub labels: Array2<f64>,
    /// What is wrong with each star, empty where nothing is; `None` if the table does not tell.
    pub pathology: Option<Vec<String>>,
}

impl Truth {
    /// Reads a truth table and finds the stars in it by their ids.
    ///
    /// # Errors
    /// File errors; [`Error::Mismatch`] if it knows none of the stars.
    pub fn read(path: &Path, stars: &Catalogue, config: &ExperimentConfig) -> Result<Self> {
        let id_column = config.data.arrays.as_ref().map_or("", |arrays| arrays.id_column.as_str());
        let table = Catalogue::read(path, id_column, &config.labels)?;
        let row_of: HashMap<&str, usize> = table.id.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
        let rows: Vec<Option<usize>> = stars.id.iter().map(|id| row_of.get(id.as_str()).copied()).collect();
        let known = rows.iter().flatten().count();
        tracing::info!("truth: {} knows {known} of {} stars", path.display(), stars.len());
        if known == 0 {
            let detail = format!("none of {} stars is in the table; are its ids those of the catalogue?", stars.len());
            return Err(Error::Mismatch { what: path.display().to_string(), detail });
        }
        let mut words = Table::open(path)?;
        let pathology = if words.names().iter().any(|name| name == PATHOLOGY) {
            let all = 0..words.n_rows();
            let words = words.texts(PATHOLOGY, all, "it says what is wrong with each star")?;
            let of_row = |row: &Option<usize>| row.map_or("", |row| words[row].as_str());
            Some(rows.iter().map(of_row).map(|word| if word == HEALTHY { "" } else { word }.to_string()).collect())
        } else {
            None
        };
        let labels = Array2::from_shape_fn((stars.len(), config.labels.len()), |(n, k)| {
            rows[n].map_or(f64::NAN, |row| table.labels[row][k])
        });
        Ok(Self { labels, pathology })
    }

    /// The truth about the stars at these positions.
    pub fn rows(&self, positions: &[usize]) -> Self {
        let pick = |words: &Vec<String>| positions.iter().map(|n| words[*n].clone()).collect();
        Self { labels: self.labels.select(Axis(0), positions), pathology: self.pathology.as_ref().map(pick) }
    }
}
