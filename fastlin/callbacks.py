"""scikit-learn's callbacks, from version 1.9 on: a fit is a task, and each epoch a subtask."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an older scikit-learn

    class CallbackSupportMixin:  # type: ignore[no-redef]  # the import above failed
        """An empty class: without scikit-learn's callbacks there is no ``set_callbacks``."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


from collections.abc import Callable

from fastlin.results.notebook import bar, in_notebook
from fastlin.solvers.progress import Progress

__all__ = ["CallbackSupportMixin", "FitTasks", "print_epoch", "progress_shower", "with_callbacks"]


class FitTasks:
    """Tells an estimator's callbacks what happens, and passes on a callback's request to stop.

    Parameters
    ----------
    estimator : LogisticRegression
    n_epochs : int
        Maximum number of epochs.
    data : dict
        ``X``, ``y`` and ``sample_weight`` of the training, as callbacks see them.
    attributes : callable
        Returns, by name, the learned attributes that a model stopped now would have.
    """

    def __init__(
        self,
        estimator: Any,
        n_epochs: int,
        data: dict[str, Any],
        attributes: Callable[[], dict[str, Any]],
    ) -> None:
        self._said = {"estimator": estimator, "X": data["X"], "y": data["y"], "metadata": None}
        if data["sample_weight"] is not None:
            self._said["metadata"] = {"sample_weight": data["sample_weight"]}
        # A copy, because training goes on in the model's own arrays.
        self._attributes = lambda: deepcopy(attributes())
        self._name = "epoch" if estimator.solver == "sgd" else "iteration"
        self._epoch: Any = None
        self._fit = estimator._init_callback_context(max_subtasks=n_epochs)
        self._fit.call_on_fit_task_begin(**self._said)

    def begin_epoch(self) -> None:
        """Announce an epoch, or an iteration of L-BFGS."""
        self._epoch = self._fit.subcontext(task_name=self._name)
        self._epoch.call_on_fit_task_begin(**self._said, reconstruction_attributes=self._attributes)

    def __call__(self, progress: Progress) -> bool:
        """Announce the end of an epoch; return whether a callback asks to stop."""
        return progress.end_of_epoch and self._end_epoch()

    def end(self) -> None:
        """Announce the end of the fit, and of an unfinished epoch."""
        if self._epoch is not None:
            self._end_epoch()
        self._fit.call_on_fit_task_end(**self._said, reconstruction_attributes=self._attributes)

    def _end_epoch(self) -> bool:
        epoch, self._epoch = self._epoch, None
        return bool(
            epoch.call_on_fit_task_end(**self._said, reconstruction_attributes=self._attributes)
        )


def progress_shower() -> Callable[[Progress], None]:
    """Return a callback for ``verbose=1``: a bar in a notebook, elsewhere a line for each epoch."""
    return _NotebookBar() if in_notebook() else print_epoch


class _NotebookBar:
    """Shows a bar, from the first time that it is told of progress."""

    between_checks = True

    def __init__(self) -> None:
        self._show: Callable[[float, str], None] | None = None

    def __call__(self, progress: Progress) -> None:
        if self._show is None:
            self._show = bar("training")
        share = (progress.epoch + progress.share_of_epoch) / progress.max_epochs
        self._show(share, describe(progress))


def print_epoch(progress: Progress) -> None:
    """Print a line at the end of an epoch, for ``verbose=1``."""
    if progress.end_of_epoch:
        print(describe(progress))  # noqa: T201 (asked for)


def describe(progress: Progress) -> str:
    """Return what an epoch came to, in a line."""
    line = f"epoch {progress.epoch + 1}/{progress.max_epochs}  loss {progress.train_loss:.4f}"
    if progress.val_loss is not None:
        line += f"  val_loss {progress.val_loss:.4f}  val_accuracy {progress.val_accuracy:.4f}"
    if progress.objective is not None:
        line += f"  objective {progress.objective:.6g}"
    if progress.gap is not None:
        line += f"  gap {progress.gap:.1e}"
    line += f"  {progress.seconds:.1f} s"
    return f"{line}  {progress.rows_per_second:,.0f} rows/s"
