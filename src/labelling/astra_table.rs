//! Tables of labels in the layout of Astra's `astraAllStarTheCannon` (DR19): a header, no spectra of BOSS, those of APOGEE.

use super::astra::{FIELDS, created};
use super::digits::Digits;
use super::label_table::{HeadColumns, LabelColumns, LabelTable, TableForm};
use crate::data::fits::{Column, FitsWriter};
use crate::data::value::Value;
use crate::error::Result;
use crate::spectra::labels::{title, unit};
use crate::spectra::quality::star_flags;
use crate::spectra::star_table::name_flags;

/// Flags with which labels are not to be used: nothing was measured, or nothing that the errors hold for. Any flag at all is a
/// warning, as in Astra, where every bad row warns.
const BAD: i64 = star_flags::NO_DATA | star_flags::NOT_CONVERGED | star_flags::UNREADABLE | star_flags::BAD_FIT;

/// A table in this layout.
pub(super) struct AstraTable {
    columns: Vec<Column>,
    /// What each column is.
    meanings: Vec<String>,
    /// How each is written in CSV.
    digits: Vec<Digits>,
}

impl AstraTable {
    /// The columns of HDU 2.
    pub fn new(mut table: LabelTable, form: &TableForm) -> Self {
        let n_rows = table.file.len();
        let mut own = Self { columns: Vec::new(), meanings: Vec::new(), digits: Vec::new() };
        for field in &FIELDS {
            let places = field.places(table.handed_on());
            let first =
                |row: usize| places.iter().map(|place| table.value(*place, row)).find(|value| !value.is_missing());
            let values: Vec<Value> = (0..n_rows).map(|row| first(row).cloned().unwrap_or_default()).collect();
            own.push(field.column(&values), field.meaning, Digits::All);
            if field.name == "sdss_id" {
                own.push(
                    Column::text("obj", std::mem::take(&mut table.id)),
                    "name of the star as its spectrum has it",
                    Digits::All,
                );
            }
        }
        let head = table.take_head();
        let labels: Vec<LabelColumns> = (0..form.label_names.len()).map(|k| table.take_label(k)).collect();
        let flags = std::mem::take(&mut table.flags);
        let measured = Self::measured(form, head, labels, flags);
        let asked = table.asked_columns(&form.columns.asked, &|name| measured.has(name) || own.has(name));
        for mut column in asked {
            column.name.make_ascii_lowercase();
            own.push(column, "as its file or the table beside it has it", Digits::All);
        }
        own.push(Column::text("file", table.file), "file of the spectrum", Digits::All);
        let n_before = own.columns.len();
        own.columns.extend(measured.columns);
        own.meanings.extend(measured.meanings);
        own.digits.extend(measured.digits.into_iter().map(|digits| match digits {
            Digits::OfError(error) => Digits::OfError(n_before + error),
            other => other,
        }));
        own
    }

