"""Numba's variables and other users of Numba: their settings never cause a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from command_line import Run
from processes import LONG, THOROUGH, run_python, thorough, two_at_a_time

from fastlin.kernels import load_backend

pytestmark = pytest.mark.skipif(
    not load_backend("numba").available, reason="backend 'numba' is not available"
)

PROGRAM = """
import json, logging, os, warnings
warnings.simplefilter("ignore")
BEFORE
import numpy as np
from click.testing import CliRunner
import fastlin
from fastlin import LogisticRegression
from fastlin.errors import BackendUnavailableError

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("fastlin").addHandler(handler)

generator = np.random.default_rng(0)
X = generator.standard_normal((1024, 512)).astype(np.float32)  # enough for two threads
y = (X[:, :50].sum(axis=1) > 0).astype(int)

def fit(backend):
    options = dict(max_epochs=2, tol=None, random_state=0, batch_size=1024, n_threads=2)
    return LogisticRegression(backend=backend, **options).fit(X, y)

right = fit("numpy").coef_
assert np.abs(right).max() > 0.01
result = {}
for backend in ("auto", "c", "numba", "auto"):
    said.clear()
    try:
        model = fit(backend)
        taken = model.backend_
        far = np.abs(model.coef_ - right).max() / np.abs(right).max()
        if not far < 1e-4:  # sums of 1024 float32 numbers
            taken = f"wrong by {far:.2g}"
    except BackendUnavailableError as error:
        taken = f"unavailable: {error}"
    result.setdefault(backend, [taken, *said])
numba = fastlin.backends()["numba"]
result["reason"] = [numba.reason, numba.remedy]
from fastlin.cli import main
info = CliRunner().invoke(main, ["info"])
result["info"] = [info.exit_code, info.output]
AFTER
print(json.dumps(result))
"""

PARALLEL = """
import numba
@numba.njit(parallel=True)
def total(n):
    s = 0
    for i in numba.prange(n):
        s += i
    return s
