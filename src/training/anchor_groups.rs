//! Groups of an anchored Cannon's coefficients, and by how much each may leave physics: its strength, at the maximum of the evidence.

use std::ops::Range;

use ndarray::ArrayView2;

use super::anchor::Anchor;
use super::anchor_report::Strengths;
use super::coefficient_prior::Sample;

/// Share of the pixels that the evidence is taken from, those farthest from physics, that do not count.
pub(super) const TRIMMED: f64 = 0.01;
/// Groups of coefficients before the survey's own components; of them, those of labels alone come first.
const N_GROUPS: usize = 7;
/// Terms linear in the labels, and in hidden labels.
const LINEAR: usize = 1;
const HIDDEN: usize = 3;
/// Groups that stay as physics says: quadratic terms with a hidden label, nuisances of the library and the instrument. Stars tell too
/// little of them, and 80 of 108 coefficients need not be solved for.
const KNOWN: Range<usize> = 4..N_GROUPS;
/// Strengths before the evidence is asked, the smallest, which leaves coefficients where they are, and the largest.
pub(super) const FIRST_STRENGTH: f64 = 0.03;
pub(super) const LEAST_STRENGTH: f64 = 1e-5;
pub(super) const MOST_STRENGTH: f64 = 1.0;

/// Which coefficients share a strength.
pub(super) struct Groups {
    /// Group of each coefficient.
    of: Vec<usize>,
    /// Spread of each over the pixels, squared.
    pub tau2: Vec<f64>,
    /// Strength of each group, and the largest that those of the library may have.
    pub strength: Vec<f64>,
    limit: f64,
}

impl Groups {
    /// Constant; linear and quadratic in labels alone; linear and quadratic with hidden labels; the library's nuisances; the
    /// instrument's.
    pub fn of(anchor: &Anchor, coefficients: ArrayView2<f64>, limit: f64) -> Self {
        let n_labels = anchor.labels.ncols();
        let n_library = anchor.spectra.nrows() - anchor.n_instrument;
        let terms = (0..anchor.vectorizer.n_terms()).map(|term| {
            let factors: Vec<usize> = anchor.vectorizer.factors(term).collect();
            let is_hidden = factors.iter().any(|factor| *factor >= n_labels);
            factors.len() + if is_hidden { 2 } else { 0 }
        });
        let nuisances = (0..anchor.spectra.nrows()).map(|k| if k < n_library { 5 } else { 6 });
        let tau2 = coefficients.rows().into_iter().enumerate().map(|(k, row)| {
            let centre = if k == 0 { 1.0 } else { 0.0 };
            (row.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / row.len() as f64).max(1e-14)
        });
        Self {
            of: terms.chain(nuisances).collect(),
            tau2: tau2.collect(),
            strength: at_first(FIRST_STRENGTH.min(limit)),
            limit,
        }
    }

    /// Of the groups, beside that of the lines.
    pub fn strengths(&self, lines: f64) -> Strengths {
        let of = |group: usize| self.strength[group];
        Strengths { lines, constant: of(0), linear: of(LINEAR), quadratic: of(2), hidden: of(HIDDEN) }
    }

    /// Root of the mean square by which a pixel of the pivot star may differ from physics.
    pub fn offset(&self) -> f64 {
        self.strength[0] * self.tau2[0].sqrt()
    }

    pub fn variances(&self) -> Vec<f64> {
        self.of.iter().zip(&self.tau2).map(|(group, tau2)| self.strength[*group].powi(2) * tau2).collect()
    }

    /// One step of every strength towards the maximum of the evidence, from what some pixels' coefficients are about their means:
    /// a^2 = sum (delta / tau)^2 / number of well-determined coefficients.
    pub fn learn(&mut self, samples: &[Sample]) {
        let variance = self.variances();
        for group in (0..self.strength.len()).filter(|group| !KNOWN.contains(group)) {
            let members: Vec<usize> = (0..self.of.len()).filter(|k| self.of[*k] == group).collect();
            let mut of_pixels: Vec<(f64, f64)> = samples
                .iter()
                .map(|sample| {
                    let of = |k: &usize| {
                        let squared = (sample.square[*k] - sample.variance[*k]) / self.tau2[*k];
                        (squared, 1.0 - sample.variance[*k] / variance[*k])
                    };
                    members.iter().map(of).fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d))
                })
                .collect();
            of_pixels.sort_by(|a, b| a.0.total_cmp(&b.0));
            of_pixels.truncate(((1.0 - TRIMMED) * of_pixels.len() as f64) as usize);
            let (squares, determined) = of_pixels.iter().fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
            if determined > 0.0 && squares > 0.0 {
                self.strength[group] = (squares / determined).sqrt().clamp(LEAST_STRENGTH, MOST_STRENGTH);
            }
        }
        // Physics is no more wrong about what only it knows than about what the catalogue knows, too.
        self.strength[HIDDEN] = self.strength[HIDDEN].min(self.strength[LINEAR]);
        self.strength[..N_GROUPS].iter_mut().for_each(|strength| *strength = strength.min(self.limit));
    }

    /// One more nuisance spectrum, of a strength of its own.
    pub fn add(&mut self) {
        self.of.push(self.strength.len());
        self.tau2.push(1.0);
        self.strength.push(FIRST_STRENGTH);
    }
}

/// The same strength for every group that stars teach.
pub(super) fn at_first(strength: f64) -> Vec<f64> {
    (0..N_GROUPS).map(|group| if KNOWN.contains(&group) { 0.0 } else { strength }).collect()
}
