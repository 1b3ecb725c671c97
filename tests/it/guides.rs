//! The guides in `docs`, followed to the letter: their files are written, their commands run, in a folder like a clone.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::{json, metrics, pages, python_has};

/// A fenced block of a guide.
struct Block {
    language: String,
    text: String,
}

fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { language: language.into(), text: text.join("\n") + "\n" });
        }
    }
    blocks
}

/// Runs a program in a folder, with `maury` on the path.
fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let maury = Path::new(env!("CARGO_BIN_EXE_maury")).parent().unwrap();
    let path = format!("{}:{}", maury.display(), std::env::var("PATH").unwrap());
    let output = Command::new(program).args(arguments).current_dir(folder).env("PATH", path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Follows a guide in a new folder that has what a clone has; the folder.
fn follow(name: &str) -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for shared in ["configs", "checkpoints"] {
        std::os::unix::fs::symlink(root.join(shared), here.join(shared)).unwrap();
    }
    let guide = std::fs::read_to_string(root.join("docs").join(name)).unwrap();
    let mut n_commands = 0;
    for Block { language, text } in blocks(&guide) {
        match language.as_str() {
            // The first line of a file is its name.
            "toml" => {
                let file = text.lines().next().unwrap().trim_start_matches("# ");
                assert!(file.ends_with(".toml"), "{name}: a file without a name: {text}");
                std::fs::write(here.join(file), text).unwrap();
            }
            "sh" => {
                run(here, "bash", &["-euo", "pipefail", "-c", &text]);
                n_commands += 1;
            }
            "python" => run(here, "python3", &["-c", &text]),
            other => panic!("{name}: a block of {other} that nobody runs"),
        }
    }
    assert!(n_commands > 0, "{name}: nothing to run");
    folder
}

/// What the commands and files of a guide call runs and folders.
fn names_taken(guide: &str) -> Vec<String> {
    let mut names = Vec::new();
    for Block { language, text } in blocks(guide) {
        let first = text.lines().next().unwrap_or_default();
        if let Some(file) = first.strip_suffix(".toml").filter(|_| language == "toml") {
            names.extend(file.rsplit(['/', ' ']).next().map(String::from));
        }
        let joined = text.replace("\\\n", " ");
        for command in joined.lines().filter(|line| language == "sh" && line.starts_with("maury ")) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let given = words.windows(2).filter(|pair| ["--name", "--out"].contains(&pair[0]));
            names.extend(given.map(|pair| pair[1].to_string()));
            assert!(words[1] != "posterior" || words.contains(&"--out"), "the folder that all share: {command}");
        }
    }
    names
}

/// A reader may follow them all in one clone.
#[test]
fn no_two_guides_call_their_runs_or_folders_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut guides = vec![root.join("README.md")];
    // Keys are nothing to follow in a shell.
    guides.extend(pages().into_iter().filter(|path| !path.ends_with("keys.md")));
    let mut owners: BTreeMap<String, &Path> = BTreeMap::new();
    for guide in &guides {
        for name in names_taken(&std::fs::read_to_string(guide).unwrap()) {
            let owner = *owners.entry(name.clone()).or_insert(guide.as_path());
            assert_eq!(owner, guide.as_path(), "{name} is in both");
        }
    }
    assert!(
        ["lines", "layers", "first-orders", "posterior-first", "cubic"].iter().all(|name| owners.contains_key(*name))
    );
}

#[test]
fn the_first_hour_goes_as_written() {
    let folder = follow("your-first-hour.md");
    let here = folder.path();
    let report = std::fs::read_to_string(here.join("experiments/first/latest/report.html")).unwrap();
    assert!(report.contains("The mystery star") && report.contains("2M21235315+1244123"));
    assert!(here.join("figures/spectrum-2M21235315+1244123.svg").is_file());
    assert!(here.join("posterior-first/summary.csv").is_file());
}

#[test]
fn another_survey_goes_as_written() {
    if !python_has("numpy", "docs/your-own-survey.md") {
        return;
    }
    let folder = follow("your-own-survey.md");
    let metrics = metrics(folder.path(), "lines");
    // Lines that follow the labels give them back, if only four: the labels' own spread is 346 K.
    let scatter = metrics["models"]["cannon"]["labels"]["teff"]["robust_scatter"].as_f64().unwrap();
    assert!(scatter < 200.0, "{scatter}");
}

#[test]
fn label_transfer_goes_as_written() {
    if !python_has("numpy", "docs/label-transfer.md") {
        return;
    }
    let folder = follow("label-transfer.md");
    let table = std::fs::read_to_string(folder.path().join("b_on_the_scale_of_a.csv")).unwrap();
    assert_eq!(table.lines().count(), 451);
    let comparison = json(&folder.path().join("a-and-b/comparison.json"));
    assert_eq!(comparison["comparison"]["n_stars"], 200, "stars in common");
}

#[test]
fn a_new_network_goes_as_written() {
    let folder = follow("add-a-network.md");
    for file in ["layers/latest/report.html", "longer/latest/report.html", "sweep/latest/sweep.csv"] {
        assert!(folder.path().join("experiments").join(file).is_file(), "{file}");
    }
}

#[test]
fn a_million_spectra() {
    let folder = follow("a-million-spectra.md");
    let table = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
    let listed = std::fs::read_to_string(folder.path().join("list.txt")).unwrap();
    assert!(listed.lines().count() > 600 && table.lines().count() == listed.lines().count() + 1);
}
