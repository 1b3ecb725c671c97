"""Posteriors in ArviZ's layout."""

import numpy as np

try:
    import xarray as xr
except ImportError:
    raise ImportError("posteriors come as xarray.DataTree: pip install xarray, or maury[posterior]") from None


def tree(stars, units, beliefs, shape):
    """Draws of some stars as an xarray.DataTree.

    Parameters
    ----------
    stars : list of dict
        What the sampler left of each star.
    units : dict of str
        Unit of each label, in the order of the columns of a star's draws.
    beliefs : list of str
        Prior and nuisances in words.
    shape : tuple of int
        Chains and draws, where no star could be sampled.
    """
    drawn = [star["draws"] for star in stars if star["draws"] is not None]
    shape = drawn[0].shape if drawn else (*shape, len(units))
    nothing, never = np.full(shape, np.nan), np.zeros(shape[:2], dtype=bool)
    values = np.stack([nothing if star["draws"] is None else star["draws"] for star in stars], axis=2)
    dims, coords = ("chain", "draw", "star"), {"star": [star["id"] for star in stars]}
    # Behind the labels there may be the factor on all variances.
    names = [*units, "ln_noise"][: shape[2]]
    variables = {name: (dims, values[..., k], {"units": units.get(name, "")}) for k, name in enumerate(names)}
    unsampled = {star["id"]: star["reason"] for star in stars if star["reason"]}
    said = {"prior": "; ".join(beliefs), "unsampled": str(unsampled) if unsampled else ""}
    posterior = xr.Dataset(variables, coords=coords, attrs=said)
    diverging = np.stack([never if star["draws"] is None else star["diverging"] for star in stars], axis=2)
    stats = xr.Dataset({"diverging": (dims, diverging)}, coords=coords)
    stats["acceptance_rate"] = ("star", [star.get("acceptance", np.nan) for star in stars])
    stats["step_size"] = ("star", [star.get("step_size", np.nan) for star in stars])
    stats["flags"] = ("star", [star["flags"] for star in stars])
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
