"""Messages: one line of 300 characters at most, whatever they quote, with what to type next."""

from __future__ import annotations

import inspect
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastlin
from fastlin import LogisticRegression, errors
from fastlin.advice import FastlinWarning, NotConvergedWarning, ScalingWarning, warn
from fastlin.errors import DivergenceError, FastlinError, InputError, one_line, shown

ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, FastlinError)
]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
Y = (X[:, 0] > 0).astype(int)


def model(**options: Any) -> LogisticRegression:
    return LogisticRegression(**{"backend": "numpy", "max_epochs": 3, "random_state": 0, **options})


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_one_short_line(kind: type[FastlinError]) -> None:
    assert len(ERRORS) >= 8
    quoted = "\n".join("0.12573" for _ in range(500))
    raised = kind(f"l2 holds {quoted}; pass one number,\r\nfor example 1e-4")
    for error in (raised, pickle.loads(pickle.dumps(raised))):
        assert type(error) is kind
        assert len(str(error)) <= 300
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith("l2 holds 0.12573 ")
        assert str(error).endswith("; pass one number, for example 1e-4")
        assert quoted in error.args[0]
    assert str(kind("short")) == "short"


def test_a_long_message_is_shortened_once() -> None:
    line = one_line("a " * 200 + "pass this")
    assert 290 < len(line) <= 300
    assert one_line(line) == line
    assert one_line(f"{line} and that") != line
    assert one_line("x" * 300) == "x" * 300


def test_a_warning_is_one_short_line() -> None:
    with pytest.warns(FastlinWarning) as caught:
        warn("a\n" * 400 + "try this", ScalingWarning)
    assert len(str(caught[0].message)) <= 300
    assert str(caught[0].message).endswith("a try this")


class Silent:
    """Cannot describe itself."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    ["a" * 500, list(range(500)), np.zeros((50, 50)), 10**400, "a\nb", Silent(), {1: "a" * 99}],
)
def test_a_value_is_shown_in_few_characters(value: Any) -> None:
    assert 0 < len(shown(value)) <= 60
    assert len(shown(value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"l2": np.zeros((50, 50))}, r"'l2' parameter .* must be .* Got array.* instead"),
        (
            {"class_weight": [1] * 1000},
            r"must be .*'balanced'.*or None. Got \[1, 1, 1, 1, 1, ...\]",
        ),
        ({"callbacks": [np.zeros((90, 90))]}, "cannot be called; pass functions"),
        ({"input_scale": ("a" * 1000, 1)}, "not a pair .* for each feature"),
        ({"input_scale": (0, 10**400)}, "not a pair"),
    ],
)
def test_long_options_are_quoted_in_short(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        model(**options).fit(X, Y)
    assert len(str(caught.value)) <= 300


def test_many_labels_are_quoted_in_short() -> None:
    words = np.array([f"w{i:0200d}" for i in range(60)])
    trained = model().fit(X, words)
    for call in (
        lambda: trained.partial_fit(X, words[::-1].astype("U199")),
        lambda: trained.partial_fit(X, words, classes=words[1:]),
        lambda: model(warm_start=True).set_params().fit(X, words).fit(X[1:], words[1:]),
        lambda: fastlin.path(X, Y, words, backend="numpy"),
        lambda: model(class_weight={"x" * 500: 1}).partial_fit(X, words, classes=words),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert len(str(caught.value)) <= 300


def test_the_names_of_columns_that_differ_are_told() -> None:
    pandas = pytest.importorskip("pandas")
    trained = model().fit(pandas.DataFrame(X, columns=["a", "b", "c"]), Y)
    with pytest.raises(InputError, match=r"unseen at fit time: - d .* now missing: - c"):
        trained.predict(pandas.DataFrame(X, columns=["a", "b", "d"]))


# ------------------------------------------------------------------ advice that can help


def steep(**options: Any) -> LogisticRegression:
    return model(**{"learning_rate": 1e200, "max_epochs": 20, **options})


@pytest.mark.parametrize(
    ("options", "rows", "says", "says_not"),
    [
        ({}, X, "input_scale='standard'", "divide"),
        ({"input_scale": "standard"}, X, "divide the features", "input_scale"),
        ({}, csr_array(X), "divide the features", "input_scale"),
    ],
)
def test_what_to_do_about_divergence(
    options: dict[str, Any], rows: Any, says: str, says_not: str
) -> None:
    with pytest.raises(DivergenceError, match=f"set it to 'auto'.*{says}") as caught:
        steep(**options).fit(rows, Y)
    assert says_not not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "rows", "says_not"),
    [
        ({"momentum": 0.9}, X, "momentum"),
        ({"input_scale": "standard"}, X, "input_scale"),
        ({}, csr_array(X), "input_scale"),
    ],
)
def test_what_is_done_already_is_not_advised(
    options: dict[str, Any], rows: Any, says_not: str
) -> None:
    noisy = (X[:, 0] + RNG.standard_normal(60) > 0).astype(int)
    with pytest.warns(NotConvergedWarning, match="raise max_epochs, .*, or raise l2") as caught:
        model(solver="lbfgs", max_epochs=1, tol=1e-9, **options).fit(rows, noisy)
    assert says_not not in str(caught[0].message)
    slow = {"learning_rate": 0.002, "max_epochs": 30, "tol": 1e-9, "batch_size": 60}
    with pytest.warns(NotConvergedWarning, match="larger max_epochs, or solver='lbfgs'") as caught:
        model(**slow, **options).fit(rows, noisy)
    assert says_not not in str(caught[0].message)
    with pytest.warns(NotConvergedWarning, match=r"momentum=0.9, input_scale='standard'"):
        model(**slow).fit(X, noisy)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_start_that_is_not_finite_is_told_as_such(value: float) -> None:
    for method, options in (("fit", {"warm_start": True}), ("partial_fit", {})):
        trained = model(**options).fit(X, Y)
        trained.coef_[0, 0] = value
        with pytest.raises(InputError, match=r"coef_, from which .* warm_start=False") as caught:
            getattr(trained, method)(X, Y)
        assert "scale the features" not in str(caught.value)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_penalty_beyond_the_weights_type(solver: str) -> None:
    for l2, rows, kind in (
        (10**400, X, "float64"),
        (1e308, X, "float64"),
        (1e38, X.astype("f4"), "float32"),
    ):
        with pytest.raises(InputError, match=f"l2=.* more than {kind} weights .* at most"):
            model(solver=solver, l2=l2).fit(rows, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FastlinWarning)
        strong = model(solver=solver, l2=1e200).fit(X, Y)
    assert np.abs(strong.coef_).max() < 1e-190
