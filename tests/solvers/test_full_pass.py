"""Full passes: the order of their sums is fixed, for any threads and pieces of rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from problems import Problem, make_problem, make_sparse_problem

from fastlin.kernels import BACKEND_NAMES, Backend, CsrRows, DenseRows, backends, reference
from fastlin.solvers import full_pass
from fastlin.solvers.evaluation import mean_score

N = 1000


@pytest.fixture(params=BACKEND_NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    found = backends()[request.param]
    if not found.available:
        pytest.skip(f"backend {found.name!r} is not available")
    return found


@pytest.fixture(params=["dense", "sparse"])
def problem(request: pytest.FixtureRequest) -> Problem:
    if request.param == "dense":
        return make_problem(N, 35, 10, weighted=True, shifted=True)
    return make_sparse_problem(N, 30, 3, weighted=True)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 1000 rows make 8 blocks, the last of them shorter."""
    for kind in (DenseRows, CsrRows):
        monkeypatch.setattr(kind, "rows_of_a_block", lambda rows, dtype: 128)


def bits(results: tuple[Any, ...]) -> bytes:
    return b"".join(np.asarray(result).tobytes() for result in results)


# ------------------------------------------------------------------ the tree


def tree(parts: list[Any]) -> Any:
    """The sum by the tree of pairs, level by level: one without a neighbour goes up as it is."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


@pytest.mark.parametrize("n_parts", [*range(1, 36), 127, 128, 129])
def test_sums_are_joined_by_a_tree_of_pairs(n_parts: int) -> None:
    generator = np.random.default_rng(n_parts)
    numbers = (
        generator.standard_normal(n_parts) * 10.0 ** generator.integers(-9, 9, n_parts)
    ).tolist()
    arrays = [generator.standard_normal((2, 3)) for _ in range(n_parts)]
    total, array, count = full_pass.pairwise_sum(
        (number, array.copy(), 1) for number, array in zip(numbers, arrays, strict=True)
    )
    assert total == tree(numbers)
    np.testing.assert_array_equal(array, tree(arrays))
    assert count == n_parts


def test_the_tree_is_not_just_any_order() -> None:
    numbers = [1.0, 1e-16, 1e-16, 1e-16]
    assert full_pass.pairwise_sum((number,) for number in numbers) == (1 + 2e-16,)
    assert sum(numbers) != 1 + 2e-16


# ------------------------------------------------------------------ passes


def test_a_pass_is_the_kernel_over_all_rows(backend: Backend, problem: Problem) -> None:
    exact = problem.in_float64()
    loss, weights, intercept = reference.loss_gradient(exact.samples, *exact.model)
    got = full_pass.loss_gradient(backend, problem.samples, *problem.model, 2)
    assert got[0] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(got[1], weights, rtol=0, atol=1e-11 * np.abs(weights).max())
    np.testing.assert_allclose(got[2], intercept, rtol=0, atol=1e-11 * np.abs(intercept).max())
    loss, n_correct = full_pass.score(backend, problem.samples, *problem.model, 2)
    assert loss == pytest.approx(got[0], rel=1e-12)
    assert n_correct == reference.score(exact.samples, *exact.model)[1]


def test_a_pass_has_the_same_bits_for_any_number_of_threads(
    backend: Backend, problem: Problem
) -> None:
    for run in (full_pass.loss_gradient, full_pass.score):
        results = [bits(run(backend, problem.samples, *problem.model, n)) for n in range(1, 6)]
        assert len(set(results)) == 1


def test_rows_in_pieces_give_the_bits_of_all_rows(backend: Backend, problem: Problem) -> None:
    """Copies of pieces of some blocks each, as they may come from disk or other machines."""
    samples, model = problem.samples, problem.model
    whole = full_pass.loss_gradient(backend, samples, *model, 2)
    edges = [0, 256, 384, 896, N]

    def sums(edges: list[int]) -> Iterator[Any]:
        for first, stop in itertools.pairwise(edges):
            piece = samples.part(np.arange(first, stop))
            for block in full_pass.blocks(piece, problem.weights.dtype):
                yield backend.loss_gradient(block, *model, 1)

    assert bits(full_pass.pairwise_sum(sums(edges))) == bits(whole)
    assert bits(full_pass.pairwise_sum(sums([0, 100, N]))) != bits(whole)


def test_blocks_are_views_of_the_weights_type(problem: Problem) -> None:
    blocks = list(full_pass.blocks(problem.samples, np.dtype(np.float64)))
    assert [len(block.rows) for block in blocks] == [128] * 7 + [104]
    assert all(np.shares_memory(b.rows.values, problem.samples.rows.values) for b in blocks)
    assert all(np.shares_memory(b.labels, problem.samples.labels) for b in blocks)
    narrowed = full_pass.blocks(problem.samples, np.dtype(np.float32))
    assert {block.rows.dtype.name for block in narrowed} == {"float32"}


def test_no_rows_make_one_empty_block(backend: Backend, problem: Problem) -> None:
    nothing = problem.samples.part(slice(0))
    loss, weights, intercept = full_pass.loss_gradient(backend, nothing, *problem.model, 2)
    assert loss == 0
    assert not weights.any()
    assert not intercept.any()
    assert weights.shape == problem.weights.shape
    assert full_pass.score(backend, nothing, *problem.model, 2) == (0, 0)


# ------------------------------------------------------------------ who uses them


def test_the_score_of_weighted_rows_is_that_of_repeated_ones(
    backend: Backend, problem: Problem
) -> None:
    """Blocks of both are different rows: that their sums are joined right shows."""
    times = 1 + np.arange(N) % 3
    weighted = replace(problem.samples, sample_weight=times.astype(float))
    repeated = replace(problem.samples.part(np.arange(N).repeat(times)), sample_weight=None)
    results = [mean_score(backend, samples, *problem.model, 2) for samples in (weighted, repeated)]
    assert results[0] == pytest.approx(results[1], rel=1e-12)
    assert 0.1 < results[0][1] < 0.9
    again = {mean_score(backend, weighted, *problem.model, n) for n in range(1, 6)}
    assert again == {results[0]}
