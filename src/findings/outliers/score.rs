//! Verdicts held against what a mock survey planted: the only place where the truth is looked at.

use std::collections::BTreeMap;

use serde::Serialize;

use super::verdict::Verdict;
use crate::findings::groups::HEALTHY;

/// What a planted star is called that is no outlier: nothing had to be explained.
pub const NOT_LISTED: &str = "not-listed";

/// How verdicts and planted faults agree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Test stars by what was planted, and by verdict; `not-listed` are those that do not deviate enough.
    pub confusion: BTreeMap<String, BTreeMap<&'static str, usize>>,
    /// Test stars that do not deviate by what was planted, and by what their spectra alone were found guilty of; a key
    /// `none` stands for nothing.
    pub confusion_of_others: BTreeMap<String, BTreeMap<&'static str, usize>>,
    /// By planted fault.
    pub faults: BTreeMap<String, FaultScore>,
    /// Part of the outliers with a planted fault that were given its name.
    pub accuracy_of_planted: f64,
    /// Part of all outliers that were given the planted fault's name, or, without a fault, that of no fault of the star.
    pub accuracy: f64,
}

/// How well one kind of fault is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FaultScore {
    /// Test stars with it.
    pub n_planted: usize,
    /// Those of them that are outliers.
    pub n_listed: usize,
    /// Those of the listed that have its name for a verdict.
    pub n_named: usize,
    /// Outliers that have its name for a verdict, rightly or not.
    pub n_verdicts: usize,
    /// `n_named` of `n_listed`; null where there is none.
    pub recall: f64,
    /// `n_named` of `n_verdicts`; null where there is none.
    pub precision: f64,
}

impl Score {
    /// Scores verdicts, one per test star and `None` where it is no outlier, against the pathologies' tags, empty for a
    /// healthy star. `spectra` are the verdicts on the spectra of stars that are no outliers.
    pub(super) fn new(verdicts: &[Option<Verdict>], spectra: &[Option<Verdict>], pathology: &[String]) -> Self {
        let all = verdicts.iter().copied().zip(pathology);
        let confusion = table(all.clone(), NOT_LISTED);
        let others = all.zip(spectra).filter(|((verdict, _), _)| verdict.is_none());
        let confusion_of_others = table(others.map(|((_, tag), spectrum)| (*spectrum, tag)), "none");
        let is_right = |verdict: Verdict, tag: &str| match is_fault(tag) {
            false => !verdict.is_fault_of_star(),
            true => name_of(tag) == verdict.name(),
        };
        let listed: Vec<(Verdict, &str)> =
            verdicts.iter().zip(pathology).filter_map(|(verdict, tag)| Some(((*verdict)?, tag.as_str()))).collect();
        let part = |stars: &[(Verdict, &str)]| {
            let right = stars.iter().filter(|(verdict, tag)| is_right(*verdict, tag)).count();
            right as f64 / stars.len() as f64
        };
        let planted: Vec<(Verdict, &str)> = listed.iter().copied().filter(|(_, tag)| is_fault(tag)).collect();
        let tags: Vec<&String> = confusion.keys().filter(|tag| is_fault(tag)).collect();
        let faults = tags.into_iter().map(|tag| {
            let count = |of: &dyn Fn(&(Verdict, &str)) -> bool| listed.iter().filter(|star| of(star)).count();
            let name = name_of(tag);
            let n_listed = count(&|(_, other)| other == tag);
            let n_named = count(&|(verdict, other)| other == tag && verdict.name() == name);
            let n_verdicts = count(&|(verdict, _)| verdict.name() == name);
            let score = FaultScore {
                n_planted: pathology.iter().filter(|other| *other == tag).count(),
                n_listed,
                n_named,
                n_verdicts,
                recall: n_named as f64 / n_listed as f64,
                precision: n_named as f64 / n_verdicts as f64,
            };
            (tag.clone(), score)
        });
        let faults = faults.collect();
        Self { faults, accuracy_of_planted: part(&planted), accuracy: part(&listed), confusion, confusion_of_others }
    }
}

/// Whether there is a verdict for stars with this tag; a second spectrum of a star, for one, is no fault.
fn is_fault(tag: &str) -> bool {
    Verdict::ALL.iter().any(|verdict| verdict.name() == name_of(tag))
}

/// Stars by tag and verdict.
fn table<'a>(
    stars: impl Iterator<Item = (Option<Verdict>, &'a String)>,
    without: &'static str,
) -> BTreeMap<String, BTreeMap<&'static str, usize>> {
    let mut table: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
    for (verdict, tag) in stars {
        let row = table.entry(if tag.is_empty() { HEALTHY } else { tag }.to_string()).or_default();
        *row.entry(verdict.map_or(without, Verdict::name)).or_default() += 1;
    }
    table
}

/// The verdict's name that belongs to a pathology's tag.
fn name_of(tag: &str) -> String {
    tag.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_counts_rows_columns_and_what_was_missed() {
        use Verdict::{Binary, LocalMinimum, WrongLabel};
        let verdicts = [Some(Binary), Some(WrongLabel), None, Some(WrongLabel), Some(LocalMinimum), Some(Binary), None];
        let tags = ["binary", "binary", "binary", "wrong_label", "", "", ""].map(String::from);
        let mut spectra = [None; 7];
        spectra[2] = Some(Binary);
        let score = Score::new(&verdicts, &spectra, &tags);
        assert_eq!(score.confusion_of_others["binary"], BTreeMap::from([("binary", 1)]));
        assert_eq!(score.confusion_of_others[HEALTHY], BTreeMap::from([("none", 1)]));
        assert_eq!(score.confusion["binary"], BTreeMap::from([("binary", 1), ("wrong-label", 1), (NOT_LISTED, 1)]));
        assert_eq!(score.confusion[HEALTHY], BTreeMap::from([("local-minimum", 1), ("binary", 1), (NOT_LISTED, 1)]));
        let binary = score.faults["binary"];
        assert_eq!((binary.n_planted, binary.n_listed, binary.n_named, binary.n_verdicts), (3, 2, 1, 2));
        assert_eq!((binary.recall, binary.precision), (0.5, 0.5));
        assert_eq!(score.faults["wrong_label"].precision, 0.5);
        assert_eq!((score.accuracy_of_planted, score.accuracy), (2.0 / 3.0, 3.0 / 5.0));
        // What is no fault has no name to be given.
        let second = Score::new(&[Some(LocalMinimum)], &[None], &["duplicate".to_string()]);
        assert!(second.faults.is_empty() && second.accuracy == 1.0 && second.accuracy_of_planted.is_nan());
        // Nothing listed: nothing to divide by.
        let none = Score::new(&[None], &[None], &["binary".to_string()]);
        assert!(none.accuracy.is_nan() && none.faults["binary"].recall.is_nan());
        assert!(serde_json::to_value(&none).unwrap()["accuracy"].is_null());
    }
}
