"""Checks the estimator's parameters, and has all its errors say in one line what to do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np
from sklearn.base import BaseEstimator

from fastlin.errors import InputError, shown

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def numpys_defaults(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Ignore the caller's ``np.seterr``, and let overflows become infinite without a warning.

    Where an infinity matters, the code checks for it.
    """

    # np.errstate's own decorator would add a frame that warnings took for the caller's.
    @functools.wraps(method)
    def run(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        with np.errstate(over="ignore", divide="warn", invalid="warn", under="ignore"):
            return method(*arguments, **named)

    return run


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn scikit-learn's ValueErrors into fastlin's, which are ValueErrors too, with one line."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        first, _, _ = str(error).partition("\n")
        # Text after the first sentence is advice on other estimators.
        message = first if first.endswith(".") else " ".join(str(error).split())
        raise InputError(message) from error


def check_parameters(estimator: BaseEstimator) -> None:
    """Raise if a parameter of the estimator has a wrong type or is out of its range."""
    try:
        estimator._validate_params()
    except ValueError as error:
        said, got, _ = str(error).partition(" Got ")
        name = said.partition("'")[2].partition("'")[0]
        value = shown(getattr(estimator, name, None))
        raise InputError(f"{said} Got {value} instead." if got else str(error)) from error
    except (TypeError, OverflowError) as error:  # such as fractions, which NumPy does not know
        raise InputError(
            f"a parameter is of a type that cannot be compared ({error}); pass int or float"
        ) from error


def require_penalty(l2: float, dtype: np.dtype[Any]) -> None:
    """Raise if the weights' type cannot hold the penalty or its reciprocal."""
    most = float(0.1 / np.finfo(dtype).tiny)
    if l2 > most:
        raise InputError(
            f"l2={l2:.3g} is more than {dtype} weights can be trained with; pass {most:.0e} at most"
        )


def require_callables(callbacks: Sequence[Any]) -> None:
    """Raise if an element of ``callbacks`` cannot be called."""
    for index, callback in enumerate(callbacks):
        if not callable(callback):
            raise InputError(
                f"callbacks[{index}] is {shown(callback)}, which cannot be called; pass functions "
                "of a fastlin.train.Progress, and scikit-learn's callbacks to set_callbacks"
            )
