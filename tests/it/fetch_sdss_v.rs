//! Fetching DR19 from an archive that misbehaves: Astra's catalogue, and of each row the file that has its spectrum.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use maury::data::apstar;
use maury::data::catalogue::APOGEE_ID;
use maury::data::fetch::{CatalogueOrigin, FetchRequest, Release, fetch, plan};
use maury::data::fits::{self, Column};
use maury::data::sdss_v_paths::{own_paths, star_path};
use maury::data::selection::select;
use maury::progress::Silent;

use super::archive::Mischief;
use super::archive_sample::files_below;
use super::archive_sdss_v::{A, B, C, PIXEL, Row, STARS, SUMMARY, Sample, write_apstar, write_mwm, write_table};
use crate::support::{N_PIXELS, succeeded, survey, told, wait_until};

#[test]
fn catalogue_and_spectra_come_once_into_the_archives_layout() {
    let sample = Sample::of_stars(&[A, B, C.of_dr17("lco25m")]);
    let planned = plan(&sample.request(), &Silent).unwrap();
    let length = std::fs::metadata(sample.in_dr19(&format!("{SUMMARY}.gz"))).unwrap().len();
    assert_eq!((planned.catalogue, planned.catalogue_bytes), (CatalogueOrigin::Archive, Some(length)));
    assert!(planned.spectra.is_none() && !sample.folder.path().join("own").exists());

    let report = sample.fetch_all();
    assert_eq!((report.n_selected, report.n_fetched, report.catalogue), (3, 3, CatalogueOrigin::Archive));
    for row in &sample.rows {
        let [there, here] = [sample.in_dr19(&row.star()), sample.spectra.join(row.star())];
        assert_eq!(std::fs::read(here).unwrap(), std::fs::read(there).unwrap());
    }
    // The archive's paths are those that a row leads to here.
    let (stars, _) = select(&sample.catalogue, APOGEE_ID, &sample.labels, &sample.selection).unwrap();
    for (star, row) in sample.rows.iter().enumerate() {
        assert_eq!(star_path(&stars.astra[star]), Some(row.star()));
        assert_eq!(own_paths(&stars.astra[star], row.telescope, row.field()), [row.own()]);
    }
    assert_eq!(files_below(&sample.spectra).len(), 3 + 1, "spectra and manifest");
    // One for the size of the catalogue, one for it, one for each spectrum.
    let n_requests = sample.archive.requests().len();
    assert_eq!(n_requests, 2 + 3);
    let report = sample.fetch_all();
    assert_eq!((report.n_present, report.n_fetched, report.catalogue), (3, 0, CatalogueOrigin::Kept));
    assert_eq!(sample.archive.requests().len(), n_requests);

    std::fs::remove_file(sample.spectra.join(A.star())).unwrap();
    let spectra = plan(&sample.request(), &Silent).unwrap().spectra.unwrap();
    let length = std::fs::metadata(sample.in_dr19(&A.star())).unwrap().len();
    assert_eq!((spectra.n_present, spectra.n_to_fetch, spectra.bytes), (2, 1, Some(length)));
}

