//! Fetching a sample from an archive that misbehaves: nothing lost, nothing fetched twice, no half file under its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use maury::data::fetch::{ArchiveSettings, CatalogueOrigin, FetchReport, FetchRequest, Status, fetch, plan};
use maury::data::selection::Selection;
use maury::data::{apstar, fits};
use maury::error::{Error, Result};
use maury::progress::{Progress, Silent};

use super::archive::{Archive, Mischief};

const STARS: &str = "apogee/spectro/redux/dr17/stars";
const ALL_STAR: &str = "apogee/spectro/aspcap/dr17/synspec_rev1/allStar-dr17-synspec_rev1.fits";
/// The star whose spectrum all others borrow.
const ORIGINAL: &str = "2M19485057+5005279";
const HEADER: &str =
    "#Table1\napogee_id,apstar_id,field,telescope,file,snr,nvisits,starflag,aspcapflag,teff,teff_err\n";

fn id(star: usize) -> String {
    format!("2M{star:08}+0000000")
}

/// The real spectrum under another star's name.
fn spectrum_of(id: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/apStar-dr17-{ORIGINAL}.fits"));
    let mut bytes = std::fs::read(path).unwrap();
    let card = format!("OBJID   = '{ORIGINAL}'");
    let at = bytes.windows(card.len()).position(|window| window == card.as_bytes()).unwrap() + 11;
    assert_eq!(id.len(), ORIGINAL.len());
    bytes[at..at + id.len()].copy_from_slice(id.as_bytes());
    bytes
}

/// A survey in an archive, and a folder to fetch it into.
struct Sample {
    folder: tempfile::TempDir,
    archive: Archive,
    settings: ArchiveSettings,
    selection: Selection,
    labels: Vec<String>,
    catalogue: PathBuf,
    /// Telescope, field and file of each star.
    stars: Vec<(String, String, String)>,
}

impl Sample {
    /// Stars of these telescopes and fields, numbered from 1, in a catalogue that SkyServer gives.
    fn new(places: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut stars = Vec::new();
        let mut table = HEADER.to_string();
        for (n, (telescope, field)) in places.iter().enumerate() {
            let (id, prefix) = (id(n + 1), if *telescope == "lco25m" { "as" } else { "ap" });
            let file = format!("{prefix}Star-dr17-{id}.fits");
            let path = folder.path().join("sas").join(STARS).join(telescope).join(field).join(&file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, spectrum_of(&id)).unwrap();
            table += &format!("{id},apogee.{id},{field},{telescope},{file},99,1,0,0,4500,80\n");
            stars.push((telescope.to_string(), field.to_string(), file));
        }
        let archive = Archive::serve(&folder.path().join("sas"));
        archive.answers_sql(&table);
        let settings = ArchiveSettings {
            root: archive.root(),
            skyserver: archive.skyserver(),
            connections: 3,
            requests_per_second: 500.0,
            retries: 3,
            timeout_s: 10.0,
            first_pause_s: 0.005,
            ..ArchiveSettings::default()
        };
        let mut fields: Vec<String> = places.iter().map(|(_, field)| field.to_string()).collect();
        fields.dedup();
        let catalogue = folder.path().join("own/stars.csv");
        let selection = Selection { fields, ..Selection::default() };
        Self { folder, archive, settings, selection, labels: vec!["teff".into()], catalogue, stars }
    }

    /// So many stars of one field.
    fn of(n: usize) -> Self {
        Self::new(&vec![("apo25m", "M15"); n])
    }

    fn own(&self) -> PathBuf {
        self.folder.path().join("own")
    }

    fn spectra(&self) -> PathBuf {
        self.own().join("spectra")
    }

