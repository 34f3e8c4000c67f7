"""Processes that share one cache: the hunt, and orders of them that once gave wrong models."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hunt
import numpy as np
import pytest
from command_line import Run, run
from processes import LONG, run_python, two_at_a_time

from fastlin.errors import FastlinError
from fastlin.kernels import load_backend

needs_numba = pytest.mark.skipif(
    not load_backend("numba").available, reason="backend 'numba' is not available"
)

SEED = 8
N_PROCESSES = 12
"""In each of the two trials."""

TWO, THREE = "sgd,float64,k=2,d=20", "sgd,float64,k=3,d=20"
FLOAT32 = "sgd,float32,k=3,d=20"
SPARSE, SPARSE_MANY = "sgd,csrfloat64,k=3,d=20", "sgd,csrfloat64,k=17,d=20"
SPARSE_FLOAT32 = "sgd,csrfloat32,k=3,d=20"
IRIS, CANCER = "sgd,iris,scaled", "sgd,cancer,scaled"

LBFGS_TWO, LBFGS_THREE = TWO.replace("sgd", "lbfgs"), THREE.replace("sgd", "lbfgs")

# One after the other in one cache: those whose kernels were once taken for each other are compiled
# in processes of their own, and then used together in one that compiles nothing.
ORDERS = {
    "dense rows": [
        [TWO],
        [THREE],
        # The type of an option's number once chose among kernels.
        [FLOAT32, f"{FLOAT32},batch=int32"],
        [TWO, THREE, f"{FLOAT32},batch=int64"],
        [IRIS],
        [CANCER],
        [IRIS, CANCER],
        # L-BFGS of three classes uses kernels of two classes for its certificate.
        [LBFGS_TWO],
        [LBFGS_THREE],
        [LBFGS_THREE, LBFGS_TWO],
    ],
    "sparse rows": [
        [SPARSE],
        [SPARSE_MANY],
        [SPARSE_FLOAT32, f"{SPARSE_FLOAT32},batch=int32"],
        [SPARSE, SPARSE_MANY, SPARSE_FLOAT32],
    ],
}
TESTS = str(Path(hunt.__file__).parent)
WITH_TESTS = {"PYTHONPATH": os.pathsep.join([TESTS, *filter(None, [os.environ.get("PYTHONPATH")])])}
TRIALS = [f"trial {n}" for n in range(8 if LONG else 2)]


# Copies of a process that has imported all that they need, which saves its two seconds each time.
TRIAL = """
import hunt, json, sys
from pathlib import Path
print(json.dumps(hunt.Hunt().run(Path(sys.argv[1]), json.loads(sys.argv[2]), hunt.run_copy)))
"""


def processes_of(case: str) -> list[list[str]]:
    if case in ORDERS:
        return ORDERS[case]
    return hunt.draw_trial(random.Random(f"{SEED} {case}"), 4, N_PROCESSES)


@pytest.fixture(scope="module")
def fault_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str | None]]:
    one = hunt.Hunt()

    def run(case: str) -> str | None:
        cache, processes = tmp_path_factory.mktemp("cache"), processes_of(case)
        if case in ORDERS:
            return one.run(cache, processes)
        done = run_python("-c", TRIAL, cache, json.dumps(processes), variables=WITH_TESTS)
        assert done.code == 0, done
        fault: str | None = json.loads(done.out)
        return fault

    with two_at_a_time(request, "case", run) as wait_for:
        yield wait_for


@needs_numba
@pytest.mark.parametrize("case", [*TRIALS, *ORDERS])
def test_processes_that_share_a_cache_get_right_models(
    case: str, fault_of: Callable[[str], str | None]
) -> None:
    fault = fault_of(case)
    assert fault is None, f"{case} of seed {SEED}: {fault}"


def test_there_are_enough_processes() -> None:
    processes = [words for case in (*TRIALS[:2], *ORDERS) for words in processes_of(case)]
    assert len(processes) + len(DIGITS) >= 40
    words = {word for words in processes for word in words}
    assert {hunt.Task.read(word).solver for word in words} == {"sgd", "lbfgs"}
    assert len({hunt.Task.read(word).rows for word in words}) >= 6
    assert len({hunt.Task.read(word).problem for word in words}) >= 20


# ------------------------------------------------------------------ the command line


DIGITS = {
    "two classes": ("--classes", "0,1"),
    "ten classes": (),
    "L-BFGS": ("--solver", "lbfgs"),
}


TRAIN = ("train", "--data", "digits", "--max-epochs", "5", "--quiet", "--json", "--backend")


@needs_numba
def test_the_digits_trained_three_times(tmp_path: Path) -> None:
    for name, options in DIGITS.items():
        done = run_python(
            *("-m", "fastlin", *TRAIN, "numba", *options),
            variables={"NUMBA_CACHE_DIR": str(tmp_path)},
        )
        assert done.code == 0, f"{name}: {done.code} {done.err}"
        got, right = (json.loads(one.out) for one in (done, run(*TRAIN, "numpy", *options)))
        for part in ("training", "validation"):
            assert abs(got[part]["loss"] - right[part]["loss"]) < hunt.FAR, name
            # Of the 72 rows that two classes leave for validation, not one.
            assert abs(got[part]["accuracy"] - right[part]["accuracy"]) < 1 / 72, name


# ------------------------------------------------------------------ the hunt would notice


COPIES = """
import hunt, os, signal, sys
from pathlib import Path
hunt.run_tasks, run_tasks = lambda words: how(), hunt.run_tasks
def say():
    print("said")
    return hunt.WRONG
