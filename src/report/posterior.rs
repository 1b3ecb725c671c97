//! Posteriors for people: a table of one star, its figures, and a line per model of a run.

use std::path::Path;

use super::{figures, in_unit, label_title, percent, plain};
use crate::data::files;
use crate::error::Result;
use crate::inference::draws::{Draws, Marginal};
use crate::inference::posteriors::PosteriorMetrics;
use crate::labelling::posterior::{SampledStar, reason};
use crate::plot::corner::{CornerData, DrawSet, Population, corner};
use crate::plot::ranks::rank_plots;
use crate::plot::traces::{MOST_R_HAT, TraceData, traces};
use crate::spectra::labels::unit;
use crate::spectra::quality::star_flags;

/// The posterior of one star, a row per label, and what sampling it took.
pub fn star_table(sampled: &SampledStar, label_names: &[String]) -> String {
    let SampledStar { star, posterior, .. } = sampled;
    let mut text = format!("{}: ", star.id);
    if let Some(unsampled) = sampled.reason {
        return text + &format!("no posterior: {}\n", reason(unsampled));
    }
    text += &format!(
        "S/N {}, reduced chi^2 of the best fit by the spectrum's own errors {}{}\n",
        plain(star.snr, 0),
        plain(star.chi2_reduced, 2),
        if star.flags == 0 { String::new() } else { format!(", flagged {}", star_flags::describe(star.flags)) }
    );
    let heads = ["median", "16%", "84%", "mean", "sd", "best fit", "R-hat", "ESS bulk", "ESS tail"];
    text += &format!("  {:<16}", "");
    heads.iter().for_each(|head| text += &format!(" {head:>9}"));
    text.push('\n');
    let mut row = |title: &str, unit: &str, marginal: &Marginal, best: f64| {
        let [low, middle, high] = marginal.quantiles;
        let found = &marginal.diagnostics;
        text += &format!("  {title:<16}");
        for value in [middle, low, high, marginal.mean, marginal.sd, best] {
            text += &format!(" {:>9}", in_unit(value, unit));
        }
        text +=
            &format!(" {:>9} {:>9} {:>9}\n", r_hat(found.r_hat), plain(found.ess_bulk, 0), plain(found.ess_tail, 0));
    };
    for ((name, marginal), best) in label_names.iter().zip(&posterior.marginals).zip(&star.labels) {
        let title = format!("{} [{}]", label_title(name), unit(name));
        row(title.trim_end_matches(" []"), unit(name), marginal, *best);
    }
    if let Some(noise) = &posterior.noise {
        row("ln noise factor", "", noise, f64::NAN);
    }
    text += "  sd and percentiles are formal errors, for a model that is right; `maury label` gives calibrated ones where there are some\n";
    let (n_chains, n_draws) = sampled.draws.as_ref().map_or((0, 0), |draws| (draws.n_chains, draws.n_draws()));
    text += &format!(
        "  {n_chains} chains of {n_draws} draws: {} diverged, {} ended beyond a wall of the prior; {} gradients a chain, step \
         {}, accepted {}\n  {} s to read and fit, {} s to sample: {} effective draws a second\n",
        posterior.divergences,
        posterior.beyond_walls,
        posterior.n_gradients,
        plain(posterior.step_size, 2),
        percent(posterior.acceptance),
        plain(sampled.fit_s, 2),
        plain(sampled.sampling_s, 2),
        plain(sampled.ess_per_s(), 0)
    );
    text
}

fn r_hat(r_hat: f64) -> String {
    if r_hat > MOST_R_HAT { format!(">{MOST_R_HAT}") } else { plain(r_hat, 4) }
}

/// The priors, a line each.
pub fn priors(words: &[String]) -> String {
    words.iter().map(|words| format!("  prior: {words}\n")).collect()
}

/// What the posteriors of a run come to, for one model, and under which priors.
pub fn model_lines(name: &str, metrics: &PosteriorMetrics) -> String {
    format!("{}{}", model_line(name, metrics), priors(&metrics.priors))
}

/// The same in one line, without priors.
pub(super) fn model_line(name: &str, metrics: &PosteriorMetrics) -> String {
    format!(
        "{name}: posteriors of {} stars ({} without), {} with R-hat < 1.01, worst {}; bulk ESS at least {}, median {}, tail at \
         least {}; {} divergences; {} s, {} effective draws a second\n",
        metrics.n_sampled,
        metrics.n_without,
        percent(metrics.fraction_mixed),
        r_hat(metrics.r_hat_max),
        plain(metrics.ess_bulk_min, 0),
        plain(metrics.ess_bulk_median, 0),
        plain(metrics.ess_tail_min, 0),
        metrics.divergences,
        plain(metrics.wall_s, 1),
        plain(metrics.ess_per_s, 0)
    )
}

/// Draws corner plot, traces and rank plots of one star into a folder, as `corner-<name>` and so on.
///
/// # Errors
/// [`crate::error::Error::Figure`]; [`crate::error::Error::Io`].
pub fn draw(folder: &Path, name: &str, sampled: &SampledStar, label_names: &[String]) -> Result<()> {
    let Some(draws) = &sampled.draws else { return Ok(()) };
    files::create_folder(folder)?;
    let n_labels = label_names.len();
    let names: Vec<String> = label_names.iter().map(|name| label_title(name)).collect();
    let units: Vec<&str> = label_names.iter().map(|name| unit(name)).collect();
    let rows: Vec<Vec<f64>> =
        draws.values.rows().into_iter().map(|row| row.iter().take(n_labels).copied().collect()).collect();
    let data = CornerData {
        names: &names,
        units: &units,
        population: Population::Draws,
        draws: DrawSet { name: "posterior", draws: &rows },
        second: None,
        truth: None,
        catalogue: None,
        remark: "",
    };
    let id = &sampled.star.id;
    figures::write(folder, &format!("corner-{name}"), &corner(id, &data)?)?;
    let chains = chains(draws, n_labels);
    let of = |of: &dyn Fn(&Marginal) -> f64| sampled.posterior.marginals.iter().map(of).collect::<Vec<f64>>();
    let data = TraceData {
        names: &names,
        units: &units,
        chains: &chains,
        r_hat: &of(&|marginal| marginal.diagnostics.r_hat),
        ess_bulk: &of(&|marginal| marginal.diagnostics.ess_bulk),
        ess_tail: &of(&|marginal| marginal.diagnostics.ess_tail),
        divergent: &draws.divergent,
    };
    figures::write(folder, &format!("traces-{name}"), &traces(id, &data)?)?;
    figures::write(folder, &format!("ranks-{name}"), &rank_plots(id, &data)?)
}

/// `[n_chains][n_draws][n_labels]`
fn chains(draws: &Draws, n_labels: usize) -> Vec<Vec<Vec<f64>>> {
    let n_draws = draws.n_draws();
    let draw =
        |chain: usize, draw: usize| draws.values.row(chain * n_draws + draw).iter().take(n_labels).copied().collect();
    (0..draws.n_chains).map(|chain| (0..n_draws).map(|i| draw(chain, i)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_r_hat_without_bound_has_its_column_too() {
        assert_eq!([1.00123, 99.5, 359_553_713_057_219.7, f64::NAN].map(r_hat), ["1.0012", "99.5000", ">100", "-"]);
    }
}
