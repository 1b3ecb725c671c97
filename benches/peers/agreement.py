"""How far each peer's results lie from maury's: a time of other results is worth nothing.

Every comparison is made twice, the second time with the peer's pixels or stars shifted by one: where that is not much
worse, the comparison has no force.

    python agreement.py --arrays FOLDER --run RUN --saved FOLDER --out OUT.json
"""

import argparse
import json
import pathlib

import numpy as np
from astropy.io import fits

import spectra


def of_training(saved, run, noise):
    """Largest differences of theta and s2; s2 in units of the pixel's smallest variance, s2 + sigma^2."""
    theta, s2, _, _ = spectra.model(run)
    pixels = saved["pixels"] if "pixels" in saved else np.arange(len(s2))
    # maury marks pixels that the stars do not determine by an s2 beyond all measure.
    known = s2 < 1e20
    here = known[pixels]
    result = {"s2": float((np.abs(saved["s2"] - s2[pixels]) / (noise + s2)[pixels])[here].max())}
    if "theta" in saved:
        result["theta"] = float(np.abs(saved["theta"] - theta)[:, known].max())
        found = saved["theta"][:, known]
        result["theta_if_shifted"] = float(np.abs(np.roll(found, 1, axis=1) - theta[:, known]).max())
    return result


def of_fit(saved, run):
    """Largest difference of a label in units of its formal error, and stars further off than a tenth of it."""
    labels, errors = spectra.estimates(run)
    labels, errors = labels[saved["rows"]], errors[saved["rows"]]
    distance = lambda found: np.nan_to_num(np.abs(found - labels) / errors, nan=np.inf).max(axis=1)
    offsets = distance(saved["labels"])
    return {
        "labels": float(offsets.max()),
        "median_star": float(np.median(offsets)),
        "stars_beyond_a_tenth": int((offsets > 0.1).sum()),
        "labels_if_shifted": float(np.median(distance(np.roll(saved["labels"], 1, axis=0)))),
    }


def prepared_set(folder):
    """Identifiers, flux and ivar of the one prepared set kept in an experiments folder; None if there is none."""
    paths = list(pathlib.Path(folder).glob(".prepared/*.fits"))
    return read_prepared(paths[0]) if len(paths) == 1 else None


def read_prepared(path):
    with fits.open(path) as hdus:
        names = [str(name).strip() for name in hdus["STARS"].data["id"]]
        return names, hdus[1].data.astype(float), hdus[2].data.astype(float)


def of_spectra(flux, ivar, our_flux, our_ivar):
    """Largest difference of the normalized flux, and pixels masked by one and not by the other."""
    both = (ivar > 0) & (our_ivar > 0)
    distance = lambda found: float(np.abs(found - our_flux)[both].max())
    return {
        "flux": distance(flux),
        "masks_that_differ": int(((ivar > 0) != (our_ivar > 0)).sum()),
        "flux_if_shifted": distance(np.roll(flux, 1, axis=1)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrays", required=True, help="folder with flux.npy, error.npy, labels.csv")
    parser.add_argument("--run", required=True, help="run folder of maury's that the peers are compared with")
    parser.add_argument("--saved", required=True, type=pathlib.Path, help="folder of the peers' results")
    parser.add_argument("--out", required=True, help="JSON file of the differences")
    arguments = parser.parse_args()
    training, _ = spectra.split(arguments.arrays, arguments.run)
    noise = 1 / np.maximum(training.ivar.max(axis=0).astype(float), 1e-30)
    result = {}
    for path in sorted(arguments.saved.glob("*.npz")):
        saved, group = np.load(path), path.stem.split("-")[0]
        if group == "train":
            result[path.stem] = of_training(saved, arguments.run, noise)
        elif group == "fit":
            result[path.stem] = of_fit(saved, arguments.run)
        elif group == "continuum" and (ours := prepared_set(arguments.saved / "continuum-maury")):
            result[path.stem] = of_spectra(saved["flux"], saved["ivar"], *ours[1:])
    our_set = prepared_set(arguments.saved / "prepare-maury")
    for path in sorted(arguments.saved.glob("prepare-*.fits")) if our_set else []:
        names, flux, ivar = read_prepared(path)
        our_names, our_flux, our_ivar = our_set
        row_of = {name: row for row, name in enumerate(names)}
        # maury reads the stars of the catalogue, the peers every file.
        ours = [row for row, name in enumerate(our_names) if name in row_of]
        theirs = [row_of[our_names[row]] for row in ours]
        result[path.stem] = of_spectra(flux[theirs], ivar[theirs], our_flux[ours], our_ivar[ours])
        result[path.stem]["n_stars"] = len(ours)
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