#[test]
fn the_catalogue_is_found_with_and_without_gz() {
    for (has_gz, name) in [(true, "a.fits"), (true, "a.fits.gz"), (false, "a.fits"), (false, "a.fits.gz")] {
        let mut sample = Sample::of_stars(&[A]);
        sample.catalogue = sample.folder.path().join("own").join(name);
        let there = sample.in_dr19(&format!("{SUMMARY}.gz"));
        if !has_gz {
            write_table(&sample.in_dr19(SUMMARY), &[A]);
            std::fs::remove_file(&there).unwrap();
        }
        assert_eq!(sample.fetch_all().n_fetched, 1);
        let n_asked = sample.archive.requests_for("astraAllStar").len();
        assert_eq!(n_asked, if has_gz == name.ends_with(".gz") { 1 } else { 2 }, "{has_gz} {name}");
    }
    let sample = Sample::new(&[A]);
    std::fs::remove_file(sample.in_dr19(&format!("{SUMMARY}.gz"))).unwrap();
    let message = sample.fetch().unwrap_err().to_string();
    for words in [&format!("{SUMMARY}.gz"), "404 Not Found", "data.archive.root"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(plan(&sample.request(), &Silent).unwrap_err().to_string().contains("data.archive.root"));
    assert_eq!(files_below(&sample.folder.path().join("own")), Vec::<PathBuf>::new());
}

#[test]
fn the_packed_catalogue_is_continued_and_whole_to_its_last_byte() {
    let sample = Sample::of_stars(&[A]);
    let gz = sample.in_dr19(&format!("{SUMMARY}.gz"));
    let bytes = std::fs::read(&gz).unwrap();
    // A server that sends too little says that this is all, or sends another table.
    let (cut, other) = (sample.folder.path().join("cut.gz"), sample.folder.path().join("other.gz"));
    std::fs::write(&cut, &bytes[..bytes.len() - 4000]).unwrap();
    write_mwm(&other, Some(A), None, &[1.0; 8], &[1.0; 8]);
    sample.archive.plans("astraAllStar", [Mischief::Truncated(4000), Mischief::WebPage, Mischief::ResetAfter(2000)]);
    assert_eq!(sample.fetch_all().n_fetched, 1);
    let starts = sample.starts("astraAllStar");
    assert_eq!(starts[..3], [None, Some(4000), Some(4000)], "a web page costs nothing of what has come");
    assert_eq!(std::fs::read(&sample.catalogue).unwrap(), bytes);
    let request = FetchRequest { refresh_catalogue: true, ..sample.request() };
    for (wrong, said) in [(&cut, "not whole"), (&other, "no column sdss_id")] {
        sample.archive.behaves();
        sample.archive.always("astraAllStar", Mischief::OtherFile(wrong.clone()));
        let message = fetch(&request, &Silent).unwrap_err().to_string();
        assert!(message.contains("no catalogue") && message.contains(said), "{message}");
        assert_eq!(std::fs::read(&sample.catalogue).unwrap(), bytes, "the old one stays");
    }
    sample.archive.behaves();
    sample.archive.plans("astraAllStar", [Mischief::OtherFile(cut)]);
    assert_eq!(fetch(&request, &Silent).unwrap().catalogue, CatalogueOrigin::Archive);
    assert_eq!(std::fs::read(&sample.catalogue).unwrap(), bytes);
}

#[test]
fn where_the_stars_file_does_not_serve_the_rows_own_does() {
    // One star without such a file, one of which it has only the other site, and one of which it has the other release.
    let (north, dr17) = (B, C.of_dr17("apo25m"));
    let sample = Sample::new(&[A, north, dr17]);
    sample.give_own(A, &A.own());
    sample.give_star(None, Some(Row { telescope: "lco25m", ..north }));
    sample.give_own(north, &north.own_in(PIXEL));
    sample.give_star(Some(C), None);
    sample.give_own(dr17, &dr17.own());
    let report = sample.fetch_all();
    assert_eq!((report.n_fetched, report.failed.len()), (3, 0));
    let here: Vec<PathBuf> = [A.own(), north.own(), dr17.own()].map(|path| sample.spectra.join(path)).to_vec();
    assert_eq!(sample.find_all(), here, "where the catalogue leads, whichever folder of the archive had it");
    assert_eq!(files_below(&sample.spectra).len(), 3 + 1, "what does not serve is not kept");
    for row in [A, north, dr17] {
        assert_eq!(sample.archive.requests_for(&row.star()).len(), 1, "what is absent or unfit is not asked for again");
    }
    assert_eq!(sample.archive.requests_for("/sas/dr17/").len(), 1);
    let manifest = std::fs::read_to_string(report.manifest).unwrap();
    let from = format!("{}/{}", sample.archive.root_of("dr17"), dr17.own());
    assert!(manifest.contains(&from) && !manifest.contains("mwmStar"), "{manifest}");
    assert_eq!(sample.fetch_all().n_present, 3);
}

#[test]
fn a_file_whose_name_has_a_day_is_found_by_the_reductions_table() {
    let mut sample = Sample::new(&[A, B]);
    sample.give_star(Some(B), None);
    let dated = A.file().replace(".fits", "-59804.fits");
    sample.give_own(A, &format!("{STARS}/apo25m/77/77777/{dated}"));
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.missing.len(), report.failed.len()), (1, 1, 0));
    let reason = &report.missing[0].reason;
    for words in [&format!("{}: 404 Not Found", A.star()), &format!("{}: 404", A.own()), "data.archive.all_star"] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    // The table's own root is none of the archive's.
    let table = sample.folder.path().join("allStar-1.3-apo25m.fits");
    let text = |value: String| vec!["apStar-1.3-apo25m-2M0+0-59000.fits".to_string(), value];
    let uri = format!("/uufs/redux/1.3/stars/apo25m/77/77777/{dated}");
    fits::write(&table, |fits| {
        fits.table("", &[Column::text("file", text(dated.clone())), Column::text("uri", text(uri))])
    })
    .unwrap();
    sample.settings.all_star = vec![table.clone()];
    let report = sample.fetch_all();
    assert_eq!((report.n_present, report.n_fetched), (1, 1));
    assert!(sample.find_all()[0].ends_with(&dated));
    assert_eq!(sample.fetch_all().n_present, 2);
    // A table that is not there, or another one, is said before anything is asked for.
    let n_requests = sample.archive.requests().len();
    sample.settings.all_star = vec![sample.folder.path().join("absent.fits")];
    assert!(sample.fetch().unwrap_err().to_string().contains("absent.fits"));
    sample.settings.all_star = vec![sample.catalogue.clone()];
    assert!(sample.fetch().unwrap_err().to_string().contains("data.archive.all_star"));
    assert_eq!(sample.archive.requests().len(), n_requests);
}

