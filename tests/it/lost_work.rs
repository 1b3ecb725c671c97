//! Whatever goes wrong around a run, no work is lost that was done, and nothing half done is left.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::networks::{LONG, project, unfinished, wait_for_epoch};
use crate::support::{apstar_fixture, column, refused, start, stopped, succeeded, survey, told, wait_until};

fn bash(folder: &Path, command: &str) -> std::process::Output {
    let command = command.replace("maury", env!("CARGO_BIN_EXE_maury"));
    Command::new("bash").current_dir(folder).args(["-c", &command]).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_stderr_that_cannot_be_written_is_no_reason_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "architecture.mlp = { hidden = [8] }\ndescent.epochs = 3");
    for listener in ["2>/dev/full", "2>&1 >/dev/null | head -n 0; exit ${PIPESTATUS[0]}", "2>&-", "| head -n 0"] {
        let output = bash(folder.path(), &format!("maury run net.toml {listener}"));
        assert!(output.status.success(), "{listener}: {:?}", output.status);
    }
    let experiment = folder.path().join("experiments/net");
    // Four runs and `latest`.
    assert_eq!(std::fs::read_dir(&experiment).unwrap().count(), 5);
    assert!(experiment.join("latest/models/net/weights.safetensors").is_file());
    // Errors and what `check` remarks, too.
    assert_eq!(bash(folder.path(), "maury run absent.toml 2>/dev/full").status.code(), Some(1));
    assert!(bash(folder.path(), "maury check net.toml 2>/dev/full").status.success());
}

#[test]
fn a_run_that_cannot_write_its_results_keeps_its_training() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), LONG);
    let child = start(folder.path(), &["run", "net.toml"]);
    wait_for_epoch(folder.path(), "member1", 2);
    // Where the model is to be kept, something else stands.
    let in_the_way = unfinished(folder.path()).unwrap().join("models");
    std::fs::write(&in_the_way, "").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("what was trained is kept in") && said.contains("--resume"), "{said}");
    std::fs::remove_file(in_the_way).unwrap();
    let begun = Instant::now();
    succeeded(folder.path(), &["run", "net.toml", "--resume"]);
    assert!(begun.elapsed() < Duration::from_secs(60) && unfinished(folder.path()).is_none());
}

#[test]
fn two_runs_that_want_the_same_mock_survey_make_it_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.toml"), "labels = ['teff']\n[data.mock]\nstars = 30\n").unwrap();
    let both =
        [0, 1].map(|_| start(folder.path(), &["prepare", "m.toml"])).map(|child| child.wait_with_output().unwrap());
    let said = both.map(|output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    });
    assert_eq!(said.iter().filter(|said| said.contains("mock survey of")).count(), 1, "{said:?}");
    let left = std::fs::read_dir(folder.path().join("experiments/.prepared")).unwrap().flatten();
    let left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(left.len(), 2, "a survey and a prepared set: {left:?}");
}

#[cfg(unix)]
#[test]
fn a_mock_survey_that_is_stopped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let child = start(folder.path(), &["mock", "--stars", "3000", "out"]);
    let begins = || std::fs::read_dir(folder.path()).unwrap().count() > 0;
    wait_until("a file", begins);
    std::thread::sleep(Duration::from_millis(300));
    stopped(child, &[]);
    assert!(!begins(), "something is left");
}

#[cfg(unix)]
#[test]
fn a_preparation_that_is_stopped_leaves_nothing_half_made() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.toml"), "labels = ['teff']\n[data.mock]\nstars = 3000\n").unwrap();
    let child = start(folder.path(), &["prepare", "m.toml"]);
    let cache = folder.path().join("experiments/.prepared");
    let n_made = || std::fs::read_dir(&cache).map_or(0, Iterator::count);
    wait_until("a survey", || n_made() > 0);
    std::thread::sleep(Duration::from_millis(300));
    stopped(child, &["error: stopped as asked"]);
    assert_eq!(n_made(), 0);
}

#[cfg(unix)]
#[test]
fn a_posterior_that_is_stopped_in_the_middle_of_a_star_stops_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband").display().to_string();
    let star = apstar_fixture().display().to_string();
    for sampler in ["hmc", "nuts"] {
        // Minutes of draws.
        let words = ["posterior", "--model", &model, "--draws", "100000", "--sampler", sampler, &star];
        let child = start(folder.path(), &words);
        let begins = || std::fs::read_dir(folder.path()).unwrap().count() > 0;
        wait_until("a file", begins);
        std::thread::sleep(Duration::from_secs(1));
        let asked = Instant::now();
        stopped(child, &["stopped as asked"]);
        assert!(asked.elapsed() < Duration::from_secs(20), "{sampler}");
        assert!(!begins(), "{sampler}: something is left");
    }
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    refused(folder.path(), &["posterior", "--model", &model, "empty"], 1, &["reading spectra", "name apStar files"]);
}

