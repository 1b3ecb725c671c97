//! The Kiel diagram: surface gravity against effective temperature, stars and isochrones coloured by a third label.

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, Titles, linear};
use super::callout::{Callout, draw_callouts};
use super::canvas::Canvas;
use super::colormap::{BAR_MARGIN, Colormap};
use super::draws::{ascending, quantile};
use super::grid::{draw_heading, draw_reason, draw_title};
use super::legend::{Entry, render_above_legend};
use super::marks::{Marker, Rect, Stroke};
use super::ticks::padded_range;
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// What a Kiel diagram shows.
#[derive(Debug, Clone, Copy)]
pub struct KielData<'a> {
    /// One to three sets of stars side by side, e.g. catalogue and estimate.
    pub panels: &'a [KielPanel<'a>],
    /// Curves through every panel.
    pub isochrones: &'a [Isochrone<'a>],
    /// Named places in every panel.
    pub features: &'a [KielFeature<'a>],
    /// What the colour is, with its unit, e.g. `[Fe/H] [dex]`.
    pub color_title: &'a str,
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// Stars of one panel.
#[derive(Debug, Clone, Copy)]
pub struct KielPanel<'a> {
    /// Above the panel at the left, e.g. "APOGEE DR17"; the number of stars is at the right.
    pub name: &'a str,
    /// Its stars; one without a finite temperature and gravity is left out and counted.
    pub stars: &'a [KielStar],
}

/// A star.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KielStar {
    /// Effective temperature in K.
    pub teff: f64,
    /// Logarithm of the surface gravity in cgs.
    pub logg: f64,
    /// What its colour shows; grey if NaN.
    pub color: f64,
}

/// A curve.
#[derive(Debug, Clone, Copy)]
pub struct Isochrone<'a> {
    /// What the legend calls it, e.g. "[Fe/H] = 0, 10 Gyr".
    pub name: &'a str,
    /// Effective temperature in K and log g, in order along the curve; points that are not finite interrupt it.
    pub points: &'a [(f64, f64)],
    /// What its colour shows.
    pub color: f64,
    /// Drawn as a broken line, e.g. for another age.
    pub is_broken: bool,
}

/// A named place, e.g. the red clump.
#[derive(Debug, Clone, Copy)]
pub struct KielFeature<'a> {
    /// Its name.
    pub name: &'a str,
    /// Effective temperature in K and log g.
    pub at: (f64, f64),
    /// Half the extent in both, drawn as an ellipse; without it a small circle.
    pub half_widths: Option<(f64, f64)>,
}

const MOST_PANELS: usize = 3;
/// Stars drawn in a whole figure; of more, every so-manyth.
const MOST_STARS: usize = 12_000;
/// More isochrones than this are not named one by one.
const MOST_NAMED: usize = 12;
/// Width of a figure of one panel: one column and a half.
const SINGLE_WIDTH: f64 = 510.0;
const GAP: f64 = 9.0;
const HEADING: f64 = 18.0;
/// Radius of the circle around a place without extent.
const SMALL: f64 = 3.5;

/// Draws the figure: temperature falls to the right, gravity falls upwards.
///
/// # Errors
/// [`Error::Figure`] without panels, or with more than three.
pub fn kiel(title: &str, data: &KielData) -> Result<Figure> {
    let n = data.panels.len();
    if n == 0 || n > MOST_PANELS {
        let detail = format!("{n} sets of stars side by side; draw 1 to {MOST_PANELS}");
        return Err(Error::Figure { figure: "Kiel diagram".to_owned(), detail });
    }
    let width = if n == 1 { SINGLE_WIDTH } else { PAGE_WIDTH };
    let side = (width - LEFT_MARGIN - BAR_MARGIN - GAP * (n - 1) as f64) / n as f64;
    let panel_height = if n == 1 { 0.82 * side } else { 1.12 * side };
    let stars = || data.panels.iter().flat_map(|panel| panel.stars).filter(|star| is_known(star));
    let every = stars().count().div_ceil(MOST_STARS).max(1);
    let map = Colormap::of(stars().map(|star| star.color).chain(data.isochrones.iter().map(|curve| curve.color)));
    let ranges = ranges(data);
    let thinned = if every > 1 { format!("one star in {every} is drawn") } else { String::new() };
    let top = if title.trim().is_empty() { 2.0 } else { 26.0 } + HEADING;
    let height = top + panel_height + BOTTOM_MARGIN;
    render_above_legend("Kiel diagram", (width, height), entries(data, &map, &thinned), |canvas| {
        draw_title(canvas, title, width);
        for (index, panel) in data.panels.iter().enumerate() {
            let left = LEFT_MARGIN + index as f64 * (side + GAP);
            let frame = Rect { left, top, width: side, height: panel_height };
            let axes = Axes { frame, x: ranges.0, y: ranges.1 };
            draw_panel(canvas, data, panel, &axes, (&map, every));
            let titles = Titles { x: Some("Teff [K]"), y: (index == 0).then_some("log g [dex]") };
            axes.draw_frame_with(canvas, titles, &x_marks(&axes, n), &axes.y_marks(linear(axes.y)));
            if index + 1 == n {
                map.draw_bar(canvas, frame, data.color_title);
            }
        }
    })
}

