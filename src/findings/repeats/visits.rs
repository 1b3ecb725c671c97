//! Labels of single visits as `maury label --visits` leaves them, and which of the visits count.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use ndarray::Array2;
use serde::Serialize;

use crate::data::table::Table;
use crate::data::value::Value;
use crate::error::Result;
use crate::spectra::quality::star_flags;
use crate::spectra::star_table::{estimated_labels, flags_if_any, label_columns, numbers_if_any};

/// A visit with one of these has no labels that could be held against those of others; in the order in which they are told.
const NO_LABELS: [i64; 3] = [star_flags::UNREADABLE, star_flags::NO_DATA, star_flags::NOT_CONVERGED];
/// Two spectra whose labels differ by less than this share of their errors are one: chance brings visits so near in no two labels.
const SAME: f64 = 1e-4;
/// How the archive and maury call files of coadds.
const COADDS: [&str; 5] = ["apStar", "asStar", "stStar", "mwmStar", "aspcapStar"];

/// Labels of single visits, a row for each.
#[derive(Debug, Clone, PartialEq)]
pub struct VisitLabels {
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// The star of each visit.
    pub ids: Vec<String>,
    /// What each visit's spectrum is called: its file, with the visit in brackets.
    pub files: Vec<String>,
    /// Signal-to-noise ratio per pixel; NaN where unknown.
    pub snr: Vec<f64>,
    /// The night, as modified Julian date; NaN where unknown.
    pub nights: Vec<f64>,
    /// Flags of spectrum and fit.
    pub flags: Vec<i64>,
    /// Whether they are known: without them bad fits count as any others.
    pub has_flags: bool,
    /// The labels, [n_visits, n_labels]; NaN where there is none.
    pub labels: Array2<f64>,
    /// Their formal errors, [n_visits, n_labels]; NaN where there is none.
    pub errors: Array2<f64>,
    /// Their calibrated errors, [n_visits, n_labels]; NaN where the model has no calibration.
    pub calibrated: Array2<f64>,
}

impl VisitLabels {
    /// Number of visits.
    pub fn n_visits(&self) -> usize {
        self.ids.len()
    }

    /// Reads a table of labels: `id`, and for each label `<label>_estimate`, `<label>_error` and, where there is one,
    /// `<label>_error_calibrated`; `snr`, `file`, `mjd` and `flags` where it has them.
    ///
    /// # Errors
    /// Those of reading a table; [`MissingColumn`](crate::error::Error::MissingColumn); [`Format`](crate::error::Error::Format) without a single label.
    pub fn read(path: &Path) -> Result<Self> {
        let mut table = Table::open(path)?;
        let rows = 0..table.n_rows();
        let remedy = "is this a table that `maury label --visits` wrote?";
        let label_names = estimated_labels(&table, remedy)?;
        let ids = table.identifiers("id", rows.clone(), remedy)?;
        let files = match table.has("file") {
            true => table.texts("file", rows.clone(), remedy)?,
            false => vec![String::new(); rows.len()],
        };
        let nights = match table.has("mjd") {
            true => table.values("mjd", rows.clone(), remedy)?.iter().map(Value::as_f64).collect(),
            false => vec![f64::NAN; rows.len()],
        };
        let (snr, has_flags) = (numbers_if_any(&mut table, "snr")?, table.has("flags"));
        let flags = flags_if_any(&mut table)?;
        let mut matrix = |ending| label_columns(&mut table, &label_names, ending, None);
        let (labels, errors, calibrated) = (matrix("estimate")?, matrix("error")?, matrix("error_calibrated")?);
        table.say_remarks();
        Ok(Self { label_names, ids, files, snr, nights, flags, has_flags, labels, errors, calibrated })
    }

    /// The file that holds a visit's spectrum, without the visit.
    fn file(&self, visit: usize) -> &str {
        let name = self.files[visit].as_str();
        name.strip_suffix(']').and_then(|name| name.rsplit_once('[')).map_or(name, |(file, _)| file)
    }

    /// Whether a row is of a coadd, as far as the name of its file tells: no visit stands in brackets behind it.
    fn is_coadd(&self, row: usize) -> bool {
        let of_visit = self.files[row].strip_prefix(self.file(row)).is_some_and(|part| part.contains("visit "));
        let name = self.file(row).rsplit(['/', '\\']).next().unwrap_or_default();
        !of_visit && COADDS.iter().any(|begins| name.starts_with(begins))
    }

    /// What the table leaves in doubt about the visits that count, in words.
    pub(super) fn doubts(&self, stars: &[Vec<usize>]) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.has_flags {
            doubts.push(
                "the table has no column flags: which fits are bad is unknown, and none is left out for it".into(),
            );
        }
        let n_coadds = stars.iter().flatten().filter(|row| self.is_coadd(**row)).count();
        if n_coadds > 0 {
            doubts.push(format!(
                "{n_coadds} of the rows are of coadds, by the names of their files, and a coadd is no visit: its noise is that of all its \
                 visits; label these by `maury label --visits`"
            ));
        }
        doubts
    }

    /// Whether two rows are labels of one spectrum.
    fn is_same(&self, a: usize, b: usize) -> bool {
        let is_same_snr = self.snr[a] == self.snr[b] || (self.snr[a].is_nan() && self.snr[b].is_nan());
        let is_near = |k: usize| {
            let (x, y) = (self.labels[[a, k]], self.labels[[b, k]]);
            let error = self.errors[[a, k]].min(self.errors[[b, k]]);
            (x - y).abs() <= if error.is_finite() { SAME * error } else { 0.0 }
        };
        is_same_snr && (0..self.label_names.len()).all(is_near)
    }
}

