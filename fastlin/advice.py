"""The warnings that fastlin gives, and the line that they name.

Each is a :class:`FastlinWarning`, so that ``warnings.simplefilter("ignore", FastlinWarning)``
silences all of them. :mod:`fastlin.solvers.diagnosis` says when a fit gives one.
"""

from __future__ import annotations

import inspect
import warnings

from sklearn.exceptions import ConvergenceWarning

from fastlin.errors import one_line

NOT_THE_CALLER = ("fastlin", "sklearn", "joblib")
"""Packages that stand between the line that asks for a fit and the fit."""


class FastlinWarning(UserWarning):
    """Base of every warning that fastlin gives on purpose."""


class NotConvergedWarning(FastlinWarning, ConvergenceWarning):  # type: ignore[misc]  # untyped
    """The training ended while the loss was still falling."""


class ScalingWarning(FastlinWarning):
    """The features differ by orders of magnitude."""


class ClassWeightWarning(FastlinWarning):
    """``class_weight`` names labels that the training rows do not have."""


class SeparableWarning(FastlinWarning):
    """The loss has no minimum: without a penalty the weights grow for ever."""


class ColumnsWarning(FastlinWarning):
    """A column of a text file looks as if it numbered the rows."""


class LeftOutWarning(ColumnsWarning):
    """Columns of a text file that number the rows were left out."""


def warn(message: str, kind: type[FastlinWarning]) -> None:
    """Warn at the line that called fastlin, by itself or through scikit-learn's tools.

    How many frames lie between differs from version to version of scikit-learn, so they are walked
    over, as :func:`warnings.warn` does for ``skip_file_prefixes`` from Python 3.12 on.
    """
    level, frame = 1, inspect.currentframe()
    while frame and frame.f_globals["__name__"].partition(".")[0] in NOT_THE_CALLER:
        level, frame = level + 1, frame.f_back
    warnings.warn(one_line(message), kind, stacklevel=level)
