"""The Cannon in NumPy, written as well as we can: every loop that can be a matrix product is one.

Training, two ways:
- `grid`: weighted least squares of all pixels at each of 30 values of s2, then Newton steps in s2 inside the bracket,
  each with its own least squares. This is The Cannon as an astronomer who knows NumPy writes it.
- `alternating`: maury's own shortcut without its proof of the global maximum: Newton steps in s2 at fixed theta, and
  theta again, until both stand still.

Fitting, four ways:
- `curve_fit` and `least_squares`: scipy, star by star; the first as in class, the second with the analytic Jacobian.
- `batched`: Levenberg-Marquardt of many stars at once over all pixels.
- `compressed`: maury's own shortcut; every star's pixels are summed up into a small matrix first, and three starts are
  chosen among 500 training stars.

    python numpy_cannon.py --arrays FOLDER --run RUN --job train-grid --dtype float64 --out OUT.json --save OUT.npz
"""

import argparse

import numpy as np
import scipy
import scipy.optimize

import measure
import spectra

#: Pixels treated together: their arrays stay in the processor's cache. Tried 64 to 8575; all pixels at once take twice as long.
BLOCK_PIXELS = 128
#: Stars fitted together over all pixels.
BATCH_STARS = 128
N_GRID = 30
TOLERANCE = 1e-3


class Quadratic:
    """The label vector [1, l_i, l_i l_j (i <= j)]."""

    def __init__(self, n_labels):
        self.n_labels = n_labels
        self.left, self.right = np.triu_indices(n_labels)
        self.n_terms = 1 + n_labels + len(self.left)

    def design(self, labels):
        """[..., n_labels] -> [..., n_terms]"""
        ones = np.ones((*labels.shape[:-1], 1), labels.dtype)
        return np.concatenate([ones, labels, labels[..., self.left] * labels[..., self.right]], axis=-1)

    def derivative(self, labels):
        """[..., n_labels] -> [..., n_labels, n_terms]"""
        result = np.zeros((*labels.shape, self.n_terms), labels.dtype)
        for k in range(self.n_labels):
            result[..., k, 1 + k] = 1
            quadratic = result[..., k, 1 + self.n_labels :]
            quadratic += (self.left == k) * labels[..., self.right] + (self.right == k) * labels[..., self.left]
        return result


def scaling(labels):
    """Pivot and scale of labels: mean and standard deviation."""
    return labels.mean(axis=0), labels.std(axis=0)


# Training.


