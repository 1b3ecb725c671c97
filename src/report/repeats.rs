//! Repeat visits in words: how far the visits of a star scatter, and what that says of the errors claimed for them.

use std::fmt::Write;

use super::{counted, in_unit, percent, plain, title_with_unit};
use crate::findings::repeats::deviations::LEAST_FREEDOM;
use crate::findings::repeats::measure::{FEWEST_STARS, words};
use crate::findings::repeats::outcome::{
    Claimed, Growth, LabelRepeats, Measured, RepeatBin, Repeats, Statistic, Verdict,
};
use crate::report::label_title;
use crate::spectra::labels::unit;

/// A ratio known to better than this factor is a measurement.
const CLOSE: f64 = 2.0;

/// What was looked at; a table of all labels and bins; a paragraph for each label.
pub fn text(repeats: &Repeats) -> String {
    let labels = || repeats.label_names.iter().filter_map(|name| Some((name, repeats.labels.get(name)?)));
    let mut text = format!("{}\n\n", subject(repeats));
    let name_width = labels().map(|(name, _)| title_with_unit(name).chars().count()).max().unwrap_or(0) + 2;
    let _ = writeln!(
        text,
        "  {:<name_width$}{:>6} {:>6} {:>7} {:>9} {:>18}   {:>9} {:>19}   {:>10} {:>19}",
        "", "SNR", "stars", "visits", "scatter", "interval", "formal", "scatter / it", "calibrated", "scatter / it"
    );
    for (name, found) in labels() {
        for (row, bin) in std::iter::once(&found.all).chain(&found.along_snr).enumerate() {
            let title = if row == 0 { title_with_unit(name) } else { String::new() };
            let _ = writeln!(text, "  {title:<name_width$}{}", cells(bin, unit(name), row == 0));
        }
    }
    text.push('\n');
    labels().for_each(|(name, found)| text += &format!("{}\n", paragraph(name, found)));
    for name in repeats.label_names.iter().filter(|name| !repeats.labels.contains_key(*name)) {
        text += &format!("{}: no two visits of a star have it; nothing is known of its scatter.\n", label_title(name));
    }
    text
}

/// One bin's numbers.
fn cells(bin: &RepeatBin, unit: &str, is_all: bool) -> String {
    let snr = if is_all { "all".into() } else { plain(bin.snr.unwrap_or(f64::NAN), 0) };
    let number = |value: f64| in_unit(value, unit);
    let pair = |claimed: &Option<Claimed>| match claimed {
        Some(Claimed { error, pull }) => (number(*error), ratio(pull)),
        None => ("-".into(), "-".into()),
    };
    let ((formal, of_formal), (calibrated, of_calibrated)) = (pair(&bin.formal), pair(&bin.calibrated));
    format!(
        "{snr:>6} {:>6} {:>7} {:>9} {:>18}   {formal:>9} {of_formal:>19}   {calibrated:>10} {of_calibrated:>19}",
        bin.n_stars,
        bin.n_visits,
        number(bin.scatter.value),
        interval(&bin.scatter, unit),
    )
}

fn interval(measured: &Measured, unit: &str) -> String {
    format!("[{}, {}]", in_unit(measured.interval.0, unit), in_unit(measured.interval.1, unit))
}

/// A ratio with its interval, without a unit.
fn ratio(measured: &Measured) -> String {
    let (low, high) = measured.interval;
    format!("{} [{}, {}]", plain(measured.value, 2), plain(low, 2), plain(high, 2))
}

/// What was looked at, and how.
pub fn subject(repeats: &Repeats) -> String {
    let stars = counted(repeats.n_stars, "star");
    let mut text = format!("{} of {stars} held against each other; ", counted(repeats.n_used, "visit"));
    text += &match repeats.n_used == repeats.n_visits {
        true => "none left out".into(),
        false => words(repeats.n_visits, &repeats.left_out),
    };
    let level = percent(repeats.interval_level);
    text += &match repeats.statistic {
        Statistic::Robust => format!(
            ".\nscatter: 1.4826 x median deviation of a visit from its star's mean; errors: medians; intervals: {level} of resamples of \
             the stars"
        ),
        Statistic::Standard => format!(
            ".\nscatter: standard deviation of a visit about its star's mean; errors: root mean squares; intervals: {level} by chi^2, as \
             fewer than {FEWEST_STARS} stars bear no resamples"
        ),
    };
    let heavy = repeats.label_names.iter().filter_map(|name| Some((name, repeats.labels.get(name)?.n_outweighing)));
    let heavy: Vec<String> =
        heavy.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} in {}", label_title(name))).collect();
    if !heavy.is_empty() {
        text += &format!(
            "\nvisits that hold over {} of their star's weight tell of the others' noise and do not count: {}",
            percent(1.0 - LEAST_FREEDOM),
            heavy.join(", ")
        );
    }
    repeats.doubts.iter().for_each(|doubt| text += &format!("\n{doubt}"));
    text
}

