//! Isochrones as files: MIST's `.iso` and `.iso.cmd` texts, and tables with commas such as the program's own.

use super::files::read_text;
use std::path::Path;

use super::fits::find_column;
use super::isochrone::{Isochrone, IsochronePoint, Phase};
use crate::error::{Error, Result};

/// The isochrones that come with the program; source in `assets/README.md`.
const SHIPPED: &str = include_str!("../../assets/isochrones.csv");
const REMEDY: &str = "give a MIST .iso or .iso.cmd file, or a CSV table with the columns of assets/isochrones.csv";

impl Isochrone {
    /// Reads every isochrone of a file: MIST's `.iso` and `.iso.cmd`, or a CSV table with the columns of `assets/isochrones.csv`.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`]; [`crate::error::Error::MissingColumn`]; [`crate::error::Error::Format`] with the line.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        parse(path, &read_text(path)?)
    }

    /// The MIST isochrones that come with the program: 6 Gyr from [Fe/H] -2 to 0.5, and 1 to 13 Gyr at -1 and 0.
    ///
    /// # Errors
    /// As [`Isochrone::read`], if the table was built in damaged.
    pub fn shipped() -> Result<Vec<Self>> {
        parse_table(Path::new("assets/isochrones.csv"), "MIST 2.5", SHIPPED)
    }
}

/// Every isochrone of a file's text, whichever of the formats it is in.
fn parse(path: &Path, text: &str) -> Result<Vec<Isochrone>> {
    if text.lines().any(|line| column_names(line).is_some()) {
        parse_mist(path, text)
    } else {
        let source = path.file_stem().unwrap_or_default().to_string_lossy();
        parse_table(path, &source, text)
    }
}

/// What a number in the age column says.
#[derive(Clone, Copy)]
enum Age {
    Years,
    LogYears,
    Gyr,
}

impl Age {
    fn gyr(self, number: f64) -> f64 {
        match self {
            Self::Years => number / 1e9,
            Self::LogYears => 10_f64.powf(number - 9.0),
            Self::Gyr => number,
        }
    }
}

/// Where in a row the numbers stand that make a point.
struct Columns {
    names: Vec<String>,
    eep: usize,
    age: (usize, Age),
    initial_mass: usize,
    log_teff: usize,
    logg: usize,
    log_l: usize,
    phase: usize,
}

impl Columns {
    fn find(path: &Path, names: Vec<String>) -> Result<Self> {
        let position = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let index = |wanted: &str| -> Result<usize> {
            let name = find_column(path, &names, wanted, REMEDY)?;
            Ok(position(name).unwrap_or_default())
        };
        let ages = [
            ("log10_isochrone_age_yr", Age::LogYears),
            ("isochrone_age_yr", Age::Years),
            ("log_age", Age::LogYears),
            ("age_gyr", Age::Gyr),
        ];
        let age = ages.into_iter().find_map(|(name, age)| Some((position(name)?, age)));
        let gravity = if position("logg").is_some() { "logg" } else { "log_g" };
        Ok(Self {
            eep: index("eep")?,
            age: age.map_or_else(|| index("log10_isochrone_age_yr").map(|at| (at, Age::LogYears)), Ok)?,
            initial_mass: index("initial_mass")?,
            log_teff: index("log_teff")?,
            logg: index(gravity)?,
            log_l: index("log_l")?,
            phase: index("phase")?,
            names,
        })
    }

    /// Age [Gyr] and point of a row.
    fn read(&self, place: Place, fields: &[&str]) -> Result<(f64, IsochronePoint)> {
        if fields.len() != self.names.len() {
            let (n, wanted) = (fields.len(), self.names.len());
            return Err(place.error(&format!("{n} values under {wanted} column names; is the file cut short?")));
        }
        let number = |at: usize| place.number(&self.names[at], fields[at]);
        let (eep, phase) = (number(self.eep)?, number(self.phase)?);
        if eep.fract() != 0.0 || !(0.0..=1e6).contains(&eep) {
            return Err(place.error(&format!("eep {eep} is no number of an evolutionary point; {REMEDY}")));
        }
        let phase = Phase::from_number(phase).ok_or_else(|| {
            place.error(&format!("phase {phase} is none of MIST's (-1, 0, 2, 3, 4, 5, 6, 9); {REMEDY}"))
        })?;
        let point = IsochronePoint {
            eep: eep as u32,
            initial_mass: number(self.initial_mass)?,
            teff: 10_f64.powf(number(self.log_teff)?),
            logg: number(self.logg)?,
            log_l: number(self.log_l)?,
            phase,
        };
        Ok((self.age.1.gyr(number(self.age.0)?), point))
    }
}