    fn request(&self) -> FetchRequest<'_> {
        // Borrowed for as long as the sample lives.
        let spectra: &Path = Box::leak(self.spectra().into_boxed_path());
        FetchRequest {
            settings: &self.settings,
            catalogue: &self.catalogue,
            spectra,
            labels: &self.labels,
            selection: &self.selection,
            refresh_catalogue: false,
        }
    }

    fn fetch(&self) -> Result<FetchReport> {
        fetch(&self.request(), &Silent)
    }

    /// What lies where the archive's layout has the star numbered from 1.
    fn path(&self, star: usize) -> PathBuf {
        let (telescope, field, file) = &self.stars[star - 1];
        self.spectra().join(telescope).join(field).join(file)
    }

    /// Every spectrum under its name opens and is the right star's; their number.
    fn n_whole(&self) -> usize {
        let whole = |star: &usize| {
            let (telescope, field, file) = &self.stars[star - 1];
            let Some(path) = apstar::locate(&self.spectra(), file, telescope, field, &id(*star)) else { return false };
            assert_eq!(apstar::read(&path).unwrap().id, id(*star));
            assert_eq!(std::fs::read(path).unwrap(), spectrum_of(&id(*star)));
            true
        };
        (1..=self.stars.len()).filter(whole).count()
    }

    fn manifest(&self) -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_path(self.spectra().join("manifest.csv")).unwrap();
        reader.deserialize().collect::<Result<_, _>>().unwrap()
    }

    /// Positions that requests for a star's file asked to begin at.
    fn starts(&self, star: usize) -> Vec<Option<usize>> {
        self.archive.requests_for(&id(star)).iter().map(|request| request.range).collect()
    }

    /// Bytes of a star's file that the archive sent, over all requests.
    fn sent(&self, star: usize) -> usize {
        // The server's own count may come a moment after the last byte.
        std::thread::sleep(Duration::from_millis(20));
        self.archive.requests_for(&id(star)).iter().map(|request| request.sent).sum()
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files_below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

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
    let sample = Sample::of(8);
    let other = sample.folder.path().join("sas").join(STARS).join("apo25m/M15").join(&sample.stars[0].2);
    sample.archive.plans(&id(1), [Mischief::Status(500), Mischief::Status(502)]);
    sample.archive.plans(&id(2), [Mischief::Reset]);
    sample.archive.plans(&id(3), [Mischief::ResetAfter(300_000)]);
    sample.archive.plans(&id(4), [Mischief::Truncated(400_000), Mischief::Truncated(200_000)]);
    sample.archive.plans(&id(5), [Mischief::WebPage, Mischief::Truncated(0)]);
    sample.archive.plans(&id(6), [Mischief::OtherFile(other)]);
    sample.archive.plans(&id(7), [Mischief::ChunkedUntil(300_000), Mischief::Chunked]);
    sample.archive.plans(&id(8), [Mischief::Chunked]);
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (8, 0), "{:?}", report.failed);
    assert_eq!(sample.n_whole(), 8);
    assert_eq!(sample.starts(1), [None, None, None]);
    assert_eq!(sample.starts(4), [None, Some(400_000), Some(600_000)]);
    assert_eq!(sample.sent(4), 1_045_440);
    assert_eq!(sample.starts(6), [None, None]);
    assert_eq!(sample.starts(8), [None]);
    let n_requests = sample.archive.requests().len();
    assert_eq!(sample.fetch().unwrap().n_present, 8);
    assert_eq!(sample.archive.requests().len(), n_requests);
}

