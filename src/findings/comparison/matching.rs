//! Models of several runs brought onto the same stars and labels, or refused with a count of what differs.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::findings::predictions::Predictions;

/// Catalogue labels that differ by less than this part of their size are equal: tables may round.
const SAME_LABEL: f64 = 1e-6;

/// Predictions under the name of their model.
pub(super) type Named<'a> = (String, &'a Predictions);

/// The predictions of all models for the same stars and labels, in the first one's order, with the same catalogue labels,
/// SNR and truth; what was left out is told in `warnings`.
///
/// # Errors
/// [`Error::Mismatch`] where stars differ and may not, or where no label or star is common; [`Error::TooFewStars`].
pub(super) fn matched(
    all: &[Named],
    allow_different_stars: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Predictions>> {
    let labels = common_labels(all, warnings)?;
    let rows = common_stars(all, &labels, allow_different_stars, warnings)?;
    let mut matched: Vec<Predictions> = all
        .iter()
        .zip(&rows)
        .map(|((_, predictions), rows)| {
            let columns: Vec<usize> = labels.iter().map(|label| position(predictions, label)).collect();
            predictions.select(rows, &columns)
        })
        .collect();
    // One run may know the truth, or the SNR, and another not.
    let truth = matched.iter().find_map(|predictions| predictions.truth.clone());
    let knows_snr = |predictions: &&Predictions| predictions.snr.iter().any(|snr| snr.is_finite());
    let snr = matched.iter().find(knows_snr).map(|predictions| predictions.snr.clone());
    let catalogue = matched.first().map(|predictions| predictions.catalogue.clone());
    for predictions in &mut matched {
        predictions.truth.clone_from(&truth);
        predictions.catalogue.clone_from(catalogue.as_ref().expect("there is a first"));
        snr.iter().for_each(|snr| predictions.snr.clone_from(snr));
    }
    for ((name, _), predictions) in all.iter().zip(&matched) {
        if !predictions.estimates.labels.iter().any(|estimate| estimate.is_finite()) {
            return Err(Error::TooFewStars {
                stage: format!("comparing {name}"),
                n_stars: 0,
                needed: 1,
                remedy: "it has no finite estimate for any of these stars; leave its run out".into(),
            });
        }
    }
    Ok(matched)
}

fn position(predictions: &Predictions, label: &str) -> usize {
    predictions.label_names.iter().position(|known| known == label).expect("the label is common to all")
}

/// The labels that all have, in the first one's order.
fn common_labels(all: &[Named], warnings: &mut Vec<String>) -> Result<Vec<String>> {
    let is_common = |label: &&String| all.iter().all(|(_, predictions)| predictions.label_names.contains(label));
    let first = all.first().map_or(&[][..], |(_, predictions)| &predictions.label_names);
    let labels: Vec<String> = first.iter().filter(is_common).cloned().collect();
    if labels.is_empty() {
        let of = |(name, predictions): &Named| format!("{name} has {}", predictions.label_names.join(", "));
        let detail = format!(
            "no label is common to all ({}); compare runs that learned the same labels",
            all.iter().map(of).collect::<Vec<_>>().join("; ")
        );
        return Err(Error::Mismatch { what: "labels of the runs".into(), detail });
    }
    for (name, predictions) in all {
        let others: Vec<&str> =
            predictions.label_names.iter().filter(|label| !labels.contains(label)).map(String::as_str).collect();
        if !others.is_empty() {
            warnings.push(format!("{} of {name} not compared: not all models have it", others.join(", ")));
        }
    }
    Ok(labels)
}

/// How the stars of one table differ from those of the first.
#[derive(Default)]
struct Differences {
    only_first: usize,
    only_here: usize,
    other_labels: usize,
}

impl Differences {
    fn any(&self) -> bool {
        self.only_first + self.only_here + self.other_labels > 0
    }

    fn words(&self, first: &str, here: &str) -> String {
        let counts = [
            (self.only_first, format!("tested only in {first}")),
            (self.only_here, format!("tested only in {here}")),
            (self.other_labels, format!("with other catalogue labels in {here} than in {first}")),
        ];
        let words = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} stars {what}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// For each table the rows of the stars that all have with the same catalogue labels.
fn common_stars(
    all: &[Named],
    labels: &[String],
    allow_different_stars: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Vec<usize>>> {
    let (first_name, first) = &all[0];
    let keys = star_keys(first);
    // For each star of the first table its row in each table.
    let mut rows: Vec<Option<Vec<usize>>> = (0..first.n_stars()).map(|row| Some(vec![row])).collect();
    for (name, here) in &all[1..] {
        let of_key: HashMap<(&str, usize), usize> =
            star_keys(here).into_iter().enumerate().map(|(row, key)| (key, row)).collect();
        let mut found = Differences { only_here: here.n_stars(), ..Default::default() };
        for (star, (key, slot)) in keys.iter().zip(&mut rows).enumerate() {
            let Some(&row) = of_key.get(key) else {
                found.only_first += 1;
                *slot = None;
                continue;
            };
            found.only_here -= 1;
            let agrees = |label: &String| {
                let [a, b] =
                    [first.catalogue[[star, position(first, label)]], here.catalogue[[row, position(here, label)]]];
                (a.is_nan() && b.is_nan()) || (a - b).abs() <= SAME_LABEL * a.abs().max(b.abs()).max(1.0)
            };
            if labels.iter().all(agrees) {
                slot.iter_mut().for_each(|rows| rows.push(row));
            } else {
                found.other_labels += 1;
                *slot = None;
            }
        }
        if !found.any() {
            continue;
        }
        let words = found.words(first_name, name);
        if !allow_different_stars {
            let detail = format!(
                "{words}; models compare only on the same stars: run them with the same data, selection, split and seed, \
                 or give --allow-different-stars to compare on the common ones"
            );
            return Err(Error::Mismatch { what: "test stars of the runs".into(), detail });
        }
        warnings.push(format!("{words}; left out"));
    }
    let rows: Vec<Vec<usize>> = rows.into_iter().flatten().collect();
    if rows.len() < 2 {
        return Err(Error::TooFewStars {
            stage: "comparing runs".into(),
            n_stars: rows.len(),
            needed: 2,
            remedy: "their tests have too few stars in common; run them on the same data and with the same split"
                .into(),
        });
    }
    if allow_different_stars && rows.len() < first.n_stars() {
        warnings.push(format!("compared on {} common stars of {} in {first_name}", rows.len(), first.n_stars()));
    }
    Ok((0..all.len()).map(|table| rows.iter().map(|star| star[table]).collect()).collect())
}

/// What tells the stars of a table apart: the id, and for one that comes up again, how often it came before.
fn star_keys(predictions: &Predictions) -> Vec<(&str, usize)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let key = |id| {
        let count = seen.entry(id).or_default();
        *count += 1;
        (id, *count - 1)
    };
    predictions.ids.iter().map(String::as_str).map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{noise, predictions};
    use super::*;

    fn try_matching(tables: &[Predictions], allow: bool) -> (Result<Vec<Predictions>>, Vec<String>) {
        let names = ["a/m", "b/m", "c/m"];
        let all: Vec<Named> = names.iter().map(|name| name.to_string()).zip(tables).collect();
        let mut warnings = Vec::new();
        let answer = matched(&all, allow, &mut warnings);
        (answer, warnings)
    }

    #[test]
    fn the_same_stars_in_another_order_are_the_same_stars() {
        let first = predictions(&noise(20, 0));
        let mut turned = first.select(&(0..20).rev().collect::<Vec<_>>(), &[0]);
        turned.truth = None;
        turned.catalogue.mapv_inplace(|label| label * (1.0 + 1e-9));
        let (answer, warnings) = try_matching(&[first.clone(), turned], false);
        let answer = answer.unwrap();
        assert!(warnings.is_empty() && answer[1].ids == first.ids && answer[1].truth == first.truth);
        assert_eq!((&answer[1].estimates.labels, &answer[1].catalogue), (&first.estimates.labels, &first.catalogue));
        // A star observed twice is two stars.
        let twice = first.select(&[0, 0, 1], &[0]);
        assert_eq!(try_matching(&[twice.clone(), twice], false).0.unwrap()[0].n_stars(), 3);
    }

    #[test]
    fn what_differs_is_counted_and_refused_unless_allowed() {
        let first = predictions(&noise(20, 0));
        let mut other = first.select(&(2..20).collect::<Vec<_>>(), &[0]);
        other.ids[0] = "new".into();
        other.catalogue[[5, 0]] += 1.0;
        let tables = [first.clone(), other];
        let refusal = try_matching(&tables, false).0.unwrap_err().to_string();
        for words in [
            "3 stars tested only in a/m",
            "1 stars tested only in b/m",
            "1 stars with other",
            "--allow-different-stars",
        ] {
            assert!(refusal.contains(words), "{refusal}");
        }
        let (answer, warnings) = try_matching(&tables, true);
        let answer = answer.unwrap();
        assert_eq!((answer[0].n_stars(), answer[1].n_stars(), &answer[0].ids), (16, 16, &answer[1].ids));
        assert!(warnings[1].contains("16 common stars of 20"), "{warnings:?}");
        let nothing = [first.select(&[0, 1], &[0]), first.select(&[1, 2], &[0])];
        let refusal = try_matching(&nothing, true).0.unwrap_err().to_string();
        assert!(refusal.contains("1 star left, at least 2 needed"), "{refusal}");
    }

    #[test]
    fn only_common_labels_are_compared_and_a_model_without_estimates_is_named() {
        let first = predictions(&noise(20, 0));
        let mut both = first.select(&(0..20).collect::<Vec<_>>(), &[0, 0]);
        both.label_names[0] = "logg".into();
        let (answer, warnings) = try_matching(&[both.clone(), first.clone()], false);
        assert_eq!(answer.unwrap()[0].label_names, ["teff"]);
        assert_eq!(warnings, ["logg of a/m not compared: not all models have it"]);
        let mut strange = first.clone();
        strange.label_names[0] = "age".into();
        let refusal = try_matching(&[both, strange], false).0.unwrap_err().to_string();
        assert!(refusal.contains("no label is common") && refusal.contains("b/m has age"), "{refusal}");
        let empty = predictions(&[f64::NAN; 20]);
        let refusal = try_matching(&[first, empty], false).0.unwrap_err().to_string();
        assert!(refusal.contains("comparing b/m") && refusal.contains("no finite estimate"), "{refusal}");
    }
}
