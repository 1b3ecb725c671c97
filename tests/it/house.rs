//! The house keeps its order: imports point down the layers, no files import each other in a circle, files stay short.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lowest first; a file may use its own layer and those before it.
const LAYERS: [&str; 19] = [
    "error",
    "progress",
    "timings",
    "device",
    "stats",
    "plot",
    "data",
    "spectra",
    "models",
    "training",
    "inference",
    "mock",
    "stars",
    "kinds",
    "labelling",
    "findings",
    "experiment",
    "report",
    "cli",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A file without its tests: what these use does not bind the program.
fn program(text: &str) -> &str {
    let is_of_tests = |(at, _): &(usize, &str)| {
        let rest = text[*at..].lines().nth(1);
        rest.is_some_and(|line| line.ends_with("mod tests {"))
    };
    text.match_indices("#[cfg(test)]").find(is_of_tests).map_or(text, |(at, _)| &text[..at])
}

#[test]
fn no_import_points_up_and_no_file_is_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(&root).unwrap();
        assert!(text.lines().count() <= 500, "{} is over 500 lines: split it by noun", relative.display());
        let own = relative.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_string();
        let Some(own) = LAYERS.iter().position(|layer| *layer == own) else { continue };
        let program = program(&text);
        for import in program.split("crate::").skip(1) {
            let name: String = import.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if let Some(layer) = LAYERS.iter().position(|layer| *layer == name) {
                assert!(layer <= own, "{} (layer {}) uses {name}", relative.display(), LAYERS[own]);
            }
        }
        let leaf = ["stats", "plot"].contains(&LAYERS[own]);
        assert!(!leaf || !program.contains("burn::"), "{} must not know Burn", relative.display());
    }
}

/// What betrays that a file knows one kind of model from another: the types of settings and of trained models, and names in quotes.
const KINDS: [&str; 14] = [
    "CannonConfig",
    "NetworkConfig",
    "RidgeConfig",
    "EmulatorConfig",
    "CombinationConfig",
    "TrainedCannon",
    "TrainedNetwork",
    "TrainedRidge",
    "TrainedPayne",
    "\"cannon\"",
    "\"network\"",
    "\"ridge\"",
    "\"payne\"",
    "\"combination\"",
];

/// Kinds that a program knows, in a room that is to know none.
fn kinds_known(room: &str, program: &str) -> Vec<&'static str> {
    let code: String =
        program.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    // The lab, the search for outliers and the elements look into a polynomial of the labels, whichever kind trained it; an emulator's own
    // experiment is about emulators; reports name kinds because people read them; a preset may be called as a kind is.
    let is_allowed = |kind: &&str| match room {
        "findings/lab" | "findings/outliers" | "findings/elements" => *kind == "TrainedCannon",
        "experiment/emulate.rs" => ["EmulatorConfig", "TrainedPayne"].contains(kind),
        "experiment/presets.rs" => *kind == "\"network\"",
        room => room.starts_with("report") && kind.starts_with('"'),
    };
    KINDS.into_iter().filter(|kind| code.contains(kind) && !is_allowed(kind)).collect()
}

#[test]
fn only_the_kinds_know_which_kinds_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut n_files = 0;
    for room in ["stars", "labelling", "findings", "experiment", "report", "cli"] {
        let mut files = Vec::new();
        sources(&root.join(room), &mut files);
        for file in files {
            let relative = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let room = ["findings/lab", "findings/outliers", "findings/elements"]
                .into_iter()
                .find(|room| relative.starts_with(room));
            let text = std::fs::read_to_string(&file).unwrap();
            let known = kinds_known(room.unwrap_or(&relative), program(&text));
            assert!(known.is_empty(), "{relative} knows {known:?}");
            n_files += 1;
        }
    }
    assert!(n_files > 100, "{n_files}");
    let arm = "match model {\n ModelConfig::Ridge(RidgeConfig { .. }) => \"ridge\",\n}";
    assert_eq!(kinds_known("experiment/run.rs", arm), ["RidgeConfig", "\"ridge\""]);
    assert_eq!(kinds_known("report/tables.rs", arm), ["RidgeConfig"]);
    assert!(kinds_known("findings/lab", "// CannonConfig\nuse crate::training::checkpoint::TrainedCannon;").is_empty());
}

/// A file as its place among the modules: `data::fits` for `data/fits.rs` and for `data/fits/mod.rs`.
fn module(relative: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        relative.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|part| part == "mod") {
        parts.pop();
    }
    parts
}

