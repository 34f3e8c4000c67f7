"""Ctrl-C and termination at any time: an exit code, one line, no temporary file."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import LISTENS_TO_CTRL_C, Run
from processes import run_python

BEGIN = f"""
{LISTENS_TO_CTRL_C}
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
import os, sys
"""
AT_IMPORT = """
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            os.kill(os.getpid(), SIGNAL)
sys.meta_path.insert(0, Sender())
"""
HALF_WRITTEN = """
import fastlin.results.model_file
def half(path, *content):
    path.write_bytes(b"half")
    print("half of", [name for name in os.listdir(".") if name.startswith(".fastlin")], flush=True)
    os.kill(os.getpid(), SIGNAL)
    for _ in range(1000):
        pass
fastlin.results.model_file.write_arrays = half
"""
RUN = """
from fastlin.__main__ import main
main()
"""
TRAIN = ("train", "--data", "digits", "--epochs", "3", "--backend", "numpy", "--quiet")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}


def run_program(folder: Path, program: str, number: int, module: str = "") -> Run:
    constants = f"SIGNAL, MODULE = {int(number)}, {module!r}\n"
    return run_python(
        "-c", BEGIN + constants + program + RUN, *TRAIN, "--out", "m.npz", folder=folder
    )


@pytest.mark.parametrize(
    "module",
    [
        "click",
        "fastlin.cli.output",
        "numpy",
        "numpy.linalg",
        "scipy.sparse",
        "sklearn.base",
        "fastlin.estimator",
        "fastlin.datasets.digits",
        "fastlin.kernels.numpy_backend",
    ],
)
def test_ctrl_c_while_modules_are_imported(tmp_path: Path, module: str) -> None:
    done = run_program(tmp_path, AT_IMPORT, signal.SIGINT, module)
    assert (done.code, done.out, done.err) == (130, "", "fastlin: interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_a_file_is_written(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "m.npz").write_text("old")
    done = run_program(tmp_path, HALF_WRITTEN, number)
    assert done.out.startswith("half of ['.fastlin-")
    assert done.code == CODES[number]
    assert done.err == f"fastlin: {WORDS[number]}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]
    assert (tmp_path / "m.npz").read_text() == "old"


def signal_while_training(
    number: signal.Signals,
    *arguments: object,
    folder: Path,
    start: tuple[str, ...] = ("-m", "fastlin"),
) -> Run:
    """Send a signal once the first epoch of ``fastlin train`` is over."""
    with subprocess.Popen(
        [sys.executable, *start, "train", "--backend", "numpy", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch 1/")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return Run(process.returncode, out, err)


@pytest.fixture
def signals_ignored() -> Iterator[None]:
    """Start processes as ``nohup``, and a script's ``&``, start them."""
    numbers = (signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


LISTENING = ("-c", f"{LISTENS_TO_CTRL_C} from fastlin.cli import main; main()")


@pytest.mark.usefixtures("signals_ignored")
@pytest.mark.parametrize(
    ("number", "start"),
    [(signal.SIGTERM, ("-m", "fastlin")), (signal.SIGINT, LISTENING)],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_signal_while_training(
    tmp_path: Path, number: signal.Signals, start: tuple[str, ...]
) -> None:
    endless = ("--epochs", 2_000_000, "--tol", 0, "--classes", "2,3")
    files = ("--history", "history.json", "--out", "model.npz")
    done = signal_while_training(number, *endless, *files, folder=tmp_path, start=start)
    assert (done.code, done.out) == (CODES[number], "")
    assert done.err.splitlines()[-1] == f"fastlin: {WORDS[number]}"
    assert "Traceback" not in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("signals_ignored")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_is_ignored_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    """The end of a terminal does not reach what ``nohup`` started, nor Ctrl-C a background job."""
    done = signal_while_training(number, "--epochs", 100, folder=tmp_path)
    assert done.code == 0, done.err
    assert "validation" in done.out


def test_a_program_that_calls_the_command_keeps_its_signals() -> None:
    before = {number: signal.getsignal(number) for number in CODES}
    from command_line import run

    assert run("data", "where").code == 0
    assert {number: signal.getsignal(number) for number in CODES} == before
