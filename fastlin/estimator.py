"""``LogisticRegression``: the scikit-learn estimator over the training loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastlin.callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from fastlin.errors import InputError, shown
from fastlin.kernels import BACKEND_NAMES, Backend, Samples, get_backend
from fastlin.replacement import learner_of
from fastlin.rows.labels import locate, read_labels
from fastlin.rows.row_weights import counted_rows
from fastlin.rows.samples import encode_labels, make_samples, weight_type
from fastlin.rows.scaling import InputScale
from fastlin.rows.validation import (
    check_parameters,
    check_rows,
    check_rows_and_labels,
    check_validation_set,
    check_weights,
    class_weights_of,
    input_errors,
    labels_and_weights,
    numpys_defaults,
    require_callables,
    require_penalty,
    require_representable,
    require_same_model,
    require_two_classes,
    split_validation_set,
)
from fastlin.solvers.batches import Batches
from fastlin.solvers.continuing import (
    RATE_DEPENDS_ON,
    known_classes,
    present_model,
    remembered,
    resume,
    unchanged,
)
from fastlin.solvers.diagnosis import look_at_descent, look_at_features, tell_of_separation
from fastlin.solvers.evaluation import mean_score
from fastlin.solvers.lbfgs import minimize
from fastlin.solvers.prediction import logits
from fastlin.solvers.schedules import SCHEDULES, StepSize, safe_step_size
from fastlin.solvers.sgd import (
    Descent,
    Position,
    Progress,
    new_parameters,
    train,
)
from fastlin.solvers.stream import BATCHES_OF_A_WHOLE, Seen

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Tags

    from fastlin.kernels import Parameters
    from fastlin.kernels.arguments import Rows
    from fastlin.results.history import History


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
        Mini-batch gradient descent, or L-BFGS on all rows to the optimum; a
        ``ConvergenceWarning`` says where it did not get there.
    backend : {"auto", "numba", "c", "numpy"}
        Which kernels run; ``"auto"`` takes the first available in that order.
    l2 : float
        Weight of the penalty, >= 0.
    learning_rate : float or "auto"
        Size of a step of ``batch_size`` rows; one of fewer rows is as much smaller. ``"auto"``
        measures a safe one, see :func:`fastlin.solvers.schedules.safe_step_size`, lets it fall to 0
        in the last epochs where the loss is at rest, so that noisy labels leave no noisy model, and
        with a free intercept subtracts the features' means where these are not mostly 0, which
        changes the pace but not the minimum.
    schedule : {"constant", "invscaling", "cosine"}
        How the step size changes, see :func:`fastlin.solvers.schedules.rates`.
    momentum : float
        Factor of the velocity in [0, 1).
    nesterov : bool
        Use Nesterov's momentum.
    average : bool
        Return the running average of the iterates, later ones weighing more.
    batch_size : int
        Rows of a mini-batch.
    drop_last : bool
        Leave out the last batch of an epoch where it is not full.
    max_epochs : int
        Most passes over the data; with ``"lbfgs"`` most iterations.
    shuffle : bool
        Draw a new order of the rows for every epoch.
    tol : float or None
        Stop when the training loss of an epoch improved by less than this ``patience`` epochs in a
        row; with ``"lbfgs"`` when the objective is above its optimum by an estimated ``tol`` of it
        or less, see :func:`fastlin.solvers.lbfgs.minimize`. 0 or None never stops.
    early_stopping : bool
        Stop when ``patience`` checks in a row did not improve the best validation loss, and return
        the weights of the best check. Needs ``X_val``, or splits ``validation_fraction`` off.
    patience : int
        See ``tol`` and ``early_stopping``.
    checks_per_epoch : int
        Evaluations on the validation and training rows in each epoch, made right after every step
        that is a multiple of ``steps_per_epoch // checks_per_epoch``; with ``"lbfgs"`` after every
        iteration.
    validation_fraction : float
        Share of the training rows split off by ``early_stopping`` where ``fit`` gets no ``X_val``.
    fit_intercept : bool
        Train an intercept.
    regularize_intercept : bool
        Let the penalty cover the intercept too.
    input_scale : None, "minmax", "standard" or (shift, scale)
        Scaling of the inputs, folded into the weights; see
        :meth:`fastlin.rows.scaling.InputScale.from_option`.
    class_weight : None, "balanced" or dict
        Factor of the loss of each class.
    warm_start : bool
        Start ``fit`` from the present weights, also if they were assigned.
    random_state : None, int or numpy.random.RandomState
        Seed of the order of rows and of the split.
    n_threads : int or None
        Threads of the kernels; None is every core this process may use.
    dtype : {"auto", "float32", "float64"}
        Type of the weights; ``"auto"`` is float64 for float64 rows, else float32.
    verbose : int
        1 prints a line an epoch.
    callbacks : list of callable or None
        Each is called with a :class:`fastlin.train.Progress` after every check and at the end of
        every epoch; returning True stops the training, as does NumPy's. Whatever else is returned,
        a number such as 1 among it, does not. An exception ends the fit and leaves the model as it
        was before.

    Attributes
    ----------
    classes_ : (k,)
        Labels in sorted order.
    coef_ : (k, d) or (1, d) with two classes
        Weights that act on the rows as they are given, unscaled.
    intercept_ : (k,) or (1,) with two classes
        What is added to the weighted rows. Of the weights' type; float64 if features so far from
        zero were scaled that float32 would round away what is left of it in the sum.
    n_iter_ : int
        Epochs (``"sgd"``) or iterations (``"lbfgs"``) made.
    history_ : fastlin.results.history.History
        Losses, accuracies, times and why training ended.
    backend_ : str
        Name of the backend that trained.
    learning_rate_ : float
        Step size used. With ``learning_rate="auto"`` that of the intercept is another, see
        :func:`fastlin.solvers.schedules.safe_step_size`, and it is nan with ``"lbfgs"``.
    n_features_in_ : int
        Features of the rows, ``d``.
    feature_names_in_ : (d,) of str
        Only where the rows had names, as data frames do.

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
    coef_: NDArray[Any]
    intercept_: NDArray[Any]
    _input_scale: InputScale
    _step_size: StepSize | None = None
    """The one that was measured, if any."""
    _position: Position | None = None
    """Where gradient descent stopped; None after L-BFGS."""
    _trained_with: Mapping[str, Any] = MappingProxyType({})
    """Options of the last call, see :mod:`fastlin.solvers.continuing`."""
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

    # ------------------------------------------------------------------ training

    @with_callbacks  # type: ignore[untyped-decorator]  # as above
    @numpys_defaults
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> LogisticRegression:
        """Train on rows and their labels.

        A call that raises, Ctrl-C included, leaves the model as it was before, or none.

        Parameters
        ----------
        X : (n, d)
            Rows. C-ordered uint8, float32 and float64 rows are read where they lie, and so are
            SciPy's CSR matrices and arrays of float32 or float64 whose columns ascend; other
            sparse formats are converted.
        y : (n,)
            Label of each row: numbers or strings, two different ones at least.
        sample_weight : (n,), optional
            Factor of each row's loss, >= 0; a row of weight 2 counts as two rows, one of 0 as none.
        X_val, y_val : (m, d) and (m,), optional
            Validation set, on which every check is made. It may be of another kind than ``X`` and
            ``y``, such as sparse beside dense rows; data frames must have the same columns.

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
            learner._fit(self, X, y, sample_weight, X_val, y_val)
        return self

    def _fit(
        self,
        owner: LogisticRegression,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        X_val: ArrayLike | None,
        y_val: ArrayLike | None,
    ) -> None:
        """Do what :meth:`fit` of ``owner`` says; this is a copy of it."""
        with input_errors():
            check_parameters(self)
            require_callables(self.callbacks or ())
            backend = get_backend(self.backend)
            rows, labels = check_rows_and_labels(self, X, y, reset=True)
            weights = check_weights(rows, labels, sample_weight, self.class_weight)
            classes = np.unique(labels)
            require_two_classes(classes)
            validation = check_validation_set(self, X_val, y_val)
            val_weights = None
            if validation is not None:
                val_weights = class_weights_of(
                    validation[1], self.class_weight, labels, weights, sample_weight
                )
            generator = self._generator()
            seen = {"X": X, "y": y, "sample_weight": sample_weight}
            if validation is None and self._options.early_stopping:
                part, val_part = split_validation_set(
                    labels, self._options.validation_fraction, generator, weights
                )
                validation = rows.part(val_part), labels[val_part]
                rows, labels = rows.part(part), labels[part]
                if weights is not None:
                    weights, val_weights = weights[part], weights[val_part]
                if self._has_callbacks:
                    seen = {
                        name: None if values is None else _safe_indexing(values, part)
                        for name, values in seen.items()
                    }
            goes_on = self._options.warm_start and hasattr(self, "coef_")
            seen_rows = Seen()
            if goes_on:
                old_classes, shape = getattr(self, "classes_", classes), np.shape(self.coef_)
                d = rows.shape[1]
                require_same_model(classes, d, old_classes, shape[1] if len(shape) == 2 else d)
                if self._position is not None and isinstance(self.random_state, Integral):
                    seen_rows = Seen(epochs=self._position.seen.epochs)
                    generator = self._generator(seen_rows.epochs)  # orders that are new ones
            if self.solver == "sgd" and not goes_on and self.input_scale is None:
                look_at_features(rows, weights)
            self.classes_ = classes
            self._position = None
            bound = None if validation is None else (*validation, val_weights)
            told = owner, seen
            self._train(backend, rows, labels, weights, bound, generator, goes_on, seen_rows, told)
        if not self._options.early_stopping:
            if self._options.l2 == 0 and self._separates(backend, rows, labels, weights):
                tell_of_separation(len(labels))
            elif self.solver == "sgd":
                scales = rows.can_be_shifted and self.input_scale is None
                look_at_descent(
                    self.history_,
                    self._options.tol,
                    self._options.patience,
                    self._options.momentum,
                    scales,
                )

    @available_if(_trains_in_parts)  # type: ignore[untyped-decorator]  # as above
    @numpys_defaults
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> LogisticRegression:
        """Make one epoch over some rows, starting from the present weights.

        The input scale is that of the first call's rows, and so is an automatic learning rate
        unless they are few. Momentum, average and schedule go on where the last call, or ``fit``,
        left them; a block smaller or lighter than those before makes smaller steps. An option that
        has changed since takes effect now; the guide's page on training on says how each does.
        L-BFGS, which uses all rows at once, has no such method.

        A call that raises, Ctrl-C included, leaves the model as it was before.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.
        y : (n,)
            Label of each row.
        classes : (k,), optional
            All labels that will ever come; required by the first call.
        sample_weight : (n,), optional
            Factor of each row's loss, >= 0, next to the weights of earlier calls.

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
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> None:
        """Do what :meth:`partial_fit` says; this is a copy of the estimator that was asked."""
        with input_errors():
            check_parameters(self)
            require_callables(self.callbacks or ())
            backend = get_backend(self.backend)
            if self.class_weight == "balanced":
                raise InputError(
                    "class_weight='balanced' needs all rows at once; give partial_fit "
                    "class_weight={label: weight}, from sklearn.utils.class_weight's "
                    "compute_class_weight('balanced', classes=classes, y=all_labels)"
                )
            reset = not hasattr(self, "n_features_in_")
            rows, labels = check_rows_and_labels(self, X, y, reset=reset)
            if classes is not None:
                known = np.unique(read_labels(classes, "classes"))
                require_two_classes(known, "classes")
            if not hasattr(self, "classes_"):
                if classes is None:
                    raise InputError("the first call of partial_fit needs classes=all labels")
                self.classes_ = known
            self.classes_ = known_classes(self)
            if classes is not None and not np.array_equal(self.classes_, known):
                raise InputError(
                    f"classes={shown(known.tolist())} differ from those of the first call, "
                    f"{shown(self.classes_.tolist())}; leave classes out"
                )
            goes_on = hasattr(self, "coef_")
            weights = check_weights(
                rows, labels, sample_weight, self.class_weight, self.classes_, may_be_zero=goes_on
            )
            if weights is not None and not weights.any():
                return
            seen_rows = self._position.seen if self._position else Seen()
            generator = self._generator(seen_rows.epochs)
            self._train(backend, rows, labels, weights, None, generator, goes_on, seen_rows)

    def _train(
        self,
        backend: Backend,
        rows: Rows,
        labels: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        validation: tuple[Rows, NDArray[Any], NDArray[np.float64] | None] | None,
        generator: np.random.Generator,
        goes_on: bool,
        seen_rows: Seen,
        told: tuple[LogisticRegression, dict[str, Any]] | None = None,
    ) -> None:
        """Learn, from zero or from the present model.

        ``told`` is what callbacks are told of a whole fit, its estimator and data; None for a
        partial one.
        """
        dtype = weight_type(rows, self.dtype)
        if goes_on and self.dtype == "auto" and self._trained_with.get("weights") == "float64":
            dtype = np.dtype(np.float64)  # one block of float32 must not round a model of float64
        require_penalty(self._options.l2, dtype)
        scale = self._scale_for(rows, sample_weight, dtype, goes_on)
        samples = make_samples(
            rows,
            encode_labels(labels, self.classes_),
            scale,
            dtype,
            sample_weight,
            of_counted=self.solver == "sgd",
        )
        n_models = 1 if len(self.classes_) == 2 else len(self.classes_)
        # L-BFGS has neither velocities nor averages.
        extras = (
            (self._options.momentum, self._options.average)
            if self.solver == "sgd"
            else (0.0, False)
        )
        parameters = new_parameters(n_models, rows.shape[1], dtype, *extras)
        position = self._position or Position(parameters, 0, 0)
        same_scale = goes_on and scale is getattr(self, "_input_scale", None)
        if goes_on:
            same = same_scale and unchanged(self, "average", "fit_intercept")
            resumed = resume(
                parameters,
                present_model(self, n_models, rows.shape[1]),
                scale,
                self._position if same else None,
                self._options.fit_intercept,
            )
            if not resumed:  # an average begins here, the schedule goes on
                position = Position(parameters, position.epochs_done, 0)

        def model() -> dict[str, Any]:
            weights, intercept = parameters.to_return()
            raw_intercept = scale.learned_intercept(weights, intercept)
            learned = {"coef_": weights.copy(), "intercept_": raw_intercept}
            return {**visible, **learned, "_input_scale": scale}

        names = ("classes_", "n_features_in_", "feature_names_in_")
        visible = {name: getattr(self, name) for name in names if hasattr(self, name)}
        tasks = None
        if told is not None and self._has_callbacks:
            tasks = FitTasks(told[0], self._options.max_epochs, told[1], model)
        validation_samples = self._bind_validation(validation, scale, dtype)
        counted = counted_rows(sample_weight) if self.solver == "sgd" else None
        n_counted = len(rows) if counted is None else len(counted)
        measures = self.solver == "sgd" and self._options.learning_rate == "auto"
        may_keep = measures and same_scale and unchanged(self, *RATE_DEPENDS_ON)
        before, seen_rows = seen_rows, seen_rows.with_block(n_counted, sample_weight)
        full_batch = seen_rows.full_batch(self._options.batch_size)
        step_size, seen_rows = seen_rows.measured(
            self._step_size if may_keep else None,
            full_batch,
            n_counted,
            lambda: self._step_size_for(
                samples,
                scale,
                n_models,
                dtype,
                in_stream=told is None and n_counted < BATCHES_OF_A_WHOLE * full_batch,
            ),
        )
        descent = self._descent(
            backend,
            samples,
            validation_samples,
            scale,
            step_size,
            1 if told is None else self._options.max_epochs,
            position,
            tasks,
            Batches(
                n_counted,
                self._options.batch_size,
                self._options.drop_last and self.solver == "sgd",
                self._options.shuffle,
                self._options.checks_per_epoch,
                full_batch,
                seen_rows.row_weight(before),
                counted,
            ),
        )
        descent = replace(descent, rate_is_measured=measures and told is not None)
        self.history_ = self._solve(descent, parameters, scale, generator)
        learned = model()
        self.coef_, self.intercept_ = learned["coef_"], learned["intercept_"]
        self._position = None
        if self.solver == "sgd":
            self._position = Position(
                parameters,
                position.epochs_done + self.history_.stopped_epoch + 1,
                position.steps_done + self.history_.stopped_step + 1,
                self.intercept_.copy(),
                replace(seen_rows, epochs=seen_rows.epochs + self.history_.stopped_epoch + 1),
            )
        self.n_iter_ = self.history_.stopped_epoch + 1
        self.backend_ = backend.name
        self.learning_rate_ = step_size.learning_rate
        self._step_size = step_size if measures else None
        self._input_scale = scale
        self._trained_with = {**remembered(self), "weights": dtype.name}
        if tasks is not None:
            tasks.end()

    def _scale_for(
        self,
        rows: Rows,
        sample_weight: NDArray[np.float64] | None,
        dtype: np.dtype[Any],
        goes_on: bool,
    ) -> InputScale:
        """Return the scale of the inputs: the present one if it still is as the options say."""
        # Rows in sparse form cannot be shifted, and where the intercept is not free, the features'
        # origin makes another model.
        if goes_on and hasattr(self, "_input_scale") and unchanged(self, "input_scale"):
            may_centre = self._centres and rows.can_be_shifted
            return self._input_scale if may_centre else self._input_scale.uncentred()
        scale = InputScale.from_option(self.input_scale, rows, sample_weight)
        if self._centres and rows.can_be_shifted:
            centred = scale.centred(rows, sample_weight)
            # L-BFGS finds the intercept by itself unless that would cost digits.
            if self.solver == "sgd" or centred.loses_digits(rows, dtype, sample_weight):
                return centred
        return scale

    @property
    def _has_callbacks(self) -> bool:
        """Whether scikit-learn's ``set_callbacks`` gave any."""
        return bool(getattr(self, "_skl_callbacks", None))

    @property
    def _options(self) -> _PlainOptions:
        return _PlainOptions(self)

    def _step_size_for(
        self,
        samples: Samples,
        scale: InputScale,
        n_models: int,
        dtype: np.dtype[Any],
        in_stream: bool,
    ) -> StepSize:
        if self._options.learning_rate != "auto":
            return StepSize(self._options.learning_rate, 1.0)
        if self.solver == "lbfgs":  # which searches along a line
            return StepSize(np.nan, 1.0)
        return safe_step_size(
            samples,
            scale,
            n_models,
            self._options.batch_size,
            self._options.l2,
            self._options.fit_intercept,
            dtype,
            self._options.momentum,
            self._intercept_decay,
            in_stream=in_stream,
        )

    @property
    def _centres(self) -> bool:
        """Whether a solver may choose the features' origin, as well as its own pace."""
        has_own_pace = self.solver == "lbfgs" or self._options.learning_rate == "auto"
        # Which can take up any shift of the features at no cost.
        intercept_is_free = self._options.fit_intercept and not self._options.regularize_intercept
        return bool(has_own_pace and intercept_is_free)

    @property
    def _intercept_decay(self) -> float:
        return 2 * self._options.l2 if self._options.regularize_intercept else 0.0

    def _solve(
        self,
        descent: Descent,
        parameters: Parameters,
        scale: InputScale,
        generator: np.random.Generator,
    ) -> History:
        if self.solver == "lbfgs":
            return minimize(descent, parameters, scale)
        return train(descent, parameters, generator)

    def _descent(
        self,
        backend: Backend,
        samples: Samples,
        validation: Samples | None,
        scale: InputScale,
        step_size: StepSize,
        max_epochs: int,
        position: Position,
        tasks: FitTasks | None,
        batches: Batches,
    ) -> Descent:
        dtype = weight_type(samples.rows, self.dtype)
        callbacks = [*(self.callbacks or ()), *([_print_epoch] if self._options.verbose else ())]
        return Descent(
            backend=backend,
            samples=samples,
            validation=validation,
            batches=batches,
            learning_rate=step_size.learning_rate,
            decay=2 * self._options.l2,
            gain=scale.gain(dtype),
            schedule=self._options.schedule,
            intercept_decay=self._intercept_decay,
            fit_intercept=self._options.fit_intercept,
            intercept_gain=step_size.intercept_gain,
            momentum=self._options.momentum,
            nesterov=self._options.nesterov,
            average=self._options.average,
            max_epochs=max_epochs,
            tol=self._options.tol,
            patience=self._options.patience,
            early_stopping=self._options.early_stopping,
            n_threads=self._threads(backend),
            callbacks=callbacks if tasks is None else [*callbacks, tasks],
            before_epoch=() if tasks is None else (tasks.begin_epoch,),
            epochs_done=position.epochs_done,
            steps_done=position.steps_done,
            horizon=self._options.max_epochs,
            unshifted=scale if scale.has_shift and _cannot_be_shifted(validation) else None,
        )

    # ------------------------------------------------------------------ prediction

    @numpys_defaults
    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return the logits, ``coef_ x + intercept_``.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.

        Returns
        -------
        (n, k), or (n,) with two classes
            With two classes the logit of ``classes_[1]``. Of the weights' type; float64 if that is
            float32 and cannot hold them.

        Raises
        ------
        InputError
            The rows cannot be used, or the logits of one overflow; also a ValueError.
        """
        check_is_fitted(self)
        with input_errors():
            rows = check_rows(self, X)
        backend = get_backend(self.backend)
        logits = self._logits(backend, rows)
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def _logits(self, backend: Backend, rows: Rows) -> NDArray[Any]:
        """Return the logits ``(n, k)`` of checked rows."""
        # A model whose weights were assigned has no scale.
        scale = getattr(self, "_input_scale", None) or InputScale.from_option(None, rows)
        model = self.coef_, self.intercept_, scale
        return logits(backend, rows, *model, self._threads(backend))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.

        Returns
        -------
        (n,) of the type of ``classes_``
        """
        logits = self.decision_function(X)
        index = (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)
        return np.asarray(self.classes_[index])

    @numpys_defaults
    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
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
        return np.asarray(np.exp(self.predict_log_proba(X)))

    @numpys_defaults
    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return the natural logarithm of :meth:`predict_proba`, finite where that is 0.

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
    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy, the share of rows whose label is predicted.

        Parameters
        ----------
        X : (n, d)
            Rows, as in :meth:`fit`.
        y : (n,)
            Label of each row; one that training has not seen is never predicted.
        sample_weight : (n,), optional
            How much each row counts.

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
        """Tell scikit-learn that sparse rows are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ------------------------------------------------------------------ files

    def save(self, path: str | Path) -> None:
        """Write the trained model to one ``.npz`` file that holds no code.

        Parameters
        ----------
        path : str or Path
            Exactly this file; one that is there is replaced.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        from fastlin.results.model_file import save_estimator

        check_is_fitted(self)
        save_estimator(self, path)

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
            It predicts, and trains on, as the saved one would.

        Raises
        ------
        ModelFileError
            The file is missing, damaged, or not a model.
        """
        from fastlin.results.model_file import load_estimator

        return load_estimator(cls, path)

    # ------------------------------------------------------------------ arguments

    def _separates(
        self,
        backend: Backend,
        rows: Rows,
        labels: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
    ) -> bool:
        """Whether the model is right about every row that counts."""
        index = encode_labels(labels, self.classes_)
        if self._input_scale.cancels(self.coef_):
            logits = self._logits(backend, rows)
            predicted = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
            wrong = predicted != index
            return not (wrong if sample_weight is None else wrong & (sample_weight > 0)).any()
        samples = Samples(rows.for_weights(self.coef_.dtype), index, sample_weight)
        model = self.coef_, self.intercept_
        return mean_score(backend, samples, *model, self._threads(backend))[1] == 1

    def _threads(self, backend: Backend) -> int:
        return backend.n_threads if self._options.n_threads is None else self._options.n_threads

    def _generator(self, epochs: int = 0) -> np.random.Generator:
        """Return what draws the orders of rows; after some ``epochs`` of a seed, others."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        return np.random.default_rng([seed, epochs] if epochs else seed)

    def _bind_validation(
        self,
        validation: tuple[Rows, NDArray[Any], NDArray[np.float64] | None] | None,
        scale: InputScale,
        dtype: np.dtype[Any],
    ) -> Samples | None:
        if validation is None:
            return None
        rows, labels, weights = validation
        index = encode_labels(labels, self.classes_, "y_val")
        require_representable(rows, dtype)
        if not rows.can_be_shifted:  # see Descent.unshifted
            return Samples(rows.for_weights(dtype), index, weights)
        return make_samples(rows, index, scale, dtype, weights)


