//! Words for estimates that fall short at the ends of a label's range.

use super::{in_unit, label_title};
use crate::findings::metrics::ModelMetrics;
use crate::findings::saturation::{Saturation, SnrSlope, Tenth};
use crate::spectra::labels::unit;

/// What a tenth of the stars is called, and what its estimates are if they are too low and too high.
struct Words {
    lowest: &'static str,
    highest: &'static str,
    below: &'static str,
    above: &'static str,
}

fn words(label: &str) -> Words {
    match label {
        "teff" => Words { lowest: "coolest", highest: "hottest", below: "too cool", above: "too hot" },
        _ if ["_h", "_fe", "_m"].iter().any(|end| label.ends_with(end)) => {
            Words { lowest: "poorest", highest: "richest", below: "too poor", above: "too rich" }
        }
        _ => Words { lowest: "lowest", highest: "highest", below: "too low", above: "too high" },
    }
}

/// Of one label: the ends and the slope that are clearly off, each as (field of [`Saturation`], words before the size, words
/// after it).
fn ends(label: &str, found: &Saturation) -> Vec<(&'static str, String, &'static str)> {
    let words = words(label);
    let title = label_title(label);
    let end = |field: &'static str, name: &str, tenth: &Tenth| {
        let direction = if tenth.bias < tenth.expected_bias { words.below } else { words.above };
        tenth.is_clear.then(|| (field, format!("stars of the {name} tenth in {title} come out"), direction))
    };
    [end("lowest", words.lowest, &found.lowest), end("highest", words.highest, &found.highest)]
        .into_iter()
        .flatten()
        .collect()
}

/// Lines for the terminal: nothing where no label saturates.
pub fn lines(metrics: &ModelMetrics, labels: &[String]) -> String {
    let mut text = String::new();
    for label in labels {
        let Some(found) = metrics.saturation.get(label) else { continue };
        let own = ends(label, found);
        let noisy: Vec<String> = found.along_snr.iter().filter(|part| part.is_clear).map(at_snr).collect();
        if own.is_empty() && !found.is_slope_clear && noisy.is_empty() {
            continue;
        }
        let number = |value: f64| format!("{} {}", in_unit(value, unit(label)), unit(label)).trim_end().to_string();
        let mut parts: Vec<String> = own
            .into_iter()
            .map(|(field, before, direction)| {
                let tenth = if field == "lowest" { &found.lowest } else { &found.highest };
                let side = if field == "lowest" { "below" } else { "above" };
                format!("{before} {} {direction} ({side} {})", number(tenth.size), number(tenth.limit))
            })
            .collect();
        parts.push(slope(found));
        parts.extend(noisy);
        text += &format!("  {}, against the {}: {}\n", label_title(label), found.reference, parts.join("; "));
    }
    text
}

/// The slope of stars of like SNR.
fn at_snr(part: &SnrSlope) -> String {
    format!("{:.3} at SNR {:.0} to {:.0}", part.slope, part.snr_range.0, part.snr_range.1)
}

fn slope(found: &Saturation) -> String {
    let expected = match found.expected_slope {
        1.0 => String::new(),
        expected => format!(", {expected:.3} expected of a catalogue with its errors"),
    };
    format!("slope {:.3}{expected}", found.slope)
}

/// A sentence on the end of a label's range that is farthest off, in parts of that range, with placeholders for the numbers of
/// `metrics.json`; none where no end is clearly off. What was found is by model and label.
pub fn worst(found: &[(&str, &str, &Saturation)]) -> Option<String> {
    let farthest = |(model, label, found): &(&str, &str, &Saturation)| {
        let range = (found.highest.limit - found.lowest.limit).abs();
        let size = |field: &str| if field == "lowest" { found.lowest.size } else { found.highest.size };
        let of_end = |(field, before, direction)| {
            (size(field) / range, sentence(model, label, found, (field, before, direction)))
        };
        ends(label, found).into_iter().map(of_end).collect::<Vec<_>>()
    };
    found.iter().flat_map(farthest).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, sentence)| sentence)
}

fn sentence(model: &str, label: &str, found: &Saturation, (field, before, direction): (&str, String, &str)) -> String {
    let quantity = |path: String| match unit(label) {
        "" => format!("{{{path}}}"),
        unit => format!("{{{path}:{unit}}} {unit}"),
    };
    let place = format!("models.{model}.saturation.{label}");
    let side = if field == "lowest" { "below" } else { "above" };
    format!(
        "{model}: {before} {} {direction} ({side} {}; slope against the {} {{{place}.slope:.3}}).",
        quantity(format!("{place}.{field}.size")),
        quantity(format!("{place}.{field}.limit")),
        found.reference,
    )
}

/// What estimates of the stars of the lowest and of the highest tenth are, "too hot" and the like; empty where they are not
/// clearly off.
pub fn directions(label: &str, found: &Saturation) -> [&'static str; 2] {
    let ends = ends(label, found);
    ["lowest", "highest"].map(|end| ends.iter().find(|(field, ..)| *field == end).map_or("", |(.., words)| words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bias: f64) -> Saturation {
        let tenth = |bias: f64, limit: f64| Tenth {
            limit,
            n_stars: 100,
            bias,
            bias_interval: (bias - 5.0, bias + 5.0),
            expected_bias: 0.0,
            size: bias.abs(),
            is_clear: bias.abs() > 50.0,
        };
        Saturation {
            reference: "truth".into(),
            n_stars: 1000,
            slope: 0.934,
            slope_interval: (0.93, 0.94),
            expected_slope: 1.0,
            is_slope_clear: true,
            lowest: tenth(3.0, 4200.0),
            highest: tenth(bias, 4970.0),
            along_snr: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_clear_is_told_and_in_the_label_s_own_words() {
        let worst_of = |bias: f64| {
            let (off, quiet) = (found(bias), found(12.0));
            worst(&[("net", "teff", &quiet), ("cannon", "teff", &off), ("ridge", "teff", &found(0.6 * bias))])
        };
        assert_eq!(
            worst_of(-102.0).unwrap(),
            "cannon: stars of the hottest tenth in Teff come out {models.cannon.saturation.teff.highest.size:K} K too cool \
             (above {models.cannon.saturation.teff.highest.limit:K} K; slope against the truth \
             {models.cannon.saturation.teff.slope:.3})."
        );
        assert_eq!((worst_of(-12.0), worst(&[])), (None, None));
        assert_eq!(directions("teff", &found(-102.0)), ["", "too cool"]);
        assert_eq!(directions("teff", &found(-12.0)), ["", ""]);
        assert!(ends("fe_h", &found(60.0))[0].1.contains("richest") && ends("logg", &found(60.0))[0].2 == "too high");
    }
}
