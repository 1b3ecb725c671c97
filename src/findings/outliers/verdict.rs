//! From evidence to the likeliest reason, by a fixed order of questions, and a sentence that gives the numbers.
//!
//! What is wrong with the spectrum comes first, because nothing that is read off a bad spectrum is worth discussing; then
//! the fit; then the catalogue; and last what no fault explains. Of sky, second star and continuum, which can imitate each
//! other, the one is named that explains the most.

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use crate::inference::fit::EXTRAPOLATION_PENALTY;
use crate::spectra::labels::title;
use crate::spectra::quality::star_flags;

/// Why a star's estimate and its catalogue labels disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A chip gave nothing.
    DeadChip,
    /// Lines of the night sky are left in the spectrum, or were subtracted twice.
    FailedSky,
    /// Two stars in one spectrum.
    Binary,
    /// The pseudo-continuum does not follow the spectrum.
    BadContinuum,
    /// Most pixels masked, or a few that dominate chi^2.
    BadSpectrum,
    /// The fit stopped in a minimum that is not the right one.
    LocalMinimum,
    /// The catalogue itself warns of this star's labels.
    CatalogueFlag,
    /// The spectrum speaks for the estimate, against the catalogue.
    WrongLabel,
    /// The model was asked beyond the stars it was trained on.
    OutsideTrainingSet,
    /// The spectrum is unlike any the model can make, and nothing says why.
    ModelError,
    /// Nothing is wrong that could be seen.
    Unexplained,
}

impl Verdict {
    /// All verdicts, in the order in which they are asked for.
    pub const ALL: [Self; 11] = [
        Self::DeadChip,
        Self::FailedSky,
        Self::Binary,
        Self::BadContinuum,
        Self::BadSpectrum,
        Self::LocalMinimum,
        Self::CatalogueFlag,
        Self::WrongLabel,
        Self::OutsideTrainingSet,
        Self::ModelError,
        Self::Unexplained,
    ];

    /// The verdict's name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::DeadChip => "dead-chip",
            Self::FailedSky => "failed-sky",
            Self::Binary => "binary",
            Self::BadContinuum => "bad-continuum",
            Self::BadSpectrum => "bad-spectrum",
            Self::LocalMinimum => "local-minimum",
            Self::CatalogueFlag => "catalogue-flag",
            Self::WrongLabel => "wrong-label",
            Self::OutsideTrainingSet => "outside-training-set",
            Self::ModelError => "model-error",
            Self::Unexplained => "unexplained",
        }
    }

    /// Whether such a star should not train a model: its spectrum or its labels are at fault, not the model or the fit.
    pub fn is_fault_of_star(self) -> bool {
        self.is_fault_of_spectrum() || self.is_fault_of_labels()
    }

    /// Whether the spectrum is at fault.
    pub fn is_fault_of_spectrum(self) -> bool {
        use Verdict::{BadContinuum, BadSpectrum, Binary, DeadChip, FailedSky};
        matches!(self, DeadChip | FailedSky | Binary | BadContinuum | BadSpectrum)
    }

    /// Whether the catalogue's labels are at fault: other labels would make the star fit to train.
    pub fn is_fault_of_labels(self) -> bool {
        matches!(self, Self::CatalogueFlag | Self::WrongLabel)
    }
}

