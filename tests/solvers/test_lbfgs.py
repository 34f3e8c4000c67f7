"""L-BFGS reaches the optimum, reports its distance truthfully, and says why it stopped."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from lbfgs_objectives import CASES, INTERCEPTS, L2, objective_of, probabilities, problem
from scipy.optimize import minimize as scipy_minimize
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from fastlin import LogisticRegression, training_set
from fastlin.errors import DivergenceError
from fastlin.kernels import BACKEND_NAMES, Backend, Parameters, backends, get_backend
from fastlin.rows.conversion import sparse_rows
from fastlin.solvers import certificate, class_diagonals, curvature
from fastlin.solvers.curvature import Curvature
from fastlin.solvers.lbfgs import minimize
from fastlin.solvers.newton_bound import Unknowns, _reach
from fastlin.solvers.objective import Objective
from fastlin.solvers.progress import Progress


def oracle(
    point: np.ndarray, x: np.ndarray, y: np.ndarray, weight: np.ndarray, intercept: str
) -> float:
    """The objective, written out."""
    chosen = probabilities(point, x)[np.arange(len(y)), y]
    penalised = point if intercept == "penalised" else point[:, :-1]
    return float(-(weight * np.log(chosen)).mean() + L2 * (penalised**2).sum())


def optimum(objective: Objective, x: np.ndarray, y: Any, weight: Any, intercept: str) -> float:
    """The least objective, by another solver on the formula written out."""
    shape = (objective.n_models, x.shape[1] + 1)

    def value(flat: np.ndarray) -> float:
        point = flat.reshape(shape).copy()
        if intercept == "none":
            point[:, -1] = 0
        return oracle(point, x, y, weight, intercept)

    found = scipy_minimize(value, np.zeros(shape).ravel(), options={"gtol": 1e-7})
    return float(found.fun)


# ------------------------------------------------------------------ objective and certificate


@pytest.mark.parametrize(("k", "intercept"), CASES)
def test_the_objective_is_the_formula_and_its_gradient_the_slope(k: int, intercept: str) -> None:
    objective, *data = objective_of(k, intercept)
    generator = np.random.default_rng(0)
    shape = (objective.n_models, len(objective.scale))
    point, direction = generator.standard_normal((2, *shape))
    if intercept == "none":
        point[:, -1] = direction[:, -1] = 0
    value = objective.at(point)
    assert value.objective == pytest.approx(oracle(point, *data, intercept), rel=1e-12)
    step = 1e-6
    ahead, behind = (oracle(point + s * direction, *data, intercept) for s in (step, -step))
    slope = (ahead - behind) / (2 * step)
    assert np.vdot(value.gradient, direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(("k", "intercept"), CASES)
def test_the_lower_bound_is_below_the_optimum_and_meets_it_there(k: int, intercept: str) -> None:
    objective, *data = objective_of(k, intercept)
    least = optimum(objective, *data, intercept)
    generator = np.random.default_rng(1)
    shape = (objective.n_models, len(objective.scale))
    parameters = Parameters(np.zeros((shape[0], shape[1] - 1)), np.zeros(shape[0]))
    minimize(replace(objective.problem, tol=1e-14, max_epochs=1000), parameters)
    best = np.column_stack([parameters.weights, parameters.intercept]) / objective.scale
    assert objective.at(best).objective == pytest.approx(least, rel=1e-7)
    for size in (0.0, 1e-4, 1e-2, 0.1, 1.0):
        for _ in range(20):
            point = best + size * generator.standard_normal(shape)
            if intercept == "none":
                point[:, -1] = 0
            bound = objective.lower_bound(point, objective.at(point))
            assert bound <= least * (1 + 1e-7)
            if size == 0:
                assert bound == pytest.approx(least, rel=1e-5)
            elif size == 1e-4:
                assert bound > 0.99 * least


@pytest.mark.parametrize("k", [2, 3])
def test_the_moments_are_means_over_the_weighted_rows(k: int) -> None:
    objective, rows, labels, weight = objective_of(k, "free")
    of_class = np.eye(k)[labels][:, -objective.n_models :] * weight[:, np.newaxis]
    mean_row, labels_rows, share = objective.moments
    np.testing.assert_allclose(mean_row, weight @ rows / len(rows), rtol=1e-10)
    np.testing.assert_allclose(labels_rows, of_class.T @ rows / len(rows), rtol=1e-9)
    np.testing.assert_allclose(share, of_class.mean(axis=0), rtol=1e-14)
    assert np.ptp(np.bincount(labels, weight)) > 1  # the classes can be told apart by their share


@pytest.mark.parametrize("k", [2, 3, 4])
def test_no_step_changes_two_logits_by_more_than_the_reach(k: int) -> None:
    """By logits less one another, which the softmax depends on; of two classes there is one."""
    objective, rows, _, _ = objective_of(k, "free")
    x = np.column_stack([rows, np.ones(len(rows))])
    half = np.random.default_rng(0).standard_normal((objective.n_models, x.shape[1], 7))
    reach = _reach(objective, Unknowns.of(objective), half, np.ones(len(rows), bool))
    changes = np.einsum("nd,kdm->nkm", x, half)
    if k == 2:
        np.testing.assert_allclose(reach, np.linalg.norm(changes[:, 0], axis=1), rtol=1e-12)
        return
    largest = np.zeros(len(rows))
    for a, b in product(range(k), repeat=2):
        largest = np.maximum(largest, np.linalg.norm(changes[:, a] - changes[:, b], axis=1))
    assert (largest <= reach * (1 + 1e-12)).all()
    assert (reach < 2 * largest).all()


def test_without_a_penalty_the_bound_is_zero() -> None:
    objective, *_ = objective_of(3, "free")
    objective.decay[:] = 0
    point = np.zeros((3, len(objective.scale)))
    assert objective.lower_bound(point, objective.at(point)) == 0.0


def test_a_class_without_weight_leaves_a_valid_bound() -> None:
    rows, labels, _ = problem(3)
    weight = np.where(labels == 2, 0.0, 1.0)
    trained = LogisticRegression(solver="lbfgs", backend="numpy", tol=1e-9, l2=L2)
    trained.fit(rows, labels, sample_weight=weight)
    without = LogisticRegression(solver="lbfgs", backend="numpy", tol=1e-9, l2=L2, max_epochs=5)
    with pytest.warns(ConvergenceWarning):
        without.fit(rows, labels, sample_weight=weight)
    history = without.history_
    assert history.objective[-1] - history.gap[-1] <= trained.history_.objective[-1]


# ------------------------------------------------------------------ curvature


def hessian(
    point: np.ndarray, x: np.ndarray, weight: np.ndarray, objective: Objective
) -> np.ndarray:
    """The mean over the classes of the Hessian's diagonal blocks, ``(d + 1, d + 1)``."""
    p = probabilities(point, x)
    variance = (p * (1 - p))[:, 1:] if len(point) == 1 else p * (1 - p)
    one = np.column_stack([x, np.ones(len(x))])
    scatter = one.T @ (one * (weight * variance.mean(axis=1))[:, None]) / len(x)
    return scatter + np.diag(objective.decay)


