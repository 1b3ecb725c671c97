//! Isochrones: stars of one age and composition at every mass, for the Kiel diagram and for sequences along the giant branch.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::read_text;
use super::isochrone_file;
use crate::error::Result;

/// The isochrones that come with the program; source in `assets/README.md`.
const SHIPPED: &str = include_str!("../../assets/isochrones.csv");
/// Slope of the initial mass function above 0.5 solar masses, where every star that has left the main sequence was born: number
/// per mass goes as the mass to this power. Kroupa 2001, MNRAS 322, 231, Eq. 2.
const MASS_FUNCTION_SLOPE: f64 = -2.3;
/// Ages closer than this are the same, as a fraction: a log age of 9.78 is 6 Gyr.
const SAME_AGE: f64 = 0.01;
/// Log g of the giant branch's foot: subgiants have more, bumps less (those of the shipped set under 2.7).
const FOOT_LOGG: f64 = 3.0;
/// How much denser with stars than the branch below it a stretch must be to count as a bump; elsewhere the shipped set reaches 1.3.
const BUMP_EXCESS: f64 = 1.5;

/// A stretch of a star's life, as MIST numbers them (after FSPS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Contracting towards the main sequence (-1).
    PreMainSequence,
    /// Hydrogen burns in the core (0).
    MainSequence,
    /// Hydrogen burns in a shell: subgiants and the first giant branch, up to its tip (2).
    GiantBranch,
    /// Helium burns in the core: the red clump (3).
    CoreHelium,
    /// Helium burns in a shell, before the thermal pulses (4).
    EarlyAsymptoticBranch,
    /// Thermal pulses (5).
    PulsingAsymptoticBranch,
    /// On the way to the white dwarfs (6).
    PostAsymptoticBranch,
    /// Wolf-Rayet star (9).
    WolfRayet,
}

impl Phase {
    /// The phase of a number in MIST's files.
    pub fn from_number(number: f64) -> Option<Self> {
        let known = [
            (-1.0, Self::PreMainSequence),
            (0.0, Self::MainSequence),
            (2.0, Self::GiantBranch),
            (3.0, Self::CoreHelium),
            (4.0, Self::EarlyAsymptoticBranch),
            (5.0, Self::PulsingAsymptoticBranch),
            (6.0, Self::PostAsymptoticBranch),
            (9.0, Self::WolfRayet),
        ];
        known.into_iter().find(|(of, _)| *of == number).map(|(_, phase)| phase)
    }
}

/// A star on an isochrone.
#[derive(Debug, Clone, PartialEq)]
pub struct IsochronePoint {
    /// Equivalent evolutionary point: the same number means the same moment of a life, whatever the mass (Dotter 2016).
    pub eep: u32,
    /// Mass at birth [solar masses].
    pub initial_mass: f64,
    /// Effective temperature in kelvin.
    pub teff: f64,
    /// Surface gravity [dex, cgs].
    pub logg: f64,
    /// log10 of the luminosity [solar luminosities].
    pub log_l: f64,
    /// What the star lives on.
    pub phase: Phase,
}

/// Stars of one age and one composition, from the least to the most evolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Isochrone {
    /// Where it comes from, its age and its metallicity, as a legend would say it.
    pub name: String,
    /// Age in Gyr.
    pub age_gyr: f64,
    /// Metallicity at birth in dex.
    pub fe_h: f64,
    /// In ascending `eep`.
    pub points: Vec<IsochronePoint>,
}

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

