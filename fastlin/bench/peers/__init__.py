"""Other libraries that do the same work, each in its fastest form.

A choice that depends on the machine (how many threads, where rows are widened) is a *variant*:
all are tried, and the fastest takes part under its own label.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from fastlin.bench.contestants import Contestant, Model
from fastlin.bench.data import Data
from fastlin.bench.problems import Problem
from fastlin.errors import InputError

Build: TypeAlias = Callable[[Problem, Data, Model], Contestant]
"""Makes a contestant, ready to be reset and run; for the check with another problem and start."""

_DISTRIBUTIONS = {"sklearn": "scikit-learn", "sklearnex": "scikit-learn-intelex"}
"""What pip calls the packages that are imported under another name."""


@dataclass(frozen=True)
class Variant:
    """One form of a peer: its label, and how to make it."""

    label: str
    build: Build


@dataclass(frozen=True)
class Peer:
    """A library to compare with.

    Attributes
    ----------
    name : str
        As given on the command line.
    title : str
        As shown in tables.
    package : str
        What must be importable.
    module, function : str
        What lists its forms, as :func:`usual_variants` does; imported only when it takes part.
    in_grid : bool
        Whether it takes part in the grid unless asked for.
    to_optimum : bool
        Whether it goes to the optimum instead of making an epoch.
    """

    name: str
    title: str
    package: str
    module: str
    function: str = "variants"
    in_grid: bool = True
    to_optimum: bool = False

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install {_DISTRIBUTIONS.get(self.package, self.package)}"

    @property
    def installed(self) -> bool:
        """Whether the package can be found, without importing it."""
        return importlib.util.find_spec(self.package) is not None

    def variants(self, problem: Problem, n_threads: int) -> list[Variant]:
        """List the forms to try for a problem."""
        module = importlib.import_module(f"fastlin.bench.peers.{self.module}")
        variants: list[Variant] = getattr(module, self.function)(problem, n_threads)
        return variants


_EPOCH = (
    Peer("numpy", "NumPy loop", "numpy", "numpy_loop"),
    Peer("pytorch-manual", "PyTorch, gradient by hand", "torch", "pytorch", "manual_variants"),
    Peer("pytorch", "PyTorch, nn.Linear + SGD", "torch", "pytorch", "idiomatic_variants"),
    Peer("jax", "JAX, jit + lax.scan", "jax", "jax_scan"),
    # One-vs-rest, a sample at a time: hours for the grid's thousand classes.
    Peer("sgdclassifier", "scikit-learn SGDClassifier", "sklearn", "sgd_classifier", in_grid=False),
)
PEERS = {peer.name: peer for peer in _EPOCH}
"""All peers that make an epoch, by name."""

SOLVERS = {
    name: Peer(name, title, package, "solvers", f"{package}_variants", to_optimum=True)
    for name, title, package in (
        ("sklearn-lbfgs", "scikit-learn lbfgs", "sklearn"),
        ("sklearnex-lbfgs", "scikit-learn-intelex lbfgs", "sklearnex"),
        ("pytorch-lbfgs", "PyTorch LBFGS", "torch"),
    )
}
"""All peers that go to the optimum, by name."""

PREDICTORS = {
    "sklearn": Peer("sklearn", "scikit-learn LogisticRegression", "sklearn", "predictors")
}
"""All peers that predict, by name."""

SUITES = {
    "epoch": PEERS,
    "optimum": SOLVERS,
    "probe": {name: peer for name, peer in PEERS.items() if peer.in_grid},
    "fit": {"sgdclassifier": PEERS["sgdclassifier"]},
    "predict": PREDICTORS,
    "sparse": {
        name: (PEERS | SOLVERS)[name]
        for name in ("sgdclassifier", "sklearn-lbfgs", "sklearnex-lbfgs")
    },
}
"""The peers of each suite of problems, by name."""


def chosen_peers(
    names: Iterable[str] | None, *, grid: bool = False, suite: str = "epoch"
) -> list[Peer]:
    """Return a suite's peers called ``names``, or those that take part by default.

    Raises
    ------
    InputError
        A name is not a peer of the suite.
    """
    peers = SUITES[suite]
    if names is None:
        return [peer for peer in peers.values() if peer.in_grid or not grid]
    names = list(names)
    for name in names:
        if name not in peers:
            known = ", ".join(peers)
            raise InputError(f"peer {name!r} is unknown; choose from {known}, or 'none'")
    return [peer for peer in peers.values() if peer.name in names]


def thread_counts(n_threads: int) -> list[int]:
    """Return the numbers of threads to try: skinny products can be slower on many."""
    return sorted({n_threads, 1}, reverse=True)


def variant_label(
    n_threads: int, *, all_threads: int, narrow: str = "", converted: bool = False
) -> str:
    """Say what is special about a variant; empty for the plain one.

    ``narrow`` is the type of rows that have to be widened, ``converted`` whether that is done
    beforehand.
    """
    parts = []
    if n_threads != all_threads:
        parts.append(f"{n_threads} thread" + ("s" if n_threads > 1 else ""))
    if narrow:
        parts.append("float32 copy made beforehand" if converted else f"{narrow} widened a batch")
    return ", ".join(parts)


def usual_variants(
    form: Callable[..., Contestant], problem: Problem, n_threads: int
) -> list[Variant]:
    """Return a form on one and all threads; narrow rows kept or converted beforehand."""
    narrow = problem.narrow
    return [
        Variant(
            variant_label(threads, all_threads=n_threads, narrow=narrow, converted=converted),
            partial(form, n_threads=threads, converted=converted),
        )
        for threads in thread_counts(n_threads)
        for converted in ([False, True] if narrow else [False])
    ]
