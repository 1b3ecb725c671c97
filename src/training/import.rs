//! A Cannon trained elsewhere, from tables of its coefficients.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::checkpoint::{Preparation, TrainedCannon};
use crate::data::catalogue::Catalogue;
use crate::data::table::Table;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::vectorizer::Vectorizer;
use crate::spectra::continuum::ContinuumSettings;
use crate::spectra::continuum_pixels;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::spectra::pixmask::PixmaskSettings;

/// The tables of a foreign model on the apStar grid.
#[derive(Debug, Clone)]
pub struct ForeignCannon {
    /// One row per pixel: `pix8575` (or `pixel`), `scatter` (standard deviation), and a column per coefficient. Beside these only
    /// pixel numbers, wavelengths and chips may stand there.
    pub coefficients: PathBuf,
    /// Columns `coefficient` (a column above) and `term`: `1`, `teff`, `teff*logg`, ... of labels minus their pivot.
    pub terms: PathBuf,
    /// Columns `label` and `baseline` (or `pivot`), in the order of the labels.
    pub pivot: PathBuf,
    /// Labels of its training stars, for starts and hull.
    pub training_labels: Option<PathBuf>,
    /// How spectra are to be normalized for it.
    pub continuum: ContinuumSettings,
}

/// Coefficients at or above this are no fluxes; f32 could not square them.
const LARGEST: f64 = 1e12;

/// How the columns begin that stand beside coefficients: numbers of pixels (of a table without its index, too), places, scatter.
const BESIDE: [&str; 6] = ["pix", "scatter", "chip", "wave", "lambda", "unnamed:"];

/// Spread assumed for a label when the training labels are not given: only the conditioning depends on it.
fn usual_scale(label: &str) -> f64 {
    if label == "teff" { 300.0 } else { 0.4 }
}

/// Reads the tables. Pixels they do not list carry no information.
///
/// # Errors
/// File errors; [`Error::Format`] where the tables contradict each other.
pub fn import(foreign: &ForeignCannon, compute: &Compute) -> Result<TrainedCannon> {
    let grid = WavelengthGrid::apogee();
    let (names, pivot) = read_pivot(&foreign.pivot)?;
    let training_labels = match &foreign.training_labels {
        Some(path) => {
            let table = Catalogue::read(path, "", &names)?;
            let rows: Vec<&Vec<f64>> =
                table.labels.iter().filter(|row| row.iter().all(|v| v.abs() < LARGEST)).collect();
            Array2::from_shape_fn((rows.len(), names.len()), |(n, k)| rows[n][k])
        }
        None => Array2::zeros((0, names.len())),
    };
    let scale = match LabelScaler::fit(&names, training_labels.view()) {
        Ok(scaler) => scaler.scale,
        Err(_) => names.iter().map(|name| usual_scale(name)).collect(),
    };
    let (vectorizer, columns) = read_terms(&foreign.terms, &names)?;

    let mut table = Table::open(&foreign.coefficients)?;
    let rows = 0..table.n_rows();
    let remedy = "one row per pixel: pix8575, scatter, and the coefficients named in the table of terms";
    expect_coefficients(&table, foreign, &columns)?;
    let pixel_column = if table.has("pixel") { "pixel" } else { "pix8575" };
    let pixels = table.numbers(pixel_column, rows.clone(), remedy)?;
    let scatter = table.numbers("scatter", rows.clone(), remedy)?;
    let n_pixels = grid.n_pixels();
    let mut theta = vec![0.0; vectorizer.n_terms() * n_pixels];
    let mut s2 = vec![NO_INFORMATION; n_pixels];
    let place = |pixel: f64| {
        let off_grid = || Error::format(&foreign.coefficients, format!("pixel {pixel} is not on the apStar grid"));
        if pixel >= 0.0 && pixel < n_pixels as f64 && pixel.fract() == 0.0 {
            Ok(pixel as usize)
        } else {
            Err(off_grid())
        }
    };
    let mut listed = vec![false; n_pixels];
    for pixel in &pixels {
        if std::mem::replace(&mut listed[place(*pixel)?], true) {
            return Err(Error::format(&foreign.coefficients, format!("pixel {pixel} is listed twice")));
        }
    }
    if let Some(scatter) = scatter.iter().find(|scatter| **scatter < 0.0) {
        let detail = format!("scatter {scatter}; it is a standard deviation, and empty where unknown");
        return Err(Error::format(&foreign.coefficients, detail));
    }
    // A scatter of exactly 0 would claim a perfect pixel: it gets the smallest one the model knows.
    let smallest = scatter.iter().copied().filter(|s| *s > 0.0).fold(f64::INFINITY, f64::min);
    for (pixel, scatter) in pixels.iter().zip(&scatter) {
        s2[place(*pixel)?] = if *scatter >= 0.0 { scatter.max(smallest).powi(2) } else { NO_INFORMATION };
    }
    for (column, term) in columns {
        let unit: f64 = vectorizer.factors(term).map(|label| scale[label]).product();
        for (pixel, value) in pixels.iter().zip(table.numbers(&column, rows.clone(), remedy)?) {
            let pixel = place(*pixel)?;
            if value.abs() < LARGEST {
                theta[term * n_pixels + pixel] = value * unit;
            } else {
                s2[pixel] = NO_INFORMATION;
            }
        }
    }
    let continuum_pixels = match foreign.continuum.pixels.as_str() {
        "shipped" => continuum_pixels::shipped(&grid)?,
        list => continuum_pixels::read(Path::new(list), &grid)?,
    };
    Ok(TrainedCannon {
        cannon: Cannon::from_coefficients(vectorizer, &theta, &s2, compute),
        scaler: LabelScaler { names, pivot, scale },
        preparation: Preparation {
            continuum_pixels: (0..n_pixels).filter(|pixel| continuum_pixels[*pixel]).collect(),
            gaps: Vec::new(),
            grid,
            pixmask: PixmaskSettings::default(),
            continuum: foreign.continuum.clone(),
        },
        latent_labels: Array2::zeros((training_labels.nrows(), 0)),
        training_labels,
    })
}

