//! True and claimed errors along SNR: robust scatter of the residuals, median formal and median calibrated error.

use super::Figure;
use super::lines::{Curve, LineFigure, LinePanel, Measured, line_panels};
use crate::error::Result;

/// Errors of one label along SNR.
#[derive(Debug, Clone)]
pub struct SnrPanel {
    /// Name of the label with its unit, e.g. `Teff [K]`.
    pub label: String,
    /// Bins in ascending SNR.
    pub bins: Vec<SnrBin>,
}

/// Stars of similar SNR.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SnrBin {
    /// Median SNR per pixel.
    pub snr: f64,
    /// Robust scatter (1.4826 MAD) of estimate - reference.
    pub scatter: f64,
    /// Its bootstrap interval; NaN if there is none.
    pub scatter_interval: (f64, f64),
    /// Median formal error; NaN if there is none.
    pub formal: f64,
    /// Median calibrated error; NaN if there is none.
    pub calibrated: f64,
}

/// A value of a bin with its interval.
type Measure<'a> = dyn Fn(&SnrBin) -> (f64, (f64, f64)) + 'a;

/// The three curves of every panel.
const KINDS: [&str; 3] =
    ["robust scatter of estimate \u{2212} reference", "median formal error", "median calibrated error"];

/// Draws the figure, one panel per label.
///
/// # Errors
/// [`crate::error::Error::Figure`] without panels.
pub fn errors_against_snr(title: &str, panels: &[SnrPanel], remark: &str) -> Result<Figure> {
    let kinds = KINDS.map(String::from);
    let nothing = (f64::NAN, f64::NAN);
    let panel = |panel: &SnrPanel| {
        let curve = |kind: usize, is_second: bool, of: &Measure| {
            let measured = |bin: &SnrBin| {
                let (value, interval) = of(bin);
                Measured { x: bin.snr, value, interval }
            };
            Curve { kind, is_second, points: panel.bins.iter().map(measured).collect() }
        };
        let curves = vec![
            curve(0, false, &|bin| (bin.scatter, bin.scatter_interval)),
            curve(1, true, &|bin| (bin.formal, nothing)),
            curve(2, true, &|bin| (bin.calibrated, nothing)),
        ];
        LinePanel { title: format!("error of {}", panel.label), curves }
    };
    let figure = LineFigure {
        title,
        x_title: "SNR per pixel",
        categories: &[],
        kinds: &kinds,
        ticks_at_values: false,
        styles: ["measured", "claimed"],
        remark,
    };
    line_panels(&figure, &panels.iter().map(panel).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_and_claimed_errors_are_three_curves() {
        let bin = |snr: f64| SnrBin {
            snr,
            scatter: 3000.0 / snr,
            scatter_interval: (2800.0 / snr, 3300.0 / snr),
            formal: 300.0 / snr,
            calibrated: if snr > 200.0 { f64::NAN } else { 2950.0 / snr },
        };
        let bins: Vec<SnrBin> = [60.0, 90.0, 150.0, 300.0].map(bin).to_vec();
        let panel = SnrPanel { label: "Teff [K]".into(), bins };
        let svg = errors_against_snr("errors", &[panel], "bars: intervals").expect("draws").svg;
        // Four dots, four and three circles with their white discs, and the legend's two samples.
        assert_eq!(svg.matches("<circle").count(), 4 + 2 * 4 + 2 * 3 + 3);
        for words in KINDS.into_iter().chain(["error of Teff [K]", "SNR per pixel", "bars: intervals"]) {
            assert!(svg.contains(words), "{words}");
        }
        let empty = SnrPanel { label: "log g [dex]".into(), bins: Vec::new() };
        assert!(errors_against_snr("", &[empty], "").expect("draws").svg.contains("no values"));
        assert!(errors_against_snr("", &[], "").is_err());
    }
}
