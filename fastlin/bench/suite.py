"""Runs a benchmark: for each problem, check every contestant, then time those that passed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fastlin.bench.contestants import Contestant, Fit, Kernel, Model
from fastlin.bench.correctness import (
    Check,
    check,
    check_problem,
    compare,
    random_model,
    reference_outcome,
)
from fastlin.bench.data import Data, make_data
from fastlin.bench.limits import measure_limits
from fastlin.bench.machine import describe_machine
from fastlin.bench.optimum import FastlinSolver, Solver, Target, bring_to_target
from fastlin.bench.peers import Peer
from fastlin.bench.predictions import Predictor, check_prediction
from fastlin.bench.problems import Problem
from fastlin.bench.results import Case, Failure, Results
from fastlin.bench.timing import Timed, fastest_of, interleaved_rounds, time_once
from fastlin.kernels import Backend, get_backend


@dataclass(frozen=True)
class Plan:
    """What takes part in a benchmark.

    Attributes
    ----------
    problems : sequence of Problem
    backends : sequence of Backend
        Available ones.
    peers : sequence of Peer
        Installed or not; those that are not are listed as missing.
    n_threads : int
        Threads of every contestant; fastlin's kernels also run on one, to show how they scale.
    rounds : int
    """

    problems: Sequence[Problem]
    backends: Sequence[Backend]
    peers: Sequence[Peer]
    n_threads: int
    rounds: int = 10


@dataclass(frozen=True)
class Entry:
    """A contestant that passed its check and is ready to be timed."""

    name: str
    kind: str
    variant: str
    n_threads: int
    contestant: Contestant
    check: Check | None

    @property
    def timed(self) -> Timed:
        """What the rounds call."""
        return Timed(self.contestant.reset, self.contestant.run)


def run(plan: Plan, *, on_progress: Callable[[str], None] | None = None) -> Results:
    """Check and time everything in a plan.

    Parameters
    ----------
    plan : Plan
    on_progress : callable, optional
        Called with a few words about what is being done.
    """
    say = on_progress or (lambda _: None)
    say("measuring the machine's limits")
    results = Results(
        machine=describe_machine(),
        n_threads=plan.n_threads,
        rounds=plan.rounds,
        limits={n: measure_limits(n) for n in sorted({1, plan.n_threads})},
        missing={peer.title: peer.install for peer in plan.peers if not peer.installed},
    )
    for number, problem in enumerate(plan.problems, 1):
        where = f"{problem.name} ({number} of {len(plan.problems)})"
        say(f"{where}: preparing")
        data = make_data(problem)
        say(f"{where}: checking")
        entries = _entries(plan, problem, data, results.wrong)
        say(f"{where}: timing {len(entries)} contestants")
        seconds = interleaved_rounds({entry.name: entry.timed for entry in entries}, plan.rounds)
        results.cases += [_case(problem, entry, list(seconds[entry.name])) for entry in entries]
    return results


def _case(problem: Problem, entry: Entry, seconds: list[float]) -> Case:
    return Case(
        problem=problem.name,
        contestant=entry.name,
        kind=entry.kind,
        variant=entry.variant,
        n_threads=entry.n_threads,
        dtype=problem.dtype,
        flops=problem.flops * getattr(entry.contestant, "iterations", 1),
        bytes=problem.bytes * getattr(entry.contestant, "iterations", 1),
        seconds=[float(value) for value in seconds],
        error=entry.check.error if entry.check else None,
        tolerance=entry.check.tolerance if entry.check else None,
    )


def _entries(plan: Plan, problem: Problem, data: Data, wrong: list[Failure]) -> list[Entry]:
    """Return the contestants that passed; those that did not are added to ``wrong``."""
    if problem.gap is not None:
        return _optimum_entries(plan, problem, data, wrong)
    found = []
    n = plan.n_threads
    for backend in plan.backends:
        name = f"fastlin {backend.name}"
        if problem.predicts:
            found.append(predict_entry(name, backend, problem, data, n))
            continue
        fit = fit_entry(f"{name}, fit", backend, problem, data, n)
        if problem.nonzeros is not None:  # the fit stands for the kernel
            found.append(replace(fit, name=name, kind="kernel"))
            continue
        found.append(kernel_entry(name, backend, problem, data, n))
        if n > 1 and problem.timed != "fit":
            found.append(kernel_entry(f"{name}, 1 thread", backend, problem, data, 1))
        found.append(fit)
        if problem.timed == "fit":
            found.append(fit_entry(f"{name}, fit, rate auto", backend, problem, data, n, "auto"))
    entries = [entry for entry in found if _passed(entry, problem, wrong)]
    for peer in plan.peers:
        if peer.installed and not peer.to_optimum:
            entries += peer_entry(peer, problem, data, n, wrong)
    return entries


def _optimum_entries(plan: Plan, problem: Problem, data: Data, wrong: list[Failure]) -> list[Entry]:
    """Return the solvers that reach the problem's gap, each with the iterations it needs.

    Each peer is represented by its fastest variant. Solvers that miss the gap are added to
    ``wrong``.
    """
    n = plan.n_threads
    target = Target.of(problem, data, plan.backends[0], n)

    def entry_of(name: str, kind: str, label: str, solver: Solver) -> list[Entry]:
        checked = bring_to_target(solver, target)
        if not checked.passed:
            reason = (
                f"after {solver.iterations} iterations its objective is still {checked.error:.1e} "
                f"above the least, which is more than {checked.tolerance:.0e}"
            )
            wrong.append(Failure(problem.name, f"{name} ({label})" if label else name, reason))
            return []
        iterations = f"{solver.iterations} iterations"
        variant = f"{label}, {iterations}" if label else iterations
        return [Entry(name, kind, variant, n, solver, checked)]

    entries = []
    for backend in plan.backends:
        solver = FastlinSolver(backend, problem, data, n)
        entries += entry_of(f"fastlin {backend.name}", "kernel", "", solver)
    for peer in plan.peers:
        if not peer.installed or not peer.to_optimum:
            continue
        found = []
        for variant in peer.variants(problem, n):
            contestant = variant.build(problem, data, Model.zeros(problem))
            assert isinstance(contestant, Solver)
            found += entry_of(peer.title, "peer", variant.label, contestant)
        entries += sorted(found, key=lambda entry: time_once(entry.timed))[:1]
    return entries


def kernel_entry(
    name: str, backend: Backend, problem: Problem, data: Data, n_threads: int
) -> Entry:
    """Check a backend's ``sgd_steps``."""
    build = partial(Kernel, backend, n_threads=n_threads)
    checked = check(build, problem, data)
    contestant = build(problem, data, Model.zeros(problem))
    return Entry(name, "kernel", "", n_threads, contestant, checked)