fn read_pivot(path: &Path) -> Result<(Vec<String>, Vec<f64>)> {
    let mut table = Table::open(path)?;
    let rows = 0..table.n_rows();
    let remedy = "columns `label` and `pivot` are expected";
    let column = if table.has("pivot") { "pivot" } else { "baseline" };
    let (names, pivot) = (table.texts("label", rows.clone(), remedy)?, table.numbers(column, rows, remedy)?);
    let twice = (1..names.len()).any(|k| names[..k].contains(&names[k]));
    if names.is_empty() || twice || pivot.iter().any(|pivot| !pivot.is_finite()) {
        return Err(Error::format(path, "each label must stand here once, with a number as its pivot"));
    }
    Ok((names, pivot))
}

/// Refuses coefficients that no term is told of, and terms whose coefficients are not there: either would be another model.
fn expect_coefficients(table: &Table, foreign: &ForeignCannon, columns: &[(String, usize)]) -> Result<()> {
    let absent: Vec<&str> =
        columns.iter().map(|(column, _)| column.as_str()).filter(|column| !table.has(column)).collect();
    if !absent.is_empty() {
        let terms = foreign.terms.display();
        let detail = format!("no column `{}`, which {terms} names as a coefficient", absent.join("`, `"));
        return Err(Error::format(&foreign.coefficients, detail));
    }
    let is_beside = |name: &str| name.is_empty() || BESIDE.iter().any(|start| name.to_lowercase().starts_with(start));
    let has_term = |name: &str| columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
    let names = table.names().iter().map(|name| name.trim());
    let untold: Vec<&str> = names.filter(|name| !is_beside(name) && !has_term(name)).collect();
    if !untold.is_empty() {
        let detail = format!(
            "no term for column `{}` of {}; say what each coefficient multiplies, and take out columns that are none",
            untold.join("`, `"),
            foreign.coefficients.display()
        );
        return Err(Error::format(&foreign.terms, detail));
    }
    Ok(())
}