/// Visits that were not held against others, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Without labels that could be believed, by the flag that says so.
    pub flagged: BTreeMap<&'static str, usize>,
    /// Of a star that has no name.
    pub nameless: usize,
    /// The same spectrum once more: of one star and night in two files, or with the very labels of another row.
    pub again: usize,
    /// The only visit of its star that is left.
    pub alone: usize,
}

/// The visits that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Rows of the visits of each star that has two or more, in their order.
    pub stars: Vec<Vec<usize>>,
    /// The others.
    pub left_out: LeftOut,
}

/// Groups visits by star and leaves out those that tell nothing of noise. Visits flagged `BAD_FIT` stay if `keeps_bad_fits`.
pub fn select(visits: &VisitLabels, keeps_bad_fits: bool) -> Selected {
    let mut left_out = LeftOut::default();
    let mut by_star: Vec<Vec<usize>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let bad = if keeps_bad_fits { 0 } else { star_flags::BAD_FIT };
    for visit in 0..visits.n_visits() {
        let has_labels = visits.labels.row(visit).iter().any(|label| label.is_finite());
        let flags = visits.flags[visit] | if has_labels { 0 } else { star_flags::NO_DATA };
        if let Some(flag) = NO_LABELS.into_iter().chain([bad]).find(|flag| flags & flag != 0) {
            let name = star_flags::NAMES.iter().find(|(bit, _)| *bit == flag).map_or("", |(_, name)| name);
            *left_out.flagged.entry(name).or_default() += 1;
        } else if visits.ids[visit].is_empty() {
            left_out.nameless += 1;
        } else {
            let place = *places.entry(&visits.ids[visit]).or_insert(by_star.len());
            if place == by_star.len() {
                by_star.push(Vec::new());
            }
            by_star[place].push(visit);
        }
    }
    let mut stars = Vec::new();
    for rows in by_star {
        let kept = without_doubles(visits, &rows);
        left_out.again += rows.len() - kept.len();
        match kept.len() {
            1 => left_out.alone += 1,
            _ => stars.push(kept),
        }
    }
    Selected { stars, left_out }
}

