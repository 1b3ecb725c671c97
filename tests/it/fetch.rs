//! Fetching spectra from an archive that misbehaves: nothing lost, nothing fetched twice, no half file under its name.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use maury::data::columns::ColumnNames;
use maury::data::fetch::{ArchiveSettings, CatalogueOrigin, FetchRequest, Status, fetch};
use maury::data::selection::Selection;
use maury::error::Error;
use maury::progress::{Progress, Silent};

use super::archive::Mischief;
use super::archive_sample::{STARS, Sample, StopsAt, files_below, id, spectrum_of};
use super::support::wait_until;

#[test]
fn every_telescope_is_fetched_once_and_the_next_run_asks_nothing() {
    let sample = Sample::new(&[
        ("apo25m", "060+00"),
        ("apo25m", "M15"),
        ("lco25m", "M15"),
        ("apo1m", "hip"),
        ("apo25m", "N #1"),
    ]);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_selected, report.n_present, report.n_fetched), (5, 0, 5), "{report:?}");
    assert_eq!((report.catalogue, report.bytes), (CatalogueOrigin::SkyServer, 5 * 1_045_440));
    assert_eq!(sample.n_whole(), 5);
    let queries = sample.archive.requests_for("SqlSearch");
    assert!(queries[0].target.contains("IN ('060+00', 'M15', 'hip', 'N #1')&format=csv"), "{queries:?}");
    assert!(queries[0].user_agent.starts_with("maury/"), "{queries:?}");
    let mut asked: Vec<String> =
        sample.archive.requests_for("/sas/").into_iter().map(|request| request.target).collect();
    asked.sort();
    assert_eq!(asked.len(), 5);
    assert!(asked[1].ends_with("stars/apo25m/060+00/apStar-dr17-2M00000001+0000000.fits"), "{asked:?}");
    assert!(asked[4].ends_with("stars/lco25m/M15/asStar-dr17-2M00000003+0000000.fits"), "{asked:?}");
    assert!(sample.manifest().iter().all(|row| row["status"] == "fetched" && row["bytes"] == "1045440"));
    assert_eq!(files_below(&sample.own()).len(), 5 + 2, "spectra, catalogue and manifest");

    assert!(sample.archive.n_connections() <= 1 + 3, "connections are used again");
    let n_requests = sample.archive.requests().len();
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_present, report.n_fetched, report.catalogue), (5, 0, CatalogueOrigin::Kept));
    assert_eq!(sample.archive.requests().len(), n_requests);
    assert!(sample.manifest().iter().all(|row| row["status"] == "present"));
}

#[test]
fn what_the_archive_lacks_is_in_the_manifest_and_asked_for_once_a_run() {
    let sample = Sample::of(4);
    for (star, status) in [(1, 404), (2, 403), (3, 410)] {
        sample.archive.always(&id(star), Mischief::Status(status));
    }
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.missing.len(), report.failed.len()), (1, 3, 0));
    assert_eq!(sample.archive.requests_for("/sas/").len(), 4);
    let rows = sample.manifest();
    assert_eq!((rows[0]["status"].as_str(), rows[0]["reason"].as_str()), ("missing", "404 Not Found"));
    assert!(rows[1]["reason"].starts_with("403") && rows[2]["reason"].starts_with("410"), "{rows:?}");
    assert_eq!((rows[3]["status"].as_str(), rows[3]["reason"].as_str()), ("fetched", ""));
    sample.archive.behaves();
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_present, report.n_fetched), (1, 3));
    assert_eq!((sample.n_whole(), sample.starts(4).len()), (4, 1));
}

#[test]
fn passing_failures_are_tried_again_and_broken_bodies_continued() {
    let sample = Sample::of(10);
    let other = sample.folder.path().join("sas").join(STARS).join("apo25m/M15").join(&sample.stars[0].file);
    sample.archive.plans(&id(1), [Mischief::Status(500), Mischief::Status(502)]);
    sample.archive.plans(&id(2), [Mischief::Reset]);
    sample.archive.plans(&id(3), [Mischief::ResetAfter(300_000)]);
    sample.archive.plans(&id(4), [Mischief::Truncated(400_000), Mischief::Truncated(200_000)]);
    sample.archive.plans(&id(5), [Mischief::WebPage, Mischief::Truncated(0)]);
    sample.archive.plans(&id(6), [Mischief::OtherFile(other)]);
    sample.archive.plans(&id(7), [Mischief::ChunkedUntil(300_000), Mischief::Chunked]);
    sample.archive.plans(&id(8), [Mischief::Chunked]);
    sample.archive.plans(&id(9), [Mischief::Truncated(300_000), Mischief::ShortRange(100_000)]);
    sample.archive.plans(&id(10), [Mischief::WithoutLength(700_000), Mischief::WithoutLength(1_045_440)]);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (10, 0), "{:?}", report.failed);
    assert_eq!(sample.n_whole(), 10);
    assert_eq!(sample.starts(1), [None, None, None]);
    assert_eq!(sample.starts(4), [None, Some(400_000), Some(600_000)]);
    assert_eq!(sample.sent(4), 1_045_440);
    assert_eq!(sample.starts(6), [None, None]);
    assert_eq!(sample.starts(8), [None]);
    assert_eq!(sample.starts(9), [None, Some(300_000), Some(400_000)]);
    assert_eq!((sample.sent(9), sample.starts(10)), (1_045_440, vec![None, None]));
    let n_requests = sample.archive.requests().len();
    assert_eq!(sample.fetch().unwrap().n_present, 10);
    assert_eq!(sample.archive.requests().len(), n_requests);
}

