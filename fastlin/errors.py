"""Every error that fastlin raises on purpose.

One tree under :class:`FastlinError`; each leaf is also the built-in type that
scikit-learn's users expect. A message says what was got, what was expected,
and what to type next. The command line prints any of them as one line and
exits with code 2.
"""

from __future__ import annotations


class FastlinError(Exception):
    """Base of every error raised on purpose."""


class InputError(FastlinError, ValueError):
    """An argument, an array or a file holds what cannot be used."""


class BackendUnavailableError(FastlinError, RuntimeError):
    """A backend that was asked for by name cannot run here."""


class DatasetError(FastlinError, RuntimeError):
    """A data set could not be fetched, or is not what it should be."""


class DivergenceError(FastlinError, RuntimeError):
    """The loss became nan or infinite while training."""


class ModelFileError(FastlinError, ValueError):
    """A model file is missing, damaged, or not a fastlin model."""


class OutputError(FastlinError, OSError):
    """A result could not be written where it was asked for."""
