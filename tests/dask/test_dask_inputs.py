"""What ``fastlin.dask`` takes and refuses: one line that says what is wrong and what to do."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dask.array as da
import dask.bag
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from clusters import D, N, bits, cluster, problem
from distributed import Client
from sklearn.model_selection import GridSearchCV

import fastlin
import fastlin.dask
from fastlin.advice import CollectionWarning
from fastlin.dask import tasks
from fastlin.dask.shards import require_alike
from fastlin.errors import ClusterError, InputError, InputTypeError

X, Y, WEIGHTS = problem()
ROWS, LABELS = da.from_array(X, chunks=(1000, D)), da.from_array(Y, chunks=1000)


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[Client]:
    with cluster(2) as found:
        yield found


def fit(X: Any = ROWS, y: Any = LABELS, *more: Any, **options: Any) -> Any:
    return fastlin.dask.LogisticRegression(**options).fit(X, y, *more)


def with_bad(value: float) -> Any:
    rows = X.copy()
    rows[1234, 5] = value
    return da.from_array(rows, chunks=(1000, D))


FRAME = pd.DataFrame(X, columns=list("abcdefghijkl")).assign(kind=Y)
LAZY = dd.from_pandas(FRAME, npartitions=3)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: fit(solver="sgd"), InputError, "does not run on a cluster: mini-batches"),
        (lambda: fit(X), InputTypeError, "X is of type ndarray; .*fastlin.LogisticRegression"),
        (lambda: fit(y=Y), InputTypeError, "y is of type ndarray; pass a Dask array"),
        (lambda: fit(y="kind"), InputError, "y='kind' names a column, and X has none"),
        (lambda: fit(LAZY, "king"), InputError, "y='king' names a column"),
        (lambda: fit(y=LABELS[:-1]), InputError, r"X has 3000 rows in 3 partitions .*2999 in 3"),
        (
            lambda: fit(ROWS, LABELS, da.ones(10, chunks=5)),
            InputError,
            "sample_weight has 10 in 2",
        ),
        (lambda: fit(ROWS, LABELS, -da.ones(N, chunks=999)), InputError, "weight is -1 in row 0"),
        (lambda: fit(ROWS, LABELS, da.zeros(N, chunks=999)), InputError, "zero for every row"),
        (
            lambda: fit(with_bad(np.nan)),
            InputError,
            r"contains NaN, the first in row 234 of partition 1 \(row 1234 of all.*column 5",
        ),
        (lambda: fit(with_bad(-np.inf)), InputError, "contains infinity, the first in row 234"),
        (lambda: fit(y=LABELS * 0), InputError, "holds one class only"),
        (lambda: fit(y=LABELS + 0.5), InputError, "continuous"),
        (lambda: fit(ROWS[:0], LABELS[:0]), InputError, "X has no rows"),
        (lambda: fit(ROWS.reshape(N, 3, 4)), InputError, "X has 3 dimensions; expected"),
        (lambda: fit(dask.bag.from_sequence([1])), InputTypeError, "X is of type Bag"),
        (lambda: fit(early_stopping=True), InputError, "early_stopping needs X_val and y_val"),
        (
            lambda: fit(ROWS, LABELS, None, ROWS[:, :3], LABELS),
            InputError,
            "X_val has 3 features, and X 12",
        ),
        (lambda: fit(ROWS, LABELS, None, ROWS, LABELS + 7), InputError, "y_val holds labels"),
        (lambda: fit(ROWS, LABELS, None, ROWS, None), InputError, "y_val is missing"),
        (lambda: fit(timeout=0), InputError, "timeout"),
        (lambda: fit(client="tcp://localhost"), InputTypeError, "client is of type str"),
        (lambda: fit(backend="cuda"), InputError, "backend"),
    ],
)
def test_mistakes_are_told_in_one_line(call: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_failed_fit_leaves_the_model() -> None:
    model = fit(max_epochs=2, tol=None)
    before = dict(vars(model))
    with pytest.raises(InputError):
        model.fit(with_bad(np.nan), LABELS)
    assert vars(model) == before


def test_a_thousand_partitions_and_more_workers_than_partitions() -> None:
    expected = bits(fastlin.LogisticRegression(solver="lbfgs").fit(X, Y))
    assert bits(fit(ROWS.rechunk((3, D)), LABELS)) == expected
    assert bits(fit(ROWS.rechunk((N, D)), LABELS.rechunk(N))) == expected


def test_partitions_of_other_types_are_joined_in_one_that_holds_all() -> None:
    parts = [X[:1000].astype("float32"), X[1000:]]
    rows = da.concatenate([da.from_array(part, chunks=(1000, D)) for part in parts])
    model = fit(rows)
    joined = np.concatenate(parts)
    assert bits(model) == bits(fastlin.LogisticRegression(solver="lbfgs").fit(joined, Y))


def test_a_label_of_a_frame() -> None:
    model = fit(LAZY, "kind")
    assert bits(model) == bits(fit())
    assert "kind" not in model.feature_names_in_
    assert model.score(LAZY, "kind") == model.to_local().score(FRAME.drop(columns="kind"), Y)
    with pytest.raises(InputError, match="feature names"):
        model.predict(FRAME.drop(columns="a"))


def test_without_a_client_the_message_says_how_to_make_one() -> None:
    source = """
        import dask.array as da
        import fastlin.dask
        fastlin.dask.LogisticRegression().fit(da.ones((9, 2)), da.ones(9))
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in source.splitlines())],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "there is no Dask client; make one first" in done.stderr


def test_fastlin_alone_does_not_import_dask() -> None:
    source = "import sys, fastlin; fastlin.LogisticRegression; sys.exit('dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], timeout=120).returncode == 0


@pytest.mark.parametrize("of", ["array", "frame"])
def test_one_machine_points_to_the_cluster(of: str) -> None:
    rows, labels = (ROWS, LABELS) if of == "array" else (LAZY.drop(columns="kind"), LAZY["kind"])
    model = fastlin.LogisticRegression(solver="lbfgs")
    with pytest.warns(CollectionWarning, match=r"fastlin\.dask\.LogisticRegression trains where"):
        model.fit(rows, labels)
    assert bits(model) == bits(fit())
    assert model.score(rows, labels) > 0.5


def test_a_fit_inside_a_task_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match="this fit runs in a task on"):
        client.submit(
            fastlin.dask.LogisticRegression(client=None).fit, ROWS, LABELS, pure=False
        ).result(timeout=60)


def test_a_search_runs_fits_of_one_machine_on_the_cluster(client: Client) -> None:
    joblib = importlib.import_module("joblib")  # scikit-learn's
    search = GridSearchCV(fastlin.LogisticRegression(solver="lbfgs"), {"l2": [1e-3, 1.0]}, cv=2)
    with joblib.parallel_config("dask"):
        search.fit(X, Y)
    assert search.best_params_ == {"l2": 1e-3}


@pytest.mark.parametrize("name", ["fastlin", "NumPy", "the backend", "the instruction set", "BLAS"])
def test_workers_that_differ_are_named(name: str) -> None:
    mine = tasks.identity("numpy")
    assert name in mine
    require_alike("tcp://a:1", mine, "tcp://b:2", dict(mine))
    with pytest.raises(ClusterError, match=rf"{name} is .* on tcp://a:1 and other on tcp://b:2"):
        require_alike("tcp://a:1", mine, "tcp://b:2", {**mine, name: "other"})
