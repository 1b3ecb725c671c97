"""Input as people have it: masks, units, names, odd numbers. What cannot be right is refused in the words of who gave it."""

import multiprocessing
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table

import maury


@pytest.fixture(scope="module")
def arrays(halves):
    train, _ = halves
    pixels = slice(2000, 3500)
    labels = np.column_stack([train.labels[name].value for name in train.label_names])
    return train.flux[:, pixels], train.ivar[:, pixels], labels, train.label_names


def cannon(**how):
    return maury.Cannon(order=1, calibration_folds=0, **how)


def test_what_is_masked_is_not_known(arrays):
    flux, ivar, labels, names = arrays
    holes = labels.copy()
    holes[:10, 1] = np.nan
    expected = cannon(labels=names).fit(flux, holes, ivar=ivar)
    masked = Table(labels, names=names, masked=True)
    masked["logg"] = MaskedColumn(np.where(np.arange(len(labels)) < 10, -3.0, labels[:, 1]), mask=np.arange(len(labels)) < 10)
    for table in (masked, QTable(masked), np.ma.masked_where(np.isnan(holes), np.nan_to_num(holes))):
        found = cannon(labels=names).fit(flux, table, ivar=ivar)
        assert np.array_equal(found.predict(flux, ivar=ivar), expected.predict(flux, ivar=ivar))
    spoiled = np.ma.array(flux.copy(), mask=np.zeros(flux.shape, bool))
    spoiled.data[:, 100:120], spoiled.mask[:, 100:120] = 5.0, True
    gone = ivar.copy()
    gone[:, 100:120] = 0
    wanted = expected.predict(flux, ivar=gone)
    assert np.allclose(expected.predict(spoiled, ivar=ivar), wanted, rtol=1e-6)
    assert np.allclose(expected.predict(spoiled.data, ivar=np.ma.array(ivar, mask=spoiled.mask)), wanted, rtol=1e-6)


def test_columns_go_by_their_names_and_units(arrays):
    flux, ivar, labels, names = arrays
    model = cannon().fit(flux, pd.DataFrame(labels, columns=names), ivar=ivar)
    assert model.label_names_ == names
    mixed = pd.DataFrame(labels[:3], columns=names)[names[::-1]]
    assert np.array_equal(model.predict_flux(mixed), model.predict_flux(labels[:3]), equal_nan=True)
    in_kk = Table(labels, names=names)
    in_kk["teff"] = (in_kk["teff"] / 1000).astype(float)
    in_kk["teff"].unit = u.kK
    assert np.allclose(cannon().fit(flux, in_kk, ivar=ivar).predict(flux, ivar=ivar)[:, 0], model.predict(flux, ivar=ivar)[:, 0], rtol=1e-4)
    record = Table(labels, names=names).as_array()
    assert cannon().fit(flux, record, ivar=ivar).label_names_ == names
    assert cannon().fit(flux, pd.DataFrame(labels)).label_names_[0] == "label_0"
    assert cannon().fit(flux, pd.Series(labels[:, 0], name="teff"), ivar=ivar).label_names_ == ["teff"]
    flux_unit = u.erg / u.s / u.cm**2 / u.AA
    error = 1 / np.sqrt(np.where(ivar > 0, ivar, 1e-12))
    found = model.predict(flux * flux_unit, error=(error * flux_unit).to(1e-3 * flux_unit))
    assert np.allclose(found, model.predict(flux, error=error), rtol=1e-5, atol=1e-6)


def test_numbers_that_stand_for_nothing_are_nothing(arrays):
    flux, ivar, labels, names = arrays
    holes, nines = labels.copy(), labels.copy()
    holes[:5, 1], nines[:5, 1] = np.nan, -9999.0
    found = cannon(labels=names).fit(flux, nines, ivar=ivar)
    expected = cannon(labels=names).fit(flux, holes, ivar=ivar)
    assert np.array_equal(found.predict(flux, ivar=ivar), expected.predict(flux, ivar=ivar))
    with pytest.raises(maury.DataError, match="below 100 K"):
        cannon(labels=names).fit(flux, np.column_stack([labels[:, 0] / 1000, labels[:, 1:]]), ivar=ivar)


def test_settings_that_say_nothing_are_refused(arrays):
    flux, ivar, labels, _ = arrays
    for settings, said in [
        ({"max_training_stars": 50}, "max_training_stars says nothing"),
        ({"models": {"cannon": {"cannon": {"order": 1}}}}, "none of Cannon"),
    ]:
        with pytest.raises(maury.ConfigError, match=said):
            cannon(settings=settings).fit(flux, labels, ivar=ivar)
    with pytest.raises(maury.ConfigError, match="^order must be 1 to 3"):
        maury.Cannon(order=9).fit(flux, labels, ivar=ivar)
    with pytest.raises(maury.ConfigError, match="order = 1.5"):
        maury.Cannon(order=1.5).fit(flux, labels, ivar=ivar)
    with pytest.raises(ValueError, match="no column Teff"):
        cannon(labels=["Teff"]).fit(flux, Table(labels, names=arrays[3]), ivar=ivar)
    assert maury.Cannon(np.int64(1), calibration_folds=np.int64(0)).fit(flux, labels, ivar=ivar).n_train_ > 0


