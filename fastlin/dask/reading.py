"""Reads the arguments of ``fastlin.dask.LogisticRegression.fit``, after a look at the cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
from distributed import Client, get_client, get_worker
from numpy.typing import NDArray

import fastlin
from fastlin.dask import tasks
from fastlin.dask.loading import Loaded, Loader, is_frame
from fastlin.dask.rows import RemoteRows, like_rows
from fastlin.dask.shards import require_alike
from fastlin.dask.watching import Watch
from fastlin.errors import ClusterError, InputError, InputTypeError
from fastlin.kernels import get_backend
from fastlin.rows.binding import weight_type
from fastlin.rows.containers import is_collection
from fastlin.rows.labels import locate
from fastlin.rows.validation import (
    check_validation_set,
    class_factors,
    require_some_weight,
    require_weighted_validation,
    validation_factors,
)
from fastlin.training_set import TrainingSet


def read(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    X_val: Any,
    y_val: Any,
    on_cluster: list[RemoteRows],
) -> TrainingSet:
    """Load the arguments of ``fit`` on the cluster; ``on_cluster`` gets all rows to close later."""
    require_lbfgs(estimator.solver)
    _require_no_task()
    if estimator.early_stopping and X_val is None:
        raise InputError(
            "early_stopping needs X_val and y_val here, because a part of rows on a cluster is "
            "best divided by whoever made the partitions; pass them, for example from "
            "X.random_split or by leaving out some files"
        )
    watch = Watch(client_of(estimator), float(estimator.timeout))
    backend = get_backend(estimator.backend).name
    _require_alike(watch, backend)
    loader = Loader(watch, backend, lambda dtype: _weights_type(dtype, estimator.dtype))
    found = loader.load(X, y, sample_weight)
    on_cluster.append(found.rows)
    _note_features(estimator, X, y, found)
    weights, classes, rows = _weights(found, estimator.class_weight)
    validation = None
    if X_val is not None or y_val is not None:
        validation = _read_validation(estimator, on_cluster, loader, X_val, y_val, found, weights)
    watch.doing = "training"
    return TrainingSet(rows, found.labels, classes, weights, validation)


def _read_validation(
    estimator: Any,
    on_cluster: list[RemoteRows],
    loader: Loader,
    X_val: Any,
    y_val: Any,
    found: Loaded,
    weights: NDArray[np.float64] | None,
) -> Any:
    factors, classes = None, found.classes
    if estimator.class_weight is not None:
        classes, factors = validation_factors(
            estimator.class_weight, found.labels, weights, found.weights
        )
    if is_collection(X_val) and y_val is not None:
        loaded = loader.load(X_val, y_val, None, found.classes, "X_val")
        on_cluster.append(loaded.rows)
        if loaded.rows.shape[1] != found.rows.shape[1]:
            raise InputError(
                f"X_val has {loaded.rows.shape[1]} features, and X {found.rows.shape[1]}; give "
                "it the same columns"
            )
        rows: Any = loaded.rows
        rows.factors, labels = factors, loaded.labels
    else:
        checked = check_validation_set(estimator, X_val, y_val)
        assert checked is not None, "one of both was given"
        rows, labels = checked
    if factors is None:
        return rows, labels, None
    val_weights = factors[locate(labels, classes)[0]]
    require_weighted_validation(val_weights)
    return rows, labels, val_weights


def _note_features(estimator: Any, X: Any, y: Any, found: Loaded) -> None:
    """Set the estimator's number and names of the features."""
    estimator.n_features_in_ = found.rows.shape[1]
    estimator.__dict__.pop("feature_names_in_", None)
    if is_frame(X):
        names = [name for name in X.columns if not isinstance(y, str) or name != y]
        if all(isinstance(name, str) for name in names):
            estimator.feature_names_in_ = np.array(names, object)


def client_of(estimator: Any) -> Client:
    """Return an estimator's client, or the current one."""
    if estimator.client is not None:
        if not isinstance(estimator.client, Client) or estimator.client.asynchronous:
            raise InputTypeError(
                f"client is of type {type(estimator.client).__name__}; pass a distributed.Client "
                "that is not asynchronous"
            )
        return estimator.client
    try:
        return get_client()
    except ValueError as error:
        raise InputError(
            "there is no Dask client; make one first: client = distributed.Client(), or "
            "distributed.Client('tcp://HOST:8786') for a cluster that runs"
        ) from error


def require_lbfgs(solver: str) -> None:
    """Raise if a solver does not run on a cluster."""
    if solver != "lbfgs":
        raise InputError(
            f"solver={solver!r} does not run on a cluster: mini-batches need hundreds of rounds "
            "over the network an epoch, and averaged models end far from the optimum; pass "
            "solver='lbfgs', or train on a sample with fastlin.LogisticRegression"
        )


def _require_no_task() -> None:
    try:
        worker = get_worker()
    except ValueError:
        return
    raise InputError(
        f"this fit runs in a task on {worker.address}, whose worker would wait for itself; in a "
        "search over a cluster use fastlin.LogisticRegression, one fit for each task"
    )


def _require_alike(watch: Watch, backend: str) -> None:
    """Raise if two workers, or a worker and this process, differ in version or backend."""

    async def ask() -> Any:
        return await watch.client.run(tasks.identity, backend, on_error="return")

    found = watch.ask(ask)
    for worker, identity in found.items():
        if not isinstance(identity, dict):
            raise ClusterError(
                f"{worker} cannot import fastlin ({identity}); install fastlin "
                f"{fastlin.__version__} on all workers"
            )
    own = tasks.identity(backend)
    for worker, identity in found.items():
        for name in ("fastlin", "the backend"):
            mine = {name: own[name]}
            require_alike("this machine", mine, worker, identity)
    first, expected = next(iter(found.items()), ("", {}))
    for worker, identity in found.items():
        require_alike(first, expected, worker, identity)


def _weights_type(rows: np.dtype[Any], option: str) -> np.dtype[Any]:
    return weight_type(like_rows(rows, 1, False), option)


def _weights(
    found: Loaded, class_weight: Any
) -> tuple[NDArray[np.float64] | None, NDArray[Any], RemoteRows]:
    """Return the weight of each row, as one machine computes it, the classes, and the rows."""
    weights, rows = found.weights, found.rows
    if weights is not None and (weights < 0).any():
        row = int((weights < 0).argmax())
        raise InputError(f"sample_weight is {weights[row]:g} in row {row}; pass weights >= 0")
    if class_weight is not None:
        index = locate(found.labels, found.classes)[0]
        weights = np.ones(len(index)) if weights is None else weights
        rows.factors = class_factors(index, weights, class_weight, found.classes)
        weights = weights * rows.factors[index]
    if weights is not None:
        require_some_weight(weights)
    return weights, found.classes, rows
