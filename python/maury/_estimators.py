"""Models that learn from arrays, in the conventions of scikit-learn."""

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from . import _maury
from ._errors import ConfigError, DataError
from ._model import Folder, Model, columns_of, floats, label_unit, named, plain, spectra
from ._progress import Bar
from ._settings import merged, own_words, toml

_COMMON = """
    labels : sequence of str, optional
        Names of the labels, in the order of the columns of ``y``. By default those of the table that ``y`` is, or ``label_0``,
        ``label_1``, ... Units follow from names: ``teff`` is in K, ``logg``, ``fe_h``, ``mg_fe`` and the like are in dex.
    continuum : dict, optional
        The table ``[continuum]`` of an experiment, for spectra that are not normalized; by default they are taken as they come.
    calibration_folds : int
        Parts of the training stars that are held out in turn to calibrate errors; 0 for none.
    noise : float
        Error of all pixels where neither ``ivar`` nor ``error`` is given, as a share of the median flux.
    precision : {'f32', 'f64'}
        Floating-point width.
    seed : int
        Seed of every random draw.
    settings : dict, optional
        Other settings, as the TOML file of an experiment would have them; they win. ``models`` goes by the name of the class:
        ``{"models": {"Cannon": {"cannon": {"l1": 10.0}}}}``.
    progress : bool, optional
        Whether to draw bars; by default in terminals and notebooks.

    Attributes
    ----------
    model_ : Model
        The trained model.
    label_names_ : list of str
    n_features_in_ : int
        Pixels of a spectrum.
    n_train_ : int
        Stars that taught it.
"""


def _given(**settings):
    return {key: value for key, value in settings.items() if value is not None}


#: Tables of an experiment that say something of a model taught by arrays.
_ACTING = ("bad_fit", "calibration", "continuum", "device", "models", "pixmask", "seed")


def _errors_of(y_error, names, shape):
    """Errors of labels as a matrix: by the labels' names, with ``e_`` before or ``_err`` behind them, or what numpy makes of it."""
    if y_error is None:
        return np.full(shape, np.nan)
    columns = columns_of(y_error)
    if columns is None:
        given = plain(y_error)
        given = given.reshape(shape) if given.size == np.prod(shape) else np.broadcast_to(given, shape)
        return np.ascontiguousarray(given, dtype=np.float64)
    found = []
    for name in names:
        usual = [name, f"{name}_err", f"e_{name}", f"{name}_error"]
        column = next((column for column in usual if column in columns), None)
        if column is None:
            raise ValueError(f"y_error has no column for {name} ({', '.join(usual)}) among {', '.join(map(str, columns))}")
        found.append(np.asarray(plain(y_error[column], label_unit(name)), dtype=np.float64))
    return np.column_stack(found)


