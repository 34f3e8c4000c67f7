"""The style of every figure of fastlin, and the learning curve of one run.

The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which readers with any
form of colour blindness can tell apart. Lines also differ in their dashes, so that a grey print
stays readable.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.results.output_file import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIGHT_BLUE, BLUE, VERMILLION = "#9CC4E0", "#0072B2", "#D55E00"
GREEN, ORANGE, PURPLE = "#009E73", "#E69F00", "#CC79A7"

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib: the same letters on every machine
    "font.size": 13,
    "axes.labelsize": 14,
    "axes.titlesize": 14,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "legend.fontsize": 12,
    "lines.linewidth": 2.0,
    "savefig.dpi": 160,
    "svg.fonttype": "path",
    "svg.hashsalt": "fastlin",  # the same figure gives the same file
}
_FORMATS = (".png", ".svg", ".pdf")


class Curves(Protocol):
    """What a learning curve is drawn of: fields of :class:`fastlin.results.history.History`."""

    step: NDArray[np.int64]
    train_loss: NDArray[np.float64]
    check_step: NDArray[np.int64]
    val_loss: NDArray[np.float64]
    val_accuracy: NDArray[np.float64]
    train_accuracy: NDArray[np.float64]
    steps_per_epoch: int


def figure_style() -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws and saves in fastlin's style."""
    context: AbstractContextManager[None] = import_matplotlib().rc_context(_STYLE)
    return context


def import_matplotlib() -> Any:
    """Import matplotlib, even if MPLBACKEND names a backend that is not installed.

    A process that a notebook or a desktop starts inherits that variable, and matplotlib's import
    would fail. fastlin writes figures to files and needs no such backend; if it is usable, it stays
    set for ``pyplot``.
    """
    inherited = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if inherited is not None:
            os.environ["MPLBACKEND"] = inherited
    if inherited:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = inherited
    return matplotlib


def new_figure(
    n_rows: int = 1,
    n_columns: int = 1,
    size: tuple[float, float] = (6.8, 4.0),
    share_x: bool = False,
) -> tuple[Figure, NDArray[Any]]:
    """Return an empty figure of `size` inches and its axes, an (n_rows, n_columns) array.

    The figure has no window and is outside of ``pyplot``'s state.
    """
    with figure_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(n_rows, n_columns, sharex=share_x, squeeze=False)
    return figure, axes


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write `figure` to `path`; the suffix (``.png``, ``.svg``, ``.pdf``) chooses the format.

    Nothing in the file depends on the time of writing.

    Raises
    ------
    InputError
        The suffix is not one of the three.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"cannot draw into {path.name!r}: expected a name that ends in .png, .svg or .pdf"
        )
    undated: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with replacing(path) as temporary, figure_style():
        figure.savefig(temporary, metadata=undated.get(suffix))


def legend_above(axes: Axes, n_columns: int = 2) -> None:
    """Put the legend above the axes, where it does not cover a curve."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=n_columns,
        borderaxespad=0.2,
        handlelength=2.2,
        columnspacing=1.6,
    )


def epoch_means(history: Curves) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean training loss of each epoch, placed in the middle of its steps.

    Returns
    -------
    middle_step, mean_loss : (epochs,) float64
        The last epoch counts even if training stopped inside it.
    """
    if not len(history.train_loss):
        return np.empty(0), np.empty(0)
    epoch = history.step // max(1, history.steps_per_epoch)
    starts = np.flatnonzero(np.diff(epoch, prepend=-1))
    steps = np.diff(history.step, prepend=-1)  # of each loss: 1 unless the history was shortened
    counts = np.add.reduceat(steps, starts)
    sums = np.add.reduceat(history.train_loss * steps, starts)
    first_steps = np.cumsum(counts) - counts
    return first_steps + (counts - 1) / 2.0, sums / counts


def learning_curve(history: Curves, path: str | Path | None = None) -> Figure:
    """Draw the losses and, if there were checks, the accuracies of a run against its steps.

    Parameters
    ----------
    history : fastlin.results.history.History
        What :meth:`LogisticRegression.fit` recorded.
    path : str or Path, optional
        Where to save the figure as well; its suffix (``.png``, ``.svg``,
        ``.pdf``) chooses the format.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        The history is empty, or the suffix is unknown.
    OutputError
        The file cannot be written.
    """
    if not len(history.step):
        raise InputError("the history holds no step, so there is nothing to plot; call fit first")
    accuracies = history.train_accuracy, history.val_accuracy
    has_accuracy = any(np.isfinite(values).any() for values in accuracies)
    with figure_style():
        n_panels = 2 if has_accuracy else 1
        figure, axes = new_figure(n_panels, 1, size=(6.8, 0.8 + 3.2 * n_panels), share_x=True)
        draw_losses(axes[0, 0], history)
        if has_accuracy:
            draw_accuracies(axes[1, 0], history)
        axes[-1, 0].set_xlabel("training step (mini-batches)")
    if path is not None:
        save_figure(figure, path)
    return figure


def draw_losses(axes: Axes, history: Curves) -> None:
    """Draw a run's batch losses, their mean for each epoch, and any validation losses."""
    axes.plot(
        history.step,
        history.train_loss,
        color=LIGHT_BLUE,
        linewidth=0.8,
        label="training batch",
    )
    middle_step, mean_loss = epoch_means(history)
    if len(middle_step) > 1:
        axes.plot(middle_step, mean_loss, color=BLUE, linestyle="--", label="epoch mean")
    _draw_checks(axes, history, history.val_loss, VERMILLION, "-", "validation")
    axes.set_ylabel("cross-entropy (nats)")
    legend_above(axes, n_columns=3)


def draw_accuracies(axes: Axes, history: Curves) -> None:
    """Draw a run's training and validation accuracies, whichever were recorded."""
    _draw_checks(axes, history, history.train_accuracy, BLUE, "--", "training")
    _draw_checks(axes, history, history.val_accuracy, VERMILLION, "-", "validation")
    axes.set_ylabel("accuracy")
    legend_above(axes)


def _draw_checks(
    axes: Axes, history: Curves, values: NDArray[np.float64], color: str, dashes: str, label: str
) -> None:
    """Draw what the checks found, if anything; a single check as a point."""
    if np.isfinite(values).any():
        style = dashes if len(values) > 1 else f"{dashes}o"
        axes.plot(history.check_step, values, style, color=color, label=label)