/// What was found of one label.
pub fn paragraph(name: &str, found: &LabelRepeats) -> String {
    let all = &found.all;
    let with_unit = |text: String| format!("{text} {}", unit(name)).trim_end().to_string();
    let quantity = |value: f64| with_unit(in_unit(value, unit(name)));
    let between = |of: &Measured| with_unit(format!("{} {}", in_unit(of.value, unit(name)), interval(of, unit(name))));
    let at = all.snr.map_or(String::new(), |snr| format!(" at a median SNR of {snr:.0}"));
    let mut text = format!("{}: visits of a star scatter by {}{at}", label_title(name), between(&all.scatter));
    text += &match &all.formal {
        None => "; the model gives no formal errors.".to_string(),
        Some(Claimed { error, pull }) => formal(&quantity(*error), pull),
    };
    if let Some(Claimed { error, pull }) = &all.calibrated {
        text += &calibrated(&quantity(*error), pull, found, &quantity);
    }
    if let Some(growth) = &found.growth {
        text += &grown(growth, &quantity, &between);
    }
    text
}

fn formal(error: &str, pull: &Measured) -> String {
    let times = ratio(pull);
    match pull.verdict() {
        Verdict::Alike if pull.interval.1 < CLOSE * pull.interval.0 => {
            format!(", as formal errors say ({error}; {times} of them).")
        }
        Verdict::Alike => format!("; formal errors ({error}) may be right: {times} of them."),
        Verdict::Larger => format!(
            ", {times} times their formal errors ({error}): there is more noise than the errors of the flux tell, or it is correlated."
        ),
        Verdict::Smaller => format!(
            ", {times} of their formal errors ({error}): these take for noise what all visits of a star share, such as the model's own \
             scatter."
        ),
    }
}

fn calibrated(error: &str, pull: &Measured, found: &LabelRepeats, quantity: &dyn Fn(f64) -> String) -> String {
    let rest = found.beyond_noise.map(quantity);
    match (pull.verdict(), rest, &found.noise_share) {
        (Verdict::Larger, _, _) => format!(
            " Calibrated errors ({error}) are too small for single visits: these scatter by {} times as much already.",
            ratio(pull)
        ),
        (Verdict::Smaller, Some(rest), Some(share)) => format!(
            " Of the square of their calibrated errors ({error}) noise is {} [{}, {}]; the other {rest}, if they are right, are the same \
             in every visit: no repetition makes them less.",
            percent(share.value),
            percent(share.interval.0),
            percent(share.interval.1)
        ),
        _ => format!(" Of their calibrated errors ({error}) noise may be all: {} of them.", ratio(pull)),
    }
}

