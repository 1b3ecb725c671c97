//! The survey before a photon is counted: which stars, where, how bright, observed when, and what is wrong with them.

use std::collections::HashSet;

use super::detector::N_FIBRES;
use super::giants::{Giants, N_LABELS};
use super::pathology::{self, Pathology};
use super::random::Random;
use super::sky::{FIELDS, Field, apogee_id, barycentric_kms, position};
use super::visit::VisitPlan;
use super::{MockSettings, calendar};

/// Positions of the emulator's first three inputs, and of the catalogue's first three labels.
pub(super) const TEFF: usize = 0;
pub(super) const LOGG: usize = 1;
pub(super) const FE_H: usize = 2;
/// Visits to a star, from one up, by frequency.
const VISITS: [f64; 6] = [0.25, 0.25, 0.30, 0.10, 0.06, 0.04];
/// S/N of stars that pass the cuts, and of those exposed too short, with room for what noise does to it.
const SNR: (f64, f64) = (51.5, 500.0);
const LOW_SNR: (f64, f64) = (30.0, 47.5);
/// Streams of random numbers: the survey's own, then two for each star; and far beyond them one more for each star.
const SURVEY_STREAM: u64 = 0;
const LATER_LABELS_STREAM: u64 = 1 << 48;

/// A star and all that will be done to it.
#[derive(Debug, Clone)]
pub(super) struct Star {
    /// Number in the order of drawing.
    pub index: usize,
    /// APOGEE_ID.
    pub id: String,
    /// Where it is observed.
    pub field: &'static Field,
    /// Position [degrees].
    pub ra: f64,
    /// Position [degrees].
    pub dec: f64,
    /// Inputs of its spectrum.
    pub inputs: Vec<f64>,
    /// What the catalogue would say without its errors: mostly the first inputs.
    pub catalogued: [f64; N_LABELS],
    /// The other star of a binary.
    pub companion: Option<Companion>,
    /// What is wrong with it.
    pub pathology: Pathology,
    /// S/N of the coadd asked for.
    pub snr: f64,
    /// H magnitude.
    pub h_mag: f64,
    /// Extinction in K [mag].
    pub extinction_k: f64,
    /// True barycentric velocity [km/s].
    pub velocity_kms: f64,
    /// Its visits, in time.
    pub visits: Vec<VisitPlan>,
    /// True noise over quoted error.
    pub error_scale: f64,
}

/// The second star in a spectrum.
#[derive(Debug, Clone)]
pub(super) struct Companion {
    /// Inputs of its spectrum.
    pub inputs: Vec<f64>,
    /// Its light over that of the first star.
    pub flux_ratio: f64,
    /// Its velocity relative to the first star [km/s].
    pub velocity_kms: f64,
}

impl Star {
    /// The numbers that decide what happens to the star at the telescope.
    pub(super) fn observation(&self, seed: u64) -> Random {
        Random::new(seed, 2 * self.index as u64 + 2)
    }

    /// Those that decide of labels which came later to the catalogue than the first surveys: all others stay what they were.
    pub(super) fn later_labels(&self, seed: u64) -> Random {
        Random::new(seed, LATER_LABELS_STREAM + self.index as u64)
    }

    fn drawing(index: usize, seed: u64) -> Random {
        Random::new(seed, 2 * index as u64 + 1)
    }
}

/// A star of the lab whose place, brightness and visits are known.
struct Named {
    id: &'static str,
    field: usize,
    position: (f64, f64),
    labels: [f64; N_LABELS],
    snr: f64,
    n_visits: usize,
    velocity_kms: f64,
}

/// The two stars that the lab's handout names. Field, visits, S/N and velocity of the first are the real ones; the rest,
/// labels above all, is plausible and no more.
const NAMED: [Named; 2] = [
    Named {
        id: "2M21235315+1244123",
        field: 0,
        position: (320.971463, 12.736753),
        labels: [4780.0, 2.55, -0.35, 0.10, 0.08],
        snr: 212.0,
        n_visits: 2,
        velocity_kms: -143.26,
    },
    Named {
        id: "2M03533659+2512012",
        field: 2,
        position: (58.402459, 25.200335),
        labels: [4690.0, 2.48, -0.12, 0.05, 0.04],
        snr: 180.0,
        n_visits: 1,
        velocity_kms: 21.0,
    },
];

