"""What happened during one training run, step by step and check by check."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.results.loss_log import thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_STORED = 2**15
"""Maximum number of steps, and of checks, in a file or a pickle: half a megabyte in a pickle."""

REASONS = {
    "max_epochs": "after as many as max_epochs allows",
    "early_stopping": "as the validation loss no longer fell",
    "tol": "at the optimum, up to tol",
    "callback": "by a callback",
    "divergence": "as the loss diverged, with earlier weights",
    "precision": "where the weights' type resolves no further decrease",
    "line_search": "where no step lowers the objective",
}
"""Why a run ended, in words, by ``stop_reason``."""

LATER = ("steps_per_loss",)
"""Fields that files of the first versions lack."""


@dataclass
class History:
    """Losses, accuracies and times of one training run.

    A run keeps some 262144 losses, and a file and a pickle hold at most 32768 steps and as many
    checks, see :meth:`stored`; there are fewer and longer entries in longer runs.

    Steps and epochs are numbered from 0. A *step* is one mini-batch and one update; a *check* is an
    evaluation on the validation and training sets. All losses are mean cross-entropies in nats,
    without the L2 penalty.

    Attributes
    ----------
    step : (s,) int64
        Number of each step.
    train_loss : (s,) float64
        Loss of each step's batch before the step's own update. With L-BFGS, a step is an iteration,
        and the loss is that of all rows after it.
    objective, gradient_norm, gap : (s,) float64, or empty
        With L-BFGS, after each iteration: the loss plus the penalty, the Euclidean norm of its
        gradient by the weights of the scaled inputs and the intercept, and a certificate: the
        objective is above its optimum by at most ``gap``. ``fastlin.solvers.certificate`` computes
        this bound in float64 on all rows for the weights that are returned, float32 weights
        included; it is the objective itself if nothing better is known.
    check_step : (c,) int64
        Step whose update each check follows.
    val_loss, val_accuracy, train_accuracy : (c,) float64
        Results of each check; accuracies are fractions in [0, 1].
    steps_per_epoch : int
        Steps in a full epoch; 1 with L-BFGS.
    steps_per_loss : int
        1, or more if the run was so long that each entry of ``train_loss`` is the mean over this
        many steps (fewer at the end of an epoch), of which ``step`` is the last.
    stopped_epoch, stopped_step : int
        Epoch and step of the last update; -1 before the first.
    best_step : int
        Step of the check whose weights were returned, or ``stopped_step``
        without early stopping.
    stop_reason : str
        ``"max_epochs"``, ``"early_stopping"``, ``"tol"`` or ``"callback"``. With gradient descent
        also ``"divergence"``, if early stopping returned earlier weights. With L-BFGS also
        ``"precision"``, if the weights' type cannot resolve a further decrease, and
        ``"line_search"``, if no step lowers the objective.
    seconds : dict of str to float
        Wall-clock seconds by phase: ``"steps"``, ``"checks"``, ``"total"``.
    """

    step: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    train_loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    objective: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    gradient_norm: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    gap: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    check_step: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    val_loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    val_accuracy: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    train_accuracy: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    steps_per_epoch: int = 0
    steps_per_loss: int = 1
    stopped_epoch: int = -1
    stopped_step: int = -1
    best_step: int = -1
    stop_reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and numbers, ready for JSON.

        Returns
        -------
        dict of str to list, number, str or dict
            By the attributes' names.
        """
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> History:
        """Undo :meth:`to_dict`.

        Parameters
        ----------
        content : mapping
            A result of :meth:`to_dict`, of this or an earlier version.

        Returns
        -------
        History

        Raises
        ------
        KeyError, TypeError, ValueError
            A field is missing or wrong.
        """
        values = dict(content)
        for name, default in vars(cls()).items():
            value = content.get(name, default) if name in LATER else content[name]
            if isinstance(default, np.ndarray):
                values[name] = np.array(value, default.dtype)
            elif type(value) is not type(default):
                raise TypeError(f"{name} is {value!r}")
        return cls(**values)

    def stored(self, most: int = MOST_STORED) -> History:
        """Return what a file or a pickle keeps: this history, if it is no longer than `most`.

        A longer history is thinned. ``train_loss`` is averaged over runs of ``steps_per_loss``
        steps within an epoch, or over whole epochs. The values of L-BFGS and of the checks are kept
        at regular intervals, the last included, and so is the check of ``best_step``.

        Parameters
        ----------
        most : int
            Steps, and checks, that are kept individually.

        Returns
        -------
        History
            A copy, which shares the arrays that are no longer than `most`.
        """
        short = replace(self, seconds=dict(self.seconds))
        n_steps, n_checks = len(self.step), len(self.check_step)
        if n_steps > most:
            short.step, short.train_loss, short.steps_per_loss = thinned(
                self.step, self.train_loss, self.steps_per_epoch, most, self.steps_per_loss
            )
            last = np.searchsorted(self.step, short.step)
            if len(self.objective):  # a step of L-BFGS uses all rows, and its certificate is exact
                for name in ("train_loss", "objective", "gradient_norm", "gap"):
                    setattr(short, name, getattr(self, name)[last])
        if n_checks > most:
            every = -(-n_checks // most)
            kept = np.arange((n_checks - 1) % every, n_checks, every)
            kept = np.union1d(kept, np.flatnonzero(self.check_step == self.best_step))
            for name in ("check_step", "val_loss", "val_accuracy", "train_accuracy"):
                setattr(short, name, getattr(self, name)[kept])
        return short

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle keeps."""
        return dict(vars(self.stored()))

    def __copy__(self) -> History:
        """Return a full copy, unlike a pickle."""
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> History:
        """Return a full copy, unlike a pickle."""
        return History(**deepcopy(vars(self), memo))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the results, and the learning curve."""
        from fastlin.results.notebook import table_and_figure

        if not len(self.step):
            return "<p>History of a run that has not begun</p>"
        return table_and_figure(self._results(), self.plot(), "Learning curve")

    def _why_stopped(self, by_iterations: bool) -> str:
        if self.stop_reason == "tol" and not by_iterations:
            return "as the training loss no longer fell by tol"
        return REASONS.get(self.stop_reason, self.stop_reason)

    def _results(self) -> list[tuple[str, str]]:
        """Return names and values of what came out of the run."""
        by_iterations = bool(len(self.objective))
        found = [
            ("iterations" if by_iterations else "epochs", f"{self.stopped_epoch + 1}"),
            ("stopped", self._why_stopped(by_iterations)),
            ("training loss", f"{self.train_loss[-1]:.4f}"),
        ]
        if by_iterations:
            found.append(("objective", f"{self.objective[-1]:.6g}"))
            found.append(("above its optimum by at most", f"{self.gap[-1]:.1e}"))
        if len(self.val_loss):
            at_best = int(np.abs(self.check_step - self.best_step).argmin())
            found.append(("validation loss", f"{self.val_loss[at_best]:.4f}"))
            found.append(("validation accuracy", f"{100 * self.val_accuracy[at_best]:.2f} %"))
        if "total" in self.seconds:
            found.append(("seconds", f"{self.seconds['total']:.2f}"))
        return found

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the losses and, if there were checks, the accuracies against steps.

        Parameters
        ----------
        path : str or Path, optional
            Where to save the figure; its suffix (``.png``, ``.svg``, ``.pdf``)
            chooses the format.

        Returns
        -------
        matplotlib.figure.Figure
            A figure without a window and outside of ``pyplot``'s state.

        Raises
        ------
        InputError
            The history is empty, or the suffix is unknown.
        OutputError
            The file cannot be written.
        """
        from fastlin.results.plotting import learning_curve

        return learning_curve(self, path)
