"""Trained models: labels with units, errors and flags; spectra; posteriors."""

import io
import os
import shutil
import tempfile
import weakref
import zipfile
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from . import _maury
from ._errors import ModelError
from ._progress import Bar
from ._settings import toml

#: Names of the flags of a star and the value of each.
STAR_FLAGS = dict(_maury.star_flag_values())


class Folder:
    """A folder for the files of a model, removed with the last who holds it."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="maury-"))
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path, owner):
    # A forked process has the object, but the folder is its parent's.
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def columns_of(table):
    """Names of the columns of a Table or DataFrame; None of anything else."""
    return getattr(table, "colnames", None) or (list(table.columns) if hasattr(table, "columns") else None)


def named(y, wanted=None):
    """Labels as a matrix [n_stars, n_labels] in their units, their names, and whether they came as a single column.

    Tables, DataFrames, record arrays and dictionaries go by the names of their columns.
    """
    if isinstance(wanted, str):
        wanted = [wanted]
    if isinstance(y, dict) or getattr(getattr(y, "dtype", None), "names", None):
        y = QTable(y)
    columns = columns_of(y)
    if columns is not None:
        names = list(wanted) if wanted is not None else columns
        absent = [name for name in names if name not in columns]
        if absent:
            raise ValueError(f"no column {', '.join(map(str, absent))} among {', '.join(map(str, columns))}")
        matrix = []
        for name in names:
            try:
                matrix.append(np.asarray(plain(y[name], label_unit(str(name))), dtype=np.float64))
            except (ValueError, TypeError) as err:
                raise ValueError(f"column {name}: {err}; labels=[...] names the columns to learn") from None
        return np.column_stack(matrix), [name if isinstance(name, str) else f"label_{name}" for name in names], False
    own = getattr(y, "name", None)
    single = wanted[0] if wanted is not None and len(wanted) == 1 else own if isinstance(own, str) else None
    matrix = np.asarray(plain(y, label_unit(single) if single else None)).astype(np.float64)
    is_single = matrix.ndim == 1 and (wanted is None or len(wanted) == 1)
    if is_single:
        matrix = matrix[:, None]
    elif matrix.ndim == 1:
        matrix = matrix[None, :]
    usual = [single] if is_single and single else [f"label_{k}" for k in range(matrix.shape[1])]
    names = list(wanted) if wanted is not None else usual
    if len(names) != matrix.shape[1]:
        raise ValueError(f"{len(names)} names of labels ({', '.join(names)}) for {matrix.shape[1]} columns")
    return matrix, names, is_single


def label_unit(label):
    """Unit of a label.

    Parameters
    ----------
    label : str
        Name of the label.

    Returns
    -------
    astropy.units.Unit
        K for ``teff``, dex for logarithms, dimensionless where nothing is known.
    """
    return u.Unit(_maury.label_unit(label))


def plain(values, unit=None):
    """Numbers as numpy has them: masked ones NaN, quantities in a unit where one is given."""
    if hasattr(values, "unmasked"):
        mask, values = np.asarray(values.mask), values.unmasked
    else:
        mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    own = getattr(values, "unit", None)
    if own is not None and unit is not None:
        values = _in_unit(values, own, unit)
    values = np.ma.getdata(getattr(values, "value", values))
    values = np.asarray(values)
    if mask is not None and mask.any():
        values = np.where(mask, np.nan, values.astype(np.float64 if values.dtype != np.float32 else np.float32))
    return values


def _in_unit(values, own, unit):
    numbers = np.asarray(getattr(values, "value", np.ma.getdata(values)), dtype=np.float64)
    try:
        return u.Quantity(numbers, own).to_value(unit, equivalencies=u.temperature())
    except (u.UnitConversionError, TypeError, ValueError):
        # log g in dex(cm / s2) is a number of dex all the same.
        if isinstance(own, u.function.core.FunctionUnitBase) or unit == u.dimensionless_unscaled:
            return numbers
        raise ValueError(f"labels in {own} cannot be brought to {unit}") from None


def floats(values, name, unit=None):
    """Array of float32 or float64, [n_stars, n_pixels]; nothing is copied that is one already."""
    if hasattr(values, "toarray"):
        raise TypeError(f"Sparse data was passed as {name}, and spectra are dense: convert it by toarray()")
    values = plain(values, unit)
    if np.iscomplexobj(values):
        raise ValueError(f"Complex data not supported: {name} is complex")
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if values.ndim == 2 and values.shape[1] == 0:
        raise ValueError(f"Found array with 0 feature(s) (shape={values.shape}) while a minimum of 1 is required: {name} has no pixels")
    if values.ndim != 2:
        raise ValueError(
            f"{name}: Expected 2D array, got {values.ndim}D array instead: [n_stars, n_pixels] is wanted. "
            f"Reshape your data: {name}[None, :] is one star"
        )
    return values


def _noise(values, name, flux, unit):
    """Errors or inverse variances of all pixels, of single numbers and rows, too."""
    if np.ndim(values) < 2:
        values = plain(values, unit)
        n_stars, n_pixels = flux.shape
        if values.ndim == 1 and len(values) == n_stars != n_pixels:
            values = values[:, None]
        elif values.ndim == 1 and (len(values) != n_pixels or n_stars == n_pixels):
            raise ValueError(f"{name} has {len(values)} values for {n_stars} stars of {n_pixels} pixels: give [n_stars, n_pixels]")
        values = np.broadcast_to(values, flux.shape)
        return np.ascontiguousarray(values, dtype=flux.dtype)
    return floats(values, name, unit)


def spectra(flux, ivar=None, error=None, ids=None, wavelength=None, noise=None):
    """What the native half takes as spectra.

    Parameters
    ----------
    flux : array_like
        Flux, [n_stars, n_pixels]; masked pixels have no information.
    ivar, error : array_like, optional
        Inverse variance or error of the flux, [n_stars, n_pixels], or what numpy makes that of; one of them.
    ids : sequence of str, optional
        Names of the stars.
    wavelength : array_like or Quantity, optional
        Vacuum wavelengths of the pixels, in Angstrom where no unit is given.
    noise : float, optional
        Error of all pixels where neither is given, as a share of the median flux.
    """
    unit = getattr(flux, "unit", None)
    flux = floats(flux, "flux")
    if ivar is not None and error is not None:
        raise ValueError("both ivar and error are given; one is enough")
    if ivar is None and error is None:
        if noise is None:
            raise ValueError("give ivar or error: a fit weighs pixels by their noise")
        finite = np.abs(flux[np.isfinite(flux)])
        level = float(np.median(finite)) if finite.size else 0.0
        error = np.full(flux.shape, noise * (level or 1.0), dtype=flux.dtype)
    is_error = ivar is None
    name = "error" if is_error else "ivar"
    given = _noise(error if is_error else ivar, name, flux, None if unit is None else unit if is_error else unit**-2)
    knows_unit = False
    if wavelength is not None:
        knows_unit = getattr(wavelength, "unit", None) is not None
        wavelength = np.asarray(u.Quantity(wavelength).to_value(u.AA) if knows_unit else wavelength, dtype=np.float64)
        if wavelength.ndim != 1:
            raise ValueError(f"wavelength: one for each pixel expected, [n_pixels], not an array of shape {wavelength.shape}")
    if ids is not None:
        ids = [name.decode().strip() if isinstance(name, bytes) else str(name) for name in ids]
    return {"flux": flux, "noise": given, "is_error": is_error, "ids": ids, "wavelength": wavelength, "knows_unit": knows_unit}


def flag_names(flags):
    """Flags in words.

    Parameters
    ----------
    flags : array_like of int
        Flags of some stars.

    Returns
    -------
    numpy.ndarray of str
        Names of those that are set, joined by ``|``.
    """
    flags = np.atleast_1d(flags)
    return np.array(["|".join(name for name, bit in STAR_FLAGS.items() if value & bit) for value in flags])


def table(found, label_names, words):
    """Table of what stars gave.

    Columns are those of the program's tables: ``id``, and of each label ``<label>_estimate``, ``<label>_error`` (formal) and, where the
    model has a calibration, ``<label>_error_calibrated``; ``covariance`` (formal, [n_labels, n_labels], in the labels' units),
    ``chi2_reduced``, ``fraction_masked``, ``flags`` and their names.
    """
    answer = QTable()
    answer["id"] = np.array(found["id"], dtype=str)
    if any(found["file"][row] != found["id"][row] for row in range(len(found["id"]))):
        answer["file"] = np.array(found["file"], dtype=str)
    if np.isfinite(found["snr"]).any():
        answer["snr"] = found["snr"]
    calibrated = found["calibrated_errors"]
    for k, name in enumerate(label_names):
        answer[f"{name}_estimate"] = found["labels"][:, k] * label_unit(name)
        answer[f"{name}_error"] = found["errors"][:, k] * label_unit(name)
        if calibrated is not None:
            answer[f"{name}_error_calibrated"] = calibrated[:, k] * label_unit(name)
    answer["covariance"] = found["covariance"]
    answer["chi2_reduced"] = found["chi2_reduced"]
    answer["fraction_masked"] = found["fraction_masked"]
    answer["flags"] = found["flags"]
    answer["flag_names"] = flag_names(found["flags"]) if len(found["flags"]) else np.array([], dtype=str)
    answer.meta["errors"] = words
    answer.meta["labels"] = list(label_names)
    return answer


class Model:
    """A trained model, whatever its kind, from a folder ``models/<name>`` of a run or of :meth:`save`.

    Parameters
    ----------
    folder : path-like
        The folder.
    precision : {'f32', 'f64'}
        Floating-point width of what is computed with it.

    Attributes
    ----------
    label_names : list of str
    kind : str
    wavelength : Quantity or None
        Vacuum wavelengths of the pixels; None where these are only numbered.
    """

    def __init__(self, folder, precision="f32"):
        self._keeps = None
        self._read(Path(folder), precision)

    def _read(self, folder, precision):
        self._model = _maury.Model(folder, precision)
        self._precision = precision
        self.label_names = self._model.label_names
        self.kind = self._model.kind

    @property
    def folder(self):
        """Folder it was read from."""
        return Path(self._model.folder)

    @property
    def wavelength(self):
        """Vacuum wavelengths of its pixels, [n_pixels]; None where these are only numbered."""
        found = self._model.wavelength
        return None if found is None else found * u.AA

    @property
    def n_pixels(self):
        """Pixels of a spectrum."""
        return self._model.n_pixels

    def __repr__(self):
        return f"<maury.Model of kind {self.kind}: {', '.join(self.label_names)}; {self.n_pixels} pixels>"

    def _expect_files(self):
        if not (self.folder / "model.json").is_file():
            raise ModelError(f"the files of this model are gone from {self.folder}: somebody cleaned it; fit it again")

    def save(self, folder, overwrite=False):
        """Copy the model into a folder, for :func:`load` and ``maury label --model``.

        Parameters
        ----------
        folder : path-like
            A folder that is not there yet.
        overwrite : bool
            Whether a model that is there gives way.
        """
        self._expect_files()
        folder = Path(folder)
        if folder.exists():
            if not (overwrite and (folder / "model.json").is_file()):
                raise FileExistsError(f"{folder} is there already; name another, or give overwrite=True where it is a model")
            shutil.rmtree(folder)
        shutil.copytree(self.folder, folder)

    # A model travels as the files of its folder.
    def __getstate__(self):
        self._expect_files()
        files = io.BytesIO()
        with zipfile.ZipFile(files, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for path in sorted(self.folder.rglob("*")):
                if path.is_file():
                    packed.write(path, path.relative_to(self.folder))
        return {"files": files.getvalue(), "precision": self._precision}

    def __setstate__(self, state):
        self._keeps = Folder()
        with zipfile.ZipFile(io.BytesIO(state["files"])) as packed:
            packed.extractall(self._keeps.path)
        self._read(self._keeps.path, state["precision"])

    @classmethod
    def _of(cls, keeps, folder, precision):
        model = cls(folder, precision)
        model._keeps = keeps
        return model

    def raw(self, flux, ivar=None, error=None, ids=None, wavelength=None, noise=None, progress=None):
        """Labels as plain arrays: a dictionary of what :meth:`label` makes a table of."""
        with Bar(progress) as bar:
            return self._model.label(spectra(flux, ivar, error, ids, wavelength, noise), bar)

    def label(self, flux, ivar=None, error=None, *, ids=None, wavelength=None, progress=None):
        """Labels of spectra.

        Parameters
        ----------
        flux : array_like
            Flux, [n_stars, n_pixels], on the model's pixels and treated as that it was trained on. float32 is not copied.
        ivar, error : array_like
            Inverse variance or error, [n_stars, n_pixels]; one of them. 0 (or an infinite error) is no information.
        ids : sequence of str, optional
            Names of the stars.
        wavelength : array_like or Quantity, optional
            Vacuum wavelengths, held against the model's.
        progress : bool, optional
            Whether to draw a bar; by default in terminals and notebooks.

        Returns
        -------
        astropy.table.QTable
            A row for each star: labels in their units, calibrated and formal errors, covariance, chi^2, flags.

        Raises
        ------
        DataError
            If spectra are not what the model was trained on.
        """
        return self.table(self.raw(flux, ivar, error, ids, wavelength, progress=progress))

    def table(self, found):
        """Table of what :meth:`raw` gave."""
        return table(found, self.label_names, self._model.words_on_errors)

    def label_files(self, paths, *, visits=False, progress=None):
        """Labels of files of the survey.

        Parameters
        ----------
        paths : path-like or sequence of path-like
            apStar, mwmStar or mwmVisit files; ``'FILE[visit 2]'`` names one spectrum of several.
        visits : bool
            Every single visit in the files, in place of the coadds.
        progress : bool, optional
            Whether to draw a bar.

        Returns
        -------
        astropy.table.QTable
            As :meth:`label`, with the column ``file``.
        """
        paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
        with Bar(progress) as bar:
            return self.table(self._model.label_files([Path(path) for path in paths], visits, bar))

    def _matrix(self, labels):
        labels, _, _ = named(labels, self.label_names)
        return np.atleast_2d(labels)

    def predict_flux(self, labels):
        """Spectra that the model expects of stars of these labels.

        Parameters
        ----------
        labels : array_like or Table
            Labels, [n_stars, n_labels] in their usual units, or a table with a column for each.

        Returns
        -------
        numpy.ndarray
            Normalized flux, [n_stars, n_pixels]; NaN in pixels of which the model knows nothing.
        """
        return self._model.flux(self._matrix(labels))

    def gradient_spectra(self, labels):
        """Change of flux by each label, at some labels.

        Returns
        -------
        numpy.ndarray
            d flux / d label, [n_stars, n_labels, n_pixels], per K or dex.
        """
        return self._model.gradient(self._matrix(labels))

    @property
    def scatter(self):
        """Intrinsic scatter of the flux, [n_pixels]; NaN where the model knows nothing."""
        return self._model.scatter()

    def posterior(
        self, flux, ivar=None, error=None, *, ids=None, wavelength=None, sampler="hmc", chains=None, tune=None, draws=None,
        prior=None, nuisances=None, seed=1, progress=None,
    ):
        """Draws of the posterior of the labels of some stars.

        Parameters
        ----------
        flux, ivar, error, ids, wavelength
            As :meth:`label`.
        sampler : {'hmc', 'nuts'}
            Hamiltonian Monte Carlo of all chains side by side, or the No-U-Turn Sampler of nuts-rs.
        chains, tune, draws : int, optional
            Chains of each star (4), draws that only tune the sampler (300), draws of each chain that are kept (1000).
        prior : dict, optional
            What is believed beforehand, flat where nothing is said: ``{"joint": "training"}``,
            ``{"labels": {"teff": {"normal": {"mean": 4500, "sigma": 200}}, "logg": {"uniform": {"min": 0, "max": 4}}}}``; as
            ``maury explain posterior.prior`` says.
        nuisances : dict, optional
            What spectra may have beside labels and errors, such as ``{"noise_inflation": 1.0}``; as
            ``maury explain posterior.nuisances`` says.
        seed : int
            Equal seeds give equal draws of a star, told by its id, whatever else is sampled.

        Returns
        -------
        xarray.DataTree
            In ArviZ's layout, which ArviZ 1 takes as it is and earlier ones by ``arviz.InferenceData.from_datatree``: ``posterior`` with a variable for each label of dimensions chain, draw and star, and ``sample_stats``.
            Stars that could not be sampled are NaN throughout, and ``posterior.attrs['unsampled']`` says why; ``posterior.attrs['prior']``
            says what was believed beforehand.
        """
        from ._posterior import tree  # Not before it is wanted: it needs xarray.

        settings = {"sampler": {"chains": chains, "warm_up": tune, "draws": draws}, "prior": prior, "nuisances": nuisances}
        with Bar(progress) as bar:
            stars, beliefs = self._model.posterior(
                spectra(flux, ivar, error, ids, wavelength), toml(settings), sampler, seed, bar
            )
        units = {name: label_unit(name).to_string() for name in self.label_names}
        return tree(stars, units, beliefs, (chains or 4, draws or 1000))


def load(folder, precision="f32"):
    """Read a trained model: a folder ``models/<name>`` of a run, one that ``save`` made, or one of ``maury import``.

    Parameters
    ----------
    folder : path-like
        The folder.
    precision : {'f32', 'f64'}
        Floating-point width.

    Returns
    -------
    Model
    """
    return Model(folder, precision)


def label(paths, model, *, visits=False, progress=None):
    """Labels of files of the survey by a trained model.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        apStar, mwmStar or mwmVisit files.
    model : Model or path-like
        The model, or its folder.
    visits : bool
        Every single visit in the files, in place of the coadds.

    Returns
    -------
    astropy.table.QTable
    """
    if hasattr(model, "model_"):
        model = model.model_
    model = model if isinstance(model, Model) else load(model)
    return model.label_files(paths, visits=visits, progress=progress)