impl Isochrone {
    /// Reads every isochrone of a file: MIST's `.iso` and `.iso.cmd`, or a CSV table with the columns of `assets/isochrones.csv`.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`]; [`crate::error::Error::MissingColumn`]; [`crate::error::Error::Format`] with the line.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        isochrone_file::parse(path, &read_text(path)?)
    }

    /// The MIST isochrones that come with the program: 6 Gyr from [Fe/H] -2 to 0.5, and 1 to 13 Gyr at -1 and 0.
    ///
    /// # Errors
    /// As [`Isochrone::read`], if the table was built in damaged.
    pub fn shipped() -> Result<Vec<Self>> {
        isochrone_file::parse_table(Path::new("assets/isochrones.csv"), "MIST 2.5", SHIPPED)
    }

    /// Of a set, the isochrone of an age at any metallicity in between: linear in [Fe/H] at the same `eep`.
    ///
    /// `None` outside the set's metallicities at that age. What moves in `eep` with [Fe/H], as the bump does, is smeared.
    pub fn interpolate_fe_h(set: &[Self], fe_h: f64, age_gyr: f64) -> Option<Self> {
        let of_age = || set.iter().filter(|one| (one.age_gyr / age_gyr - 1.0).abs() < SAME_AGE);
        let below = of_age().filter(|one| one.fe_h <= fe_h).max_by(|a, b| a.fe_h.total_cmp(&b.fe_h))?;
        let above = of_age().filter(|one| one.fe_h >= fe_h).min_by(|a, b| a.fe_h.total_cmp(&b.fe_h))?;
        if below.fe_h == above.fe_h {
            return Some(below.clone());
        }
        let share = (fe_h - below.fe_h) / (above.fe_h - below.fe_h);
        let between = |a: f64, b: f64| a + share * (b - a);
        let mut others = above.points.iter().peekable();
        let mut points = Vec::new();
        for low in &below.points {
            while others.next_if(|high| high.eep < low.eep).is_some() {}
            let Some(high) = others.peek().filter(|high| high.eep == low.eep) else { continue };
            points.push(IsochronePoint {
                eep: low.eep,
                initial_mass: between(low.initial_mass, high.initial_mass),
                teff: between(low.teff, high.teff),
                logg: between(low.logg, high.logg),
                log_l: between(low.log_l, high.log_l),
                phase: low.phase,
            });
        }
        let name = format!("between {} and {}: [Fe/H] {fe_h:.2}", below.name, above.name);
        (!points.is_empty()).then_some(Self { name, age_gyr: below.age_gyr, fe_h, points })
    }

    /// The first giant branch with its subgiants, up to the tip: the brightest star before helium burns in the core.
    pub fn giant_branch(&self) -> &[IsochronePoint] {
        let is_on = |point: &IsochronePoint| point.phase == Phase::GiantBranch;
        let start = self.points.iter().position(is_on).unwrap_or(self.points.len());
        let branch = &self.points[start..];
        let branch = &branch[..branch.iter().position(|point| !is_on(point)).unwrap_or(branch.len())];
        let tip = (0..branch.len()).max_by(|a, b| branch[*a].log_l.total_cmp(&branch[*b].log_l));
        tip.map_or(branch, |tip| &branch[..=tip])
    }

    /// Effective temperature in kelvin of the first giant branch at a surface gravity in dex, linear between points.
    ///
    /// Where the bump makes the branch pass a gravity three times, the last passage counts. `None` below the branch's foot and
    /// above its tip.
    pub fn teff_at_logg(&self, logg: f64) -> Option<f64> {
        let passage = |pair: &[IsochronePoint]| {
            let (a, b) = (&pair[0], &pair[1]);
            let share = if a.logg == b.logg { 0.0 } else { (logg - a.logg) / (b.logg - a.logg) };
            let between = logg >= a.logg.min(b.logg) && logg <= a.logg.max(b.logg);
            between.then_some(a.teff + share * (b.teff - a.teff))
        };
        self.giant_branch().windows(2).rev().find_map(passage)
    }

    /// The red clump: medians over the stars that burn helium in the core, and half their central 68 %.
    ///
    /// The number of stars at a point is the interval of initial mass it stands for times the initial mass function (Kroupa 2001).
    /// `None` where the isochrone has no such stars.
    pub fn red_clump(&self) -> Option<Gathering> {
        let clump: Vec<&IsochronePoint> = self.points.iter().filter(|point| point.phase == Phase::CoreHelium).collect();
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
        Some(Gathering { teff, logg, teff_half_width, logg_half_width })
    }

    /// The bump of the first giant branch, where the burning shell meets the deepest layers that convection had mixed: the middle
    /// of the stretch on which stars grow fainter and hotter for a while, and half of it.
    ///
    /// Where none do (metal-poor stars, isochrones interpolated between others), the stretch on which they climb most slowly: where
    /// the initial mass per luminosity rises instead of falling. `None` without either.
    pub fn rgb_bump(&self) -> Option<Gathering> {
        let branch = self.giant_branch();
        let (first, last) = way_back(branch).or_else(|| slow_climb(branch))?;
        let (first, last) = (&branch[first], &branch[last]);
        Some(Gathering {
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

    /// A branch of the given (teff, logg, log_l), then `clump` of (initial mass, teff, logg).
    fn isochrone(branch: &[(f64, f64, f64)], clump: &[(f64, f64, f64)]) -> Isochrone {
        let point = |eep: usize, initial_mass, teff, logg, log_l, phase| IsochronePoint {
            eep: eep as u32,
            initial_mass,
            teff,
            logg,
            log_l,
            phase,
        };
        let mut points: Vec<IsochronePoint> = branch
            .iter()
            .enumerate()
            .map(|(i, (t, g, l))| point(454 + i, 1.1 + 1e-3 * i as f64, *t, *g, *l, Phase::GiantBranch))
            .collect();
        points.extend(
            clump.iter().enumerate().map(|(i, (mass, t, g))| point(605 + i, *mass, *t, *g, 1.7, Phase::CoreHelium)),
        );
        Isochrone { name: "test".into(), age_gyr: 6.0, fe_h: 0.0, points }
    }

    const BRANCH: [(f64, f64, f64); 7] = [
        (5000.0, 3.5, 0.8),
        (4800.0, 2.5, 1.6),
        (4820.0, 2.55, 1.55),
        (4840.0, 2.6, 1.5),
        (4400.0, 2.0, 2.0),
        (3600.0, 0.5, 3.3),
        (3700.0, 0.7, 3.1),
    ];

    #[test]
    fn the_giant_branch_ends_at_its_tip_and_gives_the_temperature_of_a_gravity() {
        let one = isochrone(&BRANCH, &[(1.2, 4700.0, 2.4)]);
        assert_eq!(one.giant_branch().len(), 6);
        let teff = |logg| one.teff_at_logg(logg);
        assert!((teff(3.0).unwrap() - 4900.0).abs() < 1e-9 && (teff(1.25).unwrap() - 4000.0).abs() < 1e-9);
        // Passed three times: the last time between (4840, 2.6) and (4400, 2.0).
        assert!((teff(2.55).unwrap() - (4840.0 - 440.0 * 0.05 / 0.6)).abs() < 1e-9);
        assert_eq!((teff(3.5), teff(0.5)), (Some(5000.0), Some(3600.0)));
        assert_eq!((teff(3.6), teff(0.4), teff(f64::NAN)), (None, None, None));
        assert_eq!(isochrone(&[], &[]).teff_at_logg(2.0), None);
    }

    #[test]
    fn the_bump_is_where_the_branch_turns_back_and_absent_where_it_does_not() {
        let bump = isochrone(&BRANCH, &[]).rgb_bump().unwrap();
        assert!((bump.teff - 4820.0).abs() < 1e-9 && (bump.logg - 2.55).abs() < 1e-9);
        assert!((bump.teff_half_width - 20.0).abs() < 1e-9 && (bump.logg_half_width - 0.05).abs() < 1e-9);
        // A subgiant that grows fainter and cooler is none.
        let hook = [(6000.0, 3.6, 1.2), (5200.0, 3.5, 1.1), (4800.0, 2.5, 1.6), (3600.0, 0.5, 3.3)];
        assert_eq!(isochrone(&hook, &[]).rgb_bump(), None);
    }

    #[test]
    fn a_bump_without_turning_back_is_where_stars_climb_slowly() {
        // Equal intervals of mass: the density is one over the step in luminosity, 3, 3.3, 10, 5, 2.5, 2.
        let climb = [1.0, 1.3333, 1.6333, 1.7333, 1.9333, 2.3333, 2.8333];
        let branch: Vec<_> =
            climb.iter().enumerate().map(|(i, l)| (4800.0 - 20.0 * i as f64, 2.9 - 0.1 * i as f64, *l)).collect();
        let bump = isochrone(&branch, &[]).rgb_bump().unwrap();
        // From point 1 to point 4.
        assert!((bump.logg - 2.65).abs() < 1e-9 && (bump.logg_half_width - 0.15).abs() < 1e-9, "{bump:?}");
        assert!((bump.teff - 4750.0).abs() < 1e-9 && (bump.teff_half_width - 30.0).abs() < 1e-9, "{bump:?}");
    }

    #[test]
    fn the_clump_is_where_the_mass_is_not_where_the_points_are() {
        // Ten points of the flash share next to no mass; 21 points of the clump, 4700 to 4800 K, share nearly all.
        let mut clump: Vec<_> = (0..10).map(|i| (1.2 + 1e-9 * f64::from(i), 4000.0, 1.0)).collect();
        clump.extend((0..21).map(|i| (1.21 + 1e-3 * f64::from(i), 4700.0 + 5.0 * f64::from(i), 2.4)));
        let found = isochrone(&[], &clump).red_clump().unwrap();
        // The gap in mass before the first clump point is shared by the two that border it.
        assert!((found.logg - 2.4).abs() < 1e-9, "{found:?}");
        assert!((4710.0..4750.0).contains(&found.teff), "{found:?}");
        assert_eq!(isochrone(&BRANCH, &[]).red_clump(), None);
        // One star only has no interval of mass.
        assert_eq!(isochrone(&[], &[(1.2, 4700.0, 2.4)]).red_clump(), None);
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
    fn the_shipped_set_is_whole_and_interpolates_at_fixed_eep() {
        let set = Isochrone::shipped().unwrap();
        assert_eq!(set.len(), 17);
        assert!(set.iter().all(|one| one.points.windows(2).all(|pair| pair[0].eep < pair[1].eep)));
        let of = |age_gyr, fe_h| set.iter().find(|one| one.age_gyr == age_gyr && one.fe_h == fe_h).unwrap();
        assert_eq!(of(6.0, -0.25).name, "MIST 2.5, 6 Gyr, [Fe/H] -0.25");
        // Teff of the giant branch at log g 3.5, 3, 2, 1, as the data's notes give them from the full tables.
        for (fe_h, expected) in [(0.0, [4989.0, 4832.0, 4374.0, 3833.0]), (-1.0, [5468.0, 5197.0, 4774.0, 4250.0])] {
            for (logg, teff) in [3.5, 3.0, 2.0, 1.0].into_iter().zip(expected) {
                let found = of(6.0, fe_h).teff_at_logg(logg).unwrap();
                assert!((found - teff).abs() < 2.0, "[Fe/H] {fe_h}, log g {logg}: {found} not {teff}");
            }
        }
        let (low, high) = (of(6.0, -0.5), of(6.0, -0.25));
        let middle = Isochrone::interpolate_fe_h(&set, -0.375, 6.02).unwrap();
        let (a, m, b) = (low.giant_branch(), middle.giant_branch(), high.giant_branch());
        assert_eq!((a.len(), m.len()), (151, 151));
        assert!((m[90].teff - 0.5 * (a[90].teff + b[90].teff)).abs() < 1e-9);
        assert_eq!(Isochrone::interpolate_fe_h(&set, -0.25, 6.0).as_ref(), Some(high));
        assert_eq!(Isochrone::interpolate_fe_h(&set, 0.6, 6.0), None);
        assert_eq!(Isochrone::interpolate_fe_h(&set, 0.0, 7.0), None);
    }

    #[test]
    fn clump_and_bump_of_the_shipped_set_lie_where_giants_gather() {
        for one in Isochrone::shipped().unwrap().iter().filter(|one| one.age_gyr > 2.0) {
            let (clump, bump) = (one.red_clump().unwrap(), one.rgb_bump().unwrap());
            // At the same age, fainter and hotter for the clump of the metal-poor.
            assert!((2.2..2.6).contains(&clump.logg) && clump.logg_half_width < 0.15, "{}: {clump:?}", one.name);
            assert!((2.0..2.7).contains(&bump.logg) && bump.logg_half_width < 0.05, "{}: {bump:?}", one.name);
            assert!(clump.teff > bump.teff, "{}: {clump:?} {bump:?}", one.name);
        }
    }
}
