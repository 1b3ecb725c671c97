"""Settings of an experiment as dictionaries, and as the TOML that the native half reads."""

import re

import numpy as np
import tomli_w


def merged(base, other):
    """Settings with others laid over them, table by table."""
    both = dict(base)
    for key, value in other.items():
        is_table = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if is_table else value
    return both


def toml(settings):
    """Settings as TOML; numbers of numpy are Python's, and what is None is left out."""
    return tomli_w.dumps(_python(settings))


def _python(value):
    if isinstance(value, dict):
        return {str(key): _python(one) for key, one in value.items() if one is not None}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_python(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def own_words(err, kind):
    """An error of settings in the words of who gave them as arguments."""
    said = re.sub(r"settings, line \d+: ", "", str(err))
    said = re.sub(rf"models\.{kind}\.\w+\.", "", said).replace("calibration.folds", "calibration_folds")
    if "TOML parse error" in said:
        lines = [line.split("|", 1)[-1].strip() for line in said.splitlines() if line.strip()]
        lines = [line for line in lines if line and not line.startswith(("settings", "TOML parse", "^"))]
        said = "; ".join(lines)
    said = said.replace('continuum.method = "none"', "no continuum")
    said = said.replace('set continuum.method = "chebyshev" and continuum.pixels = "find"', 'give continuum={"method": "chebyshev", "pixels": "find"}')
    return type(err)(said)
