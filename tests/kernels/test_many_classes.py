"""So many classes that the threads of a step share the computation of its residuals.

With fewer than about sixty classes every thread computes all residuals for itself. With more, the
kernels take another path, with one more barrier and shared arrays.
"""

from __future__ import annotations

import pytest
from agreement import all_bits, check
from problems import make_problem

from fastlin.kernels import backends
from fastlin.kernels.blocking import PANEL, RESIDUALS_OF_ONE

N_CLASSES = 100


@pytest.mark.parametrize("name", ["numba", "c"])
@pytest.mark.parametrize("n_rows", [300, 45])
def test_threads_that_share_residuals_agree_with_the_reference(name: str, n_rows: int) -> None:
    backend = backends()[name]
    if not backend.available:
        pytest.skip(f"{backend.reason}; {backend.remedy}")
    assert N_CLASSES * PANEL > RESIDUALS_OF_ONE
    problem = make_problem(n_rows, 784, N_CLASSES, "uint8", "float32", weighted=True, shifted=True)
    alone = all_bits(backend, problem, 1)
    for n_threads in (2, 3, 5):
        check(backend, problem, n_threads)
        # Several times: a missing barrier shows now and then only.
        for _ in range(5):
            assert all_bits(backend, problem, n_threads) == alone