#[test]
fn passing_failures_are_tried_again_and_broken_bodies_continued() {
    let sample = Sample::of_stars(&[A, B, C]);
    let other = sample.in_dr19(&B.star());
    sample.archive.plans("99990001", [Mischief::Truncated(100_000), Mischief::WebPage, Mischief::Status(502)]);
    sample.archive.plans("99990002", [Mischief::ResetAfter(50_000), Mischief::NewVersion]);
    sample.archive.plans("99990103", [Mischief::OtherFile(other), Mischief::Busy(429, "0".into())]);
    let report = sample.fetch_all();
    assert_eq!(report.n_fetched, 3);
    assert_eq!(sample.starts("99990001"), [None, Some(100_000), Some(100_000), Some(100_000)]);
    assert_eq!(sample.starts("99990103"), [None, None, None], "another star's spectrum is thrown away");
    assert!(sample.archive.requests_for("apStar").is_empty(), "what may pass leads nowhere else");
    for row in [A, B, C] {
        assert_eq!(
            std::fs::read(sample.spectra.join(row.star())).unwrap(),
            std::fs::read(sample.in_dr19(&row.star())).unwrap()
        );
    }
}

#[test]
fn what_is_never_right_fails_with_every_reason_and_leaves_nothing() {
    let sample = Sample::of_stars(&[A, B, C]);
    let [other, old] = ["other.fits", "old.fits"].map(|name| sample.folder.path().join(name));
    write_mwm(&other, Some(B), None, &[1.0; 8], &[1.0; 8]);
    write_apstar(&old, A.of_dr17("apo25m"), &[1.0; 8]);
    // The first star's file is another's, its own file that of another release; the second's are a web page and endless.
    sample.archive.always("99990001", Mischief::OtherFile(other));
    sample.archive.always(&A.file(), Mischief::OtherFile(old));
    sample.archive.always("99990002", Mischief::WebPage);
    sample.archive.always(&B.file(), Mischief::Endless);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.missing.len(), report.failed.len()), (1, 0, 2), "{:?}", report.missing);
    let said = |id: &str, words: &[&str]| {
        let reason = &report.failed.iter().find(|entry| entry.id == id).unwrap().reason;
        assert!(words.iter().all(|words| reason.contains(words)), "{reason}");
    };
    said(A.obj, &["another star, 2M17335483-2753044 (4 tries)", "release dr17, not that of sdss5"]);
    said(B.obj, &["a web page came in place of the FITS file (4 tries)", "more than 64 MB"]);
    assert_eq!(files_below(&sample.spectra).len(), 1 + 1, "one spectrum and the manifest");
    assert_eq!(sample.archive.requests_for(&B.own()).len(), 1, "what is final is not tried again");
    sample.archive.behaves();
    assert_eq!(sample.fetch_all().n_fetched, 2);
}

