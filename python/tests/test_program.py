"""The module and the program give the same numbers, bit for bit; the program comes with the module."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable

import maury

ROOT = Path(__file__).parents[2]


def program(*words, **how):
    done = subprocess.run([sys.executable, "-m", "maury", *map(str, words)], capture_output=True, text=True, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["cannon", "ridge", "network"])
def test_the_module_gives_the_programs_numbers(kind, halves, tmp_path):
    train, test = halves
    for name, stars in (("train", train), ("test", test)):
        np.save(tmp_path / f"{name}-flux.npy", stars.flux)
        np.save(tmp_path / f"{name}-ivar.npy", stars.ivar)
    np.save(tmp_path / "wavelength.npy", train.wavelength.value)
    columns = QTable({"id": train.id})
    for name in train.label_names:
        columns[name] = train.labels[name].value
        columns[f"e_{name}"] = train.label_errors[name].value
    columns.write(tmp_path / "labels.fits")
    estimator = {
        "cannon": maury.Cannon(),
        "ridge": maury.KernelRidge(),
        "network": maury.Network({"mlp": {"hidden": [16]}}, input={"components": {"count": 20}}, members=2, descent={"epochs": 5}),
    }[kind]
    errors = train.label_errors
    estimator.fit(train.flux, train.labels, ivar=train.ivar, y_error=errors, wavelength=train.wavelength, ids=train.id)
    # The program's models are taught by one half of the stars: with split = "all", by all of them.
    from maury._settings import toml

    settings = estimator._settings(train.label_names)
    settings["split"] = "all"
    settings["selection"] = {"keep_missing_labels": True}
    settings["data"] = {
        "arrays": {
            "flux": str(tmp_path / "train-flux.npy"),
            "ivar": str(tmp_path / "train-ivar.npy"),
            "wavelengths": str(tmp_path / "wavelength.npy"),
            "labels": str(tmp_path / "labels.fits"),
        }
    }
    (tmp_path / "same.toml").write_text(toml(settings))
    run = maury.run(tmp_path / "same.toml", experiments=tmp_path / "runs", quiet=True)
    folder = run.folder / "models" / type(estimator).__name__
    program(
        "label", "--model", folder, "--flux", tmp_path / "test-flux.npy", "--ivar", tmp_path / "test-ivar.npy", "--out", tmp_path / "labelled"
    )
    table = QTable.read(tmp_path / "labelled.fits", hdu=1)
    found = estimator.label(test.flux, ivar=test.ivar)
    for column in [name for name in found.colnames if name.endswith(("_estimate", "_error", "_error_calibrated"))]:
        theirs = np.asarray(getattr(table[column], "value", table[column]))
        assert np.array_equal(found[column].value, theirs, equal_nan=True), column
    assert list(found["flags"]) == list(table["flags"])


def test_a_run_is_opened(tmp_path):
    settings = {
        "extends": "maury:mock",
        "labels": ["teff", "logg", "fe_h"],
        "calibration": {"folds": 0},
        "models": {"plain": {"cannon": {"order": 1}}},
    }
    run = maury.run(settings, name="short", experiments=tmp_path, quiet=True, data={"mock": {"stars": 60}}, **{"bootstrap.resamples": 50})
    assert run.metrics["settings"]["data"]["mock"]["stars"] == 60
    assert list(run.models) == ["plain"] and run.models["plain"].label_names == ["teff", "logg", "fe_h"]
    assert len(run.predictions["plain"]) > 20
    assert any("one_to_one" in name or "teff" in name for name in run.figures), list(run.figures)
    assert run._repr_html_().startswith("<iframe")
    with pytest.raises(maury.ConfigError, match="did you mean `continuum`|continuum"):
        maury.run({**settings, "contineum": {}}, name="wrong", experiments=tmp_path, quiet=True)


def test_the_program_stands_alone(tmp_path):
    assert "Usage: maury" in program("--help")
    program("init", "survey", tmp_path / "mine")
    assert (tmp_path / "mine" / "survey.toml").is_file() or list((tmp_path / "mine").glob("*.toml"))


def test_ctrl_c_ends_the_work(halves, tmp_path):
    train, _ = halves
    np.savez(tmp_path / "stars.npz", flux=np.tile(train.flux, (8, 1)), ivar=np.tile(train.ivar, (8, 1)))
    np.save(tmp_path / "labels.npy", np.tile(np.column_stack([train.labels[name].value for name in train.label_names]), (8, 1)))
    script = (
        "import maury, numpy as np, sys, threading, time, os, signal\n"
        "at = sys.argv[1]; stars = np.load(at + '/stars.npz'); labels = np.load(at + '/labels.npy')\n"
        "threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "began = time.time()\n"
        "try:\n"
        "    maury.Network('starnet', descent={'epochs': 500}).fit(stars['flux'], labels, ivar=stars['ivar'])\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', time.time() - began < 60)\n"
    )
    said = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert said.stdout.strip() == "stopped True", said.stderr[-2000:]


SHIPPED = sorted(path for folder in ("configs", "experiments", "assets/starts") for path in (ROOT / folder).glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_experiment_is_valid_by_the_schema(path):
    jsonschema = pytest.importorskip("jsonschema")
    tomllib = pytest.importorskip("tomllib")
    schema = json.loads((ROOT / "docs/experiment.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(schema)
    text = path.read_text(encoding="utf-8")
    problems = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(tomllib.loads(text))]
    assert not problems, problems
    wrong = tomllib.loads(text) | {"contineum": {}}
    assert list(validator.iter_errors(wrong))


def test_keys_explain_themselves(tmp_path):
    assert "polynomial" in program("explain", "models.NAME.cannon.order")
    (tmp_path / "mine.toml").write_text("extends = 'maury:mock'\n[continuum]\norder = 3\n")
    said = program("explain", "continuum.order", "mine.toml", cwd=tmp_path)
    assert "here:    3 (mine.toml, line 3)" in said and "default: 2" in said
    assert json.loads(program("explain", "--schema")) == json.loads((ROOT / "docs/experiment.schema.json").read_text(encoding="utf-8"))
