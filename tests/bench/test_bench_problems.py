from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from fastlin.bench.data import PIXEL_SCALE, make_data
from fastlin.bench.problems import (
    DTYPES,
    PROBES,
    SHORT_PROBES,
    Problem,
    fit_problems,
    grid_problems,
    mnist_problems,
    predict_problems,
    probe_problems,
)

MIB = 2**20


def small(**changes) -> Problem:
    return replace(Problem("small", 96, 20, 3, 16, "float32"), **changes)


def test_the_grid_has_every_cell_once() -> None:
    problems = grid_problems()
    cells = {(p.n_features, p.n_classes, p.batch_size, p.dtype) for p in problems}
    assert len(problems) == len(cells) == 3 * 4 * 4 * 4
    assert {dtype for *_, dtype in cells} == {"uint8", "float16", "float32", "float64"}
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
    assert {p.dtype for p in problems} == {"uint8", "float32", "float64"}
    assert {p.n_classes for p in problems} == {2, 10}
    assert {p.dtype for p in mnist_problems(dtypes=("uint8",))} == {"uint8"}


def test_probes_have_several_batches_and_some_are_also_one_batch_a_call() -> None:
    problems = probe_problems()
    long = [p for p in problems if p.n_steps >= 4]
    short = [p for p in problems if p.n_rows == p.batch_size]
    assert len(long) + len(short) == len(problems) == len({p.name for p in problems})
    for cells, shapes in ((long, PROBES), (short, SHORT_PROBES)):
        assert {(p.n_features, p.n_classes, p.batch_size, p.dtype) for p in cells} == {
            (*shape, dtype) for shape in shapes for dtype in ("float16", "float32")
        }
    assert all(p.n_rows * p.n_features * 8 <= 256 * MIB for p in problems)
    assert all("-short" in p.name for p in short)
    features, classes, batch_sizes = (set(values) for values in zip(*PROBES, strict=True))
    assert (features, classes) == ({512, 768, 2048}, {100, 300, 1000})
    assert batch_sizes == {128, 1024, 4096}
    assert {p.dtype for p in probe_problems(dtypes=("uint8", "float64"))} == {"uint8", "float64"}
    quick = probe_problems(quick=True)
    assert [p.name for p in quick] == [f"{p.name}-quick" for p in problems]
    assert sum(p.flops for p in quick) < sum(p.flops for p in problems) / 2


def test_the_fits_are_epochs_on_mnist() -> None:
    problems = fit_problems()
    assert [p.name for p in problems] == ["mnist-fit-uint8", "mnist-fit-float32"]
    assert {(p.n_rows, p.n_outputs, p.batch_size, p.timed) for p in problems} == {
        (60_000, 10, 128, "fit")
    }
    assert not any(p.predicts for p in problems)
    assert [p.name for p in fit_problems(quick=True, source="synthetic", dtypes=("float64",))] == [
        "synthetic-fit-float64-quick"
    ]


def test_predictions_are_of_all_rows_and_of_one() -> None:
    problems = predict_problems()
    cells = {(p.timed, p.dtype, p.n_rows) for p in problems}
    assert cells == set(product(("predict", "predict_proba"), ("uint8", "float32"), (60_000, 1)))
    assert len(problems) == len({p.name for p in problems}) == 8
    assert all(p.predicts and p.n_steps == 1 for p in problems)
    assert problems[0].flops == 2 * 60_000 * 784 * 10
    assert problems[0].bytes == 60_000 * 784
    assert {p.n_rows for p in predict_problems(quick=True)} == {6_000, 1}


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_have_the_type_and_stand_for_numbers_from_0_to_1(dtype: str) -> None:
    data = make_data(small(dtype=dtype))
    assert data.rows.dtype == dtype
    assert data.rows.flags.c_contiguous
    x = data.rows * data.scale
    assert x.min() >= 0
    assert x.max() == pytest.approx(1)
    assert data.float_rows.dtype == small(dtype=dtype).weight_dtype
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


def test_float_rows_of_narrow_rows_are_scaled_and_others_are_not_copied() -> None:
    pixels = make_data(small(dtype="uint8"))
    assert pixels.float_rows.dtype == np.float32
    assert np.allclose(pixels.float_rows, pixels.rows * PIXEL_SCALE)
    halves = make_data(small(dtype="float16"))
    assert halves.float_rows.dtype == np.float32
    assert np.array_equal(halves.float_rows, halves.rows)
    for dtype in ("float32", "float64"):
        floats = make_data(small(dtype=dtype))
        assert floats.float_rows is floats.rows


def test_work_is_counted_by_hand() -> None:
    problem = small(n_rows=100)  # 6 steps of 16
    assert problem.flops == 4 * 96 * 20 * 3
    assert problem.bytes == 96 * 20 * 4
    assert small(n_classes=2).flops == 4 * 96 * 20
    assert small(dtype="uint8").bytes == 96 * 20
    assert small(dtype="float16").bytes == 96 * 20 * 2


def test_mnist_rows_are_the_images(mnist) -> None:
    problem = mnist_problems(quick=True, dtypes=("float32",))[0]
    data = make_data(problem)
    assert data.rows.shape == (6_000, 784)
    assert np.allclose(data.rows * 255, mnist.X_train[:6_000], atol=1e-4)
    odd = make_data(replace(problem, n_classes=2))
    assert np.array_equal(odd.labels, data.labels % 2)
