"""Random problems against an optimum of their own: some of those of `make soak`, and the judge."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import accuracy_table
import judge
import numpy as np
import pytest
import random_fits
from judge import Judge, objective_of
from optimum import Objective, optimum_of
from random_problems import Problem, data_of, draw

from fastlin.kernels import load_backend

SEED = 7
N_PROBLEMS = 40
PAGE = Path(__file__).parents[2] / "docs/guide/accuracy.rst"

needs_c = pytest.mark.skipif(not load_backend("c").available, reason="backend 'c' is not available")


def short_list() -> list[str]:
    """The first problems of a seed; the hunt is what compiles Numba's kernels."""
    problems = [draw(SEED, number) for number in range(N_PROBLEMS)]
    return [str(replace(p, backend="c") if p.backend == "numba" else p) for p in problems]


@needs_c
@pytest.mark.parametrize("word", short_list())
def test_a_random_fit_is_as_good_as_it_says(word: str) -> None:
    assert judge.judged(word)["faults"] == [], f"python tests/random_fits.py --fit {word}"


ONCE_OFF = [
    "lbfgs,numpy,float64,n=13,d=61,k=13,seed=807816,scale=minmax,l2=6.3e-08,epochs=1000,threads=2",
    "lbfgs,numpy,float16,n=17,d=57,k=17,seed=133995,features=constant,separation=2.0,weights=random,"
    "scale=standard,l2=0.0,dtype=float64,epochs=1000",
    "lbfgs,numpy,csrfloat64int64,n=16,d=61,k=16,seed=566082,separation=0.0,l2=5.8e-07,epochs=1000",
    "lbfgs,numpy,float32,n=366,d=10,k=12,seed=878322,balance=one,separation=20.0,flipped=0.3,"
    "l2=0.0,intercept=none,dtype=float64,tol=1e-06",
    "lbfgs,numpy,csrfloat64int64,n=107,d=54,k=18,seed=211587,features=correlated,separation=5.0,"
    "flipped=0.3,weights=zeros,l2=0.0,dtype=float64,threads=2",
]
"""Few rows and many weights, whose certificate was too costly; a gap that was too small; and a
first step to a ten-millionth of the objective, after which little seemed to be left."""


@pytest.mark.parametrize("word", ONCE_OFF)
def test_a_fit_that_was_once_off_is_as_good_as_it_says(word: str) -> None:
    assert judge.judged(word)["faults"] == [], f"python tests/random_fits.py --fit {word}"


# ------------------------------------------------------------------ the problems


def test_words_say_all_that_a_problem_is() -> None:
    problems = [draw(SEED, number) for number in range(400)]
    assert [Problem.read(str(problem)) for problem in problems] == problems
    assert len(set(map(str, problems))) == len(problems)
    for name in ("solver", "backend", "rows", "features", "balance", "weights", "scale", "dtype"):
        counts = Counter(getattr(problem, name) for problem in problems)
        assert len(counts) > 1, name
        assert min(counts.values()) >= 10, (name, counts)
    assert {problem.k for problem in problems} == set(range(2, 21))
    assert min(problem.n for problem in problems) < 10
    assert max(problem.n for problem in problems) > 2000


def test_all_classes_of_a_problem_have_rows() -> None:
    for number in range(60):
        problem = draw(SEED, number)
        data = data_of(problem)
        assert set(data.labels) == set(range(problem.k)), problem
        assert data.rows.shape == (problem.n, problem.d)
        assert data.dense.dtype == np.float64
        if not problem.sparse:
            assert data.rows.dtype == problem.rows


# ------------------------------------------------------------------ the oracle


def test_the_optimum_of_two_rows_is_where_its_slope_is_zero() -> None:
    # Rows 1 and -1 of two classes: ln(1 + e^-w) + l2 w^2, with slope 2 l2 w - 1 / (1 + e^w).
    w = 3.0
    l2 = 1 / (1 + np.exp(w)) / (2 * w)
    objective = Objective(np.array([[1.0], [-1.0]]), np.array([1, 0]), 2, l2)
    found = optimum_of(objective)
    assert found.weights == pytest.approx(w, rel=1e-12)
    assert found.intercept == pytest.approx(0, abs=1e-12)
    assert found.value == pytest.approx(np.log1p(np.exp(-w)) + l2 * w**2, rel=1e-15)
    assert found.value - 1e-15 <= found.lower <= found.value