/// A line of a file, for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: usize,
}

impl Place<'_> {
    fn error(&self, detail: &str) -> Error {
        Error::format(self.path, format!("line {}: {detail}", self.line))
    }

    fn number(&self, column: &str, text: &str) -> Result<f64> {
        let number: Option<f64> = text.parse().ok();
        number.filter(|number| number.is_finite()).ok_or_else(|| {
            self.error(&format!("column {column}: `{text:.40}` is not a number; get the file again, or mend the line"))
        })
    }
}

/// The names of a header line with MIST's columns, which begin with EEP.
fn column_names(line: &str) -> Option<Vec<String>> {
    let names: Vec<String> = line.trim().strip_prefix('#')?.split_whitespace().map(String::from).collect();
    names.first().is_some_and(|name| name.eq_ignore_ascii_case("eep")).then_some(names)
}

/// What MIST's comments have said so far.
#[derive(Default)]
struct Header {
    version: String,
    fe_h: Option<f64>,
    /// Where in the next line [Fe/H] stands, and how many numbers there are.
    fe_h_follows: Option<(usize, usize)>,
    n_isochrones: usize,
    n_points: Option<usize>,
}

impl Header {
    fn read(&mut self, place: Place, comment: &str) -> Result<()> {
        let words: Vec<&str> = comment.split_whitespace().collect();
        if let Some((at, n)) = self.fe_h_follows.take() {
            if words.len() != n {
                return Err(place.error(&format!("{n} numbers expected under [Fe/H] and its neighbours; {REMEDY}")));
            }
            self.fe_h = Some(place.number("[Fe/H] of the header", words[at])?);
        }
        self.fe_h_follows = words.iter().position(|word| *word == "[Fe/H]").map(|at| (at, words.len()));
        let Some((what, value)) = comment.split_once('=') else { return Ok(()) };
        let count = || value.split_whitespace().next().and_then(|count| count.parse::<usize>().ok());
        match what.trim() {
            "MIST version number" => self.version = format!("MIST {}", value.trim()),
            "number of isochrones" => self.n_isochrones += count().unwrap_or(0),
            what if what.starts_with("number of EEPs") => self.n_points = count(),
            _ => {}
        }
        Ok(())
    }
}

/// An isochrone that is being read, and the points its header promised.
struct Block {
    isochrone: Isochrone,
    promised: Option<usize>,
    line: usize,
}

impl Block {
    fn finish(self, path: &Path) -> Result<Isochrone> {
        let (n, place) = (self.isochrone.points.len(), Place { path, line: self.line });
        match self.promised {
            Some(promised) if promised != n => {
                let age = self.isochrone.age_gyr;
                let detail =
                    format!("the header promises {promised} points, {n} follow at {age:.4} Gyr; get the file again");
                Err(place.error(&detail))
            }
            _ => Ok(self.isochrone),
        }
    }
}

fn parse_mist(path: &Path, text: &str) -> Result<Vec<Isochrone>> {
    let (mut header, mut columns) = (Header::default(), None);
    let (mut isochrones, mut block) = (Vec::new(), None::<Block>);
    for (index, line) in text.lines().enumerate() {
        let (line, place) = (line.trim(), Place { path, line: index + 1 });
        if let Some(names) = column_names(line) {
            columns = Some(Columns::find(path, names)?);
        } else if let Some(comment) = line.strip_prefix('#') {
            if let Some(done) = block.take() {
                isochrones.push(done.finish(path)?);
            }
            header.read(place, comment)?;
        } else if !line.is_empty() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let columns =
                columns.as_ref().ok_or_else(|| place.error(&format!("numbers before the column names; {REMEDY}")))?;
            let (age_gyr, point) = columns.read(place, &fields)?;
            let is_next = |block: &mut Block| (block.isochrone.age_gyr / age_gyr - 1.0).abs() > 1e-6;
            if let Some(done) = block.take_if(is_next) {
                isochrones.push(done.finish(path)?);
            }
            let current = match &mut block {
                Some(current) => current,
                None => {
                    let fe_h = header.fe_h.ok_or_else(|| {
                        place.error("no [Fe/H] in the comments above, as MIST's own files have; get the file again")
                    })?;
                    let isochrone = empty(&header.version, age_gyr, fe_h);
                    block.insert(Block { isochrone, promised: header.n_points.take(), line: index + 1 })
                }
            };
            current.isochrone.points.push(point);
        }
    }
    if let Some(done) = block {
        isochrones.push(done.finish(path)?);
    }
    let n = isochrones.len();
    if n == 0 || n < header.n_isochrones {
        let detail = format!("{n} isochrones where the header promises {}; get the file again", header.n_isochrones);
        return Err(Error::format(path, detail));
    }
    Ok(isochrones)
}

