//! What visits of one star scatter by along SNR, beside the errors claimed for them.

use crate::error::Result;
use crate::findings::repeats::outcome::{Claimed, LabelRepeats, Measured as Width, RepeatBin, Repeats, Statistic};
use crate::plot::Figure;
use crate::plot::lines::{Curve, LineFigure, LinePanel, Measured, ratio_panels};
use crate::report::{counted, percent, title_with_unit};

/// What is drawn of each label; calibrated errors where there are some.
const KINDS: [&str; 3] = ["scatter of one star's visits", "formal error", "calibrated error"];

/// A panel per label; none where no visit's SNR is known.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(repeats: &Repeats, model: &str) -> Result<Option<Figure>> {
    let found = repeats.label_names.iter().filter_map(|name| Some((name, repeats.labels.get(name)?)));
    let panels: Vec<LinePanel> =
        found.filter(|(_, found)| found.all.snr.is_some()).map(|(name, found)| panel(name, found)).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let is_calibrated = repeats.labels.values().any(|found| found.all.calibrated.is_some());
    let kinds: Vec<String> = KINDS.iter().take(if is_calibrated { 3 } else { 2 }).map(ToString::to_string).collect();
    let width = match repeats.statistic {
        Statistic::Robust => "1.4826 MAD and median error",
        Statistic::Standard => "standard deviation and rms error",
    };
    let remark = format!("{width}; bars: {} interval", percent(repeats.interval_level));
    let title = format!("{model}: {} of {}", counted(repeats.n_used, "visit"), counted(repeats.n_stars, "star"));
    let figure = LineFigure {
        title: &title,
        x_title: "SNR per pixel of a visit",
        categories: &[],
        kinds: &kinds,
        ticks_at_values: false,
        styles: ["measured", "claimed"],
        remark: &remark,
    };
    ratio_panels(&figure, &panels).map(Some)
}

fn panel(name: &str, found: &LabelRepeats) -> LinePanel {
    let bins = if found.along_snr.is_empty() { std::slice::from_ref(&found.all) } else { &found.along_snr[..] };
    let curve = |kind: usize, of: &dyn Fn(&RepeatBin) -> Width| {
        let point = |bin: &RepeatBin| {
            let Width { value, interval } = of(bin);
            Measured { x: bin.snr.unwrap_or(f64::NAN), value, interval }
        };
        Curve { kind, is_second: kind > 0, points: bins.iter().map(point).collect() }
    };
    let error = |claimed: &Option<Claimed>| {
        let value = claimed.as_ref().map_or(f64::NAN, |claimed| claimed.error);
        Width { value, interval: (f64::NAN, f64::NAN) }
    };
    let mut curves = vec![curve(0, &|bin| bin.scatter), curve(1, &|bin| error(&bin.formal))];
    if found.all.calibrated.is_some() {
        curves.push(curve(2, &|bin| error(&bin.calibrated)));
    }
    LinePanel { title: format!("error of {}", title_with_unit(name)), curves }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::findings::repeats::visits::LeftOut;

    fn repeats(snr: Option<f64>, is_calibrated: bool) -> Repeats {
        let width = |value: f64| Width { value, interval: (0.9 * value, 1.1 * value) };
        let claimed = |error: f64| Claimed { error, pull: width(1.0) };
        let all = RepeatBin {
            n_stars: 1,
            n_visits: 3,
            n_repeats: 2.0,
            snr,
            snr_range: None,
            scatter: width(10.0),
            standard_deviation: 10.0,
            formal: Some(claimed(7.0)),
            calibrated: is_calibrated.then(|| claimed(60.0)),
        };
        let label = LabelRepeats {
            all,
            n_outweighing: 0,
            along_snr: Vec::new(),
            growth: None,
            noise_share: None,
            beyond_noise: None,
        };
        Repeats {
            n_visits: 3,
            n_stars: 1,
            n_used: 3,
            left_out: LeftOut::default(),
            doubts: Vec::new(),
            statistic: Statistic::Standard,
            interval_level: 0.95,
            labels: BTreeMap::from([("teff".to_string(), label)]),
            label_names: vec!["teff".into()],
        }
    }

    #[test]
    fn visits_and_both_kinds_of_errors_are_one_panel_and_unknown_snr_is_no_figure() {
        let svg = |of: &Repeats| draw(of, "cannon").expect("draws").map(|figure| figure.svg);
        let all = svg(&repeats(Some(80.0), true)).expect("a figure");
        let said = ["cannon: 3 visits of 1 star", "error of Teff [K]", "SNR per pixel of a visit", "95% interval"];
        for words in said.into_iter().chain(KINDS) {
            // An apostrophe is escaped in SVG.
            assert!(all.contains(&words.replace('\'', "&apos;")) || all.contains(words), "{words}");
        }
        let formal = svg(&repeats(Some(80.0), false)).expect("a figure");
        assert!(formal.contains(KINDS[1]) && !formal.contains(KINDS[2]));
        assert_eq!(svg(&repeats(None, true)), None);
    }
}
