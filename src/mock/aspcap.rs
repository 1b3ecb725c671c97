//! The catalogue's side of a star: labels with the errors of the survey's own pipeline, errors of those errors, flags.

use super::giants::N_LABELS;
use super::pathology::Pathology;
use super::plan::{FE_H, LOGG, Star, TEFF};
use super::random::Random;

/// Standard deviations of the catalogue's Teff [K], log g, [Fe/H], [Mg/Fe] and [Si/Fe] [dex] at S/N 100 and 4600 K.
const ERRORS: [f64; N_LABELS] = [16.0, 0.04, 0.012, 0.015, 0.018];
/// The same of all other abundances.
const OTHER_ERROR: f64 = 0.03;
/// What the calibration added to a raw abundance [dex].
const CALIBRATION: f64 = 0.02;

/// Elements in the order of the catalogue's columns, with the emulator's input for each; iron is its own third label.
pub(super) const ELEMENTS: [(&str, &str); 17] = [
    ("C", "c_fe"),
    ("N", "n_fe"),
    ("O", "o_fe"),
    ("NA", "na_fe"),
    ("MG", "mg_fe"),
    ("AL", "al_fe"),
    ("SI", "si_fe"),
    ("S", "s_fe"),
    ("K", "k_fe"),
    ("CA", "ca_fe"),
    ("TI", "ti_fe"),
    ("V", "v_fe"),
    ("CR", "cr_fe"),
    ("MN", "mn_fe"),
    ("FE", "fe_h"),
    ("CO", "co_fe"),
    ("NI", "ni_fe"),
];

/// APOGEE_ASPCAPFLAG bits that occur here, with their names.
pub(super) const ASPCAPFLAGS: [(u8, &str); 5] =
    [(11, "SN_WARN"), (16, "TEFF_BAD"), (17, "LOGG_BAD"), (23, "STAR_BAD"), (27, "SN_BAD")];
/// The bit of those that condemns a star.
pub(super) const STAR_BAD: i64 = 1 << 23;
/// APOGEE_STARFLAG bits that occur here, with their names.
pub(super) const STARFLAGS: [(u8, &str); 5] =
    [(0, "BAD_PIXELS"), (2, "BRIGHT_NEIGHBOR"), (4, "LOW_SNR"), (9, "PERSIST_HIGH"), (21, "MULTIPLE_SUSPECT")];
/// Bits of the flag of an element: at the grid's edge, which is bad; red clump; red giant branch.
pub(super) const GRIDEDGE_BAD: i32 = 1;
pub(super) const SPEC_RC: i32 = 1 << 24;
const SPEC_RGB: i32 = 1 << 25;

/// A number and its error; NaN where the catalogue has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub value: f64,
    pub error: f64,
}

/// An abundance with its raw value and flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abundance {
    pub calibrated: Measured,
    /// Before calibration; there even where the calibrated value is not.
    pub raw: f64,
    pub flag: i32,
}

/// What the catalogue says about a star.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub teff: Measured,
    pub logg: Measured,
    pub m_h: Measured,
    pub alpha_m: Measured,
    /// In the order of [`ELEMENTS`]; [X/Fe], [Fe/H] for iron.
    pub elements: Vec<Abundance>,
    pub aspcapflag: i64,
}