/// Each spectrum of a star once, where it comes first.
fn without_doubles(visits: &VisitLabels, rows: &[usize]) -> Vec<usize> {
    let mut files_by_night: HashMap<u64, &str> = HashMap::new();
    let mut kept: Vec<usize> = rows.to_vec();
    // An apStar and an mwmVisit hold the same visits; two visits in one night are two in one file.
    kept.retain(|visit| {
        let night = visits.nights[*visit];
        night.is_nan() || *files_by_night.entry(night.to_bits()).or_insert(visits.file(*visit)) == visits.file(*visit)
    });
    // Equal labels are neighbours in the order of the first of them.
    let mut sorted = kept.clone();
    sorted.sort_by(|a, b| visits.labels[[*a, 0]].total_cmp(&visits.labels[[*b, 0]]).then(a.cmp(b)));
    let doubles: HashSet<usize> =
        sorted.windows(2).filter(|pair| visits.is_same(pair[0], pair[1])).map(|pair| pair[0].max(pair[1])).collect();
    kept.retain(|visit| !doubles.contains(visit));
    kept
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::fits::Column;
    use crate::spectra::star_table::write_table;

    /// Visits of one label with formal errors of 1, as (star, file, night, label).
    pub(in crate::findings::repeats) fn visits(rows: &[(&str, &str, f64, f64)]) -> VisitLabels {
        let n = rows.len();
        VisitLabels {
            label_names: vec!["teff".into()],
            ids: rows.iter().map(|row| row.0.into()).collect(),
            files: rows.iter().map(|row| row.1.into()).collect(),
            snr: vec![80.0; n],
            nights: rows.iter().map(|row| row.2).collect(),
            flags: vec![0; n],
            has_flags: true,
            labels: Array2::from_shape_fn((n, 1), |(visit, _)| rows[visit].3),
            errors: Array2::ones((n, 1)),
            calibrated: Array2::from_elem((n, 1), f64::NAN),
        }
    }

    const NO_NIGHT: f64 = f64::NAN;

    #[test]
    fn visits_are_grouped_by_star_and_the_others_counted() {
        let mut of = visits(&[
            ("a", "a.fits[visit 1]", 1.0, 10.0),
            ("b", "b.fits[visit 1]", 1.0, 20.0),
            ("a", "a.fits[visit 2]", 2.0, 11.0),
            ("c", "c.fits", 1.0, f64::NAN),
            ("", "d.fits", 1.0, 5.0),
            ("a", "a.fits[visit 3]", 3.0, 12.0),
            ("b", "b.fits[visit 2]", 2.0, 21.0),
        ]);
        of.flags[6] = star_flags::BAD_FIT;
        of.flags[5] = star_flags::UNREADABLE | star_flags::NO_DATA;
        let Selected { stars, left_out } = select(&of, false);
        assert_eq!(stars, [vec![0, 2]]);
        let flagged = BTreeMap::from([("BAD_FIT", 1), ("NO_DATA", 1), ("UNREADABLE", 1)]);
        assert_eq!(left_out, LeftOut { flagged, nameless: 1, again: 0, alone: 1 });
        assert_eq!(select(&of, true).stars, [vec![0, 2], vec![1, 6]]);
    }

    #[test]
    fn a_spectrum_counts_once_however_often_it_is_given() {
        let same = |rows: &[(&str, &str, f64, f64)]| {
            let selected = select(&visits(rows), false);
            (selected.stars.concat(), selected.left_out.again)
        };
        // One night in two files, whatever these make of it; two visits in one night of one file are two.
        let two_files = [
            ("a", "apStar.fits[visit 1]", 1.0, 10.0),
            ("a", "apStar.fits[visit 2]", 1.0, 11.0),
            ("a", "mwmVisit.fits[APOGEE/APO visit 1]", 1.0, 10.3),
            ("a", "mwmVisit.fits[APOGEE/APO visit 3]", 7.0, 10.5),
        ];
        assert_eq!(same(&two_files), (vec![0, 1, 3], 1));
        // A copy, of which nobody knows the night.
        let copies = [
            ("a", "flux.npy[0]", NO_NIGHT, 10.0),
            ("a", "flux.npy[1]", NO_NIGHT, 10.7),
            ("a", "flux.npy[2]", NO_NIGHT, 10.000_01),
            ("a", "flux.npy[3]", NO_NIGHT, 10.001),
        ];
        assert_eq!(same(&copies), (vec![0, 1, 3], 1));
    }

    #[test]
    fn coadds_are_told_from_visits_by_their_files() {
        let of = visits(&[
            ("a", "dr17/apStar-dr17-2M0.fits", 1.0, 10.0),
            ("a", "mwmStar-0.6.0-1.fits[APOGEE/LCO]", 2.0, 11.0),
            ("a", "apStar-dr17-2M0.fits[visit 2]", 3.0, 12.0),
            ("a", "mwmVisit-0.6.0-1.fits[APOGEE/APO visit 3]", 4.0, 13.0),
            ("a", "flux.npy[3]", 5.0, 14.0),
            ("a", "", 6.0, 15.0),
        ]);
        let told = of.doubts(&[(0..6).collect()]).concat();
        assert!(told.starts_with("2 of the rows are of coadds") && told.contains("--visits"), "{told}");
        assert!(of.doubts(&[(2..6).collect()]).is_empty());
    }

    #[test]
    fn tables_are_read_as_label_wrote_them_and_others_refused() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("visits");
        let columns = [
            Column::text("id", vec!["a".into(), "a".into()]),
            Column::text("file", vec!["a.fits[visit 1]".into(), "a.fits[visit 2]".into()]),
            Column::f64("snr", "", vec![80.0, 60.0]),
            Column::i64("mjd", vec![57_000, 57_001]),
            Column::f64("teff_estimate", "K", vec![4500.0, 4510.0]),
            Column::f64("teff_error", "K", vec![5.0, 7.0]),
            Column::f64("teff_error_calibrated", "K", vec![50.0, 51.0]),
            Column::i64("flags", vec![0, 32]),
        ];
        write_table(&stem, "LABELS", &columns).unwrap();
        for ending in ["fits", "csv"] {
            let read = VisitLabels::read(&folder.path().join(format!("visits.{ending}"))).unwrap();
            assert_eq!((read.n_visits(), read.file(1), read.nights[1]), (2, "a.fits", 57_001.0));
            let numbers = [read.labels[[1, 0]], read.errors[[1, 0]], read.calibrated[[1, 0]], read.snr[1]];
            assert_eq!((numbers, read.flags[1]), ([4510.0, 7.0, 51.0, 60.0], 32));
        }
        // The least there must be.
        write_table(&stem, "LABELS", &[columns[0].clone(), columns[4].clone()]).unwrap();
        let least = VisitLabels::read(&folder.path().join("visits.fits")).unwrap();
        assert!(least.snr[0].is_nan() && least.errors[[0, 0]].is_nan() && least.flags == [0, 0]);
        assert!(least.doubts(&[vec![0, 1]]).concat().contains("no column flags"));
        for (kept, said) in [(0..4, "no column <label>_estimate"), (1..6, "no column id")] {
            write_table(&stem, "LABELS", &columns[kept]).unwrap();
            let refusal = VisitLabels::read(&folder.path().join("visits.fits")).unwrap_err().to_string();
            assert!(refusal.contains(said) && refusal.contains("maury label --visits"), "{refusal}");
        }
    }
}
