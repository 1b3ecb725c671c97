//! Catalogues of every kind of table, and Astra's of SDSS-V, down to the spectra of its rows.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use maury::data::catalogue::Catalogue;
use maury::data::fits::{self, Column};
use maury::data::sdss_v_paths::SpectrumFolder;
use maury::data::selection::{Cut, LabelRange, Selection, select};
use maury::data::table::Table;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::support::{real_data, refused, survey, told};

const IDS: [&str; 4] = ["2M0", "=x", "a & b", "2M3"];
const TEFF: [f64; 4] = [4500.5, f64::NAN, 4600.0, 4700.25];
const E_TEFF: [f64; 4] = [20.0, 30.0, f64::NAN, 40.0];
const MG_H: [f64; 4] = [0.1, -0.2, 0.3, 0.4];
const FE_H: [f64; 4] = [-0.5, 0.25, 0.125, 0.0];
const SNR: [f64; 4] = [100.5, 80.0, 70.0, 60.0];
const STARFLAG: [i64; 4] = [0, 8, 3, 1 << 40];
const FLAG_BAD: [bool; 4] = [false, false, false, true];

fn number(value: f64) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

/// The stars as lines of text; `quote` writes what is empty or has a delimiter in it.
fn text(delimiter: &str, quote: bool) -> String {
    let cell =
        |text: String| if quote && (text.is_empty() || text.contains(' ')) { format!("\"{text}\"") } else { text };
    let mut lines = ["id", "teff", "e_teff", "mg_h", "fe_h", "snr", "starflag", "flag_bad"].join(delimiter) + "\n";
    for row in 0..4 {
        let numbers = [TEFF, E_TEFF, MG_H, FE_H, SNR].map(|column| number(column[row]));
        let others = [STARFLAG[row].to_string(), FLAG_BAD[row].to_string()];
        let cells = [IDS[row].to_string()].into_iter().chain(numbers).chain(others).map(cell);
        lines += &(cells.collect::<Vec<_>>().join(delimiter) + "\n");
    }
    lines
}

fn ecsv() -> String {
    let types = ["string", "float64", "float64", "float64", "float64", "float64", "int64", "bool"];
    let names = text("\t", false);
    let names = names.lines().next().unwrap().split('\t');
    let columns = names.zip(types).map(|(name, datatype)| format!("# - {{name: {name}, datatype: {datatype}}}\n"));
    format!(
        "# %ECSV 1.0\n# ---\n# datatype:\n{}# schema: astropy-2.0\n{}",
        columns.collect::<String>(),
        text(" ", true)
    )
}

fn votable() -> String {
    let types = ["char' arraysize='*", "double", "double", "double", "double", "double", "long", "boolean"];
    let lines = text("\t", false).replace('&', "&amp;");
    let (names, rows) = lines.split_once('\n').unwrap();
    let fields = names.split('\t').zip(types).map(|(name, kind)| format!("<FIELD name='{name}' datatype='{kind}'/>"));
    let cells = |row: &str| row.split('\t').map(|cell| format!("<TD>{cell}</TD>")).collect::<String>();
    let rows = rows.lines().map(|row| format!("<TR>{}</TR>", cells(row))).collect::<String>();
    format!(
        "<?xml version='1.0'?><VOTABLE><RESOURCE><TABLE>{}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>",
        fields.collect::<String>()
    )
}

