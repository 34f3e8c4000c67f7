"""Hunt for wrong models in short processes that share one cache, as the scripts of a user do.

A trial is some processes, one after the other, each of which fits one to three small problems with
the Numba backend and compares what it gets with the NumPy backend. They share a cache, which is
empty at first, or which the trials before left full: the fuller it is, the more kernels could be
taken for each other. Some processes begin as a new interpreter, and most as a copy of one that has
imported what they need and done nothing else, which saves two seconds. A process that dies, a wrong
model, and a model whose bits are not those that another process got end the hunt. ``make soak``
hunts for hours; by hand, from the folder of the sources::

    python tests/hunt.py [SEED] [TRIALS]       # trials without end unless told how many
    python tests/hunt.py [SEED] --hours 2
    python tests/hunt.py --fit sgd,uint8,k=3,d=20 lbfgs,csrfloat32,k=2,d=7,weighted

The last is one process of a trial, in whatever cache ``NUMBA_CACHE_DIR`` says.

What counts as wrong: both backends take the same steps on the same batches, so that their weights
differ by rounding alone. Steps of the automatic learning rate, below one over the curvature, do not
widen a gap, and each adds an epsilon of the weights at most: 4 epochs of 10 steps in 32-bit numbers
come to 40 * 1.2e-7, about 5e-6 of the largest weight, and the 8 steps of L-BFGS to as much.
:data:`FAR` is two hundred times that. A kernel that was taken for another one misses by far more:
its weights are zero, or those of another problem. The logits of one and the same model are held to
the bounds of ``tolerances``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command_line import Run
from processes import SECONDS, run_python

FAR = 1e-3
"""Of the largest weight, and of 1 for probabilities; see above."""

N_ROWS = 320
GOES_ON = 0.98
"""Chance that a trial goes on in the cache of the one before it, as a user's next script does."""
NEW_INTERPRETER = 0.1
"""Chance that the processes of a trial are new interpreters."""
SOLVERS = ("sgd", "sgd", "lbfgs")
SPARSE = tuple(
    f"csr{values}{columns}" for values in ("float32", "float64") for columns in ("", "int64")
)
ROWS = ("float32", "float64", "uint8", "uint8", "int8", "float16", *SPARSE)
CLASSES = (2, 3, 5, 10, 17, 70)
FEATURES = (1, 7, 20, 64, 200)
STEPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.5},
    "nesterov": {"momentum": 0.5, "nesterov": True},
    "average": {"average": True},
}
WRONG = 3
"""Exit code of a process that got a wrong model."""


# ------------------------------------------------------------------ a process of a trial


@dataclass(frozen=True)
class Task:
    """One problem and how to solve it, written as one word: ``sgd,float32,k=3,d=20,momentum``."""

    solver: str
    rows: str
    """A type of dense rows, ``csr`` and types of values and columns, or ``iris`` or ``cancer``."""
    k: int = 2
    d: int = 20
    steps: str = "plain"
    scaled: bool = False
    weighted: bool = False
    batch: str = ""
    """Type of NumPy that the option ``batch_size=32`` has; it is 32 or more rows, unless empty."""
    n_threads: int = 1

    def __str__(self) -> str:
        parts = [self.solver, self.rows, f"k={self.k}", f"d={self.d}"]
        parts += [self.steps] if self.steps != "plain" else []
        parts += [name for name in ("scaled", "weighted") if getattr(self, name)]
        parts += [f"batch={self.batch}"] if self.batch else []
        return ",".join([*parts, f"threads={self.n_threads}"])

    @staticmethod
    def read(word: str) -> Task:
        """Return the task that a word describes."""
        solver, rows, *parts = word.split(",")
        named = dict(part.split("=") for part in parts if "=" in part)
        steps = [part for part in parts if part in STEPS]
        return Task(
            solver,
            rows,
            int(named.get("k", 2)),
            int(named.get("d", 20)),
            steps[0] if steps else "plain",
            "scaled" in parts,
            "weighted" in parts,
            named.get("batch", ""),
            int(named.get("threads", 1)),
        )

    @property
    def problem(self) -> str:
        """All that the bits of the model depend on: the number of threads is not among it."""
        return str(self).rpartition(",")[0]


def data_of(task: Task) -> tuple[Any, Any]:
    """Return the rows and their labels, the same for the same task."""
    import numpy as np
    import scipy.sparse
    from sklearn.datasets import load_breast_cancer, load_iris

    if task.rows == "iris":
        return load_iris(return_X_y=True)
    if task.rows == "cancer":
        return load_breast_cancer(return_X_y=True)
    generator = np.random.default_rng([task.k, task.d])
    labels = generator.permutation(np.arange(N_ROWS) % task.k)
    # Rows of a class lie about a point of their own; the numbers are those of small integers.
    centres = generator.uniform(4, 12, (task.k, task.d))
    rows = np.clip(centres[labels] + 3 * generator.standard_normal((N_ROWS, task.d)), 0, 16)
    assert np.ptp(rows) > 4
    if not task.rows.startswith("csr"):
        return rows.astype(task.rows), labels
    values, _, columns = task.rows.removeprefix("csr").partition("int")
    present = generator.random(rows.shape) < 0.3
    sparse = scipy.sparse.csr_array(np.where(present, rows / 16, 0).astype(values))
    if columns:
        sparse.indices, sparse.indptr = (
            a.astype(np.int64) for a in (sparse.indices, sparse.indptr)
        )
    return sparse, labels


