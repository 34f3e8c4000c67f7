"""Run Python as a user's script does: a process of its own, whose environment the test sets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

LONG = os.environ.get("FASTLIN_TEST_LONG") == "1"
"""Whether the longer forms of the tests run too."""

THOROUGH = LONG or os.environ.get("FASTLIN_TEST_THOROUGH") == "1"
"""Whether all forms of the tests run that take many processes, as in CI, rather than some."""

thorough = pytest.mark.skipif(
    not THOROUGH, reason="runs in CI; set FASTLIN_TEST_THOROUGH=1 to run it here"
)


def first_of(n: int, values: Sequence[Any]) -> list[Any]:
    """Return a test's parameters, of which those after the first ``n`` are for thorough tests."""
    some = [value if isinstance(value, tuple) else (value,) for value in values]
    return [
        pytest.param(*value, marks=() if place < n else thorough)
        for place, value in enumerate(some)
    ]


SECONDS = 600
"""For one process, though others keep the machine busy."""


def environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return this process's variables with some of them set, or unset if None is given."""
    result = dict(os.environ)
    for name, value in changes.items():
        result.pop(name, None)
        if value is not None:
            result[name] = value
    return result


def run_python(
    *arguments: object,
    variables: Mapping[str, str | None] | None = None,
    folder: Path | None = None,
    executable: str = sys.executable,
    before: Sequence[object] = (),
    seconds: float = SECONDS,
    **more: Any,
) -> Run:
    """Run the interpreter with these arguments, in `folder`; a signal is a negative exit code.

    `before`: a command that runs what follows it; `seconds`: after which it counts as one that
    hangs; `more`: for :func:`subprocess.run`.
    """
    done = subprocess.run(
        [*map(str, before), executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(variables or {}),
        cwd=folder,
        timeout=seconds,
        check=False,
        **more,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@contextmanager
def two_at_a_time(
    request: pytest.FixtureRequest, parameter: str, run: Callable[[Any], Any]
) -> Iterator[Callable[[Any], Any]]:
    """Begin what a module's chosen tests wait for, two at a time, and give what waits for one.

    For a fixture of a module whose tests are parametrized by `parameter`: most of them wait for a
    process of their own, which need not wait for the other tests.
    """
    wanted: dict[Any, Any] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.module is request.module:
            case = getattr(item, "callspec", None) and item.callspec.params.get(parameter)
            is_skipped = any(mark.args[0] for mark in item.iter_markers("skipif"))
            if case is not None and not is_skipped:
                wanted[case] = None
    with ThreadPoolExecutor(2) as pool:
        for case in wanted:
            wanted[case] = pool.submit(run, case)
        try:
            yield lambda case: wanted[case].result()
        finally:
            pool.shutdown(cancel_futures=True)
