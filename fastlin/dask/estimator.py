"""``fastlin.dask.LogisticRegression``: the estimator of one machine, for rows on a cluster."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from dask.delayed import delayed
from distributed import Client, get_client, get_worker
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

import fastlin.estimator
from fastlin.callbacks import with_callbacks
from fastlin.dask import tasks
from fastlin.dask.loading import Loaded, Loader, is_frame, partitions_of
from fastlin.dask.rows import RemoteRows, require_alike
from fastlin.dask.watching import Watch
from fastlin.errors import ClusterError, InputError, InputTypeError
from fastlin.kernels import get_backend
from fastlin.parameter_checks import input_errors, numpys_defaults
from fastlin.replacement import learner_of
from fastlin.results.model_file import SavedModel
from fastlin.rows.binding import weight_type
from fastlin.rows.containers import is_collection
from fastlin.rows.labels import locate
from fastlin.rows.validation import (
    check_validation_set,
    class_factors,
    labels_and_weights,
    require_some_weight,
    require_weighted_validation,
    validation_factors,
)
from fastlin.training_set import TrainingSet

NAMES = ("client", "timeout")
"""Parameters beside those of one machine."""


class LogisticRegression(fastlin.estimator.LogisticRegression):
    """Logistic and softmax regression on a Dask cluster, by L-BFGS.

    Every worker computes the sums over the rows that it holds, and the client adds them up in an
    order that depends on the number of rows alone. So the result has the bits that
    :class:`fastlin.LogisticRegression` with ``solver="lbfgs"`` has for the same rows in the same
    order, whatever the number of workers, threads and partitions, and whichever workers die.

    Parameters
    ----------
    client : distributed.Client or None
        The cluster; None takes the current client.
    timeout : float
        The most seconds in which nothing moves: no task ends, and no worker has one to work on.
        Then the fit ends with an error.
    **parameters
        Those of :class:`fastlin.LogisticRegression`, by the same names. ``solver`` is ``"lbfgs"``;
        ``n_threads`` has no effect on the workers, each of which uses its own threads.

    Attributes
    ----------
    classes_, coef_, intercept_, n_iter_, history_, backend_, n_features_in_, feature_names_in_
        As in :class:`fastlin.LogisticRegression`.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from sklearn.datasets import load_digits
    >>> import fastlin.dask
    >>> X, y = load_digits(return_X_y=True)
    >>> with Client(processes=False, n_workers=2, dashboard_address=":0") as client:
    ...     rows, labels = da.from_array(X, chunks=(500, -1)), da.from_array(y, chunks=500)
    ...     model = fastlin.dask.LogisticRegression().fit(rows, labels)
    ...     bool(model.score(rows, labels) > 0.98)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **fastlin.estimator.LogisticRegression._parameter_constraints,
        "client": "no_validation",
        "timeout": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self, *, client: Client | None = None, timeout: float = 60.0, **parameters: Any
    ) -> None:
        super().__init__(**{"solver": "lbfgs", **parameters})
        self.client = client
        self.timeout = timeout

    @classmethod
    def _get_param_names(cls) -> list[str]:
        of_one_machine = fastlin.estimator.LogisticRegression._get_param_names()
        return sorted([*of_one_machine, *NAMES])

    def __sklearn_clone__(self) -> LogisticRegression:
        """Return an estimator with the same parameters; the client is shared, not copied."""
        from copy import deepcopy

        parameters = self.get_params(deep=False)
        client = parameters.pop("client")
        return type(self)(client=client, **deepcopy(parameters))

    # ------------------------------------------------------------------ training

    _on_cluster: list[RemoteRows]
    """Rows that are loaded, while a fit runs."""

    @with_callbacks  # type: ignore[untyped-decorator]  # scikit-learn's
    @numpys_defaults
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> LogisticRegression:
        """Train on rows and their labels where they are.

        If the call raises, even at Ctrl-C, the model stays as it was before.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame, (n, d)
            Rows, of any partitions; chunks may be CSR matrices.
        y : dask.array.Array, dask.dataframe.Series or str
            Label of each row; a string names the column of ``X`` that holds the labels.
        sample_weight : dask.array.Array or dask.dataframe.Series, optional
            Factor of each row's loss, >= 0.
        X_val, y_val : optional
            Validation set: Dask collections like ``X`` and ``y``, or arrays in memory.

        Returns
        -------
        LogisticRegression
            The estimator itself.

        Raises
        ------
        InputError
            An argument or a partition cannot be used; also a ValueError.
        ClusterError
            Rows were lost that cannot be read again, or nothing moved for ``timeout`` seconds.
        """
        with learner_of(self) as learner:
            learner._on_cluster = []
            try:
                learner._fit(self, X, y, sample_weight, X_val, y_val, None)
            finally:
                for rows in learner.__dict__.pop("_on_cluster"):
                    rows.shards.close()
        return self

    def _read(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, finite: bool
    ) -> TrainingSet:
        """Load the arguments of :meth:`fit` on the cluster."""
        require_lbfgs(self.solver)
        _require_no_task()
        if self.early_stopping and X_val is None:
            raise InputError(
                "early_stopping needs X_val and y_val here, because a part of rows on a cluster is "
                "best divided by whoever made the partitions; pass them, for example from "
                "X.random_split or by leaving out some files"
            )
        watch = Watch(self._client(), float(self.timeout))
        backend = get_backend(self.backend).name
        _require_alike(watch, backend)
        loader = Loader(watch, backend, lambda dtype: _weights_type(dtype, self.dtype))
        found = loader.load(X, y, sample_weight)
        self._on_cluster.append(found.rows)
        self._note_features(X, y, found)
        weights, classes, rows = _weights(found, self.class_weight)
        validation = None
        if X_val is not None or y_val is not None:
            validation = self._read_validation(loader, X_val, y_val, found, weights)
        watch.doing = "training"
        return TrainingSet(rows, found.labels, classes, weights, validation)

    def _read_validation(
        self,
        loader: Loader,
        X_val: Any,
        y_val: Any,
        found: Loaded,
        weights: NDArray[np.float64] | None,
    ) -> Any:
        factors, classes = None, found.classes
        if self.class_weight is not None:
            classes, factors = validation_factors(
                self.class_weight, found.labels, weights, found.weights
            )
        if is_collection(X_val) and y_val is not None:
            loaded = loader.load(X_val, y_val, None, found.classes, "X_val")
            if loaded.rows.shape[1] != found.rows.shape[1]:
                raise InputError(
                    f"X_val has {loaded.rows.shape[1]} features, and X {found.rows.shape[1]}; give "
                    "it the same columns"
                )
            rows: Any = loaded.rows
            self._on_cluster.append(rows)
            rows.factors, labels = factors, loaded.labels
        else:
            checked = check_validation_set(self, X_val, y_val)
            assert checked is not None, "one of both was given"
            rows, labels = checked
        if factors is None:
            return rows, labels, None
        val_weights = factors[locate(labels, classes)[0]]
        require_weighted_validation(val_weights)
        return rows, labels, val_weights

    def _note_features(self, X: Any, y: Any, found: Loaded) -> None:
        self.n_features_in_ = found.rows.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        if is_frame(X):
            names = [name for name in X.columns if not isinstance(y, str) or name != y]
            if all(isinstance(name, str) for name in names):
                self.feature_names_in_ = np.array(names, object)

    def _require_finite(self, X: Any) -> None:
        """Do nothing: partitions are looked at when they are loaded."""

    def _client(self) -> Client:
        if self.client is not None:
            if not isinstance(self.client, Client) or self.client.asynchronous:
                raise InputTypeError(
                    f"client is of type {type(self.client).__name__}; pass a distributed.Client "
                    "that is not asynchronous"
                )
            return self.client
        try:
            return get_client()
        except ValueError as error:
            raise InputError(
                "there is no Dask client; make one first: client = distributed.Client(), or "
                "distributed.Client('tcp://HOST:8786') for a cluster that runs"
            ) from error

    # ------------------------------------------------------------------ prediction

    def predict(self, X: Any) -> Any:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : Dask array or data frame, or array, (n, d)

        Returns
        -------
        dask.array.Array, (n,)
            Lazy; a NumPy array if ``X`` is in memory.
        """
        return self._lazy("predict", X)

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : Dask array or data frame, or array, (n, d)

        Returns
        -------
        dask.array.Array, (n, k)
            Lazy; a NumPy array if ``X`` is in memory.
        """
        return self._lazy("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the natural logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : Dask array or data frame, or array, (n, d)

        Returns
        -------
        dask.array.Array, (n, k)
            Lazy; a NumPy array if ``X`` is in memory.
        """
        return self._lazy("predict_log_proba", X)

    def decision_function(self, X: Any) -> Any:
        """Return the logits, ``coef_ x + intercept_``.

        Parameters
        ----------
        X : Dask array or data frame, or array, (n, d)

        Returns
        -------
        dask.array.Array, (n, k), or (n,) with two classes
            Lazy; a NumPy array if ``X`` is in memory.
        """
        return self._lazy("decision_function", X)

    def _lazy(self, method: str, X: Any) -> Any:
        import dask.array as da

        check_is_fitted(self)
        local = self.to_local()
        if not is_collection(X):
            return getattr(local, method)(X)
        parts = partitions_of(X, "X")
        lengths = X.chunks[0] if hasattr(X, "chunks") else [np.nan] * len(parts)
        model, like = self._sent(), _like(local, method)
        found = [
            da.from_delayed(
                delayed(tasks.predicted, pure=False)(model, method, part),
                (length, *like.shape[1:]),
                meta=like,
            )
            for part, length in zip(parts, lengths, strict=True)
        ]
        return da.concatenate(found, allow_unknown_chunksizes=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, computed at once.

        Parameters
        ----------
        X : Dask collection or array, (n, d)
        y : Dask collection, array, or the name of the column of ``X`` that holds the labels
        sample_weight : Dask collection or array, optional

        Returns
        -------
        float
            In [0, 1].
        """
        if not is_collection(X):
            return float(self.to_local().score(X, y, sample_weight))
        if isinstance(y, str):
            X, y = X.drop(columns=[y]), X[y]
        watch = Watch(self._client(), float(self.timeout))
        watch.doing = "predicting"
        model = self._sent()

        def all_of(values: Any, what: str, function: Any, *first: Any) -> Any:
            if not is_collection(values):
                return values
            parts = partitions_of(values, what)
            lazy = [delayed(function, pure=False)(*first, part) for part in parts]
            return np.concatenate(watch.results(watch.client.compute(lazy)))

        with input_errors():
            labels = all_of(X, "X", tasks.predicted, model, "predict")
            sample_weight = all_of(sample_weight, "sample_weight", tasks.weights_of)
            y = all_of(y, "y", tasks.labels_of)
            given, weights = labels_and_weights(y, len(labels), sample_weight)
        index, known = locate(given, self.classes_)
        return float(np.average(known & (self.classes_[index] == labels), weights=weights))

    # ------------------------------------------------------------------ leaving the cluster

    def to_local(self) -> fastlin.estimator.LogisticRegression:
        """Return the model as one that needs no cluster.

        Returns
        -------
        fastlin.LogisticRegression
            It predicts and saves the same.
        """
        parameters = self.get_params(deep=False)
        model = fastlin.estimator.LogisticRegression(
            **{name: value for name, value in parameters.items() if name not in NAMES}
        )
        learned = {name: value for name, value in vars(self).items() if name not in parameters}
        model.__dict__.update(learned)
        return model

    def _sent(self) -> Any:
        """Return what predicts on the workers, as a task: without callbacks and history."""
        model = self.to_local()
        model.callbacks = None
        for name in ("history_", "_skl_callbacks"):
            model.__dict__.pop(name, None)
        return delayed(model, traverse=False)

    def _to_saved(self) -> SavedModel:
        return self.to_local()._to_saved()

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read a model that ``save`` wrote, which needs no cluster.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        fastlin.LogisticRegression
        """
        return fastlin.estimator.LogisticRegression.load(path)


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
    from fastlin.dask.rows import like_rows

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


def _like(model: Any, method: str) -> NDArray[Any]:
    """Return no predictions, in the form in which they come."""
    return np.asarray(tasks.predicted(model, method, np.empty((0, model.n_features_in_))))
