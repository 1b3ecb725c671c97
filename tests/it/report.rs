//! The page of a run: every section filled, and every number on it the one that stands in the run's JSON.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use maury::report::facts::formatted;
use serde_json::Value;

use crate::support::{refused, succeeded};

/// The lab on a small mock survey, with all kinds of models the lab compares, made short.
const EXPERIMENT: &str = r#"
question = "Does the page tell what the run found?"
extends = "configs/lab.toml"

[data.mock]
stars = 160
seed = 4

[calibration]
folds = 2

[bootstrap]
resamples = 60

[posterior.sampler]
draws = 200

[models.correlated.cannon.latent]
spectra = 3
rounds = 2

[models.starnet.network.descent]
epochs = 2

[models.components.network]
members = 2
input.components.count = 20
descent.epochs = 3
"#;

/// The run's folder, made once for all tests that look at it.
pub fn run() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let configs = folder.path().join("configs");
        std::fs::create_dir(&configs).unwrap();
        let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/lab.toml");
        std::fs::copy(lab, configs.join("lab.toml")).unwrap();
        std::fs::write(folder.path().join("try.toml"), EXPERIMENT).unwrap();
        let said = succeeded(folder.path(), &["-q", "run", "try.toml"]);
        assert!(said.contains("report.html"), "{said}");
        folder
    });
    folder.path()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(run().join("experiments/try/latest").join(name)).unwrap()
}

/// What lies between two marks, each time.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}

fn at<'a>(json: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(json, |value, step| match step.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[step],
    })
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn every_number_on_the_page_stands_in_the_json() {
    let (page, json) = (read("report.html"), serde_json::from_str::<Value>(&read("metrics.json")).unwrap());
    let mut n_numbers = 0;
    for told in between(&page, "<data ", "</data>") {
        let value = unescaped(between(told, "value=\"", "\" title=").next().unwrap());
        let path = unescaped(between(told, "title=\"", "\"").next().unwrap());
        let text = unescaped(told.rsplit('>').next().unwrap());
        let known = at(&json, &path);
        assert_eq!(&serde_json::from_str::<Value>(&value).unwrap(), known, "{path}");
        // What is read is what stands there, rounded: no format changes it by more than half of its last digit.
        if let Some(number) = known.as_f64() {
            n_numbers += 1;
            let formats =
                ["", ".0", ".1", ".2", ".3", ".4", ".5", ".6", "+.0", "+.1", "+.2", "+.4", "%0", "%1", "%2", "%3"];
            let units = ["K", "dex", "+K", "+dex", "e"];
            let is_it = formats.iter().chain(&units).any(|format| formatted(number, format) == text);
            assert!(is_it, "{path} is {number}, the page says {text}");
        }
    }
    assert!(n_numbers > 400, "{n_numbers}");
}

/// Digits that are no results: names of methods, papers and units, and what words of the page define themselves by.
const NO_RESULTS: [&str; 22] = [
    "Eq. 1",
    "1.4826",
    "2015",
    "2019",
    "2016",
    "2022",
    "808, 16",
    "879, 69",
    "259, 35",
    "222, 8",
    "823, 102",
    "DR17",
    "10\u{207b}",
    "M\u{2609}",
    "12C/13C",
    "68%",
    "between 2 and 3",
    "s2",
    "chi^2",
    "2M",
    "K2_",
    "outliers.html",
];

#[test]
fn no_number_on_the_page_was_written_by_hand() {
    let page = read("report.html");
    let body = page.split("</style>").nth(1).unwrap();
    // Sentences and captions; tables hold names of stars and bits beside numbers that are looked up.
    for tag in ["p", "figcaption"] {
        for sentence in between(body, &format!("<{tag}>"), &format!("</{tag}>")) {
            let mut words = String::new();
            for part in sentence.split("<data ") {
                words += part.rsplit("</data>").next().unwrap();
            }
            // Names of files have numbers.
            words = words.split("<a class=\"file\"").map(|part| part.rsplit("</a>").next().unwrap()).collect();
            NO_RESULTS.iter().for_each(|known| words = words.replace(known, ""));
            let has_digit = words.chars().any(|c| c.is_ascii_digit());
            assert!(!has_digit, "a number of unknown origin in: {words}");
        }
    }
}

/// Words that judge, and sentences that only say what such a word means or that nothing was judged.
const JUDGING: [&str; 10] =
    ["better", "worse", "honest", "mistake", "superior", "reliabl", "accurate", "perfect", "excellent", "robustly"];
const NO_VERDICTS: [&str; 3] = [
    "What is right of zero beyond its bar is worse.",
    "if the model were perfect",
    "which are mistakes, was not looked into",
];

