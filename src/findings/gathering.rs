//! Where on the Kiel diagram stars of one age and composition gather: the red clump and the bump of the giant branch.

use serde::{Deserialize, Serialize};

use crate::data::isochrone::{Isochrone, IsochronePoint, Phase};

/// Slope of the initial mass function above 0.5 solar masses, where every star that has left the main sequence was born: number
/// per mass goes as the mass to this power. Kroupa 2001, MNRAS 322, 231, Eq. 2.
const MASS_FUNCTION_SLOPE: f64 = -2.3;
/// Log g of the giant branch's foot: subgiants have more, bumps less (those of the shipped set under 2.7).
const FOOT_LOGG: f64 = 3.0;
/// How much denser with stars than the branch below it a stretch must be to count as a bump; elsewhere the shipped set reaches 1.3.
const BUMP_EXCESS: f64 = 1.5;

/// Where on the Kiel diagram stars gather.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gathering {
    /// Effective temperature in kelvin.
    pub teff: f64,
    /// Surface gravity [dex, cgs].
    pub logg: f64,
    /// Half the range of temperatures it takes up in kelvin.
    pub teff_half_width: f64,
    /// Half the range of gravities it takes up in dex.
    pub logg_half_width: f64,
}

impl Gathering {
    /// The red clump: medians over the stars that burn helium in the core, and half their central 68 %.
    ///
    /// The number of stars at a point is the interval of initial mass it stands for times the initial mass function (Kroupa 2001).
    /// `None` where the isochrone has no such stars.
    pub fn red_clump(isochrone: &Isochrone) -> Option<Self> {
        let clump: Vec<&IsochronePoint> =
            isochrone.points.iter().filter(|point| point.phase == Phase::CoreHelium).collect();
        let mass = |index: usize| clump[index.min(clump.len() - 1)].initial_mass;
        let weights: Vec<f64> = (0..clump.len())
            // Rounded tables may have equal masses, never fewer stars than none.
            .map(|i| 0.5 * (mass(i + 1) - mass(i.saturating_sub(1))).max(0.0) * mass(i).powf(MASS_FUNCTION_SLOPE))
            .collect();
        let of = |value: fn(&IsochronePoint) -> f64| -> Option<(f64, f64)> {
            let weighted: Vec<(f64, f64)> =
                clump.iter().zip(&weights).map(|(point, weight)| (value(point), *weight)).collect();
            let at = |q| weighted_quantile(&weighted, q);
            // 0.1587 and 0.8413: one standard deviation of a normal sample.
            Some((at(0.5)?, 0.5 * (at(0.8413)? - at(0.1587)?)))
        };
        let (teff, teff_half_width) = of(|point| point.teff)?;
        let (logg, logg_half_width) = of(|point| point.logg)?;
        Some(Self { teff, logg, teff_half_width, logg_half_width })
    }

    /// The bump of the first giant branch, where the burning shell meets the deepest layers that convection had mixed: the middle
    /// of the stretch on which stars grow fainter and hotter for a while, and half of it.
    ///
    /// Where none do (metal-poor stars, isochrones interpolated between others), the stretch on which they climb most slowly: where
    /// the initial mass per luminosity rises instead of falling. `None` without either.
    pub fn rgb_bump(isochrone: &Isochrone) -> Option<Self> {
        let branch = isochrone.giant_branch();
        let (first, last) = way_back(branch).or_else(|| slow_climb(branch))?;
        let (first, last) = (&branch[first], &branch[last]);
        Some(Self {
            teff: 0.5 * (first.teff + last.teff),
            logg: 0.5 * (first.logg + last.logg),
            teff_half_width: 0.5 * (last.teff - first.teff).abs(),
            logg_half_width: 0.5 * (last.logg - first.logg).abs(),
        })
    }
}

/// First and last point of the longest stretch on which stars grow fainter and hotter.
fn way_back(branch: &[IsochronePoint]) -> Option<(usize, usize)> {
    // Subgiants of young isochrones grow fainter too, but cooler.
    let is_back = |pair: &[IsochronePoint]| pair[1].log_l < pair[0].log_l && pair[1].teff > pair[0].teff;
    let back: Vec<bool> = branch.windows(2).map(is_back).collect();
    let (mut start, mut stretches) = (0, Vec::new());
    for run in back.chunk_by(|a, b| a == b) {
        if run[0] {
            stretches.push((start, start + run.len()));
        }
        start += run.len();
    }
    let fall = |(first, last): &(usize, usize)| branch[*first].log_l - branch[*last].log_l;
    stretches.into_iter().max_by(|a, b| fall(a).total_cmp(&fall(b)))
}

/// First and last point of the stretch with the greatest excess of initial mass per luminosity over all that precedes it.
fn slow_climb(branch: &[IsochronePoint]) -> Option<(usize, usize)> {
    let start = branch.iter().position(|point| point.logg < FOOT_LOGG)?;
    let mut lowest = f64::INFINITY;
    let mut best: Option<(f64, usize, usize)> = None;
    let mut stretch: Option<(f64, usize)> = None;
    for (index, pair) in branch.windows(2).enumerate().skip(start) {
        let density = (pair[1].initial_mass - pair[0].initial_mass) / (pair[1].log_l - pair[0].log_l);
        if density <= lowest {
            lowest = density;
            stretch = None;
            continue;
        }
        let excess = density / lowest;
        let (peak, first) = stretch.map_or((excess, index), |(peak, first)| (excess.max(peak), first));
        stretch = Some((peak, first));
        if peak >= BUMP_EXCESS && best.is_none_or(|(known, begun, _)| peak > known || begun == first) {
            best = Some((peak, first, index + 1));
        }
    }
    best.map(|(_, first, last)| (first, last))
}