class _Learner(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """What all kinds have in common."""

    def __init__(self, *, labels, continuum, calibration_folds, noise, precision, seed, settings, progress):
        self.labels = labels
        self.continuum = continuum
        self.calibration_folds = calibration_folds
        self.noise = noise
        self.precision = precision
        self.seed = seed
        self.settings = settings
        self.progress = progress

    def _kind(self):
        """``[models.NAME]`` of the experiment."""
        raise NotImplementedError

    def _models(self):
        return {type(self).__name__: self._kind()}

    def _settings(self, names):
        own = {
            "extends": "maury:arrays",
            "labels": names,
            "seed": self.seed,
            "calibration": {"folds": self.calibration_folds},
            "device": {"precision": self.precision},
            # Nothing is read from there: the stars are in memory.
            "data": {"arrays": {"flux": "(in memory)", "error": "(in memory)", "labels": "(in memory)"}},
            "models": self._models(),
        }
        if self.continuum is not None:
            own["continuum"] = self.continuum
        other = self.settings or {}
        idle = [key for key in other if key not in _ACTING]
        if idle:
            raise ConfigError(f"settings: {', '.join(idle)} says nothing to a model taught by arrays; what does is {', '.join(_ACTING)}")
        strangers = [name for name in other.get("models", {}) if name not in own["models"]]
        if strangers:
            raise ConfigError(f"settings: models.{strangers[0]} is none of {', '.join(own['models'])}")
        return merged(own, other)

    def fit(self, X, y, *, ivar=None, error=None, y_error=None, wavelength=None, ids=None):
        """Learn from spectra with known labels.

        Parameters
        ----------
        X : array_like
            Flux, [n_stars, n_pixels].
        y : array_like or Table or DataFrame
            Labels, [n_stars, n_labels]; NaN where a star lacks one.
        ivar, error : array_like, optional
            Inverse variance or error of the flux, [n_stars, n_pixels]; see ``noise`` where neither is given.
        y_error : array_like, optional
            Errors of the labels, [n_stars, n_labels]: what calibrated errors have the catalogue's own taken out by.
        wavelength : array_like or Quantity, optional
            Vacuum wavelengths of the pixels, in Angstrom where no unit is given.
        ids : sequence of str, optional
            Names of the stars; rows of one name are held out together.

        Returns
        -------
        self
        """
        # The flux keeps its unit until its noise is brought to it.
        given_flux, X = X, floats(X, "X")
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        labels, names, is_single = named(y, self.labels)
        if labels.shape[0] != X.shape[0]:
            raise ValueError(f"inconsistent numbers of samples: {X.shape[0]} spectra, {labels.shape[0]} rows of labels")
        errors = _errors_of(y_error, names, labels.shape)
        if errors.shape != labels.shape:
            raise ValueError(f"y_error has the shape {errors.shape}, y {labels.shape}")
        if np.isinf(labels).any():
            raise ValueError("Input y contains infinity: a label that is not known is NaN")
        if X.shape[0] == 1:
            raise ValueError("1 sample is too few to learn from")
        given = spectra(given_flux, ivar, error, ids, wavelength, self.noise)
        keeps = Folder()
        with Bar(self.progress) as bar:
            try:
                taught = _maury.teach(
                    toml(self._settings(names)), given, labels, np.ascontiguousarray(errors), keeps.path, bar
                )
            except (ConfigError, DataError) as err:
                raise own_words(err, type(self).__name__) from None
        folder, self.n_train_ = taught[type(self).__name__]
        self.model_ = Model._of(keeps, folder, self.precision)
        self.label_names_ = names
        self.n_features_in_ = X.shape[1]
        self._is_single = is_single
        return self

    def _raw(self, X, ivar, error, wavelength=None):
        check_is_fitted(self, "model_")
        n_pixels = floats(X, "X").shape[1]
        if n_pixels != self.n_features_in_:
            raise ValueError(
                f"X has {n_pixels} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input"
            )
        return self.model_.raw(X, ivar, error, None, wavelength, self.noise, self.progress)

    def predict(self, X, *, ivar=None, error=None, wavelength=None, return_std=False, return_cov=False):
        """Labels of spectra.

        Parameters
        ----------
        X, ivar, error, wavelength
            As :meth:`fit`.
        return_std : bool
            Whether to give errors, too: calibrated where there is a calibration.
        return_cov : bool
            Whether to give formal covariances, [n_stars, n_labels, n_labels], too.

        Returns
        -------
        labels : numpy.ndarray
            [n_stars, n_labels], or [n_stars] where ``y`` was a single column; NaN where a star cannot be labelled.
        std, cov : numpy.ndarray
            Where asked for.
        """
        found = self._raw(X, ivar, error, wavelength)
        shaped = (lambda values: values[:, 0]) if self._is_single else (lambda values: values)
        answer = [shaped(found["labels"])]
        if return_std:
            calibrated = found["calibrated_errors"]
            answer.append(shaped(found["errors"] if calibrated is None else calibrated))
        if return_cov:
            answer.append(found["covariance"])
        return answer[0] if len(answer) == 1 else tuple(answer)

    def score(self, X, y, sample_weight=None, *, ivar=None, error=None, wavelength=None):
        """Coefficient of determination R^2 of the labels, their mean; spectra are given as to :meth:`predict`.

        Parameters
        ----------
        X, ivar, error, wavelength
            As :meth:`fit`.
        y : array_like or Table or DataFrame
            True labels, [n_stars, n_labels].
        sample_weight : array_like, optional
            Weights of the stars, [n_stars].

        Returns
        -------
        float
        """
        from sklearn.metrics import r2_score

        truth, _, is_single = named(y, self.labels)
        labels = self.predict(X, ivar=ivar, error=error, wavelength=wavelength)
        return r2_score(truth[:, 0] if is_single else truth, labels, sample_weight=sample_weight)

    def label(self, X, *, ivar=None, error=None, ids=None, wavelength=None):
        """Labels of spectra as a table: see :meth:`Model.label`."""
        check_is_fitted(self, "model_")
        found = self.model_.raw(X, ivar, error, ids, wavelength, self.noise, self.progress)
        return self.model_.table(found)

    def posterior(self, X, *, ivar=None, error=None, **how):
        """Draws of the posterior: see :meth:`Model.posterior`."""
        check_is_fitted(self, "model_")
        return self.model_.posterior(X, ivar, error, **{"progress": self.progress, **how})

    def save(self, folder, overwrite=False):
        """Copy the trained model into a folder, for :func:`load` and ``maury label --model``."""
        check_is_fitted(self, "model_")
        self.model_.save(folder, overwrite)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.non_deterministic = False
        return tags


class _Cannon(_Learner):
    """A model whose flux is a polynomial of the labels."""

    def predict_flux(self, labels):
        """Spectra of stars of these labels: see :meth:`Model.predict_flux`."""
        check_is_fitted(self, "model_")
        return self.model_.predict_flux(labels)

    def gradient_spectra(self, labels):
        """Change of flux by each label: see :meth:`Model.gradient_spectra`."""
        check_is_fitted(self, "model_")
        return self.model_.gradient_spectra(labels)

    @property
    def scatter_(self):
        """Intrinsic scatter of the flux, [n_pixels]."""
        check_is_fitted(self, "model_")
        return self.model_.scatter


class Cannon(_Cannon):
    __doc__ = f"""The Cannon (Ness et al. 2015, ApJ 808, 16): flux as a polynomial of the labels, pixel by pixel.

    Parameters
    ----------
    order : int
        Highest degree of the polynomial: 1, 2 or 3.
    l1 : float
        Strength of the L1 penalty on the coefficients (Casey et al. 2016); 0 for none.
    linear, additive : sequence of str
        Labels in which flux is linear, with slopes that other labels bend, or with the same slopes in all stars.
    label_errors, partial_labels : bool
        Whether the labels' errors count, and whether stars that lack labels train, too, where held-out stars are the better for it.
{_COMMON}"""

    def __init__(
        self, order=2, *, l1=0.0, linear=(), additive=(), label_errors=False, partial_labels=True, labels=None, continuum=None,
        calibration_folds=3, noise=0.01, precision="f32", seed=1, settings=None, progress=None,
    ):
        self.order = order
        self.l1 = l1
        self.linear = linear
        self.additive = additive
        self.label_errors = label_errors
        self.partial_labels = partial_labels
        super().__init__(
            labels=labels, continuum=continuum, calibration_folds=calibration_folds, noise=noise, precision=precision, seed=seed,
            settings=settings, progress=progress,
        )

    def _polynomial(self):
        return {
            "order": self.order,
            "linear": list(self.linear),
            "additive": list(self.additive),
            "label_errors": self.label_errors,
            "partial_labels": self.partial_labels,
        }

    def _kind(self):
        return {"cannon": {**self._polynomial(), "l1": float(self.l1)}}


class CorrelatedCannon(Cannon):
    __doc__ = f"""The Cannon that learns what stars differ in beside their labels: nuisance spectra, integrated out of every fit.

    Parameters
    ----------
    order : int
        Highest degree of the polynomial: 1, 2 or 3.
    nuisances : int or None
        Nuisance spectra; None for as many as training stars held out say.
    latent_labels : int
        Labels that nobody gives, found together with the model.
    linear, additive : sequence of str
        Labels in which flux is linear, with slopes that other labels bend, or with the same slopes in all stars.
    label_errors, partial_labels : bool
        Whether the labels' errors count, and whether stars that lack labels train, too, where held-out stars are the better for it.
{_COMMON}"""

    def __init__(
        self, order=2, *, nuisances=None, latent_labels=0, linear=(), additive=(), label_errors=False, partial_labels=True,
        labels=None, continuum=None, calibration_folds=3, noise=0.01, precision="f32", seed=1, settings=None, progress=None,
    ):
        super().__init__(
            order, linear=linear, additive=additive, label_errors=label_errors, partial_labels=partial_labels, labels=labels,
            continuum=continuum, calibration_folds=calibration_folds, noise=noise, precision=precision, seed=seed,
            settings=settings, progress=progress,
        )
        self.nuisances = nuisances
        self.latent_labels = latent_labels

    def _kind(self):
        latent = {"labels": self.latent_labels, **_given(spectra=self.nuisances)}
        return {"cannon": {**self._polynomial(), "latent": latent}}


class AnchoredCannon(_Cannon):
    __doc__ = f"""The Cannon that starts from model spectra: for few stars. It needs apStar pixels and labels that the emulator knows.

    Parameters
    ----------
    spectra : int
        Model spectra it starts from.
    emulator : path-like, optional
        Folder of another emulator than the one that maury brings along.
    hidden : sequence of str, optional
        Inputs of the emulator beside the labels, found with them.
    partial_labels : bool
        Whether stars that lack labels train, too, where held-out stars are the better for it.
{_COMMON}"""

    def __init__(
        self, spectra=2000, *, emulator=None, hidden=None, partial_labels=True, labels=None, continuum=None,
        calibration_folds=3, noise=0.01, precision="f32", seed=1, settings=None, progress=None,
    ):
        self.spectra = spectra
        self.emulator = emulator
        self.hidden = hidden
        self.partial_labels = partial_labels
        super().__init__(
            labels=labels, continuum=continuum, calibration_folds=calibration_folds, noise=noise, precision=precision, seed=seed,
            settings=settings, progress=progress,
        )

    def _kind(self):
        emulator = None if self.emulator is None else str(self.emulator)
        hidden = None if self.hidden is None else list(self.hidden)
        anchor = _given(spectra=self.spectra, emulator=emulator, hidden=hidden)
        return {"cannon": {"partial_labels": self.partial_labels, "anchor": anchor}}


class KernelRidge(_Learner):
    __doc__ = f"""Kernel ridge regression from spectra to labels.

    Parameters
    ----------
    kernel : {{'rbf', 'linear'}}
        How alike two spectra are.
    masked : {{'cannon', 'mean'}}
        What stands for masked pixels: what a Cannon of the same stars expects there, or the mean spectrum.
    correct_slopes : bool
        Whether estimates are made to follow their labels in full, as held-out training stars tell.
{_COMMON}"""

    def __init__(
        self, kernel="rbf", *, masked="cannon", correct_slopes=False, labels=None, continuum=None, calibration_folds=3,
        noise=0.01, precision="f32", seed=1, settings=None, progress=None,
    ):
        self.kernel = kernel
        self.masked = masked
        self.correct_slopes = correct_slopes
        super().__init__(
            labels=labels, continuum=continuum, calibration_folds=calibration_folds, noise=noise, precision=precision, seed=seed,
            settings=settings, progress=progress,
        )

    def _kind(self):
        return {"ridge": {"kernel": self.kernel, "masked": self.masked, "correct_slopes": self.correct_slopes}}


class Network(_Learner):
    __doc__ = f"""A network from spectra to labels; by default a dense one on principal components.

    Parameters
    ----------
    architecture : dict or str, optional
        ``[architecture]``: ``{{"mlp": {{"hidden": [256, 128]}}}}``, or the name of one of maury's own with its defaults: ``'starnet'``,
        ``'transformer'``, ...
    input : dict, optional
        ``[input]``: ``{{"components": {{"count": 300}}}}``; nothing, for whole spectra, where another architecture is named.
    members : int
        Networks of an ensemble, each validated by a part of the training stars.
    augment_noise : float
        Noise added to training spectra, in units of their own.
    descent : dict, optional
        ``[descent]``: epochs, batch_rows, learning_rate, optimizer.
    pretrain : dict, optional
        ``[pretrain]``: model spectra it learns from before the stars.
    correct_slopes : bool
        Whether estimates are made to follow their labels in full, as held-out training stars tell.
{_COMMON}"""

    def __init__(
        self, architecture=None, *, input=None, members=4, augment_noise=1.0, descent=None, pretrain=None, correct_slopes=False,
        labels=None, continuum=None, calibration_folds=3, noise=0.01, precision="f32", seed=1, settings=None, progress=None,
    ):
        self.architecture = architecture
        self.input = input
        self.members = members
        self.augment_noise = augment_noise
        self.descent = descent
        self.pretrain = pretrain
        self.correct_slopes = correct_slopes
        super().__init__(
            labels=labels, continuum=continuum, calibration_folds=calibration_folds, noise=noise, precision=precision, seed=seed,
            settings=settings, progress=progress,
        )

    def _kind(self):
        architecture = self.architecture
        if isinstance(architecture, str):
            architecture = {architecture: {}}
        usual = architecture is None
        network = {
            "architecture": {"mlp": {"hidden": [256, 128], "skip": True}} if usual else architecture,
            "augment": {"noise": float(self.augment_noise)},
            "members": self.members,
            "correct_slopes": self.correct_slopes,
            "descent": {
                "epochs": 80,
                "batch_rows": 64,
                "learning_rate": 1e-3,
                "optimizer": {"adamw": {"weight_decay": 0.5}},
                "average_last": 0.3,
            }
            if usual and self.descent is None
            else self.descent or {},
        }
        if usual and self.input is None:
            network["input"] = {"components": {"count": 100, "whitening": 0.0}}
        elif self.input is not None:
            network["input"] = self.input
        return {"network": {**network, **_given(pretrain=self.pretrain)}}


class Combination(_Learner):
    __doc__ = f"""Several models together, each weighted star by star by its calibrated errors.

    Parameters
    ----------
    of : sequence of (str, estimator)
        The models, with a name for each. Their own common parameters are passed over for those of the combination.
{_COMMON}"""

    def __init__(
        self, of, *, labels=None, continuum=None, calibration_folds=3, noise=0.01, precision="f32", seed=1, settings=None,
        progress=None,
    ):
        self.of = of
        super().__init__(
            labels=labels, continuum=continuum, calibration_folds=calibration_folds, noise=noise, precision=precision, seed=seed,
            settings=settings, progress=progress,
        )

    def _models(self):
        try:
            members = {name: estimator._kind() for name, estimator in self.of}
        except (TypeError, AttributeError):
            raise TypeError("of: pairs of a name and one of maury's estimators expected, as in [('ridge', maury.KernelRidge())]") from None
        return {**members, type(self).__name__: {"combination": {"of": list(members)}}}
