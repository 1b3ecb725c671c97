//! The lab from download to report: a mock survey in the archive's layout, behind a server that misbehaves.

use std::fmt::Write;
use std::path::Path;

use maury::data::catalogue::Catalogue;
use maury::mock::{MockSettings, survey};
use maury::progress::Silent;

use crate::archive::{Archive, Mischief};
use crate::support::{maury, succeeded};

const LABELS: [&str; 5] = ["teff", "logg", "fe_h", "mg_fe", "si_fe"];

/// A mock survey as SkyServer would answer for it.
fn sky_server_answer(all_star: &Path) -> String {
    let stars = Catalogue::read(all_star, "APOGEE_ID", &LABELS.map(String::from)).unwrap();
    let mut text = "#Table1\napogee_id,apstar_id,field,telescope,file,snr,nvisits,starflag,aspcapflag".to_string();
    LABELS.iter().for_each(|label| write!(text, ",{label},{label}_err").unwrap());
    // Missing values are -9999 in the database.
    let cell = |value: f64| if value.is_finite() { value.to_string() } else { "-9999".into() };
    for n in 0..stars.len() {
        let (id, field, telescope) = (&stars.id[n], &stars.field[n], &stars.telescope[n]);
        write!(text, "\n{id},apogee.{telescope}.stars.{field}.{id},{field},{telescope},{}", stars.file[n]).unwrap();
        write!(text, ",{},1,0,0", cell(stars.snr[n])).unwrap();
        for (label, error) in stars.labels[n].iter().zip(&stars.label_errors[n]) {
            write!(text, ",{},{}", cell(*label), cell(*error)).unwrap();
        }
    }
    text + "\n"
}

#[test]
fn a_survey_comes_whole_through_an_archive_that_misbehaves_and_gives_the_same_labels() {
    let root = tempfile::tempdir().unwrap();
    let (here, mock) = (root.path(), root.path().join("mock"));
    survey::write(&mock, &MockSettings { stars: 60, seed: 11, ..MockSettings::default() }, &Silent).unwrap();
    let stars = here.join("sas/apogee/spectro/redux/dr17/stars");
    std::fs::create_dir_all(stars.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(mock.join("spectra"), &stars).unwrap();
    std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"), here.join("configs")).unwrap();
    let archive = Archive::serve(&here.join("sas"));
    archive.answers_sql(&sky_server_answer(&mock.join("allStar.fits")));
    let experiment = format!(
        "extends = \"configs/apogee.toml\"\noutliers.most = 0\nbootstrap.resamples = 20\n[data]\n\
         apstar = {{ catalogue = \"lab.csv\", spectra = \"spectra\" }}\n[data.archive]\nroot = \"{}\"\nskyserver = \"{}\"\n\
         requests_per_second = 1000\nfirst_pause_s = 0.01\nlongest_pause_s = 1\ntimeout_s = 1\n",
        archive.root(),
        archive.skyserver()
    );
    std::fs::write(here.join("lab.toml"), experiment).unwrap();

    // All that can go wrong, each with some stars.
    let mut files: Vec<String> = std::fs::read_dir(mock.join("spectra/apo25m"))
        .unwrap()
        .flat_map(|field| std::fs::read_dir(field.unwrap().path()).unwrap())
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mischief: Vec<Vec<Mischief>> = vec![
        vec![Mischief::Status(500), Mischief::Status(502), Mischief::Status(500)],
        vec![Mischief::Busy(429, "0".into())],
        vec![Mischief::Reset, Mischief::ResetAfter(30_000)],
        vec![Mischief::Truncated(400_000)],
        vec![Mischief::Stall(100_000)],
        vec![Mischief::WebPage],
        vec![Mischief::ResetAfter(200_000), Mischief::NoRange],
        vec![Mischief::ResetAfter(200_000), Mischief::NewVersion],
        vec![Mischief::ChunkedUntil(50_000), Mischief::Chunked],
    ];
    archive.plans("SqlSearch", [Mischief::Status(503), Mischief::Reset]);
    for (file, mischief) in files.iter().zip(mischief.iter().cycle()).take(2 * mischief.len()) {
        archive.plans(file, mischief.iter().cloned());
    }
    // One that is away for now.
    let away = "2M21235315+1244123";
    archive.always(away, Mischief::Status(404));

    let planned = maury(here, &["-q", "fetch", "lab.toml", "--dry-run"]);
    assert!(planned.status.success() && !here.join("lab.csv").exists() && !here.join("spectra").exists());

    let first = succeeded(here, &["-q", "fetch", "lab.toml"]);
    assert!(first.contains("59 fetched") && first.contains("1 not in the archive"), "{first}");
    archive.behaves();
    let before = archive.requests().len();
    let second = succeeded(here, &["-q", "fetch", "lab.toml"]);
    assert!(second.contains("59 present") && second.contains("1 fetched"), "{second}");
    // Nothing was asked for again but what was missing, and the catalogue not at all.
    let asked: Vec<String> = archive.requests().iter().skip(before).map(|request| request.target.clone()).collect();
    assert!(!asked.is_empty() && asked.iter().all(|target| target.contains(away)), "{asked:?}");
    let third = succeeded(here, &["-q", "fetch", "lab.toml"]);
    assert!(third.contains("60 present") && third.contains("0 fetched"), "{third}");

    // The same stars give the same labels, to the last digit.
    succeeded(here, &["-q", "run", "lab.toml"]);
    let own = ["data.apstar.catalogue=mock/allStar.fits", "data.apstar.spectra=mock/spectra"];
    succeeded(here, &["-q", "run", "lab.toml", "--name", "direct", "--set", own[0], "--set", own[1]]);
    let predictions = |name: &str| {
        std::fs::read_to_string(here.join("experiments").join(name).join("latest/predictions.csv")).unwrap()
    };
    let (fetched, direct) = (predictions("lab"), predictions("direct"));
    assert_eq!(fetched, direct);
    assert!(fetched.lines().count() > 25 && fetched.contains("teff_estimate"));
    assert!(here.join("experiments/lab/latest/report.html").is_file());
}
