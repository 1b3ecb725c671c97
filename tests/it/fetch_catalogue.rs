//! Fetching a catalogue, by query or whole, from a server or a copy on disk; and what a dry run tells.

use maury::data::fetch::{ArchiveSettings, CatalogueOrigin, FetchRequest, fetch, plan};
use maury::data::fits;
use maury::progress::Silent;

use super::archive::Mischief;
use super::archive_sample::{ALL_STAR, HEADER, Sample, Star, files_below, id};

#[test]
fn a_refused_query_leaves_nothing_and_says_what_the_server_said() {
    let mut sample = Sample::of(1);
    for (answer, said) in [
        ("error_message\nInvalid column name 'tef'.\n", "Invalid column name 'tef'"),
        ("<html><body>Service <b>down</b></body></html>", "Service down"),
        (HEADER, "no star in the fields M15"),
        ("#Table1\napogee_id,teff\n2M0,4500\n", "no column apstar_id"),
    ] {
        sample.archive.answers_sql(answer);
        let message = sample.fetch().unwrap_err().to_string();
        assert!(message.contains(said) && message.contains("/SqlSearch: no catalogue"), "{message}");
        assert!(!sample.catalogue.exists() && !sample.spectra.exists());
        std::fs::write(&sample.catalogue, "old").unwrap();
        assert!(fetch(&FetchRequest { refresh_catalogue: true, ..sample.request() }, &Silent).is_err());
        assert_eq!(std::fs::read_to_string(&sample.catalogue).unwrap(), "old");
        std::fs::remove_file(&sample.catalogue).unwrap();
    }
    sample.archive.always("SqlSearch", Mischief::Status(500));
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("500 Internal Server Error, Not now (4 tries)"), "{message}");
    sample.settings.root = format!("file://{}", sample.folder.path().join("sas").display());
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("answers no queries; end it in .fits"), "{message}");
}

/// The archive's catalogue of a sample.
fn write_all_star(sample: &Sample) {
    let path = sample.folder.path().join("sas").join(ALL_STAR);
    let column = |value: &dyn Fn(usize, &Star) -> String| {
        sample.stars.iter().enumerate().map(|(n, star)| value(n + 1, star)).collect::<Vec<String>>()
    };
    let columns = [
        fits::Column::fixed_text("FILE", 64, column(&|_, star| star.file.clone())),
        fits::Column::fixed_text("APOGEE_ID", 30, column(&|n, _| id(n))),
        fits::Column::fixed_text("TELESCOPE", 6, column(&|_, star| star.telescope.clone())),
        fits::Column::fixed_text("FIELD", 20, column(&|_, star| star.field.clone())),
        fits::Column::f32("TEFF", "K", vec![4500.0; sample.stars.len()]),
    ];
    fits::write(&path, |file| file.table("", &columns)).unwrap();
}

#[test]
fn the_allstar_file_is_continued_kept_and_refreshed() {
    let mut sample = Sample::of(2);
    write_all_star(&sample);
    sample.catalogue = sample.own().join("allStar.fits");
    sample.archive.plans("allStar", [Mischief::Truncated(4000), Mischief::WebPage]);
    sample.archive.plans("allStar", [Mischief::Truncated(2000)]);
    let report = sample.fetch().unwrap();
    assert_eq!((report.catalogue, report.n_fetched), (CatalogueOrigin::Archive, 2));
    let starts: Vec<_> = sample.archive.requests_for("allStar").iter().map(|request| request.range).collect();
    assert_eq!(starts, [None, Some(4000), Some(4000), Some(6000)], "a web page costs nothing of what has come");
    assert_eq!(sample.fetch().unwrap().catalogue, CatalogueOrigin::Kept);
    assert_eq!(sample.archive.requests_for("allStar").len(), 4);
    let refreshed = fetch(&FetchRequest { refresh_catalogue: true, ..sample.request() }, &Silent).unwrap();
    assert_eq!((refreshed.catalogue, refreshed.n_present), (CatalogueOrigin::Archive, 2));
    assert_eq!(sample.archive.requests_for("allStar").len(), 5);
    assert!(sample.archive.requests_for("SqlSearch").is_empty());
}

#[test]
fn a_copy_on_disk_serves_as_well() {
    let mut sample = Sample::new(&[("apo25m", "060+00"), ("lco25m", "M15")]);
    write_all_star(&sample);
    sample.settings.root = format!("file://{}", sample.folder.path().join("sas").display());
    sample.catalogue = sample.own().join("allStar.fits");
    let planned = plan(&sample.request(), &Silent).unwrap();
    assert!(planned.spectra.is_none() && planned.catalogue_bytes.is_some_and(|bytes| bytes > 5000));
    assert!(!sample.own().exists());
    assert_eq!(sample.fetch().unwrap().n_fetched, 2);
    assert_eq!((sample.n_whole(), sample.archive.requests().len()), (2, 0));
    let elsewhere = ArchiveSettings { root: "file:///no/such/folder".into(), ..sample.settings.clone() };
    let request = FetchRequest { settings: &elsewhere, refresh_catalogue: true, ..sample.request() };
    for refused in [plan(&request, &Silent).map(|_| ()), fetch(&request, &Silent).map(|_| ())] {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("no catalogue") && message.contains("data.archive.root"), "{message}");
    }
    std::fs::remove_file(sample.path(1)).unwrap();
    let spectra = plan(&sample.request(), &Silent).unwrap().spectra.unwrap();
    assert_eq!((spectra.n_present, spectra.n_to_fetch, spectra.bytes), (1, 1, Some(1_045_440)));
    assert!(!spectra.is_extrapolated());
}

#[test]
fn a_dry_run_asks_for_some_sizes_and_writes_nothing() {
    let sample = Sample::of(30);
    let planned = plan(&sample.request(), &Silent).unwrap();
    assert!(planned.spectra.is_none() && planned.catalogue == CatalogueOrigin::SkyServer);
    assert!(!sample.own().exists() && sample.archive.requests().is_empty());
    sample.give_catalogue();
    sample.leave_part(1, 45_440, "\"v\"");
    sample.archive.plans(&id(1), [Mischief::Status(404)]);
    let before = files_below(&sample.own());
    let spectra = plan(&sample.request(), &Silent).unwrap().spectra.unwrap();
    assert_eq!(files_below(&sample.own()), before);
    assert_eq!((spectra.n_selected, spectra.n_present, spectra.n_to_fetch), (30, 0, 30));
    assert_eq!((spectra.n_sized, spectra.n_absent, spectra.is_extrapolated()), (20, 1, true));
    let expected = 30.0 * 1_045_440.0 * 19.0 / 20.0 - 45_440.0;
    assert_eq!(spectra.bytes, Some(expected as u64));
    assert!(sample.archive.requests().iter().all(|request| request.method == "HEAD"));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let mut sample = Sample::of(1);
    sample.settings.connections = 0;
    let message = sample.fetch().unwrap_err().to_string();
    assert_eq!(message, "data.archive.connections must be 1 to 32");
    sample.settings.connections = 1;
    sample.catalogue = sample.own().join("stars.txt");
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("stars.txt\" must end in .fits"), "{message}");
}
