//! The catalogue's side of a star: labels with the errors of the survey's own pipeline, errors of those errors, flags.

use super::giants::N_LABELS;
use super::pathology::Pathology;
use super::plan::{FE_H, LOGG, Star, TEFF};
use super::random::Random;

/// Standard deviations of the catalogue's Teff [K], log g, [Fe/H], [Mg/Fe] and [Si/Fe] [dex] at S/N 100 and 4600 K.
const ERRORS: [f64; N_LABELS] = [16.0, 0.04, 0.012, 0.015, 0.018];
/// What the calibration added to a raw abundance [dex].
const CALIBRATION: f64 = 0.02;
/// Standard deviation of the catalogue's microturbulence at S/N 100 and 4600 K [km/s]. DR17 quotes none.
const VMICRO_ERROR: f64 = 0.08;
/// An abundance whose error would be larger is an upper limit at best, which the pipeline does not give [dex].
const WORST_ERROR: f64 = 0.5;

/// An abundance of the catalogue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    /// Its column in DR17, before `_FE`; `TIII` is ionized titanium, `CI` carbon from its atomic lines.
    pub column: &'static str,
    /// The same in SDSS-V, before `_h`; none where its table has no such column.
    pub sdss_v: Option<&'static str>,
    /// The emulator's input; none for what model spectra do not know, and no star of the catalogue has.
    pub input: Option<&'static str>,
    /// Standard deviation at S/N 100, 4600 K and [Fe/H] = 0 [dex]; of the five labels see [`ERRORS`].
    error: f64,
    /// Share of such stars whose abundance the pipeline fails to find.
    missing: f64,
    /// Whether it came later than the first surveys: its random numbers are its own, so that those of others stay what they were.
    is_later: bool,
}

const fn element(column: &'static str, sdss_v: &'static str, input: &'static str, error: f64, missing: f64) -> Element {
    Element { column, sdss_v: Some(sdss_v), input: Some(input), error, missing, is_later: false }
}

const fn later(column: &'static str, sdss_v: &'static str, input: &'static str, error: f64, missing: f64) -> Element {
    Element { is_later: true, ..element(column, sdss_v, input, error, missing) }
}

const fn unknown(column: &'static str, sdss_v: Option<&'static str>) -> Element {
    Element { column, sdss_v, input: None, error: f64::NAN, missing: 1.0, is_later: true }
}

/// The catalogue's abundances in the order of DR17's columns; iron is its own third label.
///
/// Errors and shares are round numbers in the order of how well giants tell these elements in the H band, from C, O, Mg, Si, Ca, Mn
/// and Ni with many strong lines to Na, P, S, V, Co and Cu with a few weak ones: of the size that the catalogue quotes, not measured.
pub(super) const ELEMENTS: [Element; 23] = [
    element("C", "c", "c_fe", 0.025, 0.002),
    later("CI", "c_1", "c_fe", 0.035, 0.004),
    element("N", "n", "n_fe", 0.03, 0.003),
    element("O", "o", "o_fe", 0.025, 0.002),
    element("NA", "na", "na_fe", 0.08, 0.012),
    element("MG", "mg", "mg_fe", 0.015, 0.0),
    element("AL", "al", "al_fe", 0.03, 0.002),
    element("SI", "si", "si_fe", 0.018, 0.0),
    later("P", "p", "p_fe", 0.12, 0.05),
    element("S", "s", "s_fe", 0.06, 0.004),
    element("K", "k", "k_fe", 0.045, 0.003),
    element("CA", "ca", "ca_fe", 0.02, 0.002),
    element("TI", "ti", "ti_fe", 0.03, 0.002),
    later("TIII", "ti_2", "ti_fe", 0.10, 0.03),
    element("V", "v", "v_fe", 0.08, 0.010),
    element("CR", "cr", "cr_fe", 0.045, 0.004),
    element("MN", "mn", "mn_fe", 0.025, 0.002),
    element("FE", "fe", "fe_h", f64::NAN, 0.0),
    element("CO", "co", "co_fe", 0.06, 0.008),
    element("NI", "ni", "ni_fe", 0.018, 0.001),
    later("CU", "cu", "cu_fe", 0.12, 0.06),
    unknown("CE", Some("ce")),
    unknown("YB", None),
];