fn empty(source: &str, age_gyr: f64, fe_h: f64) -> Isochrone {
    // As short as the number allows: 6 Gyr, not 6.000 Gyr.
    let age = (age_gyr * 1e3).round() / 1e3;
    let source = if source.is_empty() { "MIST" } else { source };
    Isochrone { name: format!("{source}, {age} Gyr, [Fe/H] {fe_h}"), age_gyr, fe_h, points: Vec::new() }
}

/// Isochrones of a table with commas: one after another, told apart by their age and [Fe/H].
fn parse_table(path: &Path, source: &str, text: &str) -> Result<Vec<Isochrone>> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let malformed = |err: csv::Error| Error::format(path, format!("not a well-formed CSV table: {err}; {REMEDY}"));
    let names: Vec<String> = reader.headers().map_err(malformed)?.iter().map(String::from).collect();
    let fe_h_at = {
        let name = find_column(path, &names, "fe_h", REMEDY)?;
        names.iter().position(|known| known == name).unwrap_or_default()
    };
    let columns = Columns::find(path, names)?;
    let mut isochrones: Vec<Isochrone> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(malformed)?;
        let place = Place { path, line: record.position().map_or(0, |position| position.line() as usize) };
        let fields: Vec<&str> = record.iter().collect();
        let (age_gyr, point) = columns.read(place, &fields)?;
        let fe_h = place.number("fe_h", fields[fe_h_at])?;
        match isochrones.last_mut() {
            Some(last) if (last.age_gyr, last.fe_h) == (age_gyr, fe_h) => last.points.push(point),
            _ => {
                let mut next = empty(source, age_gyr, fe_h);
                next.points.push(point);
                isochrones.push(next);
            }
        }
    }
    if isochrones.is_empty() {
        return Err(Error::format(path, format!("no row below the column names; {REMEDY}")));
    }
    Ok(isochrones)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two isochrones in the layout of `.iso` files: log age, columns in their order, two blank lines between blocks.
    const ISO: &str = "\
# MIST version number  = 1.2
# MESA revision number =     7503
# --------------------------------------------------------------------------------------
#  Yinit        Zinit   [Fe/H]   [a/Fe]  v/vcrit
# 0.2600  1.00000E-02    -0.25     0.00     0.40
# --------------------------------------------------------------------------------------
# number of isochrones =     2
# --------------------------------------------------------------------------------------
# number of EEPs, cols =     2    9
#   1   2   3   4   5   6   7   8   9
# EEP   log10_isochrone_age_yr   initial_mass   star_mass   log_L   log_Teff   log_R   log_g   phase
  454   9.0000000000000000E+000   1.9000000000000000E+000   1.9   1.2   3.80   0.7   3.9   2.0000000000000000E+000
  605   9.0000000000000000E+000   2.0000000000000000E+000   1.9   2.9   3.60   1.8   0.9   3.0000000000000000E+000


# number of EEPs, cols =     1    9
#   1   2   3   4   5   6   7   8   9
# EEP   log10_isochrone_age_yr   initial_mass   star_mass   log_L   log_Teff   log_R   log_g   phase
  300   1.0000000000000000E+001   0.9   0.9   -0.1   3.75   0.0   4.5   -1.0000000000000000E+000
