//! Estimated against catalogue labels, with residuals, for every label of a model.

use crate::error::Result;
use crate::experiment::model_outcome::ModelOutcome;
use crate::plot::Figure;
use crate::plot::one_to_one::{OneToOnePanel, one_to_one};
use crate::report::{in_unit, label_title};
use crate::spectra::labels::unit;

/// Draws the figure.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(model: &ModelOutcome) -> Result<Figure> {
    let predictions = &model.predictions;
    let flagged: Vec<bool> = predictions.flags.iter().map(|flags| *flags != 0).collect();
    let names: Vec<String> = predictions.label_names.iter().map(|label| label_title(label)).collect();
    let columns: Vec<(Vec<f64>, Vec<f64>)> = (0..names.len())
        .map(|k| (predictions.catalogue.column(k).to_vec(), predictions.estimates.labels.column(k).to_vec()))
        .collect();
    let panels: Vec<OneToOnePanel> = predictions
        .label_names
        .iter()
        .enumerate()
        .map(|(k, label)| {
            let (unit, metrics) = (unit(label), &model.metrics.labels[label]);
            let number = |value: f64| in_unit(value, unit);
            OneToOnePanel {
                name: &names[k],
                unit,
                catalogue: &columns[k].0,
                estimate: &columns[k].1,
                highlighted: &flagged,
                caption: format!(
                    "bias {} {unit}, scatter {} {unit}, robust {} {unit}",
                    number(metrics.bias),
                    number(metrics.scatter),
                    number(metrics.robust_scatter)
                ),
            }
        })
        .collect();
    let (n_train, n_test) = (model.metrics.n_train, model.metrics.n_test);
    one_to_one(&format!("{}: trained on {n_train} stars, tested on {n_test}", model.name), &panels)
}