/// The value below which a share `q` of the weight lies, linear between the middles of the values' weights; `None` without weight.
fn weighted_quantile(weighted: &[(f64, f64)], q: f64) -> Option<f64> {
    let mut sorted: Vec<(f64, f64)> = weighted.iter().copied().filter(|(_, weight)| *weight > 0.0).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = q * sorted.iter().map(|(_, weight)| weight).sum::<f64>();
    let (mut before, mut last) = (0.0, None::<(f64, f64)>);
    for (value, weight) in &sorted {
        let middle = before + 0.5 * weight;
        if middle >= wanted {
            return Some(last.map_or(*value, |(low, at)| low + (wanted - at) / (middle - at) * (value - low)));
        }
        (before, last) = (before + weight, Some((*value, middle)));
    }
    last.map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::isochrone::tests::{BRANCH, isochrone};

    #[test]
    fn the_bump_is_where_the_branch_turns_back_and_absent_where_it_does_not() {
        let bump = Gathering::rgb_bump(&isochrone(&BRANCH, &[])).unwrap();
        assert!((bump.teff - 4820.0).abs() < 1e-9 && (bump.logg - 2.55).abs() < 1e-9);
        assert!((bump.teff_half_width - 20.0).abs() < 1e-9 && (bump.logg_half_width - 0.05).abs() < 1e-9);
        // A subgiant that grows fainter and cooler is none.
        let hook = [(6000.0, 3.6, 1.2), (5200.0, 3.5, 1.1), (4800.0, 2.5, 1.6), (3600.0, 0.5, 3.3)];
        assert_eq!(Gathering::rgb_bump(&isochrone(&hook, &[])), None);
    }

    #[test]
    fn a_bump_without_turning_back_is_where_stars_climb_slowly() {
        // Equal intervals of mass: the density is one over the step in luminosity, 3, 3.3, 10, 5, 2.5, 2.
        let climb = [1.0, 1.3333, 1.6333, 1.7333, 1.9333, 2.3333, 2.8333];
        let branch: Vec<_> =
            climb.iter().enumerate().map(|(i, l)| (4800.0 - 20.0 * i as f64, 2.9 - 0.1 * i as f64, *l)).collect();
        let bump = Gathering::rgb_bump(&isochrone(&branch, &[])).unwrap();
        // From point 1 to point 4.
        assert!((bump.logg - 2.65).abs() < 1e-9 && (bump.logg_half_width - 0.15).abs() < 1e-9, "{bump:?}");
        assert!((bump.teff - 4750.0).abs() < 1e-9 && (bump.teff_half_width - 30.0).abs() < 1e-9, "{bump:?}");
    }

    #[test]
    fn the_clump_is_where_the_mass_is_not_where_the_points_are() {
        // Ten points of the flash share next to no mass; 21 points of the clump, 4700 to 4800 K, share nearly all.
        let mut clump: Vec<_> = (0..10).map(|i| (1.2 + 1e-9 * f64::from(i), 4000.0, 1.0)).collect();
        clump.extend((0..21).map(|i| (1.21 + 1e-3 * f64::from(i), 4700.0 + 5.0 * f64::from(i), 2.4)));
        let found = Gathering::red_clump(&isochrone(&[], &clump)).unwrap();
        // The gap in mass before the first clump point is shared by the two that border it.
        assert!((found.logg - 2.4).abs() < 1e-9, "{found:?}");
        assert!((4710.0..4750.0).contains(&found.teff), "{found:?}");
        assert_eq!(Gathering::red_clump(&isochrone(&BRANCH, &[])), None);
        // One star only has no interval of mass.
        assert_eq!(Gathering::red_clump(&isochrone(&[], &[(1.2, 4700.0, 2.4)])), None);
    }

    #[test]
    fn quantiles_of_weighted_values_are_those_of_repeated_ones() {
        let weighted = [(3.0, 1.0), (1.0, 1.0), (2.0, 2.0), (9.0, 0.0)];
        assert_eq!(weighted_quantile(&weighted, 0.5), Some(2.0));
        assert_eq!((weighted_quantile(&weighted, 0.0), weighted_quantile(&weighted, 1.0)), (Some(1.0), Some(3.0)));
        // Middles of the weights at 0.5, 2 and 3.5.
        assert!((weighted_quantile(&weighted, 0.25).unwrap() - (1.0 + 0.5 / 1.5)).abs() < 1e-12);
        assert_eq!(weighted_quantile(&[], 0.5), None);
    }

    #[test]
    fn clump_and_bump_of_the_shipped_set_lie_where_giants_gather() {
        for one in Isochrone::shipped().unwrap().iter().filter(|one| one.age_gyr > 2.0) {
            let (clump, bump) = (Gathering::red_clump(one).unwrap(), Gathering::rgb_bump(one).unwrap());
            // At the same age, fainter and hotter for the clump of the metal-poor.
            assert!((2.2..2.6).contains(&clump.logg) && clump.logg_half_width < 0.15, "{}: {clump:?}", one.name);
            assert!((2.0..2.7).contains(&bump.logg) && bump.logg_half_width < 0.05, "{}: {bump:?}", one.name);
            assert!(clump.teff > bump.teff, "{}: {clump:?} {bump:?}", one.name);
        }
    }
}
