//! Where points of two quantities are dense: a smoothed density, the levels that hold a given share of the points, and the
//! rings on which the density has a level.

use std::collections::BTreeMap;

/// Nodes of the grid along each axis.
const N_NODES: usize = 64;
/// Smallest standard deviation of the smoothing, in steps of the grid.
const SMALLEST_KERNEL: f64 = 0.5;
/// Standard deviations after which the kernel ends.
const KERNEL_REACH: f64 = 3.5;

/// Page or data positions.
pub(super) type Point = (f64, f64);

/// A density on a square grid of nodes over two ranges; outside it is nil.
pub(super) struct Density {
    x: (f64, f64),
    y: (f64, f64),
    /// `[N_NODES, N_NODES]`, rows along x.
    values: Vec<f64>,
}

impl Density {
    /// The density of points, smoothed with their own covariance shrunk by Scott's rule; none without a point in the ranges.
    ///
    /// ```text
    /// kernel ~ N(0, h^2 n^(-1/3) S + e^2),   e = half a step of the grid
    /// ```
    ///
    /// The `smoothing` h is 1 for a single peak, and less for structure that is narrow beside the whole.
    pub(super) fn new(points: &[Point], x: (f64, f64), y: (f64, f64), smoothing: f64) -> Option<Self> {
        let mut density = Self { x, y, values: vec![0.0; N_NODES * N_NODES] };
        let inside: Vec<Point> = points.iter().filter_map(|&point| density.steps(point)).collect();
        if inside.is_empty() {
            return None;
        }
        for &at in &inside {
            for (node, weight) in corners(at) {
                density.values[node] += weight;
            }
        }
        density.smooth(kernel(&inside, smoothing));
        Some(density)
    }

    /// A position in steps of the grid; none outside, or for one that is not finite.
    fn steps(&self, (x, y): Point) -> Option<Point> {
        let last = (N_NODES - 1) as f64;
        let along = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low) * last;
        let at = (along(x, self.x), along(y, self.y));
        ((0.0..=last).contains(&at.0) && (0.0..=last).contains(&at.1)).then_some(at)
    }

    fn smooth(&mut self, kernel: Vec<(isize, isize, f64)>) {
        let counts = std::mem::replace(&mut self.values, vec![0.0; N_NODES * N_NODES]);
        let size = N_NODES as isize;
        for (node, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0.0) {
            let (i, j) = ((node / N_NODES) as isize, (node % N_NODES) as isize);
            for &(di, dj, weight) in &kernel {
                let (i, j) = (i + di, j + dj);
                if (0..size).contains(&i) && (0..size).contains(&j) {
                    self.values[(i * size + j) as usize] += weight * count;
                }
            }
        }
    }

    /// The density at a point, linear between nodes along either axis.
    fn at(&self, point: Point) -> f64 {
        let steps = self.steps(point);
        steps.map_or(0.0, |at| corners(at).into_iter().map(|(node, weight)| weight * self.values[node]).sum())
    }

    /// For each of the fractions the density above which this fraction of the points lie, and the density at every point.
    pub(super) fn levels<const N: usize>(&self, points: &[Point], fractions: [f64; N]) -> ([f64; N], Vec<f64>) {
        let densities: Vec<f64> = points.iter().map(|&point| self.at(point)).collect();
        let mut sorted = densities.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let level = |fraction: f64| {
            let n_inside = (fraction * sorted.len() as f64).round() as usize;
            // Half way to the next point, so that rounding moves none across.
            let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
            0.5 * (at(n_inside.saturating_sub(1)) + at(n_inside))
        };
        (fractions.map(level), densities)
    }

    /// The closed rings on which the density has a level, largest first, inside the ranges; around a hollow they run clockwise.
    pub(super) fn rings(&self, level: f64) -> Vec<Vec<Point>> {
        // Marching squares on the grid with a margin of nil: every ring closes. A segment begins where the outline of a
        // square leaves the region above the level and ends where it enters it, so the region is on its left.
        let size = N_NODES + 2;
        let value = |i: usize, j: usize| match (1..=N_NODES).contains(&i) && (1..=N_NODES).contains(&j) {
            true => self.values[(i - 1) * N_NODES + j - 1],
            false => 0.0,
        };
        let mut segments: BTreeMap<Edge, Edge> = BTreeMap::new();
        for i in 0..size - 1 {
            for j in 0..size - 1 {
                let square = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)];
                let heights = square.map(|(i, j)| value(i, j));
                let is_above = heights.map(|height| height >= level);
                let edges = [(i, j, false), (i + 1, j, true), (i, j + 1, false), (i, j, true)];
                let is_joined = heights.iter().sum::<f64>() / 4.0 >= level;
                for side in (0..4).filter(|&side| is_above[side] && !is_above[(side + 1) % 4]) {
                    let enters = |other: &usize| !is_above[*other] && is_above[(*other + 1) % 4];
                    // Of two ways in, the next one if the region goes through the middle, else the one before.
                    let mut ways = (1..4).map(|step| (side + step) % 4).filter(enters);
                    let way = if is_joined { ways.next() } else { ways.next_back() };
                    segments.extend(way.map(|way| (edges[side], edges[way])));
                }
            }
        }
        let place = |(i, j, is_upright): Edge| {
            let (other_i, other_j) = if is_upright { (i, j + 1) } else { (i + 1, j) };
            let (low, high) = (value(i, j), value(other_i, other_j));
            let fraction = (level - low) / (high - low);
            let along = |at: f64, (low, high): (f64, f64)| {
                (low + (high - low) * (at - 1.0) / (N_NODES - 1) as f64).clamp(low.min(high), high.max(low))
            };
            let between = |a: usize, b: usize| a as f64 + fraction * (b as f64 - a as f64);
            (along(between(i, other_i), self.x), along(between(j, other_j), self.y))
        };
        let mut rings = Vec::new();
        while let Some((start, mut next)) = segments.pop_first() {
            let mut ring = vec![place(start)];
            while next != start {
                ring.push(place(next));
                let Some(following) = segments.remove(&next) else { break };
                next = following;
            }
            rings.push(ring);
        }
        rings.sort_by(|a, b| signed_area(b).abs().total_cmp(&signed_area(a).abs()));
        rings
    }
}

