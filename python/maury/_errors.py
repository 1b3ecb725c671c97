"""Errors of maury: one hierarchy, each also of the built-in kind that people expect."""


class MauryError(Exception):
    """What can go wrong in maury; the message says what, where, and the remedy."""


class ConfigError(MauryError, ValueError):
    """Settings do not describe an experiment or a model."""


class DataError(MauryError, ValueError):
    """Spectra, labels or files are not what their place calls for."""


class TooFewStarsError(DataError):
    """Too few stars are left to go on."""


class ModelError(MauryError, RuntimeError):
    """A model's folder cannot be used, or training or sampling failed."""


class SystemRefusal(MauryError, OSError):
    """The operating system, a server or a device refused something."""


class MauryWarning(UserWarning):
    """What maury says of data, settings and results that look wrong."""
