//! Posteriors of one list by many processes: whatever their number and whatever becomes of them, one summary, every spectrum once.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use maury::data::fits::FitsReader;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::shards::{MODEL, journals, listed, resealed};
use crate::support::{column, maury_with, refused, start, succeeded, told, wait_until};

/// Few draws: nobody looks at them.
const QUICK: [&str; 6] = ["--chains", "2", "--warmup", "20", "--draws", "30"];

fn words<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["posterior", "--model", MODEL, "--list", "list.txt", "--out", out], &QUICK[..], more].concat()
}

fn shard<'a>(shard: &'a str, out: &'a str) -> Vec<&'a str> {
    words(out, &["--keep-draws", "8", "--shard", shard])
}

/// Bytes of what a merge leaves: summary and draws.
fn merged(folder: &Path, out: &str) -> [Vec<u8>; 3] {
    ["summary.fits", "summary.csv", "draws.fits"].map(|name| std::fs::read(folder.join(out).join(name)).unwrap())
}

/// All draws of some stars of a file of draws.
fn draws(path: &Path, label: &str) -> Vec<Vec<f64>> {
    let mut fits = FitsReader::open(path).unwrap();
    let (n_rows, _) = fits.table_layout(1).unwrap();
    (0..n_rows).map(|row| fits.row_vector(1, label, row, 1000).unwrap()).collect()
}