#[test]
fn what_never_verifies_fails_with_the_reason_and_leaves_nothing() {
    let sample = Sample::of(3);
    let other = sample.folder.path().join("sas").join(STARS).join("apo25m/M15").join(&sample.stars[2].file);
    sample.archive.always(&id(1), Mischief::WebPage);
    sample.archive.always(&id(2), Mischief::OtherFile(other));
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (1, 2));
    let rows = sample.manifest();
    assert_eq!(rows[0]["reason"], "a web page came in place of the FITS file (4 tries)");
    assert!(rows[1]["reason"].contains("another star, 2M00000003"), "{rows:?}");
    assert_eq!(files_below(&sample.spectra).len(), 1 + 1, "the spectrum and the manifest");
}

#[test]
fn a_body_that_trickles_is_given_up_and_continued() {
    let mut sample = Sample::of(1);
    sample.settings.timeout_s = 0.3;
    sample.archive.plans(&id(1), [Mischief::Trickle, Mischief::Stall(500)]);
    assert_eq!(sample.fetch().unwrap().n_fetched, 1);
    assert_eq!(sample.n_whole(), 1);
    let starts = sample.starts(1);
    assert!(starts.len() >= 3 && starts[1] > Some(0) && starts[2] >= Some(500), "{starts:?}");
}

#[test]
fn a_file_that_changed_between_part_and_rest_begins_anew() {
    let sample = Sample::of(3);
    sample.archive.plans(&id(1), [Mischief::Truncated(300_000), Mischief::NewVersion]);
    sample.archive.plans(&id(2), [Mischief::Truncated(300_000), Mischief::NewVersion, Mischief::Truncated(5)]);
    sample.archive.plans(&id(3), [Mischief::Truncated(300_000), Mischief::NoRange]);
    assert_eq!(sample.fetch().unwrap().n_fetched, 3);
    assert_eq!(sample.n_whole(), 3);
    // Asked for the rest, the server sent the whole new file.
    assert_eq!(sample.starts(1), [None, Some(300_000)]);
    assert_eq!(sample.sent(1), 300_000 + 1_045_440);
    assert_eq!(sample.starts(3), [None, Some(300_000)]);
}

#[test]
fn parts_of_an_earlier_run_are_continued_and_foreign_ones_left_alone() {
    let sample = Sample::of(4);
    let version = format!("\"{:x}-0\"", 1_045_440);
    sample.leave_part(1, 600_000, &version);
    sample.leave_part(2, 1_045_440, &version);
    sample.leave_part(3, 600_000, "\"of another version\"");
    sample.leave_part(4, 600_000, "\"of another version\"");
    sample.archive.plans(&id(4), [Mischief::BlindRange]);
    let foreign = sample.spectra.join("apo25m/M15/apStar-dr17-2M9.fits.part");
    std::fs::write(&foreign, "x").unwrap();
    assert_eq!(sample.fetch().unwrap().n_fetched, 4);
    assert_eq!(sample.n_whole(), 4);
    assert_eq!((sample.starts(1), sample.sent(1)), (vec![Some(600_000)], 445_440));
    assert_eq!((sample.starts(2), sample.sent(2)), (vec![Some(1_045_440)], 0));
    assert_eq!((sample.starts(3), sample.sent(3)), (vec![Some(600_000)], 1_045_440));
    // A server that sends the rest of a file that is no longer the same is not believed.
    assert_eq!(sample.starts(4), [Some(600_000), None]);
    assert!(foreign.is_file());
    assert_eq!(files_below(&sample.spectra).len(), 4 + 1 + 1);
}

/// Asks to stop once so many steps are done.
struct StopsAfter(usize, AtomicUsize);

