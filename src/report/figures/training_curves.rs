//! The course of a training by gradient descent: losses, learning rate, and the scatter of every label, by epoch.

use crate::error::{Error, Result};
use crate::plot::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, Titles, linear};
use crate::plot::canvas::{Canvas, render};
use crate::plot::legend::{Entry, Legend};
use crate::plot::marks::{Lettering, Level, Marker, Rect, Stroke};
use crate::plot::palette::{BLACK, Color, GREY, KINDS, viridis};
use crate::plot::scale::Scale;
use crate::plot::ticks::padded_range;
use crate::plot::{Figure, PAGE_WIDTH};
use crate::report::label_title;
use crate::spectra::labels::unit;
use crate::training::descent_state::EpochRecord;
use crate::training::label_regression::MemberReport;

/// More descents than this are not named one by one.
const MOST_NAMED: usize = 8;
/// Losses and scatters that span more than this factor are told apart on a logarithmic axis.
const MOST_LINEAR_SPAN: f64 = 5.0;
const TOP: f64 = 30.0;
const TOP_MARGIN: f64 = 10.0;
const RIGHT_MARGIN: f64 = 14.0;
const LOSS_HEIGHT: f64 = 220.0;
const ASPECT: f64 = 0.8;
const COLUMNS: usize = 3;

/// Index of a descent, whether its line is dashed, points.
type PanelCurve = (usize, bool, Vec<(f64, f64)>);

/// One quantity by epoch.
struct Panel {
    title: String,
    scale: Scale,
    curves: Vec<PanelCurve>,
}

/// Draws the figure: the losses above, the learning rate and the robust scatter of every label below, for each network of an
/// ensemble.
///
/// # Errors
/// [`Error::Figure`] without any epoch.
pub fn draw(title: &str, label_names: &[String], trainings: &[MemberReport]) -> Result<Figure> {
    let epochs = || trainings.iter().flat_map(|training| (1..=training.curve.len()).map(|epoch| epoch as f64));
    if epochs().next().is_none() {
        return Err(Error::Figure { figure: "training curves".into(), detail: "no epoch to draw".into() });
    }
    let x = padded_range(epochs(), 0.02);
    let (loss, small) = (loss_panel(trainings), small_panels(label_names, trainings));
    let names: Vec<String> = (1..=trainings.len()).map(|member| format!("member {member}")).collect();
    let legend = Legend::new(entries(trainings, &names), PAGE_WIDTH - 20.0);
    let cell = PAGE_WIDTH / COLUMNS as f64;
    let small_height = ASPECT * (cell - LEFT_MARGIN - RIGHT_MARGIN);
    let row_height = TOP_MARGIN + small_height + BOTTOM_MARGIN;
    let first_row = TOP + LOSS_HEIGHT + BOTTOM_MARGIN;
    let height = first_row + row_height * small.len().div_ceil(COLUMNS) as f64 + legend.height() + 8.0;
    render("training curves", (PAGE_WIDTH, height), |canvas| {
        let letters = Lettering::new(12.0).centred();
        canvas.text((PAGE_WIDTH / 2.0, 18.0), title, letters.fitted(title, PAGE_WIDTH - 20.0));
        let width = PAGE_WIDTH - LEFT_MARGIN - RIGHT_MARGIN;
        let frame = Rect { left: LEFT_MARGIN, top: TOP, width, height: LOSS_HEIGHT };
        draw_panel(canvas, &loss, frame, x, trainings);
        for (i, panel) in small.iter().enumerate() {
            let left = (i % COLUMNS) as f64 * cell + LEFT_MARGIN;
            let top = first_row + (i / COLUMNS) as f64 * row_height + TOP_MARGIN;
            let width = cell - LEFT_MARGIN - RIGHT_MARGIN;
            draw_panel(canvas, panel, Rect { left, top, width, height: small_height }, x, trainings);
        }
        legend.draw(canvas, (PAGE_WIDTH / 2.0, height - legend.height() - 4.0));
    })
}

fn loss_panel(trainings: &[MemberReport]) -> Panel {
    let mut curves = Vec::new();
    for (member, training) in trainings.iter().enumerate() {
        curves.push((member, false, points(training, |epoch| epoch.training_loss)));
        curves.push((member, true, points(training, |epoch| epoch.validation_loss.unwrap_or(f64::NAN))));
    }
    Panel { title: "loss".into(), scale: scale_of(&curves), curves }
}

