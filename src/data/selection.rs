//! Which catalogue stars enter an experiment: cuts from TOML, each with the number of stars it removes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalogue::{Catalogue, Naming, Wanted, column_of};
use super::fits::find_column;
use super::label_source::is_known;
use super::table::Table;
use crate::error::{Result, number_text};

/// `[selection]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Fields to keep, as spelt in the catalogue; empty keeps all.
    pub fields: Vec<String>,
    /// Ranges of `snr` or of any label that a star must lie in.
    pub ranges: BTreeMap<String, LabelRange>,
    /// Columns of yes or no, such as Astra's `flag_bad`: a star for which one says yes is removed.
    pub reject_marked: Vec<String>,
    /// A star with any of these APOGEE_STARFLAG bits is removed; they are those of Astra's `spectrum_flags`.
    #[schemars(inner(range(max = 62)))]
    pub reject_starflag_bits: Vec<u8>,
    /// A star with any of these APOGEE_ASPCAPFLAG bits is removed.
    #[schemars(inner(range(max = 62)))]
    pub reject_aspcapflag_bits: Vec<u8>,
    /// Keep stars that lack one of the labels (training skips them; they are labelled all the same).
    pub keep_missing_labels: bool,
    /// Of several rows with one id, or one `sdss_id`, keep the one of highest SNR; the first, where the table has no SNR.
    pub deduplicate: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            fields: Vec::new(),
            ranges: BTreeMap::new(),
            reject_marked: Vec::new(),
            reject_starflag_bits: Vec::new(),
            reject_aspcapflag_bits: Vec::new(),
            keep_missing_labels: false,
            deduplicate: true,
        }
    }
}

/// Bounds, each inclusive and optional.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelRange {
    /// Smallest value kept.
    pub min: Option<f64>,
    /// Largest value kept.
    pub max: Option<f64>,
}

impl LabelRange {
    /// Whether `value` lies inside; NaN never does.
    pub fn holds(&self, value: f64) -> bool {
        !value.is_nan() && self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// One step of a selection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// What was asked of a star.
    pub name: String,
    /// Stars removed by this step (of those that passed the steps before it).
    pub removed: usize,
    /// Stars left after it.
    pub left: usize,
}

/// Reads a catalogue block by block and keeps the stars that pass every cut.
///
/// Memory holds one block of a FITS table, or the columns asked for of any other, and the stars kept so far.
///
/// # Errors
/// File errors; [`crate::error::Error::MissingColumn`]; [`crate::error::Error::Format`] where Teff or log g of the table,
/// whatever the cuts leave, are in another unit.
pub fn select<'a>(
    path: &Path,
    naming: impl Into<Naming<'a>>,
    labels: &[String],
    selection: &Selection,
) -> Result<(Catalogue, Vec<Cut>)> {
    let naming: Naming = naming.into();
    let mut table = Table::open(path)?;
    // Cuts may name labels beyond the experiment's own; they are read behind them and dropped at the end.
    let mut columns = labels.to_vec();
    columns.extend(selection.ranges.keys().filter(|name| *name != "snr" && !labels.contains(name)).cloned());
    let place = |key: &str| column_of(&table, naming.columns, key);
    let needed = [
        (place("field"), !selection.fields.is_empty()),
        (place("snr"), selection.ranges.contains_key("snr") && naming.columns.of("snr").is_none()),
        (place("starflag"), !selection.reject_starflag_bits.is_empty()),
        (place("aspcapflag"), !selection.reject_aspcapflag_bits.is_empty()),
    ];
    for (column, _) in needed.iter().filter(|(_, needed)| *needed) {
        let remedy = "a cut in [selection] asks for it; name its column in [data.columns], or remove that cut";
        find_column(table.path(), table.names(), column, remedy)?;
    }
    for column in columns[labels.len()..].iter().filter(|column| !is_known(&table, naming.columns, column)) {
        find_column(
            table.path(),
            table.names(),
            column,
            "selection.ranges asks for it; name a column of this table there or in [data.columns], or remove that cut",
        )?;
    }
    for column in &selection.reject_marked {
        let remedy = "selection.reject_marked asks for it; name a column of yes or no of this table there";
        find_column(table.path(), table.names(), column, remedy)?;
    }
    let wanted = Wanted {
        naming,
        labels: &columns,
        with_flags: !(selection.reject_starflag_bits.is_empty() && selection.reject_aspcapflag_bits.is_empty()),
        marks: &selection.reject_marked,
    };
    let steps = steps(selection, labels.len(), &columns);
    let mut removed = vec![0; steps.len()];
    let mut kept = Catalogue::default();
    let n_rows = table.n_rows();
    for rows in table.blocks() {
        let block = Catalogue::read_block(&mut table, &wanted, rows)?;
        for row in 0..block.len() {
            match steps.iter().position(|(_, passes)| !passes(&block, row)) {
                Some(step) => removed[step] += 1,
                None => kept.push_row(&block, row),
            }
        }
    }
    table.say_remarks();
    kept.labels.iter_mut().chain(&mut kept.label_errors).for_each(|row| row.truncate(labels.len()));
    kept.marks.iter_mut().for_each(Vec::clear);

    let mut left = n_rows;
    let mut cuts = vec![Cut { name: "rows in the catalogue".into(), removed: 0, left }];
    for ((name, _), removed) in steps.into_iter().zip(removed) {
        left -= removed;
        cuts.push(Cut { name, removed, left });
    }
    if selection.deduplicate {
        let unique = highest_snr_of_each_star(&kept);
        let removed = kept.len() - unique.len();
        kept = kept.rows(&unique);
        let has_none = !kept.is_empty() && kept.snr.iter().all(|snr| snr.is_nan());
        let by = if has_none { "the first, without SNR" } else { "highest SNR" };
        cuts.push(Cut { name: format!("one spectrum per star ({by})"), removed, left: kept.len() });
    }
    Ok((kept, cuts))
}

