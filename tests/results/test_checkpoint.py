"""A fit that is interrupted at any moment goes on from its checkpoint with the same bits."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import LISTENS_TO_CTRL_C
from processes import environment, first_of, thorough
from scipy.sparse import csr_array
from sklearn.datasets import load_digits

from fastlin import LogisticRegression
from fastlin.advice import CheckpointWarning
from fastlin.errors import InputError, ModelFileError, OutputError
from fastlin.results import model_file

RUNS: dict[str, dict[str, Any]] = {
    "sgd": {"max_epochs": 8},
    "velocity and average": {
        "max_epochs": 6,
        "momentum": 0.9,
        "nesterov": True,
        "average": True,
        "schedule": "cosine",
        "learning_rate": 0.05,
    },
    "early stopping": {
        "max_epochs": 30,
        "early_stopping": True,
        "checks_per_epoch": 3,
        "patience": 4,
    },
    "cooling": {"max_epochs": 60, "tol": 2e-2, "patience": 2},
    "lbfgs": {"solver": "lbfgs", "max_epochs": 40, "tol": 1e-6},
    "lbfgs, small penalty": {"solver": "lbfgs", "l2": 1e-8, "max_epochs": 30, "tol": 1e-9},
    "lbfgs, early stopping": {"solver": "lbfgs", "early_stopping": True, "patience": 2},
}


class Stop(Exception):  # noqa: N818  # it is no error
    """What a callback raises to interrupt a run."""


def digits(form: str = "dense") -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return (csr_array(X), y) if form == "sparse" else (X, y)


def interrupted(
    options: dict[str, Any],
    path: Path,
    when: int,
    data: tuple[Any, Any],
    error: type[BaseException] = Stop,
    **more: Any,
) -> None:
    """Fit until the callback has been called so many times."""
    calls = 0

    def callback(_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == when:
            raise error

    model = LogisticRegression(**options, random_state=0, callbacks=[callback])
    with pytest.raises(error):
        model.fit(*data, checkpoint=path, **{"checkpoint_every": 0, **more})


def require_same(one: LogisticRegression, other: LogisticRegression) -> None:
    assert one.coef_.tobytes() == other.coef_.tobytes()
    assert one.intercept_.tobytes() == other.intercept_.tobytes()
    for name, value in vars(one.history_).items():
        if name != "seconds":
            np.testing.assert_array_equal(getattr(other.history_, name), value, err_msg=name)


@pytest.mark.parametrize(
    ("backend", "form"),
    first_of(
        2,
        [
            *(("numba", "dense"), ("c", "sparse")),
            *(("c", "dense"), ("numpy", "dense"), ("numba", "sparse"), ("numpy", "sparse")),
        ],
    ),
)
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_interrupted_fit_ends_with_the_same_bits(
    tmp_path: Path, backend: str, name: str, form: str
) -> None:
    data, path = digits(form), tmp_path / "run"
    options = {**RUNS[name], "backend": backend, "n_threads": 2}
    n_calls = 0

    def count(_: Any) -> None:
        nonlocal n_calls
        n_calls += 1

    whole = LogisticRegression(**options, random_state=0, callbacks=[count]).fit(*data)
    for when in {2, n_calls // 3, n_calls // 2, n_calls}:
        path.unlink(missing_ok=True)
        interrupted(options, path, when, data)
        # Another number of threads changes no bits.
        again = LogisticRegression(**options | {"n_threads": 1}, random_state=0)
        require_same(whole, again.fit(*data, checkpoint=path))
    ended = LogisticRegression(**options, random_state=0).fit(*data, checkpoint=path)
    require_same(whole, ended)


def test_a_run_whose_seed_was_drawn_goes_on_with_it(tmp_path: Path) -> None:
    data, path = digits(), tmp_path / "run"
    options = {"max_epochs": 6, "backend": "numpy", "random_state": np.random.RandomState(5)}
    whole = LogisticRegression(**options).fit(*data)
    options["random_state"], n_calls = np.random.RandomState(5), 0

    def callback(_: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 4:
            raise Stop

    with pytest.raises(Stop):
        LogisticRegression(**options, callbacks=[callback]).fit(
            *data, checkpoint=path, checkpoint_every=0
        )
    options["random_state"] = np.random.RandomState(9)
    require_same(whole, LogisticRegression(**options).fit(*data, checkpoint=path))


# ------------------------------------------------------------------ killed processes

TRAIN = """
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from fastlin import LogisticRegression
path, out, backend, solver = sys.argv[1:]
rng = np.random.default_rng(0)
X = rng.standard_normal((3000, 40), np.float32)
y = (X @ rng.standard_normal((40, 7)) + 0.1 * rng.standard_normal((3000, 7))).argmax(axis=1)
def begun(_):
    print("x", flush=True)
    if path != "-":
        time.sleep(0.005)