fn grown(growth: &Growth, quantity: &dyn Fn(f64) -> String, between: &dyn Fn(&Measured) -> String) -> String {
    let (low, high) = growth.snr;
    let added = between(&growth.scatter);
    let mut text = format!(" From SNR {high:.0} to {low:.0} visits add {added} in quadrature");
    if let Some(formal) = growth.formal {
        text += &format!(", formal errors {}", quantity(formal));
    }
    let Some((calibrated, ratio)) = growth.calibrated.zip(growth.of_calibrated) else { return text + "." };
    text += &format!(", calibrated ones {}", quantity(calibrated));
    text + match ratio.verdict() {
        Verdict::Alike if ratio.interval.1 < CLOSE * ratio.interval.0 => ": they know what noise does.",
        Verdict::Alike => ", which may be what noise does.",
        Verdict::Smaller => ": they take low SNR to be worse than it is.",
        Verdict::Larger => ": they take low SNR to be better than it is.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::repeats::visits::LeftOut;

    fn measured(value: f64, share: f64) -> Measured {
        Measured { value, interval: ((1.0 - share) * value, (1.0 + share) * value) }
    }

    fn found(formal: f64, calibrated: f64) -> LabelRepeats {
        let bin = |snr: f64, scatter: f64| RepeatBin {
            n_stars: 40,
            n_visits: 90,
            n_repeats: 50.0,
            snr: Some(snr),
            snr_range: Some((snr - 10.0, snr + 10.0)),
            scatter: measured(scatter, 0.1),
            standard_deviation: 1.2 * scatter,
            formal: Some(Claimed { error: scatter / formal, pull: measured(formal, 0.05) }),
            calibrated: Some(Claimed { error: scatter / calibrated, pull: measured(calibrated, 0.05) }),
        };
        let growth = Growth {
            snr: (30.0, 150.0),
            scatter: measured(16.5, 0.1),
            formal: Some(12.0),
            calibrated: Some(75.0),
            of_calibrated: Some(measured(0.22, 0.1)),
        };
        LabelRepeats {
            all: bin(67.0, 10.0),
            n_outweighing: 0,
            along_snr: vec![bin(30.0, 18.0), bin(150.0, 8.0)],
            growth: Some(growth),
            noise_share: Some(measured(calibrated * calibrated, 0.1)),
            beyond_noise: (calibrated < 1.0).then_some(49.0),
        }
    }

    #[test]
    fn what_does_not_count_is_said() {
        let mut heavy = found(1.0, 0.2);
        heavy.n_outweighing = 6;
        let repeats = Repeats {
            n_visits: 653,
            n_stars: 40,
            n_used: 653,
            left_out: LeftOut::default(),
            doubts: vec!["no column flags".into()],
            statistic: Statistic::Robust,
            interval_level: 0.95,
            labels: [("teff".to_string(), heavy), ("fe_h".to_string(), found(1.0, 0.2))].into(),
            label_names: ["teff", "logg", "fe_h"].map(String::from).to_vec(),
        };
        let said = text(&repeats);
        for words in [
            "hold over 75% of their star's weight tell of the others' noise and do not count: 6 in Teff\n",
            "no column flags\n",
            "log g: no two visits of a star have it",
        ] {
            assert!(said.contains(words), "`{words}` not said in: {said}");
        }
    }

    #[test]
    fn a_paragraph_says_what_was_found_and_no_more() {
        let loud = paragraph("teff", &found(1.6, 0.2));
        for words in [
            "Teff: visits of a star scatter by 10.0 [9.0, 11.0] K at a median SNR of 67, 1.60 [1.52, 1.68] times their formal errors (6.2 K)",
            "noise is 4% [4%, 4%]; the other 49.0 K, if they are right, are the same in every visit",
            "From SNR 150 to 30 visits add 16.5 [14.8, 18.2] K in quadrature, formal errors 12.0 K, calibrated ones 75.0 K: they take \
             low SNR to be worse than it is.",
        ] {
            assert!(loud.contains(words), "`{words}` not said in: {loud}");
        }
        let quiet = paragraph("teff", &found(0.6, 1.02));
        assert!(
            quiet.contains("what all visits of a star share") && quiet.contains("noise may be all: 1.02"),
            "{quiet}"
        );
        let honest = paragraph("teff", &found(1.0, 1.5));
        assert!(
            honest.contains("as formal errors say") && honest.contains("are too small for single visits"),
            "{honest}"
        );
        let mut few = found(0.5, 0.2);
        few.all.formal = Some(Claimed { error: 13.3, pull: Measured { value: 0.5, interval: (0.26, 3.13) } });
        let said = paragraph("teff", &few);
        assert!(said.contains("; formal errors (13.3 K) may be right: 0.50 [0.26, 3.13] of them"), "{said}");
        let mut alone = found(1.0, 0.2);
        (alone.all.formal, alone.all.calibrated, alone.growth, alone.all.snr) = (None, None, None, None);
        assert_eq!(
            paragraph("fe_h", &alone),
            "[Fe/H]: visits of a star scatter by 10.0000 [9.0000, 11.0000] dex; the model gives no formal errors."
        );
    }
}