impl Progress for StopsAfter {
    fn start(&self, _task: &str, _total: usize) {
        self.1.store(0, Ordering::SeqCst);
    }
    fn advance(&self, steps: usize) {
        self.1.fetch_add(steps, Ordering::SeqCst);
    }
    fn interrupted(&self) -> bool {
        self.1.load(Ordering::SeqCst) >= self.0
    }
}

#[test]
fn an_interrupted_run_says_what_waits_and_the_next_goes_on() {
    let mut sample = Sample::of(6);
    sample.settings.connections = 2;
    std::fs::create_dir_all(sample.own()).unwrap();
    std::fs::write(&sample.catalogue, "").unwrap();
    // The catalogue first, so that the steps counted are spectra.
    let request = FetchRequest { refresh_catalogue: true, ..sample.request() };
    let stopped = fetch(&request, &StopsAfter(3, AtomicUsize::new(0)));
    assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
    let n_whole = sample.n_whole();
    assert!((1..6).contains(&n_whole), "{n_whole}");
    let waiting = sample.manifest().iter().filter(|row| row["status"] == "waiting").count();
    assert_eq!(waiting, 6 - n_whole);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_present, report.n_fetched), (n_whole, 6 - n_whole));
    assert_eq!(sample.n_whole(), 6);
    assert_eq!(sample.archive.requests_for("SqlSearch").len(), 1);
}

#[test]
fn a_long_body_is_left_when_asked_to_stop_and_continued_later() {
    let sample = Sample::of(1);
    sample.give_catalogue();
    sample.archive.plans(&id(1), [Mischief::Trickle]);
    let begun = Instant::now();
    let stopped = fetch(&sample.request(), &StopsAt(begun + Duration::from_millis(400)));
    assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "the body would have taken half an hour");
    assert_eq!(sample.manifest()[0]["status"], "waiting");
    assert_eq!(sample.fetch().unwrap().n_fetched, 1);
    assert!(sample.starts(1)[1] > Some(0) && sample.n_whole() == 1);
}

/// This very test, run alone in another process, to which the environment says what to fetch and where to.
fn in_a_child(test: &str, sample: &Sample, root: &str) -> Command {
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([&format!("{module}::{test}"), "--exact", "--test-threads=1"]);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        child.env_remove(name).env_remove(name.to_lowercase());
    }
    child.env("MAURY_TEST_ROOT", root).env("MAURY_TEST_FOLDER", sample.own());
    child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    child
}

/// What a child does; whether this is one.
fn is_child() -> bool {
    let Ok(root) = std::env::var("MAURY_TEST_ROOT") else { return false };
    let folder = PathBuf::from(std::env::var("MAURY_TEST_FOLDER").unwrap());
    let settings = ArchiveSettings { root, connections: 1, first_pause_s: 0.005, ..ArchiveSettings::default() };
    let (labels, selection) = (vec!["teff".to_string()], Selection::default());
    let (catalogue, spectra) = (folder.join("stars.csv"), folder.join("spectra"));
    let request = FetchRequest {
        settings: &settings,
        catalogue: &catalogue,
        spectra: &spectra,
        labels: &labels,
        columns: &ColumnNames::USUAL,
        selection: &selection,
        refresh_catalogue: false,
    };
    assert!(fetch(&request, &Silent).unwrap().failed.is_empty());
    true
}

#[test]
fn a_killed_run_loses_nothing() {
    if is_child() {
        return;
    }
    let sample = Sample::of(3);
    sample.give_catalogue();
    sample.archive.plans(&id(2), [Mischief::Stall(700_000)]);
    let mut child = in_a_child("a_killed_run_loses_nothing", &sample, &sample.settings.root).spawn().unwrap();
    let part = sample.path(2).with_extension("fits.part");
    wait_until("a part", || std::fs::metadata(&part).is_ok_and(|metadata| metadata.len() >= 700_000));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(sample.n_whole(), 1);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_present, report.n_fetched), (1, 2));
    assert_eq!(sample.n_whole(), 3);
    assert_eq!(sample.starts(2), [None, Some(700_000)]);
    assert_eq!([1, 2, 3].map(|star| sample.sent(star)), [1_045_440; 3]);
}

#[test]
fn the_proxy_of_the_environment_is_heeded() {
    if is_child() {
        return;
    }
    for name in ["HTTP_PROXY", "ALL_PROXY"] {
        let sample = Sample::of(1);
        sample.give_catalogue();
        let mut child =
            in_a_child("the_proxy_of_the_environment_is_heeded", &sample, "http://archive.invalid/sas/dr17");
        assert!(child.env(name, sample.archive.proxy()).status().unwrap().success());
        assert_eq!(sample.n_whole(), 1);
        assert!(sample.archive.requests_for("/sas/").iter().all(|request| request.through_proxy));
    }
}

