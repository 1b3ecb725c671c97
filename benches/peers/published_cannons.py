"""The published Cannons, as their authors released them on PyPI, on maury's arrays.

- `casey`: annieslasso 0.2.96 (A. Casey and others), `CannonModel.train` and `.test`, order 2, no regularization.
- `ho`: TheCannon 0.7.3 (A. Ho and others), `CannonModel.train` and `.infer_labels`.

Both treat pixels one after the other and stars one after the other, so a part of either stands for all: `--every n`
takes every n-th, and times are scaled up. Where a code does not run with today's NumPy, it is mended in memory below
and nowhere else.

    python published_cannons.py --code casey --job train --every 20 --arrays FOLDER --run RUN --out OUT.json --save OUT.npz
"""

import argparse
import contextlib
import io
import logging
import os

import numpy as np
import scipy

import measure
import spectra
from numpy_cannon import Quadratic

# TheCannon plots on import of its helpers; there may be no screen.
os.environ.setdefault("MPLBACKEND", "Agg")


def solve_at(stars, s2, pivot, scale):
    """theta [n_pixels, n_terms] of weighted least squares at s2 [n_pixels], pixel by pixel."""
    design = Quadratic(stars.labels.shape[1]).design((stars.labels - pivot) / scale)
    theta = []
    for flux, ivar, scatter in zip(stars.flux.T.astype(float), stars.ivar.T.astype(float), s2):
        weighted = design * (ivar / (1 + ivar * scatter))[:, None]
        theta.append(np.linalg.solve(weighted.T @ design, weighted.T @ flux))
    return np.array(theta)


class Casey:
    """annieslasso. It is a function of the same terms; s2 is defined by a median chi^2 of 1, not by the likelihood."""

    def __init__(self, training, names=spectra.LABELS, order=2):
        import thecannon
        import thecannon.fitting

        self.modules = [thecannon]
        # It names NumPy's errors by a module that NumPy 2 no longer has.
        vars(np.linalg).setdefault("linalg", np.linalg)
        fit_pixel = thecannon.fitting.fit_pixel_fixed_scatter

        def mended(*arguments, **options):
            theta, s2, meta = fit_pixel(*arguments, **options)
            # scipy returns the scatter as an array of one number, which NumPy 2.4 no longer stores as a number.
            return theta, float(np.squeeze(s2)), meta

        thecannon.fitting.fit_pixel_fixed_scatter = mended
        vectorizer = thecannon.vectorizer.PolynomialVectorizer(names, order)
        flux, ivar = training.flux.astype(float), training.ivar.astype(float)
        self.model = thecannon.CannonModel(training.labels, flux, ivar, vectorizer)
        # It writes to all handlers there are, a line per star.
        logging.disable(logging.WARNING)

    def train(self):
        theta, s2, _ = self.model.train(threads=1)
        return theta, s2

    def scaling(self):
        return self.model._fiducials, self.model._scales

    def take(self, theta, s2):
        self.model._theta, self.model._s2 = theta, s2

    def fit(self, test):
        labels, covariance, _ = self.model.test(test.flux.astype(float), test.ivar.astype(float), threads=1)
        # Labels come in their own units, the covariance of leastsq in scaled ones.
        return labels, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)) * self.model._scales


class Ho:
    """TheCannon. s2 comes from 19 values of its logarithm and a parabola through the best three."""

    def __init__(self, training, names=spectra.LABELS):
        import TheCannon.dataset
        import TheCannon.model

        self.modules = []
        self.training = training
        self.names = names
        self.new_set = TheCannon.dataset.Dataset
        self.model = TheCannon.model.CannonModel(2, useErrors=False)
        self.dataset = self.set_of(training)

    def set_of(self, test):
        wavelength = np.arange(test.flux.shape[1], dtype=float)
        training = self.training
        names = lambda stars: np.arange(len(stars.flux))
        arrays = (array.astype(float) for array in (training.flux, training.ivar))
        dataset = self.new_set(
            wavelength, names(training), *arrays, training.labels, names(test), *(a.astype(float) for a in (test.flux, test.ivar))
        )
        dataset.set_label_names(list(self.names))
        return dataset

    def train(self):
        self.model.train(self.dataset)
        return self.model.coeffs, self.model.scatters**2

    def scaling(self):
        low, middle, high = np.percentile(self.training.labels, (2.5, 50, 97.5), axis=0)
        return middle, (high - low) / 4

    def take(self, theta, s2):
        self.model.coeffs, self.model.scatters = theta, np.sqrt(s2)
        self.model.pivots, self.model.scales = self.scaling()

    def fit(self, test):
        dataset = self.set_of(test)
        errors, _ = self.model.infer_labels(dataset, starting_guess=np.zeros(len(self.names)))
        return dataset.test_label_vals, errors * self.model.scales


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", required=True, choices=["casey", "ho"])
    parser.add_argument("--job", required=True, choices=["train", "fit"])
    parser.add_argument("--every", type=int, default=1, help="take every n-th pixel (train) or star (fit)")
    parser.add_argument("--arrays", required=True, help="folder with flux.npy, error.npy, labels.csv")
    parser.add_argument("--run", required=True, help="run folder of maury's: the split, and the s2 that is fitted with")
    parser.add_argument("--out", required=True, help="JSON file of the times")
    parser.add_argument("--save", required=True, help="npz file of the results")
    arguments = parser.parse_args()
    training, test = spectra.split(arguments.arrays, arguments.run)
    _, s2, _, _ = spectra.model(arguments.run)
    measurement = measure.Measurement()
    # Both print as they go, one of them a progress bar.
    with contextlib.redirect_stdout(io.StringIO()):
        if arguments.job == "train":
            pixels = np.arange(0, training.flux.shape[1], arguments.every)
            part = spectra.Stars(training.labels, training.flux[:, pixels], training.ivar[:, pixels])
            code = (Casey if arguments.code == "casey" else Ho)(part)
            with measurement.step("train", share=len(pixels) / training.flux.shape[1]):
                theta, found_s2 = code.train()
            # What it minimizes, solved directly: theta at s2 = 0 for the one, at its own s2 for the other.
            asked = np.zeros(len(pixels)) if arguments.code == "casey" else found_s2
            direct = solve_at(part, asked, *code.scaling())
            measurement.facts["theta_against_direct_solution"] = float(np.abs(theta - direct).max())
            np.savez(arguments.save, pixels=pixels, s2=found_s2)
        else:
            code = (Casey if arguments.code == "casey" else Ho)(training)
            # maury's s2 and the theta that belongs to it in this code's scaling: the same model, whatever trained it.
            code.take(solve_at(training, s2, *code.scaling()), s2)
            rows = np.arange(0, len(test.labels), arguments.every)
            part = test.rows(rows)
            with measurement.step("fit", share=len(rows) / len(test.labels)):
                labels, error = code.fit(part)
            np.savez(arguments.save, rows=rows, labels=labels, error=error)
    measurement.write(arguments.out, [np, scipy, *code.modules])


if __name__ == "__main__":
    main()
