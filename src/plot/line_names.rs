//! Spectral lines through the panels of a spectrum, and the names above it of as many as have room.

use super::axes::Axes;
use super::canvas::Canvas;
use super::legend::Entry;
use super::marks::{Lettering, Level, Rect, Stroke};
use super::palette::{BLACK, BLUE, Color, GREEN, GREY, ORANGE, PURPLE, SKY, SLATE, VERMILLION, WHITE, WINE};

/// A spectral line or the head of a band.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkedLine {
    /// Its name, e.g. "Mg I".
    pub species: String,
    /// Vacuum wavelength in Angstrom.
    pub wavelength: f64,
    /// Its strength, in any measure that orders lines: the strongest are named first.
    pub strength: f64,
    /// The head of a molecular band: named before all lines.
    pub is_band: bool,
}

/// Most room for names above a panel; longer ones are set smaller.
const NAMES_HEIGHT: f64 = 42.0;
/// From the panel to the names.
const NAME_GAP: f64 = 5.0;

const NAMES: Lettering = Lettering::new(7.0);
/// Between the names of neighbouring lines.
const NAME_SPACING: f64 = 7.6;
const LINE: Stroke = Stroke::solid(Color::new(205, 205, 205), 0.6);
const BAND_HEAD: Stroke = Stroke::solid(Color::new(240, 184, 150), 1.0);
const HIGHLIGHTED: f64 = 2.4;

/// The colour of an element wherever its lines are named; those of few lines share one.
fn color_of(species: &str) -> Color {
    match species.split(' ').next().unwrap_or_default() {
        "Fe" => SLATE,
        "Si" => GREEN,
        "Mg" => BLUE,
        "Ca" => PURPLE,
        "Ni" => SKY,
        "Al" => ORANGE,
        "H" => WINE,
        "CO" => VERMILLION,
        _ => GREY,
    }
}

/// How lines of a species are emphasised.
fn highlighted(species: &str) -> Stroke {
    Stroke::solid(color_of(species).towards(WHITE, 0.6), HIGHLIGHTED)
}

/// The room that the names of lines in these ranges need above a panel: none without lines.
pub(super) fn room_for_names(lines: &[MarkedLine], spans: &[(f64, f64)]) -> f64 {
    let width = |line: &MarkedLine| Lettering { bold: true, ..NAMES }.width_of(&line.species);
    let widest = shown(lines, spans).map(width).reduce(f64::max);
    widest.map_or(0.0, |widest| (widest + NAME_GAP + 5.0).min(NAMES_HEIGHT))
}

fn shown<'a>(lines: &'a [MarkedLine], spans: &[(f64, f64)]) -> impl Iterator<Item = &'a MarkedLine> {
    lines.iter().filter(|line| spans.iter().any(|(low, high)| (low..=high).contains(&&line.wavelength)))
}

/// The lines of a range that are named: the heads of bands, those of the `preferred` species, then the strongest whose names have
/// room on this width.
pub(super) fn named<'a>(
    lines: &'a [MarkedLine],
    preferred: &[String],
    (low, high): (f64, f64),
    width: f64,
) -> Vec<&'a MarkedLine> {
    let rank = |line: &MarkedLine| (line.is_band, preferred.contains(&line.species));
    let mut candidates: Vec<&MarkedLine> =
        lines.iter().filter(|line| (low..=high).contains(&line.wavelength)).collect();
    candidates.sort_by(|a, b| rank(b).cmp(&rank(a)).then(b.strength.total_cmp(&a.strength)));
    let spacing = NAME_SPACING * (high - low) / width;
    let mut named: Vec<&MarkedLine> = Vec::new();
    for line in candidates {
        if named.iter().all(|other| (other.wavelength - line.wavelength).abs() >= spacing) {
            named.push(line);
        }
    }
    named.sort_by(|a, b| a.wavelength.total_cmp(&b.wavelength));
    named
}

