from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastlin.bench.data import PIXEL_SCALE, make_data
from fastlin.bench.problems import DTYPES, Problem, grid_problems, mnist_problems

MIB = 2**20


def small(**changes) -> Problem:
    return replace(Problem("small", 96, 20, 3, 16, "float32"), **changes)


def test_the_grid_has_every_cell_once() -> None:
    problems = grid_problems()
    cells = {(p.n_features, p.n_classes, p.batch_size, p.dtype) for p in problems}
    assert len(problems) == len(cells) == 3 * 4 * 4 * 3
    assert len({p.name for p in problems}) == len(problems)


def test_a_grid_cell_is_whole_batches_and_fits_in_memory() -> None:
    for problem in grid_problems():
        assert problem.n_rows % problem.batch_size == 0
        assert problem.n_steps >= 1
        assert problem.n_rows * problem.n_features * 8 <= 256 * MIB


def test_a_grid_cell_takes_neither_microseconds_nor_minutes() -> None:
    for problem in grid_problems():
        seconds = problem.flops / 20e9 + 4 * problem.n_rows * problem.n_features / 5e9
        seconds += 50e-6 * problem.n_steps
        assert 0.02 < seconds < 10
        if problem.n_steps > 1:
            assert seconds < 0.5


def test_filters_keep_only_the_cells_asked_for() -> None:
    problems = grid_problems(features=(10,), classes=(2, 7), batch_sizes=None, dtypes=("uint8",))
    assert {p.n_features for p in problems} == {10}
    assert {p.n_classes for p in problems} == {2, 7}
    assert len(problems) == 2 * 4


def test_quick_problems_are_smaller_and_named_so() -> None:
    for quick, full in zip(grid_problems(quick=True), grid_problems(), strict=True):
        assert quick.n_rows <= full.n_rows
        assert quick.name == full.name + "-quick"
    assert all(p.n_rows == 6_000 and p.name.endswith("-quick") for p in mnist_problems(quick=True))


def test_mnist_problems_are_what_the_table_promises() -> None:
    problems = mnist_problems()
    assert {(p.n_rows, p.n_features) for p in problems} == {(60_000, 784)}
    assert {p.dtype for p in problems} == set(DTYPES)
    assert {p.n_classes for p in problems} == {2, 10}
    assert {p.dtype for p in mnist_problems(dtypes=("uint8",))} == {"uint8"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_have_the_type_and_stand_for_numbers_from_0_to_1(dtype: str) -> None:
    data = make_data(small(dtype=dtype))
    assert data.rows.dtype == dtype
    assert data.rows.flags.c_contiguous
    x = data.rows * data.scale
    assert x.min() >= 0
    assert x.max() == pytest.approx(1)
    assert x.std() > 0.2


def test_an_epoch_takes_no_row_twice_and_drops_what_fills_no_batch() -> None:
    data = make_data(small(n_rows=100))
    assert len(data.order) == 96
    assert len(np.unique(data.order)) == 96
    assert not np.array_equal(data.order, np.sort(data.order))


def test_labels_cover_all_classes() -> None:
    assert set(make_data(small()).labels) == {0, 1, 2}


def test_a_seed_gives_the_same_data_and_another_seed_other_data() -> None:
    once, again, other = (make_data(small(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(once.rows, again.rows)
    assert np.array_equal(once.order, again.order)
    assert not np.array_equal(once.rows, other.rows)
    assert not np.array_equal(once.order, other.order)


def test_float_rows_of_uint8_are_scaled_and_those_of_floats_not_copied() -> None:
    pixels = make_data(small(dtype="uint8"))
    assert pixels.float_rows.dtype == np.float32
    assert np.allclose(pixels.float_rows, pixels.rows * PIXEL_SCALE)
    floats = make_data(small())
    assert floats.float_rows is floats.rows


def test_work_is_counted_by_hand() -> None:
    problem = small(n_rows=100)  # 6 steps of 16
    assert problem.flops == 4 * 96 * 20 * 3
    assert problem.bytes == 96 * 20 * 4
    assert small(n_classes=2).flops == 4 * 96 * 20
    assert small(dtype="uint8").bytes == 96 * 20


def test_mnist_rows_are_the_images(mnist) -> None:
    problem = mnist_problems(quick=True, dtypes=("float32",))[0]
    data = make_data(problem)
    assert data.rows.shape == (6_000, 784)
    assert np.allclose(data.rows * 255, mnist.X_train[:6_000], atol=1e-4)
    odd = make_data(replace(problem, n_classes=2))
    assert np.array_equal(odd.labels, data.labels % 2)
