"""Stars as contenders see them, and the sets of stars that they are judged on."""

import argparse
import dataclasses
import pathlib
import shutil

import numpy as np


#: Sets of real stars, by the experiments that read them.
TITLES = {"miles": "MILES", "lamost": "LAMOST DR1", "hipparcos": "APOGEE DR12, 100 pixels"}


@dataclasses.dataclass
class Spectra:
    """Spectra without labels: all that a contender sees of a test star. Flux is 1 and ivar 0 in masked pixels."""

    flux: np.ndarray  # [n_stars, n_pixels], normalized, float32
    ivar: np.ndarray  # the same
    wavelength: np.ndarray  # [n_pixels], Angstrom; from 0 on where the data do not tell

    def rows(self, rows):
        """These stars only."""
        return Spectra(self.flux[rows], self.ivar[rows], self.wavelength)

    def filled(self, mean):
        """The flux with the mean spectrum, [n_pixels], in masked pixels: for methods that know no masks."""
        return np.where(self.ivar > 0, self.flux, mean)

    def mean(self):
        """The mean of what was measured in each pixel, 1 where nothing was."""
        measured = self.ivar > 0
        return np.where(measured.any(axis=0), (self.flux * measured).sum(axis=0) / np.maximum(measured.sum(axis=0), 1), 1.0)


@dataclasses.dataclass
class Training(Spectra):
    """Spectra of stars that teach."""

    labels: np.ndarray  # [n_stars, n_labels]
    label_errors: np.ndarray  # the same; NaN where the catalogue has none
    names: list  # of the labels

    def rows(self, rows):
        return Training(self.flux[rows], self.ivar[rows], self.wavelength, self.labels[rows], self.label_errors[rows], self.names)


@dataclasses.dataclass
class StarSet:
    """A set of stars: arrays, what is known of the stars, and who tests whom."""

    title: str
    names: list  # of the labels
    flux: np.ndarray
    ivar: np.ndarray
    wavelength: np.ndarray
    labels: np.ndarray
    label_errors: np.ndarray
    truth: np.ndarray  # true labels; NaN where nobody knows
    healthy: np.ndarray  # bool; where somebody knows what is wrong with a star, else all
    fold: np.ndarray  # in which the star is tested; -1 for one that only teaches

    def folds(self):
        """For each fold the stars that teach, the spectra to label, and the rows of the latter."""
        for fold in range(self.fold.max() + 1):
            teach, test = np.flatnonzero(self.fold != fold), np.flatnonzero(self.fold == fold)
            stars = Training(self.flux, self.ivar, self.wavelength, self.labels, self.label_errors, self.names)
            yield stars.rows(teach), Spectra.rows(stars, test), test

    def save(self, path):
        """Writes it as one npz file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            parts = dict(arrays)
        return cls(**{**parts, "title": str(parts["title"]), "names": [str(name) for name in parts["names"]]})

    def views(self):
        """How estimates are judged: words, the test stars that count, and the labels they are held against."""
        tested = self.fold >= 0
        if np.isfinite(self.truth).any():
            yield "healthy stars against truth", tested & self.healthy, self.truth
        yield "all stars against the catalogue", tested, self.labels


def of_folds(n_stars, k, seed=1):
    """A fold for each star, as even as can be, by chance."""
    return np.random.default_rng(seed).permutation(np.arange(n_stars) % k)


def of_survey(survey, title, fold):
    """A star set of a `maury.Survey`; stars that lack a label are left out."""
    matrix = lambda table: np.column_stack([np.asarray(table[name], float) for name in survey.label_names])
    labels = matrix(survey.labels)
    known = np.isfinite(labels).all(axis=1)
    truth = np.full_like(labels, np.nan) if survey.true_labels is None else matrix(survey.true_labels)
    healthy = np.ones(len(survey), bool) if survey.pathology is None else survey.pathology == ""
    return StarSet(
        title, survey.label_names, survey.flux[known], survey.ivar[known], np.asarray(survey.wavelength.value), labels[known],
        matrix(survey.label_errors)[known], truth[known], healthy[known], fold[known],
    )


def make(name, n_stars, cache):
    """The star set of a name: `mock-SEED`, or that of an experiment in `experiments/` that reads real stars."""
    import maury

    project = pathlib.Path(__file__).resolve().parent.parent.parent
    if name.startswith("mock-"):
        survey = maury.mock(stars=n_stars, seed=int(name.removeprefix("mock-")), cache=cache, progress=False)
        fold = of_folds(len(survey), 2) - 1
        return of_survey(survey, f"mock survey, seed {name.removeprefix('mock-')}", fold)
    survey = maury.prepare(project / "experiments" / f"{name}.toml", cache=cache, progress=False)
    return of_survey(survey, TITLES[name], of_folds(len(survey), 5))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", required=True, metavar="NAME", help="mock-SEED, or an experiment that reads real stars")
    parser.add_argument("--stars", type=int, default=800, help="of a mock survey")
    parser.add_argument("--cache", required=True, help="folder for the survey's files, removed afterwards")
    parser.add_argument("--out", required=True, help="npz file")
    arguments = parser.parse_args()
    stars = make(arguments.make, arguments.stars, arguments.cache)
    stars.save(arguments.out)
    shutil.rmtree(arguments.cache, ignore_errors=True)


if __name__ == "__main__":
    main()