fn x_marks(axes: &Axes, n_panels: usize) -> Marks {
    let marks = axes.x_marks(linear(axes.x));
    if n_panels > 1 { axes.x_labels_within(marks, GAP / 2.0 - 1.5) } else { marks }
}

fn is_known(star: &KielStar) -> bool {
    star.teff.is_finite() && star.logg.is_finite()
}

fn entries<'a>(data: &KielData<'a>, map: &Colormap, thinned: &'a str) -> Vec<Entry<'a>> {
    let curves = data.isochrones;
    let of_curve = |index: usize| Entry::Cased(stroke(&curves[index], map), curves[index].name);
    let mut entries = Entry::of_kinds(curves.len(), MOST_NAMED, of_curve);
    let remarks = [thinned, data.remark];
    entries.extend(remarks.into_iter().filter(|words| !words.is_empty()).map(Entry::Words));
    entries
}

fn stroke(curve: &Isochrone, map: &Colormap) -> Stroke {
    let color = map.color(curve.color);
    Stroke { dash: curve.is_broken.then_some((5.0, 3.0)), ..Stroke::solid(color, 0.8) }
}

/// Ranges of temperature and gravity, from the left and from the lower edge: nearly all stars, and the named places; those of
/// the isochrones without stars.
fn ranges(data: &KielData) -> ((f64, f64), (f64, f64)) {
    let stars = || data.panels.iter().flat_map(|panel| panel.stars).filter(|star| is_known(star));
    let curves = || data.isochrones.iter().flat_map(|curve| curve.points).filter(|_| stars().next().is_none());
    let reversed = |values: Vec<f64>, features: Vec<f64>| {
        let ends = [0.003, 0.997].map(|fraction| quantile(&values, fraction));
        let (low, high) = padded_range(ends.into_iter().chain(features), 0.07);
        (high, low)
    };
    let side = |of_star: fn(&KielStar) -> f64, pick: fn(&(f64, f64)) -> f64| {
        let values = ascending(stars().map(of_star).chain(curves().map(pick)));
        let ends = |feature: &KielFeature| {
            let half = feature.half_widths.map_or(0.0, |half| pick(&half));
            [pick(&feature.at) - half, pick(&feature.at) + half]
        };
        reversed(values, data.features.iter().flat_map(ends).collect())
    };
    (side(|star| star.teff, |point| point.0), side(|star| star.logg, |point| point.1))
}