class Block:
    """Some pixels of all training stars, and sums over the stars."""

    def __init__(self, flux, ivar, design, pairs):
        self.flux, self.design, self.pairs = flux, design, pairs
        good = ivar > 0
        self.informative = good.astype(flux.dtype)
        # Masked: a variance so large that the weight is nil.
        self.variance = np.divide(1, ivar, out=np.full_like(ivar, 1e30), where=good)
        self.smallest = self.variance.min(axis=0).astype(float)

    def solve(self, s2):
        """theta [n_pixels, n_terms], squared residuals and weights [n_stars, n_pixels] at s2 [n_pixels]."""
        n_terms = self.design.shape[1]
        weight = 1 / (self.variance + s2.astype(self.flux.dtype))
        upper = (weight.T @ self.pairs).astype(float)
        rows, columns = np.triu_indices(n_terms)
        normal = np.empty((len(s2), n_terms, n_terms))
        normal[:, rows, columns] = upper
        normal[:, columns, rows] = upper
        right = ((weight * self.flux).T @ self.design).astype(float)
        theta = np.linalg.solve(normal, right[..., None])[..., 0]
        residual = self.flux - self.design @ theta.T.astype(self.flux.dtype)
        return theta, residual**2, weight

    def log_likelihood(self, squared, weight):
        """Per pixel, up to its constant."""
        return -0.5 * (weight * squared - np.log(weight) * self.informative).sum(axis=0, dtype=float)

    def derivatives(self, squared, s2):
        """First and second derivative of the log-likelihood with s2 at fixed theta."""
        weight = 1 / (self.variance + s2.astype(self.flux.dtype))
        scaled = weight * weight * squared
        first = 0.5 * (scaled - weight).sum(axis=0, dtype=float)
        second = (0.5 * weight * weight - scaled * weight).sum(axis=0, dtype=float)
        return first, second

    def newton(self, s2, squared, low, high):
        """A step of Newton's in s2, kept inside [low, high], which is narrowed in place."""
        first, second = self.derivatives(squared, s2)
        np.copyto(low, s2, where=first > 0)
        np.copyto(high, s2, where=first <= 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            proposal = s2 - first / second
        middle = np.sqrt((low + self.smallest) * (high + self.smallest)) - self.smallest
        # A step too small to change s2 is inside, too.
        inside = (second < 0) & (proposal >= low) & (proposal <= high)
        at_zero = (second < 0) & (low == 0) & (proposal <= 0)
        return np.where(inside, proposal, np.where(at_zero, 0.0, middle))

    def train_on_grid(self):
        """The best of 30 values of s2, then Newton's method between its neighbours."""
        grid = np.concatenate([[0.0], np.logspace(-7, -1, N_GRID - 1)])
        n_pixels = self.flux.shape[1]
        likelihood = np.empty((N_GRID, n_pixels))
        for i, value in enumerate(grid):
            _, squared, weight = self.solve(np.full(n_pixels, value))
            likelihood[i] = self.log_likelihood(squared, weight)
        best = likelihood.argmax(axis=0)
        low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, N_GRID - 1)]
        s2 = grid[best]
        for _ in range(12):
            theta, squared, _ = self.solve(s2)
            following = self.newton(s2, squared, low, high)
            change = np.abs(following - s2) / (self.smallest + following)
            s2 = following
            if change.max() < 1e-5:
                break
        return theta, s2

    def train_alternating(self):
        """Newton's method in s2 at fixed theta, theta at fixed s2, in turn."""
        n_informative = self.informative.sum(axis=0, dtype=float)
        s2 = n_informative / (self.informative / self.variance).sum(axis=0, dtype=float)
        # float32 sums do not settle further than this.
        tolerance = 1e-5 if self.flux.dtype == np.float64 else 1e-4
        for _ in range(20):
            theta, squared, _ = self.solve(s2)
            before = s2
            low, high = np.zeros_like(s2), (squared * self.informative).max(axis=0).astype(float)
            s2 = np.minimum(s2, high)
            for _ in range(12):
                following = self.newton(s2, squared, low, high)
                change = np.abs(following - s2) / (self.smallest + following)
                s2 = following
                if change.max() < 3e-4:
                    break
            if (np.abs(s2 - before) / (self.smallest + s2)).max() < tolerance:
                break
        return theta, s2


def train(stars, method, dtype):
    """theta [n_terms, n_pixels], s2 [n_pixels]."""
    pivot, scale = scaling(stars.labels)
    design = Quadratic(stars.labels.shape[1]).design((stars.labels - pivot) / scale).astype(dtype)
    rows, columns = np.triu_indices(design.shape[1])
    pairs = design[:, rows] * design[:, columns]
    known = (stars.ivar > 0).sum(axis=0) > design.shape[1]
    if not known.all():
        # Pixels that the stars do not determine, as between the chips, are left out and come back as NaN.
        part = spectra.Stars(stars.labels, stars.flux[:, known], stars.ivar[:, known])
        theta, s2 = np.full((design.shape[1], known.size), np.nan), np.full(known.size, np.nan)
        theta[:, known], s2[known] = train(part, method, dtype)
        return theta, s2
    results = []
    for start in range(0, stars.flux.shape[1], BLOCK_PIXELS):
        pixels = slice(start, start + BLOCK_PIXELS)
        block = Block(stars.flux[:, pixels].astype(dtype), stars.ivar[:, pixels].astype(dtype), design, pairs)
        results.append(block.train_on_grid() if method == "grid" else block.train_alternating())
    theta, s2 = zip(*results)
    return np.concatenate(theta).T, np.concatenate(s2)


# Fitting.


def fit_star_by_star(stars, theta, s2, use_curve_fit):
    """Scaled labels and their covariances by scipy, from the pivot star's labels."""
    vector = Quadratic(stars.labels.shape[1])
    labels, covariances = [], []
    for flux, ivar in zip(stars.flux.astype(float), stars.ivar.astype(float)):
        good = ivar > 0
        here, observed = theta[:, good], flux[good]
        sigma = np.sqrt(1 / ivar[good] + s2[good])
        start = np.zeros(vector.n_labels)
        if use_curve_fit:
            model = lambda _, *values: vector.design(np.array(values)) @ here
            found, covariance = scipy.optimize.curve_fit(model, None, observed, start, sigma, absolute_sigma=True)
        else:
            residual = lambda values: (vector.design(values) @ here - observed) / sigma
            jacobian = lambda values: (vector.derivative(values) @ here / sigma).T
            result = scipy.optimize.least_squares(residual, start, jacobian, method="lm")
            found, covariance = result.x, np.linalg.inv(result.jac.T @ result.jac)
        labels.append(found)
        covariances.append(covariance)
    return np.array(labels), np.array(covariances)


