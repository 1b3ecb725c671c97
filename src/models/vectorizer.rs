//! The label vector of The Cannon: all products of scaled labels up to some order, with their derivatives.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{LabelTerms, TermExpansion, TermPullBack};
use crate::device::indices;

/// How a label enters the polynomial.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// In every product of labels up to the order.
    #[default]
    Polynomial,
    /// Once at most, and beside no other such label: flux is linear in it, with a slope that the polynomial labels bend.
    Linear,
    /// By itself alone: flux is linear in it, with the same slope in all stars.
    Additive,
}

/// Turns scaled labels into the design matrix x(l) = [1, l_i, l_i l_j (i <= j), ...] (Ness et al. 2015, Eq. 6).
///
/// A term is a product of `order` factors drawn from [1, l_1, ..., l_K]; the constant 1 fills up products of fewer labels. Labels
/// that enter linearly leave most of them out: of 231 terms of 20 labels 16 linear ones leave 95, 16 additive ones 31.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vectorizer {
    n_labels: usize,
    order: usize,
    /// How each label enters.
    entries: Vec<Entry>,
    /// Factors of each term, ascending; 0 is the constant, k + 1 is label k.
    terms: Vec<Vec<usize>>,
    /// For each term and label, the term left when the label is divided out (any, if it does not occur), and how often
    /// it occurs.
    quotients: Vec<(usize, usize)>,
}

impl Vectorizer {
    /// All terms of `n_labels` labels up to `order` (1 to 3).
    pub fn new(n_labels: usize, order: usize) -> Self {
        Self::of_entries(&vec![Entry::Polynomial; n_labels], order)
    }

    /// The terms up to `order` (1 to 3) of labels that enter like this.
    pub fn of_entries(entries: &[Entry], order: usize) -> Self {
        let n_labels = entries.len();
        let mut terms = Vec::new();
        let mut factors = vec![0; order];
        loop {
            if is_allowed(&factors, entries) {
                terms.push(factors.clone());
            }
            // Next non-decreasing sequence.
            let Some(position) = factors.iter().rposition(|factor| *factor < n_labels) else { break };
            let next = factors[position] + 1;
            factors[position..].fill(next);
        }
        // Constant, linear, quadratic, ... and within a degree by label.
        terms.sort_by_key(|factors| (factors.iter().filter(|factor| **factor > 0).count(), factors.clone()));
        let mut vectorizer = Self { n_labels, order, entries: entries.to_vec(), terms, quotients: Vec::new() };
        vectorizer.quotients =
            (0..vectorizer.n_terms() * n_labels).map(|i| vectorizer.quotient(i / n_labels, i % n_labels)).collect();
        vectorizer
    }

    fn quotient(&self, term: usize, label: usize) -> (usize, usize) {
        let mut labels: Vec<usize> = self.factors(term).collect();
        let count = labels.iter().filter(|factor| **factor == label).count();
        if let Some(position) = labels.iter().position(|factor| *factor == label) {
            labels.remove(position);
        }
        (self.position(&labels).expect("every divisor of a term is a term"), count)
    }

    /// Number of labels.
    pub fn n_labels(&self) -> usize {
        self.n_labels
    }

    /// Highest degree of a term.
    pub fn order(&self) -> usize {
        self.order
    }

    /// How each label enters.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of terms, the constant included.
    pub fn n_terms(&self) -> usize {
        self.terms.len()
    }

    /// Names of the terms: `1`, `teff`, `teff*logg`, ...
    pub fn term_names(&self, labels: &[String]) -> Vec<String> {
        self.terms
            .iter()
            .map(|factors| {
                let names: Vec<&str> = factors.iter().filter(|f| **f > 0).map(|f| labels[f - 1].as_str()).collect();
                if names.is_empty() { "1".to_string() } else { names.join("*") }
            })
            .collect()
    }