def fit_entry(
    name: str,
    backend: Backend,
    problem: Problem,
    data: Data,
    n_threads: int,
    learning_rate: float | str | None = None,
) -> Entry:
    """Check a backend's ``fit``, with the problem's rate unless another is given."""
    checked = check_fit(backend, problem, data, n_threads, learning_rate)
    fit = Fit(backend, problem, data, n_threads, learning_rate=learning_rate)
    return Entry(name, "fit", "", n_threads, fit, checked)


def predict_entry(
    name: str, backend: Backend, problem: Problem, data: Data, n_threads: int
) -> Entry:
    """Check a backend's predictions."""
    from fastlin import LogisticRegression

    predictor = Predictor(
        problem,
        data,
        random_model(problem),
        estimator=LogisticRegression(backend=backend.name, n_threads=n_threads),
        n_threads=n_threads,
    )
    return Entry(name, "kernel", "", n_threads, predictor, check_prediction(predictor))


def check_fit(
    backend: Backend,
    problem: Problem,
    data: Data,
    n_threads: int,
    learning_rate: float | str | None = None,
) -> Check:
    """Check ``fit``, which starts at zero and finds its classes in the labels it sees.

    The few rows of a check may lack some classes, so the labels are renumbered. An automatic rate
    is compared with that of NumPy's ``fit`` in float64, and so are the steps.
    """
    short = check_problem(problem)
    order = data.order[: short.n_rows]
    classes, labels = np.unique(data.labels[order], return_inverse=True)
    short = replace(short, n_classes=len(classes))
    few = Data(data.rows[order], labels.astype(np.int32), np.arange(len(order)), data.scale)
    chosen: dict[str, Any] = {"learning_rate": learning_rate, "shuffle": False}
    fit = Fit(backend, short, few, n_threads, **chosen)
    fits = [fit]
    if learning_rate == "auto":
        fits.append(Fit(get_backend("numpy"), short, few, 1, dtype="float64", **chosen))
    for one in fits:
        one.reset()
        one.run()
    start = Model.zeros(short)
    right = fits[1].outcome() if fits[1:] else reference_outcome(short, few, start)
    return compare(fit.outcome(), right, start, short)


def peer_entry(
    peer: Peer, problem: Problem, data: Data, n_threads: int, wrong: list[Failure]
) -> list[Entry]:
    """Check each of a peer's variants, and return the fastest of those that passed, if any did.

    The others are added to ``wrong``.
    """
    entries = []
    for variant in peer.variants(problem, n_threads):
        start = random_model(problem) if problem.predicts else Model.zeros(problem)
        contestant = variant.build(problem, data, start)
        checked = None
        if isinstance(contestant, Predictor):
            checked = check_prediction(contestant)
        elif contestant.same_mathematics:
            checked = check(variant.build, problem, data)
        entry = Entry(peer.title, "peer", variant.label, n_threads, contestant, checked)
        if _passed(entry, problem, wrong):
            entries.append(entry)
    return entries if len(entries) < 2 else [min(entries, key=lambda one: fastest_of(one.timed))]


def _passed(entry: Entry, problem: Problem, wrong: list[Failure]) -> bool:
    checked = entry.check
    if checked is None or checked.passed:
        return True
    what = f"weights after {check_problem(problem).n_steps} steps"
    reason = (
        f"its {'probabilities' if problem.predicts else what} are off by "
        f"{checked.error:.1e}, which is more than {checked.tolerance:.1e}"
    )
    name = f"{entry.name} ({entry.variant})" if entry.variant else entry.name
    wrong.append(Failure(problem.name, name, reason))
    return False
