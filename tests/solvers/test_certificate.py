"""No fit claims to be at the optimum that is not, and no gap is below the truth.

The oracle is Newton's method in float64 on the formula written out, with Hessians of its own.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.errors import DivergenceError
from fastlin.kernels import BACKEND_NAMES, CsrRows, DenseRows, backends
from fastlin.solvers import certificate
from fastlin.solvers.convergence import LOOSE
from fastlin.solvers.exact import cross_entropy, entropy
from fastlin.solvers.newton_bound import _fall

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


def loss_and_residual(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses, residuals and probabilities of logits of all classes, none by a difference near 1."""
    rows = np.arange(len(y))
    other = np.exp(z - z.max(axis=1, keepdims=True))
    own = other[rows, y].copy()
    other[rows, y] = 0
    total = own + other.sum(axis=1)
    residual = other / total[:, None]
    probabilities = residual.copy()
    probabilities[rows, y] = own / total
    residual[rows, y] = -residual.sum(axis=1)
    above = z - z[rows, y][:, None]
    above[rows, y] = -np.inf
    losses = np.logaddexp.reduce(np.column_stack([np.zeros(len(y)), above]), axis=1)
    return losses, residual, probabilities


class Oracle:
    """The objective of one problem over ``(k, d + 1)`` weights, two classes having two rows."""

    def __init__(self, rows: np.ndarray, y: np.ndarray, weight: np.ndarray, l2: float, mode: str):
        self.x = np.column_stack([rows, np.full(len(y), float(mode != "none"))])
        self.y, self.k, self.weight = y, int(y.max()) + 1, weight / weight.sum()
        self.decay = np.append(np.full(rows.shape[1], 2 * l2), 2 * l2 if mode == "penalised" else 0)
        # The sigmoid's weights are the difference of the softmax's two, and penalised once.
        self.free = np.zeros((self.k, self.k - 1 if self.k == 2 else self.k))
        self.free[self.k - self.free.shape[1] :] = np.eye(self.free.shape[1])

    def value(self, point: np.ndarray) -> float:
        losses, _, _ = loss_and_residual(self.x @ point.T @ self.free.T, self.y)
        return float(self.weight @ losses + np.sum(self.decay * point**2) / 2)

    def optimum(self, point: np.ndarray) -> float:
        """The minimum, found by many Newton steps from a point, each with a line search."""
        point = point.copy()
        least = self.value(point)
        size = point.size
        for _ in range(200):
            _, residual, p = loss_and_residual(self.x @ point.T @ self.free.T, self.y)
            gradient = self.free.T @ (self.weight[:, None] * residual).T @ self.x
            gradient += self.decay * point
            hessian = np.diag(np.tile(self.decay, len(point)))
            for row, chance, share in zip(self.x, p, self.weight, strict=True):
                inner = self.free.T @ (np.diag(chance) - np.outer(chance, chance)) @ self.free
                hessian += share * np.kron(inner, np.outer(row, row))
            root = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
            values, vectors = np.linalg.eigh(hessian / root / root[:, None])
            along = vectors.T @ (gradient.ravel() / root) / np.maximum(values, 1e-15)
            step = -((vectors @ along) / root).reshape(point.shape)
            assert step.size == size
            lengths = 0.5 ** np.arange(40)
            found = [self.value(point + length * step) for length in lengths]
            best = int(np.argmin(found))
            if not found[best] < least * (1 - 1e-16):
                break
            point, least = point + lengths[best] * step, found[best]
        return least


def random_problem(seed: int) -> Problem:
    """Rows of many kinds, with what was seen to mislead: few, large, alike, separable ones."""
    generator = np.random.default_rng(seed)
    n = int(np.exp(generator.uniform(np.log(5), np.log(80))))
    d, k = int(generator.integers(1, 6)), int(generator.choice([2, 2, 3]))
    rows = generator.standard_normal((n, d)) @ generator.standard_normal((d, d))
    kind = seed % 4
    if kind == 1:
        rows *= 10 ** generator.uniform(-2, 4, d)
    elif kind == 2:
        rows[:, -1] = rows[:, 0] + 1e-3 * rows[:, -1]
    elif kind == 3:
        rows += 10 ** generator.uniform(0, 2)
    direction = generator.standard_normal((d, k)) / (rows.std(axis=0)[:, None] + 1e-9)
    y = (rows @ direction + generator.gumbel(size=(n, k)) * generator.choice([0, 1])).argmax(axis=1)
    y[:k] = np.arange(k)
    weight = generator.exponential(size=n) if generator.random() < 0.3 else np.ones(n)
    options = {
        "l2": 10 ** generator.uniform(-7, -1),
        "tol": float(generator.choice([1e-4, 1e-6, 1e-9])),
        "mode": str(generator.choice(["free", "none", "penalised"])),
        "dtype": str(generator.choice(["float32", "float64"])),
        "backend": str(generator.choice(BACKEND_NAMES)),
        "sparse": bool(generator.random() < 0.25),
    }
    return rows.astype(options["dtype"]), y, weight, options


