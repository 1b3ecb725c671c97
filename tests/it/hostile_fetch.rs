//! Fetching from a server or beside files that mean harm: bounded in time and bytes, within its own folder and server.

use std::time::{Duration, Instant};

use maury::data::fetch::fetch;
use maury::error::Error;
use maury::progress::Silent;

use super::archive::Mischief;
use super::archive_sample::{HEADER, Sample, StopsAt, files_below, id, spectrum_of};

#[test]
fn who_asks_to_stop_is_heeded_whatever_the_server_does() {
    for (target, mischief) in [
        ("SqlSearch", Mischief::Silence),
        ("SqlSearch", Mischief::Stall(100)),
        ("/sas/", Mischief::Silence),
        ("/sas/", Mischief::Stall(3000)),
    ] {
        let sample = Sample::of(1);
        sample.archive.always(target, mischief.clone());
        let begun = Instant::now();
        let stopped = fetch(&sample.request(), &StopsAt(begun + Duration::from_millis(300)));
        assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{target} {mischief:?}: {stopped:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{target} {mischief:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_catalogue_that_trickles_or_never_ends_is_given_up() {
    let mut sample = Sample::of(1);
    (sample.settings.timeout_s, sample.settings.retries) = (0.3, 0);
    sample.archive.always("SqlSearch", Mischief::Trickle);
    sample.archive.answers_sql(&format!("{HEADER}{}", "2M0,x,M15,apo25m,f,9,1,0,0,4500,80\n".repeat(10_000)));
    let begun = Instant::now();
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("bytes/s came") && message.contains("no catalogue"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    sample.archive.behaves();
    sample.archive.always("SqlSearch", Mischief::Endless);
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("MB, which no catalogue of it has"), "{message}");
    assert!(!sample.catalogue.exists());
}

#[test]
fn a_spectrum_without_end_is_one_failure_and_leaves_nothing() {
    let sample = Sample::of(2);
    sample.give_catalogue();
    sample.archive.always(&id(1), Mischief::Endless);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (1, 1));
    assert!(report.failed[0].reason.contains("more than 64 MB"), "{}", report.failed[0].reason);
    assert_eq!(files_below(&sample.spectra).len(), 1 + 1, "the other spectrum and the manifest");
    assert_eq!(sample.starts(1).len(), 1, "what is final is not tried again");
}

#[test]
fn redirects_to_another_server_are_refused_and_within_it_followed() {
    let (sample, other) = (Sample::of(2), Sample::of(1));
    sample.give_catalogue();
    let of = |sample: &Sample, star: usize| {
        format!("{}/apogee/spectro/redux/dr17/stars/apo25m/M15/apStar-dr17-{}.fits", sample.archive.root(), id(star))
    };
    sample.archive.plans(&id(1), [Mischief::Redirect(of(&sample, 1))]);
    sample.archive.plans(&id(2), [Mischief::Redirect(of(&other, 1))]);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (1, 1), "{:?}", report.failed);
    let reason = &report.failed[0].reason;
    assert!(reason.contains("another server") && reason.contains(&other.archive.root()), "{reason}");
    assert!(other.archive.requests().is_empty());
    sample.archive.always(&id(2), Mischief::Redirect(of(&sample, 2)));
    let reason = sample.fetch().unwrap().failed[0].reason.clone();
    assert!(reason.contains("sent the request on 5 times"), "{reason}");
}

#[cfg(unix)]
#[test]
fn links_beside_spectra_are_not_written_through() {
    let sample = Sample::of(1);
    sample.give_catalogue();
    let outside = sample.folder.path().join("outside");
    std::fs::write(&outside, "precious").unwrap();
    let path = sample.path(1);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&outside, path.with_extension("fits.part")).unwrap();
    assert_eq!(sample.fetch().unwrap().n_fetched, 1);
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
    assert_eq!(std::fs::read(&path).unwrap(), spectrum_of(&id(1)));
    std::os::unix::fs::symlink(&outside, sample.spectra.join(".maury-fetch.lock")).unwrap();
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains(".maury-fetch.lock") && message.contains("remove it"), "{message}");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
}

#[test]
fn one_name_that_cannot_be_does_not_stop_the_others() {
    let sample = Sample::of(2);
    sample.give_catalogue();
    let mut table = std::fs::read_to_string(&sample.catalogue).unwrap();
    table += &format!("long,x,M15,apo25m,{}.fits,99,1,0,0,4500,80\n", "L".repeat(300));
    std::fs::write(&sample.catalogue, table).unwrap();
    // A folder stands where a spectrum is to go.
    std::fs::create_dir_all(sample.path(2)).unwrap();
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (1, 2), "{:?}", report.failed);
    assert!(sample.path(1).is_file());
    let rows = sample.manifest();
    assert!(rows[2]["status"] == "failed" && rows[2]["reason"].contains("305 bytes is too long"), "{rows:?}");
}

#[test]
fn where_nothing_came_root_and_release_are_asked_about() {
    let sample = Sample::of(3);
    sample.give_catalogue();
    for status in [404, 403] {
        sample.archive.behaves();
        sample.archive.always("/sas/", Mischief::Status(status));
        let report = sample.fetch().unwrap();
        let message = report.check(&sample.settings).unwrap_err().to_string();
        for words in [&sample.settings.root, "none of the 3 spectra", "release dr17", &id(1), &status.to_string()] {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
    sample.archive.behaves();
    sample.archive.always(&id(1), Mischief::Status(404));
    let report = sample.fetch().unwrap();
    assert!(report.check(&sample.settings).is_ok() && report.missing.len() == 1);
}

#[test]
fn a_copy_cut_short_behind_its_fourth_hdu_is_not_whole() {
    let mut sample = Sample::of(2);
    sample.give_catalogue();
    // Flux, errors and mask are in the first half: the file opens, and all that a run reads is there.
    let whole = spectrum_of(&id(1));
    let half = &whole[..whole.len() - 2880 * 10];
    let copy = sample.folder.path().join("sas").join(super::archive_sample::STARS).join("apo25m/M15");
    std::fs::write(copy.join(&sample.stars[0].file), half).unwrap();
    sample.settings.root = format!("file://{}", sample.folder.path().join("sas").display());
    sample.settings.retries = 0;
    let report = fetch(&sample.request(), &Silent).unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (1, 1));
    assert!(report.failed[0].reason.contains("not whole"), "{}", report.failed[0].reason);
    // And where such a file lies already, it does not count.
    std::fs::write(sample.path(1), half).unwrap();
    assert_eq!(fetch(&sample.request(), &Silent).unwrap().n_present, 1);
}

#[test]
fn a_terminal_is_shown_names_and_obeys_none() {
    let folder = tempfile::tempdir().unwrap();
    let table = format!("{HEADER}\u{1b}[31mred,x,M15,apo25m,,99,1,0,0,4500,80\n");
    std::fs::write(folder.path().join("stars.csv"), table).unwrap();
    let experiment = "labels = [\"teff\"]\nquestion = \"\\u001b]0;title\\u0007?\"\n[data.apstar]\ncatalogue = \"stars.csv\"\n\
                      spectra = \"spectra\"\n[data.archive]\nroot = \"file:///nowhere\"\n";
    std::fs::write(folder.path().join("e.toml"), experiment).unwrap();
    for verb in ["fetch", "run"] {
        let output = crate::support::maury(folder.path(), &[verb, "e.toml"]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{7}']), "{said:?}");
        assert!(said.contains(if verb == "fetch" { "\\x1b[31mred" } else { "\\x1b]0;title\\x07?" }), "{said}");
    }
}
