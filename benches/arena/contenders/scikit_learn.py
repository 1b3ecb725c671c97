"""scikit-learn's regressions from the flux, or from its principal components."""

import numpy as np
import sklearn
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge as Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline

from contender import Scaled


class OfScikitLearn(Scaled):
    """A regression of scikit-learn's."""

    def regression(self, flux):
        """The estimator to fit, for this flux."""
        raise NotImplementedError

    def fit(self, flux, labels):
        self.model = self.regression(flux).fit(flux, labels)

    def predict(self, flux):
        return self.model.predict(flux)

    def modules(self):
        return [sklearn]


class KernelRidge(OfScikitLearn):
    name = "scikit-learn, kernel ridge"
    # alpha and the width of the kernel, the latter in units of what is usual for support vectors (`gamma="scale"`).
    tried = tuple({"alpha": alpha, "gamma": gamma} for alpha in (1.0, 0.1, 0.01, 0.001) for gamma in (1.0, 0.1, 0.01))

    def regression(self, flux):
        width = 1 / (flux.shape[1] * flux.var())
        return Ridge(kernel="rbf", alpha=self.settings["alpha"], gamma=self.settings["gamma"] * width)


class PLS(OfScikitLearn):
    name = "scikit-learn, partial least squares"
    tried = tuple({"n_components": count} for count in (2, 5, 10, 20, 40))

    def regression(self, flux):
        return PLSRegression(scale=False, **self.settings)


class Boosting(OfScikitLearn):
    name = "scikit-learn, gradient boosting on components"
    tried = tuple({"n_components": count, "learning_rate": rate} for count in (20, 60) for rate in (0.1, 0.05))

    def regression(self, flux):
        trees = HistGradientBoostingRegressor(learning_rate=self.settings["learning_rate"], random_state=1)
        return make_pipeline(PCA(self.settings["n_components"], random_state=1), MultiOutputRegressor(trees))


class GaussianProcess(Scaled):
    name = "scikit-learn, Gaussian process on components"
    tried = tuple({"n_components": count} for count in (20, 60))

    def fit(self, flux, labels):
        self.components = PCA(self.settings["n_components"], random_state=1).fit(flux)
        seen = self.components.transform(flux)
        self.unit = seen.std()
        kernel = ConstantKernel(1.0) * RBF(np.sqrt(seen.shape[1]), (0.1, 1e3)) + WhiteKernel(0.1)
        processes = (GaussianProcessRegressor(kernel, random_state=1) for _ in range(labels.shape[1]))
        self.processes = [process.fit(seen / self.unit, labels[:, k]) for k, process in enumerate(processes)]

    def predict(self, flux):
        seen = self.components.transform(flux) / self.unit
        found = [process.predict(seen, return_std=True) for process in self.processes]
        return tuple(np.column_stack(part) for part in zip(*found))

    def modules(self):
        return [sklearn]
