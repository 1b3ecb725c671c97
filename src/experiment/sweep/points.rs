//! The points of a sweep: what each changes, checked before any of them runs.

use toml::{Table, Value};

use super::value_text;
use crate::error::{Result, nearest_name};
use crate::experiment::advice::plain;
use crate::experiment::config::ExperimentConfig;
use crate::experiment::layers::{Layers, hint};
use crate::experiment::validate::validate;

/// More points than this are a slip of the pen, or work for a cluster.
const MOST_POINTS: usize = 300;
/// What a process settles once, before it computes anything.
const SETTLED_ONCE: [&str; 2] = ["device.precision", "device.threads"];

/// One combination of values, and the experiment it makes.
#[derive(Debug, Clone)]
pub struct Point {
    /// One value per key of the sweep.
    pub values: Vec<Value>,
    /// All settings of the point; without a sweep of its own.
    pub config: ExperimentConfig,
}

/// `continuum.order = 1, seed = 2`: the place of a point in its sweep.
pub fn place<'a>(keys: impl Iterator<Item = &'a str>, values: &[Value]) -> String {
    let pairs: Vec<String> = keys.zip(values).map(|(key, value)| format!("{key} = {}", value_text(value))).collect();
    pairs.join(", ")
}

/// Every point of an experiment's sweep.
///
/// # Errors
/// [`crate::error::Error::Config`] naming the file and line of a key that cannot be swept or a value that it cannot take.
pub fn expand(config: &ExperimentConfig, layers: &Layers) -> Result<Vec<Point>> {
    let sweep = &config.sweep;
    if sweep.is_empty() {
        return Ok(Vec::new());
    }
    let mut base = layers.table::<ExperimentConfig>()?;
    base.remove("sweep");
    let blame = |key: &str, problem: String| Err(layers.blame(&format!("sweep.{key}"), &problem));
    // Counted before any value is looked at, each of which takes its time.
    let n_points = sweep.n_points();
    let widest = sweep.axes().max_by_key(|(_, values)| values.len()).filter(|(_, values)| values.len() > MOST_POINTS);
    if let Some((key, values)) = widest {
        return blame(key, format!("has {} values; at most {MOST_POINTS} points run at once", values.len()));
    }
    if n_points > MOST_POINTS {
        let last = sweep.keys().last().unwrap_or_default();
        return blame(last, format!("brings the sweep to {n_points} points; at most {MOST_POINTS} run at once"));
    }
    for (key, values) in sweep.axes() {
        if let Some(problem) = obstacle(config, key, values) {
            return blame(key, problem);
        }
        if let Some(set) = layers.set_by(key) {
            let problem =
                format!("is set by {set} too; give the sweep one value instead: --set 'sweep.\"{key}\"=[...]'");
            return blame(key, problem);
        }
        for value in values {
            if let Err(problem) = at(&base, [(key, value)]) {
                return blame(key, refusal(value, &problem));
            }
        }
    }
    sweep
        .combinations()
        .map(|values| {
            let here = place(sweep.keys(), &values);
            let point = at(&base, sweep.keys().zip(&values)).map_err(|problem| {
                layers.blame("sweep", &format!("has a point that is no experiment, {here}: {problem}"))
            })?;
            validate(&point).map_err(|(wrong, problem)| {
                match sweep.keys().zip(&values).find(|(key, _)| overlap(key, &wrong)) {
                    Some((key, value)) => {
                        layers.blame(&format!("sweep.{key}"), &refusal(value, &format!("{wrong} {problem}")))
                    }
                    None => layers.blame("sweep", &format!("has an invalid point, {here}: {wrong} {problem}")),
                }
            })?;
            Ok(Point { values, config: point })
        })
        .collect()
}

