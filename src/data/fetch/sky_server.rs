//! A catalogue asked of SkyServer: the SQL of a selection, and whether what came back is its answer.

use super::archive::encode_value;
use super::refusal::Refusal;
use crate::data::columns::{ColumnNames, KEYS};
use crate::data::selection::Selection;
use crate::error::{Error, Result};

/// Rows that SkyServer gives at most; an answer of so many has lost some.
const MOST_ROWS: usize = 500_000;
/// Columns of every answer, all of `apogeeStar` but the last.
const COLUMNS: [&str; 9] =
    ["apogee_id", "apstar_id", "field", "telescope", "file", "snr", "nvisits", "starflag", "aspcapflag"];
/// Labels with an error and without a flag.
const PARAMETERS: [&str; 4] = ["teff", "logg", "m_h", "alpha_m"];

/// What to do about a refused query.
const REMEDY: &str = "is every label a column of aspcapStar? The whole catalogue needs no query: \
                      set data.apstar.catalogue to a name that ends in .fits";

/// What is asked of each star.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub labels: &'a [String],
    pub selection: &'a Selection,
    /// Columns that have other names than usual.
    pub columns: &'a ColumnNames,
}

/// The query for all stars of the selection's fields, with the labels and those that its cuts name.
///
/// Cuts are left to the selection itself, which counts what each removes.
///
/// # Errors
/// [`Error::Config`] where it names no field, or what cannot stand in a query.
pub(super) fn query(asked: &Asked) -> Result<String> {
    let selection = asked.selection;
    if selection.fields.is_empty() {
        let problem = "selection.fields is empty, and the whole survey is more than SkyServer's 500000 rows; \
                       name fields, or set data.apstar.catalogue to a name that ends in .fits";
        return Err(Error::Config(problem.into()));
    }
    if let Some(odd) = selection.fields.iter().find(|field| !field.bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
        return Err(Error::Config(format!("selection.fields: {odd:?} is no name of a field")));
    }
    let mut columns: Vec<String> = COLUMNS[..8].iter().map(|column| format!("s.[{column}]")).collect();
    columns.push("a.[aspcapflag]".into());
    for label in wanted(asked) {
        let is_name = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if label.is_empty() || !is_name {
            return Err(Error::Config(format!("label `{label}` is no column name: letters, digits and `_` only")));
        }
        let is_ratio = label == "fe_h" || label.ends_with("_fe");
        if is_ratio || PARAMETERS.contains(&label.as_str()) {
            columns.extend([format!("a.[{label}]"), format!("a.[{label}_err]")]);
            columns.extend(is_ratio.then(|| format!("a.[{label}_flag]")));
        } else {
            // In whichever of the tables has it.
            columns.push(format!("[{label}]"));
        }
    }
    let fields: Vec<String> = selection.fields.iter().map(|field| format!("'{}'", field.replace('\'', "''"))).collect();
    Ok(format!(
        "SELECT {} FROM apogeeStar AS s JOIN aspcapStar AS a ON s.apstar_id = a.apstar_id WHERE s.[field] IN ({})",
        columns.join(", "),
        fields.join(", ")
    ))
}

/// Labels, or the columns they are read from, beyond the columns of every answer, each once, in lower case.
fn wanted(asked: &Asked) -> Vec<String> {
    let Asked { labels, selection, columns } = *asked;
    let of_label = |label: &String| columns.columns_of(label).unwrap_or_else(|| vec![label.clone()]);
    let of_key = |key: &&str| columns.columns_of(key).unwrap_or_default();
    let named = labels.iter().chain(selection.ranges.keys()).flat_map(of_label).chain(KEYS.iter().flat_map(of_key));
    let mut wanted: Vec<String> = Vec::new();
    for label in named.chain(selection.reject_marked.iter().cloned()).map(|label| label.to_lowercase()) {
        if !COLUMNS.contains(&label.as_str()) && !wanted.contains(&label) {
            wanted.push(label);
        }
    }
    wanted
}

/// Bytes that no answer to this query comes near: as many rows as SkyServer gives, three columns for each label.
pub(super) fn longest_answer(asked: &Asked) -> usize {
    /// Names take more than this, numbers less.
    const BYTES_PER_CELL: usize = 24;
    MOST_ROWS * BYTES_PER_CELL * (COLUMNS.len() + 3 * wanted(asked).len())
}

/// The URL that asks the service.
pub(super) fn url(service: &str, query: &str) -> String {
    let joint = if service.contains('?') { '&' } else { '?' };
    format!("{service}{joint}cmd={}&format=csv", encode_value(query))
}

/// Counts the stars of an answer.
///
/// # Errors
/// [`Refusal::Passing`] for half an answer, [`Refusal::Final`] for none, with what the server said.
pub(super) fn examine(answer: &str, asked: &Asked) -> Result<usize, Refusal> {
    let refused = |what: &str| Refusal::Final(format!("{what}: {}; {REMEDY}", in_short(answer)));
    let start = answer.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with(['<', '{', '[']) || answer.contains("error_message") {
        return Err(refused("SkyServer refused the query"));
    }
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(start.as_bytes());
    let header = reader.headers().map_err(|_| refused("SkyServer's answer is no table"))?.clone();
    let has = |column: &str| header.iter().any(|name| name.eq_ignore_ascii_case(column));
    let mut needed = COLUMNS.iter().map(ToString::to_string).chain(wanted(asked));
    if let Some(lacking) = needed.find(|column| !has(column)) {
        return Err(refused(&format!("SkyServer's answer has no column {lacking}")));
    }
    let mut n_rows = 0;
    for record in reader.records() {
        record.map_err(|err| Refusal::Passing(format!("SkyServer's answer is damaged or not complete: {err}")))?;
        n_rows += 1;
    }
    match n_rows {
        0 => Err(Refusal::Final(format!(
            "SkyServer knows no star in the fields {}; are they spelt as in the survey?",
            asked.selection.fields.join(", ")
        ))),
        MOST_ROWS.. => Err(Refusal::Final(format!(
            "SkyServer's answer has {n_rows} rows, where it cuts answers off; name fewer fields, \
             or set data.apstar.catalogue to a name that ends in .fits"
        ))),
        _ => Ok(n_rows),
    }
}