/// APOGEE_ASPCAPFLAG bits that occur here, with their names.
pub(super) const ASPCAPFLAGS: [(u8, &str); 5] =
    [(11, "SN_WARN"), (16, "TEFF_BAD"), (17, "LOGG_BAD"), (23, "STAR_BAD"), (27, "SN_BAD")];
/// The bit of those that condemns a star.
pub(super) const STAR_BAD: i64 = 1 << 23;
/// APOGEE_STARFLAG bits that occur here, with their names.
pub(super) const STARFLAGS: [(u8, &str); 5] =
    [(0, "BAD_PIXELS"), (2, "BRIGHT_NEIGHBOR"), (4, "LOW_SNR"), (9, "PERSIST_HIGH"), (21, "MULTIPLE_SUSPECT")];
/// Bits of the flag of an element: at the grid's edge, which is bad; bad for another reason; red clump; red giant branch.
pub(super) const GRIDEDGE_BAD: i32 = 1;
const OTHER_BAD: i32 = 1 << 2;
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
    /// Microturbulence [km/s].
    pub vmicro: Measured,
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

/// By how much weak lines are measured worse in warm and in metal-poor giants, whose lines are weaker still.
fn weakness(teff: f64, fe_h: f64) -> f64 {
    let warm = ((teff - 4600.0) / 500.0).max(0.0);
    let poor = (-fe_h).max(0.0);
    (1.0 + 0.5 * warm * warm) * (1.0 + poor)
}

/// Draws the entry of a star whose coadd came out at this S/N. What came later to the catalogue is drawn from `later`.
pub(super) fn entry(star: &Star, input_names: &[String], snr: f64, random: &mut Random, later: &mut Random) -> Entry {
    let growth = growth(snr);
    let weakness = weakness(star.catalogued[TEFF], star.catalogued[FE_H]);
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
    let missing = Measured { value: f64::NAN, error: f64::NAN };
    let position = |name: &str| input_names.iter().position(|known| known == name);
    let mut elements: Vec<Abundance> = ELEMENTS
        .iter()
        .map(|element| {
            let Some(position) = element.input.and_then(position) else {
                return Abundance { calibrated: missing, raw: f64::NAN, flag: branch | OTHER_BAD };
            };
            let random = if element.is_later { &mut *later } else { &mut *random };
            let (value, sigma) = match labels.get(position) {
                Some(label) => (*label, sigma[position]),
                None => {
                    let sigma = element.error * growth * weakness;
                    (star.inputs[position] + sigma * random.normal(), sigma)
                }
            };
            let calibrated = Measured { value, error: quoted(sigma, random) };
            let mut abundance = Abundance { calibrated, raw: value - CALIBRATION, flag: branch };
            // The weaker the lines, the more often nothing is found.
            let share = element.missing * (growth * weakness).powi(2);
            if later.chance(share.min(0.95)) || sigma > WORST_ERROR {
                lose(&mut abundance);
            }
            abundance
        })
        .collect();
    let vmicro = position("vmic_kms").map_or(missing, |position| {
        let sigma = VMICRO_ERROR * growth;
        Measured { value: (star.inputs[position] + sigma * later.normal()).max(0.3), error: quoted(sigma, later) }
    });
    let mut teff = Measured { value: labels[TEFF], error: quoted(sigma[TEFF], random) };
    let mut logg = Measured { value: labels[LOGG], error: quoted(sigma[LOGG], random) };
    let element = |name: &str| ELEMENTS.iter().position(|known| known.column == name).unwrap_or(0);
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
    let others = 0.01 * growth;
    Entry {
        teff,
        logg,
        m_h: Measured { value: labels[FE_H] + others * random.normal(), error: quoted(others, random) },
        alpha_m: Measured { value: alpha / 6.0 + others * random.normal(), error: quoted(others, random) },
        vmicro,
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