#[test]
fn what_lies_there_counts_if_it_is_the_rows_and_is_replaced_if_it_is_not() {
    let sample = Sample::of_stars(&[A, B, C]);
    // One flat and good, one cut short, and one whose own file is that of another release and would be found first.
    std::fs::create_dir_all(&sample.spectra).unwrap();
    let flat = |path: &str| sample.spectra.join(path.rsplit('/').next().unwrap());
    std::fs::copy(sample.in_dr19(&A.star()), flat(&A.star())).unwrap();
    let whole = std::fs::read(sample.in_dr19(&B.star())).unwrap();
    std::fs::write(flat(&B.star()), &whole[..whole.len() / 2]).unwrap();
    write_apstar(&flat(&C.own()), C.of_dr17("apo25m"), &[100.0; N_PIXELS]);
    sample.give_own(C, &C.own());
    let report = sample.fetch_all();
    assert_eq!((report.n_present, report.n_fetched), (1, 2));
    assert_eq!(sample.find_all(), [A.star(), B.star(), C.own()].map(|path| flat(&path)));
    assert_eq!(std::fs::read(flat(&B.star())).unwrap(), whole);
    assert!(sample.archive.requests_for("99990001").is_empty());
}

#[test]
fn two_rows_of_one_star_share_its_file() {
    let south = A.of_dr17("lco25m");
    let mut sample = Sample::new(&[A, south, B, B.of_dr17("apo25m")]);
    sample.selection.deduplicate = false;
    sample.give_star(Some(A), Some(south));
    sample.give_star(Some(B), None);
    sample.give_own(B.of_dr17("apo25m"), &B.of_dr17("apo25m").own());
    let report = sample.fetch_all();
    assert_eq!((report.n_selected, report.n_fetched), (4, 4));
    assert_eq!(sample.archive.requests_for("mwmStar").len(), 2, "one for each star");
    let star = sample.spectra.join(A.star());
    let of_b = [B.star(), B.of_dr17("apo25m").own()].map(|path| sample.spectra.join(path));
    assert_eq!(sample.find_all(), [&[star.clone(), star][..], &of_b].concat());
    assert_eq!(sample.fetch_all().n_present, 4);
}

#[test]
fn rows_lead_nowhere_else() {
    let odd = [Row::new(99_990_009, "../../evil"), Row { telescope: "..", ..C }];
    let sample = Sample::of_stars(&[A, B]);
    write_table(&sample.in_dr19(SUMMARY), &[&[A, B][..], &odd].concat());
    std::fs::remove_file(sample.in_dr19(&format!("{SUMMARY}.gz"))).unwrap();
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (2, 2), "{:?}", report.missing);
    assert!(report.failed.iter().all(|entry| entry.reason.contains("part of a path")), "{:?}", report.failed);
    assert!(sample.archive.requests().iter().all(|request| !request.target.contains("evil")));
}

#[test]
fn dr20_has_the_same_paths_below_its_own_root_and_a_copy_on_disk_serves_as_well() {
    let mut sample = Sample::new(&[A, B.of_dr17("apo25m")]);
    sample.give_star(Some(A), None);
    sample.give_own(B.of_dr17("apo25m"), &B.of_dr17("apo25m").own());
    (sample.settings.release, sample.settings.root) = (Release::Dr20, sample.archive.root_of("dr20"));
    assert_eq!(sample.fetch_all().n_fetched, 2);
    assert_eq!(sample.archive.requests_for("/sas/dr20/").len(), 1 + 2, "catalogue, one star, one that is not there");
    assert_eq!(sample.archive.requests_for("/sas/dr17/").len(), 1);
    std::fs::remove_dir_all(sample.folder.path().join("own")).unwrap();
    let n_requests = sample.archive.requests().len();
    (sample.settings.release, sample.settings.root) =
        (Release::Dr19, format!("file://{}", sample.in_dr19("").display()));
    assert_eq!(sample.fetch_all().n_fetched, 2);
    assert_eq!(sample.archive.requests().len(), n_requests);
    // DR17 may lie anywhere.
    std::fs::remove_dir_all(sample.folder.path().join("own")).unwrap();
    std::fs::rename(sample.folder.path().join("dr17"), sample.folder.path().join("old")).unwrap();
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.missing.len()), (1, 1));
    sample.settings.dr17_root = format!("file://{}", sample.folder.path().join("old").display());
    assert_eq!(sample.fetch_all().n_fetched, 1);
}

#[test]
fn a_catalogue_of_another_release_is_refused_by_name() {
    let mut sample = Sample::of_stars(&[A]);
    sample.catalogue = sample.folder.path().join("own/astra.csv");
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("astra.csv\" must end in .fits.gz"), "{message}");
    sample.catalogue = sample.folder.path().join("own/astra.fits.gz");
    sample.fetch_all();
    let n_requests = sample.archive.requests().len();
    sample.settings.release = Release::Dr17;
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("a table of SDSS-V") && message.contains("data.archive.release = \"dr19\""), "{message}");
    sample.settings.release = Release::Dr19;
    sample.catalogue = sample.folder.path().join("own/old.csv");
    std::fs::write(&sample.catalogue, "apogee_id,telescope,field,teff,mg_fe\n2M0,apo25m,M15,4500,0.1\n").unwrap();
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("astraAllStarASPCAP-0.6.0.fits.gz") && message.contains("dr19"), "{message}");
    assert_eq!(sample.archive.requests().len(), n_requests);
}

