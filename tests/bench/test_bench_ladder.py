"""``bench/ladder.py``: the steps of the page on kernels, compared and timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from processes import run_python
from scripts import script

from fastlin.bench.data import make_data
from fastlin.bench.problems import mnist_problems
from fastlin.errors import FastlinError

PROGRAM = Path(__file__).parents[2] / "bench" / "ladder.py"


@pytest.fixture(scope="module")
def ladder() -> ModuleType:
    return script("bench/ladder.py")


def test_it_prints_a_line_for_each_rung() -> None:
    """In a process of its own, since it changes the cores that Numba finds."""
    done = run_python(PROGRAM, "--rows", "256", "--rounds", "1", "--threads", "1")
    assert done.code == 0, done
    machine, _, *lines = done.out.splitlines()
    assert "cores" in machine
    assert lines[0].startswith("mathematics (NumPy), 1 thread")
    assert lines[0].split()[-1] == "1.0"
    assert sum(line.startswith("plain loops") for line in lines) == 2


@pytest.mark.parametrize("wrong", [1.01, np.nan])
def test_a_wrong_rung_is_not_timed(ladder: ModuleType, wrong: float) -> None:
    problem = replace(mnist_problems(source="synthetic", dtypes=("float32",))[0], n_rows=256)
    data = make_data(problem)
    in_numpy, _ = ladder.steps_of_page()

    def off(rows, labels, batch, weights, intercept, rate, l2) -> None:
        in_numpy(rows, labels, batch, weights, intercept, rate * wrong, l2)

    right = ladder.Steps(in_numpy, problem, data)
    ladder.check({"right": right, "the same": ladder.Steps(in_numpy, problem, data)})
    with pytest.raises(FastlinError, match=r"other: a weight is .* off; not timed"):
        ladder.check({"right": right, "other": ladder.Steps(off, problem, data)})
