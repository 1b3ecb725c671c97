//! One self-contained HTML page: no request leaves it, figures are inlined, it reads in light and in dark, and it prints.

use std::fmt::Write;

use super::escape::escaped;
use super::facts::Facts;

/// A page in the making, from top to bottom.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
    /// Sections that are listed in a table of contents; none where the page has none.
    contents: Option<Vec<Section>>,
}

/// A section in the table of contents, as HTML.
#[derive(Debug, Clone)]
struct Section {
    anchor: String,
    words: String,
    /// What it answers, e.g. "problem 3"; may be empty.
    answers: String,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub struct Cell {
    html: String,
    kind: &'static str,
}

impl Cell {
    /// A number, set flush right.
    pub fn number(text: impl AsRef<str>) -> Self {
        Self { html: escaped(text.as_ref()), kind: "n" }
    }

    /// The best number of its kind.
    pub fn best(text: impl AsRef<str>) -> Self {
        Self { html: escaped(text.as_ref()), kind: "n best" }
    }

    /// Words.
    pub fn words(text: impl AsRef<str>) -> Self {
        Self { html: escaped(text.as_ref()), kind: "w" }
    }

    /// Numbers that are looked up, as [`Facts::tell`] writes them; a dash where one is not known.
    pub fn told(facts: &Facts, sentence: &str) -> Self {
        Self { html: facts.tell(sentence).unwrap_or_else(|| "\u{2013}".into()), kind: "n" }
    }

    /// The same, set as words are.
    pub fn told_words(facts: &Facts, sentence: &str) -> Self {
        Self { kind: "w", ..Self::told(facts, sentence) }
    }

    /// The same cell, as the best of its kind where it `is`.
    #[must_use]
    pub fn best_if(self, is: bool) -> Self {
        Self { kind: if is { "n best" } else { self.kind }, ..self }
    }
}

impl Page {
    /// A page that begins with its title.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_string(), body: format!("<h1>{}</h1>\n", escaped(title)), contents: None }
    }

    /// From here on headings are listed in a table of contents, which stands here, and what follows one is shut until it is asked for.
    pub fn contents(&mut self) {
        self.body += CONTENTS;
        self.contents = Some(Vec::new());
    }

    /// A heading.
    pub fn heading(&mut self, words: &str) {
        self.heading_of(words, "");
    }

    /// A heading of a section that answers something, e.g. "problem 3".
    pub fn heading_of(&mut self, words: &str, answers: &str) {
        let (words, answers) = (escaped(words), escaped(answers));
        let Some(sections) = &mut self.contents else {
            let _ = writeln!(self.body, "<h2>{words}</h2>");
            return;
        };
        if !sections.is_empty() {
            self.body += SECTION_END;
        }
        let anchor = format!("section-{}", sections.len() + 1);
        let aside = if answers.is_empty() { String::new() } else { format!(" <small>{answers}</small>") };
        // A link to what a shut part holds opens it.
        let _ = writeln!(
            self.body,
            "<details class=\"section\"><summary><h2>{words}{aside}</h2></summary>\n<div id=\"{anchor}\">"
        );
        sections.push(Section { anchor, words, answers });
    }

    /// A heading within a section.
    pub fn subheading(&mut self, words: &str) {
        let _ = writeln!(self.body, "<h3>{}</h3>", escaped(words));
    }

    /// A paragraph of sentences whose numbers are looked up; those with a number that is not known are left out,
    /// as empty ones are.
    pub fn tell(&mut self, facts: &Facts, sentences: &[&str]) {
        let told: Vec<String> =
            sentences.iter().filter_map(|sentence| facts.tell(sentence)).filter(|told| !told.is_empty()).collect();
        if !told.is_empty() {
            let _ = writeln!(self.body, "<p>{}</p>", told.join(" "));
        }
    }

