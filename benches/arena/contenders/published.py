"""The Cannons published on PyPI, as `benches/peers/published_cannons.py` runs them."""

import contextlib
import io

from contender import Contender

import published_cannons


class AnniesLasso(Contender):
    name = "annieslasso 0.2.96"
    tried = ({"order": 2}, {"order": 1})
    caps = "trained without L1 regularization"

    def train(self, stars):
        self.code = published_cannons.Casey(stars, stars.names, **self.settings)
        self.code.train()

    def label(self, spectra):
        return self.code.fit(spectra)


class TheCannon(Contender):
    name = "TheCannon 0.7.3"

    def train(self, stars):
        self.code = published_cannons.Ho(stars, stars.names)
        with contextlib.redirect_stdout(io.StringIO()):
            self.code.train()

    def label(self, spectra):
        with contextlib.redirect_stdout(io.StringIO()):
            return self.code.fit(spectra)