/// Draws the survey: `settings.stars` stars that the lab's cuts leave, and those they remove.
pub(super) fn survey(settings: &MockSettings, giants: &Giants) -> Vec<Star> {
    let mut random = Random::new(settings.seed, SURVEY_STREAM);
    let n_named = NAMED.len().min(settings.stars);
    let mut kinds = vec![Pathology::None; settings.stars];
    for kind in pathology::passing(settings.stars) {
        // There are always more sound stars than sick ones, beyond the named ones too.
        loop {
            let star = n_named + random.below((settings.stars - n_named).max(1));
            if star >= settings.stars {
                break;
            }
            if kinds[star] == Pathology::None {
                kinds[star] = kind;
                break;
            }
        }
    }
    kinds.extend(pathology::removed(settings.stars));

    let mut ids: HashSet<String> = NAMED.iter().map(|named| named.id.to_string()).collect();
    let mut stars: Vec<Star> = Vec::with_capacity(kinds.len());
    for (index, kind) in kinds.into_iter().enumerate() {
        let star = match NAMED.get(index) {
            Some(named) if index < n_named => named_star(named, index, settings.seed, giants),
            _ if kind == Pathology::Duplicate => second_spectrum(index, settings, &stars, &mut random),
            _ => draw(index, kind, settings.seed, giants, &mut ids),
        };
        stars.push(star);
    }
    for index in 0..settings.stars {
        if stars[index].pathology == Pathology::WrongLabel {
            stars[index].catalogued = labels_of_another(index, &stars[..settings.stars], &mut random);
        }
    }
    stars
}

fn draw(index: usize, kind: Pathology, seed: u64, giants: &Giants, ids: &mut HashSet<String>) -> Star {
    let mut random = Star::drawing(index, seed);
    let field = &FIELDS[random.weighted(&FIELDS.each_ref().map(|field| field.weight))];
    let (id, (ra, dec)) = loop {
        let place = position(field, &mut random);
        let id = apogee_id(place.0, place.1);
        if ids.insert(id.clone()) {
            break (id, place);
        }
    };
    let mut inputs = giants.draw(field.metal_poor, &mut random);
    let mut labels: [f64; N_LABELS] = std::array::from_fn(|k| inputs[k]);
    match kind {
        Pathology::Dwarf => {
            (labels[TEFF], labels[LOGG]) = (giants.range(TEFF).1, giants.range(LOGG).1);
            inputs = giants.complete(labels, &mut random);
            (labels[TEFF], labels[LOGG]) = (random.uniform(4900.0, 6200.0), random.uniform(4.15, 4.7));
        }
        Pathology::MetalPoor => {
            labels[FE_H] = giants.range(FE_H).0;
            inputs = giants.complete(labels, &mut random);
            labels[FE_H] = random.uniform(-2.3, -1.1);
        }
        _ => {}
    }
    let snr = match kind {
        Pathology::LowSnr => random.uniform(LOW_SNR.0, LOW_SNR.1),
        _ => loop {
            let snr = 125.0 * random.lognormal(0.55);
            if (SNR.0..SNR.1).contains(&snr) {
                break snr;
            }
        },
    };
    let companion = (kind == Pathology::Binary).then(|| companion(&inputs, field, giants, &mut random));
    let n_visits = 1 + random.weighted(&VISITS);
    let velocity_kms = loop {
        let velocity = field.velocity_kms.0 + field.velocity_kms.1 * random.normal();
        if velocity.abs() < 350.0 {
            break velocity;
        }
    };
    Star {
        index,
        id,
        field,
        ra,
        dec,
        inputs,
        catalogued: labels,
        companion,
        pathology: kind,
        snr,
        h_mag: h_mag(snr, n_visits, &mut random),
        extinction_k: field.extinction_k * random.lognormal(0.4),
        velocity_kms,
        visits: visits(n_visits, field, (ra, dec), snr, &mut random),
        error_scale: random.lognormal(0.1),
    }
}

