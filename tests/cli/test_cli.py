"""The command as a whole: real sessions as processes, help, exit codes, pipes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from command_line import assert_mistake, run, run_process, train_model

import fastlin
from fastlin import cli
from fastlin.cli import COMMANDS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_model(tmp_path_factory.mktemp("model"))


def test_a_session_from_training_to_prediction(tmp_path: Path) -> None:
    trained = run_process(
        "train", "--data", "digits", "--epochs", "30", "--out", "model.npz", folder=tmp_path
    )
    assert trained.code == 0, trained.err
    assert "softmax regression, 10 classes" in trained.out
    assert "model.npz" in trained.out
    assert "epoch 1/30  loss " in trained.err
    assert "rows/s" in trained.err

    evaluated = run_process("evaluate", "model.npz", "--data", "digits", "--json", folder=tmp_path)
    assert evaluated.code == 0, evaluated.err
    scores = json.loads(evaluated.out)
    assert scores["accuracy"] > 0.9
    printed_by_training = trained.out.splitlines()[-1].split()
    assert printed_by_training[0] == "validation"
    assert f"{scores['loss']:.4f}" in printed_by_training

    predicted = run_process("predict", "model.npz", "--out", "labels.csv", folder=tmp_path)
    assert predicted.code == 0, predicted.err
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == "label"
    assert len(lines) == 1 + 1797
    assert {path.name for path in tmp_path.iterdir()} == {"model.npz", "labels.csv"}


def test_info_as_a_process() -> None:
    done = run_process("info")
    assert done.code == 0, done.err
    for name in ("numba", "c", "numpy"):
        assert f"\n  {name} " in done.out


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from fastlin.cli import main\n"
        "try:\n    main([sys.argv[1]])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'numpy', 'numba', 'sklearn', 'scipy', 'matplotlib', 'rich', 'pooch', 'typst'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    for flag in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, flag], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr


def test_version() -> None:
    assert run("--version").out.strip().endswith(fastlin.__version__)


def test_help_names_every_command() -> None:
    for arguments in ((), ("--help",)):
        done = run(*arguments)
        assert done.code == 0
        for name in COMMANDS:
            assert f"\n  {name} " in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = run(name, "--help")
    assert done.code == 0
    assert "Example" in done.out
    assert f"fastlin {name}" in done.out.partition("Example")[2]


@pytest.mark.parametrize("name", ["train", "predict", "evaluate", "report"])
def test_commands_that_compute_take_backend_and_threads(name: str) -> None:
    flags = {flag for parameter in _command(name).params for flag in parameter.opts}
    assert {"--backend", "--threads"} <= flags
    assert ("--seed" in flags) == (name in ("train", "report"))


def _command(name: str) -> click.Command:
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None
    return command


def test_a_command_that_does_not_exist() -> None:
    assert_mistake(run("trian"), "No such command 'trian'", "See: fastlin --help")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_input_or_output_is_no_error(closed: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastlin", "train", "--epochs", "2", "--backend", "numpy"]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *command, "--out", "model.npz"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.npz").exists()
    assert ("epoch 2/2" in done.stderr) == ("2" not in closed)


def test_a_reader_that_goes_away_is_no_error(model: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fastlin", "predict", str(model)],
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_behind_standard_output_is_said(model: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fastlin", "evaluate", str(model)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    said = "cannot write to standard output: No space left on device"
    assert done.stderr == f"fastlin: error: {said}\n"


def test_a_terminal_gets_a_live_bar(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastlin", "train", "--epochs", "20", "--backend", "numpy"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65536):
            shown += part
    except OSError:  # Linux answers so when the other end has been closed
        pass
    finally:
        os.close(leader)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"epoch 20/20  loss " in shown
    assert b"rows/s" in shown
    assert b"\x1b" in shown
    assert b"\x1b" not in out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError("Unable to allocate 9 GiB"), 2, "not enough memory (Unable to allocate"),
        (FileNotFoundError(2, "No such file", "x.csv"), 2, "No such file: 'x.csv'"),
        (fastlin.errors.DatasetError("two\nlines"), 2, "error: two lines\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_each_kind_of_error_becomes_one_line(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    _fail_with(monkeypatch, error)
    done = run("data", "where")
    assert done.code == code
    assert done.out == ""
    assert done.err.startswith("fastlin: ")
    assert done.err.count("\n") == 1
    assert said in done.err


def test_a_defect_of_fastlin_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError, match="a defect"):
        run("data", "where")


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> Any:
        raise error

    monkeypatch.setattr("fastlin.datasets.mnist.data_folder", fail)


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> str:
        warnings.warn("did not\nconverge", stacklevel=1)
        return "folder"

    monkeypatch.setattr("fastlin.datasets.mnist.data_folder", warn)
    done = run("data", "where")
    assert done.code == 0
    assert done.out == "folder\n"
    assert done.err == "fastlin: warning: did not converge\n"


def test_numbers_in_json_are_strict() -> None:
    from fastlin.cli.output import to_json

    text = to_json({"a": np.float32(np.nan), "b": np.array([[1, 2]]), "c": {2: (np.inf, "ä")}})
    assert json.loads(text) == {"a": None, "b": [[1, 2]], "c": {"2": [None, "ä"]}}
    assert len(text.splitlines()) == 5


@pytest.mark.parametrize(
    ("typed", "completed"), [("tr", "train"), ("train --ea", "--early-stopping")]
)
def test_the_tab_key_completes(
    typed: str, completed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"fastlin {typed}"
    for name, value in {
        "_FASTLIN_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        cli.main()
    assert f"plain,{completed}" in capsys.readouterr().out.splitlines()