    /// The labels multiplied in each term, ascending.
    pub fn factors(&self, term: usize) -> impl Iterator<Item = usize> + '_ {
        self.terms[term].iter().filter(|factor| **factor > 0).map(|factor| factor - 1)
    }

    /// Position of the term that multiplies exactly these labels, in any order.
    pub fn position(&self, labels: &[usize]) -> Option<usize> {
        let mut factors: Vec<usize> = labels.iter().map(|label| label + 1).collect();
        factors.resize(self.order.max(labels.len()), 0);
        factors.sort_unstable();
        self.terms.iter().position(|term| *term == factors)
    }

    /// The design matrix.
    ///
    /// # Shapes
    /// - scaled_labels: `[n_stars, n_labels]`
    /// - output: `[n_stars, n_terms]`
    pub fn design_matrix(&self, scaled_labels: Tensor<2>) -> Tensor<2> {
        let [n_stars, _] = scaled_labels.dims();
        let options = (&scaled_labels.device(), scaled_labels.dtype());
        let augmented = Tensor::cat(vec![Tensor::ones([n_stars, 1], options), scaled_labels], 1);
        (0..self.order)
            .map(|position| {
                let factors: Vec<usize> = self.terms.iter().map(|term| term[position]).collect();
                augmented.clone().select(1, indices(&factors, &augmented.device().inner()))
            })
            .reduce(|product, factor| product * factor)
            .expect("order is at least 1")
    }

    /// Derivative of a design matrix with respect to the scaled labels: d x_t / d l_k = m_tk x_(t / l_k), where m_tk
    /// is how often label k occurs in term t.
    ///
    /// # Shapes
    /// - design_matrix: `[n_stars, n_terms]`
    /// - output: `[n_stars, n_terms, n_labels]`
    pub fn derivative(&self, design_matrix: Tensor<2>) -> Tensor<3> {
        let [n_stars, n_terms] = design_matrix.dims();
        scaled_columns(design_matrix, &self.quotients).reshape([n_stars, n_terms, self.n_labels])
    }

    /// Second derivative of a design matrix, d^2 x_t / d l_k d l_m.
    ///
    /// # Shapes
    /// - design_matrix: `[n_stars, n_terms]`
    /// - output: `[n_stars, n_terms, n_labels * n_labels]`
    pub fn second_derivative(&self, design_matrix: Tensor<2>) -> Tensor<3> {
        let [n_stars, n_terms] = design_matrix.dims();
        let twice: Vec<(usize, usize)> = self
            .quotients
            .iter()
            .flat_map(|(term, count)| {
                let row = &self.quotients[term * self.n_labels..(term + 1) * self.n_labels];
                row.iter().map(move |(quotient, again)| (*quotient, count * again))
            })
            .collect();
        scaled_columns(design_matrix, &twice).reshape([n_stars, n_terms, self.n_labels * self.n_labels])
    }
}

/// Whether labels that enter like this may meet in a term; whatever divides such a term may be one too.
fn is_allowed(factors: &[usize], entries: &[Entry]) -> bool {
    let labels: Vec<Entry> = factors.iter().filter(|factor| **factor > 0).map(|factor| entries[factor - 1]).collect();
    let count = |entry: Entry| labels.iter().filter(|known| **known == entry).count();
    count(Entry::Linear) <= 1 && (count(Entry::Additive) == 0 || labels.len() == 1)
}

impl LabelTerms for Vectorizer {
    fn terms(&self, scaled_labels: Tensor<2>) -> Tensor<2> {
        self.design_matrix(scaled_labels)
    }

    fn expand(&self, scaled_labels: Tensor<2>) -> TermExpansion {
        let terms = self.design_matrix(scaled_labels);
        let second = self.second_derivative(terms.clone());
        let n_labels = self.n_labels;
        TermExpansion {
            derivative: self.derivative(terms.clone()),
            bend: Box::new(move |weights| {
                let [n_stars, _, _] = weights.dims();
                (second * weights).sum_dim(1).reshape([n_stars, n_labels, n_labels])
            }),
            terms,
        }
    }

    /// Of the derivatives of all terms by all labels most are nil: only the others are formed.
    fn pull_back(&self, scaled_labels: Tensor<2>) -> TermPullBack {
        let terms = self.design_matrix(scaled_labels);
        let n_labels = self.n_labels;
        let present: Vec<usize> = (0..self.quotients.len()).filter(|entry| self.quotients[*entry].1 > 0).collect();
        let quotients: Vec<usize> = present.iter().map(|entry| self.quotients[*entry].0).collect();
        // The constant term, which has no weight, is the first.
        let weights_of: Vec<usize> = present.iter().map(|entry| entry / n_labels - 1).collect();
        let mut counts = vec![0.0; present.len() * n_labels];
        for (row, entry) in present.iter().enumerate() {
            counts[row * n_labels + entry % n_labels] = self.quotients[*entry].1 as f64;
        }
        let (device, dtype) = (terms.device().inner(), terms.dtype());
        let counts = Tensor::<2>::from_data(TensorData::new(counts, [present.len(), n_labels]), (&device, dtype));
        let left = terms.clone().select(1, indices(&quotients, &device));
        let weights_of = indices(&weights_of, &device);
        let gradient = move |weights: Tensor<2>| (weights.select(1, weights_of) * left).matmul(counts);
        TermPullBack { terms, gradient: Box::new(gradient) }
    }
}

