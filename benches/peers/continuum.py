"""The pseudo-continuum of apStar spectra in NumPy, by maury's rules: mask, Chebyshev polynomial per chip, three rounds.

- `chebfit`: star by star and chip by chip with numpy.polynomial, as one would write it.
- `batched`: the normal equations of all stars at once.

Input is `raw_flux.npy` and `error.npy`; `--make` first makes the former from normalized flux, with a smooth curve per
star and chip.

    python continuum.py --arrays FOLDER --pixels continuum_pixels.csv --method chebfit --out OUT.json --save OUT.npz
"""

import argparse
import pathlib

import numpy as np
from numpy.polynomial import chebyshev

import measure

#: Pixels at which the chips meet.
CHIP_EDGES = (0, 3450, 6232, 8575)
ORDER, ROUNDS, CLIP, MIN_PIXELS, EMISSION = 2, 3, 5.0, 20, 1.3
#: Bits 0 to 7 and 12 of APOGEE_PIXMASK.
BAD_BITS = 0x10FF


def chips():
    """Slices of the three chips."""
    return [slice(a, b) for a, b in zip(CHIP_EDGES, CHIP_EDGES[1:])]


def read_pixels(path):
    """The list of continuum pixels as booleans."""
    is_continuum = np.zeros(CHIP_EDGES[-1], bool)
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    is_continuum[[int(line) for line in lines if line.isdigit()]] = True
    return is_continuum


def mask(flux, error, bits):
    """Flux and inverse variance of raw spectra [..., n_pixels] with 0 in useless pixels."""
    with np.errstate(invalid="ignore", divide="ignore"):
        measured = np.isfinite(flux) & (error > 0) & (flux != 0)
        level = np.nanmedian(np.where(measured, np.abs(flux), np.nan), axis=-1, keepdims=True)
        cap = 1e3 * level
        good = np.isfinite(flux) & (error > 0) & (error < cap) & (np.abs(flux) < cap) & (bits & BAD_BITS == 0)
        return np.where(good, flux, 0.0), np.where(good, 1 / error**2, 0.0)


def divide(flux, ivar, continuum):
    """Normalized flux and ivar as float32, 1 and 0 in pixels without information; emission is masked."""
    with np.errstate(invalid="ignore", divide="ignore"):
        normalized, weight = flux / continuum, ivar * continuum**2
        emission = (normalized > EMISSION) & (normalized - 1 > 5 / np.sqrt(weight))
        good = (weight > 1e-30) & ~emission
    return np.where(good, normalized, 1.0).astype(np.float32), np.where(good, weight, 0.0).astype(np.float32)


def fit_star(flux, ivar, is_continuum):
    """Continuum of one masked spectrum; NaN on chips where it cannot be found."""
    continuum = np.full(flux.shape, np.nan)
    for chip in chips():
        x = np.linspace(-1, 1, chip.stop - chip.start)
        y, weight = flux[chip], np.sqrt(ivar[chip])
        used = is_continuum[chip] & (weight > 0)
        for last in range(ROUNDS):
            if used.sum() < MIN_PIXELS:
                break
            coefficients = chebyshev.chebfit(x[used], y[used], ORDER, w=weight[used])
            residual = np.abs(y - chebyshev.chebval(x, coefficients))
            limit = CLIP * 1.4826 * np.median(residual[used]) + 1e-6 * np.abs(y[used]).max()
            kept = used & (residual <= limit)
            if last == ROUNDS - 1 or kept.sum() == used.sum():
                level = chebyshev.chebval(x, coefficients)
                if (level[ivar[chip] > 0] > 0).all():
                    continuum[chip] = level
                break
            used = kept
    return continuum


def normalize_star(flux, ivar, is_continuum):
    """Normalized flux and ivar of one masked spectrum."""
    return divide(flux, ivar, fit_star(flux, ivar, is_continuum))


