"""Stars of a survey as arrays, and single spectra of its files."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from . import _maury
from ._model import label_unit
from ._progress import Bar
from ._settings import merged, toml


@dataclass(eq=False, repr=False)
class Survey:
    """Stars as models see them: spectra normalized, pixels that were not measured without information.

    Attributes
    ----------
    flux, ivar : numpy.ndarray
        Normalized flux and its inverse variance, [n_stars, n_pixels], float32.
    wavelength : Quantity
        Vacuum wavelengths, [n_pixels].
    labels, label_errors : QTable
        What the catalogue says of each star; NaN where it says nothing.
    true_labels : QTable or None
        What is true of it, where somebody knows.
    id, snr, flags, pathology : numpy.ndarray
        Name, signal-to-noise ratio per pixel, flags, and what is wrong with a mock star.
    """

    id: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    wavelength: u.Quantity
    labels: QTable
    label_errors: QTable
    true_labels: QTable
    snr: np.ndarray
    flags: np.ndarray
    pathology: np.ndarray

    @property
    def label_names(self):
        """Names of the labels."""
        return self.labels.colnames

    def __len__(self):
        return len(self.id)

    def __getitem__(self, rows):
        of = lambda values: None if values is None else values[rows]  # noqa: E731
        parts = {name: of(getattr(self, name)) for name in self.__dataclass_fields__ if name != "wavelength"}
        return Survey(wavelength=self.wavelength, **parts)

    def __repr__(self):
        return f"<maury.Survey of {len(self)} stars, {self.flux.shape[1]} pixels; {', '.join(self.label_names)}>"

    def split(self, seed=1):
        """Two halves of the stars, drawn by chance: one to train, one to test."""
        order = np.random.default_rng(seed).permutation(len(self))
        middle = len(self) // 2
        return self[np.sort(order[:middle])], self[np.sort(order[middle:])]


def _table(values, names):
    return QTable({name: values[:, k] * label_unit(name) for k, name in enumerate(names)})


def cache_folder():
    """Where mock surveys and prepared spectra are kept: ``$MAURY_CACHE``, or ``maury`` in the user's own cache."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maury"
    return Path(os.environ.get("MAURY_CACHE") or usual)


def prepare(settings, *, cache=None, progress=None):
    """The stars of an experiment as arrays.

    Parameters
    ----------
    settings : dict or path-like
        An experiment: its settings, or its TOML file.
    cache : path-like, optional
        Where mock surveys and prepared spectra are kept; by default :func:`cache_folder`.

    Returns
    -------
    Survey
    """
    text = toml(settings) if isinstance(settings, dict) else Path(settings).read_text(encoding="utf-8")
    with Bar(progress) as bar:
        found = _maury.prepare(text, Path(cache or cache_folder()), bar)
    names = found["label_names"]
    true = found["true_labels"]
    pathology = found["pathology"]
    return Survey(
        id=np.array(found["id"], dtype=str),
        flux=found["flux"],
        ivar=found["ivar"],
        wavelength=found["wavelength"] * u.AA,
        labels=_table(found["labels"], names),
        label_errors=_table(found["label_errors"], names),
        true_labels=_table(true, names) if np.isfinite(true).any() else None,
        snr=found["snr"],
        flags=found["flags"],
        pathology=None if pathology is None else np.array(pathology, dtype=str),
    )


def mock(stars=300, seed=1, *, labels=("teff", "logg", "fe_h", "mg_fe", "si_fe"), settings=None, cache=None, progress=None):
    """A mock survey: model spectra observed through a simulated instrument, with labels drawn as real giants have them.

    Parameters
    ----------
    stars : int
        Stars that the classic lab's cuts leave.
    seed : int
        Another number, another survey.
    labels : sequence of str
        Labels that the catalogue gives.
    settings : dict, optional
        Other settings of an experiment.
    cache : path-like, optional
        Where it is kept.

    Returns
    -------
    Survey
    """
    own = {"extends": "maury:mock", "labels": list(labels), "data": {"mock": {"stars": stars, "seed": seed}}}
    return prepare(merged(own, settings or {}), cache=cache, progress=progress)


def read(path):
    """One spectrum of the survey's files.

    Parameters
    ----------
    path : path-like
        An apStar, mwmStar or mwmVisit file; ``'FILE[visit 2]'`` names one spectrum of several.

    Returns
    -------
    specutils.Spectrum or QTable
        Flux with its uncertainty and mask (what maury leaves out by default: pixels without an error, and those with the bits 0 to 7 and
        12 of APOGEE_PIXMASK), on vacuum wavelengths; a table of columns wavelength, flux, error and mask where
        specutils is not installed. ``meta`` has id, format, SNR, radial velocity and number of visits.
    """
    found = _maury.read_spectrum(Path(path))
    unit = u.dimensionless_unscaled if found["is_normalized"] else 1e-17 * u.erg / u.s / u.cm**2 / u.AA
    meta = {name: found[name] for name in ("id", "format", "snr", "velocity_kms", "n_visits")}
    wavelength = found["wavelength"] * u.AA
    try:
        from specutils import Spectrum
    except ImportError:
        try:
            from specutils import Spectrum1D as Spectrum
        except ImportError:
            columns = {"wavelength": wavelength, "flux": found["flux"] * unit, "error": found["error"] * unit, "mask": found["mask"], "is_bad": found["is_bad"]}
            return QTable(columns, meta=meta)
    from astropy.nddata import StdDevUncertainty

    return Spectrum(
        spectral_axis=wavelength,
        flux=found["flux"] * unit,
        uncertainty=StdDevUncertainty(found["error"] * unit),
        mask=~np.isfinite(found["error"]) | found["is_bad"],
        meta={**meta, "pixmask": found["mask"]},
    )