@pytest.mark.parametrize(("k", "intercept"), CASES)
def test_all_rows_give_the_hessian_s_mean_block(k: int, intercept: str) -> None:
    objective, x, _, weight = objective_of(k, intercept)
    generator = np.random.default_rng(2)
    point, gradient = generator.standard_normal((2, objective.n_models, len(objective.scale)))
    approximate = Curvature(objective)
    approximate.update(point, objective.decay)
    block = hessian(point, x, weight, objective)
    if intercept == "none":
        block = block[:-1, :-1]
        gradient[:, -1] = 0
    expected = np.linalg.solve(block, gradient[:, : len(block)].T).T
    found = approximate.solve(gradient)
    np.testing.assert_allclose(found[:, : len(block)], expected, rtol=1e-8, atol=1e-10)
    assert not found[:, len(block) :].any()


def diagonal_inverse(block: np.ndarray, intercept: str) -> np.ndarray:
    """Eliminate the intercept from a block ``(d + 1, d + 1)``, keep the diagonal, bring it back."""
    if intercept == "none":
        return np.diag(np.append(1 / np.diag(block)[:-1], 0))
    schur = block[:-1, :-1] - np.outer(block[:-1, -1], block[-1, :-1]) / block[-1, -1]
    lower = np.eye(len(block))
    lower[:-1, -1] = block[:-1, -1] / block[-1, -1]
    middle = np.diag(np.append(np.diag(schur), block[-1, -1]))
    return np.linalg.inv(lower @ middle @ lower.T)


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("k", [2, 3])
def test_many_features_leave_the_diagonal_of_each_class(
    k: int, intercept: str, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _, _ = problem(k)
    rows[rows < 1] = 0
    monkeypatch.setattr(curvature, "MOST_FEATURES", rows.shape[1] - 1)
    monkeypatch.setattr(class_diagonals, "NUMBERS_AT_ONCE", 2 * k)  # several blocks
    given: Any = rows
    if sparse:
        given = sparse_rows(csr_array(rows))
    objective, _, _, weight = objective_of(k, intercept, given, scaled=False)
    shape = objective.n_models, len(objective.scale)
    point, gradient = np.random.default_rng(3).standard_normal((2, *shape))
    point /= 20  # so that no row is certain
    if intercept == "none":
        gradient[:, -1] = 0
    approximate = Curvature(objective)
    approximate.update(point, objective.decay)
    one, p = np.column_stack([rows, np.ones(len(rows))]), probabilities(point, rows)
    inverses = []
    for c in range(k)[-len(point) :]:
        of_class = weight * p[:, c] * (1 - p[:, c]) / len(rows)
        block = one.T @ (one * of_class[:, np.newaxis]) + np.diag(objective.decay)
        inverses.append(diagonal_inverse(block, intercept))
    mean = gradient.mean(axis=0) if k > 2 else np.zeros(shape[1])
    expected = np.array([a @ (g - mean) for a, g in zip(inverses, gradient, strict=True)])
    if k > 2:
        # The mean over the classes has no intercept at an optimum, so its products are left out.
        expected += mean * np.mean([np.diag(a) for a in inverses], axis=0) - expected.mean(axis=0)
    found = approximate.solve(gradient)
    np.testing.assert_allclose(found[:, :-1], expected[:, :-1], rtol=1e-8, atol=1e-10)
    if k == 2:
        np.testing.assert_allclose(found[:, -1], expected[:, -1], rtol=1e-8, atol=1e-10)
    if k > 2:
        diagonals = approximate._diagonals
        assert diagonals is not None
        np.testing.assert_array_equal(diagonals.solve(gradient, 3), found)
    if k > 2:  # symmetric and positive, as a preconditioner must be
        other = np.random.default_rng(4).standard_normal(shape)
        solved = approximate.solve(other)
        assert np.vdot(found, other) == pytest.approx(np.vdot(solved, gradient), rel=1e-9)
        assert np.vdot(solved, other) > 0


def test_a_feature_that_is_constant_or_a_copy_does_no_harm() -> None:
    rows, labels, _ = problem(3)
    more = np.column_stack([rows, rows[:, 0], np.full(len(rows), 7.0), 1e-9 * rows[:, 1]])
    options: dict[str, Any] = {"solver": "lbfgs", "backend": "numpy", "tol": 1e-10, "l2": 0.0}
    trained = LogisticRegression(**options).fit(rows, labels)
    wide = LogisticRegression(**options).fit(more, labels)
    assert wide.history_.stop_reason == trained.history_.stop_reason == "tol"
    assert wide.history_.objective[-1] == pytest.approx(trained.history_.objective[-1], rel=1e-9)
    assert wide.n_iter_ < 2 * trained.n_iter_ + 10


# ------------------------------------------------------------------ the solver


@pytest.mark.parametrize("k", [2, 3, 8])
@pytest.mark.parametrize(("dtype", "tol"), [("float32", 1e-5), ("float64", 1e-10)])
def test_tol_is_the_distance_from_the_optimum(k: int, dtype: str, tol: float) -> None:
    rows, labels, _ = problem(k, n=2000, d=12, spread=30.0)
    rows = rows.astype(dtype)
    options: dict[str, Any] = {"solver": "lbfgs", "backend": "numpy", "l2": 1e-5}
    best = LogisticRegression(**options, dtype="float64", tol=1e-14, max_epochs=1000)
    best.fit(rows.astype(np.float64), labels)
    least = best.history_.objective[-1]
    assert best.history_.gap[-1] < 1e-6 * least
    trained = LogisticRegression(**options, dtype=dtype, tol=tol, max_epochs=1000).fit(rows, labels)
    history = trained.history_
    assert history.stop_reason == "tol"
    assert history.objective[-1] / least - 1 < 3 * tol  # tol is compared with an estimate
    assert history.objective[-1] - history.gap[-1] <= least * (1 + 1e-7)
    assert trained.n_iter_ < 120  # without the curvature some 1000


def test_a_short_step_is_not_taken_for_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that the sample hardly holds make the first steps so short that little happens."""
    generator = np.random.default_rng(0)
    rows = (generator.random((2000, 60)) < 0.003) * generator.random((2000, 60)) * 255
    rows[:, 0] = generator.standard_normal(2000)
    labels = generator.integers(0, 3, 2000)
    trained = LogisticRegression(solver="lbfgs", backend="numpy", l2=1e-6, max_epochs=5000)
    least = trained.set_params(tol=1e-5).fit(rows, labels).history_.objective[-1]
    monkeypatch.setattr(curvature, "LEAST_ROWS", 100)
    monkeypatch.setattr(curvature, "ROWS_A_FEATURE", 0)
    history = trained.set_params(tol=1e-4).fit(rows, labels).history_
    assert history.stop_reason == "tol"
    assert history.objective[-1] / least - 1 < 1e-2  # it was 4e-2


def test_the_decrement_alone_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """While steps are far from Newton's it is too small; too many weights for a Hessian to tell."""
    gaps = []
    for seed in range(7):
        generator = np.random.default_rng(seed)
        rows = (generator.random((400, 30)) < 0.01) * generator.random((400, 30)) * 255
        rows[:, 0] = generator.standard_normal(400)
        labels = generator.integers(0, 3, 400)
        trained = LogisticRegression(solver="lbfgs", backend="numpy", l2=1e-6, max_epochs=5000)
        least = trained.set_params(tol=1e-7).fit(rows, labels).history_.objective[-1]
        with monkeypatch.context() as patched:
            patched.setattr(certificate, "MOST_UNKNOWNS", 0)
            history = trained.set_params(tol=1e-4).fit(rows, labels).history_
        assert history.stop_reason == "tol"
        gaps.append(history.objective[-1] / least - 1)
    # By the decrement alone up to 2e-3; what ends it is an estimate, which may be too small.
    assert max(gaps) < 1.5e-3
    assert np.median(gaps) < 1e-4


@pytest.mark.parametrize("k", [2, 3])
def test_rows_that_tell_nothing_give_no_stray_warning(k: int) -> None:
    """Steps of length 0 have no curvature, by which a product would be divided."""
    rows, labels = np.full((30, 2), 7.0), np.arange(30) % k
    trained = LogisticRegression(
        solver="lbfgs", backend="numpy", input_scale="standard", fit_intercept=False,
        dtype="float32", tol=1e-10,
    ).fit(rows, labels)  # fmt: skip
    assert trained.n_iter_ > 1
    assert not trained.coef_.any()
    assert trained.history_.objective[-1] == pytest.approx(np.log(k), rel=1e-6)


def test_float32_stops_where_it_can_tell_no_more() -> None:
    rows, labels, _ = problem(3)
    options: dict[str, Any] = {"solver": "lbfgs", "backend": "numpy", "l2": L2, "max_epochs": 1000}
    exact = LogisticRegression(**options, tol=1e-12).fit(rows, labels)
    with pytest.warns(ConvergenceWarning, match=r"precision.*dtype='float64'"):
        rough = LogisticRegression(**options, dtype="float32", tol=1e-15).fit(rows, labels)
    assert rough.history_.stop_reason in ("precision", "line_search")
    assert rough.n_iter_ < 100
    assert rough.history_.objective[-1] == pytest.approx(exact.history_.objective[-1], rel=1e-6)


def test_exact_weights_are_not_told_to_become_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlin.solvers.lbfgs._Run._search", lambda *_: None)
    rows, labels, _ = problem(3)
    with pytest.warns(ConvergenceWarning, match="line_search.*input_scale='standard'") as caught:
        LogisticRegression(solver="lbfgs", backend="numpy").fit(rows, labels)
    assert "float64" not in str(caught[0].message)


def test_no_gap_is_negative() -> None:
    rows, labels, _ = problem(3)
    for scale in np.logspace(-3, 3, 13):
        fit = LogisticRegression(solver="lbfgs", backend="numpy", l2=0.1, tol=None, max_epochs=200)
        assert fit.fit(rows * scale, labels).history_.gap.min() >= 0


def test_the_end_short_of_tol_is_one_warning_that_says_what_to_try() -> None:
    rows, labels, _ = problem(3)
    trained = LogisticRegression(solver="lbfgs", backend="numpy", max_epochs=2, tol=1e-6)
    with pytest.warns(ConvergenceWarning) as caught:
        trained.fit(rows, labels)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "after 2 iterations (max_epochs)" in message
    assert "tol=1e-06" in message
    assert "raise max_epochs" in message
    assert trained.history_.stop_reason == "max_epochs"
    assert trained.n_iter_ == len(trained.history_.objective) == 2


@pytest.mark.parametrize("tol", [None, 0])
def test_without_tol_nothing_was_missed(tol: float | None) -> None:
    rows, labels, _ = problem(3)
    short = LogisticRegression(solver="lbfgs", backend="numpy", max_epochs=3, tol=tol)
    assert short.fit(rows, labels).history_.stop_reason == "max_epochs"
    long = LogisticRegression(solver="lbfgs", backend="numpy", max_epochs=10_000, tol=tol)
    assert long.fit(rows, labels).history_.stop_reason in ("precision", "line_search")
    assert long.n_iter_ < 200


def test_no_step_that_helps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels, _ = problem(3)
    honest = get_backend("numpy")

    def uphill(*arguments: Any) -> Any:
        loss, gradient, intercept_gradient = honest.loss_gradient(*arguments)
        return loss, -gradient, -intercept_gradient

    monkeypatch.setattr(
        training_set, "get_backend", lambda _: replace(honest, loss_gradient=uphill)
    )
    with pytest.warns(ConvergenceWarning, match="line_search"):
        trained = LogisticRegression(solver="lbfgs").fit(rows, labels)
    assert trained.history_.stop_reason == "line_search"
    assert not trained.coef_.any()


def test_an_objective_that_is_not_finite_is_refused() -> None:
    rows, labels, _ = problem(3)
    trained = LogisticRegression(solver="lbfgs", backend="numpy", warm_start=True)
    trained.fit(rows, labels)
    trained.coef_ = np.full_like(trained.coef_, 1e308)
    with pytest.raises(DivergenceError, match="at the start of training"):
        trained.fit(rows, labels)


@pytest.mark.parametrize("d", [80, 300])  # with a block for each class, and with one for all
@pytest.mark.parametrize("name", [name for name in BACKEND_NAMES if name != "numpy"])
def test_threads_do_not_change_a_bit(name: str, d: int) -> None:
    backend: Backend = backends()[name]
    if not backend.available:
        pytest.skip(f"{backend.reason}; {backend.remedy}")
    generator = np.random.default_rng(0)
    labels = np.arange(3000) % 5
    pixels = generator.integers(0, 200, (3000, d)).astype(np.uint8)
    pixels[np.arange(3000), labels] += 50
    models = [
        LogisticRegression(
            solver="lbfgs", backend=name, n_threads=n, input_scale=(0, 1 / 255), tol=1e-5
        ).fit(pixels, labels)
        for n in (1, 2, 4)
    ]
    assert models[0].n_iter_ > curvature.UPDATED_AFTER
    assert models[0].coef_.any()
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].coef_, other.coef_)
        np.testing.assert_array_equal(models[0].intercept_, other.intercept_)