/// Why a key cannot be swept over these values, apart from what the values are.
fn obstacle(config: &ExperimentConfig, key: &str, values: &[Value]) -> Option<String> {
    let parts: Vec<&str> = key.split('.').collect();
    if ["sweep", "extends"].contains(&parts[0]) {
        return Some(format!("cannot be swept: `{}` is not a setting of a point", parts[0]));
    }
    if SETTLED_ONCE.iter().any(|settled| overlap(settled, key)) {
        let settled = SETTLED_ONCE.join(" and ");
        return Some(format!(
            "cannot be swept: {settled} hold for a whole process; run the experiment twice with --set"
        ));
    }
    if values.is_empty() {
        return Some("is an empty list; name at least one value".into());
    }
    if let Some(twice) = (1..values.len()).find(|k| values[..*k].contains(&values[*k])) {
        return Some(format!("names {} twice", value_text(&values[twice])));
    }
    if let Some(other) = config.sweep.keys().find(|other| *other != key && overlap(other, key)) {
        return Some(format!("and sweep.{other} change the same setting; keep one"));
    }
    // Any name under `models` makes a model: a misspelt one would silently add it.
    if let ["models", name, _, ..] = parts[..]
        && !config.models.contains_key(name)
    {
        let names: Vec<&str> = config.models.keys().map(String::as_str).collect();
        let near = nearest_name(name, names.iter().copied()).map(|near| format!("\ndid you mean `{near}`?"));
        let has = names.join(", ");
        return Some(format!("names no model of the experiment (it has {has}){}", near.unwrap_or_default()));
    }
    None
}

/// Whether two dotted keys are the same, or one holds the other.
fn overlap(a: &str, b: &str) -> bool {
    let holds = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    a == b || holds(a, b) || holds(b, a)
}

fn refusal(value: &Value, problem: &str) -> String {
    match problem.starts_with("unknown field") {
        true => format!("is no setting: {problem}"),
        false => format!("cannot be {}: {problem}", value_text(value)),
    }
}

/// The experiment with some keys changed.
fn at<'a>(base: &Table, changes: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Result<ExperimentConfig, String> {
    let mut table = base.clone();
    for (key, value) in changes {
        change(&mut table, key, value);
    }
    let read: Result<ExperimentConfig, _> = table.try_into();
    let mut config = read.map_err(|err| format!("{}{}", plain(err.message()), hint(err.message())))?;
    config.settle();
    Ok(config)
}

