"""One contender on one set of stars: settings chosen, trained, labels of all test stars; for run.py.

    python contest.py --set SET.npz --contender FILE.CLASS --out OUT.json --save OUT.npz
"""

import argparse
import itertools

import numpy as np

import contender
import measure
import scores
from stars import StarSet


def validated(kind, stars, seed=1):
    """The settings of `kind.tried` that do best on a quarter of the training stars, and how all did.

    Best is the least mean over labels of the robust scatter in units of the labels' own spread. Settings that fail are passed
    over; if all do, the error is that of the last.
    """
    order = np.random.default_rng(seed).permutation(len(stars.labels))
    held_out, rest = np.split(order, [len(order) // 4])
    teaching, validation = stars.rows(rest), stars.rows(held_out)
    found, failure = [], None
    for settings in kind.tried:
        try:
            trial = kind(validating=True, **settings)
            trial.train(teaching)
            estimates = labels_and_errors(trial.label(validation))[0]
            off = estimates - validation.labels
            found.append(scores.relative(scores.robust_scatter(off), validation.labels))
        except Exception as err:  # noqa: BLE001 - a setting may fail in any way its package can
            failure = err
            found.append(np.inf)
    # One that labels no star is no better than one that fails.
    found = np.where(np.isfinite(found), found, np.inf)
    if not np.isfinite(found).any():
        raise RuntimeError(f"none of its settings works: {failure}") from failure
    return kind.tried[int(np.argmin(found))], [None if np.isinf(value) else float(value) for value in found]


def labels_and_errors(found):
    """Labels, and errors or None, of what a contender's `label` gives."""
    labels, errors = found if isinstance(found, tuple) else (found, None)
    return np.asarray(labels, float), None if errors is None else np.asarray(errors, float)


def run(kind, stars, measurement):
    """Labels and errors of all test stars of a set, the settings taken in each fold, and the modules at work."""
    estimates = np.full(stars.labels.shape, np.nan)
    errors = np.full(stars.labels.shape, np.nan)
    chosen, tried = [], []
    for fold, (training, spectra, rows) in enumerate(itertools.islice(stars.folds(), kind.most_folds)):
        settings, results = kind.tried[0], []
        if len(kind.tried) > 1:
            with measurement.step(f"tune-{fold}"):
                settings, results = validated(kind, training)
        chosen.append(settings)
        tried.append(results)
        one = kind(**settings)
        with measurement.step(f"train-{fold}"):
            one.train(training)
        with measurement.step(f"label-{fold}"):
            labels, label_errors = labels_and_errors(one.label(spectra))
        estimates[rows] = labels
        if label_errors is not None:
            errors[rows] = label_errors
    measurement.facts |= {"caps": kind.caps, "n_folds": len(chosen), "chosen": chosen, "tried": tried}
    return estimates, errors, one.modules()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, help="npz file of a star set")
    parser.add_argument("--contender", required=True, help="FILE.CLASS of contenders/")
    parser.add_argument("--out", required=True, help="JSON file of times, memory and settings")
    parser.add_argument("--save", required=True, help="npz file of the estimates")
    arguments = parser.parse_args()
    kind, stars = contender.find(arguments.contender), StarSet.load(arguments.set)
    measurement = measure.Measurement()
    refusal = kind.refuses(next(stars.folds())[0])
    if refusal:
        measurement.facts["refusal"] = refusal
        return measurement.write(arguments.out)
    estimates, errors, modules = run(kind, stars, measurement)
    np.savez(arguments.save, estimates=estimates, errors=errors)
    measurement.write(arguments.out, [np, *modules])


if __name__ == "__main__":
    main()
