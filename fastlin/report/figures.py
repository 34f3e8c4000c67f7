"""All figures of the report; here the curves of tasks 2 and 3, drawn from histories alone."""

from __future__ import annotations

import numpy as np

from fastlin.report.drawing import Drawing, settled_range, step_axis, within_limits
from fastlin.report.figures_penalty import norm_figure, penalty_figure, weight_figure
from fastlin.report.results import Results
from fastlin.report.tasks import Run
from fastlin.report.wording import count
from fastlin.results.history import History
from fastlin.results.plotting import (
    BLUE,
    GREEN,
    VERMILLION,
    draw_accuracies,
    draw_losses,
    figure_style,
    legend_above,
    new_figure,
)

# The ranges in which the curves of MNIST are distinguishable.
MNIST_RANGES = {
    "2b_loss": (0.0, 0.2),
    "2c_accuracy": (0.93, 0.99),
    "2e_shuffling": (0.93, 0.99),
    "3b_loss": (0.2, 0.6),
    "3c_accuracy": (0.89, 0.93),
}


def draw_all(results: Results) -> list[Drawing]:
    """Draw every figure of the report, in its order."""
    ranges = MNIST_RANGES if results.problem.name == "mnist" else {}
    problem, ordered, plain = results.problem, results.runs.ordered, results.runs.plain
    logistic = f"logistic model on {' and '.join(reversed(problem.pair.class_names))}"
    softmax = f"softmax model on {len(problem.everything.class_names)} classes"
    with figure_style():
        return [
            _loss_figure("2b_loss", ordered.history, ranges, logistic),
            _accuracy_figure("2c_accuracy", ordered, ranges, logistic),
            _shuffling_figure(results, ranges),
            _loss_figure("3b_loss", plain.history, ranges, softmax),
            _accuracy_figure("3c_accuracy", plain, ranges, softmax),
            _gap_figure(plain),
            weight_figure(results),
            penalty_figure(results),
            norm_figure(results),
        ]


def _loss_figure(
    name: str, history: History, ranges: dict[str, tuple[float, float]], model: str
) -> Drawing:
    figure, [[axes]] = new_figure()
    draw_losses(axes, history)
    step_axis(axes, history.stopped_step)
    drawing = Drawing(
        name,
        figure,
        f"Training and validation loss of the {model} against training steps.",
        f"Line plot of the losses of the {model}. The validation loss goes from"
        f" {history.val_loss[0]:.3f} to {history.val_loss[-1]:.3f}, its minimum is"
        f" {history.val_loss.min():.3f}.",
    )
    curves = {"batch losses": history.train_loss, "validation losses": history.val_loss}
    limits = ranges.get(name) or (0.0, 1.1 * settled_range((history, history.val_loss))[1])
    return within_limits(drawing, axes, limits, curves)


def _accuracy_figure(
    name: str, run: Run, ranges: dict[str, tuple[float, float]], model: str
) -> Drawing:
    history = run.history
    figure, [[axes]] = new_figure()
    draw_accuracies(axes, history)
    step_axis(axes, history.stopped_step)
    drawing = Drawing(
        name,
        figure,
        f"Training and validation accuracy of the {model} against training steps.",
        f"Line plot of the accuracies of the {model}. At the returned weights they are"
        f" {run.train_accuracy:.4f} in training and {run.val_accuracy:.4f} in validation.",
    )
    curves = {"accuracies": np.concatenate([history.train_accuracy, history.val_accuracy])}
    limits = ranges.get(name) or settled_range(
        (history, history.train_accuracy), (history, history.val_accuracy)
    )
    return within_limits(drawing, axes, limits, curves)


def _shuffling_figure(results: Results, ranges: dict[str, tuple[float, float]]) -> Drawing:
    ordered, shuffled = results.runs.ordered.history, results.runs.shuffled.history
    spikes = results.spikes_ordered
    figure, [[axes]] = new_figure()
    axes.plot(ordered.check_step, ordered.val_accuracy, color=VERMILLION, label="fixed order")
    axes.plot(shuffled.check_step, shuffled.val_accuracy, "--", color=BLUE, label="shuffled")
    if len(spikes):
        steps, values = ordered.check_step[spikes.check], ordered.val_accuracy[spikes.check]
        hollow = {"markersize": 9, "fillstyle": "none", "markeredgewidth": 1.6}
        axes.plot(steps, values, "kv", **hollow, label="spike")
    axes.set_ylabel("validation accuracy")
    step_axis(axes, max(ordered.stopped_step, shuffled.stopped_step))
    legend_above(axes, n_columns=3)
    drawing = Drawing(
        "2e_shuffling",
        figure,
        "Validation accuracy of the logistic model with the mini-batches in the same order every"
        " epoch and with the rows shuffled every epoch.",
        f"Two line plots. The one in fixed order has {count(len(spikes), 'spike')}, the shuffled"
        f" one {count(len(results.spikes_shuffled), 'spike')}.",
    )
    curves = {"accuracies": np.concatenate([ordered.val_accuracy, shuffled.val_accuracy])}
    limits = ranges.get("2e_shuffling") or settled_range(
        (ordered, ordered.val_accuracy), (shuffled, shuffled.val_accuracy)
    )
    return within_limits(drawing, axes, limits, curves)


def _gap_figure(run: Run) -> Drawing:
    history = run.history
    gap = 100.0 * (history.train_accuracy - history.val_accuracy)
    figure, [[axes]] = new_figure()
    axes.axhline(0.0, color="black", linewidth=1.0)
    axes.plot(history.check_step, gap, color=GREEN, label="training minus validation accuracy")
    axes.set_ylabel("gap (percentage points)")
    step_axis(axes, history.stopped_step)
    legend_above(axes)
    drawing = Drawing(
        "3d_gap",
        figure,
        "Gap between training and validation accuracy of the softmax model. Above zero the model"
        " does better on the samples it was trained on.",
        f"Line plot of the accuracy gap, which ends at {gap[-1]:+.2f} percentage points.",
    )
    low, high = settled_range((history, gap))
    return within_limits(drawing, axes, (min(low, 0.0), max(high, 0.0)), {"checks": gap})
