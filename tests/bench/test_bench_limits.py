from __future__ import annotations

import numpy as np
import pytest

from fastlin.bench import limits
from fastlin.bench.limits import Limits

FIXED = Limits(2, 100e9, 50e9, 10e9, "by hand")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure badly and at once."""
    monkeypatch.setattr(limits, "_TRIALS", 1)
    monkeypatch.setattr(limits, "_FMA_SECONDS", 1e-4)
    monkeypatch.setattr(limits, "_array_bytes", lambda: 2**20)


def test_the_multiply_adds_are_really_made() -> None:
    multiply_adds, read = limits._numba_kernels()
    for (_, lanes), kernel in multiply_adds.items():
        # One turn: each start s in 0..11 becomes s / 2 + 1, in each lane.
        assert kernel(1) == lanes * (66 / 2 + 12)
        # Many turns: the fixed point 2.
        assert kernel(100) == pytest.approx(lanes * 12 * 2)
    array = np.arange(1000, dtype=np.uint64)
    assert read(array) == 499_500


def test_limits_are_measured(tiny: None) -> None:
    measured = limits.measure_limits(2)
    assert measured.n_threads == 2
    assert measured.float32_flops_per_second > 1e8
    assert measured.float64_flops_per_second > 1e8
    assert measured.read_bytes_per_second > 1e7
    assert "fused multiply-adds" in measured.method


def test_without_numba_a_matrix_product_stands_in(
    tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImportError

    monkeypatch.setattr(limits, "_numba_kernels", missing)
    measured = limits.measure_limits(1)
    assert "lower bound" in measured.method
    assert measured.float64_flops_per_second > 1e7


def test_the_nearer_limit_decides() -> None:
    assert FIXED.least_seconds(100e9, 1e9, "float32") == (1.0, "arithmetic")
    assert FIXED.least_seconds(100e9, 1e9, "uint8") == (1.0, "arithmetic")
    assert FIXED.least_seconds(100e9, 1e9, "float64") == (2.0, "arithmetic")
    assert FIXED.least_seconds(1e9, 30e9, "float32") == (3.0, "reading")
