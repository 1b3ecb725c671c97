//! Errors that are honest, and errors that are not.

use maury::error::Result;
use maury::plot::Figure;
use maury::plot::coverage::{CoverageCurve, CoverageData, CoveragePanel, coverage};
use maury::plot::pit::{PitData, PitHistogram, PitPanel, pit_histograms};
use maury::plot::snr::{SnrBin, SnrPanel, errors_against_snr};
use rand::Rng;

use crate::{ERRORS, NAMES, UNITS, normal};

/// Coverage, PIT and errors along SNR.
pub fn figures(random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let nominal: Vec<f64> = (0..=50).map(|i| f64::from(i) / 50.0).collect();
    let kinds = ["cannon", "cnn"].map(String::from);
    let n_stars = 940;
    // PIT of stars whose pulls have this width.
    let values = |width: f64, random: &mut dyn FnMut() -> f64| -> Vec<f64> {
        let cumulative = |x: f64| 1.0 / (1.0 + (-1.702 * x).exp());
        (0..n_stars).map(|_| cumulative(width * random())).collect()
    };
    let mut draw = || normal(random);
    let (mut coverages, mut histograms) = (Vec::new(), Vec::new());
    for name in NAMES {
        let (mut curves, mut pits) = (Vec::new(), Vec::new());
        for (kind, is_calibrated, width) in [(0, false, 5.0), (0, true, 1.03), (1, false, 1.6), (1, true, 0.97)] {
            let values = values(width, &mut draw);
            let inside = |p: f64| values.iter().filter(|value| (2.0 * **value - 1.0).abs() <= p).count();
            let fractions = nominal.iter().map(|p| inside(*p) as f64 / n_stars as f64).collect();
            curves.push(CoverageCurve { kind, is_calibrated, fractions });
            let mut counts = vec![0; 20];
            values.iter().for_each(|value| counts[((20.0 * value) as usize).min(19)] += 1);
            pits.push(PitHistogram { kind, is_calibrated, counts });
        }
        coverages.push(CoveragePanel { title: name.into(), n_stars, curves });
        histograms.push(PitPanel { title: name.into(), histograms: pits });
    }
    let snr = |label: usize| {
        let bin = |snr: f64| {
            let error = ERRORS[label] * (1.0 + 300.0 / snr);
            SnrBin {
                snr,
                scatter: 3.0 * error,
                scatter_interval: (2.8 * error, 3.3 * error),
                formal: 0.6 * error,
                calibrated: 2.9 * error,
            }
        };
        SnrPanel {
            label: format!("{} [{}]", NAMES[label], UNITS[label]),
            bins: [62.0, 85.0, 110.0, 150.0, 210.0, 340.0].map(bin).to_vec(),
        }
    };
    let panels: Vec<SnrPanel> = (0..5).map(snr).collect();
    let remark = "lab-mock, against the truth";
    Ok(vec![
        (
            "coverage",
            coverage(
                "coverage of central intervals",
                &CoverageData { nominal: &nominal, kinds: &kinds, panels: &coverages, remark },
            )?,
        ),
        (
            "coverage-1",
            coverage("", &CoverageData { nominal: &nominal, kinds: &kinds, panels: &coverages[..1], remark })?,
        ),
        (
            "pit",
            pit_histograms("probability integral transform", &PitData { kinds: &kinds, panels: &histograms, remark })?,
        ),
        ("snr", errors_against_snr("cannon: errors along SNR", &panels, "bars: 68% bootstrap interval")?),
    ])
}