/// Names of the bits set, as the catalogue lists them.
pub(super) fn names(bits: i64, known: &[(u8, &str)]) -> String {
    let set: Vec<&str> = known.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

/// By how much errors exceed those at S/N 100: below, noise rules; above, what spectra of any S/N get wrong.
fn growth(snr: f64) -> f64 {
    (0.4 + 0.6 * (100.0 / snr.max(20.0)).powi(2)).sqrt()
}

/// Draws the entry of a star whose coadd came out at this S/N.
pub(super) fn entry(star: &Star, input_names: &[String], snr: f64, random: &mut Random) -> Entry {
    let growth = growth(snr);
    // Cool and warm giants are measured worse.
    let temperature = (star.catalogued[TEFF] - 4600.0) / 700.0;
    let sigma: [f64; N_LABELS] = std::array::from_fn(|k| {
        ERRORS[k] * growth * if k == TEFF { 1.0 + 0.35 * (temperature * temperature).min(3.0) } else { 1.0 }
    });
    let labels = catalogue_labels(star, &sigma, random);
    let quoted = |sigma: f64, random: &mut Random| 0.9 * sigma * random.lognormal(0.15);
    let mut aspcapflag = 0;
    if snr < 70.0 {
        aspcapflag |= 1 << 11;
    }
    if snr < 50.0 {
        aspcapflag |= 1 << 27;
    }
    // Near the clump in log g, a star may be of it.
    let branch = if (labels[LOGG] - 2.5).abs() < 0.1 && labels[TEFF] > 4500.0 { SPEC_RC } else { SPEC_RGB };
    let mut elements: Vec<Abundance> = ELEMENTS
        .iter()
        .map(|(_, input)| {
            let position = input_names.iter().position(|name| name == input).unwrap_or(FE_H);
            let (value, sigma) = match labels.get(position) {
                Some(label) => (*label, sigma[position]),
                None => (star.inputs[position] + OTHER_ERROR * growth * random.normal(), OTHER_ERROR * growth),
            };
            let raw = value - CALIBRATION;
            Abundance { calibrated: Measured { value, error: quoted(sigma, random) }, raw, flag: branch }
        })
        .collect();
    let mut teff = Measured { value: labels[TEFF], error: quoted(sigma[TEFF], random) };
    let mut logg = Measured { value: labels[LOGG], error: quoted(sigma[LOGG], random) };
    let missing = Measured { value: f64::NAN, error: f64::NAN };
    let element = |name: &str| ELEMENTS.iter().position(|(known, _)| *known == name).unwrap_or(0);
    if star.pathology == Pathology::MissingLabel {
        match random.below(4) {
            // A bad parameter takes Teff and log g with it.
            0 => {
                aspcapflag |= 1 << 16 | 1 << 17 | STAR_BAD;
                (teff, logg) = (missing, missing);
            }
            // Without iron there is no [X/Fe].
            1 => {
                elements.iter_mut().for_each(|element| element.calibrated = missing);
                elements[element("FE")].flag |= GRIDEDGE_BAD;
            }
            2 => lose(&mut elements[element("MG")]),
            _ => lose(&mut elements[element("SI")]),
        }
    }
    let alpha: f64 =
        ["O", "MG", "SI", "S", "CA", "TI"].iter().map(|name| elements[element(name)].raw + CALIBRATION).sum();
    let others = OTHER_ERROR * growth / 3.0;
    Entry {
        teff,
        logg,
        m_h: Measured { value: labels[FE_H] + others * random.normal(), error: quoted(others, random) },
        alpha_m: Measured { value: alpha / 6.0 + others * random.normal(), error: quoted(others, random) },
        elements,
        aspcapflag,
    }
}

fn lose(abundance: &mut Abundance) {
    abundance.calibrated = Measured { value: f64::NAN, error: f64::NAN };
    abundance.flag |= GRIDEDGE_BAD;
}

/// Labels with errors, on the side of the cuts where the star belongs.
fn catalogue_labels(star: &Star, sigma: &[f64; N_LABELS], random: &mut Random) -> [f64; N_LABELS] {
    // Halves of the last printed digits: the catalogue is single precision.
    let belongs = |labels: &[f64; N_LABELS]| match star.pathology {
        Pathology::Dwarf => labels[LOGG] > 4.01,
        Pathology::MetalPoor => labels[FE_H] < -1.001,
        _ => labels[FE_H] > -0.999 && labels[LOGG] < 3.99 && labels[TEFF] < 5699.0,
    };
    loop {
        let labels = std::array::from_fn(|k| star.catalogued[k] + sigma[k] * random.normal());
        if belongs(&labels) {
            return labels;
        }
    }
}