#[test]
fn columns_of_other_names_reach_the_selection() {
    let mut sample = Sample::of_stars(&[A]);
    sample.labels = vec!["teff".into(), "magnesium".into()];
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("no column magnesium"), "{message}");
    sample.columns = toml::from_str("magnesium = \"mg_h - fe_h\"\nsnr = \"snr / 100\"").unwrap();
    assert_eq!(sample.fetch_all().n_fetched, 1);
    sample.selection = toml::from_str("reject_marked = [\"flag_bad\"]\nranges.snr = { min = 50 }").unwrap();
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("snr"), "an snr of 1.2 passes no such cut: {message}");
}

/// The program's fetch of the experiment in a folder.
fn child(here: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maury"));
    command.current_dir(here).args(["-q", "fetch", "lab.toml"]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_killed_fetch_is_continued_and_every_spectrum_is_prepared() {
    let old = survey(6);
    let raws: Vec<_> =
        files_below(&old.path().join("spectra")).iter().map(|path| apstar::read(path).unwrap()).collect();
    assert_eq!(raws.len(), 6);
    // Names that live as long as the test.
    let rows: Vec<Row> = (0..6)
        .map(|n| Row::new(99_990_001 + n as i64, Box::leak(raws[n].id.clone().into_boxed_str())))
        .map(|row| if row.sdss_id == 99_990_006 { row.of_dr17("apo25m") } else { row })
        .collect();
    let sample = Sample::new(&rows);
    for (n, (row, raw)) in rows.iter().zip(&raws).enumerate() {
        let ivar: Vec<f64> =
            raw.raw_error.iter().map(|error| error.powi(-2)).map(|v| if v > 0.0 { v } else { 0.0 }).collect();
        match n {
            // Two have no file of their star: one of SDSS-V, one of DR17.
            4 => write_apstar(&sample.in_dr19(&row.own()), *row, &raw.raw_flux),
            5 => write_apstar(&sample.folder.path().join("dr17").join(row.own()), *row, &raw.raw_flux),
            _ => write_mwm(&sample.in_dr19(&row.star()), Some(*row), None, &raw.raw_flux, &ivar),
        }
    }
    let here = old.path();
    let experiment = format!(
        "labels = [\"teff\", \"iron\"]\n[data.apstar]\ncatalogue = \"dr19/astra.fits.gz\"\nspectra = \"dr19/spectra\"\n\
         [data.archive]\nrelease = \"dr19\"\nroot = \"{}\"\nconnections = 1\nrequests_per_second = 1000\nfirst_pause_s = 0.01\n\
         [data.columns]\niron = \"fe_h\"\n[continuum]\npixels = \"continuum.csv\"\n\
         [selection]\nreject_marked = [\"flag_bad\"]\nranges.snr = {{ min = 50 }}\n",
        sample.archive.root_of("dr19")
    );
    std::fs::write(here.join("lab.toml"), experiment).unwrap();

    // Killed twice: within the catalogue, and within a spectrum.
    for (target, n_bytes, part) in [
        ("astraAllStar", 5000, "dr19/astra.fits.gz.part".to_string()),
        ("99990002", 70_000, format!("dr19/spectra/{}.part", rows[1].star())),
    ] {
        sample.archive.plans(target, [Mischief::Stall(n_bytes)]);
        let mut child = child(here).spawn().unwrap();
        wait_until(&part, || std::fs::metadata(here.join(&part)).is_ok_and(|file| file.len() >= n_bytes as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!here.join(part.trim_end_matches(".part")).exists());
    }
    let said = succeeded(here, &["-q", "fetch", "lab.toml"]);
    assert!(said.contains("1 present, 5 fetched"), "{said}");
    assert_eq!(sample.starts("99990002"), [None, Some(70_000)]);
    assert_eq!(sample.starts("astraAllStar"), [None, Some(5000)]);
    told(here, &["prepare", "lab.toml"], &["spectrum on disk: 0 removed, 6 left", "6 stars prepared"]);
}
