//! What mock surveys know of their stars and no catalogue does: the true labels, and what is wrong with a star.

use std::collections::HashMap;
use std::path::Path;

use ndarray::{Array2, Axis};

use crate::data::catalogue::{Catalogue, Naming, Wanted};
use crate::data::table::Table;
use crate::error::{Error, Result};
use crate::stars::settings::StarSettings;

/// Column of the truth table that says what is wrong with a star, if it has one.
const PATHOLOGY: &str = "pathology";
/// What it says of stars with which nothing is.
const HEALTHY: &str = "none";

/// What is wrong with a star as tables say it: `none` where nothing is.
pub fn in_table(tag: &str) -> &str {
    if tag.is_empty() { HEALTHY } else { tag }
}

/// The tag of what a table says.
pub fn of_table(word: String) -> String {
    if word == HEALTHY { String::new() } else { word }
}

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
    pub fn read(path: &Path, stars: &Catalogue, settings: &StarSettings) -> Result<Self> {
        let mut table = Table::open(path)?;
        // Its labels go by their own names; its identifiers may go by the catalogue's.
        let named = settings.data.columns.column("id").filter(|column| table.has(column));
        let id_column = settings.data.arrays.as_ref().map_or("", |arrays| arrays.id_column.as_str());
        let naming = Naming::usual(named.as_deref().unwrap_or(id_column));
        let wanted = Wanted::labels(naming, &settings.labels);
        let tells = table.names().iter().any(|name| name == PATHOLOGY);
        let star_of: HashMap<&str, usize> = stars.id.iter().enumerate().map(|(star, id)| (id.as_str(), star)).collect();
        // Only what it knows of these stars is kept, however long it is; of two rows about a star, the later one.
        let mut known: HashMap<&str, (Vec<f64>, String)> = HashMap::new();
        for rows in table.blocks() {
            let block = Catalogue::read_block(&mut table, &wanted, rows.clone())?;
            let words = match tells {
                true => table.texts(PATHOLOGY, rows, "it says what is wrong with each star")?,
                false => vec![String::new(); block.len()],
            };
            for ((id, labels), word) in block.id.iter().zip(block.labels).zip(words) {
                if let Some(star) = star_of.get(id.as_str()) {
                    known.insert(&stars.id[*star], (labels, word));
                }
            }
        }
        table.say_remarks();
        let rows: Vec<Option<&(Vec<f64>, String)>> = stars.id.iter().map(|id| known.get(id.as_str())).collect();
        let n_known = rows.iter().flatten().count();
        tracing::info!("truth: {} knows {n_known} of {} stars", path.display(), stars.len());
        if n_known == 0 {
            let detail = format!("none of {} stars is in the table; are its ids those of the catalogue?", stars.len());
            return Err(Error::Mismatch { what: path.display().to_string(), detail });
        }
        let pathology = tells.then(|| {
            let words = rows.iter().map(|row| row.map_or("", |known| known.1.as_str()));
            words.map(|word| of_table(word.to_string())).collect()
        });
        let labels = Array2::from_shape_fn((stars.len(), settings.labels.len()), |(n, k)| {
            rows[n].map_or(f64::NAN, |(labels, _)| labels[k])
        });
        Ok(Self { labels, pathology })
    }

    /// What tables say is wrong with a star, empty where nothing is known of it; `None` where the truth does not tell of any.
    pub fn pathology_in_table(&self, star: usize) -> Option<&str> {
        let tag = self.pathology.as_ref()?[star].as_str();
        let is_known = !tag.is_empty() || self.labels.row(star).iter().any(|label| label.is_finite());
        Some(if is_known { in_table(tag) } else { "" })
    }

    /// The truth about the stars at these positions.
    pub fn rows(&self, positions: &[usize]) -> Self {
        let pick = |words: &Vec<String>| positions.iter().map(|n| words[*n].clone()).collect();
        Self { labels: self.labels.select(Axis(0), positions), pathology: self.pathology.as_ref().map(pick) }
    }
}