fn named_star(named: &Named, index: usize, seed: u64, giants: &Giants) -> Star {
    let mut random = Star::drawing(index, seed);
    let field = &FIELDS[named.field];
    let inputs = giants.complete(named.labels, &mut random);
    Star {
        index,
        id: named.id.to_string(),
        field,
        ra: named.position.0,
        dec: named.position.1,
        catalogued: std::array::from_fn(|k| inputs[k]),
        inputs,
        companion: None,
        pathology: Pathology::None,
        snr: named.snr,
        h_mag: h_mag(named.snr, named.n_visits, &mut random),
        extinction_k: field.extinction_k,
        velocity_kms: named.velocity_kms,
        visits: visits(named.n_visits, field, named.position, named.snr, &mut random),
        error_scale: random.lognormal(0.1),
    }
}

/// A sound star once more, seen in another field at lower S/N.
fn second_spectrum(index: usize, settings: &MockSettings, stars: &[Star], random: &mut Random) -> Star {
    // A star bright enough that its second spectrum is lost to no other cut; the named ones, if there is none.
    let eligible = |star: &&Star| star.pathology == Pathology::None && star.snr > 75.0;
    let taken: HashSet<&str> =
        stars.iter().filter(|star| star.pathology == Pathology::Duplicate).map(|star| star.id.as_str()).collect();
    let candidates: Vec<&Star> =
        stars.iter().filter(eligible).filter(|star| !taken.contains(star.id.as_str())).collect();
    let first = candidates.get(random.below(candidates.len().max(1))).copied().unwrap_or(&stars[0]);
    let mut random = Star::drawing(index, settings.seed);
    let others: Vec<&'static Field> = FIELDS.iter().filter(|field| field.name != first.field.name).collect();
    let field = others[random.below(others.len())];
    let snr = first.snr * random.uniform(0.75, 0.9);
    let n_visits = 1 + random.weighted(&VISITS);
    Star {
        index,
        field,
        pathology: Pathology::Duplicate,
        snr,
        visits: visits(n_visits, field, (first.ra, first.dec), snr, &mut random),
        error_scale: random.lognormal(0.1),
        ..first.clone()
    }
}

/// Labels of the star that differs most among some.
fn labels_of_another(index: usize, stars: &[Star], random: &mut Random) -> [f64; N_LABELS] {
    let own = &stars[index].inputs;
    let difference = |star: &Star| {
        (star.inputs[TEFF] - own[TEFF]).abs() / 300.0
            + (star.inputs[LOGG] - own[LOGG]).abs()
            + (star.inputs[FE_H] - own[FE_H]).abs() / 0.3
    };
    let candidates: Vec<&Star> = (0..8).map(|_| &stars[random.below(stars.len())]).collect();
    let other = candidates.into_iter().max_by(|a, b| difference(a).total_cmp(&difference(b)));
    std::array::from_fn(|k| other.map_or(own[k], |other| other.inputs[k]))
}

/// Born from the same cloud, a star of other temperature and gravity.
fn companion(inputs: &[f64], field: &Field, giants: &Giants, random: &mut Random) -> Companion {
    let other = giants.draw(field.metal_poor, random);
    let mut labels: [f64; N_LABELS] = std::array::from_fn(|k| inputs[k]);
    (labels[TEFF], labels[LOGG]) = (other[TEFF], other[LOGG]);
    let velocity = random.uniform(20.0, 90.0);
    Companion {
        inputs: giants.complete(labels, random),
        flux_ratio: random.uniform(0.25, 1.0),
        velocity_kms: if random.chance(0.5) { velocity } else { -velocity },
    }
}

