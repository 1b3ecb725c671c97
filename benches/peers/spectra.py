"""The arrays all peers work on: maury's own input, divided into training and test stars as maury divided them."""

import csv
import dataclasses
import json
import pathlib

import numpy as np

LABELS = ("teff", "logg", "fe_h", "mg_fe", "si_fe")


@dataclasses.dataclass
class Stars:
    """Some stars. Flux is 1 and ivar 0 in masked pixels, as in maury's prepared sets."""

    labels: np.ndarray  # [n_stars, n_labels]
    flux: np.ndarray  # [n_stars, n_pixels], float32
    ivar: np.ndarray  # the same

    def rows(self, rows):
        """These stars only."""
        return Stars(self.labels[rows], self.flux[rows], self.ivar[rows])


def load(folder):
    """Stars of a folder with flux.npy, error.npy and labels.csv, and their identifiers."""
    folder = pathlib.Path(folder)
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    labels = np.array([[float(row[name]) for name in LABELS] for row in table])
    flux = np.load(folder / "flux.npy").astype(np.float32)
    error = np.load(folder / "error.npy").astype(np.float32)
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    ivar = np.zeros_like(flux)
    ivar[good] = 1.0 / error[good] ** 2
    flux[~good] = 1.0
    return Stars(labels, flux, ivar), [row["id"] for row in table]


def split(folder, run):
    """Training and test stars of the arrays in `folder`, as in a run folder of maury's."""
    stars, ids = load(folder)
    tested = {row["id"] for row in predictions(run)}
    is_test = np.array([star in tested for star in ids])
    return stars.rows(~is_test), stars.rows(is_test)


def predictions(run):
    """Rows of a run's predictions.csv."""
    with open(pathlib.Path(run) / "predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def estimates(run):
    """maury's labels and their errors of a run, [n_stars, n_labels] each."""
    rows = predictions(run)
    column = lambda kind: np.array([[float(row[f"{name}_{kind}"] or "nan") for name in LABELS] for row in rows])
    return column("estimate"), column("error")


def model(run):
    """theta [n_terms, n_pixels], s2 [n_pixels], pivot and scale of the model that a run of maury's trained."""
    folder = pathlib.Path(run) / "models" / "cannon"
    scaler = json.loads((folder / "model.json").read_text(encoding="utf-8"))["scaler"]
    bytes_ = (folder / "weights.safetensors").read_bytes()
    # safetensors: the length of a JSON header in 8 bytes, the header, then the numbers.
    start = 8 + int.from_bytes(bytes_[:8], "little")
    header = json.loads(bytes_[8:start])

    def tensor(name):
        entry = header[name]
        first, last = entry["data_offsets"]
        dtype = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        return np.frombuffer(bytes_[start + first : start + last], dtype).reshape(entry["shape"]).astype(float)

    return tensor("theta"), tensor("s2"), np.array(scaler["pivot"]), np.array(scaler["scale"])
