"""The arena's own numbers: known answers, no leak of labels, and the guide's contender."""

import json
import pathlib
import re
import sys

import numpy as np
import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
ARENA = PROJECT / "benches" / "arena"
sys.path.append(str(ARENA))

import contender  # noqa: E402 - puts the peers on the path
import contest  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import scores  # noqa: E402
import stars as star_sets  # noqa: E402


def test_scatters_and_slopes_of_known_numbers():
    off = np.array([[-1.0], [0.0], [1.0], [10.0]])
    assert scores.scatter(off)[0] == pytest.approx(np.sqrt((3.5**2 + 2.5**2 + 1.5**2 + 7.5**2) / 4))
    # The median is 0.5, the distances from it 0.5, 0.5, 1.5, 9.5, their median 1.
    assert scores.robust_scatter(off)[0] == pytest.approx(1.4826)
    assert scores.robust_scatter(np.vstack([off, [[np.nan]]]))[0] == pytest.approx(1.4826)
    labels = np.arange(10.0)[:, None]
    assert scores.slopes(3 + 0.4 * labels, labels)[0] == pytest.approx(0.4)
    assert scores.relative(np.array([2.0, 1.0]), np.array([[0.0, 0.0], [4.0, 1.0]])) == pytest.approx((1 + 2) / 2)


def test_errors_that_are_true_have_pulls_of_one_and_halved_ones_of_two():
    off = np.random.default_rng(1).normal(size=(20000, 1)) * 3.0
    true, halved = scores.of_errors(off, np.full_like(off, 3.0)), scores.of_errors(off, np.full_like(off, 1.5))
    assert true["pull_width"][0] == pytest.approx(1, abs=0.02) and halved["robust_pull_width"][0] == pytest.approx(2, abs=0.05)
    assert true["coverage_68"][0] == pytest.approx(0.683, abs=0.01) and true["coverage_95"][0] == pytest.approx(0.95, abs=0.01)
    # Within half a standard deviation lie 38.3%.
    assert halved["coverage_68"][0] == pytest.approx(0.383, abs=0.01)
    assert scores.of_errors(off, np.full_like(off, np.nan)) is None


def test_intervals_cover_what_they_should_and_differences_are_paired():
    draw = np.random.default_rng(2)
    bootstrap = scores.Bootstrap(100)
    inside = 0
    for _ in range(100):
        low, high = scores.interval(bootstrap.scatters(draw.normal(size=(100, 1)))["scatter"])[:, 0]
        inside += low <= 1 <= high
    # Of 95% intervals of so few stars a little fewer hold the truth.
    assert 84 <= inside <= 100
    shared = draw.normal(size=(100, 1))
    ours, theirs = (bootstrap.scatters(values)["scatter"] for values in (shared * 1.1, shared))
    low, high = scores.difference(ours, theirs)[0]
    # One that is a tenth worse on the same stars is worse in each resample, though the intervals of both overlap.
    assert 0 < low < high < 0.2 and scores.interval(ours)[0, 0] < scores.interval(theirs)[1, 0]


@pytest.fixture(scope="module")
def synthetic():
    """Spectra of two labels: lines whose depths are linear in them, with noise and masked pixels."""
    draw = np.random.default_rng(3)
    labels = draw.normal(size=(120, 2)) * [300.0, 0.2] + [4800.0, 2.5]
    depth = draw.normal(size=(2, 40)) * 0.1
    flux = (1 + ((labels - [4800.0, 2.5]) / [300.0, 0.2]) @ depth + 0.01 * draw.normal(size=(120, 40))).astype(np.float32)
    ivar = np.where(draw.random(flux.shape) < 0.05, 0, 1e4).astype(np.float32)
    flux[ivar == 0] = 1
    nothing = np.full_like(labels, np.nan)
    fold = star_sets.of_folds(len(labels), 3)
    healthy = np.ones(len(labels), bool)
    return star_sets.StarSet("lines", ["teff", "logg"], flux, ivar, np.arange(40.0), labels, nothing, nothing, healthy, fold)


