"""Scaling of the inputs, folded into the weights so that no scaled copy of the data is made."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.errors import InputError, shown
from fastlin.rows.conversion import as_rows
from fastlin.rows.interface import Rows
from fastlin.rows.passes import FLOAT64, Passes, passes
from fastlin.rows.row_weights import evenly_by_weight
from fastlin.rows.samples import Samples

ROWS_AT_ONCE = 1024

ROWS_OF_A_MEAN, ROWS_OF_A_DEVIATION = 4096, 1024
"""Numbers of rows that suffice for an approximate mean, and to tell how far values are from it."""

ROUNDINGS = 4
"""Assumed number of roundings of a value, each by at most half an epsilon: a feature is constant if
its values differ by at most as many epsilons."""

LARGEST_CONSTANT = 1e18
"""Limit of the divisor of a large constant feature, so that float32 can hold its square."""


@dataclass(frozen=True)
class InputScale:
    """``x = (u - shift) * scale`` for each feature; both ``(d,)`` float64, ``scale > 0``.

    ``before_centring`` is the shift that ``centred`` replaced, or None.
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    before_centring: NDArray[np.float64] | None = None

    @classmethod
    @functools.lru_cache(maxsize=16)
    def none(cls, n_features: int) -> InputScale:
        """Return the scale that changes nothing."""
        shift, scale = np.zeros(n_features), np.ones(n_features)
        shift.flags.writeable = scale.flags.writeable = False  # all who ask share them
        return cls(shift, scale)

    @classmethod
    @one_blas_thread()
    def from_option(
        cls,
        option: Any,
        rows: Rows | NDArray[Any],
        sample_weight: NDArray[np.float64] | None = None,
    ) -> InputScale:
        """Return the scale that ``input_scale=option`` means for the training rows ``(n, d)``.

        ``None`` does not scale, ``"minmax"`` scales each feature to [0, 1], and ``"standard"``
        scales it to mean 0 and standard deviation 1. ``(shift, scale)`` are numbers or ``(d,)``
        arrays. A row of ``sample_weight (n,)`` 2 counts as two rows, a row of 0 not at all. Sparse
        rows allow ``None`` or a shift of 0, because any other would fill in their zeros.

        A feature is constant if its largest and its smallest value differ by at most 4 epsilons of
        the rows' type (for float16 those of float32) times the larger of their absolute values,
        which is as much as equal values can differ after 4 roundings each. It is only shifted, so
        that it gets no weight; if its absolute value is above ``epsilon**(-1/3)``, it is also
        divided by that.
        """
        rows = as_rows(rows)
        d = rows.shape[1]
        if option is None:
            return cls.none(d)
        if not isinstance(option, str):
            return cls._from_pair(option, d)
        if not rows.can_be_shifted:
            raise InputError(
                f"input_scale={option!r} shifts the features, which would fill in the zeros of "
                "sparse rows; pass input_scale=(0, scale), for example with "
                "scale = 1 / abs(X).max(axis=0).toarray().ravel() if no feature is all zero"
            )
        everywhere = passes(Samples(rows, sample_weight=sample_weight), FLOAT64, as_stored=True)
        found = [block for block in everywhere.map(extremes_of) if block is not None]
        low = np.min([lowest for lowest, _ in found], axis=0).astype(np.float64)
        high = np.max([highest for _, highest in found], axis=0).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            if option == "minmax":
                shift, spread = low, high - low
            else:
                shift, spread = _mean_and_deviation(everywhere)
        # The spread of a constant feature is only rounding.
        spread = np.where(_is_constant(low, high, rows.dtype), 0.0, spread)
        if not (np.isfinite(spread).all() and np.isfinite(shift).all()):
            raise InputError(
                f"features as large as {np.abs([low, high]).max():.3g} overflow when they are "
                "scaled; divide them by their largest value first"
            )
        # A large constant would lose digits if it were not divided; a small one keeps its unit.
        size = np.minimum(np.abs(shift), LARGEST_CONSTANT)
        size[size <= _most_digits(rows.dtype)] = 1.0
        return cls(shift, 1.0 / np.where(spread > 0, spread, size))

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
        self,
        rows: Rows | NDArray[Any],
        sample_weight: NDArray[np.float64] | None = None,
    ) -> InputScale:
        """Return this scale with the features' means as its shift.

        If the intercept is free, it absorbs any shift, so this changes the speed of gradient
        descent but not the optimum. For many rows the means come from an evenly spaced subset. If
        most values are 0, the shift stays, so that training is the same for sparse rows, which
        cannot be shifted, and for their dense form.
        """
        some, weight = _spaced_rows(as_rows(rows), sample_weight)
        some = some.here()
        if some.dtype.kind == "f" and _is_mostly_zero(_weighted_blocks(some, weight)):
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            mean = _mean([sums_of(Samples(some, sample_weight=weight))])
        if not np.isfinite(mean).all():
            return self
        return replace(self, shift=mean, before_centring=self.shift)

    def uncentred(self) -> InputScale:
        """Undo :meth:`centred` if it has changed the shift."""
        if self.before_centring is None:
            return self
        return type(self)(self.before_centring, self.scale)

    @property
    def has_shift(self) -> bool:
        """Whether any feature is shifted."""
        return bool(self.shift.any())

    @one_blas_thread()
    def loses_digits(
        self,
        rows: Rows | NDArray[Any],
        dtype: np.dtype[Any],
        sample_weight: NDArray[np.float64] | None = None,
    ) -> bool:
        """Whether rows ``(n, d)`` must be shifted before they are multiplied by the weights.

        Kernels subtract ``V shift`` from ``V u``, each rounded in the weights' ``dtype``, with a
        relative error of epsilon times ``shift / (u - shift)``. An error above ``epsilon**(2/3)``
        (2e-5 in float32, 4e-11 in float64) is too large. For rows of 8 and 16 bits, whose copy
        would take at least twice their memory, the limit is ``epsilon**(1/2)``. A constant feature
        counts as if it varied as much as the one that varies most. Evenly spaced rows decide.
        """
        if not self.has_shift:
            return False
        some, weight = _spaced_rows(as_rows(rows), sample_weight, ROWS_OF_A_DEVIATION)
        square, total = np.zeros(rows.shape[1]), 0.0
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for block, counts in _weighted_blocks(some, weight, ROWS_AT_ONCE // 8)():
                square += counts @ np.square((block - self.shift) * self.scale)
                total += float(counts.sum())
            deviation = np.sqrt(square / (total or 1.0))
            far = np.abs(self.shift) * self.scale
        seen = deviation > ROUNDINGS * _epsilon(rows.dtype) * far
        deviation = np.where(seen, deviation, deviation.max() or 1.0)
        most = _most_digits(dtype, 1 / 2 if rows.dtype.itemsize <= 2 else 1 / 3)
        return bool((far > most * deviation).any())

    def shifted(self, rows: Rows, dtype: np.dtype[Any]) -> Rows:
        """Return a copy of rows ``(n, d)`` minus the shift, with a single rounding."""
        return rows.minus(self.shift, dtype)

    def cancels(self, weights: NDArray[Any]) -> bool:
        """Whether the folded ``weights (k, d)`` of unscaled rows and the intercept cancel.

        They do if a logit loses more digits than :meth:`loses_digits` allows.
        """
        most = _most_digits(weights.dtype)
        if not self.has_shift or not weights.size:
            return False
        with np.errstate(over="ignore"):
            # A bound that needs no product decides nearly always, in half the time.
            bound = _largest(weights) * _largest(self.shift)
            return bool(bound > most and np.abs(weights * self.shift).max() > most)

    def gain(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the squares of the scales, ``(d,)``, in the weights' type."""
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

    def raw_intercept(self, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        """Return the intercept ``(k,)`` for folded ``weights (k, d)`` and unscaled rows."""
        return (intercept - self._of_shift(weights)).astype(weights.dtype)

    def learned_intercept(self, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        """Return :meth:`raw_intercept`, but in float64 if it :meth:`cancels`.

        Its rounding to float32 would be larger than what is left of the sum with the weighted rows.
        """
        raw = np.asarray(intercept - self._of_shift(weights), np.float64)
        return raw if self.cancels(weights) else raw.astype(weights.dtype)

    def shifted_intercept(self, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`raw_intercept`."""
        return (intercept + self._of_shift(weights)).astype(weights.dtype)

    @one_blas_thread()
    def _of_shift(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logits ``(k,)`` of the shift alone."""
        if not self.has_shift:
            return np.zeros(len(weights))
        return np.asarray(weights.astype(np.float64) @ self.shift)


def _is_constant(
    low: NDArray[np.float64], high: NDArray[np.float64], dtype: np.dtype[Any]
) -> NDArray[np.bool_]:
    """Whether features' values differ only by rounding; see :meth:`InputScale.from_option`."""
    with np.errstate(over="ignore"):
        return high - low <= ROUNDINGS * _epsilon(dtype) * np.maximum(np.abs(low), np.abs(high))


def _epsilon(dtype: np.dtype[Any]) -> float:
    """Return the rounding error of values computed in a type, relative to them; integers have none.

    float16 stores what was computed in float32: there 2000 and 2001 differ by one of its epsilons.
    """
    return float(np.finfo(np.promote_types(dtype, np.float32)).eps) if dtype.kind == "f" else 0.0


def _most_digits(dtype: np.dtype[Any], power: float = 1 / 3) -> float:
    """Return the largest ratio of a shift to the shifted values that costs few digits."""
    epsilon = float(np.finfo(np.promote_types(dtype, np.float32)).eps)
    return float(epsilon**-power)


_Blocks = Callable[[], "Iterator[tuple[NDArray[Any], NDArray[np.float64]]]"]


def _spaced_rows(
    rows: Rows, sample_weight: NDArray[np.float64] | None, enough: int = ROWS_OF_A_MEAN
) -> tuple[Rows, NDArray[np.float64] | None]:
    """Return evenly spaced rows, ``enough`` of them if there are as many, and their weights.

    Many weighted rows are drawn in proportion to their weights, and then have no weights.
    """
    if sample_weight is None:
        return rows.part(slice(None, None, max(1, len(rows) // enough))), None
    if np.count_nonzero(sample_weight) <= enough:
        return rows, sample_weight
    return rows.part(evenly_by_weight(sample_weight, enough)), None


def _weighted_blocks(
    rows: Rows,
    sample_weight: NDArray[np.float64] | None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> _Blocks:
    """Return a function that iterates over the rows of positive weight, in blocks with weights."""

    def blocks() -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
        for place, part in rows.blocks(rows_at_once):
            block = part.to_array()
            if block.dtype == np.float16:  # NumPy takes many times as long on these
                block = block.astype(np.float32)
            if sample_weight is None:
                yield block, np.ones(len(block))
                continue
            weight = sample_weight[place]
            if (weight > 0).any():
                yield block[weight > 0], weight[weight > 0]

    return blocks


def _is_mostly_zero(blocks: _Blocks) -> bool:
    return bool(
        sum(_sum(block != 0, weight).sum() for block, weight in blocks())
        < sum(weight.sum() * block.shape[1] for block, weight in blocks()) / 2
    )


_Sums = list[tuple[float, NDArray[np.float64], NDArray[np.float64]]]


@one_blas_thread()
def extremes_of(block: Samples) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the least and the largest values of one block, if its rows have weight: a step."""
    found = [
        (some.min(axis=0), some.max(axis=0))
        for some, _ in _weighted_blocks(block.rows, block.sample_weight)()
    ]
    if not found:
        return None
    return np.min([low for low, _ in found], axis=0), np.max([high for _, high in found], axis=0)


@one_blas_thread()
def sums_of(block: Samples) -> _Sums:
    """Return sum of weights, sum of rows and first row, for 1024 rows at a time: a step.

    They are not added up, because one after another, in the order of all rows, is how they are.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            (weight.sum(), _sum(some, weight), some[0].astype(np.float64))
            for some, weight in _weighted_blocks(block.rows, block.sample_weight)()
        ]


@one_blas_thread()
def squares_of(block: Samples, mean: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return sums of squared distances from the mean, for 1024 rows at a time: a step."""
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            weight @ np.square(some - mean)
            for some, weight in _weighted_blocks(block.rows, block.sample_weight)()
        ]


def _mean(found: Iterable[_Sums]) -> NDArray[np.float64]:
    """Return the mean of rows, from what :func:`sums_of` returned for their blocks."""
    parts = list(itertools.chain.from_iterable(found))
    if not parts:
        return np.asarray(np.nan)
    total = sum(weight for weight, _, _ in parts)
    mean, first = np.asarray(sum(row for _, row, _ in parts) / (total or np.nan)), parts[0][2]
    # Rounded, the mean of equal values would leave a remainder, which is large if they are.
    is_constant = np.abs(mean - first) <= ROWS_OF_A_MEAN * _epsilon(mean.dtype) * np.abs(first)
    return np.where(is_constant, first, mean)


def _sum(block: NDArray[Any], weight: NDArray[np.float64]) -> NDArray[Any]:
    """Return the weighted sum of at most :data:`ROWS_AT_ONCE` rows."""
    if block.dtype.itemsize == 1 and (weight == 1).all():
        # Sums of 1024 bytes are exact in float32, in a third of the time.
        return (weight.astype(np.float32) @ block.astype(np.float32)).astype(np.float64)
    return np.asarray(weight @ block)


def _mean_and_deviation(everywhere: Passes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation by two passes in blocks, without a float64 copy of the data."""
    sums = list(everywhere.map(sums_of))
    mean = _mean(sums)
    total = sum(weight for weight, _, _ in itertools.chain.from_iterable(sums))
    parts = itertools.chain.from_iterable(everywhere.map(squares_of, mean))
    return mean, np.sqrt(sum(parts) / total)


def _largest(values: NDArray[Any]) -> Any:
    """Return the largest absolute value, in half the time of the arrays' own methods."""
    return max(np.maximum.reduce(values, None), -np.minimum.reduce(values, None))
