"""The preconditioner with a block for each class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lbfgs_objectives import INTERCEPTS, objective_of, probabilities

from fastlin import LogisticRegression
from fastlin.solvers import class_blocks, curvature
from fastlin.solvers.class_blocks import SHRINKAGE, ClassBlocks, drawn
from fastlin.solvers.curvature import Curvature


def expected_inverses(
    point: np.ndarray, x: np.ndarray, weight: np.ndarray, objective: Any
) -> list[np.ndarray]:
    """The inverse of each class's block ``(d + 1, d + 1)``, from all rows."""
    p = probabilities(point, x)
    n, d = x.shape
    totals, means, scatters, effective = [], [], [], []
    for c in range(len(point)):
        w = weight * p[:, c] * (1 - p[:, c]) / n
        totals.append(w.sum())
        means.append(w @ x / w.sum())
        scatters.append((x - means[c]).T @ ((x - means[c]) * w[:, np.newaxis]))
        effective.append(w.sum() ** 2 / (w @ w))
    inverses = []
    for c in range(len(point)):
        part = SHRINKAGE * d / (SHRINKAGE * d + effective[c])
        covariance = (1 - part) * scatters[c]
        covariance += part * totals[c] / np.mean(totals) * np.mean(scatters, axis=0)
        of_one = np.append(means[c], 1.0)
        block = totals[c] * np.outer(of_one, of_one) + np.diag(objective.decay)
        block[:-1, :-1] += covariance
        inverse = np.zeros((d + 1, d + 1))
        size = d + 1 if objective.trains_intercept else d
        inverse[:size, :size] = np.linalg.inv(block[:size, :size])
        inverses.append(inverse)
    return inverses


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_the_blocks_are_the_hessian_s_mixed_with_their_mean(intercept: str) -> None:
    objective, x, _, weight = objective_of(3, intercept)
    generator = np.random.default_rng(2)
    point, g, other = generator.standard_normal((3, 3, len(objective.scale)))
    point /= 20  # so that no row is certain
    if intercept == "none":
        point[:, -1] = g[:, -1] = other[:, -1] = 0
    blocks = ClassBlocks(objective)
    blocks.update(point, objective.decay)
    inverses = expected_inverses(point, x, weight, objective)
    rest = g - g.mean(axis=0)
    of_rest = np.array([a @ b for a, b in zip(inverses, rest, strict=True)])
    of_mean = np.array([inverse @ g.mean(axis=0) for inverse in inverses])
    expected = of_rest - of_rest.mean(axis=0) + of_mean.mean(axis=0)
    found = blocks.solve(np.vstack([g, other]))
    np.testing.assert_allclose(found[:3], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found[3:], blocks.solve(other), rtol=1e-12)
    # Symmetric and positive, as a preconditioner must be.
    assert np.vdot(found[:3], other) == pytest.approx(np.vdot(found[3:], g), rel=1e-9)
    assert np.vdot(found[:3], g) > 0


def test_a_sample_estimates_a_sum_whose_large_terms_it_holds() -> None:
    generator = np.random.default_rng(0)
    size = generator.exponential(size=5000) ** 4
    places, weight = drawn(size, 500, 0.3)
    assert 480 <= len(places) <= 510
    assert (np.diff(places) > 0).all()
    assert weight.sum() == pytest.approx(size.sum(), rel=0.02)
    assert np.isin(np.argsort(size)[-50:], places).all()
    # A row whose chance is 1 counts as itself, every other as much as its neighbour.
    assert (weight >= size[places] * (1 - 1e-12)).all()
    shares = weight[weight > size[places] * (1 + 1e-9)]
    np.testing.assert_allclose(shares, shares[0], rtol=1e-9)
    # Averaged over all starts, every row counts as its size.
    size = generator.uniform(0.1, 2, 50)
    counted = np.zeros(50)
    for start in np.linspace(0, 1, 2000, endpoint=False):
        places, weight = drawn(size, 20, start)
        counted[places] += weight / 2000
    np.testing.assert_allclose(counted, size, rtol=0.03)


def test_few_rows_are_all_drawn() -> None:
    size = np.array([1.0, 2.0, 1e-10])
    places, weight = drawn(size, 3, 0.9)
    assert (places == [0, 1, 2]).all()
    assert (weight == size).all()