assert total(1000) == 499500
"""
"""Another library's kernel, which starts Numba's threads."""


@dataclass(frozen=True)
class Case:
    """A setting, and its possible effects."""

    variables: dict[str, str] = field(default_factory=dict)
    before: str = ""
    after: str = ""
    named: str = ""
    """A part of the reason if Numba cannot be used; empty if it must be usable."""
    must_fail: bool = False
    cold: bool = False
    """Whether it starts with an empty cache of its own."""


def variable(name: str, value: str, **more: Any) -> Case:
    return Case({name: value}, named=name.removeprefix("NUMBA_"), **more)


def works(name: str, value: str, **more: Any) -> Case:
    return Case({name: value}, **more)


CHANGED_LATER = PARALLEL + "os.environ['NUMBA_NUM_THREADS'] = '7'\n"
SET_LAYER = "import numba; numba.config.THREADING_LAYER = "

CASES = {
    "nothing": Case(),
    "no JIT": variable("NUMBA_DISABLE_JIT", "1", must_fail=True),
    "layer nonsense": variable("NUMBA_THREADING_LAYER", "nonsense", must_fail=True),
    "layer nonsense, set by a library": Case(
        before=SET_LAYER + "'nonsense'", named="THREADING_LAYER", must_fail=True
    ),
    "threads changed later, cold": Case(before=CHANGED_LATER, cold=True),
    "unknown processor": variable("NUMBA_CPU_NAME", "nonsense"),
}
if THOROUGH:
    CASES |= {
        "threads set by the caller": Case(
            before=PARALLEL + "numba.set_num_threads(1)\n",
            after="import numba; assert numba.get_num_threads() == 1",
        ),
        "layer omp": variable("NUMBA_THREADING_LAYER", "omp"),
        "many threads": works("NUMBA_NUM_THREADS", "9"),
        "bounds checked": works("NUMBA_BOUNDSCHECK", "1"),
        "layer workqueue": works("NUMBA_THREADING_LAYER", "workqueue"),
        "layer tbb, set by a library": Case(before=SET_LAYER + "'tbb'", named="THREADING_LAYER"),
        "priority tbb": variable("NUMBA_THREADING_LAYER_PRIORITY", "tbb"),
        "priority nonsense": variable("NUMBA_THREADING_LAYER_PRIORITY", "a b c"),
        "one thread": works("NUMBA_NUM_THREADS", "1"),
        "no threads": variable("NUMBA_NUM_THREADS", "0"),
        "threads changed later, warm": Case(before=CHANGED_LATER),
        "threads launched before": Case(before=PARALLEL),
        "unknown feature": variable("NUMBA_CPU_FEATURES", "nonsense"),
        "optimisation nonsense": variable("NUMBA_OPT", "nonsense"),
        "cache told": works("NUMBA_DEBUG_CACHE", "1"),
        "no AVX": works("NUMBA_ENABLE_AVX", "0"),
        "layer tbb": variable("NUMBA_THREADING_LAYER", "tbb"),
    }
if LONG:
    CASES |= {
        "debugging": works("NUMBA_DEBUGINFO", "1"),
        "no optimisation": works("NUMBA_OPT", "0"),
        "threads that are no number": variable("NUMBA_NUM_THREADS", "abc"),
        "priority workqueue tbb omp": works("NUMBA_THREADING_LAYER_PRIORITY", "workqueue tbb omp"),
        "layer threadsafe": variable("NUMBA_THREADING_LAYER", "threadsafe"),
        "layer safe": variable("NUMBA_THREADING_LAYER", "safe"),
        "layer forksafe": variable("NUMBA_THREADING_LAYER", "forksafe"),
        "layer workqueue, set by a library": Case(before=SET_LAYER + "'workqueue'"),
        "priority workqueue": variable("NUMBA_THREADING_LAYER_PRIORITY", "workqueue"),
        "most optimisation": works("NUMBA_OPT", "max"),
        "unknown feature after known ones": variable("NUMBA_CPU_FEATURES", "+sse,+sse2,+nonsense"),
        "no features": variable("NUMBA_CPU_FEATURES", ""),
        "empty layer": variable("NUMBA_THREADING_LAYER", ""),
        "optimisation 3": works("NUMBA_OPT", "3"),
        "captured errors": works("NUMBA_CAPTURED_ERRORS", "new_style"),
        "developer mode": works("NUMBA_DEVELOPER_MODE", "1"),
        "no vectorising": works("NUMBA_LOOP_VECTORIZE", "0"),
        "threads below 0": variable("NUMBA_NUM_THREADS", "-1"),
        "no threads at all to be had": variable("NUMBA_NUM_THREADS", "1000"),
    }


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Run]]:
    warm = tmp_path_factory.mktemp("warm")

    def run(name: str) -> Run:
        case = CASES[name]
        code = PROGRAM.replace("BEFORE", case.before).replace("AFTER", case.after)
        folder = tmp_path_factory.mktemp("cold") if case.cold else warm
        return run_python("-c", code, variables={"NUMBA_CACHE_DIR": str(folder), **case.variables})

    with two_at_a_time(request, "name", run) as wait_for:
        yield wait_for


@pytest.mark.parametrize("name", CASES)
def test_it_trains_or_says_why_not(name: str, outcomes: Callable[[str], Run]) -> None:
    case, done = CASES[name], outcomes(name)
    assert done.code == 0, done
    assert "Traceback" not in done.out + done.err
    result = json.loads(done.out.splitlines()[-1])
    reason, remedy = result["reason"]
    taken, *said = result["numba"]
    if taken == "numba":
        assert not case.must_fail
        assert reason is None
        assert result["auto"][0] == "numba"
        assert said == []
    else:
        assert case.named, taken
        assert taken.startswith("unavailable: backend 'numba' is not available: ")
        assert "\n" not in taken
        for part in (case.named, reason, remedy):
            assert part in taken
        # `auto` takes the next, and says so in one line.
        automatic, *told = result["auto"]
        assert automatic == ("c" if load_backend("c").available else "numpy")
        assert len(told) == 1, told
        assert "\n" not in told[0]
        assert case.named in told[0]
    if load_backend("c").available:
        assert result["c"] == ["c"]
    code, output = result["info"]
    assert code == 0, output
    if reason is not None:
        assert reason in output
        assert remedy in output


VARIABLES = [("NUMBA_THREADING_LAYER", "nonsense")]
if LONG:
    VARIABLES += [("NUMBA_DISABLE_JIT", "1"), ("NUMBA_NUM_THREADS", "0")]


@pytest.mark.parametrize(("name", "value"), VARIABLES)
def test_the_command_says_it_too(name: str, value: str, tmp_path: Path) -> None:
    done = run_python("-m", "fastlin", "info", variables={name: value})
    assert done.code == 0, done
    assert "Traceback" not in done.err
    assert "remedy:" in done.out
    assert name.removeprefix("NUMBA_") in done.out
    options = ("--data", "digits", "--max-epochs", "1", "--quiet")
    done = run_python("-m", "fastlin", "train", *options, variables={name: value})
    assert done.code == 0, done
    assert len(done.err.splitlines()) <= 1, done.err
    done = run_python(
        "-m", "fastlin", "train", *options, "--backend", "numba", variables={name: value}
    )
    assert done.code == 2, done
    assert len(done.err.splitlines()) == 1, done.err
    assert name.removeprefix("NUMBA_") in done.err


# ------------------------------------------------------------------ other users of Numba


THEIRS = """
import numba
import numpy as np

@numba.njit(cache=True)
def length(v):
    return np.sqrt((v * v).sum())

@numba.njit(cache=True, parallel=True)
def doubled(v):
    out = np.empty_like(v)
    for i in numba.prange(len(v)):
        out[i] = 2 * v[i]
    return out

@numba.vectorize(["float64(float64)"], cache=True)
def squared(x):
    return x * x

record = np.dtype([("a", np.int64), ("b", np.float64)])

@numba.njit(cache=True)
def of_record(one):
    return one["a"] + one["b"]

def check():
    v = np.arange(1000.0)
    assert abs(length(v) - np.sqrt((v * v).sum())) < 1e-6
    assert (doubled(v) == 2 * v).all()
    assert (squared(v) == v * v).all()
    assert of_record(np.array([(1, 0.5)], record)[0]) == 1.5
"""


@thorough
def test_other_users_of_numba_before_and_after(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(THEIRS)
    before = "import theirs; theirs.check()"
    orders = {
        "before": PROGRAM.replace("BEFORE", before).replace("AFTER", ""),
        "both, warm": PROGRAM.replace("BEFORE", before).replace("AFTER", before),
    }
    if THOROUGH:
        orders["after"] = PROGRAM.replace("BEFORE", "").replace("AFTER", before)
    for name, code in orders.items():
        done = run_python(
            *("-c", code), folder=tmp_path, variables={"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        )
        assert done.code == 0, f"{name}: {done}"
        assert done.err == "", name
        result = json.loads(done.out.splitlines()[-1])
        assert (result["auto"], result["numba"]) == (["numba"], ["numba"]), name
