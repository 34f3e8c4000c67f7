"""The figures of task 4: weights as images, accuracies and norms against lambda."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlin.report.drawing import Drawing, settled_range, step_axis, within_limits
from fastlin.report.results import Results
from fastlin.report.tasks import Run
from fastlin.results.plotting import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    legend_above,
    new_figure,
)

SHOWN_CLASSES = 10  # as many weight images as fit beside one another
LINES: Any = ((VERMILLION, "-"), (BLUE, "--"), (GREEN, "-."), (PURPLE, (0, (5, 1, 1, 1, 1, 1))))


def weight_figure(results: Results) -> Drawing:
    """Draw the weights of each class with and without the penalty (task 4b)."""
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
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"λ = {run.penalty:g}", fontsize=20)
        bar = figure.colorbar(shown, ax=list(row), shrink=0.85, pad=0.01)
        bar.set_label("weight", fontsize=17)
        bar.ax.tick_params(labelsize=16)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name, fontsize=20, parse_math=False)
    return Drawing(
        "4b_weights",
        figure,
        "Weights of the softmax model as images, one a class (named above), without a penalty and"
        f" with λ = {runs[1].penalty:g}. Red weights speak for the class, blue ones against it;"
        " each row has its own scale of colours." + _only_some_classes(results),
        f"Two rows of {len(names)} small images, one for each class.",
    )


def _weight_map(runs: Sequence[Run], names: Sequence[str]) -> Drawing:
    """Draw the weights of rows that are not images: classes down, features across."""
    figure, grid = new_figure(2, 1, size=(6.8, 5.2), share_x=True)
    for (axes,), run in zip(grid, runs, strict=True):
        weights = run.weights[: len(names), :-1]
        limit = float(np.abs(weights).max()) or 1.0
        shown = axes.imshow(
            weights, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.set_ylabel("class")
        axes.set_title(f"λ = {run.penalty:g}", loc="left")
        axes.grid(False)
        figure.colorbar(shown, ax=axes, label="weight")
    grid[-1, 0].set_xlabel("feature (column of the data)")
    return Drawing(
        "4b_weights",
        figure,
        "Weights of the softmax model, one row a class and one column a feature, without a penalty"
        f" and with λ = {runs[1].penalty:g}. Red weights speak for the class, blue ones against"
        " it; each panel has its own scale of colours.",
        f"Two maps of weights with {len(names)} rows each.",
    )


def _only_some_classes(results: Results) -> str:
    n_classes = len(results.problem.everything.class_names)
    return (
        f" The first {SHOWN_CLASSES} of {n_classes} classes." if n_classes > SHOWN_CLASSES else ""
    )


def penalty_figure(results: Results) -> Drawing:
    """Draw the validation accuracy during training for each lambda (task 4c)."""
    figure, [[axes]] = new_figure()
    runs = results.runs.penalised
    for (color, dashes), run in zip(itertools.cycle(LINES), reversed(runs), strict=False):
        steps, values = run.history.check_step, run.history.val_accuracy
        label = f"λ = {run.penalty:g}"
        axes.plot(steps, values, color=color, linestyle=dashes, label=label)
    axes.set_ylabel("validation accuracy")
    step_axis(axes, results.runs.plain.history.stopped_step)
    legend_above(axes, n_columns=4)
    finals = ", ".join(f"{run.val_accuracy:.4f} for λ = {run.penalty:g}" for run in runs)
    drawing = Drawing(
        "4c_accuracy",
        figure,
        "Validation accuracy of the softmax model during training, one curve a λ.",
        f"Line plots of the validation accuracy, which ends at {finals}.",
    )
    limits = settled_range(*((run.history, run.history.val_accuracy) for run in runs))
    accuracies = [run.history.val_accuracy for run in runs]
    return within_limits(drawing, axes, limits, {"accuracies": np.concatenate(accuracies)})


def norm_figure(results: Results) -> Drawing:
    """Draw the norm of the final weights against lambda (task 4e)."""
    runs = results.runs.penalised
    penalties = [run.penalty for run in runs]
    values = [run.weight_norm for run in runs]
    figure, [[axes]] = new_figure()
    axes.plot(penalties, values, color=ORANGE, linewidth=1.2, linestyle="--")
    axes.plot(penalties, values, color=VERMILLION, marker="o", markersize=9, linestyle="")
    for penalty, value in zip(penalties, values, strict=True):
        axes.annotate(f"{value:#.3g}", (penalty, value), (8, 8), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_xticks(penalties, [f"{penalty:g}" for penalty in penalties])
    axes.minorticks_off()
    axes.margins(x=0.15)
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
