"""Time an epoch on 1, 2, 3, 4, 6, 8 and so on threads.

    python bench/scaling.py --json bench/records/MACHINE/scaling.json

``fastlin.kernels.blocking`` has no say here, so that each number of threads is really taken, as far
as the work can be divided at all. ``bench/tables.py`` sets its choice beside what was measured, for
``docs/guide/scaling.rst``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from fastlin.bench.contestants import Contestant, Fit, Kernel, Model
from fastlin.bench.data import Data, make_data
from fastlin.bench.limits import measure_limits
from fastlin.bench.machine import describe_machine
from fastlin.bench.problems import Problem, sparse_problems
from fastlin.bench.results import Case, Results
from fastlin.bench.timing import Timed, available_cores, interleaved_rounds
from fastlin.errors import FastlinError
from fastlin.kernels import Backend, blocking, get_backend

SHAPES = (
    (64, 2, 128),
    (784, 2, 128),
    (784, 10, 32),
    (784, 10, 128),
    (784, 10, 1024),
    (4096, 10, 128),
    (768, 100, 128),
    (768, 1000, 128),
    (2048, 1000, 4096),
)
"""Features, classes and batch sizes, on float32 rows."""

SECONDS, PRODUCTS_PER_SECOND = 0.05, 20e9
"""Time of an epoch on one thread, roughly, as ``docs/guide/scaling.rst`` estimates it."""

MOST_BYTES = 2**29


@contextmanager
def all_threads_taken() -> Iterator[None]:
    """Let a call take all threads that there may be, however little they have to do."""
    chosen = blocking.useful_threads
    blocking.useful_threads = lambda work, whole_work, work_of_a_start, most, n_slices: max(1, most)
    blocking.dense_blocking.cache_clear()
    try:
        yield
    finally:
        blocking.useful_threads = chosen
        blocking.dense_blocking.cache_clear()


class Gradient(Kernel):
    """The gradient over all rows, as L-BFGS needs it."""

    def run(self) -> None:
        """Compute it once."""
        model = self.parameters
        self.backend.loss_gradient(self.samples, model.weights, model.intercept, self.n_threads)


def counts_up_to(most: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on, and the most."""
    powers = [2**exponent for exponent in range(most.bit_length())]
    return sorted(n for n in {*powers, *(3 * power for power in powers), most} if n <= most)


def dense_problem(features: int, classes: int, batch_size: int) -> Problem:
    """Return a problem with about :data:`SECONDS` of work, in whole batches."""
    problem = Problem(
        f"threads-d{features}-k{classes}-batch{batch_size}-float32",
        batch_size,
        features,
        classes,
        batch_size,
        "float32",
    )
    products = features * (problem.n_outputs + blocking.COST_OF_A_FEATURE)
    n_rows = min(SECONDS * PRODUCTS_PER_SECOND / products, MOST_BYTES / (4 * features))
    return replace(problem, n_rows=max(int(n_rows) // batch_size, 2) * batch_size)


def problems() -> Iterator[tuple[Problem, type[Contestant]]]:
    """Yield problems and what is timed on them."""
    for shape in SHAPES:
        yield dense_problem(*shape), Kernel
    yield replace(dense_problem(784, 10, 128), name="threads-d784-k10-gradient-float32"), Gradient
    text = replace(sparse_problems(quick=True)[0], n_rows=50_000, n_features=50_000)
    yield replace(text, name="threads-text-k20-batch128-float32"), Fit


def contestant(
    kind: type[Contestant], backend: Backend, problem: Problem, data: Data, n_threads: int
) -> Contestant:
    """Return what is timed on so many threads."""
    if issubclass(kind, Fit):
        return kind(backend, problem, data, n_threads)
    assert issubclass(kind, Kernel)
    return kind(backend, problem, data, Model.zeros(problem), n_threads)


def time_problem(
    problem: Problem, contestants: dict[tuple[str, int], Contestant], rounds: int
) -> list[Case]:
    """Time contestants, by the backend's name and the number of threads, in turn."""
    timed = {f"{name} {n}": Timed(one.reset, one.run) for (name, n), one in contestants.items()}
    with all_threads_taken():
        seconds = interleaved_rounds(timed, rounds)
    return [
        Case(
            problem=problem.name,
            contestant=f"fastlin {name}",
            kind="kernel",
            variant="",
            n_threads=n,
            dtype=problem.dtype,
            flops=problem.flops,
            bytes=problem.bytes,
            seconds=seconds[f"{name} {n}"].tolist(),
            error=None,
            tolerance=None,
        )
        for name, n in contestants
    ]


@click.command()
@click.option("--threads", type=click.IntRange(1), default=available_cores, help="The most.")
@click.option("--backend", "names", default="c,numba", show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path))
def main(threads: int, names: str, rounds: int, file: Path | None) -> None:
    """Print how many times as fast an epoch is on several threads as on one."""
    try:
        backends = [get_backend(name) for name in names.split(",")]
    except FastlinError as error:
        raise click.ClickException(str(error)) from None
    counts = counts_up_to(threads)
    results = Results(
        machine=describe_machine(),
        n_threads=threads,
        rounds=rounds,
        limits={n: measure_limits(n) for n in counts},
    )
    for n, limits in results.limits.items():
        flops, read = limits.float32_flops_per_second, limits.read_bytes_per_second
        print(f"{n:3} threads: {flops / 1e9:5.0f} GFLOP/s, {read / 1e9:5.1f} GB/s", flush=True)
    for problem, kind in problems():
        data = make_data(problem)
        contestants = {
            (backend.name, n): contestant(kind, backend, problem, data, n)
            for backend in backends
            for n in counts
        }
        cases = time_problem(problem, contestants, rounds)
        results.cases += cases
        for backend in backends:
            own = [case for case in cases if case.contestant == f"fastlin {backend.name}"]
            alone = own[0].spread.median
            speeds = "  ".join(
                f"{one.n_threads}: {1 / one.ratio_to(own[0]).median:.2f}" for one in own
            )
            print(
                f"{problem.name:36} {backend.name:5} {1000 * alone:7.1f} ms  {speeds}", flush=True
            )
        if file is not None:
            results.save(file)


if __name__ == "__main__":
    main()