/// Writes names above a frame, and draws their lines through all of it; those of the `preferred` species stand out.
pub(super) fn draw_names(
    canvas: &mut Canvas,
    whole: Rect,
    span: (f64, f64),
    named: &[&MarkedLine],
    preferred: &[String],
) {
    let axes = Axes { frame: whole, x: span, y: (0.0, 1.0) };
    for line in named {
        let x = axes.place((line.wavelength, 0.0)).0;
        let stroke = if line.is_band { BAND_HEAD } else { LINE };
        canvas.line(&[(x, whole.top - 3.0), (x, whole.bottom())], stroke);
        let (color, bold) =
            (color_of(&line.species).towards(BLACK, 0.2), line.is_band || preferred.contains(&line.species));
        let letters = Lettering { turned: true, level: Level::Middle, color, bold, ..NAMES };
        canvas.text(
            (x, whole.top - NAME_GAP),
            &line.species,
            letters.fitted(&line.species, NAMES_HEIGHT - NAME_GAP - 2.0),
        );
    }
}

/// Emphasises all lines of these species in one panel; the spectrum is drawn over them.
pub(super) fn highlight(canvas: &mut Canvas, axes: &Axes, lines: &[MarkedLine], species: &[String]) {
    for line in lines.iter().filter(|line| species.contains(&line.species)) {
        axes.line(canvas, &[(line.wavelength, axes.y.0), (line.wavelength, axes.y.1)], highlighted(&line.species));
    }
}

/// What the legend says of the lines in these ranges; `highlighted` names those of some species that are emphasised.
pub(super) fn entries<'t>(
    lines: &[MarkedLine],
    spans: &[(f64, f64)],
    (species, highlighted): (&[String], &'t str),
) -> Vec<Entry<'t>> {
    let thick = |stroke: Stroke| Stroke { width: 1.4, ..stroke };
    let has = |is_such: &dyn Fn(&MarkedLine) -> bool| shown(lines, spans).any(is_such);
    let atoms = has(&|line| !line.is_band).then_some(Entry::Line(thick(LINE), "strongest atomic lines"));
    let own = lines.iter().find(|line| species.contains(&line.species)).map(|line| self::highlighted(&line.species));
    let emphasised =
        own.filter(|_| has(&|line| species.contains(&line.species))).map(|own| Entry::Line(own, highlighted));
    let heads = has(&|line| line.is_band).then_some(Entry::Line(thick(BAND_HEAD), "band heads"));
    [atoms, emphasised, heads].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(species: &str, wavelength: f64, strength: f64, is_band: bool) -> MarkedLine {
        MarkedLine { species: species.into(), wavelength, strength, is_band }
    }

    #[test]
    fn the_strongest_lines_and_all_heads_are_named_where_they_have_room() {
        let lines = [
            line("weak", 1000.0, 1.0, false),
            line("strong", 1001.0, 5.0, false),
            line("head", 1050.0, -9.0, true),
            line("beside the head", 1050.5, 9.0, false),
            line("outside", 2000.0, 9.0, false),
        ];
        let names = |preferred: &[&str], width: f64| -> Vec<&str> {
            let preferred: Vec<String> = preferred.iter().map(|name| name.to_string()).collect();
            let named = named(&lines, &preferred, (1000.0, 1100.0), width);
            named.iter().map(|line| line.species.as_str()).collect()
        };
        // 7.6 units of page are 5 of wavelength.
        assert_eq!(names(&[], 152.0), ["strong", "head"]);
        assert_eq!(names(&["weak"], 152.0), ["weak", "head"]);
        assert_eq!(names(&[], 15_200.0).len(), 4);
        assert!(named(&[], &[], (1.0, 2.0), 100.0).is_empty());
    }

    #[test]
    fn the_legend_and_the_room_are_those_of_the_lines_in_the_panels() {
        let lines = [line("Mg I", 1.0, 1.0, false), line("CO 3\u{2212}0", 2.0, 1.0, true)];
        let count = |species: &[String], span| entries(&lines, &[span], (species, "of the element")).len();
        let magnesium = ["Mg I".to_string()];
        assert_eq!((count(&magnesium, (0.0, 3.0)), count(&[], (0.0, 3.0)), count(&magnesium, (1.5, 3.0))), (3, 2, 1));
        let room = |span| room_for_names(&lines, &[span]);
        assert!(room((0.0, 1.5)) < room((0.0, 3.0)) && room((5.0, 6.0)) == 0.0);
        let long = [line("a very long name of a line", 1.0, 1.0, false)];
        assert_eq!(room_for_names(&long, &[(0.0, 2.0)]), NAMES_HEIGHT);
    }
}
