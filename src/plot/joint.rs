//! Two quantities of one set of points: shaded levels of their density, and dots for the points outside.

use super::axes::Axes;
use super::canvas::Canvas;
use super::density::{Density, Point, signed_area};
use super::marks::{Marker, Stroke};
use super::palette::{BLUE, Color, VERMILLION, WHITE};

/// Fractions of the points inside the contours: within one and two standard deviations of a normal distribution of two
/// variables, 1 - exp(-k^2 / 2).
const FRACTIONS: [f64; 2] = [0.393_469, 0.864_665];
/// Points outside the contours that are shown in one panel.
const MOST_DOTS: usize = 400;
/// Colours inside the outer and the inner contour.
pub(super) const FILLS: [Color; 2] = [Color::new(190, 217, 235), Color::new(102, 170, 209)];
/// Outlines of the first set.
pub(super) const FIRST: Stroke = Stroke::solid(BLUE, 0.8);
/// Outlines of the second set.
pub(super) const SECOND: Stroke = Stroke::solid(VERMILLION, 1.1);

/// What is drawn of two quantities of one set.
pub(super) struct Joint {
    /// For each fraction the largest first, see [`Density::rings`].
    rings: Vec<Vec<Vec<Point>>>,
    /// Some of the points outside the rings.
    dots: Vec<Point>,
    pub(super) is_empty: bool,
}

impl Joint {
    /// Contours of points over two ranges; `smoothing` as in [`Density::new`].
    pub(super) fn new(points: &[Point], x: (f64, f64), y: (f64, f64), smoothing: f64) -> Self {
        let Some(density) = Density::new(points, x, y, smoothing) else {
            return Self { rings: Vec::new(), dots: Vec::new(), is_empty: points.is_empty() };
        };
        let (levels, densities) = density.levels(points, FRACTIONS);
        let outside: Vec<Point> =
            points.iter().zip(densities).filter(|(_, density)| *density < levels[1]).map(|(point, _)| *point).collect();
        let every = outside.len().div_ceil(MOST_DOTS).max(1);
        let dots = outside.into_iter().step_by(every).collect();
        Self { rings: levels.iter().rev().map(|level| density.rings(*level)).collect(), dots, is_empty: false }
    }
}

/// Draws the first set shaded, and the others as outlines over it.
pub(super) fn draw_joint(canvas: &mut Canvas, axes: &Axes, joints: &[Joint]) {
    for (index, joint) in joints.iter().enumerate() {
        let is_first = index == 0;
        for &dot in joint.dots.iter().filter(|_| is_first) {
            axes.point(canvas, dot, Marker::Dot, 0.7, FILLS[1]);
        }
        for (level, rings) in joint.rings.iter().enumerate() {
            for ring in rings {
                let on_page: Vec<Point> = ring.iter().map(|&point| axes.place(point)).collect();
                if is_first {
                    // A hollow shows what lies below its level.
                    let below = level.checked_sub(1).map_or(WHITE, |below| FILLS[below]);
                    canvas.area(&on_page, if signed_area(ring) > 0.0 { FILLS[level] } else { below });
                }
                let closed: Vec<Point> = on_page.iter().chain(on_page.first()).copied().collect();
                canvas.line(&closed, if is_first { FIRST } else { SECOND });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::Normals;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn less_smoothing_tells_two_clumps_apart() {
        let mut normal = Normals::new(ChaCha8Rng::seed_from_u64(3));
        let points: Vec<Point> =
            (0..2000).map(|i| (f64::from(i % 2) * 4.0 + 0.3 * normal.draw(), 0.3 * normal.draw())).collect();
        let outer = |smoothing: f64| Joint::new(&points, (-3.0, 7.0), (-3.0, 3.0), smoothing).rings[0].len();
        assert_eq!((outer(2.5), outer(0.5)), (1, 2));
        assert!(Joint::new(&[], (0.0, 1.0), (0.0, 1.0), 1.0).is_empty);
    }
}
