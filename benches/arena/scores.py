"""How good labels are: scatter, bias, slope, and whether errors are true to size, with bootstrap intervals.

`off` is estimate - label, [..., n_stars, n_labels] throughout; stars without an estimate are NaN and do not count.
"""

import numpy as np

#: A normal distribution's standard deviation over its median absolute deviation.
MAD_TO_SIGMA = 1.4826
#: Shares of a normal distribution within so many standard deviations.
COVERAGES = {"coverage_68": 1.0, "coverage_95": 1.96}


def scatter(off):
    """Standard deviation of each label."""
    return np.nanstd(off, axis=-2)


def robust_scatter(off):
    """1.4826 times the median distance from the median, of each label."""
    # The same where nothing is missing, and much quicker.
    median = np.median if np.isfinite(off).all() else np.nanmedian
    return MAD_TO_SIGMA * median(np.abs(off - median(off, axis=-2, keepdims=True)), axis=-2)


#: The two kinds of scatter by name.
SCATTERS = {"scatter": scatter, "robust_scatter": robust_scatter}


def relative(scatters, labels):
    """Mean over labels of a scatter in units of the labels' standard deviation [n_stars, n_labels]: one number for all."""
    return np.mean(scatters / np.nanstd(labels, axis=0), axis=-1)


def slopes(estimates, labels):
    """Slope of the least-squares line of estimates against labels: 1 where they follow in full, 0 where they do not."""
    known = np.where(np.isfinite(estimates), labels, np.nan)
    x, y = known - np.nanmean(known, axis=0), estimates - np.nanmean(estimates, axis=0)
    return np.nansum(x * y, axis=0) / np.nansum(x * x, axis=0)


def of_errors(off, errors):
    """What errors are worth: width of off / error (1 where they are true), its robust width, and shares within 1 and 1.96 of them."""
    pulls = np.where(errors > 0, off / np.where(errors > 0, errors, 1.0), np.nan)
    n = np.isfinite(pulls).sum(axis=0)
    if not n.any():
        return None
    found = {"n_errors": n, "pull_width": scatter(pulls), "robust_pull_width": robust_scatter(pulls)}
    within = {name: (np.abs(pulls) <= limit).sum(axis=0) / np.maximum(n, 1) for name, limit in COVERAGES.items()}
    return found | within


class Bootstrap:
    """Resamples of the same stars for all contenders, so that differences between two are paired."""

    def __init__(self, n_stars, resamples=1000, seed=1):
        self.rows = np.random.default_rng(seed).integers(0, n_stars, (resamples, n_stars))

    def scatters(self, off):
        """Both scatters of each resample, [n_resamples, n_labels] each."""
        parts = [{name: of(off[rows]) for name, of in SCATTERS.items()} for rows in np.array_split(self.rows, 20)]
        return {name: np.concatenate([part[name] for part in parts]) for name in SCATTERS}


def interval(values):
    """The middle 95% of resamples."""
    return np.quantile(values, [0.025, 0.975], axis=0)


def judge(estimates, errors, labels, bootstrap):
    """All scores of one contender on the stars of one view, plain numbers, and the resamples for differences."""
    off = estimates - labels
    draws = bootstrap.scatters(off)
    # The unit of the overall number is that of the stars, not of a resample.
    overall = {name: relative(values, labels) for name, values in draws.items()}
    result = {
        "n_stars": len(labels),
        "n_without_labels": int((~np.isfinite(off)).any(axis=1).sum()),
        "bias": np.nanmean(off, axis=0),
        "bias_error": np.nanstd(off, axis=0) / np.sqrt(np.isfinite(off).sum(axis=0)),
        "slope": slopes(estimates, labels),
        "errors": of_errors(off, errors),
    }
    for name, of in SCATTERS.items():
        value = of(off)
        result[name] = value
        result[f"{name}_interval"] = interval(draws[name]).T
        result[f"relative_{name}"] = relative(value, labels)
        result[f"relative_{name}_interval"] = interval(overall[name])
    return result, {**{f"relative_{name}": overall[name][:, None] for name in SCATTERS}, **draws}


def difference(ours, theirs):
    """Interval of the paired difference ours - theirs of two arrays of resamples, [n_resamples, n]: [n, 2]."""
    return interval(ours - theirs).T