/// What a server said, without tags and in one line.
pub(super) fn in_short(said: &str) -> String {
    let mut is_tag = false;
    let text: String = said
        .chars()
        .take(10_000)
        .map(|c| {
            is_tag = (is_tag || c == '<') && c != '>';
            if is_tag || c == '>' { ' ' } else { c }
        })
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let short: String = line.chars().take(300).collect();
    if short.len() < line.len() { short + " ..." } else { short }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::selection::LabelRange;

    fn asked<'a>(labels: &'a [String], selection: &'a Selection) -> Asked<'a> {
        Asked { labels, selection, columns: const { &ColumnNames::USUAL } }
    }

    fn selection(fields: &[&str]) -> Selection {
        Selection {
            fields: fields.iter().map(ToString::to_string).collect(),
            ranges: BTreeMap::from(["snr", "logg", "vscatter"].map(|name| (name.to_string(), LabelRange::default()))),
            ..Selection::default()
        }
    }

    #[test]
    fn the_query_names_labels_errors_flags_and_quoted_fields() {
        let labels = ["TEFF", "mg_fe"].map(String::from);
        let sql = query(&asked(&labels, &selection(&["060+00", "it's"]))).unwrap();
        assert_eq!(
            sql,
            "SELECT s.[apogee_id], s.[apstar_id], s.[field], s.[telescope], s.[file], s.[snr], s.[nvisits], s.[starflag], \
             a.[aspcapflag], a.[teff], a.[teff_err], a.[mg_fe], a.[mg_fe_err], a.[mg_fe_flag], a.[logg], a.[logg_err], \
             [vscatter] FROM apogeeStar AS s JOIN aspcapStar AS a ON s.apstar_id = a.apstar_id \
             WHERE s.[field] IN ('060+00', 'it''s')"
        );
        let url = url("https://sky/SqlSearch", "IN ('060+00')");
        assert_eq!(url, "https://sky/SqlSearch?cmd=IN%20%28%27060%2B00%27%29&format=csv");
    }

    #[test]
    fn columns_of_other_names_are_asked_for_in_place_of_labels() {
        let labels = ["teff", "mg_fe"].map(String::from);
        let columns: ColumnNames = toml::from_str(
            "mg_fe = \"mg_h - fe_h\"\nlogg = { column = \"logg_spec\", error = \"e_logg\" }\nsnr = \"snrev\"",
        )
        .unwrap();
        let selection = Selection { reject_marked: vec!["flag_bad".into()], ..selection(&["M15"]) };
        let asked = Asked { labels: &labels, selection: &selection, columns: &columns };
        assert_eq!(wanted(&asked), ["teff", "mg_h", "fe_h", "logg_spec", "e_logg", "snrev", "vscatter", "flag_bad"],);
        assert!(!query(&asked).unwrap().contains("mg_fe"));
        let answer = "apogee_id,apstar_id,field,telescope,file,snr,nvisits,starflag,aspcapflag,teff,mg_fe,logg\n";
        let refused = examine(answer, &asked);
        assert!(matches!(&refused, Err(Refusal::Final(said)) if said.contains("no column mg_h")), "{refused:?}");
    }

    #[test]
    fn what_cannot_stand_in_a_query_is_refused_before_it_is_sent() {
        let refused = |labels: &[&str], fields: &[&str]| {
            let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
            query(&asked(&labels, &selection(fields))).unwrap_err().to_string()
        };
        assert!(refused(&["teff] FROM x; --"], &["M15"]).contains("no column name"));
        assert!(refused(&["teff"], &["M15\n"]).contains("no name of a field"));
        assert!(refused(&["teff"], &[]).contains("name fields"));
    }

    #[test]
    fn an_answer_is_a_whole_table_with_every_column() {
        let header =
            "#Table1\napogee_id,apstar_id,field,telescope,file,snr,nvisits,starflag,aspcapflag,teff,logg,vscatter";
        let row = "2M0,apogee.x,M15,apo25m,apStar-x.fits,99,2,0,0,4500,2.1,0.1";
        let labels = ["teff".to_string()];
        let examine = |answer: &str| examine(answer, &asked(&labels, &selection(&["M15"])));
        assert_eq!(examine(&format!("{header}\n{row}\n{row}\n")).unwrap(), 2);
        let said = |answer: &str| match examine(answer) {
            Err(Refusal::Final(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert!(said(&format!("{header}\n")).contains("no star in the fields M15"));
        assert!(said("<html><b>Busy</b>, come back</html>").contains("refused the query: Busy , come back; is every"));
        let refused = said("[{\"error_message\": \"Invalid column name 'tef'.\"}]");
        assert!(refused.contains("Invalid column name 'tef'") && refused.contains(".fits"), "{refused}");
        assert!(said("No objects have been found").contains("no column apogee_id: No objects have been found"));
        assert!(said("").contains("no column"));
        let half = examine(&format!("{header}\n{row}\n2M1,apo"));
        assert!(matches!(half, Err(Refusal::Passing(_))), "{half:?}");
        let full = said(&format!("{header}\n{}", format!("{row}\n").repeat(MOST_ROWS)));
        assert!(full.contains("500000 rows") && full.contains("fewer fields"), "{full}");
    }
}
