"""What is minimised, the mean cross-entropy of rows plus a penalty, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Backend, Samples
from fastlin.results.snapshot import Recorder
from fastlin.rows.scaling import InputScale
from fastlin.solvers.diagnosis import how_to_scale
from fastlin.solvers.evaluation import mean_score
from fastlin.solvers.progress import Callback


@dataclass(frozen=True)
class Problem:
    """Everything that stays fixed while a solver runs, for both solvers.

    Attributes
    ----------
    backend : Backend
        The kernels.
    samples : Samples
        Training rows, labels and weights.
    scale : InputScale
        Scaling of the inputs, folded into the weights.
    dtype : numpy.dtype
        Type of the weights, float32 or float64.
    n_models : int
        Rows of the weights, ``k``; 1 for two classes.
    l2 : float
        The penalty is ``l2 * sum(W**2)``, where ``W`` are the weights of the scaled inputs.
    fit_intercept, regularize_intercept : bool
        Whether the intercept is trained, and whether the penalty covers it.
    validation : Samples or None
        Rows on which checks are made.
    validation_is_shifted : bool
        False if the training rows are shifted but the validation rows, being sparse, are not.
    max_epochs : int
        Maximum number of epochs or iterations.
    tol : float or None
        When training has converged; see each solver. 0 and None never stop it.
    patience : int
        Checks, or epochs, in a row that may pass without an improvement.
    early_stopping : bool
        Whether the checks decide when to stop and which weights to return.
    n_threads : int
        Threads of the kernels.
    callbacks : sequence of callable
        Called after every check and every epoch; one that returns True stops the run.
    before_epoch : sequence of callable
        Called at the start of every epoch.
    recorder : Recorder or None
        Where snapshots of the run go, and where one to continue from comes from.
    """

    backend: Backend
    samples: Samples
    scale: InputScale
    dtype: np.dtype[Any]
    n_models: int
    l2: float
    fit_intercept: bool = True
    regularize_intercept: bool = False
    validation: Samples | None = None
    validation_is_shifted: bool = True
    max_epochs: int = 100
    tol: float | None = None
    patience: int = 10
    early_stopping: bool = False
    n_threads: int = 1
    callbacks: Sequence[Callback] = ()
    before_epoch: Sequence[Callable[[], None]] = ()
    recorder: Recorder | None = None

    def with_l2(self, l2: float) -> Problem:
        """Return the same problem with another penalty."""
        return replace(self, l2=l2)

    @property
    def decay(self) -> float:
        """Coefficient of the penalty's gradient by the weights."""
        return 2 * self.l2

    @property
    def intercept_decay(self) -> float:
        """Coefficient of the penalty's gradient by the intercept."""
        return self.decay if self.regularize_intercept else 0.0

    @cached_property
    def gain(self) -> NDArray[Any]:
        """Squares of the scales ``(d,)``, in the type of the weights."""
        return self.scale.gain(self.dtype)

    @property
    def how_to_scale(self) -> str:
        """How a message advises to scale these rows."""
        return how_to_scale(self.samples.rows, self.dtype, bool((self.scale.scale != 1).any()))

    def score(self, weights: NDArray[Any], intercept: NDArray[Any]) -> tuple[float, float]:
        """Return mean loss and accuracy on the training rows."""
        return mean_score(self.backend, self.samples, weights, intercept, self.n_threads)

    def score_validation(
        self, weights: NDArray[Any], intercept: NDArray[Any]
    ) -> tuple[float, float]:
        """Return mean loss and accuracy on the validation rows, which must exist."""
        assert self.validation is not None
        if not self.validation_is_shifted:
            intercept = self.scale.raw_intercept(weights, intercept)
        return mean_score(self.backend, self.validation, weights, intercept, self.n_threads)