";

    fn read(text: &str) -> Result<Vec<Isochrone>> {
        parse(Path::new("mine.iso"), text)
    }

    fn refused(text: &str, said: &[&str]) {
        let message = read(text).unwrap_err().to_string();
        assert!(said.iter().all(|words| message.contains(words)), "{message}");
    }

    #[test]
    fn blocks_of_an_iso_file_are_isochrones() {
        for text in [ISO.to_string(), ISO.replace('\n', "\r\n"), ISO.replace("log10_isochrone_age_yr", "Log_Age")] {
            let set = read(&text).unwrap();
            let ages: Vec<f64> = set.iter().map(|one| (one.age_gyr * 1e9).round() / 1e9).collect();
            assert_eq!((ages, set[0].fe_h), (vec![1.0, 10.0], -0.25));
            assert_eq!(set[1].name, "MIST 1.2, 10 Gyr, [Fe/H] -0.25");
            let first = &set[0].points[0];
            assert_eq!((first.eep, first.initial_mass, first.logg, first.log_l), (454, 1.9, 3.9, 1.2));
            assert!((first.teff - 6309.573).abs() < 1e-3 && first.phase == Phase::GiantBranch);
            assert_eq!((set[0].points[1].phase, set[1].points[0].phase), (Phase::CoreHelium, Phase::PreMainSequence));
        }
    }

    #[test]
    fn ages_without_comments_between_them_are_isochrones_too() {
        let bare: String = ISO
            .lines()
            .enumerate()
            .filter(|(index, line)| !line.contains("number of") && (*index < 12 || !line.starts_with('#')))
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        assert_eq!(read(&bare).unwrap(), read(ISO).unwrap());
    }

    #[test]
    fn a_cmd_file_has_more_comments_and_linear_ages() {
        let cmd = ISO
            .replace("# MESA", "# photometric system   = 2MASS\n# MESA")
            .replace("# number of EEPs", "# CCM89 extinction: Av =  0.000\n# number of EEPs")
            .replace("log10_isochrone_age_yr", "isochrone_age_yr")
            .replace("9.0000000000000000E+000", "3.0000000000000093E+009")
            .replace("log_R ", "[Fe/H] ");
        let set = read(&cmd).unwrap();
        assert!((set[0].age_gyr - 3.0).abs() < 1e-9 && set[0].fe_h == -0.25 && set.len() == 2);
        assert_eq!(set[0].name, "MIST 1.2, 3 Gyr, [Fe/H] -0.25");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        refused(&ISO.replace("3.60", "3.6x"), &["mine.iso: line 13: column log_Teff: `3.6x` is not a number"]);
        refused(&ISO.replace("3.60", "***"), &["line 13", "`***`"]);
        refused(&ISO.replace("3.60", "NaN"), &["line 13", "`NaN`"]);
        refused(&ISO.replace(" log_g ", " gravity "), &["no column log_g", "MIST .iso"]);
        refused(&ISO.replace("log10_isochrone_age_yr", "when"), &["no column log10_isochrone_age_yr"]);
        refused(&ISO.replace("[Fe/H]", "[M/H]"), &["line 12", "no [Fe/H]"]);
        refused(&ISO.replace("    -0.25 ", ""), &["line 5: 5 numbers expected under [Fe/H]"]);
        refused(&ISO.replace("    -0.25 ", "    solar "), &["line 5", "`solar` is not a number"]);
        refused(&ISO.replace("-1.0000000000000000E+000", "7.0"), &["line 19", "phase 7"]);
        refused(&ISO.replace("  454 ", "  454.5 "), &["line 12", "eep 454.5"]);
        refused(&ISO.replace("   2.9   3.60", "   3.60"), &["line 13: 8 values under 9 column names"]);
        refused(&ISO.replace("=     1    9", "=     3    9"), &["line 19", "promises 3 points, 1 follow"]);
        refused(
            &ISO.replace("isochrones =     2", "isochrones =     3"),
            &["2 isochrones where the header promises 3"],
        );
        refused(&ISO[..ISO.find("  454").unwrap()], &["0 isochrones"]);
        refused("", &["no column fe_h"]);
        refused("<html>busy</html>\n", &["no column fe_h", "MIST .iso"]);
    }

    #[test]
    fn a_table_reads_with_columns_in_any_order() {
        let table = "\
# my own
fe_h,age_gyr,phase,eep,initial_mass,log_teff,logg,log_l,extra
0,6,2,500,1.1,3.7,3.0,1.0,x
0,6,2,501,1.1,3.7,2.9,1.1,
-1,6,3,605,0.9,3.7,2.4,1.7,x
";
        let set = read(table).unwrap();
        assert_eq!(set.iter().map(|one| one.points.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((set[1].fe_h, set[1].name.as_str()), (-1.0, "mine, 6 Gyr, [Fe/H] -1"));
        refused(&table.replace("605", ""), &["line 5: column eep: `` is not a number"]);
        refused(&table.replace(",501", ""), &["line 4: 8 values under 9"]);
        refused(table.split("0,6").next().unwrap(), &["no row below"]);
        refused(&table.replace("fe_h", "feh"), &["no column fe_h (it has feh"]);
    }
}
