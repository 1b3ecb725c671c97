//! Inputs that are not what they are taken for: recognised, named, and never a number without a word.

use std::io::Write;
use std::path::Path;

use maury::data::table::Table;
use maury::data::{apstar, fits};
use ndarray::Array2;

use crate::support::{N_PIXELS, Truth, maury, refused, save, succeeded, survey, told, truth, write_apstar};

const EXPERIMENT: &str = "\
labels = [\"teff\", \"logg\"]
split = \"halves\"
[data.arrays]
flux = \"flux.npy\"
error = \"error.npy\"
labels = \"labels.csv\"
[continuum]
method = \"none\"
";

/// 120 normalized spectra of 30 pixels, their errors and labels, and an experiment on them.
fn arrays() -> (tempfile::TempDir, Truth) {
    let folder = tempfile::tempdir().unwrap();
    let truth = truth(120, 2, 30, 71);
    truth.save(folder.path());
    let rows = truth.labels.rows().into_iter().enumerate().map(|(n, row)| format!("=s{n},{},{}\n", row[0], row[1]));
    std::fs::write(folder.path().join("labels.csv"), format!("id,teff,logg\n{}", rows.collect::<String>())).unwrap();
    std::fs::write(folder.path().join("own.toml"), EXPERIMENT).unwrap();
    (folder, truth)
}