/// Vectorizer of the highest degree named, and for each coefficient column the term it belongs to.
fn read_terms(path: &Path, names: &[String]) -> Result<(Vectorizer, Vec<(String, usize)>)> {
    let mut table = Table::open(path)?;
    let rows = 0..table.n_rows();
    let remedy = "columns `coefficient` and `term` are expected";
    let columns = table.texts("coefficient", rows.clone(), remedy)?;
    let mut products = Vec::new();
    for term in table.texts("term", rows, remedy)? {
        let factors = term.split('*').map(str::trim).filter(|factor| *factor != "1");
        let labels: Option<Vec<usize>> = factors.map(|factor| names.iter().position(|name| name == factor)).collect();
        products.push(labels.ok_or_else(|| {
            Error::format(path, format!("term `{term}` is not a product of the labels {}", names.join(", ")))
        })?);
    }
    let order = products.iter().map(Vec::len).max().unwrap_or(0);
    if !(1..=3).contains(&order) {
        return Err(Error::format(path, format!("terms of degree {order}; maury knows degrees 1 to 3")));
    }
    let vectorizer = Vectorizer::new(names.len(), order);
    let positions = products.iter().map(|labels| vectorizer.position(labels).expect("all products up to the order"));
    let columns: Vec<(String, usize)> = columns.into_iter().zip(positions).collect();
    if let Some((column, _)) = columns.iter().enumerate().find_map(|(n, column)| {
        columns[..n].iter().any(|(before, _)| before.eq_ignore_ascii_case(&column.0)).then_some(column)
    }) {
        return Err(Error::format(path, format!("coefficient `{column}` stands here twice; each has one term")));
    }
    let named = |term: &usize| columns.iter().filter(|(_, position)| position == term).count();
    let names = vectorizer.term_names(names);
    if let Some(term) = (0..names.len()).find(|term| named(term) > 1) {
        let detail = format!("term `{}` has {} coefficients, 1 expected", names[term], named(&term));
        return Err(Error::format(path, detail));
    }
    let absent: Vec<&str> = (0..names.len()).filter(|term| named(term) == 0).map(|term| names[term].as_str()).collect();
    if !absent.is_empty() {
        let detail = format!(
            "no coefficient for `{}`; a polynomial of degree {order} has all products of its labels, and a coefficient of 0 is one",
            absent.join("`, `")
        );
        return Err(Error::format(path, detail));
    }
    Ok((vectorizer, columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;

    const TERMS: &str = "coefficient,term\nc0,1\nc1,teff\nc2,teff*teff\n";

    fn imported(coefficients: &str, terms: &str) -> Result<TrainedCannon> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let foreign = ForeignCannon {
            coefficients: write("coefficients.csv", coefficients),
            terms: write("terms.csv", terms),
            pivot: write("pivot.csv", "label,pivot\nteff,4500\n"),
            training_labels: None,
            continuum: ContinuumSettings::default(),
        };
        import(&foreign, &Compute::flex(Precision::F64))
    }

    #[test]
    fn coefficients_and_terms_belong_together_one_to_one() {
        let row = "300,blue,15168.1,0.011,0.973,6.0e-5,-3.0e-8\n";
        let head = "pix8575,chip,wavelength_vac,scatter,c0,c1,c2\n";
        let whole = format!("{head}{row}");
        assert_eq!(imported(&whole, TERMS).unwrap().cannon.vectorizer().n_terms(), 3);
        let without = |line: &str| TERMS.replace(line, "");
        let refused = |coefficients: &str, terms: &str, said: &[&str]| {
            let err = imported(coefficients, terms).unwrap_err().to_string();
            said.iter().for_each(|words| assert!(err.contains(words), "`{words}` not in: {err}"));
        };
        // The highest term left out is a whole polynomial of the next degree, and another model.
        refused(&whole, &without("c2,teff*teff\n"), &["terms.csv", "no term for column `c2` of", "coefficients.csv"]);
        refused(&whole, &without("c1,teff\n"), &["terms.csv", "no coefficient for `teff`; a polynomial of degree 2"]);
        refused(&whole, &TERMS.replace("c1,", "c3,"), &["coefficients.csv", "no column `c3`, which", "terms.csv"]);
        refused(&whole, &TERMS.replace("c1,", "c0,"), &["coefficient `c0` stands here twice"]);
        refused(&whole, &format!("{TERMS}c3,teff\n"), &["term `teff` has 2 coefficients"]);
    }
}
