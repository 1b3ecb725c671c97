//! One test per fault that was found once: none comes back.

use std::path::Path;

use maury::data::apstar;
use maury::data::fits::FitsReader;
use maury::data::table::Table;
use ndarray::Array2;
use ndarray_npy::NpzWriter;

use crate::support::{apstar_fixture, maury, metrics, refused, save, succeeded, survey, truth, write_apstar};

/// One header-data unit from its cards and data bytes, padded as FITS wants it.
fn hdu(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = cards.iter().chain(&["END"]).flat_map(|card| format!("{card:<80}").into_bytes()).collect();
    bytes.resize(bytes.len().div_ceil(2880) * 2880, b' ');
    bytes.extend(data);
    bytes.resize(bytes.len().div_ceil(2880) * 2880, 0);
    bytes
}

fn primary() -> Vec<u8> {
    hdu(&["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"], &[])
}

fn image(bitpix: i32, axes: &[usize], extra: &[&str], data: &[u8]) -> Vec<u8> {
    let mut cards = vec![
        "XTENSION= 'IMAGE   '".to_string(),
        format!("BITPIX  = {bitpix:>20}"),
        format!("NAXIS   = {:>20}", axes.len()),
    ];
    cards
        .extend(axes.iter().rev().enumerate().map(|(axis, n)| format!("{:<8}= {n:>20}", format!("NAXIS{}", axis + 1))));
    cards.extend(["PCOUNT  =                    0", "GCOUNT  =                    1"].map(String::from));
    cards.extend(extra.iter().map(|card| card.to_string()));
    hdu(&cards.iter().map(String::as_str).collect::<Vec<_>>(), data)
}

fn table(kind: &str, row_bytes: usize, n_rows: usize, columns: &[&str], data: &[u8]) -> Vec<u8> {
    let n_columns = columns.iter().filter(|card| card.starts_with("TFORM")).count();
    let mut cards = vec![
        format!("XTENSION= '{kind:<8}'"),
        "BITPIX  =                    8".to_string(),
        "NAXIS   =                    2".to_string(),
        format!("NAXIS1  = {row_bytes:>20}"),
        format!("NAXIS2  = {n_rows:>20}"),
        "PCOUNT  =                    0".to_string(),
        "GCOUNT  =                    1".to_string(),
        format!("TFIELDS = {n_columns:>20}"),
    ];
    cards.extend(columns.iter().map(|card| card.to_string()));
    hdu(&cards.iter().map(String::as_str).collect::<Vec<_>>(), data)
}

fn write(path: &Path, parts: &[Vec<u8>]) {
    std::fs::write(path, parts.concat()).unwrap();
}

#[test]
fn ascii_tables_with_wide_text_do_not_overrun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ascii.fits");
    let rows: String = (0..300).map(|n| format!("S{n:0199}{:12.3}", 4500.0 + f64::from(n))).collect();
    let columns = [
        "TTYPE1  = 'apogee_id'",
        "TFORM1  = 'A200    '",
        "TBCOL1  =                    1",
        "TTYPE2  = 'teff    '",
        "TFORM2  = 'F12.3   '",
        "TBCOL2  =                  201",
    ];
    write(&path, &[primary(), table("TABLE", 212, 300, &columns, rows.as_bytes())]);
    let mut table = Table::open(&path).unwrap();
    let ids = table.texts("apogee_id", 0..300, "").unwrap();
    assert_eq!((ids[7].len(), &ids[7][195..]), (200, "00007"));
    assert_eq!(table.numbers("teff", 7..8, "").unwrap(), [4507.0]);
}

#[test]
fn undefined_integers_are_missing_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("null.fits");
    let columns = ["TTYPE1  = 'teff    '", "TFORM1  = 'I       '", "TNULL1  =                   -1"];
    write(&path, &[primary(), table("BINTABLE", 2, 2, &columns, &[0x11, 0x94, 0xff, 0xff])]);
    let teff = Table::open(&path).unwrap().numbers("teff", 0..2, "").unwrap();
    assert!(teff[0] == 4500.0 && teff[1].is_nan(), "{teff:?}");
}

