//! An outcome made visible: tables and figures. Computes nothing, only shows.

pub mod calibration;
pub mod comparison;
pub mod comparison_page;
mod escape;
pub mod explorer;
pub mod facts;
pub mod figures;
pub mod html;
pub mod model_card;
pub mod outliers_page;
pub mod posterior;
pub mod repeats;
pub mod run_figures;
pub mod run_page;
pub mod saturation;
pub mod summary;
pub mod sweep;
pub mod sweep_page;
pub mod tables;

pub use crate::spectra::labels::title as label_title;
use crate::spectra::labels::unit;

/// A label with its unit in brackets, as on axes.
pub fn title_with_unit(label: &str) -> String {
    match unit(label) {
        "" => label_title(label),
        unit => format!("{} [{unit}]", label_title(label)),
    }
}

/// A number with as many decimals as its unit deserves: kelvins to a tenth, dex to a ten-thousandth.
pub fn in_unit(value: f64, unit: &str) -> String {
    match (value.is_finite(), unit) {
        (false, _) => "-".into(),
        (true, "K") => format!("{value:.1}"),
        (true, _) => format!("{value:.4}"),
    }
}

/// A number without a unit; `-` if there is none.
pub fn plain(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "-".into() }
}

/// So many things, one of them named `thing`: `1 star`, `2 stars`.
pub fn counted(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// A fraction as a whole percentage; `-` if there is none.
pub fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{:.0}%", 100.0 * fraction) } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_several() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "test star")), ["0 test stars", "1 test star", "2 test stars"]);
    }
}
