"""Every number of the narrow row types, widened by a backend's kernels.

``python widening.py BACKEND TYPE ...``, for tests on other instruction sets, prints the backend's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Backend, DenseRows, Samples, get_backend

NARROW = {
    "uint8": np.arange(256, dtype=np.uint8),
    "int8": np.arange(-128, 128, dtype=np.int8),
    "float16": np.arange(2**16).astype(np.uint16).view(np.float16),
}
"""All numbers of each type, for float16 nan and infinities too."""

FEATURES = (1, 2, 3, 4, 5, 8, 9, 16, 17, 33)
"""Shorter and longer than vectors of 2 to 16 lanes, with the last vector whole and not."""


def logits(backend: Backend, rows: NDArray[np.generic], weights: NDArray[np.generic]) -> list[str]:
    """Return ``rows @ weights``, spelled so that each is equal to itself, nan too."""
    model = weights[np.newaxis], np.zeros(1, weights.dtype)
    with np.errstate(invalid="ignore"):
        found = backend.logits(Samples(DenseRows(rows)), *model, 2)
    return list(map(str, found[:, 0].tolist()))


def check_widening(backend: Backend, types: Iterable[str] = NARROW) -> None:
    """Assert that numbers of any feature arrive unrounded, whatever lies beside them."""
    for row_type in types:
        numbers = NARROW[row_type]
        finite = numbers[np.isfinite(numbers)]
        for weight_type in ("float32", "float64"):
            right = [str(z + 0.0) for z in finite.astype(weight_type).tolist()]
            for d in FEATURES:
                rows = np.zeros((len(finite), d), row_type)
                for column in {0, d // 2, d - 1}:
                    rows[:, column] = finite
                    unit = (np.arange(d) == column).astype(weight_type)
                    assert logits(backend, rows, unit) == right, (row_type, weight_type, d, column)
            others = numbers[~np.isfinite(numbers)]
            right = list(map(str, others.astype(weight_type).tolist()))
            for d in FEATURES:
                rows = np.repeat(others, d).reshape(-1, d)
                got = logits(backend, rows, np.ones(d, weight_type))
                # The last vector's weights may be zero, and zero times infinity is nan.
                assert got == right or (d > 1 and set(got) <= {"nan", "inf", "-inf"})


if __name__ == "__main__":
    chosen = get_backend(sys.argv[1])
    check_widening(chosen, sys.argv[2:])
    print(chosen.instruction_set)