type Step<'a> = (String, Box<dyn Fn(&Catalogue, usize) -> bool + 'a>);

fn steps<'a>(selection: &'a Selection, n_labels: usize, columns: &[String]) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    if !selection.fields.is_empty() {
        let name = format!("field is {}", selection.fields.join(", "));
        steps.push((name, Box::new(|stars, row| selection.fields.contains(&stars.field[row]))));
    }
    if !selection.keep_missing_labels {
        let name = "has every label".to_string();
        steps.push((name, Box::new(move |stars, row| stars.labels[row][..n_labels].iter().all(|v| v.is_finite()))));
    }
    for (name, range) in &selection.ranges {
        let described = describe(name, range);
        if name == "snr" {
            steps.push((described, Box::new(|stars, row| range.holds(stars.snr[row]))));
        } else if let Some(column) = columns.iter().position(|known| known == name) {
            steps.push((described, Box::new(move |stars, row| range.holds(stars.labels[row][column]))));
        }
    }
    for (mark, name) in selection.reject_marked.iter().enumerate() {
        steps.push((format!("not {name}"), Box::new(move |stars, row| !stars.marks[row][mark])));
    }
    let starflag = bit_mask(&selection.reject_starflag_bits);
    if starflag != 0 {
        let name = format!("no STARFLAG bit of {:?}", selection.reject_starflag_bits);
        steps.push((name, Box::new(move |stars, row| stars.starflag[row] & starflag == 0)));
    }
    let aspcapflag = bit_mask(&selection.reject_aspcapflag_bits);
    if aspcapflag != 0 {
        let name = format!("no ASPCAPFLAG bit of {:?}", selection.reject_aspcapflag_bits);
        steps.push((name, Box::new(move |stars, row| stars.aspcapflag[row] & aspcapflag == 0)));
    }
    steps
}

fn describe(name: &str, range: &LabelRange) -> String {
    match (range.min, range.max) {
        (Some(min), Some(max)) => format!("{} <= {name} <= {}", number_text(min), number_text(max)),
        (Some(min), None) => format!("{name} >= {}", number_text(min)),
        (None, Some(max)) => format!("{name} <= {}", number_text(max)),
        (None, None) => format!("{name} is known"),
    }
}