#[test]
fn logical_columns_are_yes_no_or_missing_and_lists_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logical.fits");
    let columns = ["TTYPE1  = 'bad     '", "TFORM1  = 'L       '", "TTYPE2  = 'masks   '", "TFORM2  = '2B      '"];
    write(&path, &[primary(), table("BINTABLE", 3, 3, &columns, b"T\x01\x02F\x01\x02\0\x01\x02")]);
    let mut table = Table::open(&path).unwrap();
    let bad = table.numbers("bad", 0..3, "").unwrap();
    assert!(bad[..2] == [1.0, 0.0] && bad[2].is_nan(), "{bad:?}");
    assert_eq!(table.flags("bad", 0..3).unwrap(), [1, 0, 0]);
    assert_eq!(table.texts("bad", 0..3, "").unwrap(), ["true", "false", ""]);
    let said = table.flags("masks", 0..3).unwrap_err().to_string();
    assert!(said.contains("column masks holds 2 values a row, not one whole number"), "{said}");
}

#[test]
fn undefined_pixels_of_scaled_images_are_nan() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blank.fits");
    let extra = ["BSCALE  =                  0.5", "BZERO   =                  100", "BLANK   =                32767"];
    write(&path, &[primary(), image(16, &[2], &extra, &[0, 10, 0x7f, 0xff])]);
    let values: Vec<f64> = FitsReader::open(&path).unwrap().image_section(1, 0..2).unwrap();
    assert!(values[0] == 105.0 && values[1].is_nan(), "{values:?}");
}

#[test]
fn columns_of_other_kinds_are_no_concern_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("complex.fits");
    let columns = ["TTYPE1  = 'z       '", "TFORM1  = 'C       '", "TTYPE2  = 'teff    '", "TFORM2  = 'I       '"];
    write(&path, &[primary(), table("BINTABLE", 10, 1, &columns, &[0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x94])]);
    let mut table = Table::open(&path).unwrap();
    assert_eq!(table.numbers("teff", 0..1, "").unwrap(), [4500.0]);
    assert!(table.texts("z", 0..1, "").unwrap_err().to_string().contains("text or integer"));
}

#[test]
fn files_shaped_otherwise_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.fits");
    let flat = |n: usize| image(-32, &[n], &[], &vec![0; 4 * n]);
    let any_table = table("BINTABLE", 2, 1, &["TTYPE1  = 'a       '", "TFORM1  = 'I       '"], &[0, 0]);
    let cases: [(&str, Vec<Vec<u8>>); 6] = [
        ("3 HDUs, at least 4 expected", vec![primary(), flat(9), flat(9)]),
        ("HDU 1 is a table where the flux image", vec![primary(), any_table.clone(), flat(9), flat(9)]),
        ("HDU 1 (flux) has axes [2, 3, 4]", vec![primary(), image(-32, &[2, 3, 4], &[], &[0; 96]), flat(9), flat(9)]),
        ("flux has 9 pixels, mask has 8", vec![primary(), flat(9), flat(9), flat(8)]),
        ("flux has 9 pixels, error has 7", vec![primary(), flat(9), flat(7), flat(9)]),
        ("HDU 3 is a table where the mask image", vec![primary(), flat(9), flat(9), any_table]),
    ];
    for (said, parts) in cases {
        write(&path, &parts);
        let message = apstar::read(&path).unwrap_err().to_string();
        assert!(message.contains("odd.fits") && message.contains(said), "{said}: {message}");
    }
}

#[test]
fn masks_of_every_width_and_single_rows_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.fits");
    let flux = || image(-32, &[3], &[], &[1.0_f32, 2.0, 3.0].map(f32::to_be_bytes).concat());
    let masks = [
        image(16, &[3], &[], &[0_i16, 1, 4096].map(i16::to_be_bytes).concat()),
        image(32, &[3], &[], &[0_i32, 1, 4096].map(i32::to_be_bytes).concat()),
        image(64, &[2, 3], &[], &[0_i64, 1, 4096, 0, 0, 0].map(i64::to_be_bytes).concat()),
    ];
    for mask in masks {
        write(&path, &[primary(), flux(), flux(), mask]);
        let raw = apstar::read(&path).unwrap();
        assert_eq!((raw.raw_flux, raw.pixmask), (vec![1.0, 2.0, 3.0], vec![0, 1, 4096]));
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.fits");
    let whole = std::fs::read(apstar_fixture()).unwrap();
    for length in [0, 79, 2879, 2880, 9000, 11520, 100_000, 300_000] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(apstar::read(&path).is_err(), "{length} bytes");
    }
}

