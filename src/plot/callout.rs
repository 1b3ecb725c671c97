//! Names of places in a panel, joined to them by lines, and put where they cover the fewest marks.

use super::canvas::Canvas;
use super::marks::{Lettering, Level, Rect, Stroke};
use super::palette::{BLACK, WHITE};

/// A place on the page and its name.
pub(super) struct Callout<'t> {
    pub(super) name: &'t str,
    pub(super) at: (f64, f64),
    /// Half the width and height of the ellipse drawn around it.
    pub(super) half: (f64, f64),
}

const LETTERS: Lettering = Lettering { bold: true, level: Level::Middle, ..Lettering::new(8.5) };
/// From the ellipse to the name: the nearer the better, and so many marks covered weigh as much as a unit further away.
const DISTANCES: [f64; 5] = [12.0, 20.0, 32.0, 48.0, 70.0];
const MARKS_PER_UNIT: f64 = 0.15;
const N_DIRECTIONS: usize = 16;
/// Between frame and names: past the ticks.
const INSET: f64 = 9.0;
const LINE: Stroke = Stroke::solid(BLACK, 0.9);
const HALO: Stroke = Stroke::solid(WHITE, 2.6);
const N_CORNERS: usize = 48;

impl Callout<'_> {
    fn ellipse(&self) -> Vec<(f64, f64)> {
        let corner = |i: usize| {
            let (sine, cosine) = (std::f64::consts::TAU * i as f64 / N_CORNERS as f64).sin_cos();
            (self.at.0 + self.half.0 * cosine, self.at.1 + self.half.1 * sine)
        };
        (0..=N_CORNERS).map(corner).collect()
    }

    fn surroundings(&self) -> Rect {
        let ((x, y), (dx, dy)) = (self.at, self.half);
        Rect { left: x - dx, top: y - dy, width: 2.0 * dx, height: 2.0 * dy }
    }

    /// Boxes that the name may fill, and how far each is from the ellipse.
    fn places(&self) -> impl Iterator<Item = (Rect, f64)> {
        let (width, height) = (LETTERS.width_of(self.name), LETTERS.size + 2.0);
        let ((x, y), (dx, dy)) = (self.at, self.half);
        DISTANCES.into_iter().flat_map(move |distance| {
            (0..N_DIRECTIONS).map(move |index| {
                let (sine, cosine) = (std::f64::consts::TAU * index as f64 / N_DIRECTIONS as f64).sin_cos();
                let along = |half: f64, own: f64, share: f64| share * (half + distance + own / 2.0);
                let middle = (x + along(dx, width, cosine), y + along(dy, height, sine));
                (Rect { left: middle.0 - width / 2.0, top: middle.1 - height / 2.0, width, height }, distance)
            })
        })
    }
}

/// Draws an ellipse around each place that lies in the frame, and its name near it. `marks` are positions on the page.
pub(super) fn draw_callouts(canvas: &mut Canvas, frame: Rect, callouts: &[Callout], marks: &[(f64, f64)]) {
    let inner = frame.grown(-INSET);
    let inside: Vec<&Callout> = callouts.iter().filter(|callout| frame.contains(callout.at)).collect();
    let mut taken: Vec<Rect> = inside.iter().map(|callout| callout.surroundings().grown(2.0)).collect();
    for callout in inside {
        for stroke in [HALO, LINE] {
            canvas.line(&callout.ellipse(), stroke);
        }
        let fits = |place: &Rect| {
            inner.contains((place.left, place.top))
                && inner.contains((place.right(), place.bottom()))
                && !taken.iter().any(|other| overlap(other, &place.grown(2.0)))
        };
        let cost = |(place, distance): &(Rect, f64)| {
            let near = place.grown(3.0);
            distance + marks.iter().filter(|&&mark| near.contains(mark)).count() as f64 / MARKS_PER_UNIT
        };
        let free = callout.places().filter(|(place, _)| fits(place));
        let Some((place, _)) = free.min_by(|a, b| cost(a).total_cmp(&cost(b))) else { continue };
        let leader = [nearest(&place, callout.at), on_edge(callout, nearest(&place, callout.at))];
        for stroke in [HALO, Stroke { width: 0.7, ..LINE }] {
            canvas.line(&leader, stroke);
        }
        canvas.rect(place.grown(1.5), WHITE.faded(0.85));
        canvas.text((place.left, place.top + place.height / 2.0), callout.name, LETTERS);
        taken.push(place);
    }
}

/// The point of a box nearest to a position.
fn nearest(place: &Rect, (x, y): (f64, f64)) -> (f64, f64) {
    let place = place.grown(1.5);
    (x.clamp(place.left, place.right()), y.clamp(place.top, place.bottom()))
}

/// Where the line from a place to a position leaves the ellipse.
fn on_edge(callout: &Callout, (x, y): (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (x - callout.at.0, y - callout.at.1);
    let relative = (dx / callout.half.0).hypot(dy / callout.half.1);
    let share = if relative.is_finite() { 1.0 / relative.max(1.0) } else { 0.0 };
    (callout.at.0 + share * dx, callout.at.1 + share * dy)
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a.left < b.right() && b.left < a.right() && a.top < b.bottom() && b.top < a.bottom()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::canvas::render;

    const FRAME: Rect = Rect { left: 0.0, top: 0.0, width: 200.0, height: 200.0 };

    fn drawn(callouts: &[Callout], marks: &[(f64, f64)]) -> String {
        render("callouts", (200.0, 200.0), |canvas| draw_callouts(canvas, FRAME, callouts, marks)).expect("renders").svg
    }

    #[test]
    fn names_inside_the_frame_are_written_once_and_others_are_not() {
        let callout = |name, at| Callout { name, at, half: (10.0, 6.0) };
        let svg = drawn(
            &[callout("red clump", (90.0, 90.0)), callout("bump", (92.0, 104.0)), callout("away", (300.0, 9.0))],
            &[],
        );
        assert_eq!((svg.matches("red clump").count(), svg.matches("bump").count()), (1, 1));
        assert!(!svg.contains("away"));
    }

    #[test]
    fn a_name_keeps_off_the_marks() {
        let callout = Callout { name: "clump", at: (100.0, 100.0), half: (5.0, 5.0) };
        // All of the right half is crowded.
        let marks: Vec<(f64, f64)> =
            (0..4000).map(|i| (100.0 + f64::from(i % 50) * 2.0, f64::from(i / 50) * 2.5)).collect();
        let cost = |place: &Rect| marks.iter().filter(|&&mark| place.contains(mark)).count();
        assert!(callout.places().any(|(place, _)| cost(&place) == 0));
        let svg = drawn(&[callout], &marks);
        let x: f64 = svg.split("<text x=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap();
        assert!(x < 1000.0, "{x}");
    }

    #[test]
    fn an_ellipse_without_extent_is_survived() {
        let callout = Callout { name: "point", at: (50.0, 50.0), half: (0.0, 0.0) };
        assert!(drawn(&[callout], &[(f64::NAN, 3.0)]).contains("point"));
    }
}