/// The magnitude that gives this S/N in so many visits, more or less.
fn h_mag(snr: f64, n_visits: usize, random: &mut Random) -> f64 {
    let exposure = 1.25 * (n_visits as f64 / 2.0).log10();
    (11.9 - 4.0 * (snr / 100.0).log10() + exposure + 0.25 * random.normal()).clamp(7.0, 13.8)
}

fn visits(n: usize, field: &Field, place: (f64, f64), snr: f64, random: &mut Random) -> Vec<VisitPlan> {
    let (mut plate, mut fibre) = (0, 0);
    calendar::nights(n, field.centre.0, random)
        .into_iter()
        .map(|jd| {
            // Half of the visits repeat the last plate, and with it the fibre; a new one plugs the star not far away.
            if fibre == 0 {
                (plate, fibre) = (field.plate + random.below(6) as i64, 1 + random.below(N_FIBRES));
            } else if random.chance(0.5) {
                let near = fibre as f64 + 12.0 * random.normal();
                (plate, fibre) =
                    (field.plate + random.below(6) as i64, near.clamp(1.0, N_FIBRES as f64).round() as usize);
            }
            let snr_of_visit = snr / (n as f64).sqrt();
            VisitPlan {
                jd,
                plate,
                fibre,
                barycentric_kms: barycentric_kms(jd, place.0, place.1),
                residual_kms: 0.08 * (1.0 + 25.0 / snr_of_visit) * random.normal(),
                velocity_error_kms: 0.02 * (1.0 + 50.0 / snr_of_visit) * random.lognormal(0.2),
                weight: random.lognormal(0.35),
                airglow: random.lognormal(0.35),
                air_mass: random.uniform(0.85, 1.5),
                flag_cut: random.lognormal(0.35),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::emulator::Emulator;

    fn stars(stars: usize, seed: u64) -> Vec<Star> {
        let giants = Giants::new(&Emulator::shipped().unwrap()).unwrap();
        survey(&MockSettings { stars, seed, ..MockSettings::default() }, &giants)
    }

    #[test]
    fn ids_are_unique_but_for_duplicates_in_other_fields() {
        let stars = stars(600, 4);
        let mut seen = HashSet::new();
        for star in &stars {
            assert_eq!(!seen.insert(star.id.as_str()), star.pathology == Pathology::Duplicate, "{}", star.id);
            assert!(
                star.pathology == Pathology::Duplicate
                    || NAMED.iter().any(|named| named.id == star.id)
                    || star.id == apogee_id(star.ra, star.dec)
            );
        }
        for second in stars.iter().filter(|star| star.pathology == Pathology::Duplicate) {
            let first = stars.iter().find(|star| star.id == second.id).unwrap();
            assert!(first.field.name != second.field.name && first.snr > 1.05 * second.snr && second.snr > 50.0);
            assert_eq!(first.inputs, second.inputs);
        }
    }

    #[test]
    fn the_named_stars_have_the_names_of_their_places() {
        for named in &NAMED {
            assert_eq!(apogee_id(named.position.0, named.position.1), named.id);
        }
        let ids = |n| stars(n, 1).into_iter().take(2).map(|star| star.id).collect::<Vec<_>>();
        assert_eq!(ids(40), [NAMED[0].id, NAMED[1].id]);
        assert_eq!(ids(1), [NAMED[0].id]);
    }

    #[test]
    fn wrong_labels_are_far_from_the_truth_and_all_others_begin_there() {
        for star in stars(400, 2).iter().filter(|star| star.index < 400) {
            let off = (star.catalogued[TEFF] - star.inputs[TEFF]).abs() / 300.0
                + (star.catalogued[LOGG] - star.inputs[LOGG]).abs()
                + (star.catalogued[FE_H] - star.inputs[FE_H]).abs() / 0.3;
            assert_eq!(off > 0.5, star.pathology == Pathology::WrongLabel, "{}", star.id);
        }
    }
}