#[test]
fn any_number_of_shards_makes_the_same_bytes_and_a_star_the_same_draws_whatever_is_beside_it() {
    let folder = listed(40);
    let here = folder.path();
    succeeded(here, &words("whole", &["--keep-draws", "8"]));
    for (out, of, threads) in [("one", 1, "2"), ("two", 2, "1"), ("three", 3, "2")] {
        // In whatever order.
        for index in (0..of).rev() {
            let name = format!("{index}/{of}");
            let output = maury_with(here, &shard(&name, out), &[("RAYON_NUM_THREADS", threads)]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let answer = succeeded(here, &["merge", out]);
        assert!(answer.contains("summary.fits and .csv: 40 spectra") && answer.contains("draws.fits: 8 draws of each"));
        assert!(merged(here, out) == merged(here, "one"), "{of} shards");
        assert!(!here.join(out).join("figures").exists());
    }
    // One job leaves the same rows and draws, and of few stars figures.
    assert_eq!(merged(here, "whole")[1], merged(here, "one")[1]);
    let of = |out: &str| draws(&here.join(out).join("draws.fits"), "teff");
    assert!(of("whole") == of("one") && of("one")[0].len() == 8 && of("one")[0] != of("one")[1]);
    assert_eq!(std::fs::read_dir(here.join("whole/figures")).unwrap().count(), 40 * 6);
    assert!(!here.join("whole/summary.unfinished.jsonl").exists());
    assert!(!here.join("whole/summary.unfinished.draws.fits").exists());
    // A star alone.
    succeeded(
        here,
        &[&["posterior", "--model", MODEL, "--out", "alone", "many/apStar-00007.fits"], &QUICK[..]].concat(),
    );
    for name in ["teff_q50", "logg_ess_bulk", "flags"] {
        assert_eq!(column(&here.join("alone/summary.csv"), name)[0], column(&here.join("two/summary.csv"), name)[7]);
    }
    let star = column(&here.join("alone/summary.csv"), "id").remove(0);
    let all = column(&here.join("alone").join(format!("draws-{star}.csv")), "teff");
    let kept: Vec<f64> = (0..8).map(|n| all[(2 * n + 1) * 60 / 16].parse::<f64>().unwrap()).collect();
    assert!(of("two")[7].iter().zip(&kept).all(|(a, b)| (a - b).abs() < 1e-3), "{kept:?} {:?}", of("two")[7]);
    // Once done, done; the number of shards may change on the way.
    let again = succeeded(here, &shard("1/2", "two"));
    assert!(again.contains("were sampled before"), "{again}");
    told(here, &shard("0/4", "two"), &["10 of 10 spectra of shard 0/4 are sampled already"]);
    succeeded(here, &["merge", "two/", "--clean"]);
    assert!(merged(here, "two") == merged(here, "one") && !here.join("two.parts").exists());
}

#[test]
fn shards_killed_at_any_moment_and_twins_lose_nothing_and_double_nothing() {
    let folder = listed(60);
    let here = folder.path();
    succeeded(here, &shard("0/1", "whole"));
    succeeded(here, &["merge", "whole"]);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let names: Vec<String> = (0..3).map(|index| format!("{index}/3")).collect();
    for n in 0..12 {
        // Now and then two at once, of one shard.
        let own = || start(here, &shard(&names[n % 3], "killed"));
        let jobs = if n % 4 == 3 { vec![own(), own()] } else { vec![own()] };
        for mut job in jobs {
            std::thread::sleep(Duration::from_millis(rng.random_range(20..600)));
            let _ = job.kill();
            let _ = job.wait();
        }
    }
    let twins: Vec<Child> = [0, 0, 1].map(|index| start(here, &shard(&names[index], "killed"))).into();
    for twin in twins {
        assert!(twin.wait_with_output().unwrap().status.success());
    }
    names.iter().for_each(|name| _ = succeeded(here, &shard(name, "killed")));
    assert!(journals(here, "killed").len() > 3);
    succeeded(here, &["merge", "killed"]);
    assert!(merged(here, "killed") == merged(here, "whole"));
}

#[test]
fn a_job_of_a_list_that_is_killed_goes_on_where_it_was() {
    let folder = listed(40);
    let here = folder.path();
    succeeded(here, &words("whole", &["--keep-draws", "8"]));
    let journal = here.join("killed/summary.unfinished.jsonl");
    let rows =
        || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().filter(|l| l.contains("marginals")).count());
    for n in [5, 15] {
        let mut job = start(here, &words("killed", &["--keep-draws", "8"]));
        wait_until("some rows", || rows() >= n);
        job.kill().unwrap();
        job.wait().unwrap();
    }
    let n = rows();
    told(here, &words("killed", &["--keep-draws", "8"]), &[&format!("{n} of 40 spectra are sampled already")]);
    assert!(merged(here, "killed") == merged(here, "whole"));
    for folder in ["killed", "whole"] {
        let names = std::fs::read_dir(here.join(folder)).unwrap().count();
        assert_eq!(names, 3 + 2 * 40 + 1, "{folder}");
    }
    // Draws of a second job have no place beside those of the first.
    let other = [&["posterior", "--model", MODEL, "--out", "killed", "--keep-draws", "8"], &QUICK[..]].concat();
    let said = ["killed/draws.fits: draws of another job are there", "--overwrite"];
    refused(here, &[&other[..], &["many/apStar-00001.fits"]].concat(), 2, &said);
    // Of many stars there are neither draws nor figures of each, unless they are asked for.
    crate::labelling::many(&here.join("more"), 101);
    let list: String = (0..101).map(|star| format!("more/apStar-{star:05}.fits\n")).collect();
    std::fs::write(here.join("list.txt"), list).unwrap();
    let told = told(here, &words("more", &[]), &["--figures"]);
    assert!(!told.contains("panicked") && std::fs::read_dir(here.join("more")).unwrap().count() == 101 + 2);
}

#[test]
fn a_merge_says_what_is_missing_foreign_or_twice_and_different() {
    let folder = listed(12);
    let here = folder.path();
    for name in ["0/3", "2/3"] {
        succeeded(here, &shard(name, "post"));
    }
    refused(here, &["merge", "post"], 3, &["4 of 12", "sbatch --array=1 posterior.slurm"]);
    assert!(!here.join("post").exists());
    let missing = std::fs::read_to_string(here.join("post.missing.txt")).unwrap();
    assert_eq!((missing.lines().count(), missing.lines().next()), (4, Some("many/apStar-00001.fits")));
    refused(here, &["status", "post"], 3, &["4 spectra have no row yet", "--array=1 posterior.slurm"]);
    let status = maury_with(here, &["status", "post"], &[]);
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(
        said.contains("8 of 12 spectra") && said.contains("are sampled") && said.contains("shard 1/3: not begun"),
        "{said}"
    );

    // Nothing else is mixed in.
    let settings = [
        (vec!["--seed", "2"], "another model, other settings"),
        (vec!["--prior", "teff=normal:4500:500"], "another model, other settings"),
        (vec!["--keep-draws", "9"], "another model, other settings"),
    ];
    for (more, said) in settings {
        let keeps = more[0] == "--keep-draws";
        let kept = if keeps { vec![] } else { vec!["--keep-draws", "8"] };
        refused(here, &words("post", &[&more[..], &kept, &["--shard", "1/3"]].concat()), 2, &["post.parts", said]);
    }
    let label = ["label", "--model", MODEL, "--list", "list.txt", "--out", "post", "--shard", "1/3"];
    refused(here, &label, 2, &["post.parts", "begun with `maury posterior`"]);
    let model = here.join(MODEL).join("model.json");
    let text = std::fs::read_to_string(&model).unwrap();
    std::fs::write(&model, format!("{text}\n")).unwrap();
    refused(here, &shard("1/3", "post"), 2, &["post.parts", "another model"]);
    std::fs::write(&model, &text).unwrap();
    let list = std::fs::read_to_string(here.join("list.txt")).unwrap();
    std::fs::write(here.join("list.txt"), list.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap();
    refused(here, &shard("1/3", "post"), 2, &["another list"]);
    refused(here, &["merge", "post"], 1, &["list.txt", "has changed"]);
    std::fs::write(here.join("list.txt"), &list).unwrap();
    refused(here, &words("post", &["--shard", "1/3", "--figures"]), 2, &["--figures", "cannot be used with"]);
    refused(here, &words("list.txt", &["--shard", "1/3"]), 2, &["name a folder to be made"]);
    refused(here, &words("post", &["--keep-draws", "0"]), 2, &["--keep-draws"]);

    succeeded(here, &shard("1/3", "post"));
    succeeded(here, &["merge", "post"]);
    let whole = merged(here, "post");
    // The same row twice is one; two different ones are an error that names both files.
    let first = journals(here, "post").remove(0);
    let text = std::fs::read_to_string(&first).unwrap();
    let copy = first.with_file_name("shard-0000-of-0003.copy-1.jsonl");
    let draws_of = |journal: &Path| journal.with_extension("draws.fits");
    std::fs::copy(draws_of(&first), draws_of(&copy)).unwrap();
    std::fs::write(&copy, &text).unwrap();
    assert!(succeeded(here, &["merge", "post"]).contains("4 rows came twice, the same"));
    assert!(merged(here, "post") == whole);
    let mean = text.split("\"marginals\":[[").nth(1).unwrap().split(',').next().unwrap();
    std::fs::write(&copy, resealed(&text.replacen(mean, "\"4321.5\"", 1))).unwrap();
    refused(here, &["merge", "post"], 1, &["many/apStar-00000.fits has the means", "4321.5", "shard-0000-of-0003"]);
    std::fs::write(&copy, resealed(&text.replacen("many/apStar-00000.fits", "many/stranger.fits", 2))).unwrap();
    refused(here, &["merge", "post"], 1, &["many/stranger.fits, which is not listed"]);
    std::fs::remove_file(&copy).unwrap();
    // Draws that are lost are made again.
    let mut bytes = std::fs::read(draws_of(&first)).unwrap();
    // The rows of four stars are in the last block of the file.
    let begin = bytes.len() - 2880;
    bytes[begin + 1] ^= 4;
    std::fs::write(draws_of(&first), &bytes).unwrap();
    refused(here, &["status", "post"], 3, &["the draws of 1 spectra are lost or damaged", "--array=0"]);
    refused(here, &["merge", "post"], 3, &["1 of 12 spectra have no row yet", "--array=0"]);
    told(here, &shard("0/3", "post"), &["3 of 4 spectra of shard 0/3 are sampled already"]);
    std::fs::remove_file(draws_of(&first)).unwrap();
    told(here, &shard("0/3", "post"), &["the draws of 4 spectra are lost", "1 of 4 spectra of shard 0/3"]);
    succeeded(here, &["merge", "post"]);
    assert!(merged(here, "post") == whole);
    // What somebody else put there stays, unless he says so.
    let one = [&["posterior", "--model", MODEL, "--out", "mine", "many/apStar-00001.fits"], &QUICK[..]].concat();
    succeeded(here, &one);
    for index in 0..3 {
        succeeded(here, &shard(&format!("{index}/3"), "mine"));
    }
    refused(here, &["merge", "mine"], 2, &["mine/summary.fits", "of spectra that no list named", "--overwrite"]);
    succeeded(here, &["merge", "mine", "--overwrite"]);
    assert!(merged(here, "mine") == whole && !here.join("mine/figures/corner-2M19485057+5005279.svg").exists());
    // A star more joins them.
    std::fs::copy(crate::support::apstar_fixture(), here.join("new.fits")).unwrap();
    let words = [&["posterior", "--model", MODEL, "--out", "mine", "new.fits"], &QUICK[..]].concat();
    assert!(succeeded(here, &words).contains("the summary keeps 12 sampled before"));
    assert_eq!(column(&here.join("mine/summary.csv"), "id").len(), 13);
}

#[test]
fn a_scheduler_that_asks_to_stop_gets_75_and_the_next_start_goes_on() {
    let folder = listed(40);
    let here = folder.path();
    for (signal, out) in [("-TERM", "term"), ("-USR1", "warned")] {
        let job = start(here, &shard("0/2", out));
        let rows = || {
            journals(here, out).iter().map(|path| std::fs::read_to_string(path).unwrap().lines().count()).sum::<usize>()
        };
        wait_until("the first rows", || here.join(format!("{out}.parts/plan.json")).exists() && rows() > 4);
        assert!(Command::new("kill").args([signal, &job.id().to_string()]).status().unwrap().success());
        let output = job.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{said}");
        assert!(said.contains("stopping where nothing is lost") && said.contains("the same command goes on"), "{said}");
        told(here, &shard("0/2", out), &["are sampled already"]);
        succeeded(here, &shard("1/2", out));
        assert!(succeeded(here, &["merge", out]).contains("40 spectra"));
    }
    assert!(merged(here, "term") == merged(here, "warned"));
}

#[test]
fn spectra_that_cannot_be_read_are_rows_tried_again_and_never_a_summary_of_nothing() {
    let folder = listed(6);
    let here = folder.path();
    let bad = here.join("many/apStar-00003.fits");
    std::fs::remove_file(&bad).unwrap();
    for name in ["0/2", "1/2"] {
        succeeded(here, &shard(name, "post"));
    }
    let told = succeeded(here, &shard("1/2", "post"));
    assert!(told.contains("2 spectra are sampled, 1 could not be read; the same command tries them again"), "{told}");
    let said = succeeded(here, &["merge", "post"]);
    assert!(
        said.contains(
            "1 of which could not be read (the first: many/apStar-00003.fits); of 2 shards these try them again: 1"
        ),
        "{said}"
    );
    let summary = here.join("post/summary.csv");
    let flags = |summary: &Path| column(summary, "flags")[3].parse::<i64>().unwrap();
    assert_eq!((flags(&summary) & (128 | 65536), column(&summary, "teff_q50")[3].as_str()), (128 | 65536, ""));
    assert!(draws(&here.join("post/draws.fits"), "teff")[3].iter().all(|draw| draw.is_nan()));
    // A job that is no shard has the same row.
    succeeded(here, &words("whole", &[]));
    assert_eq!(flags(&here.join("whole/summary.csv")), flags(&summary));
    std::os::unix::fs::symlink(crate::support::apstar_fixture(), &bad).unwrap();
    assert!(succeeded(here, &shard("1/2", "post")).contains("3 spectra are sampled"));
    assert!(succeeded(here, &["merge", "post"]).contains("6 spectra\n"));
    assert!(column(&summary, "teff_q50").iter().all(|cell| !cell.is_empty()));

    // A list whose paths lead nowhere; and one that is shorter than there are shards.
    let list = std::fs::read_to_string(here.join("list.txt")).unwrap();
    let none = succeeded(here, &shard("6/7", "short"));
    assert!(none.contains("no spectrum of the list falls to it"), "{none}");
    std::fs::write(here.join("list.txt"), list.replace("many/", "few/")).unwrap();
    refused(here, &shard("0/1", "few"), 1, &["reading spectra: 0 stars left"]);
    refused(here, &["merge", "few"], 1, &["none of the spectra in", "are its paths right from here"]);
    assert!(!here.join("few").exists());
    refused(here, &words("few", &[]), 1, &["few/apStar-00000.fits"]);
}

#[test]
fn scripts_repeat_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (kind, said) in [
        ("slurm", ["#SBATCH --job-name=maury-posterior", "maury merge my-LAST"]),
        ("parallel", ["--joblog posterior.joblog", "maury merge my-LAST"]),
        ("snakemake", ["rule posterior:", "output: \"my-LAST/summary.fits\""]),
    ] {
        let words = words("my-LAST", &["--keep-draws", "200", "--script", kind, "--shards", "7"]);
        let script = succeeded(here, &words);
        let command = format!("maury posterior --model {MODEL} --list list.txt --out my-LAST --chains 2");
        assert!(script.contains(&command) && said.iter().all(|said| script.contains(said)), "{script}");
        assert!(script.contains("--keep-draws 200 --shard"), "{script}");
    }
}