#[test]
fn rows_are_those_asked_for_and_a_finished_table_is_not_replaced_unasked() {
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    std::fs::create_dir(folder.path().join("x")).unwrap();
    for name in ["x/a.fits", "x/b.fits"] {
        std::fs::copy(apstar_fixture(), folder.path().join(name)).unwrap();
    }
    fn label<'a>(rest: &[&'a str]) -> Vec<&'a str> {
        let words = ["label", "--model", "experiments/lab/latest/models/cannon", "--out", "t"];
        [&words[..], rest].concat()
    }
    let ids = || column(&folder.path().join("t.csv"), "file");
    let shown = succeeded(folder.path(), &label(&["x/b.fits", "x/a.fits"]));
    assert!(shown.contains("  x/b.fits\n") && shown.contains("flags"), "the terminal names the files: {shown}");
    assert_eq!(ids(), ["x/b.fits", "x/a.fits"]);
    refused(folder.path(), &label(&["x/a.fits"]), 2, &["t.fits: a table of another model", "--overwrite"]);
    assert_eq!(ids().len(), 2);
    // The very same command gives the very same table.
    succeeded(folder.path(), &label(&["x/b.fits", "x/a.fits"]));
    assert!(!folder.path().join("t.unfinished.jsonl").exists());
    told(
        folder.path(),
        &label(&["--overwrite", "x/a.fits", "x/b.fits", "x/a.fits"]),
        &["1 of 3 spectra are named again"],
    );
    assert_eq!(ids(), ["x/a.fits", "x/b.fits"]);
    refused(folder.path(), &[&label(&[])[..4], &["x", "x/a.fits"]].concat(), 2, &["this names a folder"]);
}

#[cfg(unix)]
#[test]
fn labels_whose_table_cannot_be_written_are_kept_and_taken_up() {
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    std::fs::copy(apstar_fixture(), folder.path().join("a.fits")).unwrap();
    let label = "maury label --model experiments/lab/latest/models/cannon --out t a.fits";
    // Files of four kilobytes: room for the labels on their way, and for no FITS table.
    let output = bash(folder.path(), &format!("trap '' XFSZ; ulimit -f 4; {label}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in
        ["labels of 1 spectra are kept in t.unfinished.jsonl", "the same command", "error: t.fits", "is the disk full?"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!folder.path().join("t.fits").exists() && !folder.path().join("t.csv").exists());
    let output = bash(folder.path(), label);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 of 1 spectra are labelled already"), "{said}");
    assert!(folder.path().join("t.csv").is_file() && !folder.path().join("t.unfinished.jsonl").exists());
}

#[cfg(unix)]
#[test]
fn labels_and_spectra_that_are_stopped_leave_only_the_labels() {
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    std::fs::copy(apstar_fixture(), folder.path().join("0.fits")).unwrap();
    let mut list = String::from("0.fits\n");
    for n in 1..3000 {
        std::fs::hard_link(folder.path().join("0.fits"), folder.path().join(format!("{n}.fits"))).unwrap();
        list += &format!("{n}.fits\n");
    }
    std::fs::write(folder.path().join("list"), list).unwrap();
    let words = ["label", "--model", "experiments/lab/latest/models/cannon", "--list", "list", "--out", "t"];
    let child = start(folder.path(), &[&words[..], &["--spectra"]].concat());
    let hidden = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".maury-")).count()
    };
    wait_until("a file", || hidden() > 0);
    stopped(child, &["kept in t.unfinished.jsonl; the same command without --spectra goes on"]);
    assert_eq!(hidden(), 0, "spectra are left");
    // Whole batches came to their end: none of their files is suspected of having ended the job.
    let journal = std::fs::read_to_string(folder.path().join("t.unfinished.jsonl")).unwrap();
    assert!(!journal.lines().last().unwrap().contains("\"reading\""));
    told(folder.path(), &words, &["of 3000 spectra are labelled already"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("t.csv")).unwrap().lines().count(), 3001);
}