class AllPixels:
    """chi^2 of some stars and its derivatives, summed over all pixels each time."""

    def __init__(self, flux, weight, theta, vector):
        self.flux, self.weight, self.theta, self.vector = flux, weight, theta, vector

    def select(self, rows):
        return AllPixels(self.flux[rows], self.weight[rows], self.theta, self.vector)

    def evaluate(self, labels):
        """chi^2, half its gradient, and the Gauss-Newton matrix."""
        residual = self.vector.design(labels) @ self.theta - self.flux
        weighted = self.weight * residual
        chi2 = np.einsum("np,np->n", weighted, residual)
        jacobian = self.vector.derivative(labels) @ self.theta
        gradient = (jacobian @ weighted[..., None])[..., 0]
        curvature = (jacobian * self.weight[:, None, :]) @ jacobian.swapaxes(1, 2)
        return chi2, gradient, curvature


class Compressed:
    """chi^2 of some stars as a quadratic form in the label vector: c - 2 v.x + x M x."""

    def __init__(self, m, v, c, vector):
        self.m, self.v, self.c, self.vector = m, v, c, vector

    @classmethod
    def of(cls, flux, weight, theta, pairs, vector):
        slopes = theta[1:].T
        n = slopes.shape[1]
        rows, columns = np.triu_indices(n)
        upper = (weight @ pairs).astype(float)
        m = np.empty((len(flux), n, n))
        m[:, rows, columns] = upper
        m[:, columns, rows] = upper
        residual = flux - theta[0]
        weighted = weight * residual
        c = np.einsum("np,np->n", weighted, residual).astype(float)
        return cls(m, (weighted @ slopes).astype(float), c, vector)

    def select(self, rows):
        return Compressed(self.m[rows], self.v[rows], self.c[rows], self.vector)

    def chi2_at(self, labels):
        """chi^2 of every star at every one of some labels, [n_stars, n_points]."""
        x = self.vector.design(labels)[:, 1:]
        n = x.shape[1]
        squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), n * n)
        return self.m.reshape(-1, n * n) @ squares.T - 2 * self.v @ x.T + self.c[:, None]

    def evaluate(self, labels):
        x = self.vector.design(labels)[:, 1:]
        derivative = self.vector.derivative(labels)[..., 1:]
        mx = (self.m @ x[..., None])[..., 0]
        chi2 = self.c + np.einsum("nt,nt->n", x, mx - 2 * self.v)
        gradient = (derivative @ (mx - self.v)[..., None])[..., 0]
        return chi2, gradient, derivative @ self.m @ derivative.swapaxes(1, 2)


def levenberg_marquardt(problem, start, max_steps=60):
    """Labels, their covariances and chi^2 at the minimum next to each star's start; done stars leave the batch."""
    n_stars, n_labels = start.shape
    labels, final_chi2 = start.copy(), np.full(n_stars, np.nan)
    covariance = np.full((n_stars, n_labels, n_labels), np.nan)
    active, here, damping = np.arange(n_stars), start.copy(), np.full(n_stars, 1e-3)
    state = problem.evaluate(here)
    identity = np.eye(n_labels)
    for _ in range(max_steps):
        chi2, gradient, curvature = (part.astype(float) for part in state)
        damped = curvature * (1 + damping[:, None, None] * identity)
        step = -np.linalg.solve(damped, gradient[..., None])[..., 0]
        length = np.sqrt(np.einsum("ni,nij,nj->n", step, curvature, step))
        trial = (here + step).astype(here.dtype)
        trial_state = problem.evaluate(trial)
        better = trial_state[0] <= chi2
        here = np.where(better[:, None], trial, here)
        state = tuple(
            np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old) for new, old in zip(trial_state, state)
        )
        damping *= np.where(better, 0.1, 10.0)
        done = length < TOLERANCE
        if done.any():
            stars = active[done]
            labels[stars], final_chi2[stars] = here[done], state[0][done]
            covariance[stars] = np.linalg.inv(state[2][done].astype(float))
            keep = np.flatnonzero(~done)
            active, here, damping = active[keep], here[keep], damping[keep]
            state, problem = tuple(part[keep] for part in state), problem.select(keep)
        if not len(active):
            break
    return labels, covariance, final_chi2