/// Gives a dotted key its value; what was no table before and has to be one is replaced.
fn change(table: &mut Table, key: &str, value: &Value) {
    let Some((part, rest)) = key.split_once('.') else {
        table.insert(key.into(), value.clone());
        return;
    };
    let inner = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
    if !inner.is_table() {
        *inner = Value::Table(Table::new());
    }
    if let Value::Table(inner) = inner {
        change(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::load::Experiment;
    use crate::spectra::split::Split;

    const DATA: &str = "[data.arrays]\nflux = \"f.npy\"\nivar = \"i.npy\"\nlabels = \"l.csv\"\n";

    fn load(text: &str, sets: &[&str]) -> Result<Experiment> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("try.toml");
        std::fs::write(&path, format!("{text}\n{DATA}")).unwrap();
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        Experiment::load(&path, &sets, None)
    }

    fn places(experiment: &Experiment) -> Vec<String> {
        experiment.points.iter().map(|point| place(experiment.config.sweep.keys(), &point.values)).collect()
    }

    #[test]
    fn every_combination_is_an_experiment_of_its_own() {
        let text = "split = \"halves\"\n[sweep]\n\"split.folds.k\" = [5, 2]\n\"models.cannon.cannon.order\" = [1, 3]";
        let experiment = load(text, &["seed=4"]).unwrap();
        let short: Vec<String> = places(&experiment).iter().map(|p| p.replace("models.cannon.cannon.", "")).collect();
        let expected = ["5, order = 1", "5, order = 3", "2, order = 1", "2, order = 3"];
        assert_eq!(short, expected.map(|end| format!("split.folds.k = {end}")));
        let config = &experiment.points[1].config;
        assert_eq!((config.split, config.seed, config.sweep.is_empty()), (Split::Folds { k: 5 }, 4, true));
        assert_eq!((config.models["cannon"].flux_order(), config.models.len()), (Some(3), 1));
        assert!(load("seed = 1", &[]).unwrap().points.is_empty());
        assert!(load("[sweep]", &[]).unwrap().points.is_empty());
    }

    #[test]
    fn values_may_be_tables_and_lists_and_come_from_the_command_line() {
        let text = "[sweep]\nsplit = [\"halves\", { folds = { k = 3 } }]";
        let experiment = load(text, &["sweep.\"labels\"=[[\"teff\"], [\"teff\", \"logg\"]]"]).unwrap();
        let expected = [
            "split = halves, labels = [\"teff\"]",
            "split = halves, labels = [\"teff\", \"logg\"]",
            "split = folds.k = 3, labels = [\"teff\"]",
            "split = folds.k = 3, labels = [\"teff\", \"logg\"]",
        ];
        assert_eq!(places(&experiment), expected);
        // A list on the command line takes the place of the file's.
        let one = load("[sweep]\nseed = [1, 2, 3]\n\"fit.starts\" = [1]", &["sweep.\"seed\"=[9]"]).unwrap();
        assert_eq!(places(&one), ["seed = 9, fit.starts = 1"]);
    }

    #[test]
    fn what_cannot_be_swept_is_refused_with_file_line_and_remedy() {
        let refused = |text: &str, sets: &[&str], said: &[&str]| {
            let message = load(text, sets).unwrap_err().to_string();
            for words in said {
                assert!(message.contains(words), "{text}: `{words}` not in: {message}");
            }
        };
        let sweep = |line: &str| format!("seed = 1\n[sweep]\n{line}");
        refused(&sweep("\"continuum.ordr\" = [1]"), &[], &["try.toml, line 3", "no setting", "did you mean `order`"]);
        refused(&sweep("\"contiuum.order\" = [1]"), &[], &["line 3", "did you mean `continuum`"]);
        refused(&sweep("\"continuum.order\" = [1, 99]"), &[], &["line 3", "cannot be 99", "must be 0 to 10"]);
        refused(
            &sweep("\"continuum.order\" = [1, \"two\"]"),
            &[],
            &["line 3", "cannot be two", "expected a whole number"],
        );
        refused(&sweep("split = [\"halfs\"]"), &[], &["cannot be halfs", "did you mean `halves`"]);
        refused(&sweep("\"continuum.order\" = []"), &[], &["line 3", "empty list"]);
        refused(&sweep("seed = [1, 2, 1]"), &[], &["line 3", "names 1 twice"]);
        refused(&sweep("sweep = [1]"), &[], &["line 3", "cannot be swept"]);
        refused(&sweep("extends = [\"a.toml\"]"), &[], &["line 3", "cannot be swept"]);
        refused(&sweep("\"device.threads\" = [1, 2]"), &[], &["whole process"]);
        refused(&sweep("\"continuum.order\" = [1]\ncontinuum = [{ order = 1 }]"), &[], &["line 3", "same setting"]);
        let model = "[models.quadratic.cannon]\n[sweep]\n\"models.quadratc.cannon.order\" = [1]";
        refused(model, &[], &["line 3", "no model of the experiment (it has quadratic)", "did you mean `quadratic`"]);
        refused(&sweep("max_training_stars = [1]"), &[], &["line 3", "at least 2"]);
        let many =
            format!("seed = {:?}\n\"fit.starts\" = {:?}", (0..99).collect::<Vec<_>>(), (1..9).collect::<Vec<_>>());
        refused(&sweep(&many), &[], &["line 4", "792 points", "at most 300"]);
        let long = format!("\"continuum.order\" = [1]\nseed = {:?}", (0..200_000).collect::<Vec<_>>());
        refused(&sweep(&long), &[], &["line 4", "200000 values", "at most 300"]);
        refused(&sweep("\"continuum.order\" = [1]"), &["continuum.order=2"], &["line 3", "--set 'continuum.order=2'"]);
        refused("", &["sweep.\"continuum.ordr\"=[1]"], &["--set 'sweep.", "did you mean `order`"]);
        refused("", &["sweep.continuum.order=[1]"], &["--set 'sweep.", "in quotes"]);
        refused(
            &sweep("\"data.arrays.ivar\" = [\"a.npy\"]\n\"data.arrays.error\" = [\"b.npy\"]"),
            &[],
            &["has both `error` and `ivar`"],
        );
        // Half a sweep is none: the bad combination is found though each value is fine.
        refused(
            &sweep(
                "\"data.arrays.flux\" = [\"a.npy\"]\n\"selection.ranges.snr.min\" = [1, 9]\n\"selection.ranges.snr.max\" = [5]",
            ),
            &[],
            &["line 4", "cannot be 9", "min above max"],
        );
    }
}