#[cfg(unix)]
#[test]
fn a_table_goes_where_it_is_told_though_the_name_is_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    let odd = |name: &[u8]| std::ffi::OsStr::from_bytes(name).to_os_string();
    let names = [odd(b"a\xff.fits"), odd(b"a\xfe.fits")];
    names.iter().for_each(|name| _ = std::fs::copy(apstar_fixture(), folder.path().join(name)).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_maury"));
    let words = ["label", "--model", "experiments/lab/latest/models/cannon", "--spectra", "--out"];
    command.current_dir(folder.path()).args(words);
    let output = command.arg(odd(b"out\xff")).args(&names).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = std::fs::read_to_string(folder.path().join(odd(b"out\xff.csv"))).unwrap();
    for name in [&b"out\xff.fits"[..], b"out\xff-spectra.fits"] {
        assert!(folder.path().join(odd(name)).is_file());
    }
    assert!(table.contains(r"a\xff.fits") && table.contains(r"a\xfe.fits"), "two files, two rows: {table}");
}

#[test]
fn what_is_left_of_earlier_runs_is_listed_and_removed() {
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    let clean = |rest: &[&str]| succeeded(folder.path(), &[&["clean"][..], rest].concat());
    let nothing = clean(&[]);
    assert!(nothing.contains("0.0 MB  in 0 files and folders removed; looked through experiments, and into this"));
    // A folder that is named again is told once.
    let said = clean(&["--dry-run", "experiments"]);
    assert!(said.contains("looked through experiments, and into this folder"), "{said}");
    refused(folder.path(), &["clean", "absent"], 2, &["absent: no such folder"]);
    let listed = clean(&["--dry-run", "--older-than", "0"]);
    assert!(listed.contains("(prepared set)") && listed.contains("in 1 file or folder can be removed"), "{listed}");
    assert_eq!(std::fs::read_dir(folder.path().join("experiments/.prepared")).unwrap().count(), 1);
    assert!(clean(&["--older-than", "0"]).contains("in 1 file or folder removed"));
    assert_eq!(std::fs::read_dir(folder.path().join("experiments/.prepared")).unwrap().count(), 0);
    assert!(folder.path().join("experiments/lab/latest/metrics.json").is_file());
    // What a table, a posterior, and spectra elsewhere left when they were killed.
    let left =
        [".maury-a.part", "posterior/.maury-b.part", "other/deep/.maury-c.part"].map(|name| folder.path().join(name));
    for path in &left {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(48 * 3600)).unwrap();
    }
    assert!(clean(&[]).contains("in 2 files and folders removed") && left[2].is_file());
    assert!(clean(&["other"]).contains("in 1 file or folder removed") && !left[2].exists());
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_nobody_can_read_is_no_lost_work() {
    let folder = survey(24);
    let output = bash(folder.path(), "maury run lab.toml --set split=all >/dev/full");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["standard output: cannot write the answer: No space left", "nothing is lost: experiments/lab/"] {
        assert!(said.contains(words), "`{words}` not said in: {said}");
    }
    assert!(folder.path().join("experiments/lab/latest/metrics.json").is_file());
    let output = bash(folder.path(), "maury check lab.toml >/dev/full");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("standard output") && !said.contains("nothing is lost"), "{said}");
}

#[test]
fn what_a_killed_mock_left_is_found_where_there_are_no_experiments() {
    let folder = tempfile::tempdir().unwrap();
    let clean = |rest: &[&str]| succeeded(folder.path(), &[&["clean"][..], rest].concat());
    let said = clean(&[]);
    assert!(said.contains("in 0 files and folders removed; looked into this folder"), "{said}");
    assert!(said.contains("neither posterior nor experiments"), "{said}");
    let left = folder.path().join(".maury-unfinished-abc");
    std::fs::create_dir(&left).unwrap();
    let then = std::time::SystemTime::now() - Duration::from_secs(48 * 3600);
    std::fs::File::open(&left).unwrap().set_modified(then).unwrap();
    assert!(clean(&[]).contains("in 1 file or folder removed") && !left.exists());
    refused(
        folder.path(),
        &["clean", "--experiments", "elsewhere"],
        2,
        &["elsewhere: no such folder", "--experiments"],
    );
}

#[cfg(unix)]
#[test]
fn examples_of_help_can_be_pasted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let help = succeeded(root, &["run", "--help"]);
    let (_, examples) = help.split_once("Examples:\n").expect("run --help has examples");
    // Each begins at a `maury`, and ends where no backslash goes on.
    let examples = examples.replace("\\\n", " ").replace("maury run", "maury check");
    let examples: Vec<&str> = examples.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(examples.len(), 2, "{examples:?}");
    for example in examples {
        let output = bash(root, example);
        assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