def normalize_batch(flux, ivar, is_continuum):
    """Normalized flux and ivar of masked spectra [n_stars, n_pixels]."""
    continuum = np.full(flux.shape, np.nan)
    for chip in chips():
        basis = chebyshev.chebvander(np.linspace(-1, 1, chip.stop - chip.start), ORDER)
        listed = is_continuum[chip]
        here = basis[listed]
        y, weight = flux[:, chip][:, listed], ivar[:, chip][:, listed]
        used = weight > 0
        pairs = (here[:, :, None] * here[:, None, :]).reshape(len(here), -1)
        typical = np.nanmedian(np.where(used, weight, np.nan), axis=1, keepdims=True)
        weight = weight / typical
        open_, coefficients = np.arange(len(flux)), np.full((len(flux), ORDER + 1), np.nan)
        for last in range(ROUNDS):
            open_ = open_[used[open_].sum(axis=1) >= MIN_PIXELS]
            w = np.where(used[open_], weight[open_], 0.0)
            normal = (w @ pairs).reshape(-1, ORDER + 1, ORDER + 1)
            right = (w * y[open_]) @ here
            coefficients[open_] = np.linalg.solve(normal, right[..., None])[..., 0]
            residual = np.abs(y[open_] - coefficients[open_] @ here.T)
            inside = np.where(used[open_], residual, np.nan)
            limit = CLIP * 1.4826 * np.nanmedian(inside, axis=1)
            limit += 1e-6 * np.where(used[open_], np.abs(y[open_]), 0).max(axis=1)
            kept = used[open_] & (residual <= limit[:, None])
            changed = kept.sum(axis=1) < used[open_].sum(axis=1)
            open_ = open_[changed]
            if last == ROUNDS - 1 or not len(open_):
                break
            used[open_] = kept[changed]
        level = coefficients @ basis.T
        with np.errstate(invalid="ignore"):
            lost = ((level <= 0) & (ivar[:, chip] > 0)).any(axis=1)
        level[lost] = np.nan
        continuum[:, chip] = level
    return divide(flux, ivar, continuum)


def make_raw(folder):
    """raw_flux.npy and raw_error.npy from normalized spectra: another level and tilt for each star and chip."""
    folder = pathlib.Path(folder)
    flux, error = np.load(folder / "flux.npy"), np.load(folder / "error.npy")
    rng = np.random.default_rng(2015)
    for chip in chips():
        x = np.linspace(-1, 1, chip.stop - chip.start)
        level = rng.uniform(50, 500, (len(flux), 1)) * (1 + rng.uniform(-0.3, 0.3, (len(flux), 1)) * x - 0.1 * x**2)
        flux[:, chip] *= level
        error[:, chip] *= level
    return flux.astype(np.float32), error.astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrays", required=True, help="folder with raw_flux.npy and raw_error.npy")
    parser.add_argument("--make", metavar="FOLDER", help="make the raw arrays from flux.npy and error.npy there, no more")
    parser.add_argument("--pixels", help="CSV of continuum pixels")
    parser.add_argument("--method", choices=["chebfit", "batched"])
    parser.add_argument("--out", help="JSON file of the times")
    parser.add_argument("--save", help="npz file of the results")
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.arrays)
    if arguments.make:
        for name, array in zip(("raw_flux.npy", "raw_error.npy"), make_raw(arguments.make)):
            np.save(folder / name, array)
        return
    flux, error = np.load(folder / "raw_flux.npy"), np.load(folder / "raw_error.npy")
    is_continuum = read_pixels(arguments.pixels)
    measurement = measure.Measurement()
    with measurement.step("continuum"):
        if arguments.method == "chebfit":
            results = []
            for star_flux, star_error in zip(flux.astype(float), error.astype(float)):
                results.append(normalize_star(*mask(star_flux, star_error, 0), is_continuum))
            normalized, weight = (np.array(parts) for parts in zip(*results))
        else:
            parts = []
            for first in range(0, len(flux), 64):
                rows = slice(first, first + 64)
                parts.append(normalize_batch(*mask(flux[rows].astype(float), error[rows].astype(float), 0), is_continuum))
            normalized, weight = (np.concatenate(part) for part in zip(*parts))
    np.savez(arguments.save, flux=normalized, ivar=weight)
    measurement.write(arguments.out, [np])


if __name__ == "__main__":
    main()