def fitted(problem: Problem, **more: Any) -> LogisticRegression:
    rows, y, weight, options = problem
    backend = options["backend"] if backends()[options["backend"]].available else "numpy"
    model = LogisticRegression(
        solver="lbfgs", backend=backend, l2=options["l2"], tol=options["tol"], max_epochs=1000,
        fit_intercept=options["mode"] != "none", n_threads=1,
        regularize_intercept=options["mode"] == "penalised", **more,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(csr_array(rows) if options["sparse"] else rows, y, sample_weight=weight)


def truth(model: LogisticRegression, problem: Problem) -> tuple[float, float]:
    """The objective of a model, and the least there is, both by the oracle."""
    rows, y, weight, options = problem
    oracle = Oracle(rows.astype(np.float64), y, weight, options["l2"], options["mode"])
    point = np.column_stack([model.coef_, model.intercept_]).astype(np.float64)
    reached = oracle.value(point)
    return reached, min(oracle.optimum(point), oracle.optimum(np.zeros(point.shape)), reached)


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_tol_is_claimed_only_at_the_optimum_and_no_gap_is_too_small(first: int) -> None:
    claimed = 0
    for seed in range(first, first + 20):
        problem = random_problem(seed)
        model = fitted(problem)
        history, tol = model.history_, problem[3]["tol"]
        reached, least = truth(model, problem)
        rounding = 1e-12 * reached  # of the oracle's own sums
        assert reached - least <= history.gap[-1] + rounding, seed
        if history.stop_reason == "tol":
            claimed += 1
            assert reached - least <= LOOSE * tol * reached + rounding, seed
    assert claimed > 10


def test_four_rows_that_misled_the_estimate() -> None:
    """It stopped 3.4 % above the optimum with tol=1e-4."""
    rows = np.array(
        [
            [125270.27970006154, 0.0, -210400.2927149185],
            [0, 0, 0],
            [125270.36395546474, 38690.238455931336, -210398.6828794119],
            [125271.37838528192, 38689.16133698898, -210398.86471645455],
        ]
    )
    y = np.array([0, 1, 1, 0])
    for backend in BACKEND_NAMES:
        for sparse in (False, True):
            options = {
                "l2": 4.257271194700391e-05, "tol": 1e-4, "mode": "none", "backend": backend,
                "sparse": sparse, "dtype": "float64",
            }  # fmt: skip
            problem = rows, y, np.ones(4), options
            model = fitted(problem)
            assert model.history_.stop_reason == "tol"
            assert model.history_.objective[-1] < 0.17762 * (1 + 3e-4)


def test_newton_s_steps_finish_what_the_estimate_ended_too_early() -> None:
    """Rare large features: L-BFGS crawls, and took that for the end 1 % above the optimum."""
    generator = np.random.default_rng(0)
    rows = (generator.random((400, 30)) < 0.01) * generator.random((400, 30)) * 255
    rows[:, 0] = generator.standard_normal(400)
    labels = generator.integers(0, 3, 400)
    model = LogisticRegression(solver="lbfgs", backend="numpy", l2=1e-6, max_epochs=5000, tol=1e-6)
    history = model.fit(rows, labels).history_
    assert history.stop_reason == "tol"
    assert history.gap[-1] <= LOOSE * 1e-6 * history.objective[-1]
    assert model.n_iter_ < 500


def test_float32_is_certified_by_float64() -> None:
    """Its own sums are off by more than the gap."""
    for seed in (*range(8), 52):
        rows, y, weight, options = random_problem(4 * seed)
        options |= {"tol": 1e-6, "l2": 1e-3}
        if seed == 52:  # whose objective is less than it should be, in NumPy's sums
            options["backend"] = "numpy"
        problem = rows.astype(np.float32), y, weight, options
        model = fitted(problem)
        reached, least = truth(model, problem)
        assert model.coef_.dtype == np.float32
        assert reached - least <= model.history_.gap[-1] + 1e-12 * reached
        assert model.history_.gap[-1] < 1e-5 * reached


def test_without_a_penalty_a_gap_is_had_all_the_same() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((200, 3))
    y = (rows[:, 0] + generator.standard_normal(200) > 0).astype(int)
    copies = np.column_stack([rows, rows[:, 0], np.ones(200)])  # directions without curvature
    for given in (rows, copies):
        history = LogisticRegression(solver="lbfgs", l2=0, tol=1e-8).fit(given, y).history_
        assert history.stop_reason == "tol"
        assert history.gap[-1] <= LOOSE * 1e-8 * history.objective[-1]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_the_kernel_s_certificate_is_that_of_few_rows(
    dtype: str, form: Any, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not backends()[backend].available:
        pytest.skip(f"backend {backend!r} is not available")
    if dtype == "uint8" and form is csr_array:
        pytest.skip("sparse rows of 8-bit integers are converted before they get here")
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 9, (150, 4)).astype(dtype)
    y = generator.integers(0, 3, 150)
    weight = generator.exponential(size=150) * (y < 2)  # one class weighs nothing
    options: dict[str, Any] = {"solver": "lbfgs", "backend": backend, "tol": None, "max_epochs": 8}
    options |= {"l2": 0.1, "input_scale": (0 if form is csr_array else 4, 0.25)}
    for of_rows in (weight, None):
        gaps = []
        for many in (np.inf, 0):
            monkeypatch.setattr(certificate, "MANY", many)
            for kind in (DenseRows, CsrRows):
                monkeypatch.setattr(kind, "rows_of_a_block", lambda rows, dtype: 64)
            monkeypatch.setattr(certificate, "MOST_UNKNOWNS", 0)
            gaps.append(LogisticRegression(**options).fit(form(rows), y, of_rows).history_.gap[-1])
        assert gaps[1] == pytest.approx(gaps[0], rel=1e-3, abs=1e-13)


def test_too_many_weights_for_a_hessian_are_left_to_the_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certificate, "MOST_UNKNOWNS", 0)
    rows, y, _, options = random_problem(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LogisticRegression(solver="lbfgs", l2=1e-6, max_epochs=1000).fit(rows, y)
    assert model.history_.stop_reason == "tol"
    problem = rows, y, np.ones(len(y)), options | {"l2": 1e-6, "mode": "free"}
    reached, least = truth(model, problem)
    assert reached - least <= model.history_.gap[-1]


# ------------------------------------------------------------------ an optimum of zero


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("tol", [1e-4, 1e-8, 0.0])
def test_one_class_with_all_the_weight_gives_a_model(backend: str, k: int, tol: float) -> None:
    if not backends()[backend].available:
        pytest.skip(f"backend {backend!r} is not available")
    generator = np.random.default_rng(k)
    for dtype in ("float32", "float64"):
        for _ in range(4):
            n, d = int(generator.integers(4, 60)), int(generator.integers(1, 20))
            rows = generator.standard_normal((n, d)).astype(dtype)
            y = np.r_[np.arange(k), generator.integers(0, k, n - k)]
            model = LogisticRegression(
                solver="lbfgs", backend=backend, tol=tol, max_epochs=1000, l2=0.1, n_threads=1
            )
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                model.fit(rows, y, sample_weight=(y == 0).astype(float))
            history = model.history_
            assert history.stop_reason == "precision"
            assert history.objective[-1] <= np.finfo(dtype).eps
            assert history.gap[-1] >= history.objective[-1] * (1 - 1e-6)
            assert (model.predict(rows) == 0).all()


def test_a_curvature_that_fails_midway_leaves_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlin.solvers.curvature import Curvature

    honest, calls = Curvature.solve, []

    def failing(self: Curvature, gradient: np.ndarray) -> np.ndarray:
        calls.append(1)
        return honest(self, gradient) if len(calls) <= 3 else np.full_like(gradient, np.nan)

    rows, y, _, _ = random_problem(4)
    monkeypatch.setattr(Curvature, "solve", failing)
    model = LogisticRegression(solver="lbfgs", tol=1e-12, l2=1e-3, backend="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, y)
    assert model.n_iter_ > 0
    assert np.isfinite(model.coef_).all()
    assert model.coef_.any()
    calls[:] = [1] * 3
    with pytest.raises(DivergenceError, match="curvature is not finite at the start of training"):
        LogisticRegression(solver="lbfgs", backend="numpy").fit(rows, y)


def test_gradient_descent_that_diverges_returns_what_early_stopping_kept() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((256, 3))
    y = (rows[:, 0] + 0.3 * generator.standard_normal(256) > 0).astype(int)
    spiked = rows.copy()
    spiked[-1] = 1e200  # met in the second epoch at the latest
    options: dict[str, Any] = {"learning_rate": 0.5, "batch_size": 32, "shuffle": False}
    options |= {"max_epochs": 20, "tol": None, "backend": "numpy", "checks_per_epoch": 8}
    model = LogisticRegression(**options, early_stopping=True, patience=50)
    with pytest.warns(UserWarning, match="training loss became .*; the weights of step"):
        model.fit(spiked, y, X_val=rows[:100], y_val=y[:100])
    history = model.history_
    assert history.stop_reason == "divergence"
    assert np.isfinite(history.train_loss).all()
    assert history.stopped_step == len(history.train_loss) - 1 >= history.best_step
    chosen = model.predict_log_proba(rows[:100])[np.arange(100), y[:100]]
    assert -chosen.mean() == pytest.approx(history.val_loss.min(), rel=1e-9)
    assert model.score(rows, y) > 0.8
    with pytest.raises(DivergenceError):
        LogisticRegression(**options).fit(spiked, y)


# ------------------------------------------------------------------ parts


@pytest.mark.parametrize("k", [1, 2, 4])
def test_exact_losses_are_exact_however_small(k: int) -> None:
    generator = np.random.default_rng(k)
    z = generator.standard_normal((50, k)) * 10 ** generator.uniform(-1, 2.5, (50, 1))
    labels = generator.integers(0, max(k, 2), 50).astype(np.int32)
    with_other = np.column_stack([np.zeros(50), z]) if k == 1 else z
    wide = with_other.astype(np.longdouble)
    wide = wide - wide.max(axis=1, keepdims=True)
    p = np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True)
    expected, residuals, _ = loss_and_residual(with_other, labels)
    losses, residual, probabilities = cross_entropy(z, labels)
    np.testing.assert_allclose(losses, expected, rtol=1e-13)
    np.testing.assert_allclose(residual, residuals[:, -k:], rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(probabilities, p[:, -k:].astype(float), rtol=1e-12, atol=1e-300)
    logarithms = np.where(p > 0, np.log(np.where(p > 0, p, 1)), 0)
    spread = -(p * logarithms).sum(axis=1).astype(float)
    np.testing.assert_allclose(entropy(z), spread, rtol=1e-10, atol=1e-18)


def test_the_fall_is_the_maximum_of_its_formula() -> None:
    for decrement, reach in ((0.3, 1.0), (0.01, 90.0), (1e-6, 10.0), (2.0, 1e-4)):
        t = np.linspace(0, 60 * decrement, 2_000_001)[1:]
        s = reach * t
        formula = np.where(s < 1e-3, s**2 / 2 - s**3 / 6, np.exp(-s) + s - 1) / reach**2
        most = (decrement * t - formula).max()
        assert _fall(decrement, reach) == pytest.approx(most, rel=1e-3)
        assert _fall(decrement, reach) >= most * (1 - 1e-9)
    assert _fall(1.0, 1.0) == np.inf


@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
def test_one_class_with_all_the_weight_is_trained_to_the_end(backend: str) -> None:
    """The optimum is 0, so no point is within ``tol`` of it, however flat the objective there."""
    generator = np.random.default_rng(0)
    y = np.arange(187) % 13
    X = (generator.integers(0, 40, (187, 50)) + 10 * (y[:, np.newaxis] == 5)).astype(np.uint8)
    model = LogisticRegression(
        solver="lbfgs", backend=backend, l2=6e-4, input_scale="standard", tol=1e-4
    ).fit(X, y, sample_weight=(y == 5).astype(float))
    assert model.history_.stop_reason == "precision"
    assert model.history_.objective[-1] < 1e-6
