//! How far estimates follow their labels, along SNR, for every model.

use crate::error::Result;
use crate::experiment::model_outcome::ModelOutcome;
use crate::findings::saturation::Saturation;
use crate::plot::Figure;
use crate::plot::lines::{Curve, LineFigure, LinePanel, Measured, line_panels};
use crate::report::label_title;

/// Draws slopes of estimates against the reference in parts of the test stars by SNR, one panel per label; none where no label of
/// no model has them. Intervals hold with probability `level`.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(models: &[ModelOutcome], level: f64) -> Result<Option<Figure>> {
    let Some(first) = models.first() else { return Ok(None) };
    let of = |model: &'_ ModelOutcome, label: &str| -> Option<Saturation> {
        model.metrics.saturation.get(label).filter(|found| !found.along_snr.is_empty()).cloned()
    };
    let panel = |label: &String| {
        let curve = |(kind, model): (usize, &ModelOutcome)| {
            let points = of(model, label)?.along_snr.into_iter().map(|part| Measured {
                x: part.snr,
                value: part.slope,
                interval: part.slope_interval,
            });
            Some(Curve { kind, is_second: false, points: points.collect() })
        };
        let curves: Vec<Curve> = models.iter().enumerate().filter_map(curve).collect();
        LinePanel { title: format!("slope in {}", label_title(label)), curves }
    };
    let labels = &first.predictions.label_names;
    let panels: Vec<LinePanel> = labels.iter().map(panel).filter(|panel| !panel.curves.is_empty()).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let known = labels.iter().find_map(|label| of(first, label));
    let reference = known.map_or("reference".into(), |found| found.reference);
    let kinds: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let figure = LineFigure {
        title: "Change of the estimate for a unit of the label",
        x_title: "SNR per pixel",
        categories: &[],
        kinds: &kinds,
        ticks_at_values: false,
        styles: ["", ""],
        remark: &format!("against the {reference}, 1: in full; bars: {:.0}% interval", 100.0 * level),
    };
    line_panels(&figure, &panels).map(Some)
}