/// Learning rate, and the scatter of every label that was validated.
fn small_panels(label_names: &[String], trainings: &[MemberReport]) -> Vec<Panel> {
    let of_members = |is_dashed: bool, value: &dyn Fn(&EpochRecord) -> f64| -> Vec<PanelCurve> {
        let members = trainings.iter().enumerate();
        members.map(|(member, training)| (member, is_dashed, points(training, value))).collect()
    };
    // Linear: a cosine ends at nil.
    let rates = of_members(false, &|epoch| epoch.learning_rate);
    let mut panels = vec![Panel { title: "learning rate".into(), scale: Scale::Linear, curves: rates }];
    for name in label_names {
        let curves = of_members(true, &|epoch| epoch.robust_scatter.get(name).copied().unwrap_or(f64::NAN));
        if curves.iter().flat_map(|(_, _, points)| points).all(|(_, value)| value.is_nan()) {
            continue;
        }
        let unit = unit(name);
        let unit = if unit.is_empty() { String::new() } else { format!(" [{unit}]") };
        let title = format!("robust scatter {}{unit}", label_title(name));
        panels.push(Panel { title, scale: scale_of(&curves), curves });
    }
    panels
}

fn points(training: &MemberReport, value: impl Fn(&EpochRecord) -> f64) -> Vec<(f64, f64)> {
    (1..).zip(&training.curve).map(|(number, epoch)| (f64::from(number), value(epoch))).collect()
}

/// Logarithmic for positive values of different size.
fn scale_of(curves: &[PanelCurve]) -> Scale {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for (_, value) in curves.iter().flat_map(|(_, _, points)| points).filter(|(_, value)| value.is_finite()) {
        (low, high) = (low.min(*value), high.max(*value));
    }
    if low > 0.0 && high > MOST_LINEAR_SPAN * low { Scale::Log } else { Scale::Linear }
}

fn draw_panel(canvas: &mut Canvas, panel: &Panel, frame: Rect, x: (f64, f64), trainings: &[MemberReport]) {
    let placed = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points.iter().map(|(epoch, value)| (*epoch, panel.scale.place(*value))).collect()
    };
    let values = panel.curves.iter().flat_map(|(_, _, points)| placed(points)).map(|(_, value)| value);
    let axes = Axes { frame, x, y: padded_range(values, 0.06) };
    for (member, training) in trainings.iter().enumerate() {
        let kept = training.epoch as f64;
        let stroke = Stroke { dash: Some((1.5, 2.0)), ..Stroke::solid(color(member, trainings.len()), 0.9) };
        axes.line(canvas, &[(kept, axes.y.0), (kept, axes.y.1)], stroke);
    }
    let mut is_empty = true;
    for (member, is_dashed, points) in &panel.curves {
        let known: Vec<(f64, f64)> = placed(points).into_iter().filter(|(_, value)| value.is_finite()).collect();
        is_empty &= known.is_empty();
        if let [only] = known[..] {
            axes.point(canvas, only, Marker::Dot, 2.0, color(*member, trainings.len()));
        }
        axes.line(canvas, &known, stroke(*is_dashed, color(*member, trainings.len())));
    }
    if is_empty {
        let middle = (frame.left + frame.width / 2.0, frame.top + frame.height / 2.0);
        canvas.text(middle, "no values", Lettering { level: Level::Middle, ..Lettering::new(10.5).centred() });
    }
    let x_marks: Marks = axes.x_marks(linear(axes.x));
    let y_marks = axes.y_marks(panel.scale.marks(axes.y));
    axes.draw_frame_with(canvas, Titles { x: Some("epoch"), y: Some(&panel.title) }, &x_marks, &y_marks);
}

fn stroke(is_dashed: bool, color: Color) -> Stroke {
    if is_dashed { Stroke::dashed(color, 1.2) } else { Stroke::solid(color, 1.2) }
}

/// Few members have colours that nobody confuses; many are a sequence.
fn color(member: usize, n_members: usize) -> Color {
    match KINDS.get(member) {
        Some(color) if n_members <= KINDS.len() => *color,
        _ => viridis(0.92 * member as f64 / (n_members.max(2) - 1) as f64),
    }
}

