"""Scaling of the inputs, folded into the weights so that no scaled copy of the data exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.arguments import CsrRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import Rows

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class InputScale:
    """``x = (u - shift) * scale`` for each feature; both ``(d,)`` float64, ``scale > 0``."""

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def from_option(cls, option: Any, rows: Rows) -> InputScale:
        """Return the scale that ``input_scale=option`` means for the training rows ``(n, d)``.

        ``None``: as they are. ``"minmax"``: each feature to [0, 1]. ``"standard"``: each feature to
        mean 0 and standard deviation 1. ``(shift, scale)``: numbers or ``(d,)`` arrays. A constant
        feature is only shifted. Sparse rows take ``None`` or a shift of 0, since any other would
        fill in their zeros.
        """
        d = rows.shape[1]
        if option is None:
            return cls(np.zeros(d), np.ones(d))
        if isinstance(option, str):
            if isinstance(rows, CsrRows):
                raise InputError(
                    f"input_scale={option!r} shifts the features, which would fill in the zeros of "
                    "sparse rows; pass input_scale=(0, scale), for example with "
                    "scale = 1 / abs(X).max(axis=0).toarray().ravel() where no feature is all zero"
                )
            if option == "minmax":
                shift = rows.min(axis=0).astype(np.float64)
                spread = rows.max(axis=0).astype(np.float64) - shift
            else:
                shift, spread = _mean_and_deviation(rows)
            return cls(shift, 1.0 / np.where(spread > 0, spread, 1.0))
        return cls._from_pair(option, d)

    @classmethod
    def _from_pair(cls, pair: Sequence[Any], d: int) -> InputScale:
        try:
            shift, scale = (np.broadcast_to(np.asarray(v, np.float64), (d,)).copy() for v in pair)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"input_scale={pair!r} is not a pair (shift, scale) of numbers or of arrays with "
                f"{d} elements, one for each feature"
            ) from error
        if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise InputError("input_scale=(shift, scale) needs finite shifts and positive scales")
        return cls(shift, scale)

    @property
    def has_shift(self) -> bool:
        """Whether any feature is shifted."""
        return bool(self.shift.any())

    def raw_intercept(self, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        """Return the intercept ``(k,)`` that goes with folded ``weights (k, d)`` on raw rows."""
        return (intercept - weights.astype(np.float64) @ self.shift).astype(weights.dtype)

    def shifted_intercept(self, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`raw_intercept`."""
        return (intercept + weights.astype(np.float64) @ self.shift).astype(weights.dtype)


def _mean_and_deviation(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two passes in blocks: exact enough, and without a float64 copy of the data."""
    n = len(rows)
    blocks = [slice(i, i + ROWS_AT_ONCE) for i in range(0, n, ROWS_AT_ONCE)]
    mean = sum(rows[block].sum(axis=0, dtype=np.float64) for block in blocks) / n
    variance = sum(np.square(rows[block] - mean).sum(axis=0) for block in blocks) / n
    # The rounding of its mean must not pass for the deviation of a constant feature.
    constant = rows.min(axis=0) == rows.max(axis=0)
    return np.asarray(mean), np.where(constant, 0.0, np.sqrt(variance))
