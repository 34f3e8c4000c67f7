"""The checks of the derivations accept what is right, and find what is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from fastlin.datasets import load
from fastlin.kernels import Backend, backends, get_backend
from fastlin.report.derivation import central_differences, gradient_checks, symbolic_checks
from fastlin.report.problem import Problem, Settings, make_problem
from fastlin.report.progress import display

AVAILABLE = [name for name, backend in backends().items() if backend.available]
BOUND = 1e-6


@pytest.fixture(scope="module")
def digits() -> Problem:
    return make_problem(load("digits"), Settings())


def worst(problem: Problem, backend: Backend) -> float:
    with display(visible=False) as bars:
        checks = gradient_checks(problem, [backend], Settings(), seed=0, display=bars)
    assert {check.model for check in checks} == {"logistic", "softmax", "l2"}
    assert {check.start_point for check in checks} == {"zero", "random"}
    return max(check.largest_difference for check in checks)


def test_sympy_proves_every_equation_that_the_document_shows() -> None:
    proved = symbolic_checks()
    assert all(proved.values())
    document = (files("fastlin.report") / "template" / "derivations.typ").read_text("utf-8")
    table = document[document.index("#let equations") : document.index("#let display")]
    assert set(re.findall(r"^  (\w+): \$", table, re.MULTILINE)) == set(proved)


def test_sympy_does_not_prove_a_wrong_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    import sympy

    right = sympy.diff
    monkeypatch.setattr(sympy, "diff", lambda f, x: right(f, x) * sympy.Rational(101, 100))
    assert not any(symbolic_checks().values())


def test_central_differences_of_a_polynomial() -> None:
    weights = np.array([[1.0, -2.0], [0.5, 3.0]])
    squares, sums = central_differences(
        lambda at: np.array([np.sum(at**2), np.sum(at)]), weights, step=1e-3
    )
    np.testing.assert_allclose(squares, 2 * weights, atol=1e-10)
    np.testing.assert_allclose(sums, np.ones((2, 2)), atol=1e-10)


@pytest.mark.parametrize("name", AVAILABLE)
def test_the_gradients_of_every_backend_agree_with_central_differences(
    digits: Problem, name: str
) -> None:
    assert worst(digits, get_backend(name)) <= BOUND


@pytest.mark.parametrize("name", AVAILABLE)
def test_the_gradients_agree_on_mnist(mnist: Any, name: str) -> None:
    """The binary model on all its weights; the softmax one has 7850 and is left to the report."""
    settings = Settings(gradient_rows=20)
    problem = make_problem(mnist, settings)
    with display(visible=False) as bars:
        checks = gradient_checks(
            replace(problem, everything=problem.pair), [get_backend(name)], settings, 0, bars
        )
    assert max(check.largest_difference for check in checks) <= BOUND


@pytest.mark.parametrize("entry", [(0, 0), (0, 17), (0, 63)])
def test_one_wrong_entry_of_a_gradient_is_found(digits: Problem, entry: tuple[int, int]) -> None:
    right = get_backend("numpy")

    def wrong(*arguments: Any) -> tuple[float, Any, Any]:
        loss, weights_gradient, intercept_gradient = right.loss_gradient(*arguments)
        weights_gradient = weights_gradient.copy()
        weights_gradient[entry] += 10 * BOUND * 100  # sums over 100 rows
        return loss, weights_gradient, intercept_gradient

    assert worst(digits, replace(right, loss_gradient=wrong)) > BOUND


def test_a_wrong_bias_gradient_is_found(digits: Problem) -> None:
    right = get_backend("numpy")

    def wrong(*arguments: Any) -> tuple[float, Any, Any]:
        loss, weights_gradient, intercept_gradient = right.loss_gradient(*arguments)
        return loss, weights_gradient, intercept_gradient * (1 + 1e-4)

    assert worst(digits, replace(right, loss_gradient=wrong)) > BOUND
