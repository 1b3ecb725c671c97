//! Experiments that stand alone: presets of the program, extended from any folder, and files to begin with.

use std::path::Path;

use crate::support::{json, latest, refused, succeeded, told};

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn what_init_writes_checks_and_runs_in_a_folder_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    for start in ["lab", "survey", "network"] {
        let said = succeeded(root.path(), &["init", start, "mine"]);
        assert!(said.contains(&format!("mine/{start}.toml")), "{said}");
        let settings = succeeded(root.path(), &["check", &format!("mine/{start}.toml")]);
        assert!(settings.contains("[models.") && settings.contains("question"), "{settings}");
    }
    let mine = root.path().join("mine");
    let before = std::fs::read_to_string(mine.join("lab.toml")).unwrap();
    refused(&mine, &["init", "lab"], 2, &["lab.toml is there already, and is left as it is"]);
    assert_eq!(std::fs::read_to_string(mine.join("lab.toml")).unwrap(), before);

    let small = [
        "data.mock.stars=60",
        "models.cannon.cannon.order=1",
        "models.mine.network.input.components.count=10",
        "models.mine.network.members=1",
        "models.mine.network.descent.epochs=2",
    ];
    let mut arguments = vec!["run", "network.toml"];
    small.iter().for_each(|set| arguments.extend(["--set", set]));
    succeeded(&mine, &arguments);
    let run = latest(&mine, "network");
    assert!(json(&run.join("metrics.json"))["models"]["mine"].is_object() && run.join("report.html").is_file());
}

#[test]
fn presets_are_extended_by_name_and_where_their_files_are_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path();
    let of = |text: &str, name: &str| {
        write(place, name, text);
        succeeded(place, &["check", "--all", name])
    };
    let by_name = of("extends = 'maury:mock'\nseed = 5\n", "a.toml");
    assert!(by_name.contains("stars = 1886") && by_name.contains("seed = 5"), "{by_name}");
    write(place, "b.toml", "extends = 'configs/mock.toml'\n");
    told(
        place,
        &["check", "b.toml"],
        &["b.toml: configs/mock.toml is not here; maury:mock, which is part of the program"],
    );
    // A file of that name goes first.
    std::fs::create_dir(place.join("configs")).unwrap();
    write(place, "configs/mock.toml", "labels = ['teff']\n[data.mock]\nstars = 7\n");
    assert!(of("extends = 'configs/mock.toml'\n", "b.toml").contains("stars = 7"));
    write(place, "c.toml", "extends = 'maury:moc'\n");
    refused(
        place,
        &["check", "c.toml"],
        2,
        &["no preset of this name; there are apogee, arrays", "did you mean maury:mock?"],
    );
}

#[test]
fn what_is_extended_may_extend_in_turn_and_no_circle_is_endless() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path();
    write(place, "one.toml", "extends = 'maury:mock'\nseed = 1\n[data.mock]\nstars = 70\n[fit]\nstarts = 2\n");
    std::fs::create_dir(place.join("below")).unwrap();
    write(place, "below/two.toml", "extends = '../one.toml'\nseed = 2\n");
    write(place, "three.toml", "extends = 'below/two.toml'\n[fit]\nstarts = 4\n");
    let settings = succeeded(place, &["check", "three.toml", "--set", "fit.max_steps=33"]);
    for line in ["seed = 2", "stars = 70", "starts = 4", "max_steps = 33"] {
        assert!(settings.contains(line), "{line}: {settings}");
    }
    write(place, "x.toml", "extends = 'y.toml'\n");
    write(place, "y.toml", "extends = 'x.toml'\n");
    refused(
        place,
        &["check", "x.toml"],
        2,
        &["x.toml extends", "y.toml extends", "5 levels are allowed, and none that leads back"],
    );
}
