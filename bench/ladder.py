"""Time one epoch on each rung of ``docs/guide/kernels.rst``, and print a table.

    python bench/ladder.py [--rows N] [--rounds N] [--threads N]

The rungs in NumPy and in plain loops are the functions on that page, word for word. Every
contestant is first compared with the NumPy one; then they take turns, on as many cores as threads.
"""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numba import njit

from fastlin.bench.contestants import Contestant, Kernel, Model, Outcome, limit_blas_threads
from fastlin.bench.data import Data, make_data
from fastlin.bench.machine import describe_machine
from fastlin.bench.problems import Problem, mnist_problems
from fastlin.bench.timing import Spread, Timed, available_cores, interleaved_rounds, pinned_to_cores
from fastlin.errors import FastlinError
from fastlin.kernels import backends

PAGE = Path(__file__).parents[1] / "docs/guide/kernels.rst"

Step = Callable[..., None]


def steps_of_page() -> tuple[Step, Step]:
    """Return the page's step in NumPy, and its step in plain loops, not compiled."""
    names: dict[str, Any] = {"np": np, "njit": lambda function: function}
    for example in doctest.DocTestParser().get_examples(PAGE.read_text("utf-8")):
        if "def step_in_" in example.source:
            exec(example.source, names)
    return names["step_in_numpy"], names["step_in_loops"]


class Steps(Contestant):
    """An epoch that calls a step for each batch."""

    def __init__(self, step: Step, problem: Problem, data: Data) -> None:
        self.step, self.problem, self.data = step, problem, data
        self.batches = data.order.reshape(-1, problem.batch_size)
        dtype = problem.weight_dtype.type
        self.rate, self.l2 = dtype(problem.learning_rate), dtype(problem.l2)
        self.reset()

    def reset(self) -> None:
        limit_blas_threads(1)
        self.model = Model.zeros(self.problem)

    def run(self) -> None:
        for batch in self.batches:
            self.step(
                self.data.rows,
                self.data.labels,
                batch,
                self.model.weights,
                self.model.intercept,
                self.rate,
                self.l2,
            )

    def outcome(self) -> Outcome:
        return Outcome(self.model, np.empty(0))


def rungs(problem: Problem, data: Data, n_threads: int) -> dict[str, Contestant]:
    """Return the contestants, from the most readable to the fastest."""
    in_numpy, in_loops = steps_of_page()
    found: dict[str, Contestant] = {
        "mathematics (NumPy), 1 thread": Steps(in_numpy, problem, data),
        "plain loops (Numba), 1 thread": Steps(njit(in_loops), problem, data),
        "plain loops, sums in any order (fastmath), 1 thread": Steps(
            njit(fastmath=True)(in_loops), problem, data
        ),
    }
    for name, title in (("numba", "final form (Numba)"), ("c", "final form (C)")):
        backend = backends()[name]
        for threads in sorted({1, n_threads}) if backend.available else ():
            many = f"{threads} thread{'s' * (threads > 1)}"
            start = Model.zeros(problem)
            found[f"{title}, {many}"] = Kernel(backend, problem, data, start, threads)
    return found


def check(contestants: dict[str, Contestant]) -> None:
    """Raise an error unless all have the same weights as the first.

    Weights in float32, each step of which sums ``d`` products, differ by rounding: by some epsilons
    times the root of the number of terms. A thousandth of the largest weight is far above that, and
    far below the effect of any mistake.
    """
    outcomes = {}
    for name, contestant in contestants.items():
        contestant.reset()
        contestant.run()
        outcomes[name] = np.array(contestant.outcome().model.weights, np.float64)
    first, *others = outcomes
    largest = np.abs(outcomes[first]).max()
    for name in others:
        off = np.abs(outcomes[name] - outcomes[first]).max() / largest
        if not off < 1e-3:
            raise FastlinError(f"{name}: a weight is {off:.2g} of the largest off; not timed")


@click.command()
@click.option("--rows", default=60_000, show_default=True, help="Rows of the epoch.")
@click.option("--rounds", default=11, show_default=True, help="Times that each is timed.")
@click.option("--threads", default=available_cores(), help="Most threads of the final form.")
def main(rows: int, rounds: int, threads: int) -> None:
    """Print the time of an epoch on each rung."""
    problem = replace(mnist_problems(source="synthetic", dtypes=("float32",))[0], n_rows=rows)
    data = make_data(problem)
    contestants = rungs(problem, data, threads)
    with pinned_to_cores(threads):
        check(contestants)
        timed = {name: Timed(one.reset, one.run) for name, one in contestants.items()}
        seconds = interleaved_rounds(timed, rounds)
    machine = describe_machine()
    print("{processor}, {cores} cores, load {load_average:.1f}".format(**machine))
    first = next(iter(seconds))
    width = max(map(len, seconds))
    print(f"{'rung':{width}}  {'a step, us':>10}  {'spread':>13}  {'times NumPy':>11}")
    n_steps = len(data.order) // problem.batch_size
    for name, times in seconds.items():
        spread = Spread.of(times / n_steps * 1e6)
        ratio = np.median(seconds[first] / times)
        between = f"{spread.lower_quartile:.0f} to {spread.upper_quartile:.0f}"
        print(f"{name:{width}}  {spread.median:10.0f}  {between:>13}  {ratio:11.1f}")


if __name__ == "__main__":
    main()