fn write_parquet(path: &Path) {
    let schema = "message stars { required binary id (UTF8); optional double teff; optional double e_teff;
        required double mg_h; required double fe_h; required double snr; required int64 starflag; required boolean flag_bad; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    type Group<'a> = SerializedRowGroupWriter<'a, File>;
    let mut column = group.next_column().unwrap().unwrap();
    let ids = IDS.map(|id| ByteArray::from(id.as_bytes().to_vec()));
    column.typed::<ByteArrayType>().write_batch(&ids, None, None).unwrap();
    column.close().unwrap();
    let doubles = |group: &mut Group, values: [f64; 4], is_optional: bool| {
        let levels = values.map(|value| i16::from(!value.is_nan()));
        let values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&values, is_optional.then_some(&levels[..]), None).unwrap();
        column.close().unwrap();
    };
    for (values, is_optional) in [(TEFF, true), (E_TEFF, true), (MG_H, false), (FE_H, false), (SNR, false)] {
        doubles(&mut group, values, is_optional);
    }
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&STARFLAG, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<BoolType>().write_batch(&FLAG_BAD, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

fn write_fits(path: &Path) {
    fits::write(path, |fits| {
        fits.table(
            "STARS",
            &[
                Column::text("id", IDS.map(String::from).to_vec()),
                Column::f64("teff", "K", TEFF.to_vec()),
                Column::f64("e_teff", "K", E_TEFF.to_vec()),
                Column::f64("mg_h", "dex", MG_H.to_vec()),
                Column::f64("fe_h", "dex", FE_H.to_vec()),
                Column::f64("snr", "", SNR.to_vec()),
                Column::i64("starflag", STARFLAG.to_vec()),
                Column::i64("flag_bad", FLAG_BAD.map(i64::from).to_vec()),
            ],
        )
    })
    .unwrap();
}

#[test]
fn one_table_in_every_format_is_one_catalogue() {
    let folder = tempfile::tempdir().unwrap();
    // Names tell nothing.
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a"), text(",", false)).unwrap();
    std::fs::write(at("b"), text("\t", false)).unwrap();
    std::fs::write(at("c"), text(";", false)).unwrap();
    std::fs::write(at("d"), ecsv()).unwrap();
    std::fs::write(at("e"), votable()).unwrap();
    write_parquet(&at("f"));
    write_fits(&at("g.fits"));
    std::fs::rename(at("g.fits"), at("g")).unwrap();
    for (name, packed) in [("a", "h"), ("e", "i"), ("g", "j")] {
        let gzip = File::create(at(packed)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &std::fs::read(at(name)).unwrap()).unwrap();
        gzip.finish().unwrap();
    }
    let selection = Selection {
        reject_marked: vec!["flag_bad".into()],
        reject_starflag_bits: vec![20],
        keep_missing_labels: true,
        ..Selection::default()
    };
    let labels = ["teff", "mg_fe"].map(String::from);
    let read = |name: &str| {
        let (stars, cuts) = select(&at(name), "", &labels, &selection).unwrap();
        // NaN is not itself; as text it is.
        format!("{stars:?} {cuts:?}")
    };
    let (stars, _) = select(&at("a"), "", &labels, &selection).unwrap();
    assert_eq!(stars.id, &IDS[..3]);
    assert_eq!((stars.labels[0][0], stars.label_errors[0][0], stars.snr[0]), (4500.5, 20.0, 100.5));
    assert!((stars.labels[0][1] - 0.6).abs() < 1e-12 && stars.labels[1][0].is_nan());
    assert_eq!(stars.starflag, [0, 8, 3]);
    for name in ["b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        assert_eq!(read(name), read("a"), "{name}");
    }
}

fn counts(cuts: &[Cut]) -> Vec<(usize, usize)> {
    cuts.iter().map(|cut| (cut.removed, cut.left)).collect()
}

#[test]
fn the_example_of_astras_catalogue_gives_its_stars_once_and_leads_to_their_spectra() {
    let Some(folder) = real_data("sdss_v") else { return };
    let path = folder.join("astraAllStarASPCAP-0.6.0.fits.gz");
    let labels = ["teff", "logg", "fe_h", "mg_fe"].map(String::from);
    let good = Selection { reject_marked: vec!["flag_bad".into()], ..Selection::default() };
    let (stars, cuts) = select(&path, "APOGEE_ID", &labels, &good).unwrap();
    // One row failed and has no labels; one is bad; two stars have two rows each.
    assert_eq!(counts(&cuts), [(0, 20), (1, 19), (1, 18), (2, 16)]);
    let mut usual = good.clone();
    usual.ranges.insert("snr".into(), LabelRange { min: Some(50.0), max: None });
    usual.reject_starflag_bits = vec![0, 3, 16, 17, 18, 22];
    let (_, cuts) = select(&path, "APOGEE_ID", &labels, &usual).unwrap();
    assert_eq!(counts(&cuts), [(0, 20), (1, 19), (1, 18), (0, 18), (0, 18), (2, 16)]);

    assert!((stars.labels[0][3] - (-0.42927352 + 0.58130383)).abs() < 1e-7, "{}", stars.labels[0][3]);
    assert!((stars.label_errors[0][3] - 0.02 * 2_f64.sqrt()).abs() < 1e-7, "{}", stars.label_errors[0][3]);
    assert!((stars.label_errors[0][0] - 11.552617).abs() < 1e-4);
    let first = &stars.astra[0];
    assert_eq!((first.sdss_id, first.release.as_str(), first.apred.as_str()), (Some(99_990_001), "sdss5", "1.3"));
    assert_eq!((stars.id[0].as_str(), first.healpix), ("2M17335483-2753043", Some(10_105)));
    let of = |sdss_id: i64| stars.astra.iter().position(|spectrum| spectrum.sdss_id == Some(sdss_id)).unwrap();
    // Observed from both sites: the better one. Observed by both surveys: the better one, whose row has no APOGEE_ID of DR17.
    let (both_sites, both_surveys) = (of(99_990_008), of(99_990_007));
    assert_eq!((stars.telescope[both_sites].as_str(), stars.field[both_sites].as_str()), ("lco25m", "060+00"));
    assert!((stars.snr[both_sites] - 278.8398).abs() < 1e-3);
    assert_eq!(stars.astra[both_surveys].release, "sdss5");
    assert_eq!(stars.id[both_surveys], "2M17342149-2753043");
    assert!(!stars.astra.iter().any(|spectrum| [Some(99_990_005), Some(99_990_012)].contains(&spectrum.sdss_id)));

    let spectra = SpectrumFolder::new(&folder);
    let found = spectra.locate(first, &stars.telescope[0], &stars.field[0]).unwrap();
    assert_eq!(found.file_name().unwrap(), "mwmStar-0.6.0-99990001.fits");
    assert_eq!(spectra.locate(&stars.astra[1], &stars.telescope[1], &stars.field[1]), None);
}

#[test]
fn columns_of_the_example_are_read_by_their_type() {
    let Some(folder) = real_data("sdss_v") else { return };
    let path = folder.join("astraAllStarASPCAP-0.6.0.fits.gz");
    let mut table = Table::open(&path).unwrap();
    let bad = table.numbers("flag_bad", 0..20, "").unwrap();
    assert_eq!((bad.iter().sum::<f64>(), bad[4], bad[11]), (2.0, 1.0, 1.0));
    assert_eq!(table.flags("flag_warn", 4..6).unwrap(), [1, 1]);
    let said = table.flags("sdss5_target_flags", 0..1).unwrap_err().to_string();
    assert!(said.contains("sdss5_target_flags holds 57 values a row"), "{said}");
    // The table without rows has all its columns, and is read where it is asked for.
    let name = |hdu: usize| path.with_file_name(format!("astraAllStarASPCAP-0.6.0.fits.gz[{hdu}]"));
    let boss = Table::open(&name(1)).unwrap();
    assert_eq!((boss.n_rows(), boss.names().len()), (0, 384));
    assert_eq!((table.n_rows(), table.names().len(), Table::open(&name(2)).unwrap().n_rows()), (20, 396, 20));
}

#[test]
fn a_catalogue_of_astras_prepares_the_spectra_of_its_release() {
    let folder = survey(6);
    let (here, old) = (folder.path(), folder.path().join("spectra/apo25m/M15"));
    let new = here.join("spectra/apo25m/10/10105");
    std::fs::create_dir_all(&new).unwrap();
    let labels = ["teff", "logg", "fe_h"].map(String::from);
    let stars = Catalogue::read(&here.join("allStar.fits"), "APOGEE_ID", &labels).unwrap();
    let mut rows = "sdss_id,sdss4_apogee_id,obj,healpix,release,apred,telescope,field,snr,teff,logg,fe_h\n".to_string();
    for (star, id) in stars.id.iter().enumerate() {
        let name = format!("apStar-1.3-apo25m-{id}-59800.fits");
        std::fs::copy(old.join(format!("apStar-dr17-{id}.fits")), new.join(name)).unwrap();
        let [teff, logg, fe_h] = stars.labels[star][..] else { panic!("three labels") };
        rows += &format!("{},,{id},10105,sdss5,1.3,apo25m,,100,{teff},{logg},{fe_h}\n", star + 1);
    }
    std::fs::write(here.join("astra.csv"), rows).unwrap();
    let arguments = ["prepare", "lab.toml", "--set", "data.apstar.catalogue=astra.csv"];
    told(here, &arguments, &["spectrum on disk: 0 removed, 6 left"]);
    // Those of DR17 are still there, but they are not these rows' spectra.
    std::fs::remove_dir_all(&new).unwrap();
    let lost = ["6 of 6 spectra were not found below spectra (the first: mwmStar-0.6.0-1.fits)"];
    refused(here, &arguments, 1, &lost);
}
