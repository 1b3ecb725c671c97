//! The page to explore, used as a person uses it: in a headless Chromium, by pointer and keys.

use std::path::Path;

use serde_json::{Value, json};

use crate::chromium::Page;
use crate::report;
use crate::support::{column, csv, latest, save, succeeded, truth};

const FIRST_PANEL: &str = "#panels figure:nth-child(1) .u-over";
const IS_BRUSHED: &str = "document.getElementById('count').textContent.includes('selected')";

/// A browser with the page of the small lab.
fn lab() -> Option<Page> {
    let mut page = Page::open("the explorer")?;
    page.resize(1100, 900, false);
    page.load(&latest(report::run(), "try").join("explore.html"));
    Some(page)
}

/// A star's effective temperature by a model, and its error: calibrated, where it is.
fn predicted(model: &str, id: &str) -> (f64, f64) {
    let table = latest(report::run(), "try").join(format!("predictions-{model}.csv"));
    let row = column(&table, "id").iter().position(|known| known == id).unwrap();
    let names = csv(&table).0;
    let value = |name: &str| column(&table, name)[row].parse().unwrap();
    let error = names.iter().find(|name| *name == "teff_error_calibrated").map_or("teff_error", String::as_str);
    (value("teff_estimate"), value(error))
}

/// The pixels of a plot, as an address that differs where they do.
fn picture(page: &mut Page, plot: &str) -> Value {
    page.value(&format!("document.querySelector('{plot} canvas').toDataURL()"))
}

fn number(text: &str) -> f64 {
    text.trim().replace('\u{2212}', "-").parse().unwrap()
}

/// The wavelengths that the spectrum shows.
fn range(page: &mut Page) -> (f64, f64) {
    let words = page.text("#range");
    let (from, to) = words.trim_end_matches('\u{c5}').split_once(" to ").unwrap_or_else(|| panic!("{words}"));
    (number(from), number(to))
}

/// Opens a star as one who searches for it.
fn search(page: &mut Page, text: &str, id: &str) {
    page.value("document.getElementById('search').value = ''");
    page.click_on("#search");
    page.write(text);
    page.press(&["Enter"]);
    page.wait(&format!("document.getElementById('star-id').textContent === {}", json!(id)));
}

