"""pollux 0.1.0: its Cannon and Lux, built and trained as its tutorials on APOGEE's spectra do."""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pollux
from pollux.data import OutputData, PolluxData
from pollux.models.transforms import AffineTransform, ScatterTransform

from contender import Contender

jax.config.update("jax_enable_x64", True)

#: The error that masked pixels have.
IGNORED = 1e10
KEY = jax.random.PRNGKey(42)


def flux_of(spectra):
    """The flux of `Spectra` as pollux takes it."""
    with np.errstate(divide="ignore"):
        error = np.where(spectra.ivar > 0, 1 / np.sqrt(spectra.ivar.astype(float)), IGNORED)
    return OutputData(spectra.flux.astype(float), err=error)


def errors_of(stars):
    """Errors of the labels, a hundredth of their spread where the catalogue has none."""
    return np.where(np.isfinite(stars.label_errors), stars.label_errors, stars.labels.std(axis=0) / 100)


class Cannon(Contender):
    name = "pollux, The Cannon"
    tried = ({"degree": 2}, {"degree": 1})
    cycles, scatter_steps, label_steps, most_folds = 3, 300, 1000, 2
    caps = f"{cycles} cycles of {scatter_steps} steps (tutorial: 8 of 1000), {label_steps} steps for labels (4000)"

    def train(self, stars):
        self.pivot, self.scale = stars.labels.mean(axis=0), stars.labels.std(axis=0)
        scaled = (stars.labels - self.pivot) / self.scale
        data = PolluxData(flux=flux_of(stars), label=OutputData(scaled, err=errors_of(stars) / self.scale))
        shape = {"label_size": scaled.shape[1], "output_size": stars.flux.shape[1]}
        self.model = pollux.Cannon(**shape, poly_degree=self.settings["degree"], intrinsic_scatter={"flux": 0.1})
        steps = {"optimizer": numpyro.optim.Adam, "optimizer_kwargs": {"step_size": 1e-2}, "num_steps": self.scatter_steps}
        found = self.model.optimize_iterative(
            data, blocks=["flux:data", "flux:err"], fixed_pars={"latents": scaled}, max_cycles=self.cycles, rng_key=KEY,
            block_options={"flux:err": steps}, progress=False,
        )
        self.trained = self.model.output_pars(found.params)

    def label(self, spectra):
        data = PolluxData(flux=flux_of(spectra))
        found, _ = self.model.optimize(
            data, fixed_pars=self.trained, names=["flux"], num_steps=self.label_steps, optimizer=numpyro.optim.Adam(1e-2),
            rng_key=KEY, svi_run_kwargs={"progress_bar": False},
        )
        labels = np.asarray(found["latents"]) * self.scale + self.pivot
        if self.validating:
            return labels
        errors = self.model.latent_uncertainties(data, self.trained, latents=found["latents"], names="flux")
        return labels, np.asarray(errors) * self.scale

    def modules(self):
        return [pollux, jax]


class Lux(Contender):
    name = "pollux, Lux"
    tried = ({"latents_per_label": 8}, {"latents_per_label": 4})
    steps, most_folds = 600, 2
    caps = f"{steps} steps of Adam (tutorial: 2000)"

    def train(self, stars):
        n_labels, n_pixels = stars.labels.shape[1], stars.flux.shape[1]
        flux_width = np.maximum(stars.filled(stars.mean()).std(axis=0), 1e-6)
        label_width = stars.labels.std(axis=0)
        self.model = pollux.LVM(latent_size=self.settings["latents_per_label"] * n_labels)
        affine = lambda size, mean, width: AffineTransform(
            output_size=size, priors={"A": dist.Normal(scale=width[:, None]), "b": dist.Normal(loc=mean, scale=width)}
        )
        self.model.register_output("label", affine(n_labels, stars.labels.mean(axis=0), label_width))
        scatter = ScatterTransform(output_size=n_pixels, priors={"s": dist.HalfNormal(0.02)})
        self.model.register_output("flux", affine(n_pixels, stars.mean(), flux_width), err_transform=scatter)
        data = PolluxData(flux=flux_of(stars), label=OutputData(stars.labels, err=errors_of(stars)))
        optimizer = numpyro.optim.Adam(1e-2)
        found, _ = self.model.optimize(data, num_steps=self.steps, optimizer=optimizer, rng_key=KEY, progress=False)
        self.trained = self.model.output_pars(found)

    def label(self, spectra):
        data = PolluxData(flux=flux_of(spectra))
        found = self.model.optimize_iterative(data, fixed_pars=self.trained, blocks=["latents"], progress=False)
        return np.asarray(self.model.predict_outputs(found.params, names=["label"])["label"])

    def modules(self):
        return [pollux, jax]