/// Two sets of arrays in one .npz, and labels.
fn two_sets(folder: &Path) -> Vec<String> {
    let truth = truth(120, 2, 30, 71);
    let mut archive = NpzWriter::new(std::fs::File::create(folder.join("two.npz")).unwrap());
    archive.add_array("a", &truth.flux).unwrap();
    archive.add_array("b", &truth.flux.mapv(|f| 0.5 * f + 0.5)).unwrap();
    archive.finish().unwrap();
    save(folder, "noise.npy", &Array2::from_elem((120, 30), 100.0_f32));
    let rows: String = truth.labels.rows().into_iter().map(|row| format!("{},{}\n", row[0], row[1])).collect();
    std::fs::write(folder.join("labels.csv"), format!("teff,logg\n{rows}")).unwrap();
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/arrays.toml"), folder.join("arrays.toml"))
        .unwrap();
    ["run", "arrays.toml", "--set", "data.arrays.labels=labels.csv", "--set", "labels=[\"teff\",\"logg\"]"]
        .map(String::from)
        .to_vec()
}

fn chi2(folder: &Path) -> f64 {
    metrics(folder, "arrays")["models"]["cannon"]["chi2_reduced_median"].as_f64().unwrap()
}

#[test]
fn the_cache_knows_which_array_is_what() {
    let folder = tempfile::tempdir().unwrap();
    let base = two_sets(folder.path());
    let run = |sets: &[&str]| {
        let mut arguments: Vec<&str> = base.iter().map(String::as_str).collect();
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        succeeded(folder.path(), &arguments);
        chi2(folder.path())
    };
    let a = run(&["data.arrays.flux=two.npz:a", "data.arrays.ivar=noise.npy"]);
    let b = run(&["data.arrays.flux=two.npz:b", "data.arrays.ivar=noise.npy"]);
    let as_error = run(&["data.arrays.flux=two.npz:a", "data.arrays.error=noise.npy"]);
    assert!(a != b && a != as_error && as_error < 1e-3, "{a} {b} {as_error}");
    let mut arguments: Vec<&str> = base.iter().map(String::as_str).collect();
    arguments.extend(["--set", "data.arrays.flux=two.npz", "--set", "data.arrays.ivar=noise.npy"]);
    refused(folder.path(), &arguments, 1, &["more than one two-dimensional array", "two.npz:a or", "two.npz:b"]);
}

#[test]
fn fluxes_in_physical_units_do_not_vanish() {
    let folder = tempfile::tempdir().unwrap();
    let base = two_sets(folder.path());
    let truth = truth(120, 2, 30, 71);
    save(folder.path(), "flux.npy", &truth.flux.mapv(|f| 1e-17 * f64::from(f)));
    save(folder.path(), "error.npy", &truth.error().mapv(|error| 1e-17 * f64::from(error)));
    std::fs::write(
        folder.path().join("continuum.csv"),
        format!("pixel\n{}", (0..30).map(|p| format!("{p}\n")).collect::<String>()),
    )
    .unwrap();
    let mut arguments: Vec<&str> = base.iter().map(String::as_str).collect();
    for set in [
        "data.arrays.flux=flux.npy",
        "data.arrays.error=error.npy",
        "continuum.method=chebyshev",
        "continuum.order=0",
        "continuum.pixels=continuum.csv",
        "continuum.min_pixels=5",
    ] {
        arguments.extend(["--set", set]);
    }
    succeeded(folder.path(), &arguments);
}

