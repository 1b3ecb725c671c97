//! The card that goes with a shipped emulator: what it takes, how wrong it is, where it comes from.

use std::fmt::Write;

use crate::experiment::config::ExperimentConfig;
use crate::experiment::emulate::Emulation;
use crate::spectra::labels::unit;

/// The card as Markdown.
pub fn model_card(emulation: &Emulation, config: &ExperimentConfig, slug: &str) -> String {
    let (metrics, payne) = (&emulation.metrics, &emulation.model.payne);
    let mut text = format!("# {slug}: an emulator of normalized H-band spectra\n\n");
    let _ = writeln!(
        text,
        "From {} inputs to the flux at the {} pixels of the apStar grid (vacuum, rest frame), normalized by the true \
         continuum. A network with hidden layers of {:?} gives the coefficients of {} principal components; {} numbers, \
         matrices in half precision.\n",
        emulation.ranges.len(),
        payne.n_pixels(),
        payne.hidden(),
        payne.n_components(),
        metrics.n_parameters
    );
    text += "## Inputs\n\n| input | unit | lowest | highest |\n|---|---|---|---|\n";
    for (index, (name, lowest, highest)) in emulation.ranges.iter().enumerate() {
        let kind = if index < emulation.model.n_labels { " (label)" } else { "" };
        let unit = if name.ends_with("_kms") { "km/s" } else { unit(name) };
        let _ = writeln!(text, "| `{name}`{kind} | {unit} | {lowest:.3} | {highest:.3} |");
    }
    text += "\nLabels outside the hull of the models it was trained on are flagged `OUTSIDE_HULL` in every fit.\n";
    text += "\n## Error, over models held out of training\n\n| | normalized flux |\n|---|---|\n";
    let rows = [
        ("rms, all models and pixels", metrics.rms),
        ("rms of the median model", metrics.rms_median),
        ("rms, 95th percentile of models", metrics.rms_95),
        ("rms of the worst model", metrics.rms_worst),
        ("largest error of any pixel", metrics.largest),
        ("rms of the models trained on", metrics.rms_training),
    ];
    for (what, value) in rows {
        let _ = writeln!(text, "| {what} | {value:.5} |");
    }
    for (feature, rms) in &metrics.rms_of_features {
        let _ = writeln!(text, "| rms at {feature} | {rms:.5} |");
    }
    let _ = writeln!(
        text,
        "\n{} models trained, {} were held out.\n\n## Sources\n\n{}\n\n## To train it again\n\n```sh\nmaury run \
         experiments/{slug}.toml --set data.library.path=LIBRARY.npz\n```",
        metrics.n_training,
        metrics.n_held_out,
        config.data.library.as_ref().map_or("", |library| library.sources.as_str())
    );
    text
}
