"""Regularisation paths: the optimum for many penalties, each fit starting from the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlin.advice import NotConvergedWarning, warn
from fastlin.errors import InputError, shown
from fastlin.estimator import LogisticRegression
from fastlin.fitting import prepare, solved, tell_what_was_seen
from fastlin.kernels import Parameters
from fastlin.parameter_checks import input_errors, numpys_defaults
from fastlin.rows.validation import RowsLike
from fastlin.solvers.curvature import Curvature
from fastlin.solvers.lbfgs import Solution, solve
from fastlin.solvers.objective import Objective
from fastlin.solvers.problem import Problem
from fastlin.training_set import Options, check_options, read

DEFAULT_L2 = tuple(10.0 ** (-half / 2) for half in range(13))
"""1 to 1e-6, two in each decade."""


@dataclass(frozen=True)
class RegularizationPath:
    """What :func:`path` returns: ``p`` fits, from the strongest penalty to the weakest.

    Attributes
    ----------
    l2 : (p,) float64
        Strength of each fit's penalty, in falling order.
    coef : (p, k, d), or (p, 1, d) with two classes
        Weights for the rows as they are given, unscaled.
    intercept : (p, k), or (p, 1) with two classes
    objective : (p,) float64
        Mean cross-entropy plus penalty that each fit reached.
    gap : (p,) float64
        Upper bound on the distance of ``objective`` from its optimum; see
        :class:`~fastlin.results.history.History`.
    n_iter : (p,) int64
        Iterations of each fit, which starts from the previous one.
    stop_reason : tuple of str
        Why each fit ended.
    val_loss, val_accuracy : (p,) float64, or None without a validation set
        Mean cross-entropy in nats, and the fraction of rows predicted correctly.
    best : LogisticRegression or None
        The fit with the least ``val_loss``, as an estimator; None without a validation set.
    """

    l2: NDArray[np.float64]
    coef: NDArray[Any]
    intercept: NDArray[Any]
    objective: NDArray[np.float64]
    gap: NDArray[np.float64]
    n_iter: NDArray[np.int64]
    stop_reason: tuple[str, ...]
    val_loss: NDArray[np.float64] | None
    val_accuracy: NDArray[np.float64] | None
    best: LogisticRegression | None


@numpys_defaults
def path(
    X: RowsLike,
    y: ArrayLike,
    l2: Sequence[float] | NDArray[Any] = DEFAULT_L2,
    *,
    sample_weight: ArrayLike | None = None,
    X_val: RowsLike | None = None,
    y_val: ArrayLike | None = None,
    **parameters: Any,
) -> RegularizationPath:
    """Fit ``solver="lbfgs"`` for every penalty, and score each fit on a validation set.

    The rows are checked, and their curvature sampled, once; each fit starts from the one with the
    next stronger penalty (Friedman, Hastie and Tibshirani, "Regularization paths for generalized
    linear models via coordinate descent", 2010, section 2.5).

    Parameters
    ----------
    X : (n, d)
        Rows, as in :meth:`LogisticRegression.fit <fastlin.LogisticRegression.fit>`.
    y : (n,)
        Label of each row.
    l2 : sequence of float
        Strengths of the penalty, >= 0, in any order; by default 13 from 1 to 1e-6.
    sample_weight : (n,), optional
        Factor of each row's loss, >= 0.
    X_val, y_val : (m, d) and (m,), optional
        Validation set; without it ``best`` is None.
    **parameters
        Those of :class:`LogisticRegression` except ``solver``, ``warm_start`` and
        ``early_stopping``.

    Returns
    -------
    RegularizationPath
        One fit for each penalty, and the best of them.

    Raises
    ------
    InputError
        An argument or an array cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> import fastlin
    >>> X, y = load_digits(return_X_y=True)
    >>> found = fastlin.path(
    ...     X[:1200], y[:1200], [1e-1, 1e-2, 1e-3], X_val=X[1200:], y_val=y[1200:],
    ...     input_scale=(0, 1 / 16),
    ... )
    >>> found.coef.shape, bool(found.best.score(X[1200:], y[1200:]) > 0.9)
    ((3, 10, 64), True)
    """
    penalties = _checked(l2)
    for name in ("solver", "warm_start", "early_stopping"):
        if name in parameters:
            raise InputError(
                f"path does not take {name}={parameters[name]!r}: it fits solver='lbfgs' to the "
                "optimum, each fit from the last one; leave it out"
            )
    estimator = LogisticRegression(**parameters, solver="lbfgs", l2=float(penalties[0]))
    with input_errors():
        backend = check_options(estimator)
        data = read(estimator, X, y, sample_weight, X_val, y_val)
        start = prepare(Options(estimator), backend, data)
        fits = _solve_all(start.problem, start.parameters, penalties)
    _warn_of_shortfall(fits)
    scored = [fit for fit in fits if fit.score is not None]
    if scored:
        chosen = min(scored, key=lambda fit: fit.score or ())
        options = Options(estimator.set_params(l2=chosen.problem.l2))
        history = chosen.solution.history
        learned = solved(options, chosen.problem, chosen.parameters, history)
        estimator._adopt(learned, data.classes)
        tell_what_was_seen(options, backend, data, learned)
    return RegularizationPath(
        l2=penalties,
        coef=np.stack([fit.parameters.weights for fit in fits]),
        intercept=np.stack([fit.intercept for fit in fits]),
        objective=np.array([fit.solution.objective for fit in fits]),
        gap=np.array([fit.solution.gap for fit in fits]),
        n_iter=np.array([fit.solution.history.stopped_epoch + 1 for fit in fits], np.int64),
        stop_reason=tuple(fit.solution.history.stop_reason for fit in fits),
        val_loss=np.array([fit.score[0] for fit in scored if fit.score]) if scored else None,
        val_accuracy=np.array([fit.score[1] for fit in scored if fit.score]) if scored else None,
        best=estimator if scored else None,
    )


@dataclass(frozen=True)
class _Fit:
    """The problem of one penalty, its solution, and the score on the validation rows."""

    problem: Problem
    solution: Solution
    parameters: Parameters
    score: tuple[float, float] | None

    @property
    def intercept(self) -> NDArray[Any]:
        """The intercept ``(k,)`` for unscaled rows."""
        weights, intercept = self.parameters.weights, self.parameters.intercept
        return self.problem.scale.learned_intercept(weights, intercept)


def _solve_all(
    problem: Problem, parameters: Parameters, penalties: NDArray[np.float64]
) -> list[_Fit]:
    """Solve a problem for each penalty in turn; ``parameters`` hold the start and are changed."""
    # The validation rows are scored once for each fit, not after every iteration.
    objective = Objective(replace(problem, validation=None))
    curvature = Curvature(objective)
    fits = []
    for l2 in penalties:
        objective = objective.with_l2(float(l2))
        solution = solve(objective, curvature, parameters)
        weights, intercept = parameters.weights.copy(), parameters.intercept.copy()
        score = None
        if problem.validation is not None:
            score = problem.score_validation(weights, intercept)
        solved_problem = problem.with_l2(float(l2))
        fits.append(_Fit(solved_problem, solution, Parameters(weights, intercept), score))
    return fits


def _warn_of_shortfall(fits: list[_Fit]) -> None:
    """Give one warning that names the fits that did not reach ``tol``."""
    short = [fit for fit in fits if fit.solution.shortfall]
    if short:
        listed = ", ".join(f"{fit.problem.l2:g}" for fit in short)
        warn(
            f"fits with l2={listed} fell short: {short[0].solution.shortfall}",
            NotConvergedWarning,
        )


def _checked(l2: Any) -> NDArray[np.float64]:
    """Return the penalties in falling order."""
    try:
        penalties = np.asarray(l2, np.float64)
        valid = penalties.ndim == 1 and len(penalties) > 0
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid or not (np.isfinite(penalties).all() and (penalties >= 0).all()):
        raise InputError(
            f"l2={shown(l2)} is not a list of penalties; pass finite numbers that are not "
            "negative, for example [1e-2, 1e-3, 1e-4]"
        )
    return np.sort(penalties)[::-1].copy()
