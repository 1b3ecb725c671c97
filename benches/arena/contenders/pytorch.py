"""PyTorch's usual networks from pixels to labels: those that `benches/peers/torch_networks.py` times, early stopping as is usual."""

import copy
import math

import numpy as np
import torch

import torch_networks
from contender import Scaled


class OfPyTorch(Scaled):
    """A network trained with Adam on the squared error; the weights of the epoch that does best on a tenth of the stars are kept."""

    network, epochs, batch_rows, patience = "", 100, 32, 15

    def fit(self, flux, labels):
        torch.manual_seed(1)
        torch.set_num_threads(1)
        self.unit = flux.std()
        flux, labels = self.tensor(flux), torch.from_numpy(labels.astype(np.float32))
        held_out, rest = torch.randperm(len(flux)).split([len(flux) // 10, len(flux) - len(flux) // 10])
        self.model, shape = torch_networks.build(self.network, flux.shape[-1], labels.shape[1])
        flux = flux.reshape(-1, *shape)
        optimizer = torch.optim.Adam(self.model.parameters(), **self.settings)
        best, since, kept = math.inf, 0, None
        for _ in range(self.epochs):
            for rows in rest[torch.randperm(len(rest))].split(self.batch_rows):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(self.model(flux[rows]), labels[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                loss = torch.nn.functional.l1_loss(self.model(flux[held_out]), labels[held_out]).item()
            since += 1
            if loss < best:
                best, since, kept = loss, 0, copy.deepcopy(self.model.state_dict())
            if since >= self.patience:
                break
        self.model.load_state_dict(kept)
        self.shape = shape

    def tensor(self, flux):
        """Flux in units of its own width."""
        return torch.from_numpy((flux / self.unit).astype(np.float32))

    def predict(self, flux):
        with torch.no_grad():
            return np.concatenate([self.model(part).numpy() for part in self.tensor(flux).reshape(-1, *self.shape).split(64)])

    def modules(self):
        return [torch]


class MLP(OfPyTorch):
    name = "PyTorch, dense network"
    network = "mlp"
    tried = ({"lr": 1e-3}, {"lr": 1e-4})


class CNN(OfPyTorch):
    name = "PyTorch, convolutional network"
    network = "cnn"
    tried = ({"lr": 1e-3}, {"lr": 3e-4})
    epochs, patience = 30, 8
    caps = "30 epochs at most"