def fit_batched(stars, theta, s2, dtype):
    """Levenberg-Marquardt over all pixels, from the pivot star's labels."""
    vector = Quadratic(stars.labels.shape[1])
    theta, s2 = theta.astype(dtype), s2.astype(dtype)
    labels, covariances = [], []
    for first in range(0, len(stars.flux), BATCH_STARS):
        rows = slice(first, first + BATCH_STARS)
        flux, ivar = stars.flux[rows].astype(dtype), stars.ivar[rows].astype(dtype)
        problem = AllPixels(flux, ivar / (1 + ivar * s2), theta, vector)
        start = np.zeros((len(flux), vector.n_labels), dtype)
        found, covariance, _ = levenberg_marquardt(problem, start)
        labels.append(found)
        covariances.append(covariance)
    return np.concatenate(labels), np.concatenate(covariances)


def fit_compressed(stars, theta, s2, dtype, training_labels, n_starts=3):
    """Levenberg-Marquardt on compressed spectra, from training labels of low chi^2 that are not neighbours."""
    vector = Quadratic(stars.labels.shape[1])
    theta, s2 = theta.astype(dtype), s2.astype(dtype)
    rows, columns = np.triu_indices(len(theta) - 1)
    pairs = (theta[1:][rows] * theta[1:][columns]).T
    references = training_labels[:: max(1, len(training_labels) // 500)]
    near = np.square(references[:, None] - references[None]).sum(axis=-1) <= 1
    labels, covariances = [], []
    for first in range(0, len(stars.flux), 2 * BATCH_STARS):
        batch = slice(first, first + 2 * BATCH_STARS)
        flux, ivar = stars.flux[batch].astype(dtype), stars.ivar[batch].astype(dtype)
        problem = Compressed.of(flux, ivar / (1 + ivar * s2), theta, pairs, vector)
        chi2 = problem.chi2_at(references)
        results = []
        for _ in range(n_starts):
            lowest = chi2.argmin(axis=1)
            results.append(levenberg_marquardt(problem, references[lowest]))
            chi2[near[lowest]] = np.inf
        found, covariance, minima = (np.stack(parts) for parts in zip(*results))
        best = np.where(np.isnan(minima), np.inf, minima).argmin(axis=0), np.arange(len(flux))
        labels.append(found[best])
        covariances.append(covariance[best])
    return np.concatenate(labels), np.concatenate(covariances)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrays", required=True, help="folder with flux.npy, error.npy, labels.csv")
    parser.add_argument("--run", required=True, help="run folder of maury's: the split, and the model that is fitted")
    jobs = ["train-grid", "train-alternating", "fit-curve_fit", "fit-least_squares", "fit-batched", "fit-compressed"]
    parser.add_argument("--job", required=True, choices=jobs)
    parser.add_argument("--dtype", default="float64", choices=["float64", "float32"])
    parser.add_argument("--every", type=int, default=1, help="fit every n-th star only; times are scaled up")
    parser.add_argument("--out", required=True, help="JSON file of the times")
    parser.add_argument("--save", required=True, help="npz file of the results")
    arguments = parser.parse_args()
    training, test = spectra.split(arguments.arrays, arguments.run)
    dtype = np.dtype(arguments.dtype)
    measurement = measure.Measurement()
    verb, method = arguments.job.split("-")
    if verb == "train":
        with measurement.step("train"):
            theta, s2 = train(training, method, dtype)
        np.savez(arguments.save, theta=theta, s2=s2)
    else:
        # All fit the same model, so that their labels can be compared.
        theta, s2, pivot, scale = spectra.model(arguments.run)
        s2 = np.minimum(s2, 1e20)
        rows = np.arange(0, len(test.labels), arguments.every)
        part = test.rows(rows)
        with measurement.step("fit", share=len(rows) / len(test.labels)):
            if method == "batched":
                labels, covariance = fit_batched(part, theta, s2, dtype)
            elif method == "compressed":
                labels, covariance = fit_compressed(part, theta, s2, dtype, (training.labels - pivot) / scale)
            else:
                labels, covariance = fit_star_by_star(part, theta, s2, method == "curve_fit")
        error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)) * scale
        np.savez(arguments.save, rows=rows, labels=labels * scale + pivot, error=error)
    measurement.write(arguments.out, [np, scipy])


if __name__ == "__main__":
    main()
