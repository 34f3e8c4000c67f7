"""What tasks 3b to 4e found, in sentences computed from the runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastlin.report.problem import Split
from fastlin.report.tasks import Run
from fastlin.report.wording import (
    MINUS,
    compare,
    falls_throughout,
    listing,
    percent,
    points,
    rises_throughout,
    signed_points,
)
from fastlin.results.history import History

TREND_SHARE = 5  # a trend compares the first and the last fifth of the checks
HARM = 0.01  # a validation loss above its minimum by this fraction counts as rising again


def losses(run: Run, n_classes: int) -> list[str]:
    """Task 3b: start and end of both losses, and whether the validation loss still falls."""
    history = run.history
    first = float(history.train_loss[0])
    opening = f"The first mini-batch costs {first:.4f}"
    if math.isclose(first, math.log(n_classes), abs_tol=1e-6):
        opening += f", which is ln {n_classes}: at zero weights every class is equally likely"
    side = compare(run.val_loss, run.train_loss, "above", "below", "level with")
    return [
        f"{opening}. After the last step the training set costs {run.train_loss:.4f} a sample and"
        f" the validation set {run.val_loss:.4f}, {side} the training loss.",
        _end_of_validation_loss(history),
    ]


def _end_of_validation_loss(history: History) -> str:
    lowest = int(np.argmin(history.val_loss))
    last = len(history.val_loss) - 1
    low, end = float(history.val_loss[lowest]), float(history.val_loss[-1])
    if end > (1.0 + HARM) * low:
        return (
            f"The validation loss has its minimum of {low:.4f} after step"
            f" {history.check_step[lowest]} and has risen again to {end:.4f} by the last check."
        )
    if last - lowest <= last // 10:
        return (
            f"The validation loss was still finding new lows at the end: its minimum, {low:.4f},"
            f" lies at step {history.check_step[lowest]} of {history.stopped_step}."
        )
    return (
        f"The validation loss has levelled out: its minimum, {low:.4f}, lies at step"
        f" {history.check_step[lowest]}, and the last check, {end:.4f}, is within {100 * HARM:g} %"
        " of it."
    )


def accuracies(run: Run) -> list[str]:
    """Task 3c: both accuracies after the first step and at the end."""
    history = run.history
    verb = compare(run.val_accuracy, history.val_accuracy[0], "rises", "falls", "stays level")
    return [
        f"The validation accuracy {verb} from {percent(history.val_accuracy[0])} after the first"
        f" step to {percent(run.val_accuracy)} after the last, and the training accuracy ends at"
        f" {percent(run.train_accuracy)}."
    ]


def gap_trend(history: History) -> tuple[float, float]:
    """Mean of training minus validation accuracy, over the first and the last fifth of checks."""
    gap = history.train_accuracy - history.val_accuracy
    share = max(1, len(gap) // TREND_SHARE)
    return float(gap[:share].mean()), float(gap[-share:].mean())


def overfitting(run: Run) -> list[str]:
    """Task 3d: whether the gap grows and the validation loss suffers, and a verdict from both."""
    history = run.history
    early, late = gap_trend(history)
    grows = round(late, 4) > round(early, 4)
    low, end = float(history.val_loss.min()), float(history.val_loss[-1])
    harmed = end > (1.0 + HARM) * low
    word = compare(late, early, "widens", "narrows", "does not change")
    sentences = [
        f"The gap, training minus validation accuracy, {word}: {signed_points(early)} percentage"
        f" points on average over the first fifth of the checks, {signed_points(late)} over the"
        f" last fifth, and {signed_points(run.train_accuracy - run.val_accuracy)} after the last"
        " step."
    ]
    if grows and late > 0 and harmed:
        verdict = (
            "This is overfitting: the model keeps gaining on samples it has seen while the loss on"
            f" samples it has not seen has turned up, {percent(end / low - 1)} above its minimum."
        )
    elif grows and late > 0:
        verdict = (
            "This is a first sign of overfitting and no more: what the model still learns fits the"
            " training samples better than new ones, yet the validation loss has not turned up"
            f" (its last check is {percent(end / low - 1)} above its minimum), so training longer"
            " has not cost anything so far."
        )
    elif harmed:
        verdict = (
            "The gap gives no sign of overfitting, but the validation loss ends"
            f" {percent(end / low - 1)} above its minimum, so later epochs did not help new"
            " samples."
        )
    else:
        verdict = (
            "There is no sign of overfitting: what the model learns from the training samples"
            " serves new samples as well, and the validation loss has not turned up."
        )
    return [*sentences, verdict]


def roughness(weights: NDArray[np.float64], image_shape: tuple[int, int]) -> float:
    """Mean squared difference of neighbouring weights over twice their variance.

    Averaged over the images. About 1 for weights independent of their neighbours, near 0 for a
    smooth image.

    Parameters
    ----------
    weights : (k, d)
        Without the bias.
    """
    images = weights.reshape(-1, *image_shape)
    differences = [np.diff(images, axis=axis) ** 2 for axis in (1, 2)]
    n = sum(difference[0].size for difference in differences)
    total = sum(difference.sum(axis=(1, 2)) for difference in differences)
    variance = images.var(axis=(1, 2))
    return float(np.mean(total / n / (2.0 * variance)))


def class_contrast(split: Split, input_scale: tuple[float, float]) -> NDArray[np.float64]:
    """Mean over the training rows of (y_k - 1/k) x, one row per class: (k, d).

    The weights leave zero in this direction.
    """
    shift, scale = input_scale
    n, k = len(split.y_train), len(split.class_names)
    sums = np.stack(
        [split.X_train[split.y_train == label].sum(axis=0, dtype=np.float64) for label in range(k)]
    )
    counts = np.bincount(split.y_train, minlength=k)[:, None]
    scaled = (sums - shift * counts) * scale
    return np.asarray((scaled - scaled.sum(axis=0) / k) / n, np.float64)


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosine of the angle between two arrays read as long vectors."""
    return float(np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def weight_images(
    plain: Run,
    penalised: Run,
    split: Split,
    input_scale: tuple[float, float],
    image_shape: tuple[int, int] | None,
) -> list[str]:
    """Task 4b: how smooth the weights are with and without the penalty, and what they look like."""
    contrast = class_contrast(split, input_scale)
    free, held = plain.weights[:, :-1], penalised.weights[:, :-1]
    sentences = []
    if image_shape is not None:
        rough, smooth = roughness(free, image_shape), roughness(held, image_shape)
        word = compare(smooth, rough, "rougher than", "smoother than", "as rough as", digits=3)
        sentences.append(
            f"The images with λ = {penalised.penalty:g} are {word} those with λ = 0: their"
            f" roughness is {smooth:.3f} against {rough:.3f}."
        )
    closeness, closeness_free = cosine(held, contrast), cosine(free, contrast)
    place = compare(closeness, closeness_free, "nearer to", "farther from", "no nearer to", 3)
    sentences.append(
        f"The cosine between the weights and the mean of (y {MINUS} 1/{len(split.class_names)}) x"
        f" over the training set is {closeness:.3f} with λ = {penalised.penalty:g} and"
        f" {closeness_free:.3f} with λ = 0: with the penalty the weights lie {place} plain"
        " averages of the classes."
    )
    return sentences


def accuracy_by_penalty(plain: Run, penalised: Sequence[Run]) -> list[str]:
    """Task 4c: final validation accuracy for each lambda, and the order they come in."""
    runs = sorted(penalised, key=lambda run: run.penalty)
    values = [run.val_accuracy for run in runs]
    each = listing([f"{percent(run.val_accuracy)} for λ = {run.penalty:g}" for run in runs])
    best = max(runs, key=lambda run: run.val_accuracy)
    if len({round(value, 4) for value in values}) == 1:
        order = "The penalty does not change it."
    elif falls_throughout(values):
        order = "It falls with every increase of λ."
    elif rises_throughout(values):
        order = "It rises with every increase of λ."
    else:
        order = f"It does not fall with every increase of λ; λ = {best.penalty:g} does best."
    side = compare(best.val_accuracy, plain.val_accuracy, "above", "below", "level with")
    return [
        f"The validation accuracy after the last step is {each}. {order}",
        f"The best of them is {side} the {percent(plain.val_accuracy)} without a penalty.",
    ]


def cause_of_accuracy(plain: Run, penalised: Sequence[Run], n_classes: int) -> list[str]:
    """Task 4d: whether both accuracies fall together, and how close a uniform guess is."""
    runs = sorted(penalised, key=lambda run: run.penalty)
    weakest, strongest = runs[0], runs[-1]
    span = f"from λ = {weakest.penalty:g} to λ = {strongest.penalty:g}"
    val_drop = weakest.val_accuracy - strongest.val_accuracy
    train_drop = weakest.train_accuracy - strongest.train_accuracy
    guess = math.log(n_classes)
    nearness = (
        f"The validation loss is {plain.val_loss:.4f} without a penalty and"
        f" {strongest.val_loss:.4f} with λ = {strongest.penalty:g}; a model that gives every class"
        f" the same probability has ln {n_classes} = {guess:.4f}."
    )
    if plain.val_loss < strongest.val_loss <= guess:
        way = (strongest.val_loss - plain.val_loss) / (guess - plain.val_loss)
        nearness += (
            f" So the penalty takes the model {100 * way:.0f} % of the way to knowing nothing."
        )
    if round(val_drop, 4) <= 0:
        return [
            f"The validation accuracy does not fall {span}: it changes by"
            f" {signed_points(-val_drop)} percentage points, and the training accuracy by"
            f" {signed_points(-train_drop)}. The weights that the penalty takes away were not"
            " needed for the right answers on these data.",
            nearness,
        ]
    if round(train_drop, 4) > 0:
        cause = (
            "The samples the model was trained on suffer as well, so this is underfitting: the"
            " penalty keeps the weights too small for logits that tell similar classes apart, and"
            " there is little overfitting that it could cure in return."
        )
    else:
        cause = (
            "The training accuracy does not fall with it, so the penalty does not keep the model"
            " from fitting what it has seen; it is the new samples alone that lose."
        )
    return [
        f"The validation accuracy falls by {points(val_drop)} {span}, while the training accuracy"
        f" changes by {signed_points(-train_drop)}. {cause}",
        nearness,
    ]


def norms(penalised: Sequence[Run]) -> list[str]:
    """Task 4e: the norm of the weights against lambda."""
    runs = sorted(penalised, key=lambda run: run.penalty)
    values = [run.weight_norm for run in runs]
    each = listing([f"{run.weight_norm:#.4g} for λ = {run.penalty:g}" for run in runs])
    ratio = values[0] / values[-1]
    if falls_throughout(values):
        trend = (
            f"It falls as λ grows, by a factor of {ratio:.3g} from one end to the other: each step"
            f" of training multiplies the weights by 1 {MINUS} 2ηλ, and they settle where this"
            " shrinking balances the pull of the data."
        )
    elif rises_throughout(values):
        trend = f"It rises as λ grows, by a factor of {1 / ratio:.3g} from one end to the other."
    else:
        trend = "It does not fall with every increase of λ."
    return [f"The L2 norm of the final weights, bias included, is {each}. {trend}"]