for how in (say, lambda: os.kill(os.getpid(), signal.SIGSEGV), lambda: 1 // 0):
    print(hunt.run_copy([], Path("cache")))
hunt.run_tasks = run_tasks
print(hunt.run_copy(sys.argv[1:], Path("cache")))
"""


@needs_numba
def test_how_a_copy_ends_is_noticed(tmp_path: Path) -> None:
    done = run_python("-c", COPIES, TWO, folder=tmp_path, variables=WITH_TESTS)
    assert done.code == 0, done
    said, killed, raised, right = done.out.splitlines()
    assert said == str(Run(hunt.WRONG, "said\n", ""))
    assert killed == str(Run(-signal.SIGSEGV, "", ""))
    assert "ZeroDivisionError" in raised
    assert f"code=0, out='{hunt.faults_of(hunt.Task.read(TWO))[1]} {TWO}" in right
    assert list((tmp_path / "cache").iterdir())


def test_words_say_all_that_a_task_is() -> None:
    generator = random.Random(SEED)
    tasks = [hunt.draw_task(generator) for _ in range(200)]
    assert [hunt.Task.read(str(task)) for task in tasks] == tasks
    assert len({task.problem for task in tasks}) > 150


@pytest.mark.parametrize("rows", ["float32", "uint8", "csrfloat64int64"])
def test_columns_and_values_have_the_types_of_the_word(rows: str) -> None:
    values, labels = hunt.data_of(hunt.Task.read(f"sgd,{rows},k=3,d=20"))
    assert set(labels) == {0, 1, 2}
    if rows.startswith("csr"):
        assert (values.dtype, values.indices.dtype, values.indptr.dtype) == ("f8", "i8", "i8")
    else:
        assert values.dtype == rows


@pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")  # few epochs are enough here
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize("rows", ["float32", "csrfloat64"])
def test_a_wrong_model_is_noticed(solver: str, rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = hunt.fit
    change = {"numba": lambda model: model}

    def pretend(task: hunt.Task, backend: str) -> Any:
        model = fit(task, "numpy")
        return change.get(backend, lambda model: model)(model)

    def scaled(model: Any) -> Any:
        model.coef_ = model.coef_ * model.coef_.dtype.type(1 + 2 * hunt.FAR)
        return model

    def zero(model: Any) -> Any:
        model.coef_ = np.zeros_like(model.coef_)
        return model

    def not_a_number(model: Any) -> Any:
        model.intercept_ = model.intercept_ * np.nan
        return model

    monkeypatch.setattr(hunt, "fit", pretend)
    task = hunt.Task.read(f"{solver},{rows},k=3,d=20,weighted")
    assert hunt.faults_of(task)[0] == []
    for wrong in (scaled, zero):
        change["numba"] = wrong
        assert hunt.faults_of(task)[0], wrong
    change["numpy"] = zero  # not far in the other's weights
    change["numba"] = lambda model: model
    assert hunt.faults_of(task)[0]
    change["numba"] = zero  # both are the constant model
    assert hunt.faults_of(task)[0] == []
    del change["numpy"]
    change["numba"] = not_a_number  # which ends the process, and that is a fault too
    with pytest.raises(FastlinError, match="logits"):
        hunt.faults_of(task)


def test_the_hunt_tells_what_ran_before_a_fault(tmp_path: Path) -> None:
    right = Run(0, f"abc {TWO}\n", "")
    wrong = {
        "WRONG": Run(hunt.WRONG, f"WRONG {TWO} weights 0.5 off\n", ""),
        "ended with -11": Run(-11, "", "Segmentation fault"),
        "other bits": Run(0, f"def {TWO},threads=2\n", ""),
        "standard error": Run(0, f"abc {TWO}\n", "a warning"),
    }
    for said, last in wrong.items():
        answers = iter([right, right, last, right])
        one = hunt.Hunt()
        fault = one.run(tmp_path, [[TWO]] * 4, lambda *_, answers=answers: next(answers))
        assert fault is not None
        assert said in fault
        assert fault.count(f"\n  {TWO}") == one.n_processes == 3
        assert next(answers) is right  # it went no further
