"""What a contender is: one class in a file of `contenders/`."""

import importlib.util
import inspect
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "peers")]


class Contender:
    """A way from the spectra of stars with known labels to the labels of others.

    `settings` are one of `tried`. `validating` is true where settings are compared: labels are wanted then, errors are not.
    """

    #: As tables name it, with the package it is from.
    name = ""
    #: Settings that are compared on validation stars; the first are those of its own documentation.
    tried = ({},)
    #: Folds whose stars it labels at most; None for all. One that is slow is judged by a part, and `caps` says so.
    most_folds = None
    #: What was cut to keep its time within bounds, in words.
    caps = ""

    def __init__(self, validating=False, **settings):
        self.validating = validating
        self.settings = settings

    @classmethod
    def refuses(cls, stars):
        """Why it cannot learn from these stars, a `Training`; nothing if it can."""

    def train(self, stars):
        """Learns from a `Training`."""
        raise NotImplementedError

    def label(self, spectra):
        """Labels of `Spectra`, [n_stars, n_labels], NaN where it has none; or a pair of them and their errors."""
        raise NotImplementedError

    def modules(self):
        """Modules whose versions are recorded."""
        return []


class Scaled(Contender):
    """A regression from flux to labels that are scaled to mean 0 and width 1; masked pixels carry the mean spectrum."""

    def fit(self, flux, labels):
        """Learns from flux [n_stars, n_pixels] less its mean and scaled labels."""
        raise NotImplementedError

    def predict(self, flux):
        """Scaled labels, or a pair of them and their errors."""
        raise NotImplementedError

    def train(self, stars):
        self.mean, self.pivot, self.scale = stars.mean(), stars.labels.mean(axis=0), stars.labels.std(axis=0)
        self.fit(stars.filled(self.mean) - self.mean, (stars.labels - self.pivot) / self.scale)

    def label(self, spectra):
        found = self.predict(spectra.filled(self.mean) - self.mean)
        labels, *errors = found if isinstance(found, tuple) else (found,)
        labels = labels * self.scale + self.pivot
        return (labels, errors[0] * self.scale) if errors else labels


def of_file(path):
    """The contenders that a file defines, by key: the file's name and the class's."""
    spec = importlib.util.spec_from_file_location(f"contenders_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds = (kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Contender))
    return {f"{path.stem}.{kind.__name__}": kind for kind in kinds if kind.__module__ == module.__name__ and kind.name}


def find(key):
    """The contender of a key, `FILE.CLASS`."""
    return of_file(HERE / "contenders" / f"{key.split('.')[0]}.py")[key]
