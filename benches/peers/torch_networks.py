"""One epoch of training of maury's networks in PyTorch on the CPU, on random spectra: only their number and size matter.

    python torch_networks.py --network mlp --out OUT.json

An epoch is what it is in training: rows shuffled, batches gathered, forward, loss, backward, optimizer. The first epoch
warms up and does not count; of the others the smallest counts, by CPU and by wall time, as everywhere in these benches.
Needs `torch`, the CPU build of which is enough.
"""

import argparse
import json
import math
import os

N_STARS, N_PIXELS, N_LABELS = 943, 8575, 5
NETWORKS = ("linear", "mlp", "cnn")


def build(network, n_pixels=N_PIXELS, n_labels=N_LABELS):
    """A network and the shape of one star's input."""
    from torch import nn

    if network == "linear":
        return nn.Linear(n_pixels, n_labels), (n_pixels,)
    if network == "mlp":
        layers = [nn.Linear(n_pixels, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, n_labels)]
        return nn.Sequential(*layers), (n_pixels,)
    # StarNet (Fabbro et al. 2018), convolutions without padding: 8575 -> 8568 -> 8561 -> 2140 pixels of 16 channels.
    width = 16 * ((n_pixels - 7 - 7) // 4)
    layers = [nn.Conv1d(1, 4, 8), nn.ReLU(), nn.Conv1d(4, 16, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Flatten()]
    layers += [nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, n_labels)]
    return nn.Sequential(*layers), (1, n_pixels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", required=True, choices=NETWORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5, help="epochs that count")
    parser.add_argument("--batch", type=int, default=64, help="stars per batch")
    parser.add_argument("--fused", action="store_true", help="Adam as one kernel; PyTorch's default is not")
    parser.add_argument("--out", help="JSON file of the times")
    arguments = parser.parse_args()
    # Before torch reads them.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(arguments.threads)

    import torch

    import measure

    torch.manual_seed(1)
    torch.set_num_threads(arguments.threads)
    model, shape = build(arguments.network)
    flux, labels = torch.randn(N_STARS, *shape), torch.randn(N_STARS, N_LABELS)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=arguments.fused or None)
    loss_of = torch.nn.MSELoss()

    def epoch():
        total = 0.0
        for rows in torch.randperm(N_STARS).split(arguments.batch):
            optimizer.zero_grad()
            loss = loss_of(model(flux[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        return total / N_STARS

    losses = [epoch()]
    measurement = measure.Measurement()
    for number in range(arguments.epochs):
        with measurement.step(str(number)):
            losses.append(epoch())
    if not all(map(math.isfinite, losses)):
        raise SystemExit(f"the loss is no longer a number: {losses}")
    epochs = measurement.steps.values()
    measurement.steps = {
        "epoch": {**{unit: min(times[unit] for times in epochs) for unit in ("wall_s", "cpu_s")}, "share": 1.0}
    }
    measurement.facts = {
        "network": arguments.network,
        "n_parameters": sum(weights.numel() for weights in model.parameters()),
        "n_stars": N_STARS,
        "batch": arguments.batch,
        "threads": arguments.threads,
        "fused": arguments.fused,
        "n_epochs": arguments.epochs,
        "losses": losses,
    }
    out = arguments.out or os.devnull
    measurement.write(out, [torch])
    print(json.dumps({"steps": measurement.steps, "facts": measurement.facts, "versions": {"torch": torch.__version__}}))


if __name__ == "__main__":
    main()