# ------------------------------------------------------------------ watching and starting


def test_every_iteration_is_checked_and_told() -> None:
    rows, labels, _ = problem(3)
    told: list[Progress] = []
    trained = LogisticRegression(solver="lbfgs", backend="numpy", callbacks=[told.append])
    trained.fit(rows[:200], labels[:200], X_val=rows[200:], y_val=labels[200:])
    history = trained.history_
    assert trained.n_iter_ == len(told) == len(history.val_loss) > 3
    assert [one.epoch for one in told] == list(history.check_step) == list(range(len(told)))
    assert told[-1].val_loss == history.val_loss[-1]
    assert told[-1].train_loss == history.train_loss[-1]
    assert all(one.end_of_epoch and one.rows_per_second > 0 for one in told)
    chosen = trained.predict_log_proba(rows[200:])[np.arange(100), labels[200:]]
    assert history.val_loss[-1] == pytest.approx(-chosen.mean(), rel=1e-9)


def test_a_callback_stops_it_without_a_warning() -> None:
    rows, labels, _ = problem(3)
    trained = LogisticRegression(
        solver="lbfgs", backend="numpy", tol=1e-12, callbacks=[lambda told: told.step == 2]
    )
    assert trained.fit(rows, labels).history_.stop_reason == "callback"
    assert trained.n_iter_ == 3