#[test]
fn what_never_verifies_fails_with_the_reason_and_leaves_nothing() {
    let sample = Sample::of(3);
    let other = sample.folder.path().join("sas").join(STARS).join("apo25m/M15").join(&sample.stars[2].2);
    sample.archive.always(&id(1), Mischief::WebPage);
    sample.archive.always(&id(2), Mischief::OtherFile(other));
    let report = sample.fetch().unwrap();
    assert_eq!((report.n_fetched, report.failed.len()), (1, 2));
    let rows = sample.manifest();
    assert_eq!(rows[0]["reason"], "a web page came in place of the file (4 tries)");
    assert!(rows[1]["reason"].contains("another star, 2M00000003"), "{rows:?}");
    assert_eq!(files_below(&sample.spectra()).len(), 1 + 1, "the spectrum and the manifest");
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

/// Leaves of a star's file what a killed run leaves.
fn leave_part(sample: &Sample, star: usize, n_bytes: usize, version: &str) -> PathBuf {
    let path = sample.path(star);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let part = path.with_extension("fits.part");
    std::fs::write(&part, &spectrum_of(&id(star))[..n_bytes]).unwrap();
    std::fs::write(path.with_extension("fits.part.version"), version).unwrap();
    part
}

#[test]
fn parts_of_an_earlier_run_are_continued_and_foreign_ones_left_alone() {
    let sample = Sample::of(4);
    let version = format!("\"{:x}-0\"", 1_045_440);
    leave_part(&sample, 1, 600_000, &version);
    leave_part(&sample, 2, 1_045_440, &version);
    leave_part(&sample, 3, 600_000, "\"of another version\"");
    leave_part(&sample, 4, 600_000, "\"of another version\"");
    sample.archive.plans(&id(4), [Mischief::BlindRange]);
    let foreign = sample.spectra().join("apo25m/M15/apStar-dr17-2M9.fits.part");
    std::fs::write(&foreign, "x").unwrap();
    assert_eq!(sample.fetch().unwrap().n_fetched, 4);
    assert_eq!(sample.n_whole(), 4);
    assert_eq!((sample.starts(1), sample.sent(1)), (vec![Some(600_000)], 445_440));
    assert_eq!((sample.starts(2), sample.sent(2)), (vec![Some(1_045_440)], 0));
    assert_eq!((sample.starts(3), sample.sent(3)), (vec![Some(600_000)], 1_045_440));
    // A server that sends the rest of a file that is no longer the same is not believed.
    assert_eq!(sample.starts(4), [Some(600_000), None]);
    assert!(foreign.is_file());
    assert_eq!(files_below(&sample.spectra()).len(), 4 + 1 + 1);
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
    fn finish(&self) {}
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
        selection: &selection,
        refresh_catalogue: false,
    };
    assert!(fetch(&request, &Silent).unwrap().failed.is_empty());
    true
}

/// The catalogue, without asking for it.
fn give_catalogue(sample: &Sample) {
    let mut table = HEADER.to_string();
    for (n, (telescope, field, file)) in sample.stars.iter().enumerate() {
        table += &format!("{},x,{field},{telescope},{file},99,1,0,0,4500,80\n", id(n + 1));
    }
    std::fs::create_dir_all(sample.own()).unwrap();
    std::fs::write(&sample.catalogue, table).unwrap();
}

#[test]
fn a_killed_run_loses_nothing() {
    if is_child() {
        return;
    }
    let sample = Sample::of(3);
    give_catalogue(&sample);
    sample.archive.plans(&id(2), [Mischief::Stall(700_000)]);
    let mut child = in_a_child("a_killed_run_loses_nothing", &sample, &sample.settings.root).spawn().unwrap();
    let part = sample.path(2).with_extension("fits.part");
    let begun = Instant::now();
    while std::fs::metadata(&part).map_or(0, |metadata| metadata.len()) < 700_000 {
        assert!(begun.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none(), "no part came");
        std::thread::sleep(Duration::from_millis(5));
    }
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
        give_catalogue(&sample);
        let mut child =
            in_a_child("the_proxy_of_the_environment_is_heeded", &sample, "http://archive.invalid/sas/dr17");
        assert!(child.env(name, sample.archive.proxy()).status().unwrap().success());
        assert_eq!(sample.n_whole(), 1);
        assert!(sample.archive.requests_for("/sas/").iter().all(|request| request.through_proxy));
    }
}

