//! Whether the errors of a run's models are true to size: coverage, probability integral transform, errors along SNR.

use super::comparison::NamedFigure;
use crate::error::Result;
use crate::experiment::model_outcome::ModelOutcome;
use crate::findings::error_check::{CATALOGUE, ErrorCheck, HEALTHY_TRUTH, LEVELS, LabelErrorCheck, TRUTH};
use crate::plot::coverage::{CoverageCurve, CoverageData, CoveragePanel, coverage};
use crate::plot::pit::{PitData, PitHistogram, PitPanel, pit_histograms};
use crate::plot::snr::{SnrBin, SnrPanel, errors_against_snr};
use crate::report::{label_title, title_with_unit};

/// Coverage curves and PIT histograms of all models together, and for each calibrated one its errors along SNR. Held against
/// the truth of healthy stars where that is known, else against the catalogue. None without calibrated errors. Bootstrap intervals
/// hold a fraction `level` of the resamples.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(models: &[ModelOutcome], level: f64) -> Result<Vec<NamedFigure>> {
    let models: Vec<&ModelOutcome> = models.iter().filter(|model| !model.calibration.is_empty()).collect();
    let Some(first) = models.first() else { return Ok(Vec::new()) };
    let has = |name: &&str| models.iter().all(|model| model.metrics.error_checks.contains_key(*name));
    let Some(reference) = [HEALTHY_TRUTH, TRUTH, CATALOGUE].into_iter().find(has) else { return Ok(Vec::new()) };
    let labels = &first.predictions.label_names;
    let words = match reference {
        HEALTHY_TRUTH => "against the truth, healthy test stars",
        TRUTH => "against the truth, test stars",
        _ => "against the catalogue, whose own errors are added, test stars",
    };
    let kinds: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let of = |model: &ModelOutcome, label: &String| -> Option<LabelErrorCheck> {
        model.metrics.error_checks.get(reference)?.get(label).cloned()
    };
    // Every check of a label: model, whether calibrated, what was found.
    let checks = |label: &String| -> Vec<(usize, bool, ErrorCheck)> {
        let of_model = |(kind, model): (usize, &&ModelOutcome)| {
            let found = of(model, label);
            let (formal, calibrated) = found.map_or((None, None), |found| (found.formal, found.calibrated));
            [(false, formal), (true, calibrated)].map(|(is, check)| Some((kind, is, check?)))
        };
        models.iter().enumerate().flat_map(of_model).flatten().collect()
    };
    let coverage_panel = |label: &String| {
        let checks = checks(label);
        CoveragePanel {
            title: label_title(label),
            n_stars: checks.iter().map(|(_, _, check)| check.pulls.n_stars).max().unwrap_or(0),
            curves: checks
                .into_iter()
                .map(|(kind, is_calibrated, check)| CoverageCurve { kind, is_calibrated, fractions: check.coverage })
                .collect(),
        }
    };
    let pit_panel = |label: &String| {
        let histogram = |(kind, is_calibrated, check): (usize, bool, ErrorCheck)| PitHistogram {
            kind,
            is_calibrated,
            counts: check.pit,
        };
        PitPanel { title: label_title(label), histograms: checks(label).into_iter().map(histogram).collect() }
    };
    let coverage_panels: Vec<CoveragePanel> = labels.iter().map(coverage_panel).collect();
    let pit_panels: Vec<PitPanel> = labels.iter().map(pit_panel).collect();
    let data = CoverageData { nominal: &LEVELS, kinds: &kinds, panels: &coverage_panels, remark: words };
    let pit = PitData { kinds: &kinds, panels: &pit_panels, remark: words };
    let mut figures = vec![
        ("coverage".to_string(), coverage("Stars within central intervals", &data)?),
        ("pit".to_string(), pit_histograms("Claimed probability of a label below the reference", &pit)?),
    ];
    let along_snr_words = format!("{words}; bars: {:.0}% bootstrap interval", 100.0 * level);
    for model in &models {
        let panel = |label: &String| {
            let bins = of(model, label).map(|check| check.along_snr).unwrap_or_default();
            let bin = |bin: &crate::findings::error_check::SnrBin| SnrBin {
                snr: bin.snr,
                scatter: bin.scatter,
                scatter_interval: bin.scatter_interval.unwrap_or((f64::NAN, f64::NAN)),
                formal: bin.formal.unwrap_or(f64::NAN),
                calibrated: bin.calibrated.unwrap_or(f64::NAN),
            };
            SnrPanel { label: title_with_unit(label), bins: bins.iter().map(bin).collect() }
        };
        let panels: Vec<SnrPanel> = labels.iter().map(panel).filter(|panel| !panel.bins.is_empty()).collect();
        if !panels.is_empty() {
            let figure = errors_against_snr(&format!("{}: errors along SNR", model.name), &panels, &along_snr_words)?;
            figures.push((format!("errors_along_snr-{}", model.name), figure));
        }
    }
    Ok(figures)
}