    /// The columns behind those that say which spectrum it was.
    fn measured(form: &TableForm, head: HeadColumns, labels: Vec<LabelColumns>, flags: Vec<i64>) -> Self {
        let mut own = Self { columns: Vec::new(), meanings: Vec::new(), digits: Vec::new() };
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        own.push(Column::f32("snr", "", narrow(head.snr)), "signal-to-noise ratio per pixel", Digits::Significant);
        let mut raw = Vec::new();
        for (name, LabelColumns { label, error, calibrated }) in form.label_names.iter().zip(labels) {
            // A label may have no calibration though others have.
            let calibrated = calibrated.filter(|errors| errors.iter().any(|error| error.is_finite()));
            let kind = if calibrated.is_some() { "calibrated" } else { "formal" };
            // The FITS standard knows no dex: it is told in words.
            let (unit, in_dex) = match unit(name) {
                "dex" => ("", " [dex]"),
                unit => (unit, ""),
            };
            let (formal, title) = (narrow(error), title(name).replace('α', "alpha"));
            let best = calibrated.map_or_else(|| formal.clone(), narrow);
            let digits = Digits::OfError(own.columns.len() + 1);
            own.push(Column::f32(name.clone(), unit, narrow(label)), format!("{title}{in_dex}"), digits);
            let meaning = format!("error of {title}{in_dex}, {kind}");
            own.push(Column::f32(format!("e_{name}"), unit, best), meaning, Digits::Significant);
            raw.push((Column::f32(format!("raw_e_{name}"), unit, formal), format!("formal error of {title}{in_dex}")));
        }
        own.push(
            Column::f32("chi2", "", narrow(head.chi2)),
            "chi^2 of the best fit, noise and model scatter",
            Digits::Significant,
        );
        let reduced = "chi^2 per degree of freedom";
        own.push(Column::f32("rchi2", "", narrow(head.chi2_reduced)), reduced, Digits::Significant);
        raw.into_iter().for_each(|(column, meaning)| own.push(column, meaning, Digits::Significant));
        let masked = "fraction of pixels masked";
        own.push(Column::f32("fraction_masked", "", narrow(head.fraction_masked)), masked, Digits::Significant);
        let (warn, bad) = (flags.iter().map(|flags| *flags != 0), flags.iter().map(|flags| flags & BAD != 0));
        let (warn, bad) = (Column::logicals("flag_warn", warn.collect()), Column::logicals("flag_bad", bad.collect()));
        own.push(Column::i64("result_flags", flags), "flags of maury, named in FLAG<bit>", Digits::All);
        own.push(warn, "any of result_flags", Digits::All);
        own.push(bad, star_flags::describe(BAD).replace('|', ", "), Digits::All);
        own
    }

    fn push(&mut self, column: Column, meaning: impl Into<String>, digits: Digits) {
        self.columns.push(column);
        self.meanings.push(meaning.into());
        self.digits.push(digits);
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) || name.eq_ignore_ascii_case("file")
    }

    /// The columns of HDU 2, and how each is written in CSV.
    pub fn columns(&self) -> (&[Column], &[Digits]) {
        (&self.columns, &self.digits)
    }

    /// Writes the three HDUs; `keys` writes what tells of the model into the header of the last.
    ///
    /// # Errors
    /// [`crate::error::Error::Fits`].
    pub fn write(&self, file: &mut FitsWriter, keys: impl FnOnce(&mut FitsWriter) -> Result<()>) -> Result<()> {
        let created = created();
        let common = |file: &mut FitsWriter| {
            file.append_key("PIPELINE", "maury", "what measured this, in the layout of Astra")?;
            file.append_key("V_MAURY", env!("CARGO_PKG_VERSION"), "version of maury")?;
            file.append_key("CREATED", created.as_str(), "UTC, yy-mm-dd hh:mm:ss")
        };
        common(file)?;
        for text in
            ["HDU 0: Summary information only", "HDU 1: BOSS spectra", "HDU 2: APOGEE spectra, or those of arrays"]
        {
            file.comment(text)?;
        }
        let empty: Vec<Column> = self.columns.iter().map(without_rows).collect();
        for (columns, instrument) in [(&empty, "BOSS"), (&self.columns, "APOGEE")] {
            file.table("", columns)?;
            file.append_key("INSTRMNT", instrument, "")?;
            common(file)?;
            for (index, meaning) in self.meanings.iter().enumerate() {
                file.append_key(&format!("TCOMM{}", index + 1), meaning.as_str(), "")?;
            }
        }
        name_flags(file, "result_flags")?;
        keys(file)?;
        file.checksums()
    }
}