/// Runs the experiment with some settings; the estimates of Teff.
fn estimates(folder: &Path, sets: &[&str]) -> Vec<f64> {
    let mut arguments = vec!["run", "own.toml"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    succeeded(folder, &arguments);
    let mut table = Table::open(&folder.join("experiments/own/latest/predictions.fits")).unwrap();
    let rows = 0..table.n_rows();
    table.numbers("teff_estimate", rows, "").unwrap()
}

fn refuse(folder: &Path, sets: &[&str], said: &[&str]) {
    let mut arguments = vec!["run", "own.toml"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    refused(folder, &arguments, 1, said);
}

fn assert_close(one: &[f64], other: &[f64], tolerance: f64) {
    assert_eq!(one.len(), other.len());
    for (a, b) in one.iter().zip(other) {
        assert!((a - b).abs() < tolerance, "{a} {b}");
    }
}

#[test]
fn fluxes_of_any_unit_give_the_same_labels_by_error_and_by_ivar() {
    let (folder, truth) = arrays();
    let folder = folder.path();
    let pixels: String = (0..30).map(|pixel| format!("{pixel}\n")).collect();
    std::fs::write(folder.join("pixels.csv"), format!("pixel\n{pixels}")).unwrap();
    let continuum =
        ["continuum.method=chebyshev", "continuum.order=0", "continuum.pixels=pixels.csv", "continuum.min_pixels=5"];
    let plain = estimates(folder, &continuum);
    let wide = |factor: f64, of: &Array2<f32>| of.mapv(|value| f64::from(value) * factor);
    // Inverse variances of 1e44 and more, far beyond single precision.
    save(folder, "cgs.npy", &wide(1e-20, &truth.flux));
    save(folder, "cgs_ivar.npy", &wide(1e40, &truth.ivar));
    let sigma = truth.ivar.mapv(|v| f64::from(v).sqrt().recip() * 1e-20);
    save(folder, "cgs_error.npy", &sigma);
    let with = |noise: &'static str| [&["data.arrays.flux=cgs.npy", noise][..], &continuum].concat();
    let by_error = estimates(folder, &with("data.arrays.error=cgs_error.npy"));
    let toml = EXPERIMENT.replace("error = \"error.npy\"", "ivar = \"cgs_ivar.npy\"");
    std::fs::write(folder.join("own.toml"), toml).unwrap();
    let by_ivar = estimates(folder, &[&["data.arrays.flux=cgs.npy"][..], &continuum].concat());
    assert_close(&by_error, &plain, 1e-4);
    assert_close(&by_ivar, &plain, 1e-4);
}

#[test]
fn one_file_of_several_images_is_read_by_name_and_none_serves_twice() {
    let (folder, truth) = arrays();
    let folder = folder.path();
    let expected = estimates(folder, &[]);
    std::fs::write(folder.join("own.toml"), EXPERIMENT.replace("error = \"error.npy\"", "ivar = \"a.fits[IVAR]\""))
        .unwrap();
    fits::write(&folder.join("a.fits"), |fits| {
        fits.image_f32("FLUX", truth.flux.as_slice().unwrap(), [120, 30])?;
        fits.image_f32("IVAR", truth.ivar.as_slice().unwrap(), [120, 30])
    })
    .unwrap();
    let named = estimates(folder, &["data.arrays.flux=a.fits[FLUX]"]);
    assert_close(&named, &expected, 1e-4);
    refuse(folder, &["data.arrays.flux=a.fits"], &["pick one", "a.fits[FLUX], a.fits[IVAR]"]);
    refuse(folder, &["data.arrays.flux=a.fits[2]"], &["both are the array", "FILE.fits[NAME]"]);
    std::os::unix::fs::symlink(folder.join("ivar.npy"), folder.join("link.npy")).unwrap();
    let twice = ["data.arrays.flux=ivar.npy", "data.arrays.ivar=link.npy"];
    refuse(folder, &twice, &["data.arrays.flux and data.arrays.ivar", "both are the array"]);
}

#[test]
fn spectra_that_are_not_normalized_and_errors_that_are_none_are_refused() {
    let (folder, truth) = arrays();
    let folder = folder.path();
    save(folder, "counts.npy", &truth.flux.mapv(|flux| flux * 1500.0));
    save(folder, "noise.npy", &truth.flux.mapv(|_| 15.0_f32));
    let counts = ["data.arrays.flux=counts.npy", "data.arrays.error=noise.npy"];
    refuse(folder, &counts, &["for spectra that come normalized", "continuum.pixels = \"find\""]);
    save(folder, "zero.npy", &Array2::<f32>::zeros((120, 30)));
    refuse(folder, &["data.arrays.error=zero.npy"], &["usable pixels: no spectrum has any", "are all errors 0"]);
    // Where continuum pixels are to be found, spectra are asked for before labels.
    let find = ["data.arrays.error=zero.npy", "continuum.method=chebyshev", "continuum.pixels=find"];
    refuse(folder, &find, &["usable pixels: no spectrum has any", "are all errors 0"]);
    let mut one = Array2::<f32>::zeros((120, 30));
    one.row_mut(0).fill(0.01);
    save(folder, "one.npy", &one);
    let find = ["data.arrays.error=one.npy", find[1], find[2], "split=all"];
    refuse(folder, &find, &["finding continuum pixels: 1 star left", "119 of 120 training stars", "no usable pixel"]);
    save(folder, "huge.npy", &truth.flux.mapv(|_| 1e5_f32));
    refuse(folder, &["data.arrays.error=huge.npy"], &["usable pixels: no spectrum has any", "inverse variances"]);
    for (value, said) in
        [(0.0_f32, "data.arrays.ivar is 0 or below in"), (f32::NAN, "is data.arrays.ivar NaN throughout")]
    {
        save(folder, "none.npy", &truth.flux.mapv(|_| value));
        let own = std::fs::read_to_string(folder.join("own.toml")).unwrap().replace("error = ", "ivar = ");
        std::fs::write(folder.join("ivar.toml"), own).unwrap();
        let words = ["prepare", "ivar.toml", "--set", "data.arrays.ivar=none.npy"];
        refused(folder, &words, 1, &["usable pixels: no spectrum has any", "data.arrays.ivar", said]);
    }
    save(folder, "large.npy", &truth.flux.mapv(|_| 100.0_f32));
    let output = maury(folder, &["prepare", "own.toml", "--set", "data.arrays.error=large.npy"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("times its flux: is data.arrays.error what it says, or ivar?"), "{stderr}");
}

#[test]
fn wavelengths_in_another_unit_are_named() {
    let (folder, _) = arrays();
    let folder = folder.path();
    let write = |of: &dyn Fn(f64) -> f64| {
        let lines: String = (0..30).map(|pixel| format!("{}\n", of(15_200.0 + 0.2 * f64::from(pixel)))).collect();
        std::fs::write(folder.join("w.csv"), format!("wavelength\n{lines}")).unwrap();
    };
    let with = ["data.arrays.wavelengths=w.csv"];
    write(&f64::log10);
    refuse(folder, &with, &["w.csv", "log10 of Angstrom; give 10 to their power"]);
    write(&|w| w / 10.0);
    refuse(folder, &with, &["nanometres; multiply by 10"]);
    write(&|w| 30_000.0 - w);
    refuse(folder, &with, &["descend; reverse them"]);
    write(&|w| w);
    estimates(folder, &with);
}

#[test]
fn identifiers_that_look_like_formulas_are_shielded_and_read_back() {
    let (folder, _) = arrays();
    estimates(folder.path(), &[]);
    let path = folder.path().join("experiments/own/latest/predictions.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().skip(1).all(|line| line.starts_with("'=s")), "{text}");
    let mut table = Table::open(&path).unwrap();
    let rows = 0..table.n_rows();
    assert!(table.texts("id", rows, "").unwrap().iter().all(|id| id.starts_with("=s")));
}

#[test]
fn labels_under_other_names_and_worked_out_train_the_same_model() {
    let (folder, truth) = arrays();
    let folder = folder.path();
    let expected = estimates(folder, &[]);
    let row = |(n, row): (usize, ndarray::ArrayView1<f64>)| format!("=s{n}\t{}\t{}\n", row[0] / 2.0, row[1]);
    let rows: String = truth.labels.rows().into_iter().enumerate().map(row).collect();
    std::fs::write(folder.join("other.tsv"), format!("star id\thalf\tlog g\n{rows}")).unwrap();
    let columns = "[data.columns]\nteff = \"2 * half\"\nlogg = { column = \"log g\" }\nid = { column = \"star id\" }\n";
    std::fs::write(folder.join("own.toml"), format!("{}{columns}", EXPERIMENT.replace("labels.csv", "other.tsv")))
        .unwrap();
    assert_close(&estimates(folder, &[]), &expected, 1e-9);
    let resolved = std::fs::read_to_string(folder.join("experiments/own/latest/experiment.toml")).unwrap();
    assert!(resolved.contains("teff = \"2 * half\""), "{resolved}");
    refuse(folder, &["data.columns.teff=\"2 * hlaf\""], &["data.columns.teff = \"2 * hlaf\"", "did you mean half?"]);
    let wrong = |set: &str, said: &[&str]| refused(folder, &["run", "own.toml", "--set", set], 2, said);
    wrong("data.columns.teff=\"2 *\"", &["data.columns.teff", "it ends where", "at character 4"]);
    wrong("data.columns.tef=\"half\"", &["data.columns.tef", "did you mean teff?"]);
    wrong("data.arrays.id_column=\"star id\"", &["data.columns.id", "data.arrays.id_column"]);
    wrong("selection.reject_marked=[\"\"]", &["selection.reject_marked", "columns of yes or no"]);
    wrong("data.columns.teff.errors=\"x\"", &["errors"]);
}

fn spectrum(path: &Path) {
    write_apstar(path, "2M0", &[100.0; N_PIXELS], &[1.0; N_PIXELS], &[0; N_PIXELS]);
}

/// Puts a value into the first card of a key, after some other bytes.
fn set_card(path: &Path, after: &[u8], key: &str, value: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what).unwrap();
    let from = find(&bytes, after);
    let at = from + find(&bytes[from..], format!("{key:<8}=").as_bytes());
    bytes[at..at + 80].copy_from_slice(format!("{:<80}", format!("{key:<8}= {value:>20}")).as_bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn headers_without_wavelengths_and_files_of_model_spectra_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.fits");
    let said = || apstar::read(&path).unwrap_err().to_string();
    for (key, value) in [("CRVAL1", "NaN"), ("CDELT1", "'abc'"), ("CRPIX1", "Infinity"), ("CRVAL1", "1E400")] {
        spectrum(&path);
        set_card(&path, b"SIMPLE", key, value);
        assert!(said().contains(&format!("{key} is not a finite number")), "{}", said());
        std::fs::remove_file(&path).unwrap();
    }
    spectrum(&path);
    set_card(&path, b"SIMPLE", "CDELT1", "");
    assert!(said().contains("CDELT1"), "{}", said());
    let values = vec![1.0_f32; 2 * N_PIXELS];
    fits::write(&path, |fits| {
        ["FLUX", "ERROR", "MODEL"].iter().try_for_each(|name| fits.image_f32(name, &values, [2, N_PIXELS]))
    })
    .unwrap();
    assert!(said().contains("aspcapStar") && said().contains("HDU 3"), "{}", said());
}

#[test]
fn what_a_file_claims_is_held_against_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.fits");
    let said = |path: &Path| apstar::read(path).unwrap_err().to_string();
    let long = vec![1.0_f32; 200_000];
    fits::write(&path, |fits| (0..3).try_for_each(|_| fits.image_f32("LONG", &long, [1, 200_000]))).unwrap();
    assert!(said(&path).contains("claims axes [1, 200000], at most"), "{}", said(&path));
    let bomb = folder.path().join("b.fits.gz");
    let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(&bomb).unwrap(), flate2::Compression::fast());
    std::fs::remove_file(&path).unwrap();
    spectrum(&path);
    packed.write_all(&std::fs::read(&path).unwrap()).unwrap();
    (0..300).for_each(|_| packed.write_all(&[0; 1 << 20]).unwrap());
    packed.finish().unwrap();
    assert!(said(&bomb).contains("expands to more than 256 MB"), "{}", said(&bomb));
    let said_of_table = Table::open(&bomb).err().unwrap().to_string();
    assert!(
        said_of_table.contains("expands to more than") && said_of_table.contains("no file of its kind and size does"),
        "{said_of_table}"
    );
    let table = folder.path().join("t.fits");
    for claim in ["1099511627776", "4611686018427387904"] {
        fits::write(&table, |fits| fits.table("T", &[fits::Column::f64("teff", "K", vec![1.0; 3])])).unwrap();
        set_card(&table, b"BINTABLE", "NAXIS2", claim);
        let said = Table::open(&table).err().unwrap().to_string();
        assert!(said.contains(&format!("{claim} rows")) && said.contains("bytes long"), "{said}");
    }
}

/// The small survey with a catalogue in CSV, whose rows a closure may change: (id, file, field).
fn with_catalogue(n: usize, change: impl Fn(usize, &mut [String; 3])) -> tempfile::TempDir {
    let folder = survey(n);
    let mut table = Table::open(&folder.path().join("allStar.fits")).unwrap();
    let texts = |table: &mut Table, name: &str| table.texts(name, 0..n, "").unwrap();
    let (ids, files) = (texts(&mut table, "APOGEE_ID"), texts(&mut table, "FILE"));
    let labels = ["TEFF", "LOGG", "FE_H"].map(|name| table.numbers(name, 0..n, "").unwrap());
    let mut text = "apogee_id,file,telescope,field,snr,teff,logg,fe_h\n".to_string();
    for star in 0..n {
        let mut row = [ids[star].clone(), files[star].clone(), "M15".to_string()];
        change(star, &mut row);
        let [id, file, field] = row;
        let [teff, logg, fe_h] = [0, 1, 2].map(|k| labels[k][star]);
        text += &format!("{id},{file},apo25m,{field},100,{teff},{logg},{fe_h}\n");
    }
    std::fs::write(folder.path().join("own.csv"), text).unwrap();
    folder
}

const OWN: [&str; 4] = ["prepare", "lab.toml", "--set", "data.apstar.catalogue=own.csv"];

#[test]
fn a_catalogue_whose_rows_name_other_stars_files_is_noticed() {
    let file = |star: usize| format!("apStar-dr17-2M{star:08}+1234567.fits");
    let shifted = with_catalogue(12, |star, row| row[1] = file((star + 1) % 12));
    refused(shifted.path(), &OWN, 1, &["12 of 12 files hold another star", "of the same rows"]);
    let found = [&OWN[..], &["--set", "continuum.pixels=find"]].concat();
    refused(shifted.path(), &found, 1, &["6 of 6 files hold another star"]);
    let swapped = with_catalogue(12, |star, row| row[1] = file([1, 0].get(star).copied().unwrap_or(star)));
    told(swapped.path(), &OWN, &["2 of 12 files hold another star"]);
}

#[test]
fn spectra_that_are_not_on_disk_are_blamed_for_the_stars_that_are_too_few() {
    let folder = survey(12);
    let place = folder.path().join("spectra/apo25m/M15");
    let remove = |star: usize| std::fs::remove_file(place.join(format!("apStar-dr17-2M{star:08}+1234567.fits")));
    (1..12).for_each(|star| remove(star).unwrap());
    let said = ["1 star left", "11 of 12 spectra were not found below spectra", "apStar-dr17-2M00000001+1234567.fits"];
    refused(folder.path(), &["run", "lab.toml"], 1, &said);
    remove(0).unwrap();
    let said = ["selection: 0 stars left", "12 of 12 spectra were not found", "maury fetch"];
    refused(folder.path(), &["run", "lab.toml"], 1, &said);
    let said = ["the cut `snr >= 1000000000` alone removed 12 stars"];
    refused(folder.path(), &["run", "lab.toml", "--set", "selection.ranges.snr.min=1e9"], 1, &said);
}

#[test]
fn a_catalogue_that_points_out_of_the_folder_of_spectra_is_refused() {
    let folder = with_catalogue(3, |_, row| row[2] = "../../outside".into());
    let spectra = folder.path().join("spectra");
    std::fs::rename(spectra.join("apo25m/M15"), folder.path().join("outside")).unwrap();
    refused(folder.path(), &OWN, 1, &["FIELD", "../../outside", "leads out of this folder"]);
}

#[test]
fn a_prepared_set_with_a_turned_bit_is_prepared_again() {
    let folder = survey(6);
    succeeded(folder.path(), &["prepare", "lab.toml"]);
    let kept = std::fs::read_dir(folder.path().join("experiments/.prepared")).unwrap();
    let path =
        kept.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "fits")).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    // In the middle of the fluxes.
    damaged[50_000] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    told(folder.path(), &["prepare", "lab.toml"], &["damaged", "prepared again"]);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn what_changes_no_spectrum_prepares_none_again() {
    let folder = survey(6);
    let prepare = |set: &str| {
        let stderr = told(folder.path(), &["prepare", "lab.toml", "--set", set], &[]);
        stderr.contains("prepared set taken from")
    };
    std::fs::write(folder.path().join("truth.csv"), "id,teff,logg,fe_h\n2M00000000+1234567,4500,2,0\n").unwrap();
    assert!(!prepare("seed=1"));
    for set in ["data.truth=truth.csv", "data.mystery=own.fits", "data.archive.retries=2", "seed=2"] {
        assert!(prepare(set), "{set}");
    }
    assert!(!prepare("pixmask.bits=[0]"));
}

#[test]
fn pipes_and_devices_are_no_files_and_an_error_is_said_once() {
    let (folder, _) = arrays();
    let folder = folder.path();
    assert!(std::process::Command::new("mkfifo").arg(folder.join("pipe.npy")).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", folder.join("zero.csv")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.join("zero.toml")).unwrap();
    refuse(folder, &["data.arrays.flux=pipe.npy"], &["pipe.npy", "not a regular file"]);
    refuse(folder, &["data.arrays.labels=zero.csv"], &["zero.csv", "not a regular file"]);
    refuse(folder, &["data.arrays.id_column=nam"], &["no column nam", "data.arrays.id_column"]);
    refused(folder, &["run", "zero.toml"], 1, &["zero.toml", "not a regular file"]);
    let output = maury(folder, &["run", "absent.toml"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.matches("No such file").count(), 1, "{stderr}");
}
