"""The optimum of logistic and softmax regression to many digits, with a proof of it.

A damped Newton method in float64 on standardised features finds it, long doubles say how good it
is, and weak duality how much lower anything else could be. Imports nothing of fastlin.

``n`` rows, ``d`` features, ``k`` classes, ``m`` rows of weights: 1 for the sigmoid, else ``k``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Long = np.longdouble
Array = NDArray[Any]

ENOUGH = 1e-18
"""Half the squared Newton decrement, of the objective, at which one more step ends the search."""

ITERATIONS = 300


def log_probabilities(logits: Array) -> Array:
    """Log of the softmax of ``(n, k)``, with a small relative error even if it is nearly 0."""
    index = np.arange(len(logits)), logits.argmax(axis=1)
    below = logits - logits[index][:, np.newaxis]
    others = np.exp(below)
    others[index] = 0
    return below - np.log1p(others.sum(axis=1, keepdims=True))


def residuals(log_p: Array, labels: Array) -> Array:
    """Probabilities ``(n, k)`` minus 1 at the label, without cancellation."""
    p = np.exp(log_p)
    index = np.arange(len(labels)), labels
    p[index] = 0
    p[index] = -p.sum(axis=1)
    return p


@dataclass(frozen=True)
class Objective:
    """Weighted mean cross-entropy plus ``l2 * sum(W**2)`` on ``x = (rows - shift) * scale``."""

    rows: Array  # (n, d), exact in float64
    labels: Array  # (n,) 0 to k - 1
    k: int
    l2: float
    intercept: Literal["free", "none", "penalised"] = "free"
    weight: Array | None = None  # (n,) >= 0
    shift: Array | float = 0.0  # (d,)
    scale: Array | float = 1.0  # (d,)

    @property
    def n_models(self) -> int:
        return 1 if self.k == 2 else self.k

    def shares(self) -> Array:
        """Weights of the rows that sum to 1."""
        weight = np.ones(len(self.labels)) if self.weight is None else self.weight
        long = weight.astype(Long)
        return long / long.sum()

    def inputs(self) -> Array:
        """The scaled rows."""
        return (self.rows.astype(Long) - self.shift) * self.scale

    def scaled(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Weights and intercepts for the scaled rows, equivalent to these for unscaled rows."""
        coef = coef.astype(Long)
        return coef / self.scale, intercept.astype(Long) + (coef * self.shift).sum(axis=1)

    def penalty(self, weights: Array, intercept: Array) -> Long:
        squares = (weights**2).sum()
        if self.intercept == "penalised":
            squares += (intercept**2).sum()
        return Long(Long(self.l2) * squares)

    def losses(self, coef: Array, intercept: Array) -> Array:
        """Cross-entropy ``(n,)`` of raw rows by a model of raw rows."""
        logits = all_logits(self.rows.astype(Long) @ coef.astype(Long).T + intercept.astype(Long))
        return -log_probabilities(logits)[np.arange(len(self.labels)), self.labels]

    def of_model(self, coef: Array, intercept: Array) -> float:
        """The objective of a model of raw rows; ``(m, d)`` and ``(m,)``."""
        loss = self.shares() @ self.losses(coef, intercept)
        return float(loss + self.penalty(*self.scaled(coef, intercept)))

    def of_constant(self) -> float:
        """The smallest objective of some constant models.

        A class without weight counts as half a row, so that all numbers are finite.
        """
        start = float(np.log(self.k))
        if self.intercept == "none":
            return start
        of_class = np.bincount(self.labels, self.shares().astype(float), self.k)
        logs = np.log(np.where(of_class > 0, of_class, 0.5 / len(self.labels)))
        loss = np.logaddexp.reduce(logs) - of_class @ logs
        b = logs[1:] - logs[0] if self.k == 2 else logs - logs.mean()
        return min(start, float(loss + self.penalty(np.zeros(1), b)))


def all_logits(logits: Array) -> Array:
    """Two columns in place of the sigmoid's one."""
    return np.column_stack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


@dataclass(frozen=True)
class Optimum:
    """The optimum lies between ``lower`` and ``value``, which these weights attain.

    Without a penalty ``lower`` is ``value`` minus the squared Newton decrement, which is no proof.
    """

    value: float
    lower: float
    weights: Array  # (m, d) for scaled rows
    intercept: Array  # (m,)