def test_no_contender_sees_the_labels_of_a_test_star(synthetic):
    tested = []
    for training, spectra, rows in synthetic.folds():
        assert not hasattr(spectra, "labels")
        seen = {tuple(labels) for labels in training.labels}
        assert not seen & {tuple(labels) for labels in synthetic.labels[rows]}
        assert len(seen) + len(rows) == len(synthetic.labels)
        tested += list(rows)
    assert sorted(tested) == list(range(len(synthetic.labels)))


class Chosen(contender.Contender):
    """The labels' mean, off by a setting; settings below 0 fail."""

    name = "off"
    tried = ({"by": -1.0}, {"by": 0.3}, {"by": 0.1})

    def train(self, stars):
        if self.settings["by"] < 0:
            raise ValueError("below 0")
        self.labels = stars.labels

    def label(self, spectra):
        draw = np.random.default_rng(4).normal(size=(len(spectra.flux), 2))
        return self.labels.mean(axis=0) + self.settings["by"] * draw * 1000


def test_settings_are_those_that_do_best_on_validation_stars(synthetic):
    training = next(synthetic.folds())[0]
    settings, found = contest.validated(Chosen, training)
    assert settings == {"by": 0.1} and found[0] is None and found[1] > found[2]

    class Failing(Chosen):
        tried = ({"by": -1.0}, {"by": -2.0})

    with pytest.raises(RuntimeError, match="none of its settings works: below 0"):
        contest.validated(Failing, training)


def test_the_contender_of_the_guide_is_judged_beside_another(synthetic, tmp_path):
    guide = (ARENA / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(code.splitlines()) <= 30
    (tmp_path / "neighbours.py").write_text(code, encoding="utf-8")
    kinds = contender.of_file(tmp_path / "neighbours.py")
    assert list(kinds) == ["neighbours.Neighbours"]
    kinds["maury_models.Off"] = Chosen
    (tmp_path / "sets").mkdir()
    (tmp_path / "results" / "lines").mkdir(parents=True)
    synthetic.save(tmp_path / "sets" / "lines.npz")
    results = {}
    for key, kind in kinds.items():
        measurement = measure.Measurement()
        estimates, errors, modules = contest.run(kind, star_sets.StarSet.load(tmp_path / "sets" / "lines.npz"), measurement)
        np.savez(tmp_path / "results" / "lines" / f"{key}.npz", estimates=estimates, errors=errors)
        measurement.write(tmp_path / "one.json", [np, *modules])
        results[key] = {"load": 0.0, **json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))}
    results["pytorch.Absent"] = {"load": 0.0, "error": "ModuleNotFoundError: No module named 'torch'"}
    names = {**{key: kind.name for key, kind in kinds.items()}, "pytorch.Absent": "PyTorch"}
    about = {"date": "2020-01-01", "machine": "a machine", "maury_commit": ""}
    measured = {"about": about, "names": names, "results": {"lines": results}, "sets": {"lines": str(tmp_path / "sets" / "lines.npz")}}
    (tmp_path / "measured.json").write_text(json.dumps(measured), encoding="utf-8")
    chapter = tmp_path / "peers.md"
    chapter.write_text("before\n<!-- arena -->\nold\n<!-- end of arena -->\nafter\n", encoding="utf-8")
    report.write(tmp_path / "measured.json", tmp_path, chapter)
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    (view,) = found["sets"]["lines"]["views"].values()
    judged = view["contenders"]
    assert judged["neighbours.Neighbours"]["relative_scatter"] < 0.6 and judged["neighbours.Neighbours"]["errors"]["n_errors"] == [120, 120]
    assert judged["maury_models.Off"]["errors"] is None
    verdict = view["verdicts"]["relative_scatter"]
    assert verdict["best"] == "neighbours.Neighbours" and verdict["ours_behind"][0] > 0
    assert "maury loses: its best, off," in view["words"][0] and [lost["label"] for lost in view["lost"]["scatter"]] == [0, 1]
    page = (tmp_path / "arena.html").read_text(encoding="utf-8")
    assert "No module named &#x27;torch&#x27;" in page and "http" not in page
    table = chapter.read_text(encoding="utf-8")
    assert table.startswith("before\n") and table.endswith("after\n") and "\nold\n" not in table
    assert f"**{judged['neighbours.Neighbours']['relative_scatter']:.3f}" in table and "| PyTorch | failed |" in table and "| CPU s, lines |" in table
