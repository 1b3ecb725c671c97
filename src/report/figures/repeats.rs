//! What visits of one star scatter by along SNR, beside the errors claimed for them.

use crate::error::Result;
use crate::findings::repeats::outcome::{Claimed, LabelRepeats, RepeatBin, Repeats, Statistic};
use crate::plot::Figure;
use crate::plot::lines::{Curve, LineFigure, LinePanel, Measured, line_panels};
use crate::report::{percent, title_with_unit};

/// What is drawn of each label; calibrated errors where there are some.
const KINDS: [&str; 3] = ["scatter of one star's visits", "median formal error", "median calibrated error"];

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
    let width = if repeats.statistic == Statistic::Robust { "robust (1.4826 MAD)" } else { "standard deviation" };
    let remark = format!("{width}; bars: {} interval", percent(repeats.interval_level));
    let title = format!("{model}: {} visits of {} stars", repeats.n_used, repeats.n_stars);
    let figure = LineFigure {
        title: &title,
        x_title: "SNR per pixel of a visit",
        categories: &[],
        kinds: &kinds,
        ticks_at_values: false,
        styles: ["measured", "claimed"],
        remark: &remark,
    };
    line_panels(&figure, &panels).map(Some)
}

fn panel(name: &str, found: &LabelRepeats) -> LinePanel {
    let bins = if found.along_snr.is_empty() { std::slice::from_ref(&found.all) } else { &found.along_snr[..] };
    let nothing = (f64::NAN, f64::NAN);
    let curve = |kind: usize, of: &dyn Fn(&RepeatBin) -> (f64, (f64, f64))| {
        let point = |bin: &RepeatBin| {
            let (value, interval) = of(bin);
            Measured { x: bin.snr.unwrap_or(f64::NAN), value, interval }
        };
        Curve { kind, is_second: kind > 0, points: bins.iter().map(point).collect() }
    };
    let error = |claimed: &Option<Claimed>| (claimed.as_ref().map_or(f64::NAN, |claimed| claimed.error), nothing);
    let mut curves =
        vec![curve(0, &|bin| (bin.scatter.value, bin.scatter.interval)), curve(1, &|bin| error(&bin.formal))];
    if found.all.calibrated.is_some() {
        curves.push(curve(2, &|bin| error(&bin.calibrated)));
    }
    LinePanel { title: title_with_unit(name), curves }
}
