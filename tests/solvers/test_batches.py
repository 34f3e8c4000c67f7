"""The plan of an epoch: which rows, which steps, which checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlin.errors import InputError
from fastlin.solvers.batches import Batches

sizes = st.integers(1, 400)
plans = st.builds(
    Batches,
    n_rows=st.integers(50, 400),
    batch_size=st.integers(1, 50),
    drop_last=st.booleans(),
    shuffle=st.booleans(),
    checks_per_epoch=st.integers(1, 500),
)


@given(n_rows=sizes, batch_size=sizes)
def test_every_batch_counts_as_a_step(n_rows: int, batch_size: int) -> None:
    batches = Batches(n_rows, batch_size)
    assert batches.steps_per_epoch == len(range(0, n_rows, batch_size))


@given(n_rows=sizes, batch_size=sizes)
def test_without_the_last_only_whole_batches_count(n_rows: int, batch_size: int) -> None:
    whole = sum(start + batch_size <= n_rows for start in range(0, n_rows, batch_size))
    if whole:
        assert Batches(n_rows, batch_size, drop_last=True).steps_per_epoch == whole
    else:
        with pytest.raises(InputError, match="lower batch_size or set drop_last=False"):
            Batches(n_rows, batch_size, drop_last=True)


def test_the_split_of_mnist_into_batches() -> None:
    assert Batches(9600, 128, drop_last=True).steps_per_epoch == 75
    assert Batches(60_000, 128).steps_per_epoch == 469
    assert Batches(60_000, 128, drop_last=True).steps_per_epoch == 468


@given(plan=plans)
def test_an_epoch_uses_every_row_once(plan: Batches) -> None:
    order = plan.order(np.random.default_rng(0))
    assert order.dtype == np.int64
    assert len(np.unique(order)) == len(order)
    assert order.min() >= 0
    assert order.max() < plan.n_rows
    whole = plan.n_rows // plan.batch_size * plan.batch_size
    assert len(order) == (whole if plan.drop_last else plan.n_rows)
    if not plan.shuffle:
        np.testing.assert_array_equal(order, np.arange(len(order)))


def test_each_epoch_has_an_order_of_its_own_and_a_seed_brings_it_back() -> None:
    batches = Batches(1000, 10)
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    epochs = [batches.order(one) for _ in range(3)]
    for order in epochs:
        np.testing.assert_array_equal(order, batches.order(other))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], batches.order(np.random.default_rng(2)))
    assert not np.array_equal(epochs[0], np.arange(1000))


@given(plan=plans, epoch=st.integers(0, 5))
def test_runs_join_to_the_epoch(plan: Batches, epoch: int) -> None:
    for with_checks in (False, True):
        runs = list(plan.runs(epoch, with_checks))
        assert [first for first, _, _ in runs] == [0, *(stop for _, stop, _ in runs[:-1])]
        assert runs[-1][1] == plan.steps_per_epoch
        assert all(first < stop for first, stop, _ in runs)
        if not with_checks:
            assert runs == [(0, plan.steps_per_epoch, False)]


@given(plan=plans)
def test_checks_follow_the_multiples_of_the_interval(plan: Batches) -> None:
    interval = max(1, plan.steps_per_epoch // plan.checks_per_epoch)
    checks = [
        epoch * plan.steps_per_epoch + stop - 1
        for epoch in range(5)
        for _, stop, check in plan.runs(epoch, with_checks=True)
        if check
    ]
    assert checks == [step for step in range(5 * plan.steps_per_epoch) if step % interval == 0]
    assert checks[0] == 0


def test_checks_of_an_epoch_that_its_number_of_checks_does_not_divide() -> None:
    """75 steps and 10 checks: every 7 steps, over the borders of epochs."""
    plan = Batches(750, 10, checks_per_epoch=10)
    assert [stop - 1 for _, stop, check in plan.runs(0, True) if check] == list(range(0, 75, 7))
    assert [stop - 1 for _, stop, check in plan.runs(1, True) if check] == list(range(2, 75, 7))