#[test]
fn a_pause_asked_for_holds_every_connection() {
    let sample = Sample::of(8);
    give_catalogue(&sample);
    sample.archive.plans(&id(2), [Mischief::Busy(429, "1".into())]);
    assert_eq!(sample.fetch().unwrap().n_fetched, 8);
    let asked = sample.archive.requests_for(&id(2))[0].at;
    // Requests under way when the server asked for its pause are not to blame.
    let early = |at: Instant| at > asked + Duration::from_millis(300) && at < asked + Duration::from_millis(950);
    assert!(sample.archive.requests().iter().all(|request| !early(request.at)));
    assert!(sample.archive.requests().iter().any(|request| request.at > asked + Duration::from_millis(950)));
    assert_eq!(sample.n_whole(), 8);
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
    give_catalogue(&sample);
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
    give_catalogue(&sample);
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
fn a_refused_query_leaves_nothing_and_says_what_the_server_said() {
    let mut sample = Sample::of(1);
    for (answer, said) in [
        ("error_message\nInvalid column name 'tef'.\n", "Invalid column name 'tef'"),
        ("<html><body>Service <b>down</b></body></html>", "Service down"),
        (HEADER, "no star in the fields M15"),
        ("#Table1\napogee_id,teff\n2M0,4500\n", "no column apstar_id"),
    ] {
        sample.archive.answers_sql(answer);
        // The good answer of the start goes first.
        if sample.archive.requests().is_empty() {
            sample.fetch().unwrap();
            std::fs::remove_file(&sample.catalogue).unwrap();
        }
        let message = sample.fetch().unwrap_err().to_string();
        assert!(message.contains(said) && message.contains("/SqlSearch: no catalogue"), "{message}");
        assert!(!sample.catalogue.exists());
        sample.archive.answers_sql(answer);
        std::fs::write(&sample.catalogue, "old").unwrap();
        assert!(fetch(&FetchRequest { refresh_catalogue: true, ..sample.request() }, &Silent).is_err());
        assert_eq!(std::fs::read_to_string(&sample.catalogue).unwrap(), "old");
        std::fs::remove_file(&sample.catalogue).unwrap();
        sample.archive.forget_sql();
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
    let column = |value: &dyn Fn(usize, &(String, String, String)) -> String| {
        sample.stars.iter().enumerate().map(|(n, star)| value(n + 1, star)).collect::<Vec<String>>()
    };
    let columns = [
        fits::Column::fixed_text("FILE", 64, column(&|_, star| star.2.clone())),
        fits::Column::fixed_text("APOGEE_ID", 30, column(&|n, _| id(n))),
        fits::Column::fixed_text("TELESCOPE", 6, column(&|_, star| star.0.clone())),
        fits::Column::fixed_text("FIELD", 20, column(&|_, star| star.1.clone())),
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
    sample.archive.plans("allStar", [Mischief::Truncated(5000)]);
    let report = sample.fetch().unwrap();
    assert_eq!((report.catalogue, report.n_fetched), (CatalogueOrigin::Archive, 2));
    let starts: Vec<_> = sample.archive.requests_for("allStar").iter().map(|request| request.range).collect();
    assert_eq!(starts, [None, Some(4000), None, Some(5000)], "a web page is no rest of a catalogue");
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
    give_catalogue(&sample);
    leave_part(&sample, 1, 45_440, "\"v\"");
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
fn spectra_that_are_there_count_in_any_layout_if_they_open() {
    let sample = Sample::of(5);
    give_catalogue(&sample);
    let flat = |star: usize| sample.spectra().join(&sample.stars[star - 1].2);
    std::fs::create_dir_all(sample.spectra()).unwrap();
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
    give_catalogue(&sample);
    let mut table = std::fs::read_to_string(&sample.catalogue).unwrap();
    table += "a,x,M15,apo25m,../../evil.fits,99,1,0,0,4500,80\nb,x,M15,..,b.fits,99,1,0,0,4500,80\n";
    table += &format!("{},x,M15,apo25m,{},98,1,0,0,4500,80\n", id(1), sample.stars[0].2);
    std::fs::write(&sample.catalogue, table).unwrap();
    let selection = Selection { deduplicate: false, ..sample.selection.clone() };
    let report = fetch(&FetchRequest { selection: &selection, ..sample.request() }, &Silent).unwrap();
    assert_eq!((report.n_selected, report.n_fetched, report.failed.len()), (3, 1, 2));
    assert!(
        report.failed.iter().all(|entry| entry.status == Status::Failed && entry.reason.contains("part of a path"))
    );
    assert_eq!(sample.archive.requests().len(), 1, "a spectrum named by two rows comes once");
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