def test_a_sample_of_the_rows_gives_nearly_the_blocks_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, x, _, weight = objective_of(3, "free")
    monkeypatch.setattr(class_blocks, "LEAST_ROWS", 150)
    monkeypatch.setattr(class_blocks, "MOST_ROWS_LOOKED_AT", 250)
    blocks = ClassBlocks(objective)
    point, g = np.random.default_rng(3).standard_normal((2, 3, x.shape[1] + 1))
    blocks.update(point, objective.decay)
    exact = expected_inverses(point, x, weight, objective)
    for c in range(3):
        alone = np.zeros_like(g)
        alone[c] = g[c] - g[c].mean()
        alone[(c + 1) % 3] = -alone[c]
        found = np.vdot(alone, blocks.solve(alone))
        rest = alone - alone.mean(axis=0)
        true = sum(v @ inverse @ v for v, inverse in zip(rest, exact, strict=True))
        assert found == pytest.approx(true, rel=0.5)


def test_blocks_are_used_if_they_are_worth_it() -> None:
    objective, *_ = objective_of(3, "free")
    many = Curvature(objective)
    assert many._blocks.passes < 2
    point = np.random.default_rng(4).standard_normal((3, len(objective.scale)))
    many.update(point, objective.decay)  # at the start the probabilities do not differ
    assert not many._by_class
    assert next(made for made in range(70) if many.is_due(made)) == curvature.UPDATED_AFTER
    many.update(point, objective.decay, 6)
    assert many._by_class
    assert next(made for made in range(7, 70) if many.is_due(made)) == 20
    costly = Curvature(objective)
    costly._blocks._n_features = 140  # 62 passes
    for made, by_class in ((6, False), (30, False), (66, True)):
        assert costly.is_due(made) == (made != 30)
        costly._blocks.update = lambda *_: None  # type: ignore[method-assign]
        costly.update(point, objective.decay, made)
        assert costly._by_class == by_class
        costly._updated_after = 6
    binary = Curvature(objective_of(2, "free")[0])
    binary.update(point[:1], objective.decay, 6)
    assert not binary._by_class


@pytest.mark.parametrize("uneven", [False, True])
def test_they_save_iterations(uneven: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    n, d, k = 3000, 40, 8
    share = 0.5 ** np.arange(k) if uneven else np.ones(k)
    labels = generator.choice(k, n, p=share / share.sum())
    spread = (1.0 + np.arange(d)) ** -0.5
    rows = (generator.standard_normal((k, d))[labels] + generator.standard_normal((n, d))) * spread
    trained = LogisticRegression(solver="lbfgs", backend="numpy", tol=1e-8, max_epochs=500)
    trained.fit(rows, labels)
    least, made = trained.history_.objective[-1], trained.n_iter_
    monkeypatch.setattr(ClassBlocks, "are_possible", False)
    trained.fit(rows, labels)
    assert trained.history_.objective[-1] == pytest.approx(least, rel=1e-7)
    assert made < 0.7 * trained.n_iter_


def test_classes_of_one_row_and_certain_rows_do_no_harm() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((400, 6))
    rows = np.column_stack([rows, rows[:, 0], np.full(400, 5.0), 1e-9 * rows[:, 1]])
    labels = np.append(np.arange(397) % 3, [3, 4, 5])
    rows[np.arange(397), labels[:397]] += 4
    for l2 in (1e-3, 1e-9):
        trained = LogisticRegression(
            solver="lbfgs", backend="numpy", tol=1e-6, l2=l2, max_epochs=2000
        )
        history = trained.fit(rows, labels).history_
        assert history.stop_reason == "tol"
        assert history.gap[-1] < 1e-3 * history.objective[-1] or l2 < 1e-6


def test_the_objective_is_that_of_other_samples_too() -> None:
    """Weights that are zero leave rows out."""
    objective, x, _, weight = objective_of(3, "free")
    without = weight.copy()
    without[::3] = 0
    some = replace(objective.problem.samples, sample_weight=without)
    objective.samples = some
    blocks = ClassBlocks(objective)
    assert len(blocks._looked_at) == 200
    point, g = np.random.default_rng(5).standard_normal((2, 3, x.shape[1] + 1))
    point /= 20  # so that no row is certain
    blocks.update(point, objective.decay)
    inverses = expected_inverses(point, x, without, objective)
    rest = g - g.mean(axis=0)
    of_rest = np.array([a @ b for a, b in zip(inverses, rest, strict=True)])
    of_mean = np.array([inverse @ g.mean(axis=0) for inverse in inverses])
    expected = of_rest - of_rest.mean(axis=0) + of_mean.mean(axis=0)
    np.testing.assert_allclose(blocks.solve(g), expected, rtol=1e-8, atol=1e-10)
