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

    /// Sums of terms' derivatives with weights: `m_i w_(term i) x_(quotient i)` added up in the place of each.
    ///
    /// Of the derivatives of all terms by all labels most are nil: only the others are formed.
    fn weighted_sum(&self, design_matrix: &Tensor<2>, derivatives: Vec<Derivative>, n_places: usize) -> WeightedSum {
        let (device, dtype) = (design_matrix.device().inner(), design_matrix.dtype());
        let mut counts = vec![0.0; derivatives.len() * n_places];
        for (row, derivative) in derivatives.iter().enumerate() {
            counts[row * n_places + derivative.place] = derivative.count as f64;
        }
        let counts = TensorData::new(counts, [derivatives.len(), n_places]);
        let of =
            |part: fn(&Derivative) -> usize| indices(&derivatives.iter().map(part).collect::<Vec<usize>>(), &device);
        let (weights_of, quotients) = (of(|derivative| derivative.term), of(|derivative| derivative.quotient));
        let values = design_matrix.clone().select(1, quotients);
        let counts = Tensor::<2>::from_data(counts, (&device, dtype));
        Box::new(move |weights| (weights.select(1, weights_of) * values).matmul(counts))
    }

    /// What is not nil among the first derivatives; the place of one is its label.
    fn first_derivatives(&self) -> impl Iterator<Item = Derivative> + '_ {
        let all = self.quotients.iter().enumerate().map(|(entry, (quotient, count))| Derivative {
            term: entry / self.n_labels,
            place: entry % self.n_labels,
            quotient: *quotient,
            count: *count,
        });
        all.filter(|derivative| derivative.count > 0)
    }

    /// The same of the second; the place of d^2 / d l_k d l_m is k n_labels + m.
    fn second_derivatives(&self) -> Vec<Derivative> {
        let again = |first: Derivative| {
            let row = &self.quotients[first.quotient * self.n_labels..(first.quotient + 1) * self.n_labels];
            row.iter().enumerate().map(move |(label, (quotient, count))| Derivative {
                term: first.term,
                place: first.place * self.n_labels + label,
                quotient: *quotient,
                count: first.count * count,
            })
        };
        self.first_derivatives().flat_map(again).filter(|derivative| derivative.count > 0).collect()
    }
}

/// A derivative of a term that is not nil: `count x_quotient`.
#[derive(Debug, Clone, Copy)]
struct Derivative {
    term: usize,
    /// Where it belongs.
    place: usize,
    quotient: usize,
    count: usize,
}

/// From a weight per term, [n_stars, n_terms], the weighted sums of their derivatives, [n_stars, n_places].
type WeightedSum = Box<dyn FnOnce(Tensor<2>) -> Tensor<2>>;

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
        let n_labels = self.n_labels;
        let bend = match self.second_derivatives() {
            // Of order 1 nothing bends.
            nothing if nothing.is_empty() => None,
            second => Some(self.weighted_sum(&terms, second, n_labels * n_labels)),
        };
        TermExpansion {
            derivative: self.derivative(terms.clone()),
            bend: Box::new(move |weights| {
                let [n_stars, n_terms, _] = weights.dims();
                let bent = match bend {
                    Some(bend) => bend(weights.reshape([n_stars, n_terms])),
                    None => Tensor::zeros([n_stars, n_labels * n_labels], (&weights.device(), weights.dtype())),
                };
                bent.reshape([n_stars, n_labels, n_labels])
            }),
            terms,
        }
    }

    fn pull_back(&self, scaled_labels: Tensor<2>) -> TermPullBack {
        let terms = self.design_matrix(scaled_labels);
        // The constant term, which has no weight, is the first.
        let first = self.first_derivatives().map(|derivative| Derivative { term: derivative.term - 1, ..derivative });
        TermPullBack { gradient: self.weighted_sum(&terms, first.collect(), self.n_labels), terms }
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
                for term in 0..n_terms {
                    let one: Vec<f64> = (0..n_terms).map(|other| f64::from(u8::from(other == term))).collect();
                    let expansion = vectorizer.expand(compute.tensor(&labels, [1, 3]));
                    let second = to_f64((expansion.bend)(compute.tensor(&one, [1, n_terms, 1])));
                    for first in 0..3 {
                        let entry = term * 3 + first;
                        let difference = (above[entry] - below[entry]) / (2.0 * h);
                        assert!((second[first * 3 + label] - difference).abs() < 1e-9, "order {order} entry {entry}");
                    }
                }
            }
        }
    }
}
