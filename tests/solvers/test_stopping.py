"""Patience runs out at the right moment."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fastlin.solvers.stopping import Patience

losses = st.lists(st.one_of(st.floats(0, 10), st.sampled_from([0.5, 1.0, math.nan, math.inf])))


def observe(patience: Patience, sequence: list[float]) -> int | None:
    """Return the index of the observation that exhausts the patience, or None."""
    for index, loss in enumerate(sequence):
        patience.improved(loss)
        if patience.exhausted:
            return index
    return None


def test_so_many_in_a_row_without_a_new_best() -> None:
    assert observe(Patience(3), [5, 4, 6, 7, 3, 3, 3.5, 9]) == 7
    assert observe(Patience(3), [5, 4, 6, 7, 3, 3, 3.5]) is None
    assert observe(Patience(1), [5, 5]) == 1


def test_an_equal_loss_is_no_improvement() -> None:
    patience = Patience(2)
    assert patience.improved(1.0)
    assert not patience.improved(1.0)
    assert patience.best == 1.0


def test_less_than_tol_is_no_improvement() -> None:
    assert observe(Patience(2, tol=0.5), [5.0, 4.0, 3.75, 3.5]) == 3
    assert observe(Patience(2, tol=0.1), [5.0, 4.0, 3.75, 3.5]) is None


def test_steps_below_tol_do_not_add_up() -> None:
    """Each is compared with the lowest before it, not with the last that counted."""
    assert observe(Patience(4, tol=0.5), [5.0, 4.75, 4.5, 4.25, 4.0]) == 4


def test_what_is_not_a_number_is_no_improvement() -> None:
    assert observe(Patience(2), [math.nan, math.nan]) == 1
    patience = Patience(9)
    patience.improved(math.nan)
    assert patience.improved(3.0)
    assert not patience.improved(math.nan)
    assert patience.best == 3.0


@given(sequence=losses, n=st.integers(1, 5), tol=st.sampled_from([0.0, 0.25, 1.0]))
def test_against_the_definition(sequence: list[float], n: int, tol: float) -> None:
    def improves(index: int) -> bool:
        seen = [loss for loss in sequence[:index] if not math.isnan(loss)]
        return sequence[index] < min(seen, default=math.inf) - tol

    expected = None
    for index in range(n - 1, len(sequence)):
        if not any(improves(i) for i in range(index - n + 1, index + 1)):
            expected = index
            break
    assert observe(Patience(n, tol), sequence) == expected
