"""PyTorch: as its tutorials write it, and with the gradient written by hand.

Both keep the tensors in memory and index them; a ``DataLoader`` takes twice as long.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fastlin.bench.contestants import Contestant, Model, Outcome
from fastlin.bench.data import Data
from fastlin.bench.peers import usual_variants
from fastlin.bench.problems import Problem


class _Pytorch(Contestant):
    """What both forms share: rows, labels and batches as tensors on the data's own memory."""

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, n_threads: int, converted: bool
    ) -> None:
        self.problem, self.start, self.n_threads = problem, start, n_threads
        self.scale = data.scale
        self.rows = _tensor(data.float_rows if converted else data.rows)
        self.dtype = torch.float64 if problem.weight_dtype == np.float64 else torch.float32
        self.binary = problem.n_outputs == 1
        labels = torch.from_numpy(data.labels.astype(np.int64))
        self.labels = labels.to(self.dtype) if self.binary else labels
        self.batches = _tensor(data.order).split(problem.batch_size)
        self.losses: list[Any] = []

    def outcome(self) -> Outcome:
        """Return copies of the parameters."""
        weights, intercept = (value.detach().numpy().copy() for value in self._parameters())
        return Outcome(
            Model(weights.reshape(self.start.weights.shape), intercept.reshape(-1)),
            torch.stack(self.losses).numpy(),
        )

    def _parameters(self) -> tuple[Any, Any]:
        raise NotImplementedError


class PytorchIdiomatic(_Pytorch):
    """``nn.Linear``, ``cross_entropy``, autograd and ``optim.SGD`` (its fused form)."""

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, n_threads: int, converted: bool
    ) -> None:
        super().__init__(problem, data, start, n_threads=n_threads, converted=converted)
        self.linear = torch.nn.Linear(problem.n_features, problem.n_outputs, dtype=self.dtype)
        # weight_decay is the penalty's gradient divided by W.
        self.optimizer = torch.optim.SGD(
            [
                {"params": [self.linear.weight], "weight_decay": 2.0 * problem.l2},
                {"params": [self.linear.bias], "weight_decay": 0.0},
            ],
            lr=problem.learning_rate,
            fused=True,
        )

    def reset(self) -> None:
        """Copy the starting weights in."""
        torch.set_num_threads(self.n_threads)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(self.start.weights))
            self.linear.bias.copy_(torch.from_numpy(self.start.intercept))

    def run(self) -> None:
        """Make every step."""
        self.losses = []
        for batch in self.batches:
            x = self.rows.index_select(0, batch)
            if x.dtype != self.dtype:
                x = x.to(self.dtype)
                if self.scale != 1:
                    x.mul_(self.scale)
            y = self.labels.index_select(0, batch)
            logits = self.linear(x)
            loss: Any
            if self.binary:
                loss = functional.binary_cross_entropy_with_logits(logits.squeeze(1), y)
            else:
                loss = functional.cross_entropy(logits, y)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.detach())

    def _parameters(self) -> tuple[Any, Any]:
        return self.linear.weight, self.linear.bias


class PytorchManual(_Pytorch):
    """The gradient by hand, into buffers; step and penalty fused into one ``addmm_``."""

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, n_threads: int, converted: bool
    ) -> None:
        super().__init__(problem, data, start, n_threads=n_threads, converted=converted)
        m, d, k = problem.batch_size, problem.n_features, problem.n_outputs
        self.weights = torch.empty((k, d), dtype=self.dtype)
        self.intercept = torch.empty(k, dtype=self.dtype)
        self.x = torch.empty((m, d), dtype=self.dtype)
        self.gathered = (
            self.x
            if self.rows.dtype == self.dtype
            else torch.empty_like(self.x, dtype=self.rows.dtype)
        )
        self.batch_labels = torch.empty(m, dtype=self.labels.dtype)
        self.logits = torch.empty((m, k), dtype=self.dtype)
        self.residual = torch.empty_like(self.logits)
        self.minus_one = torch.full((m, 1), -1.0, dtype=self.dtype)

    def reset(self) -> None:
        """Copy the starting weights in."""
        torch.set_num_threads(self.n_threads)
        self.weights.copy_(torch.from_numpy(self.start.weights))
        self.intercept.copy_(torch.from_numpy(self.start.intercept))

    def run(self) -> None:
        """Make every step."""
        with torch.inference_mode():
            self._run()

    def _run(self) -> None:
        self.losses = []
        rate, l2 = self.problem.learning_rate, self.problem.l2
        step = self._sigmoid_step if self.binary else self._softmax_step
        for batch in self.batches:
            torch.index_select(self.rows, 0, batch, out=self.gathered)
            torch.index_select(self.labels, 0, batch, out=self.batch_labels)
            if self.gathered is not self.x:
                self.x.copy_(self.gathered)
                if self.scale != 1:
                    self.x.mul_(self.scale)
            step(rate / len(batch), 1.0 - 2.0 * l2 * rate)

    def _softmax_step(self, rate: float, shrink: float) -> None:
        x, y, residual = self.x, self.batch_labels, self.residual
        torch.addmm(self.intercept, x, self.weights.t(), out=self.logits)
        log_probability = torch.log_softmax(self.logits, 1, out=residual)
        self.losses.append(functional.nll_loss(log_probability, y))
        residual.exp_().scatter_add_(1, y.unsqueeze(1), self.minus_one)
        self.weights.addmm_(residual.t(), x, beta=shrink, alpha=-rate)
        self.intercept.sub_(residual.sum(0), alpha=rate)

    def _sigmoid_step(self, rate: float, shrink: float) -> None:
        x, y, weights = self.x, self.batch_labels, self.weights[0]
        logits, residual = self.logits[:, 0], self.residual[:, 0]
        torch.addmv(self.intercept.expand(len(y)), x, weights, out=logits)
        self.losses.append(functional.binary_cross_entropy_with_logits(logits, y))
        torch.sigmoid(logits, out=residual)
        residual.sub_(y)
        weights.addmv_(x.t(), residual, beta=shrink, alpha=-rate)
        self.intercept.sub_(residual.sum(), alpha=rate)

    def _parameters(self) -> tuple[Any, Any]:
        return self.weights, self.intercept


def _tensor(array: NDArray[Any]) -> Any:
    """Share an array's memory; it is only read, so PyTorch's word on read-only arrays is moot."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(array)


manual_variants = partial(usual_variants, PytorchManual)
idiomatic_variants = partial(usual_variants, PytorchIdiomatic)