@pytest.mark.parametrize("own_validation", [True, False])
def test_early_stopping_returns_the_best_check_s_weights(own_validation: bool) -> None:
    rows, labels, _ = problem(3, n=60, d=20)
    trained = LogisticRegression(
        solver="lbfgs", backend="numpy", l2=0.0, tol=0, early_stopping=True, patience=3,
        validation_fraction=0.5, random_state=0,
    )  # fmt: skip
    if own_validation:
        trained.fit(rows[:30], labels[:30], X_val=rows[30:], y_val=labels[30:])
    else:
        trained.fit(rows, labels)
    history = trained.history_
    assert history.stop_reason == "early_stopping"
    assert history.best_step == np.argmin(history.val_loss) == history.stopped_step - 3
    if own_validation:
        chosen = trained.predict_log_proba(rows[30:])[np.arange(30), labels[30:]]
        assert -chosen.mean() == pytest.approx(history.val_loss.min(), rel=1e-9)


def test_a_warm_start_at_the_optimum_has_nothing_to_do() -> None:
    rows, labels, _ = problem(3)
    trained = LogisticRegression(
        solver="lbfgs", backend="numpy", tol=1e-6, l2=L2, warm_start=True
    ).fit(rows, labels)
    first, coefficients = trained.n_iter_, trained.coef_.copy()
    trained.fit(rows, labels)
    assert trained.n_iter_ < first / 3
    np.testing.assert_allclose(trained.coef_, coefficients, atol=0.01)


