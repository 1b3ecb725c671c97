//! Isochrones: stars of one age and composition at every mass, for the Kiel diagram and for sequences along the giant branch.

/// Ages closer than this are the same, as a fraction: a log age of 9.78 is 6 Gyr.
const SAME_AGE: f64 = 0.01;

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

impl Isochrone {
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
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A branch of the given (teff, logg, log_l), then `clump` of (initial mass, teff, logg).
    pub fn isochrone(branch: &[(f64, f64, f64)], clump: &[(f64, f64, f64)]) -> Isochrone {
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

    /// A branch that turns back once, and ends at its tip.
    pub const BRANCH: [(f64, f64, f64); 7] = [
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
}
