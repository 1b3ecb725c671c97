//! One list, many processes: whatever their number and whatever becomes of them, one table, every spectrum once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::labelling::many;
use crate::support::{refused, start, succeeded, survey, told, wait_until};

pub const MODEL: &str = "experiments/lab/latest/models/cannon";

/// A folder with a trained model and a list of so many spectra, one of which is named twice.
pub fn listed(n: usize) -> tempfile::TempDir {
    let folder = survey(40);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    many(&folder.path().join("many"), n);
    let mut names: Vec<String> = (0..n).map(|star| format!("many/apStar-{star:05}.fits")).collect();
    names.insert(n / 2, names[1].clone());
    std::fs::write(folder.path().join("list.txt"), names.join("\n")).unwrap();
    folder
}

fn shard<'a>(shard: &'a str, out: &'a str) -> [&'a str; 9] {
    ["label", "--model", MODEL, "--list", "list.txt", "--out", out, "--shard", shard]
}

/// Bytes of both tables at a stem, the day of writing left out.
fn tables(folder: &Path, stem: &str) -> (Vec<u8>, Vec<u8>) {
    let read = |ending: &str| std::fs::read(folder.join(format!("{stem}.{ending}"))).unwrap();
    let mut fits = read("fits");
    fits.chunks_mut(80).find(|card| card.starts_with(b"DATE    =")).expect("a date").fill(b' ');
    (fits, read("csv"))
}

pub fn journals(folder: &Path, stem: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join(format!("{stem}.parts"))).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    found.sort();
    found
}

/// A journal whose lines were changed by who knows how they are sealed.
pub fn resealed(journal: &str) -> String {
    let line = |line: &str| match line.strip_prefix("[\"").and_then(|rest| rest.split_once("\",")?.1.strip_suffix(']'))
    {
        Some(json) => format!("[\"{}\",{json}]\n", &blake3::hash(json.as_bytes()).to_hex()[..8]),
        None => format!("{line}\n"),
    };
    journal.lines().map(line).collect()
}

#[test]
fn any_number_of_shards_makes_the_same_bytes_as_one_job() {
    let folder = listed(1100);
    let here = folder.path();
    succeeded(here, &["label", "--model", MODEL, "--list", "list.txt", "--out", "whole"]);
    let whole = tables(here, "whole");
    // Of 64 shards five have a batch of the list; one of the others says that it has none.
    for (stem, of, at_work) in [("one", 1, 0..1), ("two", 2, 0..2), ("eight", 8, 0..8), ("sixty", 64, 0..6)] {
        let at_work: Vec<usize> = at_work.collect();
        // In whatever order.
        for index in at_work.iter().rev() {
            succeeded(here, &shard(&format!("{index}/{of}"), stem));
        }
        let answer = succeeded(here, &["merge", stem]);
        assert!(answer.contains("1100 spectra"), "{answer}");
        assert!(tables(here, stem) == whole, "{of} shards");
        let page = here.join(format!("{stem}-explore.html"));
        assert!(answer.contains("explore.html: every star") && page.is_file(), "{answer}");
    }
    // Once done, done; the number of shards may change on the way.
    let again = succeeded(here, &shard("1/2", "two"));
    assert!(again.contains("were labelled before"), "{again}");
    told(here, &shard("0/4", "two"), &["332 of 332 spectra of shard 0/4 are labelled already"]);
    succeeded(here, &["merge", "two.fits", "--clean"]);
    assert!(tables(here, "two") == whole && !here.join("two.parts").exists());
}

#[test]
fn shards_killed_at_any_moment_and_twins_lose_nothing_and_double_nothing() {
    let folder = listed(2600);
    let here = folder.path();
    succeeded(here, &["label", "--model", MODEL, "--list", "list.txt", "--out", "whole"]);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let names: Vec<String> = (0..8).map(|index| format!("{index}/8")).collect();
    let kill = |mut job: Child, after: u64| {
        std::thread::sleep(Duration::from_millis(after));
        let _ = job.kill();
        let _ = job.wait();
    };
    for n in 0..20 {
        // Now and then two at once, of one shard.
        let own = || start(here, &shard(&names[n % 8], "killed"));
        let twins = if n % 5 == 4 { vec![own(), own()] } else { vec![own()] };
        for job in twins {
            kill(job, rng.random_range(20..900));
        }
    }
    let twins: Vec<Child> = [0, 0, 1].map(|index| start(here, &shard(&names[index], "killed"))).into();
    for twin in twins {
        assert!(twin.wait_with_output().unwrap().status.success());
    }
    names[2..].iter().for_each(|name| _ = succeeded(here, &shard(name, "killed")));
    assert!(journals(here, "killed").len() > 8);
    succeeded(here, &["merge", "killed"]);
    assert!(tables(here, "killed") == tables(here, "whole"));
}