/// The paths that a `use` names, its braces taken apart.
fn named(tree: &str) -> Vec<String> {
    let Some((before, inside)) = tree.split_once('{') else { return vec![tree.to_string()] };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inside.chars() {
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                parts.last_mut().unwrap().push(letter);
            }
        }
    }
    parts.iter().flat_map(|part| named(&format!("{before}{part}"))).collect()
}

/// The modules that a file's program refers to, by its `use` lines and by paths written out.
fn references(program: &str, own: &[String], known: &BTreeSet<Vec<String>>) -> BTreeSet<Vec<String>> {
    let code: String =
        program.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let flat = |text: &str| text.split_whitespace().collect::<String>();
    let uses = code.split("use ").skip(1).filter_map(|rest| rest.split_once(';'));
    let mut paths: Vec<String> = uses.flat_map(|(tree, _)| named(&flat(tree))).collect();
    for start in ["crate::", "super::", "self::"] {
        let path_at = |(at, _): (usize, &str)| -> String {
            code[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect()
        };
        paths.extend(code.match_indices(start).map(path_at));
    }
    let submodules: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod "))
        .filter_map(|(before, name)| (before.is_empty() || before.starts_with("pub")).then_some(name))
        .collect();
    let absolute = |path: &String| -> Option<Vec<String>> {
        let mut parts: Vec<&str> = path.split("::").collect();
        let mut place = match parts[0] {
            "crate" => Vec::new(),
            "self" | "super" => own.to_vec(),
            first if submodules.contains(&first) => own.to_vec(),
            _ => return None,
        };
        while parts.first() == Some(&"super") {
            place.pop();
            parts.remove(0);
        }
        parts.retain(|part| !["crate", "self"].contains(part));
        place.extend(parts.into_iter().map(String::from));
        (0..=place.len()).rev().map(|n| place[..n].to_vec()).find(|place| known.contains(place))
    };
    paths.iter().filter_map(absolute).filter(|other| other != own).collect()
}

/// The files that can be reached from one, and are not it.
fn reached(from: &[String], graph: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> BTreeSet<Vec<String>> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from.to_vec()]);
    while let Some(file) = open.pop() {
        for next in &graph[&file] {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

fn circles(programs: &BTreeMap<Vec<String>, String>) -> Vec<String> {
    let known: BTreeSet<Vec<String>> = programs.keys().cloned().collect();
    let graph: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> =
        programs.iter().map(|(own, program)| (own.clone(), references(program, own, &known))).collect();
    let in_circle = |file: &&Vec<String>| reached(file, &graph).contains(*file);
    known.iter().filter(in_circle).map(|file| file.join("::")).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut programs = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        programs.insert(module(file.strip_prefix(&root).unwrap()), program(&text).to_string());
    }
    // Those two name every room, and no room names them.
    programs.retain(|module, _| module[..] != ["lib"] && module[..] != ["main"]);
    assert_eq!(circles(&programs), Vec::<String>::new());
}

/// A `\` that went missing at the end of a line leaves its indentation in the middle of a sentence.
#[test]
fn no_sentence_of_a_page_has_a_gap() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report"), &mut files);
    let is_of_a_page =
        |file: &PathBuf| ["_page", "posterior", "saturation"].iter().any(|part| file.to_string_lossy().contains(part));
    files.retain(is_of_a_page);
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (index, line) in text.lines().enumerate() {
            let gap = line.trim_start().contains("    ");
            assert!(!gap, "{}, line {}: blanks in the middle of {}", file.display(), index + 1, line.trim());
        }
    }
}

#[test]
fn circles_are_seen() {
    let program = |place: &str, text: &str| (place.split("::").map(String::from).collect(), text.to_string());
    let mut programs = BTreeMap::from([
        program("a", "pub mod b;\nuse self::b::{c::Deep, thing};"),
        program("a::b", "mod c;\nuse crate::d;"),
        program("a::b::c", "fn f() { super::super::e() }"),
        program("d", "// use crate::a::b;\nuse std::path::Path;"),
    ]);
    assert_eq!(circles(&programs), ["a", "a::b::c"]);
    programs.insert(vec!["d".into()], "use crate::{error, a::b::{self, c}};".into());
    assert_eq!(circles(&programs), ["a", "a::b", "a::b::c", "d"]);
}
