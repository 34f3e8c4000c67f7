"""What kernels read of rows of either form beside their values: their order, labels and weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from fastlin.kernels.jit.memory import array_at
from fastlin.kernels.jit.options import inner


class SampleArrays(NamedTuple):
    """Arrays of a call; one that is absent is empty."""

    order: Any  # (n_order,) int64
    labels: Any  # (n_rows,) int32
    sample_weight: Any  # (n_rows,) float64


@inner
def samples_of(shape: Any, arguments: Any) -> SampleArrays:
    """Return the arrays at the addresses in a call's arguments."""
    has_order, has_labels = arguments.order != 0, arguments.labels != 0
    has_weight = arguments.sample_weight != 0
    return SampleArrays(
        array_at(numba.int64, arguments.order, (shape.n_order if has_order else 0,)),
        array_at(numba.int32, arguments.labels, (shape.n_rows if has_labels else 0,)),
        array_at(numba.float64, arguments.sample_weight, (shape.n_rows if has_weight else 0,)),
    )


@inner
def row_at(samples: SampleArrays, position: int) -> int:
    """Return the row at a position of the order."""
    return samples.order[position] if len(samples.order) else position


@inner
def weight_of(samples: SampleArrays, row: int, divisor: float) -> float:
    """Return what a row's loss is multiplied by."""
    weight = samples.sample_weight[row] if len(samples.sample_weight) else 1.0
    return weight / divisor
