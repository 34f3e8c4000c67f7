"""``LogisticRegression``, the scikit-learn interface of fastlin.

The file is long because each of its many parameters is documented, constrained and assigned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, _safe_indexing
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastlin.callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from fastlin.errors import InputError, shown
from fastlin.fitting import Learned, learn, tell_what_was_seen
from fastlin.kernels import BACKEND_NAMES, find_backend, get_backend
from fastlin.kernels.blocking import PANEL
from fastlin.parameter_checks import check_parameters, input_errors, numpys_defaults
from fastlin.replacement import learner_of
from fastlin.rows.labels import classes_of, locate, read_labels
from fastlin.rows.scaling import InputScale
from fastlin.rows.stored import StoredRows, views
from fastlin.rows.validation import (
    RowsLike,
    check_rows,
    check_rows_and_labels,
    check_weights,
    labels_and_weights,
    require_same_model,
    require_two_classes,
)
from fastlin.solvers.continuing import known_classes
from fastlin.solvers.diagnosis import look_at_features
from fastlin.solvers.prediction import logits, most_probable, softmax
from fastlin.solvers.schedules import SCHEDULES
from fastlin.solvers.state import State
from fastlin.training_set import Options, TrainingSet, check_options, read, split

if TYPE_CHECKING:  # what a file needs is imported when there is one
    from fastlin.results.checkpoint import Checkpoint
    from fastlin.results.history import History
    from fastlin.results.model_file import SavedModel

ROWS_PREDICTED = 2**16
"""Stored rows whose logits are in memory at a time."""


def _trains_in_parts(estimator: LogisticRegression) -> bool:
    if estimator.solver == "sgd":
        return True
    raise AttributeError("partial_fit needs solver='sgd'; L-BFGS uses all rows at once")


# scikit-learn is untyped, here and below.
class LogisticRegression(CallbackSupportMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression (two classes) and softmax regression (more), by gradient descent.

    Minimises ``mean cross-entropy + l2 * sum(W**2)`` over the scaled inputs
    ``x = (u - shift) * scale``. In scikit-learn's terms ``alpha = 2 * l2`` and
    ``C = 1 / (2 * n * l2)``.

    Parameters
    ----------
    solver : {"sgd", "lbfgs"}
        Mini-batch gradient descent, or L-BFGS on all rows, which goes to the optimum. A
        ``ConvergenceWarning`` says if training ended too early.
    backend : {"auto", "numba", "c", "numpy"}
        Which kernels run; ``"auto"`` takes the first available one, in this order.
    l2 : float
        Strength of the L2 penalty, >= 0.
    learning_rate : float or "auto"
        Step size for a batch of ``batch_size`` rows; a smaller batch makes a proportionally smaller
        step. ``"auto"`` measures a safe step size, see
        :func:`fastlin.solvers.schedules.safe_step_size`, and lowers it to 0 in the last epochs if
        the loss no longer falls, so that noisy labels do not leave a noisy model. If the intercept
        is free and the features are not mostly 0, it also subtracts their means, which changes the
        speed but not the minimum.
    schedule : {"constant", "invscaling", "cosine"}
        How the step size changes, see :func:`fastlin.solvers.schedules.rates`.
    momentum : float
        Factor of the velocity, in [0, 1).
    nesterov : bool
        Use Nesterov's momentum.
    average : bool
        Return a running average of the iterates, in which later ones weigh more.
    batch_size : int
        Rows in a mini-batch.
    drop_last : bool
        Leave out the last batch of an epoch if it is not full.
    max_epochs : int
        Maximum number of passes over the data; with ``"lbfgs"``, of iterations.
    shuffle : bool
        Draw a new order of the rows for every epoch.
    tol : float or None
        Stop when the training loss improved by less than ``tol`` in each of ``patience`` epochs in
        a row; with ``"lbfgs"``, when the objective is within an estimated fraction ``tol`` of its
        optimum, see :func:`fastlin.solvers.lbfgs.minimize`. 0 or None never stops.
    early_stopping : bool
        Stop when ``patience`` checks in a row did not improve the best validation loss, and return
        the weights of the best check. Uses ``X_val``, or splits off ``validation_fraction``.
    patience : int
        See ``tol`` and ``early_stopping``.
    checks_per_epoch : int
        Evaluations on the validation and training rows in each epoch, each right after a step whose
        number is a multiple of ``steps_per_epoch // checks_per_epoch``; ``"lbfgs"`` evaluates after
        every iteration.
    validation_fraction : float
        Fraction of the training rows that ``early_stopping`` splits off if ``fit`` gets no
        ``X_val``.
    fit_intercept : bool
        Train an intercept.
    regularize_intercept : bool
        Penalise the intercept too.
    input_scale : None, "minmax", "standard" or (shift, scale)
        Scaling of the inputs, folded into the weights; see
        :meth:`fastlin.rows.scaling.InputScale.from_option`.
    class_weight : None, "balanced" or dict
        Factor of the loss of each class.
    warm_start : bool
        Start ``fit`` from the present weights, whether trained or assigned.
    random_state : None, int or numpy.random.RandomState
        Seed of the order of the rows and of the split.
    n_threads : int or None
        Threads of the kernels; None uses every core that this process may use.
    dtype : {"auto", "float32", "float64"}
        Type of the weights; ``"auto"`` is float64 for float64 rows, else float32.
    verbose : int
        1 prints a line for each epoch.
    callbacks : list of callable or None
        Each is called with a :class:`fastlin.train.Progress` after every check and at the end of
        every epoch. Training stops if one returns True, Python's or NumPy's; any other value, even
        1, has no effect. An exception ends the fit and leaves the model as it was before.

    Attributes
    ----------
    classes_ : (k,)
        Labels in sorted order.
    coef_ : (k, d), or (1, d) with two classes
        Weights for the rows as they are given, unscaled.
    intercept_ : (k,), or (1,) with two classes
        The intercept, in the weights' type; float64 if scaled features lie so far from zero that
        float32 would lose it to rounding.
    n_iter_ : int
        Epochs (``"sgd"``) or iterations (``"lbfgs"``) run.
    history_ : fastlin.results.history.History
        Losses, accuracies, times and why training ended.
    backend_ : str
        Name of the backend that trained.
    learning_rate_ : float
        Step size used; nan with ``"lbfgs"`` and ``learning_rate="auto"``. With ``"auto"`` the
        intercept has its own, see :func:`fastlin.solvers.schedules.safe_step_size`.
    n_features_in_ : int
        Number of features, ``d``.
    feature_names_in_ : (d,) of str
        The features' names; only if the rows had them, as data frames do.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastlin import LogisticRegression
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LogisticRegression(input_scale=(0, 1 / 16), random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    classes_: NDArray[Any]
    _state: State = State()
    """What was learned or assigned."""
    _data_layout: dict[str, Any] | None = None
    """How the command line read the text file that this model was trained on."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "solver": [StrOptions({"sgd", "lbfgs"})],
        "backend": [StrOptions({"auto", *BACKEND_NAMES})],
        "l2": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions(set(SCHEDULES))],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "average": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "drop_last": ["boolean"],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "early_stopping": ["boolean"],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "checks_per_epoch": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "fit_intercept": ["boolean"],
        "regularize_intercept": ["boolean"],
        "input_scale": [StrOptions({"minmax", "standard"}), tuple, list, None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
    }

    def __init__(
        self,
        *,
        solver: str = "sgd",
        backend: str = "auto",
        l2: float = 1e-4,
        learning_rate: float | str = "auto",
        schedule: str = "constant",
        momentum: float = 0.0,
        nesterov: bool = False,
        average: bool = False,
        batch_size: int = 128,
        drop_last: bool = False,
        max_epochs: int = 100,
        shuffle: bool = True,
        tol: float | None = 1e-4,
        early_stopping: bool = False,
        patience: int = 10,
        checks_per_epoch: int = 1,
        validation_fraction: float = 0.1,
        fit_intercept: bool = True,
        regularize_intercept: bool = False,
        input_scale: Any = None,
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        n_threads: int | None = None,
        dtype: str = "auto",
        verbose: int = 0,
        callbacks: Any = None,
    ) -> None:
        self.solver = solver
        self.backend = backend
        self.l2 = l2
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.momentum = momentum
        self.nesterov = nesterov
        self.average = average
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.max_epochs = max_epochs
        self.shuffle = shuffle
        self.tol = tol
        self.early_stopping = early_stopping
        self.patience = patience
        self.checks_per_epoch = checks_per_epoch
        self.validation_fraction = validation_fraction
        self.fit_intercept = fit_intercept
        self.regularize_intercept = regularize_intercept
        self.input_scale = input_scale
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_threads = n_threads
        self.dtype = dtype
        self.verbose = verbose
        self.callbacks = callbacks

    # ------------------------------------------------------------------ weights

    @property
    def coef_(self) -> Any:
        """Weights for the rows as they are given, unscaled: (k, d), or (1, d) for two classes."""
        return self._learned("coef")

    @coef_.setter
    def coef_(self, weights: Any) -> None:
        self._state = replace(self._state, coef=weights, parameters=None)

    @property
    def intercept_(self) -> Any:
        """The intercept: (k,), or (1,) with two classes."""
        return self._learned("intercept")

    @intercept_.setter
    def intercept_(self, intercept: Any) -> None:
        self._state = replace(self._state, intercept=intercept, parameters=None)

    def _learned(self, name: str) -> Any:
        value = getattr(self._state, name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no {name}_ before it was fitted")
        return value

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn whether there are weights, trained or assigned."""
        return hasattr(self, "coef_")

    # ------------------------------------------------------------------ training

    @with_callbacks  # type: ignore[untyped-decorator]  # as above
    @numpys_defaults
    def fit(
        self,
        X: RowsLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: float = 60.0,
    ) -> LogisticRegression:
        """Train on rows and their labels.

        If the call raises, even at Ctrl-C, the model stays as it was before.

        Parameters
        ----------
        X : (n, d)
            Rows. C-ordered uint8, int8, float16, float32 and float64 rows are read without a copy,
            and so are SciPy's CSR matrices and arrays of float32 or float64 with sorted column
            indices; other sparse formats are converted.
        y : (n,)
            Label of each row: numbers or strings, of at least two different values.
        sample_weight : (n,), optional
            Factor of each row's loss, >= 0: a row of weight 2 counts as two rows, and a row of
            weight 0 does not count.
        X_val, y_val : (m, d) and (m,), optional
            Validation set, on which every check is made. Its form may differ from that of ``X`` and
            ``y``, as with sparse and dense rows; data frames must have the same columns.
        checkpoint : str or Path, optional
            File in which the run is kept, so that the same call goes on from there, with the same
            bits, if this one is interrupted. :meth:`load` reads it too, as a model with the best
            weights so far. It remains after the fit.
        checkpoint_every : float
            Seconds between two times that the file is written: at the end of an epoch, after a
            check, or after an iteration. It is written at the end, too, and at Ctrl-C.

        Returns
        -------
        LogisticRegression
            The estimator itself.

        Raises
        ------
        InputError
            An argument or an array cannot be used; also a ValueError.
        BackendUnavailableError
            The backend named cannot run here.
        DivergenceError
            The loss became nan or infinite.
        """
        with learner_of(self) as learner:
            kept = None
            if checkpoint is not None:
                from fastlin.results.checkpoint import Checkpoint

                kept = Checkpoint(checkpoint, checkpoint_every)
            learner._fit(self, X, y, sample_weight, X_val, y_val, kept)
        return self

    def _fit(
        self,
        owner: LogisticRegression,
        X: RowsLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        X_val: RowsLike | None,
        y_val: ArrayLike | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Run :meth:`fit` of ``owner`` on this copy of it."""
        options = Options(self)
        with input_errors():
            backend = check_options(self)
            # A nan or an infinity shows in the losses, without another pass over the rows; but
            # early stopping takes the model of another step if it shows there.
            looks_first = bool(options.early_stopping)
            data = self._read(X, y, sample_weight, X_val, y_val, looks_first)
            seed = checkpoint.seed if checkpoint is not None else None
            seed = options.seed() if seed is None else seed
            generator = options.generator(seed=seed)
            told = {"X": X, "y": y, "sample_weight": sample_weight}
            has_callbacks = bool(getattr(self, "_skl_callbacks", None))
            if data.validation is None and options.early_stopping:
                data, part = split(data, options.validation_fraction, generator)
                if has_callbacks:
                    told = {
                        name: None if values is None else _safe_indexing(values, part)
                        for name, values in told.items()
                    }
            before = None
            if options.warm_start and hasattr(self, "coef_"):
                d, shape = data.rows.shape[1], np.shape(self.coef_)
                old_classes = getattr(self, "classes_", data.classes)
                require_same_model(data.classes, d, old_classes, shape[1] if len(shape) == 2 else d)
                epochs = self._state.seen.epochs if isinstance(self.random_state, Integral) else 0
                if epochs:
                    generator = options.generator(epochs)  # draws new orders
                before = self._state.begun_anew(epochs)
            if checkpoint is not None:
                from fastlin.run_identity import identity_of

                checkpoint.begin(identity_of(options, backend, data, before), seed)
                checkpoint.as_model = partial(self._so_far, data.classes, backend.name)
            names = ("n_features_in_", "feature_names_in_")
            visible = {name: getattr(self, name) for name in names if hasattr(self, name)}
            visible["classes_"] = data.classes

            def tasks_of(now: Callable[[], State]) -> FitTasks:
                n_epochs = options.max_epochs
                return FitTasks(owner, n_epochs, told, lambda: {**visible, "_state": now()})

            tasks = tasks_of if has_callbacks else None
            try:
                with np.errstate(invalid="ignore"):
                    if before is None and options.descends and self.input_scale is None:
                        look_at_features(data.rows, data.weights)
                    learned = learn(
                        options,
                        backend,
                        data,
                        before,
                        generator,
                        tasks_of=tasks,
                        checkpoint=checkpoint,
                    )
            except Exception:
                self._require_finite(X)  # raises its own error if they are the reason
                raise
            # At weights other than 0 an infinity may leave a row without any loss.
            if not looks_first and (before is not None or not learned.are_finite(data.rows)):
                self._require_finite(X)
            self._adopt(learned, data.classes)
        if not options.early_stopping:
            tell_what_was_seen(options, backend, data, learned)

    def _read(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, finite: bool
    ) -> TrainingSet:
        """Check the arguments of :meth:`fit`; see :func:`fastlin.training_set.read`."""
        return read(self, X, y, sample_weight, X_val, y_val, finite)

    def _require_finite(self, X: Any) -> None:
        """Raise if rows hold nan or infinity."""
        check_rows(self, X)

    def _so_far(
        self, classes: NDArray[Any], backend: str, state: State, history: History
    ) -> SavedModel:
        """Return what a model file holds of a fit that has not ended."""
        model = object.__new__(type(self))
        model.__dict__ = dict(vars(self))
        rate = np.nan if isinstance(self.learning_rate, str) else float(self.learning_rate)
        model._adopt(Learned(state, history, backend, rate), classes)
        return model._to_saved()

    def _adopt(self, learned: Learned, classes: NDArray[Any]) -> None:
        """Take over what was learned, for these classes."""
        self.classes_ = classes
        self._state, self.history_ = learned.state, learned.history
        self.n_iter_ = learned.history.stopped_epoch + 1
        self.backend_ = learned.backend
        self.learning_rate_ = learned.learning_rate

    @available_if(_trains_in_parts)  # type: ignore[untyped-decorator]  # as above
    @numpys_defaults
    def partial_fit(
        self,
        X: RowsLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> LogisticRegression:
        """Run one epoch over some rows, starting from the present weights.

        The first call's rows set the input scale and, unless they are few, an automatic learning
        rate. Momentum, average and schedule continue from where the last call, or ``fit``, left
        them; a block with fewer rows or less weight than earlier ones makes smaller steps. An
        option that has changed since then takes effect now, as the guide's page on continuing a fit
        describes. L-BFGS has no such method, because it uses all rows at once.

        If the call raises, even at Ctrl-C, the model stays as it was before.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.
        y : (n,)
            Label of each row.
        classes : (k,), optional
            All labels that any call will bring; required by the first call.
        sample_weight : (n,), optional
            Factor of each row's loss, >= 0, on the same scale as the weights of earlier calls.

        Returns
        -------
        LogisticRegression
            The estimator itself.

        Raises
        ------
        InputError
            An argument or an array cannot be used; also a ValueError.
        BackendUnavailableError
            The backend named cannot run here.
        DivergenceError
            The loss became nan or infinite.
        """
        with learner_of(self) as learner:
            learner._partial_fit(X, y, classes, sample_weight)
        return self

    def _partial_fit(
        self,
        X: RowsLike,
        y: ArrayLike,
        classes: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> None:
        """Run :meth:`partial_fit` on this copy of the estimator."""
        options = Options(self)
        with input_errors():
            backend = check_options(self)
            if self.class_weight == "balanced":
                raise InputError(
                    "class_weight='balanced' needs all rows at once; give partial_fit "
                    "class_weight={label: weight}, from sklearn.utils.class_weight's "
                    "compute_class_weight('balanced', classes=classes, y=all_labels)"
                )
            reset = not hasattr(self, "n_features_in_")
            rows, labels = check_rows_and_labels(self, X, y, reset=reset)
            if classes is not None:
                known = classes_of(read_labels(classes, "classes"))
                require_two_classes(known, "classes")
            if not hasattr(self, "classes_"):
                if classes is None:
                    raise InputError("the first call of partial_fit needs classes=all labels")
                self.classes_ = known
            self.classes_ = known_classes(self.classes_)
            if classes is not None and not np.array_equal(self.classes_, known):
                raise InputError(
                    f"classes={shown(known.tolist())} differ from those of the first call, "
                    f"{shown(self.classes_.tolist())}; leave classes out"
                )
            before = self._state if hasattr(self, "coef_") else None
            weights = check_weights(
                rows,
                labels,
                sample_weight,
                self.class_weight,
                self.classes_,
                may_be_zero=before is not None,
            )
            if weights is not None and not weights.any():
                return
            data = TrainingSet(rows, labels, self.classes_, weights)
            generator = options.generator(0 if before is None else before.seen.epochs)
            learned = learn(options, backend, data, before, generator, is_part=True)
            self._adopt(learned, data.classes)

    # ------------------------------------------------------------------ prediction

    @numpys_defaults
    def decision_function(self, X: RowsLike) -> NDArray[Any]:
        """Return the logits, ``coef_ x + intercept_``.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.

        Returns
        -------
        (n, k), or (n,) with two classes
            With two classes, the logit of ``classes_[1]``. They have the weights' type, or float64
            if float32 cannot hold them.

        Raises
        ------
        InputError
            The rows cannot be used, or the logits of a row overflow; also a ValueError.
        """
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)  # raises scikit-learn's own error
        with input_errors():
            rows = check_rows(self, X, finite=False)
        # A model whose weights were assigned has no scale.
        scale = self._state.scale or InputScale.none(rows.shape[1])
        model = self.coef_, self.intercept_, scale
        if rows.shape[0] <= PANEL:  # what one thread does
            backend, n_threads = find_backend(self.backend), 1
        else:
            backend = get_backend(self.backend)
            n_threads = Options(self).threads(backend)
        with input_errors():
            # A logit of nan or infinity has the rows checked for them.
            found = logits(backend, rows, *model, n_threads, lambda: check_rows(self, X))
        return found[:, 0] if len(self.classes_) == 2 else found

    def predict(self, X: RowsLike) -> NDArray[Any]:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.

        Returns
        -------
        (n,) of the type of ``classes_``
        """
        if isinstance(X, StoredRows) and len(X) > ROWS_PREDICTED:
            return np.concatenate([self.predict(view) for view in views(X, ROWS_PREDICTED)])
        logits = self.decision_function(X)
        return np.asarray(self.classes_[most_probable(logits.reshape(len(logits), -1))])

    @numpys_defaults
    def predict_proba(self, X: RowsLike) -> NDArray[Any]:
        """Return the probability of each class.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.

        Returns
        -------
        (n, k)
            In the order of ``classes_``; each row sums to 1.
        """
        from scipy.special import expit

        logits = self.decision_function(X)
        with np.errstate(over="ignore", under="ignore"):
            if logits.ndim == 1:
                out = np.column_stack([expit(-logits), expit(logits)])
            else:
                out = softmax(logits)
        return np.asarray(out.astype(self.coef_.dtype, copy=False))

    @numpys_defaults
    def predict_log_proba(self, X: RowsLike) -> NDArray[Any]:
        """Return the natural logarithm of :meth:`predict_proba`, finite even if that is 0.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.

        Returns
        -------
        (n, k)
            In nats, in the order of ``classes_``.
        """
        from scipy.special import log_softmax

        logits = self.decision_function(X)
        if logits.ndim == 1:
            logits = np.column_stack([np.zeros_like(logits), logits])
        with np.errstate(over="ignore", under="ignore"):
            out = log_softmax(logits, axis=1)
        limit = np.finfo(self.coef_.dtype).max  # two logits may lie further apart
        return np.asarray(np.maximum(out, -limit).astype(self.coef_.dtype, copy=False))

    @numpys_defaults
    def score(self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy, the fraction of rows whose label is predicted.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.
        y : (n,)
            Label of each row; a label that training has not seen always counts as wrong.
        sample_weight : (n,), optional
            Weight of each row in the average.

        Returns
        -------
        float
            In [0, 1].
        """
        predicted = self.predict(X)
        with input_errors():
            labels, weights = labels_and_weights(y, len(predicted), sample_weight)
        index, known = locate(labels, self.classes_)
        right = known & (self.classes_[index] == predicted)
        return float(np.average(right, weights=weights))

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that rows may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return what a notebook shows: scikit-learn's diagram of the options, and the results."""
        shown: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in shown:
            shown["text/html"] += self._results_html()
        return shown

    def _repr_html_inner(self) -> str:
        """Return the same for programs that ask for HTML alone."""
        return str(super()._repr_html_inner()) + self._results_html()

    def _results_html(self) -> str:
        history = getattr(self, "history_", None)
        return "" if history is None else str(history._repr_html_())

    # ------------------------------------------------------------------ files

    def save(self, path: str | Path) -> None:
        """Write the trained model to one safetensors file, which holds no code.

        Parameters
        ----------
        path : str or Path
            Name of the file, used as it is; an existing file is replaced.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        from fastlin.results.model_file import save_model

        check_is_fitted(self)
        check_parameters(self)
        save_model(path, **vars(self._to_saved()))

    def _to_saved(self) -> SavedModel:
        """Return what a model file holds."""
        from fastlin import __version__
        from fastlin.results.model_file import SavedModel

        params = self.get_params() | {"callbacks": None}
        if not isinstance(params["random_state"], Integral):
            params["random_state"] = None
        arrays, numbers = self._state.to_plain()
        arrays["classes_"] = self.classes_
        if hasattr(self, "feature_names_in_"):
            arrays["feature_names_in_"] = self.feature_names_in_
        metadata = {
            "fastlin": __version__,
            "n_iter_": self.n_iter_,
            "backend_": self.backend_,
            "learning_rate_": self.learning_rate_,
            "history": dict(vars(self.history_.stored())),
            "data_layout": self._data_layout,
        }
        return SavedModel(params, arrays, metadata | numbers)

    @classmethod
    def load(cls, path: str | Path) -> LogisticRegression:
        """Read a model that :meth:`save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        LogisticRegression
            A model that predicts and continues to train as the saved one would.

        Raises
        ------
        ModelFileError
            The file is missing, damaged, or not a model.
        """
        from fastlin.results.history import History
        from fastlin.results.model_file import load_model, reading

        saved = load_model(path)
        arrays, metadata = saved.arrays, saved.metadata
        with reading(path):
            before = metadata.get("trained_with") or {}
            known = {name: before[name] for name in cls._get_param_names() if name in before}
            for params in (saved.params | known, saved.params):
                model = cls(**params)
                check_parameters(model)
            if model.callbacks is not None or metadata["backend_"] not in BACKEND_NAMES:
                raise ValueError("it has callbacks, or an unknown backend")
            model.history_ = History.from_dict(metadata["history"])
            model.learning_rate_ = float(metadata["learning_rate_"])
            model._state = State.from_plain(arrays, metadata, model.learning_rate_)
        model.classes_ = arrays["classes_"]
        if "feature_names_in_" in arrays:
            names = arrays["feature_names_in_"]
            # scikit-learn's are objects, which can take twenty times the memory of short names.
            model.feature_names_in_ = names.astype(object) if len(names) < 2**16 else names
        model.n_features_in_ = model.coef_.shape[1]
        model.n_iter_, model.backend_ = metadata["n_iter_"], metadata["backend_"]
        layout = metadata.get("data_layout")
        model._data_layout = layout if isinstance(layout, dict) else None
        return model

    def to_onnx(self, path: str | Path, *, input_type: str = "float32") -> None:
        """Write the model as an ONNX graph, which other programs run without fastlin.

        The graph takes rows ``X (n, d)``, as they are given to :meth:`predict`, and returns
        ``label (n,)`` and ``probabilities (n, k)``, in the order of ``classes_`` and in the
        weights' type. Needs the package ``onnx``: ``pip install 'fastlin[onnx]'``.

        Parameters
        ----------
        path : str or Path
            Name of the file, used as it is; an existing file is replaced.
        input_type : {"float32", "float64", "float16", "uint8"}
            Type of the rows.

        Raises
        ------
        InputError
            An argument or the model cannot be used; also a ValueError.
        OutputError
            The file cannot be written, or ``onnx`` is missing.
        """
        from fastlin.results.onnx_file import write_onnx

        arrays, scale = self._exported(), self._state.scale
        coef, intercept, shift = arrays["coef_"], arrays["intercept_"], None
        if scale is not None and scale.cancels(coef):
            shift, intercept = scale.shift, scale.shifted_intercept(coef, intercept)
        write_onnx(path, coef, intercept, arrays["classes_"], shift, input_type)

    def to_sklearn(self) -> Any:
        """Return the model as a fitted ``sklearn.linear_model.LogisticRegression``.

        It predicts the same. If it is fitted again, it does so with its own default parameters.

        Returns
        -------
        sklearn.linear_model.LogisticRegression

        Raises
        ------
        InputError
            Assigned weights are not a model; also a ValueError.
        """
        from sklearn.linear_model import LogisticRegression as Sklearns

        arrays, scale = self._exported(), self._state.scale
        model = Sklearns()
        if scale is not None and scale.cancels(arrays["coef_"]):
            # The sum with the intercept needs more digits than float32 has.
            arrays["coef_"] = arrays["coef_"].astype(np.float64)
        for name, array in arrays.items():
            setattr(model, name, array.copy())
        model.n_features_in_ = arrays["coef_"].shape[1]
        model.n_iter_ = np.array([getattr(self, "n_iter_", 0)], np.int32)
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = np.array(self.feature_names_in_, object)
        return model

    def _exported(self) -> dict[str, NDArray[Any]]:
        """Return the weights, intercept and labels as arrays, or raise if they are no model."""
        from fastlin.results.model_checks import defect_of_arrays

        check_is_fitted(self)
        arrays = {
            name: np.asarray(getattr(self, name)) for name in ("coef_", "intercept_", "classes_")
        }
        if arrays["classes_"].dtype.kind in "OT":
            arrays["classes_"] = arrays["classes_"].astype(np.str_)
        defect = defect_of_arrays(arrays)
        if defect:
            raise InputError(f"cannot export the model: {defect}")
        return arrays