def fit(task: Task, backend: str) -> Any:
    """Return the model that a backend makes of a task, and what it says of the rows."""
    import numpy as np

    from fastlin import LogisticRegression

    rows, labels = data_of(task)
    options = {"l2": 0.01, "max_epochs": 4, "tol": 1e-6, "random_state": 0, **STEPS[task.steps]}
    if task.solver == "lbfgs":
        options = {"l2": 0.01, "max_epochs": 8, "tol": 1e-6}
    if task.scaled:
        options["input_scale"] = "standard"
    elif task.rows in ("float32", "float64", "uint8", "int8", "float16"):
        options["input_scale"] = (0, 1 / 16)
    if task.batch:
        options["batch_size"] = getattr(np, task.batch)(32) if backend == "numba" else 32
    weights = np.linspace(0.5, 1.5, len(labels)) if task.weighted else None
    model = LogisticRegression(
        solver=task.solver, backend=backend, n_threads=task.n_threads, **options
    )
    return model.fit(rows, labels, weights, rows[::3], labels[::3])


def faults_of(task: Task) -> tuple[list[str], str]:
    """Return what is wrong with the Numba backend's model of a task, and a digest of its bits."""
    import numpy as np
    from tolerances import of_sum

    rows, labels = data_of(task)
    model, right = fit(task, "numba"), fit(task, "numpy")
    likely = model.predict_proba(rows)
    faults = []

    def compare(name: str, distance: Any, allowed: Any) -> None:
        # Negated, so that nan counts as a fault.
        if not np.all(np.asarray(distance) <= allowed):
            faults.append(f"{name} {np.max(distance):.2g} off, {np.min(allowed):.2g} allowed")

    largest = np.abs(right.coef_).max()
    # The weights of a constant model are 0.
    compare("weights", np.abs(model.coef_ - right.coef_), FAR * largest)
    compare("intercepts", np.abs(model.intercept_ - right.intercept_), FAR * (1 + largest * 16))
    compare("probabilities", np.abs(likely - right.predict_proba(rows)), FAR)
    for name in ("train_loss", "val_loss"):
        got, expected = (np.asarray(getattr(one.history_, name)) for one in (model, right))
        # L-BFGS may stop a step sooner or later, since the last steps change next to nothing.
        n = min(len(got), len(expected))
        compare(name, np.abs(got[:n] - expected[:n]) if n else np.inf, FAR)

    # The very same model, asked by the two backends.
    decisions = model.decision_function(rows)
    score = model.score(rows, labels)
    asked = model.set_params(backend="numpy").decision_function(rows)
    size = np.abs(rows.toarray() if hasattr(rows, "toarray") else rows).astype(np.float64)
    magnitude = size @ np.abs(model.coef_.T) + np.abs(model.intercept_)
    allowed = 2 * of_sum(model.coef_.dtype.name, size.shape[1] + 1, magnitude)
    allowed = allowed[:, 0] if decisions.ndim == 1 else allowed
    compare("logits", np.abs(decisions - asked), allowed)
    if asked.ndim == 1:
        undecided = np.abs(asked) <= 2 * allowed
    else:
        best = np.sort(asked, axis=1)
        undecided = best[:, -1] - best[:, -2] <= 2 * allowed.max(axis=1)
    compare("accuracy", abs(score - model.score(rows, labels)), undecided.mean() + 1e-9)
    bits = [model.coef_, model.intercept_, likely, np.asarray(model.history_.val_loss)]
    return faults, hashlib.sha256(b"".join(part.tobytes() for part in bits)).hexdigest()[:16]


def run_tasks(words: list[str]) -> int:
    """Solve some tasks in this process; print a line each."""
    import faulthandler

    faulthandler.enable()
    warnings.simplefilter("ignore")
    code = 0
    for word in words:
        faults, bits = faults_of(Task.read(word))
        # In one piece, also unbuffered: processes of a crowd write to one pipe.
        line = " ".join(["WRONG" if faults else bits, word, *map(str, faults)])
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        code = WRONG if faults else code
    return code


def import_all() -> None:
    """Import what tasks need; this neither compiles a kernel nor starts a thread."""
    import sklearn.linear_model  # noqa: F401  # scikit-learn's data sets need it

    import fastlin.estimator
    import fastlin.kernels.jit.sparse.kernels
    import fastlin.solvers.lbfgs
    import fastlin.solvers.sgd  # noqa: F401  # as above

    warnings.simplefilter("ignore")
    fit(Task.read("sgd,float64,k=2,d=3"), "numpy")