options = dict(
    sgd=dict(max_epochs=150, momentum=0.5, tol=None),
    lbfgs=dict(solver="lbfgs", l2=1e-8, tol=1e-12, max_epochs=60),
)[solver]
model = LogisticRegression(backend=backend, random_state=0, callbacks=[begun], **options)
kept = None if path == "-" else path
model.fit(X, y, checkpoint=kept, checkpoint_every=0)
with open(out, "wb") as file:
    for array in (model.coef_, model.intercept_, model.history_.train_loss):
        file.write(array.tobytes())
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment({}),
    )


@pytest.mark.parametrize(
    ("backend", "solver"),
    first_of(
        2,
        [
            *(("c", "sgd"), ("numba", "lbfgs"), ("numpy", "sgd")),
            *(("numba", "sgd"), ("c", "lbfgs"), ("numpy", "lbfgs")),
        ],
    ),
)
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, backend: str, solver: str) -> None:
    path, out, rng = tmp_path / "run", tmp_path / "out", np.random.default_rng(0)
    with start("-", out, backend, solver) as process:
        process.communicate(timeout=600)
        assert process.returncode == 0
    whole = out.read_bytes()
    out.unlink()
    n_kills = 0
    for _ in range(40):
        with start(path, out, backend, solver) as process:
            assert process.stdout is not None
            for _ in range(int(rng.integers(1, 25))):  # epochs of this process
                process.stdout.readline()
            time.sleep(float(rng.uniform(0, 0.005)))
            process.send_signal(signal.SIGKILL)
        assert process.returncode in (0, -signal.SIGKILL)
        n_kills += process.returncode != 0
        if out.exists():
            break
    assert n_kills >= 3
    assert out.read_bytes() == whole