def test_noise_may_be_one_number_or_one_of_each_star_or_pixel(arrays):
    flux, _, labels, _ = arrays
    model = cannon().fit(flux, labels, error=0.01)
    whole = model.predict(flux, error=np.full(flux.shape, 0.01, dtype=np.float32))
    for error in (0.01, np.full(len(flux), 0.01), np.full(flux.shape[1], 0.01)):
        assert np.array_equal(model.predict(flux, error=error), whole)


def test_precisions_live_side_by_side(arrays):
    flux, ivar, labels, _ = arrays
    narrow, wide = (cannon(precision=precision).fit(flux, labels, ivar=ivar) for precision in ("f32", "f64"))
    assert np.allclose(narrow.predict(flux, ivar=ivar), wide.predict(flux, ivar=ivar), rtol=1e-3, atol=1e-3)


def test_a_model_whose_files_are_gone_is_not_kept_without_them(arrays, tmp_path):
    flux, ivar, labels, _ = arrays
    model = cannon().fit(flux, labels, ivar=ivar)
    model.save(tmp_path / "kept")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "kept")
    model.save(tmp_path / "kept", overwrite=True)
    shutil.rmtree(model.model_.folder)
    for keep in (lambda: pickle.dumps(model), lambda: model.save(tmp_path / "other")):
        with pytest.raises(maury.ModelError, match="fit it again"):
            keep()


def _fit_in_child(queue, *arrays):
    try:
        cannon().fit(arrays[0], arrays[2], ivar=arrays[1])
        queue.put("fitted")
    except maury.MauryError as err:
        queue.put(str(err))


def test_a_forked_process_is_told_and_a_spawned_one_works(arrays):
    flux, ivar, labels, _ = arrays
    model = cannon().fit(flux, labels, ivar=ivar)
    for method, said in [("fork", "do not live on in a forked process"), ("spawn", "fitted")]:
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        child = context.Process(target=_fit_in_child, args=(queue, flux, ivar, labels))
        child.start()
        assert said in queue.get(timeout=60)
        child.join(60)
    # The child did not take the parent's model with it.
    assert model.model_.folder.is_dir()


def test_a_label_of_two_values_has_no_square(arrays):
    flux, ivar, labels, _ = arrays
    halved = labels.copy()
    halved[:, 2] = np.where(labels[:, 2] > np.median(labels[:, 2]), 0.2, -0.2)
    with pytest.raises(maury.DataError, match="label_2 has 2 different values.*`linear`"):
        maury.Cannon(calibration_folds=0).fit(flux, halved, ivar=ivar)
    bent = maury.Cannon(calibration_folds=0, linear=["label_2"]).fit(flux, halved, ivar=ivar)
    assert np.isfinite(bent.predict(flux[:3], ivar=ivar[:3])).all()
    # What only fills masked pixels does without the square.
    holes = ivar.copy()
    holes[:, 100:110] = np.where(np.arange(len(ivar))[:, None] % 2, ivar[:, 100:110], 0)
    ridge = maury.KernelRidge(calibration_folds=0, progress=False).fit(flux, halved, ivar=holes)
    assert np.isfinite(ridge.predict(flux[:3], ivar=holes[:3])).all()


def test_ultraviolet_wavelengths_are_believed_with_their_unit(arrays):
    flux, ivar, labels, _ = arrays
    nanometres = np.linspace(120, 170, flux.shape[1])
    with pytest.raises(maury.DataError, match="nanometres"):
        cannon().fit(flux, labels, ivar=ivar, wavelength=10 * nanometres)
    taught = cannon().fit(flux, labels, ivar=ivar, wavelength=nanometres * u.nm)
    assert np.allclose(taught.model_.wavelength.to_value(u.AA), 10 * nanometres)


def test_a_score_takes_the_noise(arrays):
    flux, ivar, labels, _ = arrays
    taught = cannon().fit(flux, labels, ivar=ivar)
    halves = np.where(np.arange(flux.shape[1]) % 2, ivar, 0)
    estimates = taught.predict(flux, ivar=halves)
    residuals, spread = labels - estimates, labels - labels.mean(axis=0)
    assert np.isclose(taught.score(flux, labels, ivar=halves), np.mean(1 - (residuals**2).sum(axis=0) / (spread**2).sum(axis=0)))
    assert taught.score(flux, labels, ivar=halves) != taught.score(flux, labels, ivar=ivar)
