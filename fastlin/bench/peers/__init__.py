"""Other libraries that run the same epoch or reach the same optimum, each in its fastest form.

A choice that depends on the machine (how many threads, where uint8 becomes float) is a *variant*:
all are tried, and the fastest takes part under its own label.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast

from fastlin.bench.contestants import Contestant, Model
from fastlin.bench.data import Data
from fastlin.bench.problems import Problem
from fastlin.errors import InputError


class Build(Protocol):
    """Makes a contestant; for the check with another problem, data and start."""

    def __call__(self, problem: Problem, data: Data, start: Model) -> Contestant:
        """Return it, ready to be reset and run."""
        ...


@dataclass(frozen=True)
class Variant:
    """One form of a peer: its label, and how to make it."""

    label: str
    build: Build


class Variants(Protocol):
    """Lists a peer's forms for a problem at a number of threads."""

    def __call__(self, problem: Problem, n_threads: int) -> list[Variant]:
        """Return at least one."""
        ...


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
    install : str
        The command that installs it.
    module, function : str
        Where its :class:`Variants` are; imported only when it takes part.
    in_grid : bool
        Whether it takes part in the grid unless asked for.
    to_optimum : bool
        Whether it goes to the optimum instead of making an epoch.
    """

    name: str
    title: str
    package: str
    install: str
    module: str
    function: str
    in_grid: bool = True
    to_optimum: bool = False

    @property
    def installed(self) -> bool:
        """Whether the package can be found, without importing it."""
        return importlib.util.find_spec(self.package) is not None

    def variants(self, problem: Problem, n_threads: int) -> list[Variant]:
        """List the forms to try for a problem."""
        module = importlib.import_module(f"fastlin.bench.peers.{self.module}")
        return cast(Variants, getattr(module, self.function))(problem, n_threads)


_ALL = (
    Peer("numpy", "NumPy loop", "numpy", "pip install numpy", "numpy_loop", "variants"),
    Peer(
        "pytorch-manual",
        "PyTorch, gradient by hand",
        "torch",
        "pip install torch",
        "pytorch",
        "manual_variants",
    ),
    Peer(
        "pytorch",
        "PyTorch, nn.Linear + SGD",
        "torch",
        "pip install torch",
        "pytorch",
        "idiomatic_variants",
    ),
    Peer("jax", "JAX, jit + lax.scan", "jax", "pip install jax", "jax_scan", "variants"),
    # One-vs-rest, a sample at a time: hours for the grid's thousand classes.
    Peer(
        "sgdclassifier",
        "scikit-learn SGDClassifier",
        "sklearn",
        "pip install scikit-learn",
        "sgd_classifier",
        "variants",
        in_grid=False,
    ),
)
PEERS = {peer.name: peer for peer in _ALL}
"""All peers that make an epoch, by name."""

_SOLVERS = (
    Peer(
        "sklearn-lbfgs",
        "scikit-learn lbfgs",
        "sklearn",
        "pip install scikit-learn",
        "solvers",
        "sklearn_variants",
        to_optimum=True,
    ),
    Peer(
        "sklearnex-lbfgs",
        "scikit-learn-intelex lbfgs",
        "sklearnex",
        "pip install scikit-learn-intelex",
        "solvers",
        "sklearnex_variants",
        to_optimum=True,
    ),
    Peer(
        "pytorch-lbfgs",
        "PyTorch LBFGS",
        "torch",
        "pip install torch",
        "solvers",
        "pytorch_variants",
        to_optimum=True,
    ),
)
SOLVERS = {peer.name: peer for peer in _SOLVERS}
"""All peers that go to the optimum, by name."""

SUITES = {
    "epoch": PEERS,
    "optimum": SOLVERS,
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


def variant_label(n_threads: int, *, all_threads: int, uint8: bool, converted: bool) -> str:
    """Say what is special about a variant; empty for the plain one."""
    parts = []
    if n_threads != all_threads:
        parts.append(f"{n_threads} thread" + ("s" if n_threads > 1 else ""))
    if uint8:
        parts.append("float32 copy made beforehand" if converted else "uint8 widened a batch")
    return ", ".join(parts)
