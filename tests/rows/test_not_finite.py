"""A nan or an infinity in the training rows is an error, though no pass looks for it at first."""

from __future__ import annotations

import itertools
import random
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.kernels import BACKEND_NAMES, backends

N, D = 300, 6
RATES = ({"learning_rate": 0.1}, {"momentum": 0.9}, {"solver": "lbfgs"})
SCALES: tuple[Any, ...] = (None, "standard", "minmax", (0.5, 2.0))
MORE: tuple[dict[str, Any], ...] = (
    {},
    {"drop_last": True},
    {"early_stopping": True},
    {"max_epochs": 1},
    {"callbacks": [lambda progress: True], "checks_per_epoch": 4},
    {"l2": 0.0},
)
WEIGHTS = (None, "some", "none for the row")
CASES = list(itertools.product(RATES, SCALES, MORE, WEIGHTS))


def model(**options: Any) -> LogisticRegression:
    return LogisticRegression(**{"max_epochs": 3, "random_state": 0, "batch_size": 64, **options})


@pytest.mark.parametrize("name", BACKEND_NAMES)
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("form", ["float16", "float32", "float64", "sparse"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_it_is_found_whatever_the_options(name: str, k: int, form: str, value: float) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    generator = random.Random(f"{name} {k} {form} {value}")
    said = "NaN" if np.isnan(value) else "infinity"
    for rate, scale, more, weights in generator.sample(CASES, 4):
        rows = np.random.default_rng(k).normal(size=(N, D))
        row, column = generator.randrange(N), generator.randrange(D)
        rows[row, column] = value
        sample_weight = None if weights is None else np.linspace(0.5, 1.5, N)
        if weights == "none for the row":
            sample_weight[row] = 0
        options = {"backend": name, "input_scale": scale, **rate, **more}
        X: Any = rows.astype("float64" if form == "sparse" else form)
        where = f", the first in row {row} .*, column {column}"
        if form == "sparse":
            X, where = csr_array(rows), ""
            if isinstance(scale, str) or scale:
                options["input_scale"] = (0, 2.0)
        if options.get("solver") == "lbfgs":
            options.pop("drop_last", None)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(InputError, match=f"^Input X contains {said}.*{where}"):
                model(**options).fit(X, np.arange(N) % k, sample_weight)


def test_the_model_stays_as_it_was() -> None:
    rows, labels = np.random.default_rng(0).normal(size=(N, D)), np.arange(N) % 2
    trained = model(backend="numpy").fit(rows, labels)
    before = trained.coef_.copy()
    rows[-1, -1] = np.nan
    with pytest.raises(InputError, match="contains NaN"):
        trained.fit(rows, labels)
    np.testing.assert_array_equal(trained.coef_, before)


def test_rows_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is the point of it: the pass over 60 000 rows takes as long as an epoch."""
    from sklearn.utils import validation

    looked: list[str] = []
    real = validation._assert_all_finite

    def look(X: Any, *arguments: Any, **options: Any) -> None:
        allowed = options.get("allow_nan")
        if np.ndim(X) == 2:
            looked.append(str(allowed))
        real(X, *arguments, **options)

    monkeypatch.setattr(validation, "_assert_all_finite", look)
    rows, labels = np.random.default_rng(0).normal(size=(N, D)), np.arange(N) % 2
    for options in ({"learning_rate": 0.1}, {}, {"solver": "lbfgs"}):
        trained = model(backend="numpy", **options).fit(rows, labels)
        trained.predict(rows)
        assert looked == [], options
    # Of the rows that drop_last leaves out only those are looked at.
    model(backend="numpy", drop_last=True, batch_size=N - 3, max_epochs=1).fit(rows, labels)
    assert looked == []
    rows[7, 1] = np.nan
    for seed in range(20):
        fit = model(
            backend="numpy", drop_last=True, batch_size=N - 3, max_epochs=1, random_state=seed
        ).fit
        with pytest.raises(InputError, match="NaN"):
            fit(rows, labels)


def test_rows_that_need_no_check_are_predicted_as_others_are() -> None:
    """Arrays of NumPy go to the kernels as they are; whatever is wrong with others is said."""
    generator = np.random.default_rng(1)
    rows, labels = generator.normal(size=(N, D)), np.arange(N) % 3
    trained = model(backend="numpy").fit(rows, labels)
    expected = trained.predict_proba(rows.tolist())
    for same in (rows, np.asfortranarray(rows), rows.astype(">f8"), np.repeat(rows, 2, 0)[::2]):
        np.testing.assert_allclose(trained.predict_proba(same), expected, rtol=1e-12)
    for wrong, said in (
        (rows[:, 1:], "X has 5 features, but LogisticRegression is expecting 6"),
        (rows[0], "Reshape your data"),
        (rows[:0], r"0 sample\(s\)"),
        (rows + 0j, "Complex data not supported"),
    ):
        with pytest.raises(InputError, match=said):
            trained.predict(wrong)
    pandas = pytest.importorskip("pandas")
    named = model(backend="numpy").fit(pandas.DataFrame(rows, columns=list("abcdef")), labels)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named.predict(rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [2, 3])
def test_probabilities_are_the_exponentials_of_their_logarithms(dtype: str, k: int) -> None:
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(N, D)).astype(dtype)
    trained = model(backend="numpy").fit(rows, np.arange(N) % k)
    trained.coef_ *= 40
    given = trained.predict_proba(rows)
    assert given.dtype == dtype
    assert given.min() < 1e-9
    np.testing.assert_allclose(given.sum(axis=1), 1, rtol=1e-6)
    expected = np.exp(trained.predict_log_proba(rows).astype(np.float64))
    error = 100 * np.finfo(dtype).eps * (1 + np.abs(np.log(expected)))
    assert (np.abs(given - expected) <= error * expected).all()


@pytest.mark.parametrize("name", BACKEND_NAMES)
@pytest.mark.parametrize(
    "more", [{"solver": "lbfgs", "max_epochs": 100}, {}, {"early_stopping": True}]
)
def test_an_infinity_that_costs_no_loss_is_found(name: str, more: dict[str, Any]) -> None:
    """In the last row, at weights that are not zero: its class's logit is infinite, its loss 0."""
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    generator, labels = np.random.default_rng(3), np.arange(N) % 3
    rows = generator.normal(size=(N, D))
    rows[np.arange(N), labels] += 2
    options = {"backend": name, "warm_start": True, "shuffle": False, "max_epochs": 1, **more}
    trained = model(**options).fit(rows, labels, X_val=rows[:90], y_val=labels[:90])
    for column, value in itertools.product(range(3), (np.nan, np.inf, -np.inf)):
        wrong = rows.copy()
        wrong[-1, column] = value
        for one in (trained, model(**options)):
            with pytest.raises(InputError, match=f"row {N - 1} .*, column {column}"):
                one.fit(wrong, labels, X_val=rows[:90], y_val=labels[:90])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("row", [0, 1023, 1024, 2999])
def test_its_place_is_named_in_many_rows(dtype: str, row: int) -> None:
    rows = np.zeros((3000, 2), dtype)
    rows[row:, 1] = np.nan
    with pytest.raises(InputError, match=rf"NaN, the first in row {row} \(.*, column 1\. "):
        model(backend="numpy").fit(rows, np.arange(3000) % 2)
