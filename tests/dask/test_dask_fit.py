"""Training on a Dask cluster: the bits of one machine, whatever the partitions."""

from __future__ import annotations

import inspect
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from clusters import D, N, bits, cluster, problem
from dask.delayed import delayed
from distributed import Client
from scipy.sparse import csr_matrix
from sklearn.base import clone

import fastlin
import fastlin.dask
from fastlin.dask import tasks
from fastlin.dask.rows import RemotePasses
from fastlin.dask.shards import Shards
from fastlin.rows.csr import CsrRows
from fastlin.rows.dense import DenseRows
from fastlin.solvers import class_blocks
from fastlin.solvers.full_pass import score_of


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with cluster(3, threads_per_worker=2) as found:
        yield found


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 3000 rows make 12 blocks."""
    for kind in (DenseRows, CsrRows):
        monkeypatch.setattr(kind, "rows_of_a_block", lambda rows, dtype: 256)


def array(values: Any, lengths: tuple[int, ...]) -> Any:
    return da.from_array(values, chunks=(lengths, *values.shape[1:]))


def alone(X: Any, y: Any, weights: Any = None, **options: Any) -> Any:
    return fastlin.LogisticRegression(solver="lbfgs", **options).fit(X, y, weights)


CUTS: dict[str, tuple[int, ...]] = {
    "one": (N,),
    "uneven": (1, 700, 0, 299, 1500, 500),
    "halves": (1500, 1500),
    "single rows": (1,) * 40 + (N - 40,),
}


@pytest.mark.parametrize("cut", CUTS)
def test_any_partitions_give_the_same_bits(client: Client, cut: str) -> None:
    X, y, weights = problem()
    model = fastlin.dask.LogisticRegression(class_weight="balanced").fit(
        array(X, CUTS[cut]), array(y, CUTS["uneven"]), array(weights, CUTS["halves"])
    )
    expected = alone(X, y, weights, class_weight="balanced")
    assert bits(model) == bits(expected)
    assert model.n_iter_ == expected.n_iter_
    np.testing.assert_array_equal(model.history_.objective, expected.history_.objective)
    np.testing.assert_array_equal(model.history_.gap, expected.history_.gap)


@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_all_types_and_backends(client: Client, dtype: str, backend: str) -> None:
    X, y, _ = problem(dtype)
    options: dict[str, Any] = {"backend": backend, "max_epochs": 5, "tol": None}
    model = fastlin.dask.LogisticRegression(**options).fit(array(X, CUTS["uneven"]), array(y, (N,)))
    assert bits(model) == bits(alone(X, y, **options))
    assert model.backend_ == backend


@pytest.mark.parametrize(
    "options",
    [
        {"input_scale": "standard"},
        {"input_scale": "minmax", "l2": 1e-2},
        {"input_scale": (0.5, 2.0), "fit_intercept": False},
        {"class_weight": {0: 2.0, 1: 0.5}},
        {"dtype": "float32", "regularize_intercept": True},
        {"l2": 0.0, "max_epochs": 20, "tol": None},
        {"tol": 1e-10, "l2": 1e-3},
    ],
    ids=str,
)
@pytest.mark.parametrize("k", [2, 4])
def test_options_mean_what_they_mean_on_one_machine(
    client: Client, k: int, options: dict[str, Any]
) -> None:
    X, y, _ = problem(k=k)
    model = fastlin.dask.LogisticRegression(**options).fit(array(X, CUTS["uneven"]), array(y, (N,)))
    assert bits(model) == bits(alone(X, y, **options))


def test_rows_far_from_zero(client: Client) -> None:
    X, y, _ = problem()
    X += 1e6
    model = fastlin.dask.LogisticRegression().fit(array(X, CUTS["uneven"]), array(y, (N,)))
    assert bits(model) == bits(alone(X, y))


def test_sparse_chunks(client: Client) -> None:
    X, y, weights = problem()
    X[X < 0.5] = 0
    rows = array(X, CUTS["uneven"]).map_blocks(csr_matrix)
    model = fastlin.dask.LogisticRegression().fit(rows, array(y, (N,)), array(weights, (N,)))
    assert bits(model) == bits(alone(csr_matrix(X), y, weights))
    np.testing.assert_array_equal(model.predict(rows).compute(), model.to_local().predict(X))


def test_unknown_lengths_and_chunks_of_columns(client: Client) -> None:
    X, y, _ = problem()
    parts = [delayed(X[first : first + 1000]) for first in range(0, N, 1000)]
    unknown = da.concatenate(
        [da.from_delayed(part, (np.nan, D), dtype=X.dtype) for part in parts],
        allow_unknown_chunksizes=True,
    )
    expected = bits(alone(X, y))
    for rows in (unknown, da.from_array(X, chunks=(700, 5))):
        model = fastlin.dask.LogisticRegression().fit(rows, array(y, (N,)))
        assert bits(model) == expected
    predicted = model.predict(unknown)
    np.testing.assert_array_equal(predicted.compute(), model.to_local().predict(X))


def frame() -> pd.DataFrame:
    X, y, weights = problem("float32")
    found = pd.DataFrame(X, columns=[f"f{i}" for i in range(D)])
    found["kind"] = np.array(["ant", "bee", "cow"])[y]
    found["weight"] = weights
    return found


@pytest.mark.parametrize("form", ["label", "series", "parquet", "empty partitions"])
def test_data_frames(client: Client, form: str, tmp_path: Path) -> None:
    table = frame()
    names = [f"f{i}" for i in range(D)]
    lazy = dd.from_pandas(table, npartitions=5, sort=False)
    if form == "parquet":
        for place in range(5):
            table[place * 600 : (place + 1) * 600].to_parquet(tmp_path / f"{place}.parquet")
        lazy = dd.read_parquet(tmp_path)
    if form == "empty partitions":
        lazy = lazy.map_partitions(_some)
        table = lazy.compute()
        assert 0 in lazy.map_partitions(len).compute().tolist()
    expected = alone(table[names], table["kind"])
    if form == "label":
        model = fastlin.dask.LogisticRegression().fit(lazy[[*names, "kind"]], "kind")
    else:
        model = fastlin.dask.LogisticRegression().fit(lazy[names], lazy["kind"])
    assert bits(model) == bits(expected)
    assert model.classes_.tolist() == ["ant", "bee", "cow"]
    assert model.feature_names_in_.tolist() == names
    predicted = model.predict(lazy[names])
    assert isinstance(predicted, da.Array)
    np.testing.assert_array_equal(predicted.compute(), expected.predict(table[names]))
    assert model.score(lazy[names], lazy["kind"]) == expected.score(table[names], table["kind"])


def _some(part: pd.DataFrame) -> pd.DataFrame:
    """Leave partitions without rows, some of them."""
    return part if len(part) and part["f0"].iloc[0] < 0 else part.iloc[:0]


def test_early_stopping_and_checks(client: Client) -> None:
    X, y, weights = problem()
    options: dict[str, Any] = {"early_stopping": True, "patience": 2, "class_weight": "balanced"}
    expected = fastlin.LogisticRegression(solver="lbfgs", **options).fit(
        X[:2000], y[:2000], weights[:2000], X_val=X[2000:], y_val=y[2000:]
    )
    there = array(X[2000:], (300, 700)), array(y[2000:], (1000,))
    for val in (there, (X[2000:], y[2000:])):
        model = fastlin.dask.LogisticRegression(**options).fit(
            array(X[:2000], (1500, 500)),
            array(y[:2000], (2000,)),
            array(weights[:2000], (2000,)),
            *val,
        )
        assert bits(model) == bits(expected)
        np.testing.assert_array_equal(model.history_.val_loss, expected.history_.val_loss)
        np.testing.assert_array_equal(model.history_.val_accuracy, expected.history_.val_accuracy)


def test_predictions_are_lazy_and_those_of_one_machine(client: Client) -> None:
    for k in (2, 3):
        X, y, weights = problem(k=k)
        rows, labels = array(X, CUTS["uneven"]), array(y, (N,))
        model = fastlin.dask.LogisticRegression().fit(rows, labels)
        local = model.to_local()
        assert type(local) is fastlin.LogisticRegression
        for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            lazy, expected = getattr(model, name)(rows), getattr(local, name)(X)
            assert isinstance(lazy, da.Array)
            assert lazy.shape == expected.shape
            assert lazy.dtype == expected.dtype
            np.testing.assert_array_equal(lazy.compute(), expected)
            np.testing.assert_array_equal(getattr(model, name)(X), expected)
        found = model.score(rows, labels, array(weights, (N,)))
        assert found == local.score(X, y, weights)


def test_callbacks_are_not_sent_to_the_workers(client: Client) -> None:
    X, y, _ = problem()
    lock, epochs = threading.Lock(), []

    def callback(progress: Any) -> None:  # which no process can be sent
        with lock:
            epochs.append(progress.epoch)

    model = fastlin.dask.LogisticRegression(callbacks=[callback], max_epochs=3, tol=None)
    model.fit(array(X, (N,)), array(y, (N,)))
    assert epochs == [0, 1, 2]
    assert len(pickle.dumps(model._sent().compute(scheduler="synchronous"))) < 10_000


def test_the_model_leaves_the_cluster(client: Client, tmp_path: Path) -> None:
    X, y, _ = problem()
    model = fastlin.dask.LogisticRegression(client=client, l2=0.01).fit(
        array(X, (N,)), array(y, (N,))
    )
    model.save(tmp_path / "model")
    loaded = fastlin.LogisticRegression.load(tmp_path / "model")
    assert loaded.l2 == 0.01
    np.testing.assert_array_equal(loaded.predict(X), model.to_local().predict(X))
    assert model.to_sklearn().score(X, y) == loaded.score(X, y)


def test_parameters_are_those_of_one_machine_and_two_more(client: Client) -> None:
    model = fastlin.dask.LogisticRegression(client=client, l2=0.5, timeout=7)
    expected = set(inspect.signature(fastlin.LogisticRegression).parameters)
    assert set(model.get_params()) == expected | {"client", "timeout"}
    other = clone(model).set_params(l2=0.1)
    assert other.client is client
    assert (other.timeout, other.l2, other.solver, model.l2) == (7, 0.1, "lbfgs", 0.5)
    with pytest.raises(TypeError, match="l3"):
        fastlin.dask.LogisticRegression(l3=1)


def test_a_fit_leaves_nothing_on_the_workers(client: Client) -> None:
    X, y, _ = problem()
    fastlin.dask.LogisticRegression(max_epochs=3, tol=None).fit(array(X, (N,)), array(y, (N,)))
    for _ in range(100):
        left = [key for keys in client.has_what().values() for key in keys if "fastlin" in str(key)]
        if not left:
            break
        time.sleep(0.05)
    assert not left


def test_the_dashboard_groups_tasks_by_what_they_do(client: Client) -> None:
    X, y, _ = problem()
    scheduler: Any = client.cluster.scheduler  # type: ignore[union-attr]  # it is in this process
    seen: set[str] = set()
    callbacks = [lambda progress: seen.update(map(str, scheduler.task_prefixes))]
    model = fastlin.dask.LogisticRegression(callbacks=callbacks, max_epochs=3, tol=None)
    rows = array(X, CUTS["uneven"])
    model.fit(rows, array(y, (N,)))
    model.score(rows, array(y, (N,)))
    seen.update(map(str, scheduler.task_prefixes))
    expected = {
        "rows",
        "labels",
        "measure",
        "classes",
        "shard",
        "loss-gradient",
        "pick",
        "predicted",
    }
    assert {f"fastlin-{name}" for name in expected} <= seen


def test_warm_start(client: Client) -> None:
    X, y, _ = problem()
    rows, labels = array(X, CUTS["uneven"]), array(y, (N,))
    model = fastlin.dask.LogisticRegression(max_epochs=2, tol=None, warm_start=True)
    local = fastlin.LogisticRegression(solver="lbfgs", max_epochs=2, tol=None, warm_start=True)
    for _ in range(2):
        assert bits(model.fit(rows, labels)) == bits(local.fit(X, y))


def test_progress_is_told_in_the_client(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    X, y, _ = problem()
    told: list[Any] = []
    model = fastlin.dask.LogisticRegression(verbose=1, callbacks=[told.append], tol=1e-9)
    model.fit(array(X, CUTS["uneven"]), array(y, (N,)))
    assert [one.epoch for one in told] == list(range(model.n_iter_))
    assert [one.objective for one in told] == model.history_.objective.tolist()
    gaps = [one.gap for one in told]
    assert gaps[0] > 1e-3 > 1e-6 > gaps[-1]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_
    assert all("objective" in line and " s  " in line for line in lines)
    assert all("  gap " in line for line in lines)


@pytest.mark.parametrize("most_looked_at", [500, 2**17])
def test_no_row_is_sent_to_the_client_twice(
    client: Client, most_looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_blocks, "MOST_ROWS_LOOKED_AT", most_looked_at)
    X, y, weights = problem(k=4)
    sent: list[int] = []
    pick = tasks.pick

    def counted(self: Shards, name: str, function: Any, places: Any, arguments: Any) -> Any:
        found = each(self, name, function, places, arguments)
        if function is pick:
            for group, _ in found:
                for place, rows in zip(group, *arguments(group), strict=True):
                    sent.extend((place * 256 + rows).tolist())
        return found

    each = Shards.each
    monkeypatch.setattr(Shards, "each", counted)
    options: dict[str, Any] = {"input_scale": "standard", "max_epochs": 20, "tol": None}
    model = fastlin.dask.LogisticRegression(**options)
    model.fit(array(X, CUTS["uneven"]), array(y, (N,)), array(weights, (N,)))
    assert bits(model) == bits(alone(X, y, weights, **options))
    assert len(sent) > 1000
    assert len(sent) == len(set(sent))


def test_500_passes_leave_nothing_behind(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _ = problem()
    scheduler: Any = client.cluster.scheduler  # type: ignore[union-attr]  # it is in this process
    n_tasks: list[int] = []

    def count(progress: Any) -> None:
        if progress.epoch == 1:
            (passes,) = {id(one): one for one in seen}.values()
            for _ in range(500):
                passes.sum(score_of, *arguments)
                n_tasks.append(len(scheduler.tasks))

    seen: list[Any] = []
    arguments: list[Any] = []
    run = RemotePasses.sum

    def record(passes: Any, step: Any, *given: Any) -> Any:
        if not seen:
            seen.append(passes)
            arguments.extend(given)
        return run(passes, step, *given)

    monkeypatch.setattr(RemotePasses, "sum", record)
    options: dict[str, Any] = {"backend": "numpy", "max_epochs": 2, "tol": None}
    model = fastlin.dask.LogisticRegression(callbacks=[count], **options)
    model.fit(array(X, (N,)), array(y, (N,)))
    assert len(n_tasks) == 500
    assert max(n_tasks[-50:]) <= max(n_tasks[:50])


def test_a_thousand_classes(client: Client) -> None:
    """The weights are larger than what is sent with each task."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 768), np.float32)
    y = np.arange(2000) % 1000
    options: dict[str, Any] = {"max_epochs": 2, "tol": None}
    rows, labels = da.from_array(X, chunks=(500, 768)), da.from_array(y, chunks=2000)
    model = fastlin.dask.LogisticRegression(**options).fit(rows, labels)
    assert bits(model) == bits(alone(X, y, **options))