#[test]
fn stars_without_a_label_are_labelled_but_do_not_train() {
    let folder = tempfile::tempdir().unwrap();
    let base = two_sets(folder.path());
    let text = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
    let holes: Vec<String> =
        text.lines().enumerate().map(|(n, line)| if n % 5 == 1 { ",2.0".into() } else { line.to_string() }).collect();
    std::fs::write(folder.path().join("labels.csv"), holes.join("\n")).unwrap();
    let mut arguments: Vec<&str> = base.iter().map(String::as_str).collect();
    arguments.extend([
        "--set",
        "data.arrays.flux=two.npz:a",
        "--set",
        "data.arrays.ivar=noise.npy",
        "--set",
        "selection.keep_missing_labels=true",
    ]);
    succeeded(folder.path(), &arguments);
    let model = &metrics(folder.path(), "arrays")["models"]["cannon"];
    let missing = model["n_flagged"]["LABEL_MISSING"].as_u64().unwrap();
    assert!(missing > 0 && model["n_train"].as_u64().unwrap() < 60);
    assert_eq!(model["labels"]["teff"]["n_stars"].as_u64().unwrap() + missing, model["n_test"].as_u64().unwrap());
    assert_eq!(model["labels"]["logg"]["n_stars"], model["n_test"]);
}

#[test]
fn a_cut_on_an_absent_column_is_refused() {
    let folder = survey(3);
    let set = ["run", "lab.toml", "--set", "selection.reject_starflag_bits=[3]"];
    refused(folder.path(), &set, 1, &["no column STARFLAG", "remove that cut"]);
}

#[cfg(unix)]
#[test]
fn links_pipes_and_brackets_in_a_folder_do_no_harm() {
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    let odd = folder.path().join("odd (1)[2]");
    std::fs::create_dir(&odd).unwrap();
    for name in ["p", "q"] {
        std::os::unix::fs::symlink(".", odd.join(name)).unwrap();
    }
    assert!(std::process::Command::new("mkfifo").arg(odd.join("pipe.fits")).status().unwrap().success());
    std::fs::copy(apstar_fixture(), odd.join("star (1).fits")).unwrap();
    let model = "experiments/lab/latest/models/cannon";
    let table = succeeded(folder.path(), &["label", "--model", model, "--out", "odd (1)[2]/out", "odd (1)[2]"]);
    assert!(table.contains("1 spectra") && table.contains("2M19485057"), "{table}");
    assert!(FitsReader::open(&odd.join("out.fits")).is_ok());
    // Its own input is never replaced.
    refused(
        folder.path(),
        &["label", "--model", model, "--out", "odd (1)[2]/star (1)", "odd (1)[2]/star (1).fits"],
        2,
        &["would replace"],
    );
    // A finished model is as readable as its folder.
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder.path().join(model).join("weights.safetensors")).unwrap().permissions().mode();
    let expected = std::fs::metadata(folder.path().join("experiments")).unwrap().permissions().mode();
    assert_eq!(mode & 0o044, expected & 0o044);
}

#[test]
fn a_model_that_was_edited_contradicts_itself() {
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    let model = folder.path().join("experiments/lab/latest/models/cannon/model.json");
    let text = std::fs::read_to_string(&model).unwrap();
    let edits = [
        ("\"grid\":\"apogee\"", "\"grid\":{\"wavelength\":[1.0],\"chips\":[{\"start\":0,\"end\":9}]}"),
        ("\"order\":2,\"pixels\"", "\"order\":1000000,\"pixels\""),
        ("\"scale\":[", "\"scale\":[-"),
    ];
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        std::fs::write(&model, text.replacen(from, to, 1)).unwrap();
        let fixture = apstar_fixture().display().to_string();
        refused(
            folder.path(),
            &["label", "--model", "experiments/lab/latest/models/cannon", &fixture],
            1,
            &["contradicts itself"],
        );
    }
}

#[test]
fn absurd_pixels_are_masked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spike.fits");
    let mut flux = vec![100.0; 8575];
    flux[4000] = 1e30;
    write_apstar(&path, "spike", &flux, &[1.0; 8575], &[0; 8575]);
    let raw = apstar::read(&path).unwrap();
    let settings = maury::spectra::pixmask::PixmaskSettings::default();
    let grid = maury::spectra::grid::WavelengthGrid::apogee();
    let places = settings.places(&grid, &grid.chip_cores());
    let (masked, quality) =
        maury::spectra::pixmask::apply(&raw.raw_flux, &raw.raw_error, &raw.pixmask, &places, &settings);
    assert_eq!((masked.ivar[4000], quality.n_bad_error), (0.0, 1));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = survey(1);
    let command = format!("{} check lab.toml | head -0; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_maury"));
    let output = std::process::Command::new("bash").current_dir(folder.path()).args(["-c", &command]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(maury(folder.path(), &["check", "absent.toml"]).status.code() == Some(1));
}