@pytest.mark.parametrize("k", [2, 4])
def test_rows_that_tell_nothing_leave_the_entropy_of_the_labels(k: int) -> None:
    labels = np.arange(30) % k
    labels[:10] = 0
    share = np.bincount(labels) / 30
    entropy = -np.sum(share * np.log(share))
    found = optimum_of(Objective(np.zeros((30, 3)), labels, k, 0.1))
    assert found.value == pytest.approx(entropy, rel=1e-15)
    assert found.lower == pytest.approx(entropy, rel=1e-14)


@pytest.mark.parametrize("number", range(0, 40, 4))
def test_nothing_near_the_optimum_is_lower_and_the_bound_is_close(number: int) -> None:
    problem = replace(draw(SEED, number), l2=1e-3, weights="random", n=60, d=6, k=4)
    objective = objective_of(problem, data_of(problem))
    found = optimum_of(objective)
    assert found.lower <= found.value <= objective.of_constant() + 1e-15
    assert found.value - found.lower <= 1e-9 * found.value

    def value_of(weights: Any) -> float:
        coef = weights * objective.scale
        intercept = found.intercept - (coef * objective.shift).sum(axis=1)
        return objective.of_model(coef, intercept)

    assert value_of(found.weights) == pytest.approx(found.value, rel=1e-12)
    generator = np.random.default_rng(number)
    size = np.abs(found.weights).max()
    for step in (1e-1, 1e-3, 1e-5):
        moved = found.weights + step * size * generator.standard_normal(found.weights.shape)
        assert value_of(moved) > found.value


