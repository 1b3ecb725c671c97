//! Which terms of a Cannon's polynomial act in which pixels.

use std::collections::BTreeMap;

use super::cannon_config::CannonConfig;
use crate::models::vectorizer::Vectorizer;

/// The terms of a polynomial, and where the labels in them act: outside a label's windows every term that contains it is nil
/// (Casey et al. 2016, arXiv:1603.03040, Section 2.3).
#[derive(Debug, Clone)]
pub struct TermLayout {
    /// The terms.
    pub vectorizer: Vectorizer,
    /// Where each label acts, `[n_labels][n_pixels]`; empty if all act everywhere.
    acts: Vec<Vec<bool>>,
    /// The labels of each term.
    labels_of_terms: Vec<Vec<usize>>,
}

/// Pixels in which the same terms act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PixelGroup {
    /// The terms, ascending.
    pub terms: Vec<usize>,
    /// The pixels, ascending.
    pub pixels: Vec<usize>,
}

impl TermLayout {
    /// What the settings say of some labels at some wavelengths.
    pub fn new(config: &CannonConfig, label_names: &[String], wavelength: &[f64]) -> Self {
        let acts = match config.censor.is_empty() {
            true => Vec::new(),
            false => label_names.iter().map(|label| config.acts(label, wavelength)).collect(),
        };
        Self { acts, ..Self::everywhere(config.vectorizer(label_names, 0)) }
    }

    /// All terms in all pixels.
    pub fn everywhere(vectorizer: Vectorizer) -> Self {
        let labels_of_terms = (0..vectorizer.n_terms()).map(|term| vectorizer.factors(term).collect()).collect();
        Self { vectorizer, acts: Vec::new(), labels_of_terms }
    }

    /// Whether some label acts in some pixels only.
    pub fn has_windows(&self) -> bool {
        !self.acts.is_empty()
    }

    /// Whether a term may act in a pixel.
    pub fn acts(&self, term: usize, pixel: usize) -> bool {
        self.acts.is_empty() || self.labels_of_terms[term].iter().all(|k| self.acts[*k][pixel])
    }

    /// Most terms that act in any one of so many pixels.
    pub fn most_terms(&self, n_pixels: usize) -> usize {
        self.groups(n_pixels).iter().map(|group| group.terms.len()).max().unwrap_or(0)
    }

    /// So many pixels by the terms that act in them; those of most terms come first, as they take longest.
    pub(super) fn groups(&self, n_pixels: usize) -> Vec<PixelGroup> {
        let n_terms = self.vectorizer.n_terms();
        if self.acts.is_empty() {
            return vec![PixelGroup { terms: (0..n_terms).collect(), pixels: (0..n_pixels).collect() }];
        }
        let mut by_labels: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
        for pixel in 0..n_pixels {
            by_labels.entry(self.acts.iter().map(|acts| acts[pixel]).collect()).or_default().push(pixel);
        }
        let of_labels = |(acting, pixels): (Vec<bool>, Vec<usize>)| {
            let acts = |term: &usize| self.labels_of_terms[*term].iter().all(|label| acting[*label]);
            PixelGroup { terms: (0..n_terms).filter(acts).collect(), pixels }
        };
        let mut groups: Vec<PixelGroup> = by_labels.into_iter().map(of_labels).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.terms.len() * group.terms.len() * group.pixels.len()));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_grouped_by_the_terms_that_act_in_them() {
        let config: CannonConfig =
            toml::from_str("additive = [\"c\"]\ncensor.B = [[2.0, 3.0]]\ncensor.c = [[3.0, 4.0]]").unwrap();
        let names = ["a", "b", "c"].map(String::from);
        let layout = TermLayout::new(&config, &names, &[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(layout.vectorizer.term_names(&names), ["1", "a", "b", "c", "a*a", "a*b", "b*b"]);
        let group = |terms: &[usize], pixels: &[usize]| PixelGroup { terms: terms.to_vec(), pixels: pixels.to_vec() };
        let mut groups = layout.groups(5);
        groups.sort_by_key(|group| group.pixels[0]);
        let expected = [
            group(&[0, 1, 4], &[0, 4]),
            group(&[0, 1, 2, 4, 5, 6], &[1]),
            group(&[0, 1, 2, 3, 4, 5, 6], &[2]),
            group(&[0, 1, 3, 4], &[3]),
        ];
        assert_eq!(groups, expected);
        assert_eq!((layout.most_terms(5), layout.most_terms(2)), (7, 6));
        for group in &groups {
            for (term, pixel) in (0..7).flat_map(|term| group.pixels.iter().map(move |pixel| (term, *pixel))) {
                assert_eq!(layout.acts(term, pixel), group.terms.contains(&term));
            }
        }
        let everywhere = TermLayout::everywhere(Vectorizer::new(2, 1));
        assert!(!everywhere.has_windows() && layout.has_windows());
        assert_eq!(everywhere.groups(2), [group(&[0, 1, 2], &[0, 1])]);
    }
}