#[test]
fn a_merge_says_what_is_missing_foreign_or_twice_and_different() {
    let folder = listed(1100);
    let here = folder.path();
    refused(here, &["merge", "labels"], 2, &["labels.parts", "no shards of labels"]);
    for name in ["0/3", "2/3"] {
        succeeded(here, &shard(name, "labels"));
    }
    refused(here, &["merge", "labels"], 3, &["332 of 1100", "sbatch --array=1 label.slurm"]);
    assert!(!here.join("labels.fits").exists());
    let missing = std::fs::read_to_string(here.join("labels.missing.txt")).unwrap();
    assert_eq!((missing.lines().count(), missing.lines().next()), (332, Some("many/apStar-00256.fits")));
    let status =
        Command::new(env!("CARGO_BIN_EXE_maury")).current_dir(here).args(["status", "labels"]).output().unwrap();
    let said = String::from_utf8(status.stdout).unwrap();
    assert_eq!(status.status.code(), Some(3));
    assert!(
        said.contains("768 of 1,100 spectra")
            && said.contains("2 of 3 shards are done")
            && said.contains("shard 1/3: not begun"),
        "{said}"
    );

    // Other models and other lists are not mixed in.
    let model = here.join(MODEL).join("model.json");
    let text = std::fs::read_to_string(&model).unwrap();
    std::fs::write(&model, format!("{text}\n")).unwrap();
    refused(here, &shard("1/3", "labels"), 2, &["labels.parts", "another model"]);
    std::fs::write(&model, &text).unwrap();
    let list = std::fs::read_to_string(here.join("list.txt")).unwrap();
    std::fs::write(here.join("list.txt"), list.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap();
    refused(here, &shard("1/3", "labels"), 2, &["another list"]);
    refused(here, &["merge", "labels"], 1, &["list.txt", "has changed"]);
    std::fs::write(here.join("list.txt"), &list).unwrap();
    refused(here, &shard("3/3", "labels"), 2, &["K from 0 to N - 1"]);

    // What a killed writer tore off is labelled again, as the whole batch that it was of.
    succeeded(here, &shard("1/3", "labels"));
    succeeded(here, &["merge", "labels"]);
    assert!(!here.join("labels.missing.txt").exists());
    let whole = tables(here, "labels");
    let first = journals(here, "labels").remove(0);
    let rows = std::fs::read(&first).unwrap();
    std::fs::write(&first, &rows[..rows.len() - 40]).unwrap();
    refused(here, &["merge", "labels"], 3, &["256 of 1100", "--array=0"]);
    told(here, &shard("0/3", "labels"), &["256 of 512 spectra of shard 0/3 are labelled already"]);
    succeeded(here, &["merge", "labels"]);
    assert!(tables(here, "labels") == whole);

    // The same row twice is one; two different ones are an error that names both files.
    let text = std::fs::read_to_string(&first).unwrap();
    let copy = first.with_file_name("shard-0000-of-0003.copy-1.jsonl");
    std::fs::write(&copy, &text).unwrap();
    assert!(succeeded(here, &["merge", "labels"]).contains("256 rows came twice, the same"));
    let row = text.lines().nth(2).unwrap();
    let labels = row.split("\"numbers\":[").nth(1).unwrap().split(',').nth(3).unwrap();
    let other = text.replacen(labels, "\"4321.5\"", 1);
    std::fs::write(&copy, resealed(&other)).unwrap();
    refused(here, &["merge", "labels"], 1, &["many/apStar-00000.fits has the labels", "4321.5", "shard-0000-of-0003"]);
    // A row that a disk changed is none, nor what comes after it.
    std::fs::write(&copy, other).unwrap();
    succeeded(here, &["merge", "labels"]);
    assert!(tables(here, "labels") == whole);
    // What is told of the labels counts, too.
    let snr = row.split("\"numbers\":[").nth(1).unwrap().split(',').next().unwrap();
    std::fs::write(&copy, resealed(&text.replacen(&format!("[{snr},"), "[\"1.5\",", 1))).unwrap();
    refused(here, &["merge", "labels"], 1, &["many/apStar-00000.fits"]);
    std::fs::write(&copy, resealed(&text.replacen("many/apStar-00000.fits", "many/stranger.fits", 2))).unwrap();
    refused(here, &["merge", "labels"], 1, &["many/stranger.fits, which is not listed"]);
    std::fs::remove_file(&copy).unwrap();
    succeeded(here, &["merge", "labels"]);
}

#[test]
fn a_scheduler_that_asks_to_stop_gets_75_and_the_next_start_goes_on() {
    let folder = listed(2600);
    let here = folder.path();
    for (signal, stem) in [("-TERM", "term"), ("-USR1", "warned")] {
        let job = start(here, &shard("0/2", stem));
        let n_rows = || {
            journals(here, stem)
                .iter()
                .map(|path| std::fs::read_to_string(path).unwrap().lines().count())
                .sum::<usize>()
        };
        wait_until("the first rows", || here.join(format!("{stem}.parts/plan.json")).exists() && n_rows() > 200);
        assert!(Command::new("kill").args([signal, &job.id().to_string()]).status().unwrap().success());
        let output = job.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{said}");
        assert!(said.contains("stopping where nothing is lost") && said.contains("the same command goes on"), "{said}");
        told(here, &shard("0/2", stem), &["are labelled already"]);
        succeeded(here, &shard("1/2", stem));
        assert!(succeeded(here, &["merge", stem]).contains("2600 spectra"));
    }
    assert!(tables(here, "term") == tables(here, "warned"));
}

#[test]
fn scripts_repeat_the_command_and_bash_reads_them() {
    let folder = listed(3);
    let here = folder.path();
    let of = |kind: &'static str, out: &'static str| {
        ["label", "--model", MODEL, "--list", "list.txt", "--out", out, "--script", kind, "--shards", "7"]
    };
    let words = |kind: &'static str| of(kind, "my labels");
    for (kind, out, said) in [
        ("slurm", "my labels", "#SBATCH --array=0-6%32"),
        ("parallel", "mine", "seq 0 6 | parallel"),
        ("snakemake", "mine", "shard=range(7)"),
    ] {
        let script = succeeded(here, &of(kind, out));
        let out = if out.contains(' ') { format!("'{out}'") } else { out.into() };
        let command = format!("maury label --model {MODEL} --list list.txt --out {out} --shard");
        assert!(script.contains(&command) && script.contains(said), "{script}");
        if kind != "snakemake" {
            std::fs::write(here.join("script"), &script).unwrap();
            assert!(Command::new("bash").args(["-n", "script"]).current_dir(here).status().unwrap().success());
        }
    }
    // What a script in a script would misread goes into none.
    refused(here, &words("parallel"), 2, &["my labels: names with blanks", "--script slurm"]);
    refused(here, &of("snakemake", "a`touch x`"), 2, &["a`touch x`"]);
    let many = [&words("slurm")[..9], &["--shards", "1001"]].concat();
    refused(here, &many, 2, &["--shards 1001: must be 1 to 1000"]);
    // A loop is a scheduler, too.
    let script = succeeded(here, &words("slurm"));
    std::fs::write(here.join("label.slurm"), script).unwrap();
    let path = format!(
        "{}:{}",
        Path::new(env!("CARGO_BIN_EXE_maury")).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let looped = Command::new("bash")
        .args(["-c", "for k in $(seq 0 6); do bash label.slurm $k || exit; done; maury merge 'my labels'"])
        .current_dir(here)
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(looped.status.success(), "{}", String::from_utf8_lossy(&looped.stderr));
    assert!(here.join("my labels.fits").exists());
}

#[test]
fn spectra_that_cannot_be_read_are_told_tried_again_and_never_a_table_of_nothing() {
    let folder = listed(600);
    let here = folder.path();
    let bad = here.join("many/apStar-00300.fits");
    std::fs::remove_file(&bad).unwrap();
    for name in ["0/2", "1/2"] {
        succeeded(here, &shard(name, "labels"));
    }
    let told = succeeded(here, &shard("1/2", "labels"));
    assert!(
        told.contains("255 spectra are labelled, 1 could not be read; the same command tries them again"),
        "{told}"
    );
    let merged = succeeded(here, &["merge", "labels"]);
    assert!(
        merged.contains(
            "1 of which could not be read (the first: many/apStar-00300.fits); of 2 shards these try them again: 1"
        ),
        "{merged}"
    );
    std::os::unix::fs::symlink(crate::support::apstar_fixture(), &bad).unwrap();
    assert!(succeeded(here, &shard("1/2", "labels")).contains("256 spectra are labelled"));
    assert!(
        succeeded(here, &["merge", "labels", "--clean"]).contains("600 spectra\n")
            && !here.join("labels.parts").exists()
    );

    // A list whose paths lead nowhere.
    let list = std::fs::read_to_string(here.join("list.txt")).unwrap().replace("many/", "few/");
    std::fs::write(here.join("few.txt"), list).unwrap();
    let words = ["label", "--model", MODEL, "--list", "few.txt", "--out", "few", "--shard", "0/1"];
    refused(here, &words, 1, &["reading spectra: 0 stars left"]);
    refused(here, &["merge", "few"], 1, &["none of the spectra in", "are its paths right from here"]);
    // Whatever befalls the rows of a shard, it makes them again.
    succeeded(here, &shard("0/1", "again"));
    std::fs::remove_file(&journals(here, "again")[0]).unwrap();
    std::fs::write(here.join("again.parts/notes.txt"), "mine").unwrap();
    assert!(succeeded(here, &shard("0/1", "again")).contains("600 spectra are labelled"));
    succeeded(here, &["merge", "again", "--clean"]);
    assert!(here.join("again.parts/notes.txt").exists() && journals(here, "again").is_empty());
    // Windows writes a mark before the first name.
    let list = std::fs::read_to_string(here.join("list.txt")).unwrap();
    std::fs::write(here.join("marked.txt"), format!("\u{feff}{list}")).unwrap();
    let words = ["label", "--model", MODEL, "--list", "marked.txt", "--out", "marked", "--shard", "0/1"];
    assert!(succeeded(here, &words).contains("600 spectra are labelled"));
}
