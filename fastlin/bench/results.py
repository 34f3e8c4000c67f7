"""The record of a benchmark: what was timed, what was not and why, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.bench.limits import Limits
from fastlin.bench.timing import Spread
from fastlin.errors import InputError
from fastlin.results.output_file import replacing

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class Case:
    """One contestant's times on one problem.

    Attributes
    ----------
    problem : str
    contestant : str
        Such as ``"fastlin c"``, ``"fastlin c, fit"`` or ``"NumPy loop"``.
    kind : str
        ``"kernel"``, ``"fit"`` or ``"peer"``. On sparse rows and to the optimum, fastlin is timed
        by its fit alone, which counts as the kernel, as its predictions do.
    variant : str
        The fastest of the peer's forms. To the optimum, also the number of iterations that it
        needs.
    n_threads : int
    dtype : str
        Type of the problem's rows.
    flops, bytes : float
        Arithmetic of an epoch or prediction, and one pass over its rows; to the optimum, of all
        iterations.
    seconds : (rounds,) list of float
        Entries at equal positions, in all cases of a problem, were measured in the same round.
    error, tolerance : float or None
        Result and bound of the check; None if the mathematics differs.
    """

    problem: str
    contestant: str
    kind: str
    variant: str
    n_threads: int
    dtype: str
    flops: float
    bytes: float
    seconds: list[float]
    error: float | None
    tolerance: float | None

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds as an array."""
        return np.asarray(self.seconds)

    @property
    def spread(self) -> Spread:
        """Median and quartiles of the seconds."""
        return Spread.of(self.times)

    def ratio_to(self, base: Case) -> Spread:
        """Return how many times as long as ``base`` this took, round by round."""
        return Spread.of(self.times / base.times)


@dataclass(frozen=True)
class Failure:
    """A contestant that was not timed, and why."""

    problem: str
    contestant: str
    reason: str


@dataclass
class Results:
    """All cases of one run.

    Attributes
    ----------
    machine : dict
        See :func:`fastlin.bench.machine.describe_machine`.
    n_threads, rounds : int
    limits : dict of int to Limits
        By number of threads.
    cases : list of Case
    wrong : list of Failure
        Contestants whose weights disagreed with the reference.
    missing : dict of str to str
        Peers and backends that are not installed, with the command to type.
    """

    machine: dict[str, Any]
    n_threads: int
    rounds: int
    limits: dict[int, Limits] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    wrong: list[Failure] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def bases(self) -> list[str]:
        """Names of the contestants that ratios refer to: fastlin's kernels on all threads."""
        names = (
            case.contestant
            for case in self.cases
            if case.kind == "kernel" and case.n_threads == self.n_threads
        )
        return list(dict.fromkeys(names))

    def by_problem(self) -> Iterator[tuple[str, list[Case]]]:
        """Yield each problem with its cases, in the order in which they ran."""
        for problem in dict.fromkeys(case.problem for case in self.cases):
            yield problem, [case for case in self.cases if case.problem == problem]

    def share_of_limit(self, case: Case) -> tuple[float, str] | None:
        """Return the fraction of the machine's limit that a case reached, and which limit it is.

        At 1, only the necessary arithmetic (or reading) would take time. The result is None if the
        limits at this number of threads were not measured.
        """
        if case.n_threads not in self.limits:
            return None
        limits = self.limits[case.n_threads]
        least, limit = limits.least_seconds(case.flops, case.bytes, case.dtype)
        return least / case.spread.median, limit

    def save(self, path: Path) -> None:
        """Write as JSON.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        text = json.dumps({"format": FORMAT, **self._to_dict()}, indent=1)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n")

    def _to_dict(self) -> dict[str, Any]:
        record = asdict(self)
        for case, written in zip(self.cases, record["cases"], strict=True):
            written["median_seconds"] = case.spread.median
            written["quartiles_seconds"] = [case.spread.lower_quartile, case.spread.upper_quartile]
        return record

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            The file is missing or is not such a record.
        """
        try:
            record = json.loads(path.read_text())
            if record.pop("format") != FORMAT:
                raise ValueError("it has another format")
            limits = {int(n): Limits(**limit) for n, limit in record.pop("limits").items()}
            cases = [
                Case(**{name: case[name] for name in Case.__dataclass_fields__})
                for case in record.pop("cases")
            ]
            wrong = [Failure(**failure) for failure in record.pop("wrong")]
            return cls(**record, limits=limits, cases=cases, wrong=wrong)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{str(path)!r} is not a benchmark's record ({error}); "
                "write one with 'fastlin bench --json FILE'"
            ) from error