/// Parts of chi^2 that an explanation must reach, and how unusual that must be among the test stars [robust scatters].
const SKY: (f64, f64) = (0.1, 5.0);
/// A second star that differs from the first explains less of chi^2 than its twin would, and sound stars need none at all.
const COMPANION: (f64, f64) = (0.05, 6.0);
/// Part of the light below which a second star close in velocity cannot be told from lines of another width.
const LEAST_LIGHT: f64 = 0.1;
const SMOOTH: (f64, f64) = (0.2, 5.0);
/// Good continuum pixels, as a part of the usual number, below which the continuum is a guess, and the scatter about it
/// above which it does not fit.
const FEWEST_CONTINUUM_PIXELS: f64 = 0.5;
const CONTINUUM_RESIDUAL: f64 = 4.0;
/// Beyond this many robust scatters a number is unusual.
const UNUSUAL: f64 = 4.0;
/// Part of chi^2 in the worst percent of the pixels from which on they dominate it.
const CONCENTRATED: f64 = 0.5;
/// How much less chi^2 (per chi^2 per pixel) must be to be believed: five standard deviations.
const CLEAR: f64 = EXTRAPOLATION_PENALTY;
/// How many times chi^2 the catalogue's labels must leave to be called wrong: as much again as noise and the model's own
/// shortcomings together. By less, every star with a large error of the estimate fits its own catalogue labels worse.
const WORSE: f64 = 2.0;
/// Of a star this far from the catalogue [robust scatters], noisy spectra count too, that cannot speak as clearly.
const FAR: (f64, f64) = (8.0, 1.25);
/// Deviation within which a fit agrees with the catalogue [robust scatters].
const AGREES: f64 = 3.0;
/// Catalogue errors above this multiple of the usual one are a warning.
const LARGE_ERROR: f64 = 3.0;
/// Bits of APOGEE_STARFLAG that call labels in question: very bright neighbour, suspicious or bad combination of
/// velocities, broad lines, velocity failed, several stars, rotation.
const STARFLAG_BAD: [u32; 7] = [3, 16, 17, 18, 21, 22, 23];
/// Bits of APOGEE_ASPCAPFLAG of level BAD, and those of suspected multiples.
const ASPCAPFLAG_BAD: [u32; 22] =
    [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 30, 31, 32, 33, 34, 35, 36, 40, 41, 27];

/// A verdict and its sentence, if the evidence bears it out.
type Question = fn(&Evidence) -> Option<(Verdict, String)>;

/// The verdict on a star, and the sentence that says why. `label_names` are those of the deviations.
pub fn judge(evidence: &Evidence, label_names: &[String]) -> (Verdict, String) {
    let questions: [Question; 9] = [
        dead_chip,
        foreign_light,
        bad_continuum,
        bad_spectrum,
        local_minimum,
        catalogue_flag,
        wrong_label,
        outside,
        model_error,
    ];
    let unexplained = || {
        let words = "Nothing unusual was found in spectrum, fit or catalogue entry".to_string();
        (Verdict::Unexplained, words + &fit_of_both(evidence))
    };
    let (verdict, why) = questions.iter().find_map(|question| question(evidence)).unwrap_or_else(unexplained);
    let label = label_names.get(evidence.worst_label).map_or("a label".to_string(), |label| title(label));
    let deviation = evidence.deviations.get(evidence.worst_label).copied().unwrap_or(f64::NAN);
    let direction = if deviation > 0.0 { "above" } else { "below" };
    (verdict, format!("{label} is {:.1} robust scatters {direction} the catalogue. {why}.", deviation.abs()))
}

fn dead_chip(evidence: &Evidence) -> Option<(Verdict, String)> {
    let lost = evidence.chips_lost;
    (lost > 0).then(|| {
        let chips = if lost == 1 { "1 chip is".to_string() } else { format!("{lost} chips are") };
        let masked = percent(evidence.fraction_masked);
        (Verdict::DeadChip, format!("{chips} without usable pixels; of those inside the chips {masked} are masked"))
    })
}

