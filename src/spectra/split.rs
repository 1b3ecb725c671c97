//! Who trains and who tests: halves and folds drawn by seed and star id, whatever the order of the stars.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[split]` of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Split {
    /// One half trains, the other tests.
    #[default]
    Halves,
    /// Each of k parts is tested by a model trained on the others.
    Folds {
        /// Number of parts.
        #[schemars(range(min = 2, max = 1000))]
        k: usize,
    },
    /// Every star trains and is tested: a check of the machinery, not of the science.
    All,
}

/// One division of the stars, as row numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Rows that train.
    pub training: Vec<usize>,
    /// Rows that test; disjoint from `training`, except for [`Split::All`].
    pub test: Vec<usize>,
}

impl Split {
    /// The folds of a set of stars. Rows with the same id always go together.
    pub fn folds(&self, ids: &[String], seed: u64) -> Vec<Fold> {
        let all: Vec<usize> = (0..ids.len()).collect();
        match *self {
            Self::All => vec![Fold { training: all.clone(), test: all }],
            Self::Halves => {
                let part = parts(ids, seed, 2);
                let (training, test) = all.into_iter().partition(|row| part[*row] == 0);
                vec![Fold { training, test }]
            }
            Self::Folds { k } => {
                let part = parts(ids, seed, k);
                (0..k)
                    .map(|fold| {
                        let (test, training) = all.iter().partition(|row| part[**row] == fold);
                        Fold { training, test }
                    })
                    .collect()
            }
        }
    }
}

impl Fold {
    /// Keeps at most `most` training rows of those that count, and of the others those that come before the last of them: in an
    /// order drawn by seed and star id, so that the rows of a smaller subset are among those of every larger one.
    pub fn limit_training(&mut self, most: usize, ids: &[String], seed: u64, counts: impl Fn(usize) -> bool) {
        if self.training.iter().filter(|row| counts(**row)).count() <= most {
            return;
        }
        draw(&mut self.training, "maury subset of the training rows", seed, |row| &ids[row]);
        let mut n_counted = 0;
        let has_room = |row: &&usize| {
            let has_room = n_counted < most;
            n_counted += usize::from(counts(**row));
            has_room
        };
        let n_kept = self.training.iter().take_while(has_room).count();
        self.training.truncate(n_kept);
        self.training.sort_unstable();
    }
}

/// Some of these rows, evenly among all; all where they are no more than `most`.
pub fn evenly(rows: &[usize], most: usize) -> Vec<usize> {
    let n = rows.len().min(most);
    (0..n).map(|place| rows[place * rows.len() / n]).collect()
}

/// Rows to hold out of a training set, a part of all, drawn by seed and id, whatever their order; ascending.
///
/// At least one row is held out if any is to be, and at least one is left.
pub fn hold_out(ids: &[&str], part: f64, seed: u64) -> Vec<usize> {
    if part <= 0.0 || ids.len() < 2 {
        return Vec::new();
    }
    let mut rows: Vec<usize> = (0..ids.len()).collect();
    let most = ((ids.len() as f64 * part).round() as usize).clamp(1, ids.len() - 1);
    draw(&mut rows, "maury rows held out of the training rows", seed, |row| ids[row]);
    rows.truncate(most);
    rows.sort_unstable();
    rows
}

/// Brings rows into an order drawn by purpose, seed and star id.
pub fn draw<'a>(rows: &mut [usize], purpose: &str, seed: u64, id: impl Fn(usize) -> &'a str) {
    rows.sort_by_cached_key(|row| {
        let hasher = &mut blake3::Hasher::new_derive_key(purpose);
        (*hasher.update(&seed.to_le_bytes()).update(id(*row).as_bytes()).finalize().as_bytes(), *row)
    });
}

