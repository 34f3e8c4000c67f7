"""What a call on rows of either form lays out in memory for its kernel: a :class:`Call`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from fastlin.kernels.blocking import REGISTERS
from fastlin.kernels.interrupts import stop_word
from fastlin.kernels.jit.barrier import BARRIER_WORDS
from fastlin.kernels.jit.call_memory import Memory
from fastlin.kernels.jit.launch import instruction_set, start
from fastlin.kernels.jit.memory import words_of
from fastlin.kernels.jit.step import NO_RATES, words_of_rates
from fastlin.kernels.threads import safe_n_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray, Parameters, Samples, StepOptions
    from fastlin.kernels.jit.kind import Kind


class Call(Memory):
    """The arrays of one call, by their addresses; all are zero at first, on lines of their own.

    Attributes
    ----------
    k, k_padded, d : int
        Classes, with those that only fill a block, and features.
    n_threads : int
        Threads that have enough to do.
    kind : Kind
        What the kernels are compiled for that its threads are started in.
    """

    k_padded: int
    n_threads: int
    kind: Kind

    def __init__(self, samples: Samples, weights: FloatArray, n_threads: int) -> None:
        super().__init__(weights.dtype)
        self.samples = samples
        self.k, self.d = weights.shape
        self.registers = REGISTERS[instruction_set()]
        # Each thread needs a thread of Numba's: they wait for each other.
        self.most_threads = safe_n_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))

    def common_arguments(self, order: NDArray[np.int64] | None) -> dict[str, int]:
        """Return the arguments that are the same for rows of either form."""
        samples = self.samples
        return {
            "order": self.address(order, np.int64),
            "labels": self.address(samples.labels if samples.has_labels else None, np.int32),
            "sample_weight": self.address(samples.sample_weight, np.float64),
            "barrier": self.zeros(BARRIER_WORDS, dtype=np.dtype(np.int32)),
            "stop": self.address(stop_word()),
        }

    def intercepts(self, *rows: FloatArray | None) -> NDArray[Any]:
        """Return each thread's copies of the intercept, its velocity and its average.

        Shape ``(n_threads, 3, k_padded)``; what is no class has the logit minus infinity.
        """
        out = self.array(self.n_threads, 3, self.k_padded)
        out[:, 0, self.k :] = -np.inf
        for row, values in enumerate(rows):
            if values is not None:
                out[:, row, : self.k] = values
        return out

    def run(
        self,
        body: Any,
        shape: Any,
        arguments: Any,
        losses_out: NDArray[np.float64],
        steps: tuple[StepOptions, Parameters] | None = None,
    ) -> None:
        """Run every batch of the call; ``steps``: unless it only sums gradients."""
        assert losses_out.flags.carray
        assert self.samples.has_labels, "this kernel needs the rows' labels"
        rates, nesterov = NO_RATES, False
        if steps is not None:
            rates = words_of_rates(steps[0], steps[1].weights_velocity is not None)
            nesterov = steps[0].nesterov
        arguments = arguments._replace(
            schedule=self.address(rates[0]),
            n_steps=len(losses_out),
            constants=self.address(rates[1]),
            nesterov=nesterov,
            losses=self.address(losses_out),
        )
        start(body, self.kind, words_of(shape, arguments), self.n_threads)


def of_weights(parameters: Parameters) -> list[FloatArray | None]:
    """Return the weights, their velocity and their average, ``(k, d)`` each."""
    return [parameters.weights, parameters.weights_velocity, parameters.weights_average]


def of_intercept(parameters: Parameters) -> list[FloatArray | None]:
    """Return the intercept, its velocity and its average, ``(k,)`` each."""
    return [parameters.intercept, parameters.intercept_velocity, parameters.intercept_average]


def take_intercept(parameters: Parameters, intercepts: NDArray[Any]) -> None:
    """Copy one thread's intercept, velocity and average back."""
    for row, values in enumerate(of_intercept(parameters)):
        if values is not None:
            values[:] = intercepts[0, row, : len(values)]
