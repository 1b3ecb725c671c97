//! How much each member of a combination counts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inference::stack::Recipe;

/// How much each model counts, for the run's report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CombinationReport {
    /// Stars that no member had seen.
    pub n_held_out: usize,
    /// By label, the median share over the test stars of each member's estimate of that label.
    pub weights: BTreeMap<String, BTreeMap<String, f64>>,
    /// By label, what shares depend on; none where held-out stars are too few.
    pub recipes: BTreeMap<String, Option<Recipe>>,
    /// By label, how each member and the combination scatter on the held-out stars: the root of the mean biweight loss that shares
    /// make least. The combination is learned from others of them.
    pub held_out_scatter: BTreeMap<String, HeldOutScatter>,
}

/// Scatter of one label on held-out stars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOutScatter {
    /// Of each member.
    pub members: BTreeMap<String, f64>,
    /// Of the combination; not above the best member's.
    pub combination: f64,
}

impl CombinationReport {
    /// What to say of one label.
    pub fn words(&self, label: &str) -> String {
        let shares = self.weights.get(label).into_iter().flatten();
        let shares: Vec<String> = shares.map(|(name, share)| format!("{name} {:.0}%", 100.0 * share)).collect();
        match self.recipes.get(label).copied().flatten() {
            Some(Recipe::BestMember) => {
                let of = |(name, share): (&String, &f64)| (*share > 0.5).then(|| name.clone());
                let best = self.weights.get(label).into_iter().flatten().find_map(of).unwrap_or_default();
                format!("{label}: {best} alone, the others add nothing on held-out stars")
            }
            Some(Recipe::Shares) => format!("{label}: {}", shares.join(", ")),
            Some(Recipe::SharesByStar) => format!("{label}: {}, by each star's errors", shares.join(", ")),
            None => format!("{label}: not combined, too few held-out stars"),
        }
    }
}
