"""Blocks of a stream: what their weights mean, and that each call draws a new order of rows."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.solvers.batches import Batches
from fastlin.solvers.schedules import StepSize
from fastlin.solvers.stream import ROWS_MEASURED, Seen


def problem(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, 4))
    return rows, (rows[:, 0] + 0.3 * generator.standard_normal(n) > 0).astype(int)


def moved(model: LogisticRegression, *block: Any, **options: Any) -> float:
    before = model.coef_.copy()
    return float(np.linalg.norm(copy.deepcopy(model).partial_fit(*block, **options).coef_ - before))


# ------------------------------------------------------------------ weights of blocks


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"learning_rate": 0.05}])
@pytest.mark.parametrize("n", [400, 30])
def test_a_light_block_moves_the_model_less(n: int, options: dict[str, Any]) -> None:
    rows, labels = problem(400)
    model = LogisticRegression(random_state=0, **options)
    model.partial_fit(rows, labels, classes=[0, 1])
    if "momentum" in options:
        model._state.parameters.weights_velocity[...] = 0
    block = rows[:n], 1 - labels[:n]
    moves = [moved(model, *block, sample_weight=np.full(n, w)) for w in (1e-3, 0.1, 1, 1.5)]
    assert moves[0] < moves[1] < moves[2] < moves[3]
    assert moves[0] < 0.01 * moves[2]
    assert moves[2] == pytest.approx(moved(model, *block), rel=1e-9)


def test_light_and_heavy_blocks_count_as_in_one_fit() -> None:
    """Blocks of weight 1e-3 hold wrong labels; whoever counts them alike learns nothing."""
    rows, labels = problem(2000)
    weight = np.where(np.arange(2000) // 100 % 2, 1.0, 1e-3)
    labels = np.where(weight < 1, 1 - labels, labels)
    for first in (0, 1):
        model = LogisticRegression(random_state=0)
        for _ in range(3):
            for block in range(first, 20 + first):
                part = slice(block % 20 * 100, block % 20 * 100 + 100)
                model.partial_fit(
                    rows[part], labels[part], classes=[0, 1], sample_weight=weight[part]
                )
        assert model.score(rows, labels, weight) > 0.85


def test_only_ratios_of_weights_count() -> None:
    rows, labels = problem(600)
    weight = np.random.default_rng(1).exponential(size=600)
    models = []
    for factor in (1.0, 1e-6, 1e6):
        model = LogisticRegression(random_state=0)
        for start in range(0, 600, 50):
            part = slice(start, start + 50)
            model.partial_fit(
                rows[part], labels[part], classes=[0, 1], sample_weight=factor * weight[part]
            )
        models.append(model.coef_)
    np.testing.assert_allclose(models[1], models[0], rtol=1e-9)
    np.testing.assert_allclose(models[2], models[0], rtol=1e-9)


def test_a_block_so_heavy_that_steps_would_be_unsafe_makes_safe_ones() -> None:
    rows, labels = problem(3000)
    model = LogisticRegression(random_state=0)
    for start in range(0, 2900, 100):
        part = slice(start, start + 100)
        model.partial_fit(rows[part], labels[part], classes=[0, 1])
    block = rows[2900:], labels[2900:]
    heavy, heavier = (moved(model, *block, sample_weight=np.full(100, w)) for w in (1e3, 1e9))
    assert moved(model, *block) < heavy
    assert heavier == pytest.approx(heavy, rel=1e-9)
    model.partial_fit(*block, sample_weight=np.full(100, 1e9))
    assert model.score(rows, labels) > 0.85


@pytest.mark.parametrize("sparse", [False, True])
def test_a_row_of_weight_two_is_two_rows_in_a_small_first_block(sparse: bool) -> None:
    rows, labels = problem(40)
    rows[np.abs(rows) < 0.3] = 0
    times = np.random.default_rng(2).integers(0, 3, 40)

    def fit(x: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        model = LogisticRegression(learning_rate=0.1, random_state=0)
        return model.partial_fit(csr_array(x) if sparse else x, y, [0, 1], w).coef_

    repeated = fit(np.repeat(rows, times, axis=0), np.repeat(labels, times), None)
    np.testing.assert_allclose(fit(rows, labels, times), repeated, rtol=1e-9)


def test_rows_of_weight_zero_in_a_block_are_as_absent() -> None:
    rows, labels = problem(300)
    weight = (np.arange(300) % 3 > 0).astype(float)
    labels[weight == 0] = 1 - labels[weight == 0]
    there = weight > 0
    with_them, without = (LogisticRegression(random_state=0, batch_size=16) for _ in range(2))
    for _ in range(2):
        with_them.partial_fit(rows, labels, classes=[0, 1], sample_weight=weight)
        without.partial_fit(rows[there], labels[there], classes=[0, 1])
    np.testing.assert_allclose(with_them.coef_, without.coef_, rtol=1e-9)


def test_a_block_without_any_weight_changes_nothing() -> None:
    rows, labels = problem(100)
    model = LogisticRegression(random_state=0)
    with pytest.raises(InputError, match="at least one"):
        model.partial_fit(rows, labels, classes=[0, 1], sample_weight=np.zeros(100))
    model.partial_fit(rows, labels, classes=[0, 1])
    other = copy.deepcopy(model).partial_fit(rows, labels, sample_weight=np.zeros(100))
    np.testing.assert_array_equal(other.coef_, model.coef_)
    np.testing.assert_array_equal(
        other.partial_fit(rows, labels).coef_, model.partial_fit(rows, labels).coef_
    )


# ------------------------------------------------------------------ orders of rows


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """All orders that are drawn from now on."""
    seen: list[list[int]] = []
    plain = Batches.order

    def remember(self: Batches, generator: np.random.Generator) -> np.ndarray:
        order = plain(self, generator)
        seen.append(order.tolist())
        return order

    monkeypatch.setattr(Batches, "order", remember)
    return seen


def different(orders: list[list[int]]) -> int:
    return len({tuple(order) for order in orders})


@pytest.mark.parametrize("seed", [0, np.int64(7), np.random.RandomState(0), None])
def test_each_call_draws_a_new_order(seed: Any, orders: list[list[int]]) -> None:
    rows, labels = problem(60)
    model = LogisticRegression(random_state=seed)
    for _ in range(5):
        model.partial_fit(rows, labels, classes=[0, 1])
    assert different(orders) == 5


def test_a_seed_brings_the_orders_back(orders: list[list[int]]) -> None:
    rows, labels = problem(60)
    models = []
    for seed in (3, 3, 4):
        model = LogisticRegression(random_state=seed)
        for _ in range(3):
            model.partial_fit(rows, labels, classes=[0, 1])
        models.append(model)
    assert orders[:3] == orders[3:6] != orders[6:]
    assert different(orders) == 6
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)


def test_they_go_on_after_a_fit_a_copy_and_a_file(orders: list[list[int]], tmp_path: Path) -> None:
    rows, labels = problem(60)
    model = LogisticRegression(random_state=0, max_epochs=4, tol=None).fit(rows, labels)
    model.partial_fit(rows, labels).save(tmp_path / "model.npz")
    assert different(orders) == len(orders) == 5
    loaded = LogisticRegression.load(tmp_path / "model.npz")
    again = [m.partial_fit(rows, labels).coef_ for m in (loaded, copy.deepcopy(model), model)]
    assert orders[5] == orders[6] == orders[7]
    assert different(orders) == 6
    np.testing.assert_array_equal(again[0], again[2])
    np.testing.assert_array_equal(again[1], again[2])


def test_warm_starts_draw_new_orders_and_keep_the_split(orders: list[list[int]]) -> None:
    rows, labels = problem(200)
    options = {"random_state": 0, "max_epochs": 2, "tol": None}
    model = LogisticRegression(warm_start=True, **options)
    for _ in range(3):
        model.fit(rows, labels)
    assert different(orders) == len(orders) == 6
    del orders[:]
    LogisticRegression(**options).fit(rows, labels).fit(rows, labels)
    assert orders[:2] == orders[2:]  # a fit that begins anew is the same one again
    model = LogisticRegression(warm_start=True, early_stopping=True, **options)
    splits = []
    with pytest.MonkeyPatch.context() as patch:
        import fastlin.training_set as module

        split = module.split_validation_set
        patch.setattr(
            module,
            "split_validation_set",
            lambda *arguments: splits.append(split(*arguments)) or splits[-1],
        )
        for _ in range(2):
            model.fit(rows, labels)
    np.testing.assert_array_equal(splits[0][1], splits[1][1])


# ------------------------------------------------------------------ what has been seen


def test_what_was_seen_is_kept_in_the_file(tmp_path: Path) -> None:
    rows, labels = problem(100)
    model = LogisticRegression(random_state=0)
    model.partial_fit(rows[:40], labels[:40], [0, 1], np.full(40, 3.0))
    model.partial_fit(rows[40:], labels[40:])
    assert model._state.seen == Seen(100, 180.0, 60, 2, 100, 40)
    model.save(tmp_path / "model.npz")
    loaded = LogisticRegression.load(tmp_path / "model.npz")
    assert loaded._state.seen == model._state.seen
    one, other = (m.partial_fit(rows[:5], labels[:5]) for m in (loaded, model))
    np.testing.assert_array_equal(one.coef_, other.coef_)
    assert one.learning_rate_ == other.learning_rate_


def test_of_an_older_file_nothing_has_been_seen() -> None:
    assert Seen.from_dict({}) == Seen()
    assert Seen.from_dict({"n_rows": 3, "weight": 2, "new": 1}) == Seen(3, 2.0)
    for wrong in ({"n_rows": -1}, {"weight": "much"}, {"weight": float("nan")}):
        with pytest.raises(ValueError, match=r"seen|could not convert"):
            Seen.from_dict(json.loads(json.dumps(wrong)))


def test_rates_of_few_rows_are_joined() -> None:
    """As single rows' curvatures are: by their mean square over their mean."""
    generator = np.random.default_rng(0)
    curvatures = generator.exponential(size=ROWS_MEASURED)
    known, seen = None, Seen()
    for curvature in curvatures:
        seen = seen.with_block(1, None)
        known, seen = seen.measured(known, 1, 1, lambda c=curvature: StepSize(1 / c, c))
    expected = np.mean(curvatures**2) / np.mean(curvatures)
    assert 1 / known.learning_rate == pytest.approx(expected, rel=0.15)
    assert known.intercept_gain == pytest.approx(curvatures.mean(), rel=1e-9)
    assert seen.measured(known, 1, 1, lambda: StepSize(9.0, 9.0))[0] == known  # enough
    assert seen.measured(known, 2, 1, lambda: StepSize(9.0, 9.0))[0] == StepSize(9.0, 9.0)
