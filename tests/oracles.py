"""The right answers in plain loops. This module imports nothing of fastlin, and nothing fast.

``n`` rows, ``d`` features, ``k`` classes. Weights are ``k`` lists of ``d`` numbers; ``k == 1`` is
the sigmoid with labels 0 and 1, ``k > 1`` the softmax. Python's numbers have 53 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Vector = list[float]
Matrix = list[list[float]]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def softmax(logits: Sequence[float]) -> Vector:
    largest = max(logits)
    exponentials = [math.exp(z - largest) for z in logits]
    return [e / math.fsum(exponentials) for e in exponentials]


def sigmoid_loss(z: float, label: int) -> float:
    """-ln of the probability of the label: ln(1 + e^-z) for label 1, ln(1 + e^z) for label 0."""
    against = -z if label == 1 else z
    return max(against, 0.0) + math.log1p(math.exp(-abs(against)))


def softmax_loss(logits: Sequence[float], label: int) -> float:
    """-ln of the probability of the label: ln(1 + sum of e^(z_j - z_label) over the others)."""
    others = [z - logits[label] for j, z in enumerate(logits) if j != label]
    largest = max(0.0, *others)
    inside = math.fsum(math.exp(z - largest) for z in others)
    if largest == 0:
        return math.log1p(inside)
    return largest + math.log(math.exp(-largest) + inside)


def logits_of(
    row: Sequence[float], weights: Matrix, intercept: Vector, shift: Vector | None = None
) -> Vector:
    shift = shift or [0.0] * len(row)
    return [
        math.fsum(w * (u - s) for w, u, s in zip(weights_of_class, row, shift, strict=True)) + b
        for weights_of_class, b in zip(weights, intercept, strict=True)
    ]


def loss_of(logits: Vector, label: int) -> float:
    return sigmoid_loss(logits[0], label) if len(logits) == 1 else softmax_loss(logits, label)


def residual_of(logits: Vector, label: int) -> Vector:
    """The derivative of the loss by each logit."""
    if len(logits) == 1:
        return [sigmoid(logits[0]) - label]
    return [p - (j == label) for j, p in enumerate(softmax(logits))]


def predicted(logits: Vector) -> int:
    """The first of the most probable classes."""
    if len(logits) == 1:
        return 1 if logits[0] > 0 else 0
    return logits.index(max(logits))


def loss_sum(
    rows: Matrix,
    labels: Sequence[int],
    weights: Matrix,
    intercept: Vector,
    sample_weight: Sequence[float] | None = None,
    shift: Vector | None = None,
) -> float:
    total = []
    for i, row in enumerate(rows):
        loss = loss_of(logits_of(row, weights, intercept, shift), labels[i])
        total.append(loss * (1 if sample_weight is None else sample_weight[i]))
    return math.fsum(total)


def gradient_sums(
    rows: Matrix,
    labels: Sequence[int],
    weights: Matrix,
    intercept: Vector,
    sample_weight: Sequence[float] | None = None,
    shift: Vector | None = None,
) -> tuple[Matrix, Vector]:
    """The derivatives of :func:`loss_sum` by the weights and by the intercept."""
    by_weights = [[0.0] * len(rows[0]) for _ in weights]
    by_intercept = [0.0] * len(weights)
    for i, row in enumerate(rows):
        residual = residual_of(logits_of(row, weights, intercept, shift), labels[i])
        for c, r in enumerate(residual):
            r *= 1 if sample_weight is None else sample_weight[i]
            by_intercept[c] += r
            for f, u in enumerate(row):
                by_weights[c][f] += r * (u - (shift[f] if shift else 0))
    return by_weights, by_intercept


def central_difference(function: Callable[[float], float], at: float, step: float) -> float:
    """The slope of a function, with an error of ``step**2 / 6`` times its third derivative."""
    return (function(at + step) - function(at - step)) / (2 * step)


class Descent:
    """Mini-batch gradient descent, one number at a time.

    ``decay`` and ``gain`` have a number for each feature; ``average_shares`` is None or has one for
    each step.
    """

    def __init__(
        self,
        weights: Matrix,
        intercept: Vector,
        decay: Vector,
        gain: Vector,
        intercept_decay: float = 0.0,
        intercept_gain: float = 1.0,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.weights = [list(row) for row in weights]
        self.intercept = list(intercept)
        self.decay, self.gain = decay, gain
        self.intercept_decay, self.intercept_gain = intercept_decay, intercept_gain
        self.momentum, self.nesterov = momentum, nesterov
        self.weights_velocity = [[0.0] * len(row) for row in weights]
        self.intercept_velocity = [0.0] * len(intercept)
        self.weights_average = [[0.0] * len(row) for row in weights]
        self.intercept_average = [0.0] * len(intercept)

    def step(
        self,
        rows: Matrix,
        labels: Sequence[int],
        rate: float,
        sample_weight: Sequence[float] | None = None,
        shift: Vector | None = None,
        average_share: float = 0.0,
    ) -> float:
        """Change the weights with one batch; return its mean loss from before."""
        batch = (rows, labels, self.weights, self.intercept, sample_weight, shift)
        loss = loss_sum(*batch) / len(rows)
        by_weights, by_intercept = gradient_sums(*batch)
        for c in range(len(self.weights)):
            for f in range(len(self.weights[c])):
                slope = self.gain[f] * by_weights[c][f] / len(rows)
                slope += self.decay[f] * self.weights[c][f]
                self.weights_velocity[c][f] = self.momentum * self.weights_velocity[c][f] + slope
                self.weights[c][f] -= rate * self._direction(slope, self.weights_velocity[c][f])
                change = self.weights[c][f] - self.weights_average[c][f]
                self.weights_average[c][f] += average_share * change
            slope = by_intercept[c] / len(rows) + self.intercept_decay * self.intercept[c]
            slope *= self.intercept_gain
            self.intercept_velocity[c] = self.momentum * self.intercept_velocity[c] + slope
            self.intercept[c] -= rate * self._direction(slope, self.intercept_velocity[c])
            change = self.intercept[c] - self.intercept_average[c]
            self.intercept_average[c] += average_share * change
        return loss

    def _direction(self, slope: float, velocity: float) -> float:
        return slope + self.momentum * velocity if self.nesterov else velocity
