//! The README and the book in `docs`: every link leads somewhere, the contents are whole, and no page is too long to read.

use std::path::{Path, PathBuf};

use crate::support::pages;

/// Lines that a page may have; what is longer is two chapters.
const MOST_LINES: usize = 250;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|err| panic!("{}: {err}", page.display()))
}

/// The lines of a page that are in no block of code.
fn lines(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line);
        }
    }
    assert!(!is_code, "a block of code that does not end");
    lines
}

/// Where the links of a page lead, those to other servers left out.
fn links(text: &str) -> Vec<String> {
    let text = lines(text).join("\n");
    // What stands in backticks is no link.
    let prose: String = text.split('`').step_by(2).collect();
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links.map(|(link, _)| link.to_string()).filter(|link| !link.contains("://")).collect()
}

/// What a heading is called in a link, on GitHub and in the book.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(page: &Path) -> Vec<String> {
    let text = read(page);
    lines(&text).into_iter().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// The README, the pages of the book, and the guides of the benchmarks.
fn all() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(root().join("benches")).unwrap().map(|entry| entry.unwrap().path());
    let guides = folders.map(|folder| folder.join("README.md")).filter(|guide| guide.is_file());
    pages().into_iter().chain(guides).chain([root().join("README.md")]).collect()
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    let book = root().join("docs").canonicalize().unwrap();
    let mut n_links = 0;
    for page in all() {
        for link in links(&read(&page)) {
            let (path, heading) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.is_file(), "{}: {link}: no such file", page.display());
            let is_there = heading.is_empty() || anchors(&target).iter().any(|anchor| anchor == heading);
            assert!(is_there, "{}: {link}: no such heading", page.display());
            // The built book has what lies in `docs`, and nothing else.
            let is_of_book = page.parent().is_some_and(|folder| folder.ends_with("docs"));
            let stays = !is_of_book || target.canonicalize().unwrap().starts_with(&book);
            assert!(stays, "{}: {link} leads out of the book: name the file in backticks", page.display());
            n_links += 1;
        }
    }
    assert!(n_links > 100, "{n_links}");
}

#[test]
fn the_contents_list_every_chapter_once() {
    let contents = root().join("docs/SUMMARY.md");
    let mut listed = links(&read(&contents));
    listed.sort();
    let chapters = pages().into_iter().filter(|page| *page != contents);
    let chapters: Vec<String> = chapters.map(|page| page.file_name().unwrap().to_str().unwrap().to_string()).collect();
    assert_eq!(listed, chapters);
}

#[test]
fn no_page_is_too_long() {
    for page in all() {
        let n_lines = read(&page).lines().count();
        let is_made = page.ends_with("keys.md");
        assert!(is_made || n_lines <= MOST_LINES, "{}: {n_lines} lines", page.display());
    }
}

/// Both tell a newcomer how to build; the book has the shorter words.
#[test]
fn the_introduction_builds_as_the_readme_does() {
    let readme = read(&root().join("README.md"));
    let introduction = read(&root().join("docs/introduction.md"));
    let block = introduction.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(block.lines().count() > 1);
    for command in block.lines() {
        assert!(readme.lines().any(|line| line == command), "{command}");
    }
}