/// The integer with these bits set; bits above 62 are ignored (no survey flag uses them).
pub fn bit_mask(bits: &[u8]) -> i64 {
    bits.iter().filter(|bit| **bit < 63).fold(0, |mask, bit| mask | (1_i64 << bit))
}

/// Of the rows of each star the one of highest SNR, of equal ones and where none has any the first. Rows are of one star if they share an `sdss_id`, or an id where one has none.
fn highest_snr_of_each_star(stars: &Catalogue) -> Vec<usize> {
    let by_id: HashMap<&str, i64> =
        (0..stars.len()).filter_map(|row| Some((stars.id[row].as_str(), stars.astra[row].sdss_id?))).collect();
    let mut best: HashMap<(Option<i64>, &str), usize> = HashMap::new();
    for row in 0..stars.len() {
        let id = stars.id[row].as_str();
        let star = match stars.astra[row].sdss_id.or(by_id.get(id).copied()) {
            Some(sdss_id) => (Some(sdss_id), ""),
            None => (None, id),
        };
        let slot = best.entry(star).or_insert(row);
        let (new, old) = (stars.snr[row], stars.snr[*slot]);
        if new > old || (old.is_nan() && !new.is_nan()) {
            *slot = row;
        }
    }
    let mut rows: Vec<usize> = best.into_values().collect();
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::columns::ColumnNames;

    #[test]
    fn cuts_are_counted_one_after_the_other_and_the_best_duplicate_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        let rows = "apogee_id,field,snr,teff,logg,starflag\n\
                    a,M15,100,4500,2,0\na,M15,200,4510,2,0\nb,M15,40,4500,2,0\nc,other,90,4500,2,0\n\
                    d,M15,90,-9999,2,0\ne,M15,90,4500,4.5,0\nf,M15,90,4500,4,8\n";
        std::fs::write(&path, rows).unwrap();
        let selection = Selection {
            fields: vec!["M15".into()],
            ranges: BTreeMap::from([
                ("logg".to_string(), LabelRange { min: None, max: Some(4.0) }),
                ("snr".to_string(), LabelRange { min: Some(50.0), max: None }),
            ]),
            reject_starflag_bits: vec![3],
            ..Selection::default()
        };
        let (stars, cuts) = select(&path, "APOGEE_ID", &["teff".to_string()], &selection).unwrap();
        assert_eq!(stars.id, ["a"]);
        assert_eq!(stars.labels, [[4510.0]]);
        let counts: Vec<_> = cuts.iter().map(|cut| (cut.removed, cut.left)).collect();
        assert_eq!(counts, [(0, 7), (1, 6), (1, 5), (1, 4), (1, 3), (1, 2), (1, 1)]);
    }

    #[test]
    fn a_catalogue_in_kilokelvin_is_refused_whatever_its_cuts_leave() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        let rows: String = (0..12).map(|row| format!("s{row},{}\n", 4.0 + 0.1 * f64::from(row))).collect();
        std::fs::write(&path, format!("id,t\n{rows}")).unwrap();
        let ranges = BTreeMap::from([("teff".to_string(), LabelRange { min: Some(4000.0), max: None })]);
        let (labels, selection) = (["teff".to_string()], Selection { ranges, ..Selection::default() });
        let select = |columns: &str| {
            let columns: ColumnNames = toml::from_str(columns).unwrap();
            select(&path, Naming { id_column: "", columns: &columns }, &labels, &selection)
        };
        let said = select("teff = \"t\"").unwrap_err().to_string();
        assert!(said.contains("teff of 12 of 12 stars is below 100 K") && said.contains("\"1000 * teff\""), "{said}");
        let (stars, _) = select("teff = \"1000 * t\"").unwrap();
        assert_eq!((stars.len(), stars.labels[0][0]), (12, 4000.0));
    }

    #[test]
    fn temperatures_of_no_star_are_missing_whatever_their_number_and_the_cuts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        let (labels, hot) = (["teff".to_string()], LabelRange { min: Some(3500.0), max: None });
        for (n_odd, odd) in [(5, "0"), (13, "-1"), (13, "0")] {
            let teff = |row| if row < n_odd { odd.to_string() } else { format!("{}", 4500 + row) };
            let rows: String = (0..20).map(|row| format!("s{row},{}\n", teff(row))).collect();
            std::fs::write(&path, format!("id,teff\n{rows}")).unwrap();
            for ranges in [BTreeMap::new(), BTreeMap::from([("teff".to_string(), hot)])] {
                let (stars, cuts) = select(&path, "", &labels, &Selection { ranges, ..Selection::default() }).unwrap();
                assert_eq!((stars.len(), cuts[1].removed), (20 - n_odd, n_odd), "{odd}: {cuts:?}");
            }
        }
    }

    #[test]
    fn without_snr_the_first_row_of_a_star_stays_and_the_cut_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        std::fs::write(&path, "id,teff\na,4500\na,4510\nb,4600\n").unwrap();
        let (stars, cuts) = select(&path, "", &["teff".to_string()], &Selection::default()).unwrap();
        assert_eq!(stars.labels, [[4500.0], [4600.0]]);
        let last = cuts.last().unwrap();
        assert_eq!((last.name.as_str(), last.removed), ("one spectrum per star (the first, without SNR)", 1));
    }

    #[test]
    fn stars_without_a_name_are_no_duplicates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        for none in ["-9999", "nan", "-1", ""] {
            std::fs::write(&path, format!("id,teff\n{none},4500\n{none},4510\na,4600\na,4600\n")).unwrap();
            let (stars, cuts) = select(&path, "id", &["teff".to_string()], &Selection::default()).unwrap();
            assert_eq!((stars.id[..2].join(" "), stars.len()), ("row0000001 row0000002".into(), 3), "{none}");
            assert_eq!(cuts.last().unwrap().removed, 1);
        }
    }

    #[test]
    fn marked_stars_go_and_rows_that_share_a_number_are_one_star() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("astra.csv");
        let rows = "sdss_id,obj,release,apred,snr,teff,flag_bad\n1,a,dr17,dr17,90,4500,false\n1,b,sdss5,1.3,95,4510,false\n\
                    2,c,sdss5,1.3,50,4600,false\n-1,c,dr17,dr17,80,4600,False\n-1,d,dr17,dr17,80,4700,\n3,e,sdss5,1.3,300,4800,true\n";
        std::fs::write(&path, rows).unwrap();
        let selection = Selection { reject_marked: vec!["FLAG_BAD".into()], ..Selection::default() };
        let (stars, cuts) = select(&path, "APOGEE_ID", &["teff".to_string()], &selection).unwrap();
        assert_eq!(stars.id, ["b", "c", "d"]);
        assert_eq!((stars.snr.as_slice(), stars.marks.concat().len()), (&[95.0, 80.0, 80.0][..], 0));
        assert_eq!((cuts[2].name.as_str(), cuts[2].removed, cuts[3].removed), ("not FLAG_BAD", 1, 2));
        let selection = Selection { reject_marked: vec!["flag_worse".into()], ..Selection::default() };
        let said = select(&path, "APOGEE_ID", &["teff".to_string()], &selection).unwrap_err().to_string();
        assert!(said.contains("no column flag_worse") && said.contains("selection.reject_marked"), "{said}");
    }

    #[test]
    fn a_cut_on_a_column_that_is_not_there_is_blamed_on_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        std::fs::write(&path, "id,teff\na,4500\n").unwrap();
        let ranges = BTreeMap::from([("vsini".to_string(), LabelRange::default())]);
        let selection = Selection { ranges, ..Selection::default() };
        let said = select(&path, "", &["teff".to_string()], &selection).unwrap_err().to_string();
        assert!(said.contains("no column vsini") && said.contains("selection.ranges"), "{said}");
    }

    #[test]
    fn nan_is_in_no_range() {
        assert!(!LabelRange::default().holds(f64::NAN));
        assert!(LabelRange { min: Some(4.0), max: Some(4.0) }.holds(4.0));
    }
}