/// Sky, second star, or smooth residuals: whichever explains the most.
fn foreign_light(evidence: &Evidence) -> Option<(Verdict, String)> {
    let (spectrum, unusual) = (&evidence.spectrum, &evidence.unusual);
    let candidates = [
        (Verdict::FailedSky, spectrum.sky_part, unusual.sky, SKY),
        (Verdict::Binary, spectrum.companion_part, unusual.companion, COMPANION),
        (Verdict::BadContinuum, spectrum.smooth_part, unusual.smooth, SMOOTH),
    ];
    let (verdict, part, sigma, _) = candidates
        .into_iter()
        .filter(|(_, part, sigma, (least_part, least_sigma))| part > least_part && sigma > least_sigma)
        .filter(|(verdict, ..)| *verdict != Verdict::Binary || spectrum.companion_light > LEAST_LIGHT)
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (part, sigma) = (percent(part), format!("{sigma:.1} robust scatters more than usual"));
    let why = match verdict {
        Verdict::FailedSky => format!(
            "Lines where the night sky has them, {:+.2} of the continuum high at {:+.0} km/s, explain {part} of chi^2, {sigma}",
            spectrum.sky_height, spectrum.sky_velocity_kms
        ),
        Verdict::Binary => format!(
            "A second star with {} of the light at {:+.0} km/s explains {part} of chi^2, {sigma}",
            percent(spectrum.companion_light),
            spectrum.companion_velocity_kms
        ),
        _ => format!("A smooth curve on each chip explains {part} of chi^2, {sigma}"),
    };
    Some((verdict, why))
}

fn bad_continuum(evidence: &Evidence) -> Option<(Verdict, String)> {
    if evidence.continuum_pixels < FEWEST_CONTINUUM_PIXELS {
        let left = percent(evidence.continuum_pixels);
        return Some((Verdict::BadContinuum, format!("Only {left} of the usual continuum pixels are good")));
    }
    (evidence.continuum_residual > CONTINUUM_RESIDUAL).then(|| {
        let times = evidence.continuum_residual;
        (
            Verdict::BadContinuum,
            format!("Continuum pixels scatter {times:.1} times as far about the continuum as usual"),
        )
    })
}

fn bad_spectrum(evidence: &Evidence) -> Option<(Verdict, String)> {
    if evidence.flags & star_flags::MOSTLY_MASKED != 0 {
        let masked = percent(evidence.fraction_masked);
        return Some((Verdict::BadSpectrum, format!("{masked} of the pixels inside the chips are masked")));
    }
    let (spectrum, unusual) = (&evidence.spectrum, &evidence.unusual);
    (spectrum.concentration > CONCENTRATED && unusual.concentration > UNUSUAL && unusual.chi2 > UNUSUAL).then(|| {
        let part = percent(spectrum.concentration);
        let why = format!(
            "The worst percent of the pixels makes {part} of chi^2, which is {:.1} per pixel ({} pixels masked as emission)",
            spectrum.chi2_per_pixel(),
            evidence.n_emission
        );
        (Verdict::BadSpectrum, why)
    })
}

fn local_minimum(evidence: &Evidence) -> Option<(Verdict, String)> {
    let fits = evidence.fits.as_ref()?;
    // chi^2 in units that make its own value one per pixel: errors are rarely as small as they are said to be.
    let unit = evidence.spectrum.chi2_per_pixel().max(1.0);
    let reported = evidence.reported_chi2;
    let lower = (reported - fits.lowest.chi2) / unit;
    if lower > CLEAR {
        let why = format!(
            "Of {} starts the best ends {lower:.0} lower in chi^2, {:.1} robust scatters from the catalogue",
            fits.n_starts, evidence.lowest_deviation
        );
        return Some((Verdict::LocalMinimum, why));
    }
    let near = fits.from_catalogue.as_ref()?;
    let higher = (near.chi2 - reported) / unit;
    (higher < CLEAR && evidence.from_catalogue_deviation < AGREES).then(|| {
        let why = format!(
            "A fit from the catalogue's labels ends {:.1} robust scatters from them, where chi^2 is {} by {:.0} only",
            evidence.from_catalogue_deviation,
            if higher > 0.0 { "higher" } else { "lower" },
            higher.abs()
        );
        (Verdict::LocalMinimum, why)
    })
}