def run_copy(words: list[str], cache: Path) -> Run:
    """Solve tasks in a copy of this process."""
    import_all()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            code = 70
            try:
                signal.alarm(SECONDS)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                os.environ["NUMBA_CACHE_DIR"] = str(cache)
                code = run_tasks(words)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Run(code, *texts)


def run_new(words: list[str], cache: Path) -> Run:
    """Solve tasks in a new interpreter."""
    return run_python(__file__, "--fit", *words, variables={"NUMBA_CACHE_DIR": str(cache)})


# ------------------------------------------------------------------ trials


class Hunt:
    """Processes in caches, and the bits that they got of each problem."""

    def __init__(self) -> None:
        self.bits: dict[str, tuple[str, str]] = {}
        self.ran_in: dict[Path, list[str]] = {}
        """The tasks of each process that used a cache, in order."""
        self.n_processes = 0

    def run(
        self,
        cache: Path,
        processes: list[list[str]],
        start: Callable[[list[str], Path], Run] = run_new,
    ) -> str | None:
        """Run processes one after the other in a cache; return the fault, if there was one."""
        before = self.ran_in.setdefault(cache, [])
        for words in processes:
            before.append(" ".join(words))
            done = start(words, cache)
            self.n_processes += 1
            fault = self._fault(done, words)
            if fault:
                order = "\n  ".join(before)
                return f"{fault}\nprocesses that shared the cache {cache}, in order:\n  {order}"
        return None

    def _fault(self, done: Any, words: list[str]) -> str | None:
        lines = done.out.splitlines()
        if done.code != 0 or len(lines) != len(words):
            # After a crash Python ends with a long list of modules.
            said = "\n".join([*lines, done.err.partition("\nExtension modules")[0][-2000:].strip()])
            return f"a process ended with {done.code}\n{said}"
        if done.err:
            return f"a process wrote on standard error: {done.err[-2000:]}"
        for line in lines:
            bits, word = line.split()
            known, where = self.bits.setdefault(Task.read(word).problem, (bits, " ".join(words)))
            if known != bits:
                return f"{word}: other bits in this process than in that of {where}"
        return None


def draw_task(generator: random.Random) -> Task:
    """Return any task."""
    rows = generator.choice(ROWS)
    sgd = generator.choice(SOLVERS) == "sgd"
    return Task(
        "sgd" if sgd else "lbfgs",
        rows,
        generator.choice(CLASSES),
        generator.choice(FEATURES),
        generator.choice(list(STEPS)) if sgd else "plain",
        scaled=not rows.startswith("csr") and generator.random() < 0.3,
        weighted=generator.random() < 0.3,
        batch=generator.choice(("", "", "int32", "int64", "uint8")) if sgd else "",
        n_threads=generator.choice((1, 2, 3)),
    )


def draw_trial(generator: random.Random, n_tasks: int, n_processes: int) -> list[list[str]]:
    """Return the tasks of some processes, drawn from a few, so that processes meet in them."""
    tasks = [draw_task(generator) for _ in range(n_tasks)]
    return [
        [str(task) for task in generator.sample(tasks, generator.choice((1, 2, 2, 3)))]
        for _ in range(n_processes)
    ]


def hunt(seed: int, n_trials: int | None, seconds: float, one: Hunt) -> bool:
    """Run trials until they are through, the time is up or one has a fault; print a line each."""
    started = time.monotonic()
    trial = 0
    cache: Path | None = None
    while trial != n_trials and time.monotonic() - started < seconds:
        generator = random.Random(f"{seed} {trial}")
        processes = draw_trial(generator, generator.choice((3, 6, 9)), generator.randint(2, 6))
        if cache is None or generator.random() > GOES_ON:
            discard(cache)
            cache = Path(tempfile.mkdtemp(prefix="fastlin-hunt-"))
        is_new = generator.random() < NEW_INTERPRETER
        fault = one.run(cache, processes, run_new if is_new else run_copy)
        if fault:
            print(f"seed {seed}, trial {trial}: {fault}", flush=True)
            return False
        trial += 1
        print(
            f"seed {seed}, trial {trial}: {len(processes)} processes, "
            f"{sum(map(len, processes))} fits, none wrong; in all {one.n_processes} processes, "
            f"{(time.monotonic() - started) / 60:.1f} minutes",
            flush=True,
        )
    discard(cache)
    return True


def discard(cache: Path | None) -> None:
    """Remove a cache that held no fault."""
    if cache is not None:
        shutil.rmtree(cache)


def main() -> int:
    """Read the command line of the docstring above."""
    parser = argparse.ArgumentParser(description="Hunt for wrong models; see the file's head.")
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("trials", nargs="?", type=int)
    parser.add_argument("--hours", type=float, default=float("inf"))
    parser.add_argument("--fit", nargs="+", metavar="TASK", help="solve tasks in this process")
    options = parser.parse_args()
    if options.fit:
        return run_tasks(options.fit)
    return 0 if hunt(options.seed, options.trials, options.hours * 3600, Hunt()) else 1


if __name__ == "__main__":
    sys.exit(main())