def test_a_start_where_all_is_certain_finds_back() -> None:
    rows, labels, _ = problem(3)
    options: dict[str, Any] = {"solver": "lbfgs", "backend": "numpy", "tol": 1e-6, "l2": L2}
    expected = LogisticRegression(**options).fit(rows, labels).history_.objective[-1]
    trained = LogisticRegression(**options, warm_start=True, max_epochs=500).fit(rows, labels)
    trained.coef_ = -1e4 * trained.coef_
    trained.fit(rows, labels)
    assert trained.history_.stop_reason == "tol"
    assert trained.history_.objective[-1] == pytest.approx(expected, rel=1e-5)


def test_rows_without_weight_tell_nothing_of_the_curvature() -> None:
    rows, labels, _ = problem(3, n=6000)
    weight = np.zeros(len(labels))
    weight[:60] = 1
    options: dict[str, Any] = {"solver": "lbfgs", "backend": "numpy", "tol": 1e-8, "l2": L2}
    weighted = LogisticRegression(**options).fit(1.0 * rows, labels, sample_weight=weight)
    few = LogisticRegression(**options).fit(rows[:60], labels[:60])
    assert weighted.n_iter_ == pytest.approx(few.n_iter_, abs=2)
    np.testing.assert_allclose(weighted.coef_, few.coef_, atol=1e-3 * abs(few.coef_).max())


