"""``fastlin.dask.LogisticRegression``: the estimator of one machine, for rows on a cluster."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
from dask.delayed import delayed
from distributed import Client
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

import fastlin.estimator
from fastlin.callbacks import with_callbacks
from fastlin.dask import tasks
from fastlin.dask.loading import partitions_of
from fastlin.dask.reading import client_of, read
from fastlin.dask.rows import RemoteRows
from fastlin.dask.watching import Watch
from fastlin.parameter_checks import input_errors, numpys_defaults
from fastlin.replacement import learner_of
from fastlin.results.model_file import SavedModel
from fastlin.rows.containers import is_collection
from fastlin.rows.labels import locate
from fastlin.rows.validation import (
    labels_and_weights,
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
        return read(self, X, y, sample_weight, X_val, y_val, self._on_cluster)

    def _require_finite(self, X: Any) -> None:
        """Do nothing: partitions are looked at when they are loaded."""

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
        name = f"fastlin-{method.replace('_', '-')}-{uuid4().hex}"
        found = [
            da.from_delayed(
                delayed(tasks.predicted)(model, method, part, dask_key_name=f"{name}-{place}"),
                (length, *like.shape[1:]),
                meta=like,
            )
            for place, (part, length) in enumerate(zip(parts, lengths, strict=True))
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
        watch = Watch(client_of(self), float(self.timeout))
        watch.doing = "predicting"
        model = self._sent()

        def all_of(values: Any, what: str, function: Any, *first: Any) -> Any:
            if not is_collection(values):
                return values
            parts = partitions_of(values, what)
            name = f"fastlin-{function.__name__.replace('_', '-')}-{uuid4().hex}"
            lazy = [
                delayed(function)(*first, part, dask_key_name=f"{name}-{place}")
                for place, part in enumerate(parts)
            ]
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


def _like(model: Any, method: str) -> NDArray[Any]:
    """Return no predictions, in the form in which they come."""
    return np.asarray(tasks.predicted(model, method, np.empty((0, model.n_features_in_))))
