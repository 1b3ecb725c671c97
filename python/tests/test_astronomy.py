"""Tables, units, spectra and posteriors as astronomers use them."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import maury


@pytest.fixture(scope="module")
def model(halves):
    train, _ = halves
    cannon = maury.Cannon()
    return cannon.fit(train.flux, train.labels, ivar=train.ivar, y_error=train.label_errors, wavelength=train.wavelength)


def healthy(survey):
    return survey.pathology == ""


def test_tables_have_units_errors_and_flags(model, halves, tmp_path):
    _, test = halves
    table = model.label(test.flux, ivar=test.ivar, ids=test.id)
    assert table["teff_estimate"].unit == u.K and table["teff_error_calibrated"].unit == u.K and table["logg_error"].unit == u.dex
    assert "against the truth" in table.meta["errors"]
    good = healthy(test)
    off = (table["teff_estimate"] - test.true_labels["teff"])[good]
    assert np.std(off) < 120 * u.K
    # Calibrated errors are true to size, formal ones much too small.
    assert 0.6 < np.std(off / table["teff_error_calibrated"][good]) < 1.5
    assert np.std(off / table["teff_error"][good]) > 2
    covariance = table["covariance"]
    assert np.allclose(np.sqrt(covariance[:, 0, 0]), table["teff_error"].value)
    assert np.allclose(covariance, covariance.transpose(0, 2, 1))
    table.write(tmp_path / "labels.ecsv")
    again = QTable.read(tmp_path / "labels.ecsv")
    assert np.array_equal(again["teff_estimate"], table["teff_estimate"]) and again["teff_estimate"].unit == u.K


def test_labels_in_other_units_are_the_same(model, halves):
    train, test = halves
    labels = QTable(train.labels, copy=True)
    labels["teff"] = labels["teff"].to(u.kK)
    errors = QTable(train.label_errors, copy=True)
    other = maury.Cannon().fit(train.flux, labels, ivar=train.ivar, y_error=errors, wavelength=train.wavelength.to(u.nm))
    assert np.allclose(other.predict(test.flux, ivar=test.ivar), model.predict(test.flux, ivar=test.ivar), rtol=1e-4, atol=1e-4)


def test_errors_are_inverse_variances_and_double_precision_changes_little(model, halves):
    _, test = halves
    with np.errstate(divide="ignore"):
        error = 1 / np.sqrt(test.ivar.astype(np.float64))
    expected, std = model.predict(test.flux, ivar=test.ivar, return_std=True)
    found = model.predict(test.flux.astype(np.float64), error=error)
    assert np.all(np.abs(found - expected) < 0.05 * std)


def test_spectra_of_labels(model, halves):
    _, test = halves
    flux = model.predict_flux(test.true_labels)
    good = np.isfinite(flux) & (test.ivar > 0)
    assert np.nanmedian(np.abs(flux - test.flux)[good]) < 0.02
    # The gradient is that of the spectra; central differences of a quadratic are exact, but for single precision.
    labels = np.array([[4500.0, 2.0, -0.2, 0.1, 0.1]])
    step = np.array([[100.0, 0, 0, 0, 0]])
    numerical = (model.predict_flux(labels + step) - model.predict_flux(labels - step)) / 200
    assert np.allclose(model.gradient_spectra(labels)[:, 0], numerical, rtol=1e-3, atol=1e-8, equal_nan=True)
    assert np.nanmin(model.scatter_) >= 0


def test_other_pixels_are_refused_in_words(model, halves):
    _, test = halves
    with pytest.raises(ValueError, match="expecting 8575 features"):
        model.predict(test.flux[:, :100], ivar=test.ivar[:, :100])
    with pytest.raises(maury.DataError, match="pixels\\) apart"):
        model.label(test.flux, ivar=test.ivar, wavelength=test.wavelength * 1.01)
    with pytest.raises(ValueError, match="give ivar or error"):
        model.model_.label(test.flux)
    with pytest.raises(maury.ConfigError, match="order"):
        maury.Cannon(order=7).fit(test.flux, test.labels, ivar=test.ivar)
    with pytest.raises(maury.ModelError):
        maury.load("no-such-folder")


def test_a_posterior_is_what_arviz_takes(model, halves, tmp_path):
    arviz = pytest.importorskip("arviz")
    # ArviZ 1 takes trees, what came before it its own type.
    taken = getattr(getattr(arviz, "InferenceData", None), "from_datatree", lambda tree: tree)
    _, test = halves
    drawn = model.posterior(test.flux[:2], ivar=test.ivar[:2], ids=test.id[:2], tune=150, draws=300, progress=False)
    assert drawn["posterior"]["teff"].dims == ("chain", "draw", "star")
    summary = arviz.summary(taken(drawn))
    assert len(summary) == 2 * len(test.label_names)
    best = model.predict(test.flux[:2], ivar=test.ivar[:2])
    means = drawn["posterior"]["teff"].mean(("chain", "draw")).values
    spread = drawn["posterior"]["teff"].std(("chain", "draw")).values
    assert np.all(np.abs(means - best[:, 0]) < spread)
    import matplotlib

    matplotlib.use("agg")
    plot = getattr(arviz, "plot_trace", None)
    if plot is not None:
        plot(taken(drawn), var_names=["teff"])
    drawn.to_netcdf(tmp_path / "posterior.nc")
    import xarray

    again = xarray.open_datatree(tmp_path / "posterior.nc")
    assert np.array_equal(again["posterior"]["teff"], drawn["posterior"]["teff"])


def test_a_posterior_is_kept_by_zarr(model, halves, tmp_path):
    pytest.importorskip("zarr")
    import xarray

    _, test = halves
    drawn = model.posterior(test.flux[:1], ivar=test.ivar[:1], tune=50, draws=100, progress=False)
    drawn.to_zarr(tmp_path / "posterior.zarr")
    again = xarray.open_datatree(tmp_path / "posterior.zarr", engine="zarr")
    assert np.array_equal(again["posterior"]["logg"], drawn["posterior"]["logg"])


def test_a_prior_moves_a_posterior_as_it_should(model, halves):
    pytest.importorskip("xarray")
    _, test = halves
    star = {"X": test.flux[:1], "ivar": test.ivar[:1], "tune": 200, "draws": 500, "progress": False}

    def teff(**beliefs):
        draws = model.posterior(**star, **beliefs)["posterior"]
        return float(draws["teff"].mean()), float(draws["teff"].std()), draws.attrs["prior"]

    mean, sigma, words = teff()
    assert words.startswith("flat in teff")
    # A normal prior as wide as the likelihood, two of its widths away: the posterior is half as far, and narrower by sqrt 2.
    prior = {"labels": {"teff": {"normal": {"mean": np.float64(mean + 2 * sigma), "sigma": sigma}}}}
    moved, narrowed, words = teff(prior=prior)
    assert abs(moved - mean - sigma) < 0.3 * sigma
    assert abs(narrowed / sigma - 0.5**0.5) < 0.1
    assert words.startswith("teff: normal")
    freed = model.posterior(**star, nuisances={"noise_inflation": 1.0})["posterior"]
    assert "ln_noise" in freed and "log-normal" in freed.attrs["prior"]


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"prior": {"labels": {"tef": {"normal": {"mean": 4500, "sigma": 1}}}}}, "did you mean `teff`"),
        ({"prior": {"labels": {"teff": {"normal": {"mean": 4500, "sigma": -1}}}}}, "prior.labels.teff.normal.sigma must be above 0"),
        ({"prior": {"jiont": "training"}}, "jiont"),
        ({"nuisances": {"noise_inflation": 0.0}}, "nuisances.noise_inflation must be above 0"),
        ({"draws": 1}, "sampler.draws must be 4 to 1000000"),
    ],
)
def test_what_cannot_be_believed_is_refused_in_words(model, halves, wrong, said):
    pytest.importorskip("xarray")
    _, test = halves
    with pytest.raises(maury.ConfigError, match=said):
        model.posterior(test.flux[:1], ivar=test.ivar[:1], progress=False, **wrong)


def test_a_file_of_the_survey_is_a_spectrum(tmp_path):
    made = maury.prepare(
        {"extends": "maury:mock", "data": {"mock": {"stars": 12, "seed": 3}}}, cache=tmp_path, progress=False
    )
    path = next(path for path in sorted(tmp_path.rglob("apStar-*.fits")) if made.id[0] in path.name)
    spectrum = maury.read(path)
    assert spectrum.meta["id"] == made.id[0]
    wavelength = getattr(spectrum, "spectral_axis", None)
    wavelength = spectrum["wavelength"] if wavelength is None else wavelength
    assert np.allclose(wavelength.to_value(u.AA), made.wavelength.value)


def test_files_are_labelled_as_arrays_are(model, survey, halves, tmp_path):
    made = maury.prepare({"extends": "maury:mock", "data": {"mock": {"stars": 12, "seed": 3}}}, cache=tmp_path, progress=False)
    paths = {path.name[len("apStar-dr17-") : -len(".fits")]: path for path in tmp_path.rglob("apStar-*.fits")}
    # What is trained on normalized arrays takes no raw spectra: the continuum is part of a model.
    cannon = maury.Cannon(continuum={"method": "chebyshev", "pixels": "shipped"}, calibration_folds=0)
    raw = [maury.read(paths[name]) for name in made.id]
    flux = np.array([getattr(one.flux, "value", one.flux) if hasattr(one, "flux") else one["flux"].value for one in raw])
    error = np.array([one.uncertainty.array if hasattr(one, "uncertainty") else one["error"].value for one in raw])
    train, _ = halves
    del train
    with pytest.raises(maury.TooFewStarsError):
        cannon.fit(flux, made.labels, error=error, wavelength=made.wavelength)
    cannon = maury.Cannon(order=1, continuum={"method": "chebyshev", "pixels": "shipped"}, calibration_folds=0)
    cannon.fit(flux, made.labels, error=error, wavelength=made.wavelength)
    table = maury.label([paths[name] for name in made.id], cannon)
    assert list(table["id"]) == list(made.id) and np.isfinite(table["teff_estimate"]).all()