def optimum_of(objective: Objective) -> Optimum:
    """Find the optimum. A class without weight gets a free intercept of minus infinity."""
    k = objective.k
    shares = objective.shares()
    if objective.intercept == "free":
        present = np.bincount(objective.labels, shares.astype(float), k) > 0
        if present.sum() == 1:
            m = objective.n_models
            return Optimum(0.0, 0.0, np.zeros((m, objective.rows.shape[1])), np.zeros(m))
    else:
        present = np.ones(k, bool)
    counted = shares > 0
    index = np.cumsum(present) - 1
    search = _Search(
        objective,
        objective.inputs()[counted],
        shares[counted],
        index[objective.labels[counted]],
        sigmoid=k == 2,
        k=int(present.sum()),
    )
    value, lower, weights, intercept = search.run()
    if not present.all():
        every = np.zeros((k, weights.shape[1]), Long)
        every[present] = weights
        weights, b = every, np.full(k, -np.inf, Long)
        b[present] = intercept
        intercept = b
    return Optimum(float(value), float(lower), weights, intercept)


class _Search:
    """Newton's method in the principal axes of the scaled rows, each with its own size.

    The penalty is the same there, and features of very different sizes, or far from zero, do not
    spoil the Hessian. The rows are centred if the intercept is free; a penalised intercept is the
    weight of a feature that is always 1.
    """

    def __init__(
        self, objective: Objective, x: Array, shares: Array, labels: Array, sigmoid: bool, k: int
    ) -> None:
        self.objective, self.x, self.shares, self.labels = objective, x, shares, labels
        self.sigmoid, self.k = sigmoid, k
        self.free = objective.intercept == "free"
        if objective.intercept == "penalised":
            x = np.column_stack([x, np.ones(len(x), Long)])
        self.mean = shares @ x if self.free else np.zeros(x.shape[1], Long)
        centred = x - self.mean
        weighted = (centred * np.sqrt(shares)[:, np.newaxis]).astype(float)
        axes = np.linalg.svd(weighted, full_matrices=False)[2].astype(Long)
        axes = (3 * axes - (axes @ axes.T) @ axes) / 2  # orthogonal to the last digit
        along = centred @ axes.T
        size = np.sqrt(shares @ along**2)
        # Without a penalty, a weight of any size might serve to fit a rounding error.
        used = size > size.max() * (1e-19 if objective.l2 > 0 else 1e-13)
        # Constant features differ from their mean by its rounding.
        used &= size > 64 * np.finfo(Long).eps * np.linalg.norm(self.mean.astype(float))
        self.axes, self.size = axes[used], size[used]
        design = (along[:, used] / self.size).astype(float)
        decay = (2 * Long(objective.l2) / self.size**2).astype(float)
        if self.free:
            design = np.column_stack([design, np.ones(len(design))])
            decay = np.append(decay, 0.0)
        self.design, self.decay = design, decay
        self.weight = shares.astype(float)

    def run(self) -> tuple[Any, Any, Array, Array]:
        point = np.zeros((1 if self.sigmoid else self.k, self.design.shape[1]))
        value, slope = np.inf, 0.0
        last = point.size == 0
        for _ in range(0 if last else ITERATIONS):
            value, gradient, log_p = self._at(point)
            direction = self._newton(log_p, gradient)
            slope = float(np.vdot(gradient, direction))
            length = 1.0
            while length > 1e-12 and not (
                self._at(point + length * direction)[0]
                <= value * (1 + 4e-16) + 1e-4 * length * slope
            ):
                length /= 2
            if length <= 1e-12 or value < 1e-30:
                break
            point = point + length * direction
            if last:
                break
            last = -slope / 2 <= ENOUGH * value
        weights, intercept = self._model(point)
        if self.free:
            intercept = self._balanced(weights, intercept)
        value = self._value(weights, intercept)
        if self.objective.l2 > 0:
            lower = self._lower_bound(weights, intercept)
        else:
            lower = value + Long(slope)
        return value, max(lower, Long(0)), weights, intercept

    def _at(self, point: Array) -> tuple[float, Array, Array]:
        log_p = log_probabilities(self._logits(self.design @ point.T))
        loss = -self.weight @ log_p[np.arange(len(self.labels)), self.labels]
        r = residuals(log_p, self.labels)[:, -len(point) :] * self.weight[:, np.newaxis]
        value = loss + (self.decay * point**2).sum() / 2
        return float(value), r.T @ self.design + self.decay * point, log_p

    def _logits(self, logits: Array) -> Array:
        return all_logits(logits) if self.sigmoid else logits

    def _newton(self, log_p: Array, gradient: Array) -> Array:
        m, p = gradient.shape
        probability = np.exp(log_p)
        hessian = np.zeros((m, p, m, p))
        first = self.k - m
        for a in range(m):
            for b in range(a + 1):
                if a == b:
                    # 1 - p without cancellation
                    rest = np.delete(probability, first + a, axis=1).sum(axis=1)
                    factor = probability[:, first + a] * rest
                else:
                    factor = -probability[:, first + a] * probability[:, first + b]
                block = (self.design * (self.weight * factor)[:, np.newaxis]).T @ self.design
                hessian[a, :, b] = block
                hessian[b, :, a] = block.T
            hessian[a, range(p), a, range(p)] += self.decay
        if self.free and m > 1:  # the same number added to all intercepts changes nothing
            hessian[:, -1, :, -1] += max(hessian[range(m), -1, range(m), -1].max(), 1e-300)
        h = hessian.reshape(m * p, m * p)
        diagonal = np.diagonal(h)
        root = np.sqrt(np.maximum(diagonal, max(diagonal.max() * 1e-200, 1e-300)))
        h = h / root / root[:, np.newaxis]
        ridge = 0.0
        while True:
            try:
                factor = scipy.linalg.cho_factor(h + ridge * np.eye(m * p))
                break
            except np.linalg.LinAlgError:
                ridge = max(1e-15, 10 * ridge)
        solved = scipy.linalg.cho_solve(factor, gradient.ravel() / root)
        return -(solved / root).reshape(m, p)

    def _model(self, point: Array) -> tuple[Array, Array]:
        long = point.astype(Long)
        weights = (long[:, : len(self.size)] / self.size) @ self.axes
        if self.free:
            return weights, long[:, -1] - weights @ self.mean
        if self.objective.intercept == "penalised":
            return weights[:, :-1], weights[:, -1]
        return weights, np.zeros(len(point), Long)

    def _balanced(self, weights: Array, intercept: Array) -> Array:
        """The intercept at which the mean probabilities are those of the labels."""
        logits = self.x @ weights.T
        m = len(intercept)
        for _ in range(4):
            log_p = log_probabilities(self._logits(logits + intercept))
            gradient = (self.shares @ residuals(log_p, self.labels))[-m:]
            p = np.exp(log_p.astype(float))[:, -m:]
            hessian = np.diag(self.weight @ p) - (p * self.weight[:, np.newaxis]).T @ p
            if m > 1:
                hessian += hessian.max() / m
            root = np.sqrt(np.maximum(np.diagonal(hessian), 1e-300))
            step, *_ = np.linalg.lstsq(
                hessian / root / root[:, np.newaxis], (gradient / root).astype(float), rcond=None
            )
            step = step / root
            if not np.abs(step).max() < 1e-3:  # the search ended too early for that
                break
            intercept = intercept - step
        return intercept

    def _value(self, weights: Array, intercept: Array) -> Any:
        logits = self._logits(self.x @ weights.T + intercept)
        losses = -log_probabilities(logits)[np.arange(len(self.labels)), self.labels]
        return self.shares @ losses + self.objective.penalty(weights, intercept)

    def _lower_bound(self, weights: Array, intercept: Array) -> Any:
        """Weak duality.

        ``logsumexp(z) = max over p of p z + entropy(p)``, so any probabilities ``p`` bound the
        objective from below by ``mean entropy + min over W of (l2 |W|^2 + W G)``, with
        ``G = mean((p - y) x)``. If the intercept is free, the means of ``p`` and of the labels must
        be equal, so ``p`` is mixed with as much of a constant as makes them so.
        """
        log_p = log_probabilities(self._logits(self.x @ weights.T + intercept))
        r = residuals(log_p, self.labels)
        entropy = -(np.exp(log_p) * log_p).sum(axis=1)
        if self.free:
            share = np.zeros(self.k, Long)
            np.add.at(share, self.labels, self.shares)
            excess = self.shares @ r
            part = max(Long(0), (excess / (share + excess)).max())
            if part > 0:
                constant = (share - (1 - part) * (share + excess)) / part
                y = np.eye(self.k, dtype=Long)[self.labels]
                r = (1 - part) * r + part * (constant - y)
                entropy = (1 - part) * entropy  # concave, and never negative
        r = r[:, -len(weights) :] * self.shares[:, np.newaxis]
        g = r.T @ (self.x - self.mean if self.free else self.x)
        squares = (g**2).sum()
        if self.objective.intercept == "penalised":
            squares += (r.sum(axis=0) ** 2).sum()
        return self.shares @ entropy - squares / (4 * Long(self.objective.l2))