fn entries<'a>(trainings: &[MemberReport], names: &'a [String]) -> Vec<Entry<'a>> {
    let n = names.len();
    let member = |index: usize| Entry::Line(Stroke::solid(color(index, n), 2.2), names[index].as_str());
    let mut entries = match n {
        1 => Vec::new(),
        _ if n <= MOST_NAMED => (0..n).map(member).collect(),
        _ => vec![member(0), Entry::Words("..."), member(n - 1)],
    };
    let neutral = if n > 1 { BLACK } else { color(0, 1) };
    entries.push(Entry::Line(stroke(false, neutral), "training stars"));
    let validated = |training: &MemberReport| training.curve.iter().any(|epoch| epoch.validation_loss.is_some());
    if trainings.iter().any(validated) {
        entries.push(Entry::Line(stroke(true, neutral), "validation stars"));
    }
    entries.push(Entry::Line(Stroke { dash: Some((1.5, 2.0)), ..Stroke::solid(GREY, 0.9) }, "weights kept"));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [(&str, f64, f64); 3] = [("teff", 300.0, 35.0), ("logg", 0.6, 0.09), ("mg_fe", 0.1, 0.03)];

    fn names() -> Vec<String> {
        LABELS.iter().map(|(name, ..)| name.to_string()).collect()
    }

    /// A descent that overfits: its validation loss has a minimum.
    fn training(n_epochs: usize, slowness: f64) -> MemberReport {
        let decay = |epoch: usize| (-(epoch as f64) / slowness).exp();
        let wiggle = |epoch: usize| 1.0 + 0.06 * ((epoch * epoch) as f64 * 0.7).sin();
        let rise = |epoch: usize| 0.04 * (epoch as f64 / n_epochs as f64).powi(2);
        let scatter = |epoch: usize| {
            let of = |(name, start, floor): (&str, f64, f64)| {
                (name.to_string(), (start * decay(epoch) + floor) * wiggle(epoch + 1))
            };
            LABELS.map(of).into_iter().collect()
        };
        let record = |epoch: usize| EpochRecord {
            training_loss: (decay(epoch) + 0.004) * wiggle(epoch),
            validation_loss: Some((decay(epoch) + 0.02 + rise(epoch)) * wiggle(3 * epoch)),
            learning_rate: 5e-4 * (1.0 + (3.1 * epoch as f64 / n_epochs as f64).cos()),
            gradient_norm: 1.0,
            robust_scatter: scatter(epoch),
        };
        let curve = (1..=n_epochs).map(record).collect();
        MemberReport { n_training: 80, n_validation: 20, epoch: n_epochs / 2 + 1, curve, pretraining: None }
    }

    #[test]
    fn losses_labels_and_members_are_all_there() {
        let trainings = [training(60, 8.0), training(45, 6.0), training(60, 10.0)];
        let figure = draw("network: 3 members", &names(), &trainings).unwrap();
        for words in ["robust scatter Teff [K]", "robust scatter [Mg/Fe] [dex]", "learning rate", "member 3", "kept"] {
            assert!(figure.svg.contains(words), "{words}");
        }
        assert!(figure.svg.contains(">\n0.01\n<") && !figure.svg.contains("NaN"), "the loss axis is logarithmic");
    }

    #[test]
    fn a_descent_without_validation_or_with_one_epoch_is_drawn_and_none_is_refused() {
        let mut plain = training(20, 5.0);
        for epoch in &mut plain.curve {
            epoch.validation_loss = None;
            epoch.robust_scatter.clear();
        }
        plain.curve[3].training_loss = f64::NAN;
        let svg = draw("", &names(), &[plain]).unwrap().svg;
        assert!(svg.contains("training stars") && !svg.contains("validation") && !svg.contains("member"));
        let svg = draw("one", &names(), &[training(1, 5.0)]).unwrap().svg;
        assert_eq!(svg.matches("<circle").count(), 2 + 1 + 3, "losses, rate and labels are points");
        assert!(draw("none", &names(), &[]).is_err());
        assert!(draw("none", &names(), &[MemberReport { curve: Vec::new(), ..training(1, 5.0) }]).is_err());
    }
}
