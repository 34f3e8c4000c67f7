"""The warnings that fastlin gives, and the line of code to which they point.

Each is a :class:`FastlinWarning`, so that ``warnings.simplefilter("ignore", FastlinWarning)``
silences all of them. :mod:`fastlin.solvers.diagnosis` decides when a fit gives one.
"""

from __future__ import annotations

import inspect
import warnings

from sklearn.exceptions import ConvergenceWarning

from fastlin.errors import one_line

NOT_THE_CALLER = ("fastlin", "sklearn", "joblib")
"""Packages whose frames lie between the caller's line and the fit."""


class FastlinWarning(UserWarning):
    """Base of every warning that fastlin gives on purpose."""


class NotConvergedWarning(FastlinWarning, ConvergenceWarning):  # type: ignore[misc]  # untyped
    """Training ended while the loss was still falling."""


class ScalingWarning(FastlinWarning):
    """The features differ by orders of magnitude."""


class ClassWeightWarning(FastlinWarning):
    """``class_weight`` names labels that the training rows lack."""


class SeparableWarning(FastlinWarning):
    """The loss has no minimum: separable classes without a penalty make the weights diverge."""


class OrderWarning(FastlinWarning):
    """Rows that do not fit in memory lie in the order of their labels."""


class CollectionWarning(FastlinWarning):
    """Rows of a Dask collection were brought into this process."""


class CheckpointWarning(FastlinWarning):
    """A checkpoint could not be written; training went on."""


class ColumnsWarning(FastlinWarning):
    """A column of a text file looks like row numbers."""


class LeftOutWarning(ColumnsWarning):
    """Columns of a text file that hold row numbers were left out."""


class DeprecatedWarning(FastlinWarning, FutureWarning):
    """Something that a script uses will be removed, or will mean something else."""


def deprecated(what: str, instead: str, removed_in: str) -> None:
    """Warn at the line that uses something which a later version removes.

    Parameters
    ----------
    what : str
        What is deprecated, such as ``"the option x"``.
    instead : str
        What to use, as the end of a sentence: ``"use y"``.
    removed_in : str
        The first version without it: at least one minor version after the first that warns.
    """
    message = f"{what} is deprecated and will be removed in fastlin {removed_in}; {instead}"
    warn(message, DeprecatedWarning)


def warn(message: str, kind: type[FastlinWarning]) -> None:
    """Warn at the line that called fastlin, directly or through scikit-learn's tools.

    The number of frames in between differs between versions of scikit-learn, so this function walks
    over them, as :func:`warnings.warn` does with ``skip_file_prefixes`` from Python 3.12 on.
    """
    level, frame = 1, inspect.currentframe()
    while frame and frame.f_globals["__name__"].partition(".")[0] in NOT_THE_CALLER:
        level, frame = level + 1, frame.f_back
    warnings.warn(one_line(message), kind, stacklevel=level)