/// Part (0..k) of each row: distinct ids in the order of a seeded hash, dealt in turn.
fn parts(ids: &[String], seed: u64, k: usize) -> Vec<usize> {
    let hash =
        |id: &str| *blake3::Hasher::new().update(&seed.to_le_bytes()).update(id.as_bytes()).finalize().as_bytes();
    let order: BTreeMap<([u8; 32], &str), ()> = ids.iter().map(|id| ((hash(id), id.as_str()), ())).collect();
    let part: BTreeMap<&str, usize> = order.keys().enumerate().map(|(rank, (_, id))| (*id, rank % k.max(1))).collect();
    ids.iter().map(|id| part[id.as_str()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("2M{n:08}")).collect()
    }

    proptest! {
        #[test]
        fn folds_partition_the_stars(n in 2_usize..200, k in 2_usize..10, seed in 0_u64..1000) {
            let ids = ids(n);
            let mut tested = vec![0; n];
            for fold in (Split::Folds { k }).folds(&ids, seed) {
                prop_assert_eq!(fold.training.len() + fold.test.len(), n);
                for row in fold.test {
                    tested[row] += 1;
                    prop_assert!(!fold.training.contains(&row));
                }
            }
            prop_assert!(tested.iter().all(|count| *count == 1));
        }
    }

    #[test]
    fn rows_that_do_not_count_come_with_those_that_do() {
        let ids = ids(200);
        let limited = |most: usize| {
            let mut fold = Split::Halves.folds(&ids, 5).remove(0);
            fold.limit_training(most, &ids, 5, |row| row % 3 > 0);
            let n_counting = fold.training.iter().filter(|row| *row % 3 > 0).count();
            (n_counting, fold.training.len() - n_counting)
        };
        let (all, others) = limited(100);
        let (half, others_of_half) = limited(all / 2);
        assert_eq!((all + others, half), (100, all / 2));
        assert!((others / 4..others * 3 / 4).contains(&others_of_half), "{others_of_half} of {others}");
    }

    #[test]
    fn subsets_of_the_training_rows_are_nested_random_and_leave_the_test_rows_alone() {
        let ids = ids(200);
        let whole = Split::Halves.folds(&ids, 5).remove(0);
        let subset = |most: usize, seed: u64| {
            let mut fold = whole.clone();
            fold.limit_training(most, &ids, seed, |_| true);
            assert_eq!(fold.test, whole.test);
            fold.training
        };
        let sizes = [0, 1, 10, 50, 99, 100, 5000];
        for pair in sizes.windows(2) {
            let (small, large) = (subset(pair[0], 5), subset(pair[1], 5));
            assert_eq!((small.len(), large.len()), (pair[0].min(100), pair[1].min(100)));
            assert!(small.iter().all(|row| large.contains(row)) && large.is_sorted());
        }
        assert_eq!(subset(5000, 5), whole.training);
        assert_ne!(subset(10, 5), subset(10, 6));
        assert_ne!(subset(10, 5), whole.training[..10]);
    }

    #[test]
    fn rows_held_out_follow_their_stars_and_the_seed() {
        let ids = ids(40);
        let forward: Vec<&str> = ids.iter().map(String::as_str).collect();
        let backward: Vec<&str> = forward.iter().rev().copied().collect();
        let names = |ids: &[&str], seed| -> std::collections::BTreeSet<String> {
            hold_out(ids, 0.15, seed).into_iter().map(|row| ids[row].to_string()).collect()
        };
        assert_eq!(names(&forward, 1), names(&backward, 1));
        assert_eq!(names(&forward, 1).len(), 6);
        assert_ne!(names(&forward, 1), names(&forward, 2));
        assert_eq!((hold_out(&forward, 0.0, 1).len(), hold_out(&forward[..2], 0.9, 1).len()), (0, 1));
    }

    #[test]
    fn the_split_of_a_star_does_not_depend_on_its_row() {
        let forward = ids(101);
        let backward: Vec<String> = forward.iter().rev().cloned().collect();
        let names = |ids: &[String]| {
            let fold = Split::Halves.folds(ids, 7).remove(0);
            let mut training: Vec<String> = fold.training.iter().map(|row| ids[*row].clone()).collect();
            training.sort();
            training
        };
        assert_eq!(names(&forward), names(&backward));
        assert_eq!(names(&forward).len(), 51);
        assert_ne!(Split::Halves.folds(&forward, 1), Split::Halves.folds(&forward, 2));
    }

    #[test]
    fn spectra_of_one_star_stay_together() {
        let mut ids = ids(20);
        ids.extend(ids.clone());
        let fold = Split::Halves.folds(&ids, 3).remove(0);
        for row in &fold.training {
            assert!(fold.training.contains(&((row + 20) % 40)));
        }
    }

    #[test]
    fn rows_are_taken_evenly() {
        let rows = [3, 5, 7, 9, 11];
        assert_eq!((evenly(&rows, 2), evenly(&rows, 4)), (vec![3, 7], vec![3, 5, 7, 9]));
        assert_eq!((evenly(&rows, 5), evenly(&rows, 9), evenly(&[], 2)), (rows.to_vec(), rows.to_vec(), vec![]));
    }
}
