"""Looks for nan and infinity in rows of float16, for which NumPy takes many times as long."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config

ROWS_AT_ONCE = 1024

MAGNITUDE, INFINITE = np.uint16(0x7FFF), np.uint16(0x7C00)
"""Bits of a float16 number without its sign, and those of infinity, beyond which all are nan."""


def is_half(values: Any) -> bool:
    """Whether these are dense rows of float16."""
    return isinstance(values, np.ndarray) and values.dtype == np.float16


def require_finite(halves: NDArray[np.float16], what: str) -> None:
    """Raise the ValueError that scikit-learn raises for other floats if a value is not finite."""
    if get_config()["assume_finite"]:
        return
    bits = halves.view(np.uint16)
    largest = [
        int((bits[first : first + ROWS_AT_ONCE] & MAGNITUDE).max(initial=0))
        for first in range(0, len(bits), ROWS_AT_ONCE)
    ]
    if max(largest, default=0) >= INFINITE:
        has_nan = max(largest) > INFINITE
        found = "NaN" if has_nan else "infinity or a value too large for dtype('float16')"
        raise ValueError(f"Input {what} contains {found}.")
