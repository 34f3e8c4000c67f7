"""Run ``fastlin`` in a test: inside this interpreter, or as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from fastlin.cli import main

LISTENS_TO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
"""Begins a program that is to be interrupted.

A shell starts background jobs (``make test &``) with Ctrl-C ignored, which children inherit.
"""


@dataclass(frozen=True)
class Run:
    """Exit code and both outputs of a finished run."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Run:
    """Run in this interpreter, which is quick."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Run(result.exit_code, result.stdout, result.stderr)


def run_process(*arguments: object, folder: Path | None = None) -> Run:
    """Run as people do, in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "fastlin", *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def train_model(folder: Path) -> Path:
    """Return a model of the digits, trained in `folder`."""
    path = folder / "model.npz"
    done = run("train", "--epochs", "30", "--backend", "numpy", "--quiet", "--out", path)
    assert done.code == 0, done.err
    return path


def assert_mistake(done: Run, *said: str) -> None:
    """Assert one clear line on standard error, exit code 2 and nothing else."""
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.startswith("fastlin: error: ")
    assert done.err.count("\n") == 1
    for part in said:
        assert part in done.err, f"{part!r} is not in {done.err!r}"