    /// A paragraph.
    pub fn paragraph(&mut self, words: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(words));
    }

    /// A paragraph that begins with a link to a file beside the page.
    pub fn lead_to(&mut self, address: &str, link: &str, words: &str) {
        let [address, link, words] = [address, link, words].map(escaped);
        let _ = writeln!(self.body, "<p><a href=\"{address}\">{link}</a>{words}</p>");
    }

    /// What a reader must not overlook; nothing without lines.
    pub fn warnings(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
            let _ = writeln!(self.body, "<div class=\"warn\"><strong>Mind</strong><ul>\n{items}</ul></div>");
        }
    }

    /// A table with a header line; rows as long as it.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<Cell>]) {
        let kind = |column: usize| rows.first().and_then(|row| row.get(column)).map_or("w", |cell| cell.kind);
        let head: String = head
            .iter()
            .enumerate()
            .map(|(column, words)| format!("<th class=\"{}\">{}</th>", &kind(column)[..1], escaped(words)))
            .collect();
        let cell = |cell: &Cell| format!("<td class=\"{}\">{}</td>", cell.kind, cell.html);
        let row = |row: &Vec<Cell>| format!("<tr>{}</tr>\n", row.iter().map(cell).collect::<String>());
        let rows: String = rows.iter().map(row).collect();
        let _ = writeln!(
            self.body,
            "<div class=\"wide\"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>"
        );
    }

    /// A figure, an SVG document, with its caption.
    pub fn figure(&mut self, svg: &str, caption: &str) {
        self.captioned(svg, caption, &escaped(caption));
    }

    /// A figure whose caption is made of sentences with numbers that are looked up, as in [`Page::tell`]; it leads to the file beside
    /// the page that holds the figure.
    pub fn figure_told(&mut self, svg: &str, address: &str, facts: &Facts, sentences: &[&str]) {
        let plain: Vec<String> = sentences.iter().filter_map(|sentence| facts.plain(sentence)).collect();
        let told: Vec<String> = sentences.iter().filter_map(|sentence| facts.tell(sentence)).collect();
        let link = format!("<a class=\"file\" href=\"{}\">SVG</a>", escaped(address));
        self.captioned(svg, &plain.join(" "), &format!("{} {link}", told.join(" ")));
    }

    fn captioned(&mut self, svg: &str, plain: &str, caption: &str) {
        let svg = inlined(svg, plain);
        let _ = writeln!(self.body, "<figure>\n{svg}\n<figcaption>{caption}</figcaption>\n</figure>");
    }

    /// Begins a part that is shut until it is asked for.
    pub fn open_details(&mut self, words: &str) {
        let _ = writeln!(self.body, "<details><summary>{}</summary>", escaped(words));
    }

    /// Ends it.
    pub fn close_details(&mut self) {
        self.body += "</details>\n";
    }

    /// Text as it stands in a file.
    pub fn verbatim(&mut self, text: &str) {
        let _ = writeln!(self.body, "<pre>{}</pre>", escaped(text));
    }

    /// The document.
    pub fn finish(self) -> String {
        let Self { title, mut body, contents } = self;
        if let Some(sections) = contents {
            if !sections.is_empty() {
                body += SECTION_END;
            }
            let item = |Section { anchor, words, answers }: &Section| {
                let aside = if answers.is_empty() { String::new() } else { format!(" <small>{answers}</small>") };
                format!("<li><a href=\"#{anchor}\">{words}</a>{aside}</li>\n")
            };
            let items: String = sections.iter().map(item).collect();
            body = body.replacen(CONTENTS, &format!("<nav><ol>\n{items}</ol></nav>\n"), 1);
        }
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{COLORS}{STYLE}</style>\n</head>\n\
             <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
            escaped(&title)
        )
    }
}

/// Where the table of contents will stand.
const CONTENTS: &str = "<!--contents-->\n";
/// Where a section that is listed there ends.
const SECTION_END: &str = "</div></details>\n";

/// Colours and letters of every page, in light and in dark.
pub(super) const COLORS: &str = "\
:root { color-scheme: light dark; --ink: #1b1b1b; --page: #ffffff; --faint: #6b6b6b; --line: #d8d8d8; --best: #e5f3ea; \
--warn: #fdf1e2; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e4e4e4; --page: #191a1c; --faint: #a0a0a0; --line: #3c3e42; --best: #1d3a2a; --warn: #41321c; }
}
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
";