#[test]
fn no_paragraph_judges_without_a_number_of_the_run() {
    let page = read("report.html");
    let body = page.split("</style>").nth(1).unwrap();
    let mut n_judging = 0;
    for tag in ["p", "figcaption", "li"] {
        for paragraph in between(body, &format!("<{tag}>"), &format!("</{tag}>")) {
            let mut words = paragraph.to_string();
            let judge = |words: &str| JUDGING.iter().any(|word| words.contains(word));
            n_judging += usize::from(judge(&words));
            NO_VERDICTS.iter().for_each(|known| words = words.replace(known, ""));
            assert!(!judge(&words) || words.contains("<data "), "a verdict without a number: {words}");
        }
    }
    assert!(n_judging > 0, "the page judges nothing, or in other words");
}

#[test]
fn every_section_of_the_lab_is_filled() {
    let page = read("report.html");
    let sections = [
        "Stars",
        "A raw spectrum",
        "Masked pixels",
        "The pseudo-continuum",
        "The Cannon",
        "A star beside its model",
        "What each label does to a spectrum",
        "Where the model falls short: the scatter s",
        "What the labels do not tell",
        "Stars it had not seen",
        "Formal errors and real ones",
        "Posteriors",
        "Kiel diagram: do the labels follow stellar evolution?",
        "Composition and gravity",
        "The mystery star",
        "Two opposite ways",
        "How this was made",
    ];
    let body = page.split("</nav>").nth(1).unwrap();
    let title =
        |part: &str| unescaped(between(part, "<h2>", "</h2>").next().unwrap().split(" <small>").next().unwrap());
    let found: Vec<(String, &str)> =
        body.split("<details class=\"section\">").skip(1).map(|part| (title(part), part)).collect();
    let answered: Vec<&str> = between(body, " <small>problem", "</small>").collect();
    for problem in 1..=15 {
        let is_it =
            |words: &&&str| words.split(|c: char| !c.is_ascii_digit()).any(|number| number == problem.to_string());
        assert!(answered.iter().filter(is_it).count() > 0, "problem {problem} of the lab: {answered:?}");
    }
    for section in sections {
        let (_, part) =
            found.iter().find(|(title, _)| title == section).unwrap_or_else(|| panic!("no section {section}"));
        assert!(part.matches("<p>").count() + part.matches("<table>").count() > 0, "{section} is empty");
    }
    // One figure at least in every section but those of masks and settings.
    let without: Vec<&str> =
        found.iter().filter(|(_, part)| !part.contains("<svg")).map(|(title, _)| title.as_str()).collect();
    let without_figures = ["Masked pixels", "Posteriors", "How this was made"];
    assert!(without.iter().all(|title| without_figures.contains(title)), "{without:?}");
    for request in ["src=", "url(", "@import", "<script", "<link", "href=\"http"] {
        assert!(!page.contains(request), "the page asks for {request}");
    }
}

#[test]
fn a_page_is_rendered_again_without_computing() {
    let copy = tempfile::tempdir().unwrap();
    let latest = run().join("experiments/try/latest");
    let copied = Command::new("cp").arg("-rL").arg(&latest).arg(copy.path().join("run")).status().unwrap();
    assert!(copied.success());
    let page = copy.path().join("run/report.html");
    std::fs::write(&page, "old").unwrap();
    let said = succeeded(copy.path(), &["report", "run"]);
    assert!(said.trim().ends_with("report.html"), "{said}");
    assert!(std::fs::read_to_string(page).unwrap() == read("report.html"), "the same page");
    refused(run(), &["report", "nowhere"], 2, &["nowhere", "no such folder"]);
    refused(run(), &["report", "configs"], 2, &["configs", "not the folder of a run"]);
}

#[test]
fn strong_gradients_of_magnesium_and_silicon_are_their_lines() {
    let json: Value = serde_json::from_str(&read("metrics.json")).unwrap();
    // 80 stars train 21 terms: of silicon, whose own lines 943 stars show well, little is left above the noise.
    for (label, times, most_likely) in [("mg_fe", 10.0, 1e-6), ("si_fe", 4.0, 0.1)] {
        let own = &json["lab"]["gradients"]["labels"][label]["own"];
        let (fraction, chance) = (own["fraction"].as_f64().unwrap(), own["chance"].as_f64().unwrap());
        assert!(fraction > times * chance && own["p_value"].as_f64().unwrap() < most_likely, "{label}: {own}");
    }
    // The derivative of a quadratic is its central difference, but for rounding of f32.
    assert!(json["lab"]["gradients"]["check"].as_f64().unwrap() < 1e-3);
    assert_eq!((json["lab"]["n_terms"].as_u64(), json["lab"]["n_pixels"].as_u64()), (Some(21), Some(8575)));
    assert_eq!(json["models"]["cannon"]["n_parameters"].as_u64(), Some(188_650));
}