COUNTED = ("batch_size", "max_epochs", "patience", "checks_per_epoch", "n_threads")
MOST_COUNTED = 2**31 - 1
"""More rows, epochs, checks or threads there never are, and the kernels count in 64 bits."""


class _PlainOptions:
    """An estimator's parameters, numbers as Python's own: NumPy's small ones overflow in sums."""

    def __init__(self, estimator: LogisticRegression) -> None:
        self._estimator = estimator

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._estimator, name)
        if name in COUNTED and value is not None:
            return min(int(value), MOST_COUNTED)
        if isinstance(value, bool | np.bool_):
            return bool(value)
        try:
            return float(value) if isinstance(value, Real) else value
        except OverflowError:  # an integer beyond any float
            return math.inf


def _cannot_be_shifted(validation: Samples | None) -> bool:
    return validation is not None and not validation.rows.can_be_shifted


def _print_epoch(progress: Progress) -> None:
    if not progress.end_of_epoch:
        return
    line = f"epoch {progress.epoch + 1}/{progress.max_epochs}  loss {progress.train_loss:.4f}"
    if progress.val_loss is not None:
        line += f"  val_loss {progress.val_loss:.4f}  val_accuracy {progress.val_accuracy:.4f}"
    print(f"{line}  {progress.rows_per_second:,.0f} rows/s")  # noqa: T201 (verbose=1 asks for it)