/// Columns of a matrix picked by number, each times an integer.
fn scaled_columns(matrix: Tensor<2>, columns: &[(usize, usize)]) -> Tensor<2> {
    let (positions, factors): (Vec<usize>, Vec<f64>) = columns.iter().map(|(column, n)| (*column, *n as f64)).unzip();
    let options = (&matrix.device().inner(), matrix.dtype());
    let factors = Tensor::<2>::from_data(TensorData::new(factors, [1, columns.len()]), options);
    let index = indices(&positions, &matrix.device().inner());
    matrix.select(1, index) * factors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};

    fn names(n: usize) -> Vec<String> {
        ["teff", "logg", "fe_h", "mg_fe", "si_fe"][..n].iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn numbers_of_terms_are_the_binomial_coefficients() {
        for (n_labels, order, n_terms) in [(5, 1, 6), (5, 2, 21), (5, 3, 56), (3, 2, 10), (1, 2, 3), (4, 2, 15)] {
            assert_eq!(Vectorizer::new(n_labels, order).n_terms(), n_terms, "{n_labels} labels, order {order}");
        }
        assert_eq!(
            Vectorizer::new(2, 2).term_names(&names(2)),
            ["1", "teff", "logg", "teff*teff", "teff*logg", "logg*logg"]
        );
    }

    #[test]
    fn labels_that_enter_linearly_leave_out_their_squares_and_products() {
        use Entry::{Additive, Linear, Polynomial};
        let names = ["teff", "logg", "mg_fe", "na_fe"].map(String::from);
        let written = |entries: [Entry; 4], order| Vectorizer::of_entries(&entries, order).term_names(&names).join(" ");
        assert_eq!(
            written([Polynomial, Polynomial, Linear, Linear], 2),
            "1 teff logg mg_fe na_fe teff*teff teff*logg teff*mg_fe teff*na_fe logg*logg logg*mg_fe logg*na_fe"
        );
        assert_eq!(
            written([Polynomial, Polynomial, Additive, Linear], 2),
            "1 teff logg mg_fe na_fe teff*teff teff*logg teff*na_fe logg*logg logg*na_fe"
        );
        assert!(written([Polynomial, Polynomial, Linear, Additive], 3).contains("teff*logg*mg_fe"));
        let of_twenty = |entry: Entry| {
            let entries: Vec<Entry> = (0..20).map(|k| if k < 4 { Polynomial } else { entry }).collect();
            Vectorizer::of_entries(&entries, 2).n_terms()
        };
        assert_eq!((of_twenty(Polynomial), of_twenty(Linear), of_twenty(Additive)), (231, 95, 31));
        assert_eq!(Vectorizer::of_entries(&[Linear; 3], 2), Vectorizer::of_entries(&[Linear; 3], 2));
    }

    #[test]
    fn the_design_matrix_is_the_products_written_out() {
        let compute = Compute::flex(Precision::F64);
        let (a, b) = (2.0, -3.0);
        let design = Vectorizer::new(2, 3).design_matrix(compute.tensor(&[a, b], [1, 2]));
        let written = [1.0, a, b, a * a, a * b, b * b, a * a * a, a * a * b, a * b * b, b * b * b];
        assert_eq!(to_f64(design), written);
    }

    #[test]
    fn the_derivatives_are_finite_differences() {
        let compute = Compute::flex(Precision::F64);
        let full = (1..=3).map(|order| Vectorizer::new(3, order));
        let less = Vectorizer::of_entries(&[Entry::Linear, Entry::Polynomial, Entry::Additive], 3);
        for vectorizer in full.chain([less]) {
            let order = vectorizer.order();
            let labels = [0.3, -0.7, 1.1];
            let n_terms = vectorizer.n_terms();
            let design = |labels: &[f64]| vectorizer.design_matrix(compute.tensor(labels, [1, 3]));
            let derivative = to_f64(vectorizer.derivative(design(&labels)));
            for label in 0..3 {
                let h = 1e-5;
                let (mut above, mut below) = (labels, labels);
                above[label] += h;
                below[label] -= h;
                let (high, low) = (to_f64(design(&above)), to_f64(design(&below)));
                for term in 0..n_terms {
                    let difference = (high[term] - low[term]) / (2.0 * h);
                    // Central differences of a cubic are right to h^2 = 1e-10 plus rounding 1e-16 / h.
                    assert!((derivative[term * 3 + label] - difference).abs() < 1e-9, "order {order} term {term}");
                }
                let slope = |labels: &[f64]| to_f64(vectorizer.derivative(design(labels)));
                let (above, below) = (slope(&above), slope(&below));
                let second = to_f64(vectorizer.second_derivative(design(&labels)));
                for entry in 0..3 * n_terms {
                    let difference = (above[entry] - below[entry]) / (2.0 * h);
                    assert!((second[entry * 3 + label] - difference).abs() < 1e-9, "order {order} entry {entry}");
                }
            }
        }
    }
}
