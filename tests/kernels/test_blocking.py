"""Dividing the work: all of it is covered once, sums fit their integers, threads change no bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastlin.kernels import CsrRows
from fastlin.kernels.blocking import (
    MOST_SUMS,
    OF_16_REGISTERS,
    OF_32_REGISTERS,
    PARTS,
    REGISTERS,
    ROW_STEP,
    VECTORS_OF_A_BOUND,
    VECTORS_OF_A_UNIT,
    DenseBlocking,
    dense_blocking,
    sparse_blocking,
    useful_threads,
)
from fastlin.kernels.jit.team import slices_of


def of_bytes(
    d: int, k: int, n_threads: int = 1, isa: str = "amx", start: float = 0
) -> DenseBlocking:
    return dense_blocking(
        d,
        k,
        60_000,
        128,
        ("uint8", "float32"),
        REGISTERS[isa],
        n_threads,
        steps=True,
        work_of_a_start=start,
    )


@pytest.mark.parametrize("isa", REGISTERS)
def test_blocks_slices_and_vectors_hold_everything_once(isa: str) -> None:
    for d in (1, 15, 16, 784, 2047, 2048, 5000, 66_000, 3_000_000):
        for k in (1, 2, 3, 7, 10, 11, 100):
            cut = of_bytes(d, k, isa=isa)
            assert 0 <= cut.k_padded - k < cut.block
            assert 0 <= cut.n_vectors * cut.lanes - d < cut.lanes * VECTORS_OF_A_UNIT
            bounds = cut.slice_bounds
            assert (bounds[0], bounds[-1], len(bounds)) == (0, cut.n_vectors, cut.n_slices + 1)
            assert (np.diff(bounds) > 0).all()
            assert (bounds[:-1] % VECTORS_OF_A_BOUND == 0).all()
            # Products of bytes and digits that 32 bits must hold the sum of.
            if cut.matrix_unit:
                assert np.diff(bounds).max() * cut.lanes * 255 * 128 < 2**31


def test_only_the_number_of_threads_depends_on_the_threads() -> None:
    for d, k in ((784, 10), (784, 100), (5000, 10)):
        alone, many = of_bytes(d, k), of_bytes(d, k, n_threads=64)
        assert 1 == alone.n_threads < many.n_threads <= 64
        assert replace(many, n_threads=1) == alone
        # Threads that are started anew need more to do.
        assert of_bytes(d, k, 64, start=1e12).n_threads < many.n_threads


def test_no_fewer_threads_would_take_as_long() -> None:
    """Threads are chosen so that all have as much of the slices to do, where that is possible."""

    def longest(n_threads: int, n_slices: int) -> float:
        """Slices that the busiest thread has, by the rule of the kernels."""
        found = (slices_of(n_slices, thread, n_threads) for thread in range(n_threads))
        return float(max((stop - first) / n_parts for first, stop, _, n_parts in found))

    for n_slices in range(1, 9):
        for most in range(1, 33):
            chosen = useful_threads(1000, 1, 0, most, n_slices)
            assert 1 <= chosen <= most
            assert longest(chosen, n_slices) == longest(most, n_slices)
            assert all(longest(n, n_slices) > longest(chosen, n_slices) for n in range(1, chosen))
    # Little work: no more than a thread for each unit, but nearly as many make a round number.
    assert [useful_threads(work, 1, 0, 16, 1) for work in (0, 0.4, 1.2, 2.7)] == [1, 1, 1, 3]
    assert [useful_threads(work, 1, 0, 16, 2) for work in (0, 1.9, 2.9, 13)] == [1, 1, 2, 14]
    assert useful_threads(13, 10, 5, 16, 2) == 2


def test_slices_of_a_matrix_unit_grow_only_after_there_are_many() -> None:
    """Around 2^16 features C and Numba once counted differently."""
    numbers = [of_bytes(d, 10).n_slices for d in (4095, 4096, 65_535, 65_536, 66_560, 67_584)]
    assert numbers == [4, 4, 63, 64, 65, 66]


def test_few_products_and_other_types_are_left_to_vectors() -> None:
    assert of_bytes(784, 10).matrix_unit
    assert not of_bytes(784, 7).matrix_unit
    assert not of_bytes(784, 10, isa="avx512").matrix_unit
    floats = ("float32", "float32")
    assert not dense_blocking(
        784, 10, 60_000, 128, floats, REGISTERS["amx"], 1, steps=True
    ).matrix_unit


@pytest.mark.parametrize(("kernels", "free"), [(OF_32_REGISTERS, 8), (OF_16_REGISTERS, 4)])
def test_sums_leave_registers_for_operands(kernels: dict[int, tuple[int, int]], free: int) -> None:
    registers = 32 if kernels is OF_32_REGISTERS else 16
    for block, (rows, vectors) in kernels.items():
        assert block * max(rows, vectors) <= min(registers - free, MOST_SUMS)
        assert ROW_STEP % rows == 0
        assert VECTORS_OF_A_BOUND % vectors == 0


def test_slices_of_sparse_rows_hold_about_as_many_values() -> None:
    rng = np.random.default_rng(0)
    n, d, z = 500, 4000, 100
    columns = np.sort(rng.zipf(1.3, (n, 4 * z)) % d, axis=1)[:, ::4].astype(np.int32)
    rows = CsrRows(np.ones(n * z, np.float32), columns.ravel(), np.arange(0, n * z + 1, z), d)
    cut = sparse_blocking(rows, 50, n, 128, REGISTERS["avx512"], 8)
    bounds = np.array(cut.bounds)
    assert cut.n_slices * PARTS + 1 == len(bounds)
    assert cut.n_slices > 1
    assert bounds[0] == 0
    assert bounds[-1] == d
    assert (np.diff(bounds) >= 0).all()
    slices = np.histogram(columns, np.r_[bounds[:-1:PARTS], d])[0]
    # A feature is whole, and the first ones hold many values.
    assert slices.max() < 3 * columns.size / cut.n_slices
    assert replace(sparse_blocking(rows, 50, n, 128, REGISTERS["avx512"], 1), n_threads=8) == (
        replace(cut, n_threads=8)
    )


def test_threads_share_no_slice_of_sparse_rows_whose_weights_they_change() -> None:
    n, d = 500, 4000
    for z, n_classes in ((3, 2), (20, 27), (100, 20), (100, 50), (400, 200)):
        columns = np.tile(np.arange(z, dtype=np.int32) * 10, n)
        rows = CsrRows(np.ones(n * z, np.float32), columns, np.arange(0, n * z + 1, z), d)
        cuts = [
            sparse_blocking(rows, n_classes, n, 500, REGISTERS["avx512"], n_threads)
            for n_threads in (1, 2, 3, 5, 64)
        ]
        assert len({cut.n_slices for cut in cuts}) == 1
        assert all(cut.n_threads <= cut.n_slices for cut in cuts)
        # Nobody changes weights while a gradient is computed.
        gradient = sparse_blocking(rows, n_classes, n, 500, REGISTERS["avx512"], 64, updates=False)
        assert gradient.n_slices == 1
        assert gradient.n_threads >= cuts[-1].n_threads
