"""What tasks 2b to 2e found, in sentences computed from the runs."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from fastlin.report.problem import Split
from fastlin.report.spikes import Spikes
from fastlin.report.tasks import Run
from fastlin.report.wording import compare, count, percent, points
from fastlin.results.history import History
from fastlin.results.plotting import epoch_means


def losses(run: Run) -> list[str]:
    """Task 2b: how far the losses fell, where the validation loss is lowest, and the gap there."""
    history = run.history
    first = float(history.train_loss[0])
    opening = f"The first mini-batch costs {first:.4f}"
    if math.isclose(first, math.log(2), abs_tol=1e-6):
        opening += ", which is ln 2: with all weights at zero both classes get probability 1/2"
    return [
        f"{opening}.",
        _fall_of_training_loss(history),
        _lowest_validation_loss(history),
        _gap(run),
    ]


def _fall_of_training_loss(history: History) -> str:
    _, means = epoch_means(history)
    n_full = len(history.train_loss) // history.steps_per_epoch
    if n_full < 2:
        return f"The mean loss of the training batches is {means[0]:.4f}."
    early, late = float(means[0]), float(means[n_full - 1])
    verb = compare(late, early, "rises", "falls", "stays level")
    return (
        f"Averaged over an epoch, the training loss {verb}: {early:.4f} in epoch 0, {late:.4f} in"
        f" epoch {n_full - 1}, the last complete one."
    )


def _lowest_validation_loss(history: History) -> str:
    lowest = int(np.argmin(history.val_loss))
    n_later = len(history.val_loss) - 1 - lowest
    sentence = (
        f"The validation loss is lowest right after step {history.check_step[lowest]}, at"
        f" {history.val_loss[lowest]:.4f}"
    )
    if n_later == 0:
        return sentence + ", which is the last check: it was still falling when the run ended."
    return sentence + f"; {count(n_later, 'later check')} did not get below it."


def _gap(run: Run) -> str:
    word = compare(run.val_loss, run.train_loss, "more", "less", "the same")
    if word == "the same":
        return f"At the returned weights both sets cost the same, {run.val_loss:.4f} a sample."
    return (
        f"At the returned weights a sample of the training set costs {run.train_loss:.4f} on"
        f" average and one of the validation set {run.val_loss:.4f},"
        f" {abs(run.val_loss - run.train_loss):.4f} {word}."
    )


def accuracies(run: Run) -> list[str]:
    """Task 2c: the accuracies at the returned weights, and the best of all checks."""
    history = run.history
    first, best = float(history.val_accuracy[0]), float(history.val_accuracy.max())
    best_check = int(np.argmax(history.val_accuracy))
    verb = compare(run.val_accuracy, first, "rises", "falls", "stays level")
    side = compare(run.train_accuracy, run.val_accuracy, "above", "below", "level with")
    distance = "" if side == "level with" else f"{points(run.train_accuracy - run.val_accuracy)} "
    sentences = [
        f"The validation accuracy {verb} from {percent(first)} after the first step to"
        f" {percent(run.val_accuracy)} at the returned weights.",
        f"There the training accuracy is {percent(run.train_accuracy)}, {distance}{side} it.",
    ]
    if best > run.val_accuracy:
        sentences.append(
            "The check with the lowest loss is not the most accurate one: step"
            f" {history.check_step[best_check]} reaches {percent(best)}. Loss also counts how sure"
            " the model is of each answer, accuracy only which side of 1/2 the answer lies on."
        )
    else:
        sentences.append("No check of the run is more accurate than that.")
    return sentences


def stopping(run: Run, patience: int) -> list[str]:
    """Task 2d: when and why the run ended."""
    history = run.history
    best = float(history.val_loss.min())
    if history.stop_reason != "early_stopping":
        return [
            f"Early stopping never intervened: the run took all its {history.stopped_epoch + 1}"
            f" epochs, up to step {history.stopped_step}, because the validation loss kept"
            f" reaching new lows at least once in every {patience} checks. The weights of the best"
            f" check, at step {history.best_step} with a validation loss of {best:.4f}, are"
            " returned."
        ]
    first_vain = int(history.check_step[-patience])
    return [
        f"Early stopping ends the run in epoch {history.stopped_epoch}, counted from 0, at step"
        f" {history.stopped_step}: the {patience} checks from step {first_vain} to step"
        f" {history.check_step[-1]} all stayed at or above the validation loss of {best:.4f} that"
        f" was measured after step {history.best_step}. The weights of that step are returned."
    ]


def shuffling(
    ordered: Run, shuffled: Run, spikes: Spikes, spikes_shuffled: Spikes, pair: Split
) -> list[str]:
    """Task 2e: spikes with and without shuffling, where they are, and how both runs end."""
    n, m = len(spikes), len(spikes_shuffled)
    sentences = [
        f"By this definition the run in fixed order shows {count(n, 'spike')} in"
        f" {len(ordered.history.check_step)} checks, and the shuffled run {count(m, 'spike')} in"
        f" {len(shuffled.history.check_step)}."
    ]
    if n:
        sentences += _where_spikes_are(spikes, ordered.history, len(pair.X_val))
    sentences.append(_effect_of_shuffling(n, m))
    return [*sentences, *_endings(ordered, shuffled)]


def _where_spikes_are(spikes: Spikes, history: History, n_val: int) -> list[str]:
    deepest = int(np.argmax(spikes.depth))
    samples = round(float(spikes.depth[deepest]) * n_val)
    sentences = [
        f"The deepest, after step {history.check_step[spikes.check[deepest]]}, loses"
        f" {points(spikes.depth[deepest])}, which is {count(samples, 'sample')} of {n_val}."
    ]
    (batch, repeats), *_ = Counter(spikes.batch.tolist()).most_common(1)
    if repeats < 2 or 2 * repeats < len(spikes):
        places = len(set(spikes.batch.tolist()))
        return [
            *sentences,
            f"The spikes of the fixed order follow {count(places, 'mini-batch', 'mini-batches')}"
            " of the epoch, so no single one explains them.",
        ]
    interval = int(history.check_step[1] - history.check_step[0])
    period = math.lcm(interval, history.steps_per_epoch)
    which = "all" if repeats == len(spikes) else f"{repeats} of the {len(spikes)}"
    return [
        *sentences,
        f"The spikes are periodic: {which} were measured right after mini-batch {batch} of an"
        f" epoch (counted from 0). With a check every {interval} steps and"
        f" {history.steps_per_epoch} steps an epoch, that mini-batch meets a check every {period}"
        f" steps, so the spikes it causes lie a multiple of {period} steps apart.",
        _cost_around(batch, history),
    ]


def _cost_around(batch: int, history: History) -> str:
    """Compare the losses of a mini-batch and of the next one with those of all others."""
    length = history.steps_per_epoch
    epochs = history.train_loss[: len(history.train_loss) // length * length].reshape(-1, length)
    cost = epochs[1:].mean(axis=0)  # epoch 0 starts from zero weights
    return (
        f"From epoch 1 on, mini-batch {batch} costs {cost[batch]:.3f} on average before its"
        " update, and the next one, which meets the weights that this update leaves behind,"
        f" {cost[(batch + 1) % length]:.3f}; the median over all mini-batches is"
        f" {np.median(cost):.3f}."
    )


def _effect_of_shuffling(n: int, m: int) -> str:
    if n > m:
        effect = "disappear" if m == 0 else f"shrink from {n} to {m}"
        return (
            f"With shuffling the spikes {effect}. In fixed order every epoch repeats the same"
            " mini-batches; one that holds unusual samples pushes the weights the same wrong way"
            " at the same point of every epoch, and a check right after it sees the harm before"
            " the following mini-batches repair it. Shuffling deals those samples to different"
            " mini-batches every time: no mini-batch is bad again and again."
        )
    if n == m == 0:
        return (
            "Neither order leaves a spike: on these data no mini-batch of the fixed order is"
            " unusual enough to show in the validation accuracy."
        )
    return (
        "Shuffling does not lower the number of spikes on these data: what moves the validation"
        " accuracy here is the noise of single mini-batches, not their order."
    )


def _endings(ordered: Run, shuffled: Run) -> list[str]:
    best, best_shuffled = (float(run.history.val_loss.min()) for run in (ordered, shuffled))
    word = compare(best_shuffled, best, "higher than", "lower than", "the same as")
    accuracy_word = compare(
        shuffled.val_accuracy, ordered.val_accuracy, "above", "below", "level with"
    )
    epoch, epoch_shuffled = ordered.history.stopped_epoch, shuffled.history.stopped_epoch
    return [
        f"The shuffled run ends in epoch {epoch_shuffled}, the other in epoch {epoch}. Its lowest"
        f" validation loss, {best_shuffled:.4f}, is {word} {best:.4f} of the fixed order, and its"
        f" validation accuracy at the returned weights, {percent(shuffled.val_accuracy)}, is"
        f" {accuracy_word} {percent(ordered.val_accuracy)}."
    ]
