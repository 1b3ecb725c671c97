"""maury's models, by its Python module: what `maury run` trains, with errors calibrated on held-out training stars."""

import functools

import maury
import numpy as np

from contender import Contender

#: Folds of the training stars that errors are calibrated with.
FOLDS = 3


class OfMaury(Contender):
    """One of maury's estimators."""

    #: Makes it, of the settings and of what is common to all.
    estimator = None

    def train(self, stars):
        common = {"labels": stars.names, "progress": False, "settings": {"device": {"threads": 1}}}
        self.model = self.estimator(**self.settings, **common, calibration_folds=0 if self.validating else FOLDS)
        errors = stars.label_errors if np.isfinite(stars.label_errors).any() else None
        wavelength = stars.wavelength if stars.wavelength[0] > 0 else None
        self.model.fit(stars.flux, stars.labels, ivar=stars.ivar, y_error=errors, wavelength=wavelength)

    def label(self, spectra):
        if self.validating:
            return self.model.predict(spectra.flux, ivar=spectra.ivar)
        return self.model.predict(spectra.flux, ivar=spectra.ivar, return_std=True)

    def modules(self):
        return [maury]


class Cannon(OfMaury):
    name = "maury, The Cannon"
    estimator = maury.Cannon
    tried = ({"order": 2}, {"order": 1}, {"order": 3})


class CorrelatedCannon(OfMaury):
    name = "maury, correlated Cannon"
    estimator = maury.CorrelatedCannon
    tried = ({"order": 2}, {"order": 1})


class AnchoredCannon(OfMaury):
    name = "maury, anchored Cannon"
    estimator = maury.AnchoredCannon

    @classmethod
    def refuses(cls, stars):
        return "" if stars.flux.shape[1] == 8575 else "its emulator knows APOGEE's pixels only"


class KernelRidge(OfMaury):
    name = "maury, kernel ridge"
    estimator = maury.KernelRidge
    tried = ({"kernel": "rbf"}, {"kernel": "linear"})


def components(count):
    """The input of a network on principal components, masked pixels filled by a Cannon, as experiments/miles.toml has it."""
    return {"masked": "cannon", "components": {"count": count, "whitening": 0.0}}


class Network(OfMaury):
    name = "maury, network on components"
    estimator = maury.Network
    tried = tuple({"input": components(count)} for count in (100, 60, 300))

    @classmethod
    def refuses(cls, stars):
        return "" if stars.flux.shape[1] > 300 else "too few pixels for a network on components of them"


class Combination(OfMaury):
    name = "maury, combination"
    caps = "untuned: correlated Cannon, kernel ridge and, where there are 300 pixels, a network on 100 components (60 of few stars)"

    def train(self, stars):
        of = [("latent", maury.CorrelatedCannon()), ("ridge", maury.KernelRidge())]
        if not Network.refuses(stars):
            of.append(("components", maury.Network(input=components(100 if len(stars.flux) >= 200 else 60))))
        self.estimator = functools.partial(maury.Combination, of)
        super().train(stars)
