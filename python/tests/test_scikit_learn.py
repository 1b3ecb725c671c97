"""scikit-learn's own checks, and the things that people do with its estimators."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import maury

NOT_NORMALIZED = "spectra that come normalized lie near 1: the data of this check do not, and are refused"
FEW = "a regression of fewer than ten stars is refused"
CANNOT_HOLD = {
    "check_pipeline_consistency": "standardized data lie around 0, where no normalized flux does: such stars get no labels",
    "check_regressors_train": NOT_NORMALIZED,
    "check_regressor_data_not_an_array": NOT_NORMALIZED,
    "check_regressor_multioutput": NOT_NORMALIZED,
    "check_regressors_int": NOT_NORMALIZED,
    "check_methods_subset_invariance": "which spectra are normalized is asked of all spectra of a call together",
    "check_fit_idempotent": NOT_NORMALIZED,
    "check_fit_check_is_fitted": NOT_NORMALIZED,
    "check_n_features_in": NOT_NORMALIZED,
}


def expected_failures(estimator):
    few = isinstance(estimator, maury.KernelRidge)
    more = {"check_n_features_in_after_fitting": FEW, "check_regressors_no_decision_function": FEW} if few else {}
    return {**CANNOT_HOLD, **more}


@parametrize_with_checks(
    [
        maury.Cannon(order=1, calibration_folds=0),
        maury.KernelRidge(masked="mean", calibration_folds=0),
        maury.Network({"mlp": {"hidden": [8]}}, input={}, members=1, descent={"epochs": 2}, calibration_folds=0),
    ],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def cannon(halves):
    train, _ = halves
    return maury.Cannon(calibration_folds=0).fit(train.flux, train.labels, ivar=train.ivar)


def test_parameters_and_clones():
    model = maury.CorrelatedCannon(nuisances=3, seed=5)
    assert model.get_params()["nuisances"] == 3
    again = clone(model.set_params(order=1))
    assert again is not model and again.get_params() == model.get_params()


def test_pickles_across_processes(cannon, halves, tmp_path):
    _, test = halves
    expected = cannon.predict(test.flux, ivar=test.ivar)
    assert np.array_equal(pickle.loads(pickle.dumps(cannon)).predict(test.flux, ivar=test.ivar), expected, equal_nan=True)
    joblib.dump(cannon, tmp_path / "cannon.joblib")
    np.savez(tmp_path / "stars.npz", flux=test.flux, ivar=test.ivar)
    words = (
        "import joblib, numpy as np, sys; at = sys.argv[1]; stars = np.load(at + '/stars.npz');"
        "np.save(at + '/labels.npy', joblib.load(at + '/cannon.joblib').predict(stars['flux'], ivar=stars['ivar']))"
    )
    subprocess.run([sys.executable, "-c", words, str(tmp_path)], check=True)
    assert np.array_equal(np.load(tmp_path / "labels.npy"), expected, equal_nan=True)


def test_joblib_labels_side_by_side(cannon, halves):
    _, test = halves
    parts = np.array_split(np.arange(len(test)), 2)
    work = (joblib.delayed(cannon.predict)(test.flux[part], ivar=test.ivar[part]) for part in parts)
    labels = np.concatenate(joblib.Parallel(n_jobs=2)(work))
    # Sums in single precision are taken in another order where other stars share the batch.
    assert np.allclose(labels, cannon.predict(test.flux, ivar=test.ivar), rtol=1e-4, atol=1e-3, equal_nan=True)


def test_cross_validation_and_pipelines(halves):
    train, _ = halves
    labels = np.column_stack([train.labels[name].value for name in train.label_names])
    # Pixels without information are 1, as are continua: without inverse variances, all pixels count alike.
    scores = cross_val_score(maury.KernelRidge(masked="mean", calibration_folds=0), train.flux, labels[:, 0], cv=3)
    assert len(scores) == 3 and np.all(scores > 0.7), scores
    pipeline = make_pipeline(FunctionTransformer(lambda flux: flux[:, 3000:6000]), maury.Cannon(calibration_folds=0))
    assert pipeline.fit(train.flux, labels).score(train.flux, labels) > 0.7


def test_a_missing_label_is_nan_and_one_column_stays_one(halves):
    train, test = halves
    teff = train.labels["teff"].value.copy()
    teff[:5] = np.nan
    model = maury.Cannon(calibration_folds=0, labels=["teff"]).fit(train.flux, teff, ivar=train.ivar)
    assert model.n_train_ <= len(train) - 5
    assert model.predict(test.flux, ivar=test.ivar).shape == (len(test),)