#[test]
fn a_star_is_searched_zoomed_into_and_seen_beside_one_model_and_another() {
    let Some(mut page) = lab() else { return };
    let ids = column(&latest(report::run(), "try").join("predictions.csv"), "id");
    let id = &ids[ids.len() / 2];
    search(&mut page, &id[4..], id);
    assert_eq!(page.value("decodeURIComponent(location.hash.slice(1))"), json!(id));

    // Every number of its table is the one of the run.
    for (place, model) in (2..).zip(["cannon", "components", "correlated", "starnet"]) {
        // catalogue and truth come first.
        let cell = page.text(&format!("#star-labels tr:nth-child(2) > :nth-child({})", place + 2));
        let (estimate, error) = cell.split_once(" \u{b1} ").unwrap();
        assert_eq!(page.text(&format!("#star-labels tr:nth-child(1) > :nth-child({})", place + 2)), model);
        let (known, known_error) = predicted(model, id);
        assert!(
            (number(estimate) - known).abs() < 0.51 && (number(error) - known_error).abs() < 0.51,
            "{model}: {cell}"
        );
    }

    // Dragging over the spectrum looks closer, a double click shows all.
    let before = range(&mut page);
    let [left, top, width, height] = page.place("#flux .u-over");
    page.drag([left + 0.25 * width, top + 0.5 * height], [left + 0.5 * width, top + 0.5 * height]);
    let (from, to) = range(&mut page);
    let whole = before.1 - before.0;
    assert!((from - (before.0 + 0.25 * whole)).abs() < 0.02 * whole && (to - from - 0.25 * whole).abs() < 0.02 * whole);
    page.press(&["ArrowRight"]);
    assert!(range(&mut page).0 > from);
    page.press(&["0"]);
    assert_eq!(range(&mut page), (15100.8, 16999.8));
    page.press(&["+", "+", "+"]);
    let (from, to) = range(&mut page);
    assert!((to - from - 1899.0 / 8.0).abs() < 1.0, "{from} to {to}");

    // Each switch changes what is drawn, and the residual is that of a model which is.
    let both = picture(&mut page, "#flux");
    page.point([left + 0.3 * width, top + 0.5 * height]);
    page.wait("document.getElementById('readout').textContent.includes('observed')");
    assert!(page.text("#readout").contains("correlated"), "{}", page.text("#readout"));
    page.click_on("#curves input[value=correlated]");
    assert_ne!(picture(&mut page, "#flux"), both);
    assert!(page.text("#readout").contains("observed \u{2212} cannon"), "{}", page.text("#readout"));
    page.click_on("#curves input[value=correlated]");
    let of_cannon = picture(&mut page, "#residual");
    page.choose("#model", "correlated");
    page.wait("document.getElementById('readout').textContent.includes('correlated')");
    assert_ne!(picture(&mut page, "#residual"), of_cannon);
    assert!(page.text("#curves").contains("no best fit here: components, starnet"), "{}", page.text("#curves"));
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

#[test]
fn stars_brushed_in_one_diagram_are_the_stars_of_all() {
    let Some(mut page) = lab() else { return };
    let n_stars = column(&latest(report::run(), "try").join("predictions.csv"), "id").len();
    assert!(page.text("#page-words").ends_with(&format!("of {n_stars} stars")), "{}", page.text("#page-words"));
    let panel = |n: usize| format!("#panels figure:nth-child({n})");
    let before: Vec<Value> = (1..=4).map(|n| picture(&mut page, &panel(n))).collect();
    let [left, top, width, height] = page.place(FIRST_PANEL);
    page.drag([left + 0.2 * width, top + 0.2 * height], [left + 0.6 * width, top + 0.7 * height]);
    page.wait(IS_BRUSHED);
    let words = page.text("#count");
    let n_brushed: usize = words.split(' ').next().unwrap().parse().unwrap();
    assert!(n_brushed > 0 && n_brushed < n_stars, "{words}");
    assert!(page.text("#page-words").ends_with(&format!("of {n_brushed} stars")));
    for (n, before) in (1..=4).zip(before) {
        assert_ne!(picture(&mut page, &panel(n)), before, "diagram {n} shows the selection");
    }
    // They lie in the corner that was brushed: by the table, hotter than some, cooler than others of all.
    let temperatures = |page: &mut Page| -> Vec<f64> {
        let cells = page.value(
            "(() => { const at = [...document.querySelectorAll('#stars th button')].findIndex((head) => head.dataset.key === 'teff'); return \
             [...document.querySelectorAll('#stars tbody tr')].map((row) => Number(row.cells[at].textContent)); })()",
        );
        cells.as_array().unwrap().iter().map(|cell| cell.as_f64().unwrap()).collect()
    };
    page.click_on("#stars th [data-key=teff]");
    let hottest = temperatures(&mut page);
    assert!(hottest.windows(2).all(|pair| pair[0] >= pair[1]) && hottest.len() > 1, "{hottest:?}");
    page.press(&["Escape"]);
    page.wait(&format!("!({IS_BRUSHED})"));
    let of_all = temperatures(&mut page);
    assert!(of_all[0] > hottest[0], "{of_all:?} {hottest:?}");

    // A filter is a selection too; one that makes no sense says so.
    page.click_on("#filter");
    page.write("teff<4300");
    page.wait(IS_BRUSHED);
    let cool = temperatures(&mut page);
    assert!(!cool.is_empty() && cool.iter().all(|teff| *teff < 4300.5), "{cool:?}");
    page.write(" nonsense>1");
    assert!(page.text("#filter-words").contains("no number nonsense; there are snr, chi2"));
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

#[test]
fn keys_alone_do_it_in_the_dark_and_on_a_phone() {
    let Some(mut page) = lab() else { return };
    page.resize(390, 800, true);
    page.wait("document.documentElement.scrollWidth <= 390");
    page.value("document.querySelector('#panels .plot').focus()");
    page.press(&["ArrowRight", "ArrowUp"]);
    page.wait("!document.getElementById('tip').hidden");
    let tip = page.text("#tip");
    let id = tip.lines().next().unwrap().to_string();
    assert!(tip.contains("[Mg/Fe]") && tip.contains("catalogue"), "{tip}");
    page.press(&["Enter"]);
    page.wait(&format!("document.getElementById('star-id').textContent === {}", json!(id)));
    page.press(&["Escape"]);
    page.wait("document.getElementById('star').hidden");
    // A finger scrolls the page, and brushes stars in the diagram that is in use.
    let [left, top, width, height] = page.place(FIRST_PANEL);
    let corners = [[left + 0.2 * width, top + 0.2 * height], [left + 0.6 * width, top + 0.7 * height]];
    page.value("document.activeElement.blur()");
    page.swipe(corners[0], corners[1]);
    assert_eq!(page.value(IS_BRUSHED), json!(false));
    page.value("document.querySelector('#panels .plot').focus()");
    let [left, top, width, height] = page.place(FIRST_PANEL);
    page.swipe([left + 0.2 * width, top + 0.2 * height], [left + 0.6 * width, top + 0.7 * height]);
    page.wait(IS_BRUSHED);
    page.press(&["Escape"]);
    // From the search to the table and down its rows.
    page.press(&["/"]);
    assert_eq!(page.value("document.activeElement.id"), json!("search"));
    page.value("document.querySelector('#stars tbody tr').focus()");
    page.press(&["ArrowDown", "Enter"]);
    let second = page.text("#stars tbody tr:nth-child(2) td");
    page.wait(&format!("document.getElementById('star-id').textContent === {}", json!(second)));
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

/// Arrays of one label with stars of hostile names, one of them without its label, one without data.
fn hostile(folder: &Path) -> Vec<String> {
    let mut stars = truth(60, 1, 300, 3);
    stars.ivar.row_mut(7).fill(0.0);
    save(folder, "flux.npy", &stars.flux);
    save(folder, "ivar.npy", &stars.ivar);
    let name = |n: usize| match n % 3 {
        0 => format!("</script><script>document.title='broken{n}'</script>"),
        1 => format!("<img src=x onerror=alert({n})>"),
        _ => format!("a/b '\u{c5}{n}' & \\"),
    };
    let names: Vec<String> = (0..60).map(name).collect();
    let label = |n: usize| if n == 11 { String::new() } else { stars.labels[[n, 0]].to_string() };
    let rows: String = (0..60).map(|n| format!("\"{}\",{}\n", names[n], label(n))).collect();
    std::fs::write(folder.join("labels.csv"), format!("id,teff\n{rows}")).unwrap();
    let experiment = "labels = [\"teff\"]\nselection.keep_missing_labels = true\ncontinuum.method = \"none\"\n[data.arrays]\nflux = \"flux.npy\"\nivar = \"ivar.npy\"\n\
                      labels = \"labels.csv\"\n[models.cannon.cannon]\n[models.ridge.ridge]\n";
    std::fs::write(folder.join("hostile.toml"), experiment).unwrap();
    names
}

#[test]
fn names_are_names_whatever_they_look_like_and_flux_is_that_of_the_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let names = hostile(folder.path());
    succeeded(folder.path(), &["-q", "run", "hostile.toml"]);
    let run = latest(folder.path(), "hostile");
    let Some(mut page) = Page::open("the explorer of hostile names") else { return };
    page.resize(1100, 900, false);
    page.load(&run.join("explore.html"));
    assert_eq!(page.value("document.title"), json!("hostile: every star"));
    let (_, rows) = csv(&run.join("predictions-cannon.csv"));
    for row in rows.iter().take(6) {
        search(&mut page, &row[0], &row[0]);
    }
    // The eighth has no data.
    let (star, id) =
        (0..60).zip(&names).find(|(star, id)| *star != 7 && rows.iter().any(|row| row[0] == **id)).unwrap();
    search(&mut page, id, id);
    expect_flux(&mut page, star);
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());

    // The same star labelled alone, as one of a table of which no catalogue tells.
    let model =
        ["label", "--model", "experiments/hostile/latest/models/cannon", "--flux", "flux.npy", "--ivar", "ivar.npy"];
    let said = succeeded(folder.path(), &[&model[..], &["--ids", "labels.csv", "--out", "own", "--spectra"]].concat());
    assert!(said.contains("own-explore.html: every star, to look at"), "{said}");
    page.load(&folder.path().join("own-explore.html"));
    assert!(page.text("#summary").starts_with("60 stars, labelled by cannon."), "{}", page.text("#summary"));
    search(&mut page, id, id);
    expect_flux(&mut page, star);
    // Letters that FITS does not have.
    search(&mut page, &names[5], &names[5]);
    search(&mut page, id, id);
    assert!(page.text("#curves").contains("cannon") && !page.text("#curves").contains("no best fit"));

    // A comparison leads on to the pages of its runs, at the same star.
    succeeded(folder.path(), &["-q", "compare", "hostile", "--out", "compared"]);
    page.load(&folder.path().join("compared/explore.html"));
    let tested = rows.iter().map(|row| &row[0]).find(|id| id.contains('\u{c5}')).unwrap();
    search(&mut page, tested, tested);
    search(&mut page, id, id);
    page.click_on("#no-spectrum a");
    page.wait("document.title === 'hostile: every star' && 'ready' in document.documentElement.dataset");
    assert_eq!(page.text("#star-id"), *id);
    expect_flux(&mut page, star);
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

/// Moves the pointer over the spectrum of a star: what is read there is flux and noise as the arrays of [`hostile`] have them, to a tenth
/// of the noise.
fn expect_flux(page: &mut Page, star: usize) {
    let stars = truth(60, 1, 300, 3);
    page.value("document.getElementById('flux').focus()");
    page.press(&["0"]);
    let [left, top, width, height] = page.place("#flux .u-over");
    let mut n_read = 0;
    for step in 1..20 {
        page.point([left + 0.05 * f64::from(step) * width, top + 0.5 * height]);
        let words = page.text("#readout");
        let Some((pixel, rest)) = words.strip_prefix("pixel ").and_then(|words| words.split_once(" \u{b7} ")) else {
            continue;
        };
        let Some(observed) = rest.strip_prefix("observed ") else { continue };
        let (flux, noise) = observed.split(" \u{b7} ").next().unwrap().split_once(" \u{b1} ").unwrap();
        let place = [star, pixel.parse::<usize>().unwrap()];
        let (known, sigma) = (f64::from(stars.flux[place]), f64::from(stars.ivar[place]).sqrt().recip());
        // What is read has four digits.
        assert!((number(flux) - known).abs() < 0.1 * sigma + 6e-5, "{words}: {known} +- {sigma}");
        assert!((number(noise) / sigma - 1.0).abs() < 0.02 + 6e-5 / sigma, "{words}: {sigma}");
        n_read += 1;
    }
    assert!(n_read > 10, "{n_read}");
}
