"""Regularisation paths: the optimum for many penalties, each fit starting from the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.advice import NotConvergedWarning, warn
from fastlin.errors import InputError, shown
from fastlin.estimator import LogisticRegression
from fastlin.kernels import Parameters
from fastlin.solvers.curvature import Curvature
from fastlin.solvers.lbfgs import Solution, solve
from fastlin.solvers.objective import Objective
from fastlin.solvers.sgd import score_validation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastlin.results.history import History
    from fastlin.rows.scaling import InputScale
    from fastlin.solvers.sgd import Descent

DEFAULT_L2 = tuple(10.0 ** (-half / 2) for half in range(13))
"""1 to 1e-6, two a decade."""


@dataclass(frozen=True)
class RegularizationPath:
    """What :func:`path` returns: ``p`` fits, from the strongest penalty to the weakest.

    Attributes
    ----------
    l2 : (p,) float64
        Weight of each fit's penalty, falling.
    coef : (p, k, d) or (p, 1, d) with two classes
        Weights that act on the rows as they are given, unscaled.
    intercept : (p, k) or (p, 1)
    objective : (p,) float64
        Mean cross-entropy plus penalty that each fit reached.
    gap : (p,) float64
        The optimum's objective is not lower by more than this; see
        :class:`~fastlin.results.history.History`.
    n_iter : (p,) int64
        Iterations that each fit took, starting from the one before.
    stop_reason : tuple of str
        Why each fit ended.
    val_loss, val_accuracy : (p,) float64, or None without a validation set
        Mean cross-entropy in nats, and the fraction of rows predicted right.
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


def path(
    X: ArrayLike,
    y: ArrayLike,
    l2: Sequence[float] | NDArray[Any] = DEFAULT_L2,
    *,
    sample_weight: ArrayLike | None = None,
    X_val: ArrayLike | None = None,
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
        Weights of the penalty, >= 0, in any order; by default 13 from 1 to 1e-6.
    sample_weight : (n,), optional
        Factor of each row's loss, >= 0.
    X_val, y_val : (m, d) and (m,), optional
        Without them there is no ``best``.
    **parameters
        Of :class:`LogisticRegression`, but for ``solver``, ``warm_start`` and ``early_stopping``.

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
    model = _PathModel(**parameters, solver="lbfgs", l2=float(penalties[0]))
    model.penalties = penalties
    model.fit(X, y, sample_weight, X_val, y_val)
    fits, scores = model.fits, [fit.score for fit in model.fits if fit.score is not None]
    return RegularizationPath(
        l2=penalties,
        coef=np.stack([fit.coef for fit in fits]),
        intercept=np.stack([fit.intercept for fit in fits]),
        objective=np.array([fit.solution.objective for fit in fits]),
        gap=np.array([fit.solution.gap for fit in fits]),
        n_iter=np.array([fit.solution.history.stopped_epoch + 1 for fit in fits], np.int64),
        stop_reason=tuple(fit.solution.history.stop_reason for fit in fits),
        val_loss=np.array([loss for loss, _ in scores]) if scores else None,
        val_accuracy=np.array([accuracy for _, accuracy in scores]) if scores else None,
        best=model.best() if scores else None,
    )


@dataclass(frozen=True)
class _Fit:
    """One penalty's weights, as the kernels and as users hold them, and their score."""

    l2: float
    solution: Solution
    parameters: Parameters
    coef: NDArray[Any]
    intercept: NDArray[Any]
    score: tuple[float, float] | None


class _PathModel(LogisticRegression):
    """An estimator whose ``fit`` makes all fits of a path, and holds the best of them after it."""

    penalties: NDArray[np.float64]

    def _solve(
        self,
        descent: Descent,
        parameters: Parameters,
        scale: InputScale,
        generator: np.random.Generator,
    ) -> History:
        # Scores are made once a fit, below, not after every iteration.
        objective = Objective(replace(descent, validation=None), scale, len(parameters.weights))
        curvature = Curvature(objective)
        self.fits: list[_Fit] = []
        for l2 in self.penalties:
            objective.decay[:-1] = 2 * l2
            objective.decay[-1] = 2 * l2 if self.regularize_intercept else 0.0
            solution = solve(objective, curvature, parameters)
            weights = parameters.weights.copy()
            fit = _Fit(
                l2=float(l2),
                solution=solution,
                parameters=Parameters(weights, parameters.intercept.copy()),
                coef=weights,
                intercept=scale.learned_intercept(weights, parameters.intercept),
                score=_score(descent, parameters),
            )
            self.fits.append(fit)
        short = [fit for fit in self.fits if fit.solution.shortfall]
        if short:
            listed = ", ".join(f"{fit.l2:g}" for fit in short)
            warn(
                f"fits with l2={listed} fell short: {short[0].solution.shortfall}",
                NotConvergedWarning,
            )
        chosen = self._chosen()
        parameters.weights[...] = chosen.parameters.weights
        parameters.intercept[...] = chosen.parameters.intercept
        return chosen.solution.history

    def _chosen(self) -> _Fit:
        """Return the fit with the least validation loss; without scores the last."""
        scored = [fit for fit in self.fits if fit.score is not None]
        return min(scored, key=lambda fit: fit.score or (), default=self.fits[-1])

    def best(self) -> LogisticRegression:
        """Return the chosen fit as a plain estimator."""
        options = self.get_params() | {"l2": self._chosen().l2}
        estimator = LogisticRegression(**options)
        for name in set(vars(self)) - set(options) - {"penalties", "fits"}:
            setattr(estimator, name, getattr(self, name))
        return estimator


def _score(descent: Descent, parameters: Parameters) -> tuple[float, float] | None:
    """Return mean loss and accuracy on the validation rows, if there are any."""
    if descent.validation is None:
        return None
    return score_validation(descent, (parameters.weights, parameters.intercept))


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