fn draw_panel(canvas: &mut Canvas, data: &KielData, panel: &KielPanel, axes: &Axes, (map, every): (&Colormap, usize)) {
    let stars: Vec<&KielStar> = panel.stars.iter().filter(|star| is_known(star)).collect();
    let drawn: Vec<&KielStar> = stars.iter().step_by(every).copied().collect();
    let (radius, alpha) = match drawn.len() {
        0..=400 => (2.2, 0.85),
        401..=2500 => (1.6, 0.8),
        _ => (1.1, 0.7),
    };
    for star in &drawn {
        let color = map.color(star.color).faded(alpha);
        axes.point_or_arrow(canvas, (star.teff, star.logg), Marker::Dot, radius, color);
    }
    for curve in data.isochrones {
        let stroke = stroke(curve, map);
        for stroke in [stroke.casing(), stroke] {
            axes.line(canvas, curve.points, stroke);
        }
    }
    let unit =
        (axes.place((1.0, 0.0)).0 - axes.place((0.0, 0.0)).0, axes.place((0.0, 1.0)).1 - axes.place((0.0, 0.0)).1);
    let callout = |feature: &KielFeature<'_>| {
        let half = feature.half_widths.map(|(dx, dy)| ((dx * unit.0).abs(), (dy * unit.1).abs()));
        half.unwrap_or((SMALL, SMALL))
    };
    let callouts: Vec<Callout> = data
        .features
        .iter()
        .map(|feature| Callout { name: feature.name, at: axes.place(feature.at), half: callout(feature) })
        .collect();
    let on_curves = data.isochrones.iter().flat_map(|curve| curve.points).map(|&point| axes.place(point));
    let marks: Vec<(f64, f64)> = drawn.iter().map(|star| axes.place((star.teff, star.logg))).chain(on_curves).collect();
    draw_callouts(canvas, axes.frame, &callouts, &marks);
    if stars.is_empty() && data.isochrones.iter().all(|curve| curve.points.is_empty()) {
        draw_reason(canvas, axes.frame, "no stars");
    }
    let left_out = match panel.stars.len() - stars.len() {
        0 => String::new(),
        n => format!(", {n} without Teff or log g"),
    };
    let plural = if stars.len() == 1 { "star" } else { "stars" };
    let count = if panel.stars.is_empty() { String::new() } else { format!("{} {plural}{left_out}", stars.len()) };
    draw_heading(canvas, axes.frame, panel.name, &count);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED_CLUMP: KielFeature =
        KielFeature { name: "red clump", at: (4750.0, 2.4), half_widths: Some((120.0, 0.12)) };

    /// Stars along a giant branch.
    fn stars(n: usize) -> Vec<KielStar> {
        let star = |i: usize| {
            let along = i as f64 / n.max(2) as f64;
            KielStar { teff: 5200.0 - 1500.0 * along, logg: 3.5 - 3.0 * along, color: -1.0 + 1.5 * along }
        };
        (0..n).map(star).collect()
    }

    fn draw(panels: &[KielPanel], isochrones: &[Isochrone], features: &[KielFeature]) -> Result<Figure> {
        let data = KielData { panels, isochrones, features, color_title: "[Fe/H] [dex]", remark: "MIST" };
        kiel("giants", &data)
    }

    #[test]
    fn stars_isochrones_places_and_the_bar_are_all_there() {
        let stars = stars(60);
        let panels = [KielPanel { name: "catalogue", stars: &stars }, KielPanel { name: "estimate", stars: &stars }];
        let curve = [(5200.0, 3.6), (4500.0, 2.2), (f64::NAN, 0.0), (4000.0, 1.0), (3700.0, 0.5)];
        let isochrones = [
            Isochrone { name: "10 Gyr", points: &curve, color: 0.0, is_broken: false },
            Isochrone { name: "4 Gyr", points: &curve, color: -1.0, is_broken: true },
        ];
        let svg = draw(&panels, &isochrones, &[RED_CLUMP]).expect("draws").svg;
        for words in ["catalogue", "estimate", "60 stars", "10 Gyr", "4 Gyr", "[Fe/H] [dex]", "MIST", "log g [dex]"] {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!((svg.matches("red clump").count(), svg.matches("Teff [K]").count()), (2, 2));
        assert_eq!(svg.matches("<circle").count(), 120);
    }

    #[test]
    fn both_axes_are_reversed_and_hold_the_named_places() {
        let stars = stars(500);
        let panels = [KielPanel { name: "", stars: &stars }];
        let far = KielFeature { at: (5900.0, 4.4), half_widths: None, ..RED_CLUMP };
        let data = KielData { panels: &panels, isochrones: &[], features: &[far], color_title: "", remark: "" };
        let (x, y) = ranges(&data);
        assert!(x.0 > 5900.0 && x.1 < 3720.0 && y.0 > 4.4 && y.1 < 0.6, "{x:?} {y:?}");
    }

    #[test]
    fn crowds_are_thinned_and_say_so() {
        let stars = stars(30_000);
        let svg = draw(&[KielPanel { name: "all", stars: &stars }], &[], &[]).expect("draws").svg;
        assert!(svg.contains("30000 stars") && svg.contains("one star in 3"));
        assert!(svg.matches("<circle").count() <= MOST_STARS);
    }

    #[test]
    fn nothing_one_star_and_bad_values_are_drawn_and_no_panel_is_refused() {
        let bad = [KielStar { teff: f64::NAN, ..stars(1)[0] }, KielStar { color: f64::NAN, ..stars(1)[0] }];
        let svg = draw(&[KielPanel { name: "", stars: &bad }], &[], &[RED_CLUMP]).expect("draws").svg;
        assert!(svg.contains("1 star, 1 without Teff or log g") && !svg.contains("NaN"));
        assert!(draw(&[KielPanel { name: "", stars: &[] }], &[], &[]).expect("draws").svg.contains("no stars"));
        let curve = [(5000.0, 3.0), (4000.0, 1.0)];
        let only_curve = [Isochrone { name: "only", points: &curve, color: 0.0, is_broken: false }];
        assert!(
            !draw(&[KielPanel { name: "", stars: &[] }], &only_curve, &[]).expect("draws").svg.contains("no stars")
        );
        assert!(draw(&[], &[], &[]).is_err() && draw(&[KielPanel { name: "", stars: &bad }; 4], &[], &[]).is_err());
    }
}
