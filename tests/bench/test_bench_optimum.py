"""The way to the optimum and sparse rows as benchmarks, on tiny problems."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from command_line import assert_mistake, run
from scipy.sparse import issparse
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

from fastlin.bench import optimum, suite
from fastlin.bench.contestants import Model, Outcome
from fastlin.bench.data import make_data
from fastlin.bench.limits import Limits
from fastlin.bench.optimum import FastlinSolver, Solver, Target, bring_to_target, objective
from fastlin.bench.peers import PEERS, SOLVERS, SUITES, chosen_peers
from fastlin.bench.problems import OPTIMUM_GAP, Problem, optimum_problems, sparse_problems
from fastlin.errors import InputError
from fastlin.kernels import get_backend

NUMPY = get_backend("numpy")
TINY = Problem("tiny", 200, 12, 3, 200, "uint8", l2=1e-2, gap=1e-5)
BINARY = replace(TINY, name="tiny-binary", n_classes=2, dtype="float32")
TEXT = Problem(
    "tiny-text", 256, 80, 4, 32, "float32", "text", l2=1e-3, rate=1.0, gap=1e-5, nonzeros=10
)


@pytest.fixture(autouse=True)
def fixed_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suite, "measure_limits", lambda n: Limits(n, n * 100e9, n * 50e9, n * 10e9, "by hand")
    )


def dense(rows: object) -> np.ndarray:
    return rows.toarray() if issparse(rows) else np.asarray(rows)


@pytest.mark.parametrize("problem", [TINY, BINARY, TEXT], ids=lambda one: one.name)
def test_the_target_is_the_optimum_of_the_formula(problem: Problem) -> None:
    data = make_data(problem)
    rows = dense(data.rows) * data.scale
    oracle = SklearnLogisticRegression(
        C=1 / (2 * problem.n_rows * problem.l2), solver="newton-cholesky", tol=1e-12
    ).fit(rows.astype(np.float64), data.labels)
    target = Target.of(problem, data, NUMPY, 1)
    model = Model(oracle.coef_, oracle.intercept_)
    chosen = oracle.predict_log_proba(rows)[np.arange(len(rows)), data.labels]
    expected = -chosen.mean() + problem.l2 * (oracle.coef_**2).sum()
    assert objective(model, problem, data) == pytest.approx(expected, rel=1e-10)
    assert target.least == pytest.approx(expected, rel=1e-8)
    assert target.check(model).passed
    assert not target.check(Model(1.02 * oracle.coef_, oracle.intercept_)).passed
    assert not target.check(Model(np.nan * oracle.coef_, oracle.intercept_)).passed


@pytest.mark.parametrize("problem", [TINY, BINARY, TEXT], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["fastlin", *SOLVERS])
def test_every_solver_reaches_the_target_and_no_sooner(name: str, problem: Problem) -> None:
    data = make_data(problem)
    if name == "fastlin":
        solvers: list[Solver] = [FastlinSolver(NUMPY, problem, data, 1)]
    elif not SOLVERS[name].installed:
        pytest.skip(f"{SOLVERS[name].title} is missing; {SOLVERS[name].install}")
    elif name == "pytorch-lbfgs" and problem is TEXT:
        pytest.skip("takes no sparse rows")
    else:
        start = Model.zeros(problem)
        solvers = [one.build(problem, data, start) for one in SOLVERS[name].variants(problem, 1)]
    target = Target.of(problem, data, NUMPY, 1)
    for solver in solvers:
        assert bring_to_target(solver, target).passed
        fewest = solver.iterations
        assert 1 < fewest < 300
        solver.iterations = fewest // 2
        solver.reset()
        solver.run()
        assert not target.check(solver.outcome().model).passed


class Stuck(Solver):
    """A solver that never leaves zero."""

    def reset(self) -> None: ...

    def run(self) -> None: ...

    def outcome(self) -> Outcome:
        return Outcome(Model.zeros(TINY), np.empty(0))


def test_a_solver_that_does_not_arrive_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimum, "MOST_ITERATIONS", 64)
    monkeypatch.setattr(suite, "FastlinSolver", lambda *_: Stuck())
    plan = suite.Plan([TINY], [NUMPY], [SOLVERS["sklearn-lbfgs"]], 1, rounds=1)
    found = suite.run(plan)
    assert [case.contestant for case in found.cases] == ["scikit-learn lbfgs"]
    assert found.wrong[0].contestant == "fastlin numpy"
    assert "after 64 iterations its objective is still" in found.wrong[0].reason


def test_a_suite_of_both_kinds_asks_each_peer_what_it_does() -> None:
    epoch = replace(TEXT, name="epoch", gap=None)
    peers = [PEERS["sgdclassifier"], SOLVERS["sklearn-lbfgs"]]
    found = suite.run(suite.Plan([epoch, TEXT], [NUMPY], peers, 1, rounds=2))
    assert found.wrong == []
    cases = [(case.problem, case.contestant, case.kind) for case in found.cases]
    assert cases == [
        ("epoch", "fastlin numpy", "kernel"),
        ("epoch", "scikit-learn SGDClassifier", "peer"),
        ("tiny-text", "fastlin numpy", "kernel"),
        ("tiny-text", "scikit-learn lbfgs", "peer"),
    ]
    assert found.bases == ["fastlin numpy"]
    iterations = [case.flops / TEXT.flops for case in found.cases[2:]]
    assert [case.variant for case in found.cases[2:]] == [
        f"{count:.0f} iterations" for count in iterations
    ]
    assert all(0 <= case.error <= case.tolerance for case in (found.cases[0], found.cases[2]))


def test_texts_have_words_of_their_class_and_length_one() -> None:
    problem = replace(TEXT, n_rows=2000, n_features=3000, nonzeros=30)
    data = make_data(problem)
    again = make_data(problem)
    assert data.rows.shape == (2000, 3000)
    assert data.rows.dtype == np.float32
    assert data.rows.has_canonical_format
    np.testing.assert_array_equal(data.rows.data, again.rows.data)
    assert 20 < data.rows.nnz / 2000 <= 30
    np.testing.assert_allclose(np.sqrt((data.rows.toarray() ** 2).sum(axis=1)), 1, rtol=1e-5)
    counts = np.sort(np.bincount(data.rows.indices, minlength=3000))
    assert counts[-30:].sum() > 0.15 * counts.sum()
    trained = SklearnLogisticRegression().fit(data.rows[:1500], data.labels[:1500])
    assert trained.score(data.rows[1500:], data.labels[1500:]) > 0.5


def test_the_suites_problems() -> None:
    softmax, wide, logistic, *probes = optimum_problems()
    assert (softmax.n_rows, softmax.n_features, softmax.n_outputs) == (60_000, 784, 10)
    assert (softmax.dtype, wide) == ("uint8", replace(softmax, name=wide.name, dtype="float32"))
    assert [(one.n_outputs, one.gap) for one in probes] == [(k, 5e-6) for k in (10, 100, 400)]
    assert (logistic.n_outputs, logistic.gap) == (1, OPTIMUM_GAP)
    epoch, to_optimum = sparse_problems()
    assert epoch.gap is None
    assert to_optimum.gap == OPTIMUM_GAP
    assert epoch.n_features == epoch.n_rows == 100_000
    assert to_optimum.flops == 4 * 100_000 * 100 * 20
    assert to_optimum.bytes == 100_000 * 100 * 8
    assert [
        one.n_rows for one in (*optimum_problems(quick=True), *sparse_problems(quick=True))
    ] == [
        6_000,
        10_000,
        10_000,
    ]


def test_each_suite_has_its_peers() -> None:
    assert [peer.name for peer in chosen_peers(None, suite="optimum")] == list(SOLVERS)
    assert set(SUITES["sparse"]) == {"sgdclassifier", "sklearn-lbfgs", "sklearnex-lbfgs"}
    with pytest.raises(InputError, match="peer 'jax' is unknown; choose from sklearn-lbfgs"):
        chosen_peers(["jax"], suite="optimum")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "fast"], "'fast'"),
        (["--suite", "optimum", "--grid"], "leave the grid's options out"),
        (["--suite", "sparse", "--dtype", "uint8"], "one type of rows; leave --dtype out"),
        (["--suite", "sparse", "--peers", "jax"], "peer 'jax' is unknown"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    assert_mistake(run("bench", *arguments), message)
