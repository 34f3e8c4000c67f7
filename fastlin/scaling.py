"""Scaling of the inputs, folded into the weights so that no scaled copy of the data exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.blas import one_blas_thread
from fastlin.errors import InputError, shown
from fastlin.kernels.arguments import CsrRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import Rows

ROWS_AT_ONCE = 1024

ROWS_OF_A_MEAN = 4096
"""Rows enough for a mean that need not be exact."""


@dataclass(frozen=True)
class InputScale:
    """``x = (u - shift) * scale`` for each feature; both ``(d,)`` float64, ``scale > 0``."""

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    @one_blas_thread()
    def from_option(
        cls, option: Any, rows: Rows, sample_weight: NDArray[np.float64] | None = None
    ) -> InputScale:
        """Return the scale that ``input_scale=option`` means for the training rows ``(n, d)``.

        ``None``: as they are. ``"minmax"``: each feature to [0, 1]. ``"standard"``: each feature to
        mean 0 and standard deviation 1. ``(shift, scale)``: numbers or ``(d,)`` arrays. A constant
        feature is only shifted. A row of ``sample_weight (n,)`` 2 counts as two, one of 0 not at
        all. Sparse rows take ``None`` or a shift of 0: any other would fill in their zeros.
        """
        d = rows.shape[1]
        if option is None:
            return cls(np.zeros(d), np.ones(d))
        if not isinstance(option, str):
            return cls._from_pair(option, d)
        if isinstance(rows, CsrRows):
            raise InputError(
                f"input_scale={option!r} shifts the features, which would fill in the zeros of "
                "sparse rows; pass input_scale=(0, scale), for example with "
                "scale = 1 / abs(X).max(axis=0).toarray().ravel() where no feature is all zero"
            )
        blocks = _weighted_blocks(rows, sample_weight)
        low = np.min([block.min(axis=0) for block, _ in blocks()], axis=0).astype(np.float64)
        high = np.max([block.max(axis=0) for block, _ in blocks()], axis=0).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            if option == "minmax":
                shift, spread = low, high - low
            else:
                shift, spread = _mean_and_deviation(blocks)
        # The rounding of its mean must not pass for the deviation of a constant feature.
        spread = np.where(low == high, 0.0, spread)
        if not (np.isfinite(spread).all() and np.isfinite(shift).all()):
            raise InputError(
                f"features as large as {np.abs([low, high]).max():.3g} overflow when they are "
                "scaled; divide them by their largest value first"
            )
        return cls(shift, 1.0 / np.where(spread > 0, spread, 1.0))

    @classmethod
    def _from_pair(cls, pair: Sequence[Any], d: int) -> InputScale:
        try:
            shift, scale = (np.broadcast_to(np.asarray(v, np.float64), (d,)).copy() for v in pair)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"input_scale={shown(pair)} is not a pair (shift, scale) of numbers or of arrays "
                f"with {d} elements, one for each feature"
            ) from error
        if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise InputError("input_scale=(shift, scale) needs finite shifts and positive scales")
        return cls(shift, scale)

    @one_blas_thread()
    def centred(
        self, rows: NDArray[Any], sample_weight: NDArray[np.float64] | None = None
    ) -> InputScale:
        """Return this scale with the features' means for its shift.

        Where the intercept is free, the model that is learned is the same: the intercept takes up
        any shift. Only the descent to it changes. Of many rows evenly spaced ones give the means.
        Numbers that are mostly 0 keep their shift, so that rows in sparse form, which cannot be
        shifted, descend as they do in dense form.
        """
        step = max(1, len(rows) // ROWS_OF_A_MEAN)
        some = rows[::step]
        blocks = _weighted_blocks(some, None if sample_weight is None else sample_weight[::step])
        if some.dtype.kind == "f" and _is_mostly_zero(blocks):
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            mean = _mean(blocks)
        return replace(self, shift=mean) if np.isfinite(mean).all() else self

    @property
    def has_shift(self) -> bool:
        """Whether any feature is shifted."""
        return bool(self.shift.any())

    def gain(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the squares of the scales, ``(d,)``, in the type of the weights."""
        with np.errstate(over="ignore", under="ignore"):
            gain = (self.scale**2).astype(dtype)
        limits = np.finfo(dtype)
        lost = np.flatnonzero((gain < limits.tiny) | (gain > limits.max))
        if len(lost):
            raise InputError(
                f"the input_scale of feature {lost[0]} is {self.scale[lost[0]]:.3g}, whose square "
                f"{dtype} cannot hold; change the feature's unit"
            )
        return gain

    @one_blas_thread()
    def raw_intercept(self, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        """Return the intercept ``(k,)`` that goes with folded ``weights (k, d)`` on raw rows."""
        return (intercept - weights.astype(np.float64) @ self.shift).astype(weights.dtype)

    @one_blas_thread()
    def shifted_intercept(self, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`raw_intercept`."""
        return (intercept + weights.astype(np.float64) @ self.shift).astype(weights.dtype)


_Blocks = Callable[[], "Iterator[tuple[NDArray[Any], NDArray[np.float64]]]"]


def _weighted_blocks(rows: NDArray[Any], sample_weight: NDArray[np.float64] | None) -> _Blocks:
    """Return what goes over the rows that count, in blocks, each with their weights ``(b,)``."""

    def blocks() -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
        for first in range(0, len(rows), ROWS_AT_ONCE):
            block = rows[first : first + ROWS_AT_ONCE]
            if sample_weight is None:
                yield block, np.ones(len(block))
                continue
            weight = sample_weight[first : first + ROWS_AT_ONCE]
            if (weight > 0).any():
                yield block[weight > 0], weight[weight > 0]

    return blocks


def _is_mostly_zero(blocks: _Blocks) -> bool:
    return bool(
        sum(weight @ np.count_nonzero(block, axis=1) for block, weight in blocks())
        < sum(weight.sum() * block.shape[1] for block, weight in blocks()) / 2
    )


def _mean(blocks: _Blocks) -> NDArray[np.float64]:
    total = sum(weight.sum() for _, weight in blocks())
    return np.asarray(sum(weight @ block for block, weight in blocks()) / (total or np.nan))


def _mean_and_deviation(blocks: _Blocks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two passes in blocks: exact enough, and without a float64 copy of the data."""
    total = sum(weight.sum() for _, weight in blocks())
    mean = _mean(blocks)
    variance = sum(weight @ np.square(block - mean) for block, weight in blocks())
    return mean, np.sqrt(variance / total)
