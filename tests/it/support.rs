//! What several tests need: random numbers, a small survey on disk, the program, the real data.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fitsio::FitsFile;
use fitsio::images::{ImageDescription, ImageType};
use fitsio::tables::{ColumnDataType, ColumnDescription};
use maury::data::spectrum_file::RawSpectrum;
use ndarray::Array2;
use ndarray_npy::{WritableElement, WriteNpyExt};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Pixels of an apStar spectrum.
pub const N_PIXELS: usize = 8575;

/// A line past the harness's capture: a log must show what its tests do not prove.
#[expect(clippy::explicit_write, reason = "the harness keeps what eprintln! says to itself")]
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// The pages of the book: every Markdown file in `docs`, its table of contents among them.
pub fn pages() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let paths = std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    pages.sort();
    pages
}

/// Where the real data lie beside the project; `None`, with a message, where they do not.
pub fn real_data(relative: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(relative);
    if path.exists() {
        return Some(path);
    }
    say(&format!("SKIPPED: real data {relative} not found beside the project (../shared/data)"));
    None
}

/// The Cannon of DR10 as a model folder `dr10`, and where real apStar files are; `None` where its tables or they are not.
pub fn dr10_and_spectra(work: &Path) -> Option<PathBuf> {
    let (cannon, spectra) = (real_data("cannon_dr10")?, real_data("apstar")?);
    let file = |name: &str| cannon.join(name).display().to_string();
    let (coefficients, terms, pivot) = (file("coefficients.csv"), file("terms.csv"), file("labels_baseline.csv"));
    let training = file("training_labels_dr10.csv");
    let import = ["import", "--coefficients", &coefficients, "--terms", &terms, "--pivot", &pivot];
    succeeded(work, &[&import[..], &["--training-labels", &training, "dr10"]].concat());
    Some(spectra)
}

/// Whether python3 has a package; says what is left out where it has not.
pub fn python_has(package: &str, left_out: &str) -> bool {
    let has = Command::new("python3").args(["-c", &format!("import {package}")]).output();
    let has = has.is_ok_and(|output| output.status.success());
    if !has {
        say(&format!("SKIPPED: {left_out} needs python3 with {package}"));
    }
    has
}

/// Whether a pixel has been measured.
pub fn is_measured(spectrum: &RawSpectrum, pixel: usize) -> bool {
    let error = spectrum.raw_error[pixel];
    spectrum.raw_flux[pixel].is_finite() && error.is_finite() && error > 0.0
}

/// The real apStar file that comes with the tests.
pub fn apstar_fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/apStar-dr17-2M19485057+5005279.fits")
}

/// Runs the program in a folder.
pub fn maury(folder: &Path, arguments: &[&str]) -> Output {
    maury_with(folder, arguments, &[])
}

/// Runs the program with further environment variables.
pub fn maury_with(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maury"));
    command.current_dir(folder).args(arguments).envs(environment.iter().copied()).output().expect("the program starts")
}