def test_the_gradients_of_past_iterations_are_let_go() -> None:
    generator = np.random.default_rng(0)
    rows, labels = generator.standard_normal((30, 20_000)), np.arange(30) % 3
    trained = LogisticRegression(solver="lbfgs", backend="numpy", tol=None, max_epochs=60, l2=1e-7)
    tracemalloc.start()
    try:
        trained.fit(rows, labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert trained.n_iter_ == 60
    one_gradient = 3 * 20_000 * 8
    assert peak < 50 * one_gradient + 10 * rows.nbytes


def test_gradient_descent_goes_on_where_the_optimum_was() -> None:
    rows, labels, _ = problem(3)
    trained = LogisticRegression(solver="lbfgs", backend="numpy", l2=L2, warm_start=True)
    optimum = trained.fit(rows, labels).history_.train_loss[-1]
    trained.set_params(solver="sgd", max_epochs=2, tol=None, random_state=0).fit(rows, labels)
    assert trained.learning_rate_ > 0
    assert trained.history_.train_loss.mean() < 1.5 * optimum


def test_the_seconds_of_steps_and_checks_add_up() -> None:
    X, y, _ = problem(2)
    model = LogisticRegression(solver="lbfgs", backend="numpy").fit(X, y, X_val=X, y_val=y)
    seconds = model.history_.seconds
    assert min(seconds.values()) > 0
    assert seconds["steps"] + seconds["checks"] == pytest.approx(seconds["total"])