/// An edge of the grid: its first node, and whether it goes along y.
type Edge = (usize, usize, bool);

/// The four nodes around a position in steps, and their weights.
fn corners((x, y): Point) -> [(usize, f64); 4] {
    let below = |value: f64| (value as usize).min(N_NODES - 2);
    let (i, j) = (below(x), below(y));
    let (dx, dy) = (x - i as f64, y - j as f64);
    let node = i * N_NODES + j;
    [
        (node, (1.0 - dx) * (1.0 - dy)),
        (node + 1, (1.0 - dx) * dy),
        (node + N_NODES, dx * (1.0 - dy)),
        (node + N_NODES + 1, dx * dy),
    ]
}

/// Steps and weights of the smoothing of points given in steps.
fn kernel(points: &[Point], smoothing: f64) -> Vec<(isize, isize, f64)> {
    let n = points.len() as f64;
    let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let shrink = smoothing * smoothing * n.powf(-1.0 / 3.0);
    let shrunk = |product: &dyn Fn(&Point) -> f64| shrink * points.iter().map(product).sum::<f64>() / n;
    let floor = SMALLEST_KERNEL.powi(2);
    let xx = shrunk(&|point| (point.0 - x).powi(2)) + floor;
    let yy = shrunk(&|point| (point.1 - y).powi(2)) + floor;
    let xy = shrunk(&|point| (point.0 - x) * (point.1 - y));
    let determinant = xx * yy - xy * xy;
    let reach = |variance: f64| ((KERNEL_REACH * variance.sqrt()).ceil() as isize).min(N_NODES as isize);
    let mut kernel = Vec::new();
    for i in -reach(xx)..=reach(xx) {
        for j in -reach(yy)..=reach(yy) {
            let (dx, dy) = (i as f64, j as f64);
            let distance = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / determinant;
            if distance <= KERNEL_REACH * KERNEL_REACH {
                kernel.push((i, j, (-0.5 * distance).exp()));
            }
        }
    }
    kernel
}

