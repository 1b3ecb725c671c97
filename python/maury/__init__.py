"""Stellar labels from spectra: The Cannon and neural networks, learned and compared honestly.

Models follow scikit-learn (``fit``, ``predict``, ``score``), tables and units are astropy's:

>>> import maury
>>> survey = maury.mock(stars=300, seed=1)
>>> cannon = maury.Cannon(labels=survey.label_names)
>>> cannon.fit(survey.flux, survey.labels, ivar=survey.ivar, y_error=survey.label_errors)
>>> cannon.label(survey.flux, ivar=survey.ivar)
"""

from ._errors import ConfigError, DataError, MauryError, MauryWarning, ModelError, SystemRefusal, TooFewStarsError
from ._maury import __version__
from ._estimators import AnchoredCannon, Cannon, Combination, CorrelatedCannon, KernelRidge, Network
from ._model import Model, label, load
from ._run import Run, run
from ._survey import Survey, mock, prepare, read

__all__ = [
    "AnchoredCannon",
    "Cannon",
    "Combination",
    "ConfigError",
    "CorrelatedCannon",
    "DataError",
    "KernelRidge",
    "MauryError",
    "MauryWarning",
    "Model",
    "ModelError",
    "Network",
    "Run",
    "Survey",
    "SystemRefusal",
    "TooFewStarsError",
    "__version__",
    "label",
    "load",
    "mock",
    "prepare",
    "read",
    "run",
]