const STYLE: &str = "\
@media (prefers-color-scheme: dark) {
figure svg { filter: invert(0.9) hue-rotate(180deg); }
}
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid var(--line); padding-bottom: 0.2rem; }
h3 { font-size: 1.02rem; margin-top: 1.6rem; }
p, li, figcaption { max-width: 46rem; }
nav ol { columns: 2 18rem; padding-left: 1.4rem; font-size: 0.92rem; }
a { color: inherit; }
data { font-variant-numeric: tabular-nums; white-space: nowrap; }
data.words { white-space: inherit; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid var(--line); white-space: nowrap; text-align: left; }
th.n, td.n { text-align: right; }
td.best { background: var(--best); font-weight: 600; }
figure { margin: 1.2rem 0 1.8rem; }
figure svg { width: 100%; max-width: 50rem; height: auto; display: block; }
figcaption { color: var(--faint); font-size: 0.9rem; margin-top: 0.4rem; }
summary { cursor: pointer; margin: 0.6rem 0; }
.section > summary { border-bottom: 1px solid var(--line); margin: 0; padding: 0.5rem 0 0.2rem; }
.section > summary h2 { display: inline; border: 0; margin: 0; }
.section > div { padding-bottom: 1.6rem; scroll-margin-top: 3rem; }
small { color: var(--faint); font-weight: 400; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8rem; border: 1px solid var(--line); padding: 0.6rem; }
.warn { background: var(--warn); padding: 0.6rem 1rem; border-radius: 4px; }
.warn ul { margin: 0.3rem 0 0; padding-left: 1.2rem; }
@media (max-width: 42rem) {
th, td { white-space: normal; padding: 0.2rem 0.4rem; }
figure { overflow-x: auto; }
figure svg { min-width: 34rem; }
figcaption { position: sticky; left: 0; }
}
@media print {
@page { size: A4; margin: 12mm; }
:root { --ink: #000; --page: #fff; --faint: #444; --line: #ccc; font-size: 11.5px; }
body { font-size: 9pt; line-height: 1.4; }
main { max-width: none; padding: 0; }
p, li, figcaption { max-width: none; }
p { margin: 0.3rem 0; }
.section::details-content { content-visibility: visible; height: auto; }
.section > summary { break-after: avoid; list-style: none; }
.section > div { padding-bottom: 0.4rem; }
details:not(.section), .file { display: none; }
figure { margin: 0.4rem 0; }
figure svg { filter: none; min-width: 0; max-width: 13cm; max-height: 10cm; }
figcaption { margin-top: 0.1rem; }
.wide { overflow: visible; }
table { font-size: 6.5pt; }
th, td { padding: 0.04rem 0.25rem; white-space: normal; }
figure, tr { break-inside: avoid; }
h2, h3 { break-after: avoid; }
}
";

/// An SVG document as an element of a page, that scales with it.
fn inlined(svg: &str, title: &str) -> String {
    let start = svg.find("<svg").unwrap_or(0);
    let svg = &svg[start..];
    let end = svg.find('>').unwrap_or(svg.len());
    let size = |name: &str| svg[..end].split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    // Where the drawing has its own view box, the page's size is free.
    let tag = match (size("viewBox"), size("width"), size("height")) {
        (None, Some(width), Some(height)) => {
            svg[..end].replacen("<svg", &format!("<svg viewBox=\"0 0 {width} {height}\""), 1)
        }
        _ => svg[..end].to_string(),
    };
    let short: String = title.chars().take(120).collect();
    format!("{tag} role=\"img\" aria-label=\"{}\"{}", escaped(&short), svg[end..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_numbers_say_where_they_come_from_and_contents_list_the_headings() {
        let json = serde_json::json!({ "n": 3 });
        let facts = Facts::new(&json);
        let mut page = Page::new("run");
        page.contents();
        page.heading("First & last");
        page.tell(&facts, &["{n} stars.", "{m} unknown."]);
        page.table(&["n"], &[vec![Cell::told(&facts, "{n}"), Cell::told(&facts, "{m}")]]);
        page.figure_told("<svg></svg>", "figures/dots.svg", &facts, &["{n} dots."]);
        page.heading_of("Dots & all", "problem 2");
        let html = page.finish();
        assert!(
            html.contains("<a href=\"#section-1\">First &amp; last</a></li>")
                && html.contains("<div id=\"section-1\">")
        );
        assert!(html.contains("<a href=\"#section-2\">Dots &amp; all</a> <small>problem 2</small></li>"));
        assert!(html.contains("<h2>Dots &amp; all <small>problem 2</small></h2>"));
        assert_eq!((html.matches("<details").count(), html.matches("</div></details>").count()), (2, 2));
        assert!(html.contains("dots. <a class=\"file\" href=\"figures/dots.svg\">SVG</a></figcaption>"));
        assert!(html.contains("<p><data value=\"3\" title=\"n\">3</data> stars.</p>") && !html.contains("unknown"));
        assert!(html.contains("<td class=\"n\">\u{2013}</td>") && html.contains("aria-label=\"3 dots.\""));
    }

    #[test]
    fn a_page_is_whole_and_nothing_in_it_is_taken_for_markup() {
        let mut page = Page::new("a < b & \"c\"");
        page.warnings(&[]);
        page.warnings(&["<seed>".into()]);
        page.table(&["label", "scatter"], &[vec![Cell::words("Teff"), Cell::best("<1")]]);
        let svg = "<svg width=\"10\" height=\"20\" xmlns=\"http://www.w3.org/2000/svg\">\n<g/></svg>\n".to_string();
        page.figure(&svg, "what it \"shows\"");
        page.open_details("more");
        page.verbatim("[x]\ny = \"z\"");
        page.close_details();
        let html = page.finish();
        assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
        assert!(html.contains("<title>a &lt; b &amp; &quot;c&quot;</title>") && html.contains("<li>&lt;seed&gt;</li>"));
        assert!(html.contains("<th class=\"n\">scatter</th>") && html.contains("<td class=\"n best\">&lt;1</td>"));
        assert!(
            html.contains("<svg viewBox=\"0 0 10 20\" width=\"10\"") && html.matches("class=\"warn\"").count() == 1
        );
        assert!(html.contains("aria-label=\"what it &quot;shows&quot;\">\n<g/></svg>"));
        for request in ["src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!html.contains(request), "{request}");
        }
    }
}