fn catalogue_flag(evidence: &Evidence) -> Option<(Verdict, String)> {
    let set = |flags: i64, bits: &[u32]| -> Vec<String> {
        bits.iter().filter(|bit| flags & (1 << **bit) != 0).map(u32::to_string).collect()
    };
    let (star, aspcap) = (set(evidence.starflag, &STARFLAG_BAD), set(evidence.aspcapflag, &ASPCAPFLAG_BAD));
    if star.is_empty() && aspcap.is_empty() {
        let times = evidence.catalogue_error;
        return (times > LARGE_ERROR).then(|| {
            (Verdict::CatalogueFlag, format!("The catalogue quotes an error {times:.1} times the usual one"))
        });
    }
    let words = |name: &str, bits: &[String]| (!bits.is_empty()).then(|| format!("{name} has bit {}", bits.join(", ")));
    let why = [words("STARFLAG", &star), words("ASPCAPFLAG", &aspcap)].into_iter().flatten().collect::<Vec<_>>();
    Some((Verdict::CatalogueFlag, format!("The catalogue warns: {}", why.join(", "))))
}

fn wrong_label(evidence: &Evidence) -> Option<(Verdict, String)> {
    let (spectrum, opinions) = (&evidence.spectrum, &evidence.opinions);
    let worse = spectrum.chi2_catalogue / spectrum.chi2;
    // Without a model of the spectrum, others must speak.
    let far = evidence.deviations.get(evidence.worst_label).is_some_and(|sigma| sigma.abs() > FAR.0);
    let clear = worse > WORSE || (far && worse > FAR.1);
    let fits_well = spectrum.chi2.is_nan() || (evidence.unusual.chi2 < UNUSUAL && clear);
    let sided = match (opinions.n_models, opinions.look_alikes_agree) {
        (0, agree) => agree,
        (_, agree) => opinions.n_agree > 0 || agree,
    };
    (fits_well && sided).then(|| {
        let mut why = Vec::new();
        if worse.is_finite() {
            why.push(format!(
                "The spectrum fits the estimate as well as is usual, the catalogue's labels {worse:.1} times worse"
            ));
        }
        if opinions.n_models > 0 {
            why.push(format!("{} of {} other models side with the estimate", opinions.n_agree, opinions.n_models));
        }
        let likes = if opinions.look_alikes_agree { "agree" } else { "do not" };
        why.push(format!("training stars of like spectra {likes}"));
        let mut why = why.join("; ");
        if let Some(first) = why.get(..1).map(str::to_uppercase) {
            why.replace_range(..1, &first);
        }
        (Verdict::WrongLabel, why)
    })
}

fn outside(evidence: &Evidence) -> Option<(Verdict, String)> {
    (evidence.flags & star_flags::OUTSIDE_HULL != 0).then(|| {
        let why = "The estimate lies beyond all training stars, where the model is an extrapolation".to_string();
        (Verdict::OutsideTrainingSet, why + &fit_of_both(evidence))
    })
}

fn model_error(evidence: &Evidence) -> Option<(Verdict, String)> {
    (evidence.unusual.chi2 > UNUSUAL).then(|| {
        let why = format!(
            "chi^2 is {:.1} per pixel, {:.1} robust scatters more than usual, and no single cause explains it",
            evidence.spectrum.chi2_per_pixel(),
            evidence.unusual.chi2
        );
        (Verdict::ModelError, why)
    })
}

/// How much worse the catalogue's labels fit, where that is known.
fn fit_of_both(evidence: &Evidence) -> String {
    let ratio = evidence.spectrum.chi2_catalogue / evidence.spectrum.chi2;
    if ratio.is_finite() {
        format!("; at the catalogue's labels chi^2 is {ratio:.2} times that at the estimate")
    } else {
        String::new()
    }
}