/// Runs the program, which must fail with this exit code and say all of this on stderr.
pub fn refused(folder: &Path, arguments: &[&str], code: i32, said: &[&str]) {
    let output = maury(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    for words in said {
        assert!(stderr.contains(words), "{arguments:?}: `{words}` not said in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// Runs the program, which must succeed; its stdout.
pub fn succeeded(folder: &Path, arguments: &[&str]) -> String {
    let output = maury(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("stdout is text")
}

/// Runs the program, which must succeed and say all of this on stderr; its stderr.
pub fn told(folder: &Path, arguments: &[&str], said: &[&str]) -> String {
    let output = maury(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    for words in said {
        assert!(stderr.contains(words), "{arguments:?}: `{words}` not said in: {stderr}");
    }
    stderr
}

/// Starts the program, which goes on.
pub fn start(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maury"));
    command.current_dir(folder).args(arguments).stderr(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("the program starts")
}

/// Waits until something is so, five minutes at the most.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{what}: not in five minutes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Stops the program as Ctrl-C does; what it says on stderr, which must hold all of this.
#[cfg(unix)]
pub fn stopped(child: Child, said: &[&str]) -> String {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    for words in said {
        assert!(stderr.contains(words), "`{words}` not said in: {stderr}");
    }
    stderr
}

/// The folder of an experiment's latest run.
pub fn latest(folder: &Path, slug: &str) -> PathBuf {
    folder.join("experiments").join(slug).join("latest")
}

/// A file of JSON.
pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What an experiment's latest run measured.
pub fn metrics(folder: &Path, slug: &str) -> Value {
    json(&latest(folder, slug).join("metrics.json"))
}

/// Column names and rows of a table in CSV.
pub fn csv(path: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let cells = |record: &csv::StringRecord| record.iter().map(String::from).collect();
    let names = cells(reader.headers().unwrap());
    (names, reader.records().map(|record| cells(&record.unwrap())).collect())
}

/// A column of a table in CSV.
pub fn column(path: &Path, name: &str) -> Vec<String> {
    let (names, rows) = csv(path);
    let index = names.iter().position(|known| known == name).unwrap_or_else(|| panic!("no {name} in {names:?}"));
    rows.into_iter().map(|mut row| row.swap_remove(index)).collect()
}

/// Name and a column's number of each row of a table in CSV; NaN where it has none.
pub fn numbers(path: &Path, name: &str) -> Vec<(String, f64)> {
    let values = column(path, name).into_iter().map(|cell| cell.parse().unwrap_or(f64::NAN));
    column(path, "id").into_iter().zip(values).collect()
}

/// An array in a file of its own.
pub fn save<T: WritableElement>(folder: &Path, name: &str, matrix: &Array2<T>) {
    matrix.write_npy(std::fs::File::create(folder.join(name)).unwrap()).unwrap();
}

/// Standard normal numbers.
pub struct Normal(ChaCha8Rng);

impl Normal {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.0.random_range(low..high)
    }

    pub fn draw(&mut self) -> f64 {
        maury::stats::normal::draw(&mut self.0)
    }
}

/// Spectra of a known quadratic Cannon in scaled labels, with unequal noise and masked pixels.
#[derive(Clone)]
pub struct Truth {
    pub labels: Array2<f64>,
    pub theta: Array2<f64>,
    pub flux: Array2<f32>,
    pub ivar: Array2<f32>,
}

impl Truth {
    /// Errors of the flux, infinite where a pixel is masked.
    pub fn error(&self) -> Array2<f32> {
        self.ivar.mapv(|v| if v > 0.0 { v.sqrt().recip() } else { f32::INFINITY })
    }

    /// Leaves `flux.npy`, `ivar.npy`, `error.npy` and, of two labels, `labels.csv` in a folder.
    pub fn save(&self, folder: &Path) {
        save(folder, "flux.npy", &self.flux);
        save(folder, "ivar.npy", &self.ivar);
        save(folder, "error.npy", &self.error());
        let rows = self.labels.rows().into_iter().enumerate();
        let rows: String = rows.map(|(n, row)| format!("s{n:03},{},{}\n", row[0], row[1])).collect();
        std::fs::write(folder.join("labels.csv"), format!("id,teff,logg\n{rows}")).unwrap();
    }
}

/// Products [1, l_i, l_i l_j] written out, for one star.
pub fn quadratic_terms(labels: &[f64]) -> Vec<f64> {
    let mut terms = vec![1.0];
    terms.extend(labels);
    for i in 0..labels.len() {
        for j in i..labels.len() {
            terms.push(labels[i] * labels[j]);
        }
    }
    terms
}

pub fn truth(n_stars: usize, n_labels: usize, n_pixels: usize, seed: u64) -> Truth {
    let mut normal = Normal::new(seed);
    let n_terms = (n_labels + 1) * (n_labels + 2) / 2;
    let labels = Array2::from_shape_fn((n_stars, n_labels), |_| normal.draw());
    let theta = Array2::from_shape_fn((n_terms, n_pixels), |(term, _)| {
        let size = [0.0, 0.04, 0.006][usize::from(term > 0) + usize::from(term > n_labels)];
        f64::from(u8::from(term == 0)) * 0.9 + size * normal.draw()
    });
    let scatter: Vec<f64> = (0..n_pixels).map(|j| if j % 4 == 0 { 0.0 } else { normal.uniform(0.0, 0.02) }).collect();
    let mut flux = Array2::zeros((n_stars, n_pixels));
    let mut ivar = Array2::zeros((n_stars, n_pixels));
    for n in 0..n_stars {
        let sigma = 10_f64.powf(normal.uniform(-2.7, -1.5));
        let terms = quadratic_terms(&labels.row(n).to_vec());
        for j in 0..n_pixels {
            let clean: f64 = terms.iter().zip(theta.column(j)).map(|(x, t)| x * t).sum();
            let masked = normal.uniform(0.0, 1.0) < 0.1;
            flux[[n, j]] = if masked { 1.0 } else { (clean + normal.draw() * sigma.hypot(scatter[j])) as f32 };
            ivar[[n, j]] = if masked { 0.0 } else { (1.0 / (sigma * sigma)) as f32 };
        }
    }
    Truth { labels, theta, flux, ivar }
}

/// An apStar file in the DR17 layout: f64 flux and error (2, 8575), i64 mask, NaN gaps, zero second row.
pub fn write_apstar(path: &Path, id: &str, flux: &[f64], error: &[f64], mask: &[i64]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = FitsFile::create(path).open().unwrap();
    let primary = file.primary_hdu().unwrap();
    for (key, value) in [("OBJID", id), ("FIELD", "M15")] {
        primary.write_key(&mut file, key, value).unwrap();
    }
    for (key, value) in [("CRVAL1", 4.179), ("CDELT1", 6e-6), ("CRPIX1", 1.0), ("SNR", 100.0), ("NVISITS", 1.0)] {
        primary.write_key(&mut file, key, value).unwrap();
    }
    let dimensions = [2, flux.len()];
    for values in [flux, error] {
        let description = ImageDescription { data_type: ImageType::Double, dimensions: &dimensions };
        let hdu = file.create_image("", &description).unwrap();
        hdu.write_section(&mut file, 0, flux.len(), values).unwrap();
    }
    let description = ImageDescription { data_type: ImageType::LongLong, dimensions: &dimensions };
    let hdu = file.create_image("", &description).unwrap();
    hdu.write_section(&mut file, 0, flux.len(), mask).unwrap();
}

/// A survey of `n` stars in a folder: `allStar.fits` and `spectra/apo25m/M15/...`, raw fluxes with gaps, lines that
/// follow the labels, a tilted continuum; every tenth pixel is continuum for every star (`continuum.csv`).
fn write_survey(folder: &Path, n: usize) {
    let mut normal = Normal::new(5);
    let ids: Vec<String> = (0..n).map(|star| format!("2M{star:08}+1234567")).collect();
    let files: Vec<String> = ids.iter().map(|id| format!("apStar-dr17-{id}.fits")).collect();
    let mut labels = vec![Vec::new(); 3];
    let slopes: Vec<[f64; 3]> = (0..N_PIXELS)
        .map(|pixel| {
            if pixel % 10 == 0 { [0.0; 3] } else { [0.03 * normal.draw(), 0.02 * normal.draw(), 0.04 * normal.draw()] }
        })
        .collect();
    for (id, file) in ids.iter().zip(&files) {
        let scaled = [normal.draw(), normal.draw(), normal.draw()];
        for (column, (value, (pivot, scale))) in
            labels.iter_mut().zip(scaled.iter().zip([(4500.0, 250.0), (2.0, 0.5), (-0.2, 0.25)]))
        {
            column.push(pivot + scale * value);
        }
        let brightness = normal.uniform(20.0, 2000.0);
        let (mut flux, mut error) = (vec![f64::NAN; N_PIXELS], vec![f64::NAN; N_PIXELS]);
        for pixel in (201..3319).chain(3537..6125).chain(6295..8377) {
            let continuum = brightness * (1.2 - 0.4 * pixel as f64 / N_PIXELS as f64);
            let depth = if pixel % 10 == 0 { 0.0 } else { 0.15 };
            let line: f64 = slopes[pixel].iter().zip(scaled).map(|(slope, label)| slope * label).sum();
            error[pixel] = 0.01 * continuum;
            flux[pixel] = continuum * (1.0 - depth + line) + error[pixel] * normal.draw();
        }
        write_apstar(&folder.join("spectra/apo25m/M15").join(file), id, &flux, &error, &vec![0; N_PIXELS]);
    }
    let mut list = String::from("pixel\n");
    (0..N_PIXELS).step_by(10).for_each(|pixel| list += &format!("{pixel}\n"));
    std::fs::write(folder.join("continuum.csv"), list).unwrap();

    let mut file = FitsFile::create(folder.join("allStar.fits")).open().unwrap();
    let text = |name: &str, width| {
        ColumnDescription::new(name).with_type(ColumnDataType::String).that_repeats(width).create().unwrap()
    };
    let float = |name: &str| ColumnDescription::new(name).with_type(ColumnDataType::Float).create().unwrap();
    let names = ["TEFF", "LOGG", "FE_H"];
    let mut columns =
        vec![text("FILE", 64), text("APOGEE_ID", 30), text("TELESCOPE", 6), text("FIELD", 20), float("SNR")];
    columns.extend(names.map(float));
    let table = file.create_table("allStar", &columns).unwrap();
    table.write_col(&mut file, "FILE", &files).unwrap();
    table.write_col(&mut file, "APOGEE_ID", &ids).unwrap();
    table.write_col(&mut file, "TELESCOPE", &vec!["apo25m".to_string(); n]).unwrap();
    table.write_col(&mut file, "FIELD", &vec!["M15".to_string(); n]).unwrap();
    table.write_col(&mut file, "SNR", &vec![100.0_f32; n]).unwrap();
    for (name, values) in names.iter().zip(&labels) {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        table.write_col(&mut file, *name, &values).unwrap();
    }
}

/// An experiment file on the small survey.
const SURVEY_EXPERIMENT: &str = "\
labels = [\"teff\", \"logg\", \"fe_h\"]
[data.apstar]
catalogue = \"allStar.fits\"
spectra = \"spectra\"
[continuum]
pixels = \"continuum.csv\"
[selection.ranges]
snr = { min = 50 }
";

/// A folder with the small survey of `n` stars and its experiment, `lab.toml`.
pub fn survey(n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_survey(folder.path(), n);
    std::fs::write(folder.path().join("lab.toml"), SURVEY_EXPERIMENT).unwrap();
    folder
}