/// Area of a ring: negative if it runs clockwise.
pub(super) fn signed_area(ring: &[Point]) -> f64 {
    let next = ring.iter().cycle().skip(1);
    0.5 * ring.iter().zip(next).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::Normals;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Points of a normal distribution with unit variances and this correlation.
    fn normal(n: usize, correlation: f64) -> Vec<Point> {
        let mut normal = Normals::new(ChaCha8Rng::seed_from_u64(11));
        let mut point = || {
            let (u, v) = (normal.draw(), normal.draw());
            (u, correlation * u + (1.0 - correlation * correlation).sqrt() * v)
        };
        (0..n).map(|_| point()).collect()
    }

    /// Whether a point lies in the rings, by the even-odd rule.
    fn is_inside(rings: &[Vec<Point>], (x, y): Point) -> bool {
        let crossings = rings.iter().flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)));
        let is_left =
            |(a, b): &(&Point, &Point)| (a.1 <= y) != (b.1 <= y) && a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0) > x;
        crossings.filter(is_left).count() % 2 == 1
    }

    #[test]
    fn rings_hold_the_stated_fraction_of_the_draws() {
        for correlation in [0.0, 0.95, -0.99] {
            let points = normal(4000, correlation);
            let density = Density::new(&points, (-4.0, 4.0), (-4.0, 4.0), 1.0).expect("there are points");
            let fractions = [0.393, 0.865];
            let (levels, densities) = density.levels(&points, fractions);
            for (level, fraction) in levels.into_iter().zip(fractions) {
                let above = densities.iter().filter(|density| **density >= level).count();
                assert_eq!(above, (fraction * 4000.0) as usize);
                let rings = density.rings(level);
                let inside = points.iter().filter(|&&point| is_inside(&rings, point)).count() as f64 / 4000.0;
                // Rings are straight between the grid's lines, the density is not.
                assert!((inside - fraction).abs() < 0.015, "{correlation}: {inside} for {fraction}");
            }
        }
    }

    #[test]
    fn the_ring_of_one_sigma_is_the_ellipse_of_the_normal_distribution() {
        let points = normal(40_000, 0.0);
        let density = Density::new(&points, (-4.0, 4.0), (-4.0, 4.0), 1.0).expect("there are points");
        let ([level], _) = density.levels(&points, [0.393_469]);
        let rings = density.rings(level);
        // pi at radius 1; the estimate of a radius from 40,000 draws and the smoothing leave some percent.
        assert_eq!(rings.len(), 1);
        assert!((signed_area(&rings[0]) - std::f64::consts::PI).abs() < 0.1, "{}", signed_area(&rings[0]));
    }

    #[test]
    fn hollows_and_islands_have_rings_of_their_own() {
        let circle = |i: u32| {
            let (sine, cosine) = (f64::from(i) * 0.618_034 * std::f64::consts::TAU).sin_cos();
            (2.0 * cosine, 2.0 * sine)
        };
        let mut points: Vec<Point> = (0..2000).map(circle).collect();
        points.extend((0..300).map(|_| (0.0, 0.0)));
        let density = Density::new(&points, (-4.0, 4.0), (-4.0, 4.0), 1.0).expect("there are points");
        // On the circle the density is nearly the same everywhere, and larger in the middle.
        let level = 0.6 * density.levels(&points, [0.95]).0[0];
        let areas: Vec<f64> = density.rings(level).iter().map(|ring| signed_area(ring)).collect();
        assert_eq!(areas.len(), 3, "{areas:?}");
        assert!(areas[0] > 0.0 && areas[1] < 0.0 && areas[2] > 0.0 && areas[0] > -areas[1]);
        assert!(!is_inside(&density.rings(level), (1.1, 0.0)) && is_inside(&density.rings(level), (0.0, 0.0)));
    }

    #[test]
    fn few_equal_and_impossible_points_are_survived() {
        let range = (0.0, 1.0);
        assert!(Density::new(&[], range, range, 1.0).is_none());
        assert!(Density::new(&[(f64::NAN, 0.5), (7.0, 0.5)], range, range, 1.0).is_none());
        for points in [vec![(0.5, 0.5)], vec![(0.0, 1.0); 9], vec![(0.5, 0.2), (0.5, 0.8)]] {
            let density = Density::new(&points, range, range, 1.0).expect("there are points");
            let ([level], _) = density.levels(&points, [0.865]);
            let rings = density.rings(level);
            let within = |value: f64| (0.0..=1.0).contains(&value);
            assert!(rings.iter().flatten().all(|point| within(point.0) && within(point.1)), "{rings:?}");
        }
    }
}