/// A column of the same name, type and unit.
fn without_rows(column: &Column) -> Column {
    use crate::data::fits::ColumnValues::{F32, F64, I32, I64, Logicals, Text};
    let values = match &column.values {
        F32(_) => F32(Vec::new()),
        F64(_) => F64(Vec::new()),
        I32(_) => I32(Vec::new()),
        I64(_) => I64(Vec::new()),
        Logicals(_) => Logicals(Vec::new()),
        _ => Text(Vec::new()),
    };
    Column { name: column.name.clone(), unit: column.unit.clone(), values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::{self, FitsReader};
    use crate::labelling::label_table::TableShape;
    use crate::labelling::labeller::LabelledStar;
    use crate::stars::spectra::HandedOn;
    use crate::stars::spectrum_files::SpectrumFiles;

    fn star(n: usize, flags: i64) -> LabelledStar {
        LabelledStar {
            file: format!("{n}.fits"),
            id: format!("2M{n}"),
            snr: 100.0,
            labels: vec![4500.0, 2.0],
            errors: vec![5.0, 0.01],
            covariances: vec![0.001],
            // log g has no calibration.
            calibrated_errors: vec![20.0, f64::NAN],
            chi2: 7000.0,
            chi2_reduced: 1.25,
            fraction_masked: 0.25,
            flags,
            values: vec![Value::Text("M15".into()), Value::Integer(7), Value::Missing, Value::Number(1.5)],
        }
    }

    #[test]
    fn errors_are_calibrated_where_they_can_be_and_every_bad_row_warns() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let form = TableForm {
            label_names: names(&["teff", "logg"]),
            columns: HandedOn { asked: names(&["FIELD", "Cat"]), welcome: names(&["sdss_id", "ra"]) },
            shape: TableShape::Astra,
            model: "cannon".into(),
            errors: "calibrated".into(),
        };
        let flags = [0, star_flags::OUTSIDE_HULL, star_flags::BAD_FIT | star_flags::OUTSIDE_HULL];
        let spectra = SpectrumFiles::new((0..4).map(|n| format!("{n}.fits").into()).collect());
        let mut table = LabelTable::new(&form, &spectra);
        flags.iter().enumerate().for_each(|(n, flags)| table.set(star(n, *flags)));
        let table = AstraTable::new(table, &form);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.fits");
        fits::write(&path, |file| table.write(file, |file| file.append_key("MODEL", "cannon", ""))).unwrap();
        let mut fits = FitsReader::open(&path).unwrap();
        let mut numbers = |name: &str| fits.numbers(2, name, 0..3).unwrap()[0];
        assert_eq!(
            ["teff", "e_teff", "raw_e_teff", "chi2", "rchi2"].map(&mut numbers),
            [4500.0, 20.0, 5.0, 7000.0, 1.25]
        );
        assert_eq!((numbers("e_logg"), numbers("raw_e_logg")), (f64::from(0.01_f32), f64::from(0.01_f32)));
        let mut logicals = |name: &str| fits.logicals(2, name, 0..4).unwrap().into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(logicals("flag_warn"), [false, true, true, true]);
        assert_eq!(logicals("flag_bad"), [false, false, true, true], "the last one was never read");
        // What was asked for and is of the layout anyway is there once.
        let (_, columns) = fits.table_layout(2).unwrap();
        assert_eq!(columns.iter().filter(|name| name.eq_ignore_ascii_case("field")).count(), 1);
        assert_eq!(fits.texts(2, "field", 0..4).unwrap(), ["M15", "M15", "M15", ""]);
        assert_eq!(fits.numbers(2, "cat", 0..2).unwrap(), [7.0, 7.0]);
        assert_eq!(fits.integers(2, "sdss_id", 0..1).unwrap(), [-1]);
        assert_eq!(fits.numbers(2, "ra", 0..1).unwrap(), [1.5]);
        let meaning = |fits: &mut FitsReader, name: &str| {
            let index = columns.iter().position(|known| known == name).unwrap() + 1;
            fits.key_text(2, &format!("TCOMM{index}")).unwrap()
        };
        assert_eq!(meaning(&mut fits, "e_teff"), "error of Teff, calibrated");
        assert_eq!(meaning(&mut fits, "e_logg"), "error of log g [dex], formal");
        assert_eq!(meaning(&mut fits, "flag_bad"), "NO_DATA, NOT_CONVERGED, UNREADABLE, BAD_FIT");
        assert_eq!((fits.key_text(2, "FLAG8").as_deref(), fits.table_layout(1).unwrap().0), (Some("BAD_FIT"), 0));
    }
}
