//! Test stars by what is wrong with them.

use std::collections::BTreeMap;

use super::predictions::Predictions;

/// Name of the group of stars with which nothing is wrong.
pub const HEALTHY: &str = "healthy";

/// Stars by what is wrong with them; `None` where the truth does not tell.
pub(super) fn groups(predictions: &Predictions) -> Option<BTreeMap<&str, Vec<usize>>> {
    let pathology = predictions.truth.as_ref()?.pathology.as_ref()?;
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (star, word) in pathology.iter().enumerate() {
        groups.entry(if word.is_empty() { HEALTHY } else { word }).or_default().push(star);
    }
    Some(groups)
}