def test_a_class_of_no_weight_is_as_if_it_were_not_there() -> None:
    generator = np.random.default_rng(0)
    rows, labels = generator.standard_normal((60, 3)), np.arange(60) % 3
    weight = np.where(labels == 1, 0.0, 1.0)
    kept = labels != 1
    # Of two classes the softmax has opposite weights, of which each is half the sigmoid's.
    two = Objective(rows[kept], labels[kept] // 2, 2, 0.05)
    three = Objective(rows, labels, 3, 0.1, weight=weight)
    assert optimum_of(three).value == pytest.approx(optimum_of(two).value, rel=1e-13)
    one = Objective(rows, labels, 3, 0.1, weight=np.where(labels == 1, 1.0, 0.0))
    assert optimum_of(one).value == 0


# ------------------------------------------------------------------ the judge would notice


def change_coef(factor: float) -> Any:
    def change(model: Any) -> None:
        model.coef_ = model.coef_ * factor

    return change


def change_history(**changes: Any) -> Any:
    def change(model: Any) -> None:
        for name, value in changes.items():
            setattr(model.history_, name, value)

    return change


LBFGS = "lbfgs,numpy,float64,n=80,d=4,k=3,tol=1e-06"
SGD = "sgd,numpy,float32,n=80,d=4,k=3"
WRONG: dict[str, tuple[str, Any, str]] = {
    "far from the optimum": (LBFGS, change_coef(1.05), "tol"),
    "and the certificate says that it is not": (LBFGS, change_coef(1.05), "gap"),
    "another objective": (LBFGS, change_history(objective=np.array([1.0])), "objective"),
    "stopped without a word": (
        LBFGS,
        lambda model: [
            change(model) for change in (change_coef(1.05), change_history(stop_reason="precision"))
        ],
        "unsaid",
    ),
    "not a number": (SGD, change_coef(np.nan), "not finite"),
    "worse than zeros": (SGD, change_coef(-5.0), "worse than start"),
    "not the best check": (f"{SGD},early=given", change_history(best_step=0), "validation"),
    "another loss": (f"{SGD},early=given", change_coef(1.01), "validation"),
}


@pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_model_is_noticed(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    word, change, kind = WRONG[case]
    assert judge.judged(word)["faults"] == []
    fit = Judge._fit

    def pretend(self: Judge) -> Any:
        model = fit(self)
        change(model)
        return model

    monkeypatch.setattr(Judge, "_fit", pretend)
    assert kind in dict(judge.judged(word)["faults"])


@pytest.mark.parametrize(
    ("error", "kind"),
    [(TypeError("raw"), "exception"), (RuntimeWarning("overflow"), "stray warning")],
)
def test_what_is_raised_or_warned_is_noticed(
    error: Exception, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastlin import LogisticRegression

    fit = LogisticRegression.fit

    def pretend(self: Any, *arguments: Any) -> Any:
        if isinstance(error, Warning):
            import warnings

            warnings.warn(error, stacklevel=1)
            return fit(self, *arguments)
        raise error

    monkeypatch.setattr(LogisticRegression, "fit", pretend)
    assert [found for found, _ in judge.judged(SGD)["faults"]] == [kind]


@pytest.mark.parametrize("what", ["decision_function", "predict_proba", "predict"])
def test_a_wrong_prediction_is_noticed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlin import LogisticRegression

    right = getattr(LogisticRegression, what)
    wrong = {"predict": lambda labels: (labels + 1) % 3}.get(what, lambda values: values * 1.001)
    monkeypatch.setattr(LogisticRegression, what, lambda self, rows: wrong(right(self, rows)))
    assert "prediction" in dict(judge.judged(SGD)["faults"])


def test_a_process_that_dies_counts_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def line(word: str) -> str:
        return json.dumps({"word": word, "faults": [], "facts": {}, "seconds": 1.0}) + "\n"

    answers = iter([(f"{line('a')}{{", -11, "Segmentation fault"), (line("c"), 0, "")])

    def pretend(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        out, code, err = next(answers)
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr(subprocess, "run", pretend)
    results = random_fits.judge_apart(["a", "b", "c"])
    assert [result["word"] for result in results] == ["a", "b", "c"]
    [(kind, detail)] = results[1]["faults"]
    assert kind == "crash"
    assert "Segmentation fault" in detail
    assert random_fits.summary(results) == "3 problems, 1 with a fault\n     1 crash"


# ------------------------------------------------------------------ the table


def result_of(word: str, share: float, stop: str = "tol") -> dict[str, Any]:
    facts = {"share": share, "type": "float64", "stop": stop}
    return {"word": word, "faults": [], "facts": facts, "seconds": 0.0}


def test_the_table_shows_quantiles_that_were_seen(tmp_path: Path) -> None:
    results = [result_of("lbfgs,c,float64,tol=1e-08", share) for share in (1e-9, 2e-9, 3e-9)]
    results += [result_of("lbfgs,c,float64", 1.0, "max_epochs"), result_of("sgd,c,float64", 0.5)]
    results += [result_of("sgd,c,float64,early=given", 0.9)]
    results += [{"word": "sgd,c,float64", "faults": [], "facts": {}, "seconds": 0.0}]
    lines = accuracy_table.table(results).splitlines()
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert ["L-BFGS, float64, ``tol=1e-08``", "3", "2.0e-09", *["3.0e-09"] * 4] in cells
    assert ["L-BFGS, float64, not claimed", "1", *["1.0e+00"] * 5] in cells
    assert ["gradient descent, float64", "1", *["5.0e-01"] * 5] in cells
    assert len(lines) == 7

    page = tmp_path / "page.rst"
    page.write_text("Above\n\n.. begin of the table\n\nold\n\n.. end of the table\n\nBelow\n")
    accuracy_table.write_table(page, results, 3)
    text = page.read_text()
    assert text.startswith("Above\n\n.. begin of the table\n")
    assert text.endswith("\n.. end of the table\n\nBelow\n")
    assert accuracy_table.table(results) in text
    assert f"tests/random_fits.py 3 {len(results)} --table" in text
    assert "old" not in text


def test_the_page_shows_a_table_of_as_many_problems_as_the_soak_judges() -> None:
    table = PAGE.read_text("utf-8").partition(".. begin of the table")[2]
    table = table.partition(".. end of the table")[0]
    assert f"tests/random_fits.py 0 {random_fits.PROBLEMS} --table docs/guide/accuracy.rst" in table
    assert {"L-BFGS, float32", "L-BFGS, float64", "gradient descent, float32"} <= {
        line.partition(", ``")[0].partition("  ")[0] for line in table.splitlines()
    }