fn percent(part: f64) -> String {
    if part.is_finite() { format!("{:.0}%", 100.0 * part) } else { "an unknown part".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::outliers::{Opinions, OtherFit, OtherFits, SpectrumEvidence, Unusual};

    /// A star that deviates in its second label, and nothing else is unusual.
    fn plain() -> Evidence {
        Evidence {
            deviations: vec![0.5, -7.0],
            worst_label: 1,
            snr: 120.0,
            fraction_masked: 0.05,
            chips_lost: 0,
            n_emission: 1,
            continuum_pixels: 1.0,
            continuum_residual: 1.1,
            flags: 0,
            reported_chi2: 8000.0,
            starflag: 0,
            // Harmless: the survey warns of S/N below 70.
            aspcapflag: 1 << 11,
            catalogue_error: 1.2,
            spectrum: SpectrumEvidence {
                n_pixels: 8000,
                chi2: 8000.0,
                chi2_catalogue: 8010.0,
                concentration: 0.1,
                sky_part: 0.01,
                sky_height: 0.002,
                sky_velocity_kms: -40.0,
                smooth_part: 0.02,
                companion_part: 0.02,
                companion_light: 0.2,
                companion_velocity_kms: 30.0,
            },
            unusual: Unusual { chi2: 0.3, concentration: 0.2, sky: 0.1, smooth: -0.5, companion: 0.4 },
            fits: None,
            opinions: Opinions::default(),
            lowest_deviation: f64::NAN,
            from_catalogue_deviation: f64::NAN,
        }
    }

    fn verdict_on(change: impl FnOnce(&mut Evidence)) -> (Verdict, String) {
        let mut evidence = plain();
        change(&mut evidence);
        judge(&evidence, &["teff".to_string(), "logg".to_string()])
    }

    fn minima(lowest: f64, from_catalogue: Option<f64>) -> Option<OtherFits> {
        let fit = |chi2| OtherFit { labels: vec![4500.0, 2.0], chi2 };
        Some(OtherFits { n_starts: 20, n_minima: 2, lowest: fit(lowest), from_catalogue: from_catalogue.map(fit) })
    }

    #[test]
    fn every_verdict_has_its_evidence_and_its_sentence() {
        let (verdict, why) = verdict_on(|_| ());
        assert_eq!(verdict, Verdict::Unexplained);
        assert!(why.starts_with("log g is 7.0 robust scatters below the catalogue. Nothing unusual"), "{why}");
        assert!(why.ends_with("chi^2 is 1.00 times that at the estimate."), "{why}");
        type Change = fn(&mut Evidence);
        let cases: [(Verdict, &str, Change); 13] = [
            (Verdict::DeadChip, "1 chip is without", |e| e.chips_lost = 1),
            (Verdict::FailedSky, "+0.30 of the continuum high at -40 km/s, explain 60%", |e| {
                (e.spectrum.sky_part, e.spectrum.sky_height, e.unusual.sky) = (0.6, 0.3, 12.0);
            }),
            (Verdict::Binary, "20% of the light at +30 km/s explains 40%", |e| {
                (e.spectrum.companion_part, e.unusual.companion) = (0.4, 9.0);
            }),
            (Verdict::BadContinuum, "smooth curve on each chip explains 50%", |e| {
                (e.spectrum.smooth_part, e.unusual.smooth) = (0.5, 9.0);
            }),
            (Verdict::BadContinuum, "Only 30%", |e| e.continuum_pixels = 0.3),
            (Verdict::BadSpectrum, "60% of the pixels", |e| {
                (e.flags, e.fraction_masked) = (star_flags::MOSTLY_MASKED, 0.6);
            }),
            (Verdict::BadSpectrum, "worst percent of the pixels makes 70%", |e| {
                (e.spectrum.concentration, e.unusual.concentration, e.unusual.chi2) = (0.7, 9.0, 5.0);
            }),
            (Verdict::LocalMinimum, "Of 20 starts the best ends 500 lower", |e| e.fits = minima(7500.0, None)),
            (Verdict::LocalMinimum, "where chi^2 is higher by 9 only", |e| {
                (e.fits, e.from_catalogue_deviation) = (minima(8000.0, Some(8009.0)), 1.0);
            }),
            (Verdict::CatalogueFlag, "ASPCAPFLAG has bit 23", |e| e.aspcapflag |= 1 << 23),
            (Verdict::WrongLabel, "catalogue's labels 5.0 times worse; 2 of 2 other models", |e| {
                e.spectrum.chi2_catalogue = 40_000.0;
                (e.opinions.n_models, e.opinions.n_agree) = (2, 2);
            }),
            (Verdict::OutsideTrainingSet, "beyond all training stars", |e| e.flags = star_flags::OUTSIDE_HULL),
            (Verdict::ModelError, "no single cause explains it", |e| e.unusual.chi2 = 8.0),
        ];
        for (expected, words, change) in cases {
            let (verdict, why) = verdict_on(change);
            assert_eq!(verdict, expected, "{why}");
            assert!(why.contains(words) && why.ends_with('.'), "{why}");
        }
    }

    #[test]
    fn the_order_of_questions_decides_between_several_reasons() {
        let (verdict, _) = verdict_on(|e| {
            e.chips_lost = 1;
            (e.spectrum.sky_part, e.unusual.sky) = (0.6, 12.0);
        });
        assert_eq!(verdict, Verdict::DeadChip);
        // Sky lines look like a second star to some degree, and the other way round: the better explanation counts.
        let (verdict, _) = verdict_on(|e| {
            (e.spectrum.sky_part, e.unusual.sky) = (0.3, 12.0);
            (e.spectrum.companion_part, e.unusual.companion) = (0.5, 8.0);
        });
        assert_eq!(verdict, Verdict::Binary);
        // Lines a little too wide look like a faint star close by.
        let (verdict, _) = verdict_on(|e| {
            (e.spectrum.companion_part, e.spectrum.companion_light, e.unusual.companion) = (0.1, 0.07, 40.0);
        });
        assert_eq!(verdict, Verdict::Unexplained);
        // A part that is usual, or too small to matter, explains nothing.
        let (verdict, _) = verdict_on(|e| {
            (e.spectrum.companion_part, e.unusual.companion) = (0.5, 1.0);
            (e.spectrum.sky_part, e.unusual.sky) = (0.05, 20.0);
        });
        assert_eq!(verdict, Verdict::Unexplained);
    }

    #[test]
    fn a_wrong_label_needs_a_spectrum_that_says_so_and_a_second_voice() {
        let worse = |e: &mut Evidence| e.spectrum.chi2_catalogue = 40_000.0;
        let hardly = |e: &mut Evidence| {
            (e.spectrum.chi2_catalogue, e.opinions.look_alikes_agree) = (12_000.0, true);
        };
        assert_eq!(verdict_on(hardly).0, Verdict::Unexplained);
        let far = |e: &mut Evidence| {
            hardly(e);
            e.deviations[1] = -12.0;
        };
        assert_eq!(verdict_on(far).0, Verdict::WrongLabel);
        assert_eq!(verdict_on(worse).0, Verdict::Unexplained);
        let alone = |e: &mut Evidence| e.opinions.look_alikes_agree = true;
        assert_eq!(verdict_on(alone).0, Verdict::Unexplained);
        let both = |e: &mut Evidence| {
            worse(e);
            alone(e);
        };
        assert_eq!(verdict_on(both).0, Verdict::WrongLabel);
        let poor = |e: &mut Evidence| {
            both(e);
            e.unusual.chi2 = 9.0;
        };
        assert_eq!(verdict_on(poor).0, Verdict::ModelError);
        // Without a model that makes spectra, others' voices are all there is.
        let (verdict, why) = verdict_on(|e| {
            (e.spectrum, e.reported_chi2) = (SpectrumEvidence::NONE, f64::NAN);
            let nan = f64::NAN;
            e.unusual = Unusual { chi2: nan, concentration: nan, sky: nan, smooth: nan, companion: nan };
            (e.opinions.n_models, e.opinions.n_agree) = (1, 1);
        });
        assert_eq!(verdict, Verdict::WrongLabel);
        assert!(why.contains("1 of 1 other models side with the estimate") && !why.contains("NaN"), "{why}");
    }

    #[test]
    fn names_are_those_of_the_outputs() {
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }
}