# ------------------------------------------------------------------ interruptions


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_ctrl_c_writes_the_latest_state(tmp_path: Path, solver: str) -> None:
    data, path = digits(), tmp_path / "run"
    options = {"solver": solver, "max_epochs": 12, "tol": None, "backend": "c"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = LogisticRegression(**options, random_state=0).fit(*data)
        interrupted(options, path, 7, data, KeyboardInterrupt, checkpoint_every=1e6)
        so_far = LogisticRegression.load(path)
        assert len(so_far.history_.train_loss) == 6 * so_far.history_.steps_per_epoch
        assert 0.8 < so_far.score(*data) <= 1
        require_same(
            whole, LogisticRegression(**options, random_state=0).fit(*data, checkpoint=path)
        )
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_checkpoint_is_a_model_with_the_best_weights(tmp_path: Path) -> None:
    X, y = digits()
    X_val, y_val = X[1000:], y[1000:]
    options = {"max_epochs": 40, "early_stopping": True, "learning_rate": 3.0, "backend": "c"}
    more = {"X_val": X_val, "y_val": y_val}
    interrupted(options, tmp_path / "run", 15, (X[:1000], y[:1000]), **more)
    model = LogisticRegression.load(tmp_path / "run")
    checks = model.history_.val_loss
    from sklearn.metrics import log_loss

    assert log_loss(y_val, model.predict_proba(X_val)) == pytest.approx(checks.min(), rel=1e-4)
    assert checks.min() < checks[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_keeps_an_interrupted_run(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["train", "--data", "digits", "--epochs", "400", "--tol", "0", "--backend", "numpy"]
    arguments += ["--seed", "3", "--quiet", "--checkpoint"]
    program = f"{LISTENS_TO_CTRL_C}\nfrom fastlin.__main__ import main\nmain()"

    def run(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments, *more],
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    first = run("run", "--checkpoint-every", "0")
    while not (tmp_path / "run").exists():
        time.sleep(0.01)
        assert first.poll() is None
    first.send_signal(number)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 128 + number
    assert said.count("\n") == 2
    assert "the run is kept in run: the same command goes on" in said
    assert [each.name for each in tmp_path.iterdir()] == ["run"]
    for name, path in (("went_on.npz", "run"), ("whole.npz", "other")):
        again = run(path, "--out", name)
        again.communicate(timeout=300)
        assert again.returncode == 0
    one, other = (LogisticRegression.load(tmp_path / n) for n in ("went_on.npz", "whole.npz"))
    require_same(one, other)


# ------------------------------------------------------------------ refusals

CHANGES: dict[str, Callable[[dict[str, Any], Any, Any], Any]] = {
    "l2": lambda options, X, y: (options | {"l2": 1e-3}, X, y),
    "max_epochs": lambda options, X, y: (options | {"max_epochs": 20}, X, y),
    "random_state": lambda options, X, y: (options | {"random_state": 1}, X, y),
    "input_scale": lambda options, X, y: (options | {"input_scale": (0, np.ones(64))}, X, y),
    "class_weight": lambda options, X, y: (options | {"class_weight": {3: 2.0}}, X, y),
    "the backend": lambda options, X, y: (options | {"backend": "c"}, X, y),
    "the rows": lambda options, X, y: (options, np.where(np.arange(64) == 9, X + 1, X), y),
    "the labels": lambda options, X, y: (options, X, np.roll(y, 1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, name: str) -> None:
    X, y = digits()
    options: dict[str, Any] = {"max_epochs": 10, "backend": "numpy", "input_scale": (0, 1.0)}
    interrupted(options, tmp_path / "run", 5, (X, y))
    before = (tmp_path / "run").read_bytes()
    changed, X, y = CHANGES[name]({**options, "random_state": 0}, X, y)
    with pytest.raises(InputError, match=f"is a checkpoint of another run: {name} was "):
        LogisticRegression(**changed).fit(X, y, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == before


def test_one_changed_value_of_many_is_noticed(tmp_path: Path) -> None:
    X, y = digits()
    options = {"max_epochs": 10, "backend": "numpy"}
    interrupted(options, tmp_path / "run", 5, (X, y))
    X[777, 33] += 0.25
    with pytest.raises(InputError, match="the rows was"):
        LogisticRegression(**options, random_state=0).fit(X, y, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("what", ["fastlin's version", "the instruction set", "NumPy's version"])
def test_a_checkpoint_of_other_code_is_refused(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, options = digits(), {"max_epochs": 10, "backend": "numpy"}
    interrupted(options, tmp_path / "run", 5, data)
    import fastlin
    from fastlin import run_identity

    if what == "fastlin's version":
        monkeypatch.setattr(fastlin, "__version__", "99.0")
    else:
        real = run_identity.identity_of
        monkeypatch.setattr(
            run_identity, "identity_of", lambda *args: real(*args) | {what: "something else"}
        )
    with pytest.raises(InputError, match=f"of another run: {what} was .* and is "):
        LogisticRegression(**options, random_state=0).fit(*data, checkpoint=tmp_path / "run")


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    data = digits()
    (tmp_path / "note.txt").write_text("precious")
    LogisticRegression(max_epochs=1).fit(*data).save(tmp_path / "model")
    for name in ("note.txt", "model"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ModelFileError, match=r"is not a (checkpoint|model)"):
            LogisticRegression(max_epochs=1).fit(*data, checkpoint=tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("every", [-1, float("nan"), "5", None, True])
def test_an_interval_that_is_no_number_of_seconds(tmp_path: Path, every: Any) -> None:
    with pytest.raises(InputError, match=r"checkpoint_every=.* is not a number of seconds >= 0"):
        LogisticRegression().fit(*digits(), checkpoint=tmp_path / "run", checkpoint_every=every)


# ------------------------------------------------------------------ files that cannot be written


def test_a_folder_that_is_missing_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        LogisticRegression().fit(*digits(), checkpoint=tmp_path / "missing" / "run")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    data, path, options = digits(), tmp_path / "run", {"max_epochs": 10, "backend": "numpy"}
    whole = LogisticRegression(**options, random_state=0).fit(*data)
    interrupted(options, path, 5, data)
    before = path.read_bytes()

    def full(file_path: Path, *_: Any) -> None:
        file_path.write_bytes(b"half")
        raise OSError(number, "the disk is bad")

    monkeypatch.setattr(model_file, "write_arrays", full)
    model = LogisticRegression(**options, random_state=0)
    with pytest.warns(CheckpointWarning, match="training goes on") as told:
        model.fit(*data, checkpoint=path, checkpoint_every=0)
    assert len(told) == 1
    require_same(whole, model)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_vanishes_ends_no_training(tmp_path: Path) -> None:
    data, options = digits(), {"max_epochs": 10, "backend": "numpy"}
    folder = tmp_path / "folder"
    folder.mkdir()

    def vanish(_: Any) -> None:
        if folder.exists():
            (folder / "run").unlink(missing_ok=True)
            folder.rmdir()

    model = LogisticRegression(**options, random_state=0, callbacks=[vanish])
    with pytest.warns(CheckpointWarning, match="there is no folder") as told:
        model.fit(*data, checkpoint=folder / "run", checkpoint_every=0)
    assert len(told) == 1
    require_same(LogisticRegression(**options, random_state=0).fit(*data), model)


FULL = """
import resource, sys, warnings
import numpy as np
from fastlin import LogisticRegression
rng = np.random.default_rng(0)
X = rng.standard_normal((500, 2000), np.float32)
y = rng.integers(0, 10, 500)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    model = LogisticRegression(max_epochs=3, backend="numpy")
    model.fit(X, y, checkpoint="run", checkpoint_every=0)
print([str(w.message) for w in told if w.category.__name__ == "CheckpointWarning"])
"""


@thorough
def test_a_file_that_the_system_refuses_to_write(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stdout
    assert done.stdout.count("no checkpoint could be written") == 1
    assert not list(tmp_path.iterdir())