#[test]
fn a_pause_asked_for_holds_every_connection() {
    let mut sample = Sample::of(12);
    sample.give_catalogue();
    sample.settings.requests_per_second = 20.0;
    sample.archive.plans(&id(2), [Mischief::Busy(429, "1".into())]);
    assert_eq!(sample.fetch().unwrap().n_fetched, 12);
    let asked = sample.archive.requests_for(&id(2))[0].at;
    // Unheld, 10 more would follow within half a second; those under way as the server asked for its pause may.
    let is_early = |at: Instant| at > asked + Duration::from_millis(400) && at < asked + Duration::from_millis(950);
    assert!(sample.archive.requests().iter().all(|request| !is_early(request.at)));
    assert!(sample.archive.requests().iter().any(|request| request.at > asked + Duration::from_millis(950)));
    assert_eq!(sample.n_whole(), 12);
}

#[test]
fn a_pause_too_long_ends_the_run_with_the_servers_wish() {
    let sample = Sample::of(2);
    sample.archive.always("/sas/", Mischief::Busy(503, "7200".into()));
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("503") && message.contains("pause of 7200 s"), "{message}");
}

#[test]
fn requests_keep_their_distance_and_connections_their_number() {
    let mut sample = Sample::of(13);
    sample.give_catalogue();
    sample.archive.always("/sas/", Mischief::Status(404));
    (sample.settings.requests_per_second, sample.settings.connections) = (20.0, 2);
    assert_eq!(sample.fetch().unwrap().missing.len(), 13);
    let requests = sample.archive.requests();
    assert_eq!(requests.len(), 13);
    let took = requests[12].at - requests[0].at;
    assert!(took > Duration::from_millis(500), "12 intervals of 50 ms took {took:?}");
    assert!(sample.archive.most_connections() <= 3, "two, and one that is just closing");
}

#[test]
fn a_server_that_has_gone_ends_the_run_early() {
    let mut sample = Sample::of(9);
    sample.give_catalogue();
    sample.settings.give_up_after = 6;
    sample.archive.always("/sas/", Mischief::Reset);
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("6 requests failed in a row") && message.contains("later"), "{message}");
    assert!(sample.archive.requests().len() <= 6 + 3);
    assert!(sample.manifest().iter().all(|row| ["waiting", "failed"].contains(&row["status"].as_str())));
    sample.archive.behaves();
    sample.archive.always("/sas/", Mischief::Status(404));
    let message = sample.fetch().unwrap_err().to_string();
    assert!(message.contains("none of the 6 spectra") && message.contains("data.archive.root"), "{message}");
    sample.archive.behaves();
    assert_eq!(sample.fetch().unwrap().n_fetched, 9);
}

#[test]
fn spectra_that_are_there_count_in_any_layout_if_they_open() {
    let sample = Sample::of(5);
    sample.give_catalogue();
    let flat = |star: usize| sample.spectra.join(&sample.stars[star - 1].file);
    std::fs::create_dir_all(&sample.spectra).unwrap();
    std::fs::write(flat(1), spectrum_of(&id(1))).unwrap();
    std::fs::write(flat(2), &spectrum_of(&id(2))[..50_000]).unwrap();
    std::fs::write(flat(3), spectrum_of(&id(4))).unwrap();
    std::fs::write(flat(4), "<html>").unwrap();
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_present, report.n_fetched), (1, 4));
    assert_eq!(sample.n_whole(), 5);
    assert!(sample.starts(1).is_empty() && flat(2).is_file() && !sample.path(2).exists());
    assert!(sample.manifest().iter().all(|row| row["status"] == "present" || row["status"] == "fetched"));
}

#[test]
fn catalogue_rows_lead_nowhere_else() {
    let sample = Sample::of(1);
    sample.give_catalogue();
    let mut table = std::fs::read_to_string(&sample.catalogue).unwrap();
    table += "a,x,M15,apo25m,../../evil.fits,99,1,0,0,4500,80\nb,x,M15,..,b.fits,99,1,0,0,4500,80\n";
    table += &format!("{},x,M15,apo25m,{},98,1,0,0,4500,80\n", id(1), sample.stars[0].file);
    std::fs::write(&sample.catalogue, table).unwrap();
    let selection = Selection { deduplicate: false, ..sample.selection.clone() };
    let report = fetch(&FetchRequest { selection: &selection, ..sample.request() }, &Silent).unwrap();
    assert_eq!((report.n_selected, report.n_fetched, report.failed.len()), (3, 1, 2));
    assert!(
        report.failed.iter().all(|entry| entry.status == Status::Failed && entry.reason.contains("part of a path"))
    );
    assert_eq!(sample.archive.requests().len(), 1, "a spectrum named by two rows comes once");
}
