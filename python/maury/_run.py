"""Whole experiments, as ``maury run`` does them."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from astropy.table import QTable, Table

from ._errors import ConfigError, DataError, MauryError
from ._model import load
from ._progress import Bar
from ._settings import toml


class Run:
    """What an experiment left: its folder, opened.

    Parameters
    ----------
    folder : path-like
        Folder of a run, with ``metrics.json`` and ``report.html``.

    Attributes
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        if not (self.folder / "metrics.json").is_file():
            latest = self.folder / "latest"
            hint = f"; {latest} is one" if latest.exists() else ""
            raise DataError(f"{folder}: no folder of a run: it has no metrics.json{hint}")

    def __repr__(self):
        return f"<maury.Run in {self.folder}>"

    @property
    def metrics(self):
        """Everything that was measured: ``metrics.json`` as a dictionary."""
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))

    @property
    def predictions(self):
        """Labels of the test stars, a table for each model."""
        names = list(self.metrics["models"])
        found = {name: self.folder / f"predictions-{name}.fits" for name in names}
        if len(names) == 1:
            found = {names[0]: self.folder / "predictions.fits"}
        return {name: QTable(Table.read(path)) for name, path in found.items() if path.is_file()}

    @property
    def models(self):
        """The trained models, by name; of several folds the first."""
        found = {}
        for folder in sorted((self.folder / "models").glob("*")):
            first = folder if (folder / "model.json").is_file() else folder / "fold1"
            if (first / "model.json").is_file():
                found[folder.name] = load(first)
        return found

    @property
    def figures(self):
        """Figures by name: paths of SVG files, or of PNG files where there are no others."""
        found = {}
        for ending in ("png", "svg"):
            for path in sorted((self.folder / "figures").rglob(f"*.{ending}")):
                found[path.relative_to(self.folder / "figures").with_suffix("").as_posix()] = path
        return found

    @property
    def report(self):
        """The page to open first."""
        return self.folder / "report.html"

    def _repr_html_(self):
        """Summary of the report, figures and all, in a frame of its own."""
        import html

        page = html.escape(self.report.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 45em; border: 1px solid #ccc"></iframe>'


def _sets(overrides, before=""):
    """``--set`` of nested settings."""
    for key, value in overrides.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and value:
            yield from _sets(value, f"{name}.")
        else:
            yield f"{name}={toml({'x': value}).partition('=')[2].strip()}"


def run(experiment, *, name=None, experiments="experiments", quiet=False, progress=None, **overrides):
    """Run an experiment, as ``maury run`` does.

    Parameters
    ----------
    experiment : path-like or dict
        Its TOML file, or its settings.
    name : str, optional
        Its name; by default the file's, or ``experiment``.
    experiments : path-like
        Where runs are kept.
    quiet : bool
        Whether to say only warnings.
    progress : bool, optional
        Whether to draw bars; by default in terminals and notebooks.
    **overrides
        Settings to change: ``seed=3``, ``data={"mock": {"stars": 300}}``, ``**{"continuum.order": 3}``.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError, MauryError
        With what the program said.
    """
    with tempfile.TemporaryDirectory(prefix="maury-") as made:
        if isinstance(experiment, dict):
            path = Path(made) / f"{name or 'experiment'}.toml"
            path.write_text(toml(experiment), encoding="utf-8")
        else:
            path = Path(experiment)
            if not path.is_file():
                raise FileNotFoundError(f"{path}: no such experiment file")
        words = [sys.executable, "-m", "maury", "run", os.fspath(path), "--experiments", os.fspath(experiments)]
        words += ["--name", name] if name else []
        for setting in _sets(overrides):
            words += ["--set", setting]
        return Run(_heard(words, quiet, progress))


#: What the program says of a task where it has no terminal.
_TOLD = re.compile(r"^(?P<task>.+): (?P<done>\d+) of (?P<total>\d+)$")


def _heard(words, quiet, progress):
    """Runs the program, hands on what it says, and gives the folder it made."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    with process:
        return _followed(process, quiet, progress)


def _followed(process, quiet, progress):
    """What a running program says, and the folder it made."""
    import threading

    answer = []
    reader = threading.Thread(target=lambda: answer.append(process.stdout.read()))
    reader.start()
    last, task = [], None
    try:
        with Bar(progress) as bar:
            for line in process.stderr:
                line = line.rstrip("\n")
                told = _TOLD.match(line)
                if told:
                    bar(told["task"], int(told["total"]), int(told["done"]), told["task"] != task)
                    task = told["task"]
                    continue
                last = [*last[-20:], line]
                if not quiet or "WARN" in line:
                    print(line.strip())
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        reader.join()
    begins = max((n for n, line in enumerate(last) if line.startswith("error: ")), default=0)
    said = "\n".join(last[begins:]).removeprefix("error: ")
    if code == 2:
        raise ConfigError(said)
    if code:
        raise MauryError(said)
    folders = [line for line in answer[0].splitlines() if os.path.isfile(os.path.join(line, "metrics.json"))]
    if not folders:
        raise MauryError(f"the program named no folder: {answer[0]}")
    return folders[-1]
