"""The figures of the report, drawn from histories and weights alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.plotting import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILLION,
    draw_accuracies,
    draw_losses,
    legend_above,
    new_figure,
    save_figure,
)
from fastlin.report.wording import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fastlin.history import History
    from fastlin.report.results import Results
    from fastlin.report.tasks import Run

# The ranges in which the curves of MNIST can be told apart.
MNIST_RANGES = {
    "2b_loss": (0.0, 0.2),
    "2c_accuracy": (0.93, 0.99),
    "2e_shuffling": (0.93, 0.99),
    "3b_loss": (0.2, 0.6),
    "3c_accuracy": (0.89, 0.93),
}
SHOWN_CLASSES = 10  # as many weight images as fit beside one another
LINES = (
    (VERMILLION, "-"),
    (BLUE, "--"),
    (GREEN, "-."),
    (PURPLE, (0, (5, 1, 1, 1, 1, 1))),
)


@dataclass(frozen=True)
class Drawing:
    """A figure and the words around it.

    Attributes
    ----------
    name : str
        Task and subject; the files are called ``task_<name>.png`` and ``.svg``.
    caption : str
        What is drawn, and how much of it lies outside the drawn range.
    alternative : str
        What a reader who cannot see the figure should know.
    """

    name: str
    figure: Figure
    caption: str
    alternative: str

    @property
    def stem(self) -> str:
        """File name without its suffix."""
        return f"task_{self.name}"


def draw_all(results: Results) -> list[Drawing]:
    """Draw every figure of the report, in its order."""
    import matplotlib

    ranges = MNIST_RANGES if results.problem.name == "mnist" else {}
    with matplotlib.rc_context(STYLE):
        return [
            *_logistic_figures(results, ranges),
            *_softmax_figures(results, ranges),
            *_penalty_figures(results),
        ]


def save_all(drawings: Iterable[Drawing], folder: Path) -> list[str]:
    """Write each figure as PNG and as SVG into `folder`; return the file names."""
    names = [drawing.stem + suffix for drawing in drawings for suffix in (".png", ".svg")]
    for drawing in drawings:
        for suffix in (".png", ".svg"):
            save_figure(drawing.figure, folder / (drawing.stem + suffix))
    return names


def _logistic_figures(results: Results, ranges: dict[str, tuple[float, float]]) -> list[Drawing]:
    run, pair = results.runs.ordered, " and ".join(reversed(results.problem.pair.class_names))
    return [
        _loss_figure("2b_loss", run.history, ranges, f"logistic model on {pair}"),
        _accuracy_figure("2c_accuracy", run, ranges, f"logistic model on {pair}"),
        _shuffling_figure(results, ranges),
    ]


def _softmax_figures(results: Results, ranges: dict[str, tuple[float, float]]) -> list[Drawing]:
    run, k = results.runs.plain, len(results.problem.everything.class_names)
    return [
        _loss_figure("3b_loss", run.history, ranges, f"softmax model on {k} classes"),
        _accuracy_figure("3c_accuracy", run, ranges, f"softmax model on {k} classes"),
        _gap_figure(run),
    ]


def _penalty_figures(results: Results) -> list[Drawing]:
    return [_weight_figure(results), _penalty_figure(results), _norm_figure(results)]


def _finish(
    drawing: Drawing, axes: Axes, limits: tuple[float, float], curves: dict[str, Any]
) -> Drawing:
    """Set the y range and say in the caption how many points of `curves` lie outside it."""
    axes.set_ylim(*limits)
    notes = [
        _outside(name, values, limits)
        for name, values in curves.items()
        if ((values < limits[0]) | (values > limits[1])).any()
    ]
    if not notes:
        return drawing
    return replace(drawing, caption=f"{drawing.caption} Not drawn: {'; '.join(notes)}.")


def _settled_range(*curves: tuple[History, NDArray[np.float64]]) -> tuple[float, float]:
    """Return the range of values checked after the first epoch, in which most of the change lies."""
    settled = [values[history.check_step >= history.steps_per_epoch] for history, values in curves]
    values = np.concatenate([*settled, *(values[-1:] for _, values in curves)])
    margin = 0.06 * float(np.ptp(values)) or 0.01
    return float(values.min()) - margin, float(values.max()) + margin


def _outside(name: str, values: NDArray[np.float64], limits: tuple[float, float]) -> str:
    """Say how many of `values` lie below and above `limits`, and how far out they go."""
    below, above = values < limits[0], values > limits[1]
    parts = []
    if above.any():
        parts.append(f"{int(above.sum())} above {limits[1]:.3g} (up to {values.max():.3g})")
    if below.any():
        parts.append(f"{int(below.sum())} below {limits[0]:.3g} (down to {values.min():.3g})")
    return f"of {len(values)} {name}, {' and '.join(parts)}"


def _step_axis(axes: Axes, last_step: int) -> None:
    axes.set_xlabel("training step (mini-batches)")
    axes.set_xlim(-0.01 * last_step, 1.01 * last_step)


def _loss_figure(
    name: str, history: History, ranges: dict[str, tuple[float, float]], model: str
) -> Drawing:
    figure, grid = new_figure()
    axes = grid[0, 0]
    draw_losses(axes, history)
    _step_axis(axes, history.stopped_step)
    drawing = Drawing(
        name,
        figure,
        f"Training and validation loss of the {model} against training steps.",
        f"Line plot of the losses of the {model}. The validation loss goes from"
        f" {history.val_loss[0]:.3f} to {history.val_loss[-1]:.3f}, its minimum is"
        f" {history.val_loss.min():.3f}.",
    )
    curves = {"batch losses": history.train_loss, "validation losses": history.val_loss}
    limits = ranges.get(name) or (0.0, 1.1 * _settled_range((history, history.val_loss))[1])
    return _finish(drawing, axes, limits, curves)


def _accuracy_figure(
    name: str, run: Run, ranges: dict[str, tuple[float, float]], model: str
) -> Drawing:
    history = run.history
    figure, grid = new_figure()
    axes = grid[0, 0]
    draw_accuracies(axes, history)
    _step_axis(axes, history.stopped_step)
    drawing = Drawing(
        name,
        figure,
        f"Training and validation accuracy of the {model} against training steps.",
        f"Line plot of the accuracies of the {model}. At the returned weights they are"
        f" {run.train_accuracy:.4f} in training and {run.val_accuracy:.4f} in validation.",
    )
    curves = {
        "training accuracies": history.train_accuracy,
        "validation accuracies": history.val_accuracy,
    }
    limits = ranges.get(name) or _settled_range(
        (history, history.train_accuracy), (history, history.val_accuracy)
    )
    return _finish(drawing, axes, limits, curves)


def _shuffling_figure(results: Results, ranges: dict[str, tuple[float, float]]) -> Drawing:
    ordered, shuffled = results.runs.ordered.history, results.runs.shuffled.history
    spikes = results.spikes_ordered
    figure, grid = new_figure()
    axes = grid[0, 0]
    axes.plot(ordered.check_step, ordered.val_accuracy, color=VERMILLION, label="fixed order")
    axes.plot(
        shuffled.check_step,
        shuffled.val_accuracy,
        color=BLUE,
        linestyle="--",
        label="shuffled",
    )
    if len(spikes):
        axes.plot(
            ordered.check_step[spikes.check],
            ordered.val_accuracy[spikes.check],
            color="black",
            marker="v",
            markersize=9,
            linestyle="",
            fillstyle="none",
            markeredgewidth=1.6,
            label="spike of the fixed order",
        )
    axes.set_ylabel("validation accuracy")
    _step_axis(axes, max(ordered.stopped_step, shuffled.stopped_step))
    legend_above(axes, n_columns=3)
    drawing = Drawing(
        "2e_shuffling",
        figure,
        "Validation accuracy of the logistic model with the mini-batches in the same order every"
        " epoch and with the rows shuffled every epoch.",
        f"Two line plots. The one in fixed order has {count(len(spikes), 'spike')}, the shuffled one"
        f" {count(len(results.spikes_shuffled), 'spike')}.",
    )
    curves = {
        "checks in fixed order": ordered.val_accuracy,
        "checks with shuffling": shuffled.val_accuracy,
    }
    limits = ranges.get("2e_shuffling") or _settled_range(
        (ordered, ordered.val_accuracy), (shuffled, shuffled.val_accuracy)
    )
    return _finish(drawing, axes, limits, curves)


def _gap_figure(run: Run) -> Drawing:
    history = run.history
    gap = 100.0 * (history.train_accuracy - history.val_accuracy)
    figure, grid = new_figure()
    axes = grid[0, 0]
    axes.axhline(0.0, color="black", linewidth=1.0)
    axes.plot(history.check_step, gap, color=GREEN, label="training minus validation accuracy")
    axes.set_ylabel("gap (percentage points)")
    _step_axis(axes, history.stopped_step)
    legend_above(axes)
    drawing = Drawing(
        "3d_gap",
        figure,
        "Gap between training and validation accuracy of the softmax model. Above zero the model"
        " does better on the samples it was trained on.",
        f"Line plot of the accuracy gap, which ends at {gap[-1]:+.2f} percentage points.",
    )
    low, high = _settled_range((history, gap))
    return _finish(drawing, axes, (min(low, 0.0), max(high, 0.0)), {"checks": gap})


def _weight_figure(results: Results) -> Drawing:
    problem = results.problem
    runs = (results.runs.plain, results.runs.penalised[0])
    names = problem.everything.class_names[:SHOWN_CLASSES]
    if problem.image_shape is None:
        return _weight_map(runs, names)
    figure, grid = new_figure(2, len(names), size=(1.25 * len(names) + 1.2, 3.7))
    for row, run in zip(grid, runs, strict=True):
        images = run.weights[: len(names), :-1].reshape(-1, *problem.image_shape)
        limit = float(np.abs(images).max()) or 1.0
        for axes, image in zip(row, images, strict=True):
            shown = axes.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            for spine in axes.spines.values():
                spine.set_visible(False)
        row[0].set_ylabel(f"λ = {run.penalty:g}", fontsize=20)
        bar = figure.colorbar(shown, ax=list(row), shrink=0.85, pad=0.01)
        bar.set_label("weight", fontsize=17)
        bar.ax.tick_params(labelsize=16)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name, fontsize=20)
    return Drawing(
        "4b_weights",
        figure,
        "Weights of the softmax model as images, one a class (named above), without a penalty and"
        f" with λ = {runs[1].penalty:g}. Red weights speak for the class, blue ones against it; each"
        " row has its own scale of colours." + _only_some_classes(results),
        f"Two rows of {len(names)} small images, one for each class.",
    )


def _weight_map(runs: Sequence[Run], names: Sequence[str]) -> Drawing:
    """Draw the weights of rows that are no images: classes down, features across."""
    figure, grid = new_figure(2, 1, size=(8.0, 5.6), share_x=True)
    for (axes,), run in zip(grid, runs, strict=True):
        weights = run.weights[: len(names), :-1]
        limit = float(np.abs(weights).max()) or 1.0
        shown = axes.imshow(
            weights, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        axes.set_yticks(range(len(names)), names)
        axes.set_ylabel("class")
        axes.set_title(f"λ = {run.penalty:g}", loc="left")
        axes.grid(False)
        figure.colorbar(shown, ax=axes, label="weight")
    grid[-1, 0].set_xlabel("feature (column of the data)")
    return Drawing(
        "4b_weights",
        figure,
        "Weights of the softmax model, one row a class and one column a feature, without a penalty"
        f" and with λ = {runs[1].penalty:g}. Red weights speak for the class, blue ones against it;"
        " each panel has its own scale of colours.",
        f"Two maps of weights with {len(names)} rows each.",
    )


def _only_some_classes(results: Results) -> str:
    n_classes = len(results.problem.everything.class_names)
    return (
        f" The first {SHOWN_CLASSES} of {n_classes} classes." if n_classes > SHOWN_CLASSES else ""
    )


def _penalty_figure(results: Results) -> Drawing:
    figure, grid = new_figure()
    axes = grid[0, 0]
    curves: dict[str, Any] = {}
    for (color, dashes), run in zip(LINES, reversed(results.runs.penalised), strict=False):
        label = f"λ = {run.penalty:g}"
        axes.plot(
            run.history.check_step,
            run.history.val_accuracy,
            color=color,
            linestyle=dashes,
            label=label,
        )
        curves[f"checks with {label}"] = run.history.val_accuracy
    axes.set_ylabel("validation accuracy")
    _step_axis(axes, results.runs.plain.history.stopped_step)
    legend_above(axes, n_columns=4)
    finals = ", ".join(
        f"{run.val_accuracy:.4f} for λ = {run.penalty:g}" for run in results.runs.penalised
    )
    drawing = Drawing(
        "4c_accuracy",
        figure,
        "Validation accuracy of the softmax model during training, one curve a λ.",
        f"Line plots of the validation accuracy, which ends at {finals}.",
    )
    limits = _settled_range(
        *((run.history, run.history.val_accuracy) for run in results.runs.penalised)
    )
    return _finish(drawing, axes, limits, curves)


def _norm_figure(results: Results) -> Drawing:
    runs = results.runs.penalised
    penalties = [run.penalty for run in runs]
    values = [run.weight_norm for run in runs]
    figure, grid = new_figure()
    axes = grid[0, 0]
    axes.plot(penalties, values, color=ORANGE, linewidth=1.2, linestyle="--")
    axes.plot(penalties, values, color=VERMILLION, marker="o", markersize=9, linestyle="")
    for penalty, value in zip(penalties, values, strict=True):
        axes.annotate(
            f"{value:.3g}",
            (penalty, value),
            xytext=(8, 8),
            textcoords="offset points",
            ha="left",
        )
    axes.set_xscale("log")
    axes.set_xticks(penalties, [f"{penalty:g}" for penalty in penalties])
    axes.minorticks_off()
    axes.margins(x=0.12)
    axes.set_ylim(0.0, 1.18 * max(values))
    axes.set_xlabel("λ, weight of the penalty (logarithmic)")
    axes.set_ylabel("L2 norm of the weights")
    return Drawing(
        "4e_norms",
        figure,
        "L2 norm of the final weights, bias included, for each λ.",
        "Points: "
        + ", ".join(f"{v:.3g} at λ = {p:g}" for p, v in zip(penalties, values, strict=True)),
    )
