"""Stellar labels from spectra: The Cannon and neural networks, learned and compared honestly.

Models follow scikit-learn (``fit``, ``predict``, ``score``), tables and units are astropy's:

>>> import maury
>>> survey = maury.mock(stars=300, seed=1)
>>> cannon = maury.Cannon(labels=survey.label_names)
>>> cannon.fit(survey.flux, survey.labels, ivar=survey.ivar, y_error=survey.label_errors)
>>> cannon.label(survey.flux, ivar=survey.ivar)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._errors import ConfigError, DataError, MauryError, MauryWarning, ModelError, SystemRefusal, TooFewStarsError
from ._maury import __version__

if TYPE_CHECKING:
    from ._estimators import AnchoredCannon, Cannon, Combination, CorrelatedCannon, KernelRidge, Network
    from ._model import Model, label, load
    from ._run import Run, run
    from ._survey import Survey, mock, prepare, read

# What is imported when it is first asked for: the program starts without astropy and scikit-learn.
_LATER = {
    **dict.fromkeys(("AnchoredCannon", "Cannon", "Combination", "CorrelatedCannon", "KernelRidge", "Network"), "_estimators"),
    **dict.fromkeys(("Model", "label", "load"), "_model"),
    **dict.fromkeys(("Run", "run"), "_run"),
    **dict.fromkeys(("Survey", "mock", "prepare", "read"), "_survey"),
}

__all__ = [
    *_LATER,
    "ConfigError",
    "DataError",
    "MauryError",
    "MauryWarning",
    "ModelError",
    "SystemRefusal",
    "TooFewStarsError",
    "__version__",
]


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'maury' has no attribute {name!r}")
    found = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__():
    return sorted(__all__)
