"""Standard streams that are closed, full or without a reader, and what a command inherits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run, run
from processes import environment, first_of, run_python

TRAIN = "train --data digits --epochs 2 --backend numpy --out m.npz"


def shell(folder: Path, line: str, **variables: str | None) -> Run:
    """Run a line of bash in which ``fastlin`` is this interpreter's."""
    begin = f"set -o pipefail; fastlin() {{ '{sys.executable}' -m fastlin \"$@\"; }}; "
    done = subprocess.run(
        ["bash", "-c", begin + line],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(variables),
        timeout=120,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("streams", "code"),
    first_of(
        4,
        [
            ("<&- >&- 2>&-", 0),
            ("| true", 0),
            ("2>/dev/full", 0),
            (">/dev/full", 2),
            (">&-", 0),
            ("2>&-", 0),
            ("2> >(true)", 0),
            ("2>&1 | true", 0),
            (">/dev/full 2>/dev/full", 2),
            (">/dev/full 2>&-", 2),
        ],
    ),
)
def test_training_is_done_whoever_listens(tmp_path: Path, streams: str, code: int) -> None:
    done = shell(tmp_path, f"fastlin {TRAIN} {streams}")
    assert done.code == code, done.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err
    # A file that takes the place of a closed stream would hold what is printed.
    assert run("evaluate", tmp_path / "m.npz").code == 0


@pytest.mark.parametrize(
    "streams", first_of(2, [">&-", "2>/dev/full", "2>&-", "| true", ">/dev/full"])
)
def test_a_mistake_keeps_its_exit_code(tmp_path: Path, streams: str) -> None:
    done = shell(tmp_path, f"fastlin train --data none.csv {streams}")
    assert done.code == 2
    assert done.err.count("\n") == ("2>" not in streams)


@pytest.mark.parametrize(
    "arguments", first_of(2, ["--help", "info", "train --help", "--version", "data list"])
)
def test_a_full_disk_is_told_once(tmp_path: Path, arguments: str) -> None:
    done = shell(tmp_path, f"fastlin {arguments} > /dev/full")
    assert done.code == 2
    assert done.err == (
        "fastlin: error: cannot write to standard output: No space left on device\n"
    )


@pytest.mark.parametrize(
    "backend", first_of(2, ["nonsense", "", "module://matplotlib_inline.none", "TkAgg", "agg"])
)
def test_a_backend_of_matplotlib_that_is_inherited(tmp_path: Path, backend: str) -> None:
    done = shell(tmp_path, f"fastlin {TRAIN} --quiet --plot p.png", MPLBACKEND=backend)
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_leaves_pyplot_its_backend(tmp_path: Path) -> None:
    program = """
import fastlin, os
from fastlin.results.history import History
from fastlin.results.plotting import import_matplotlib
import_matplotlib()
import matplotlib
print(matplotlib.get_backend(), os.environ["MPLBACKEND"])
"""
    for backend, known in (("svg", "svg"), ("nonsense", "agg")):
        done = run_python("-c", program, variables={"MPLBACKEND": backend, "DISPLAY": None})
        assert done.out.split() == [known, backend], done.err


COMMANDS = {
    (): "Train logistic and softmax regression",
    ("train",): "Train logistic regression (two classes)",
    ("predict",): "Predict the label of each row",
    ("evaluate",): "Measure MODEL",
    ("report",): "Write report.html",
    ("bench",): "Time an epoch",
    ("info",): "Show versions",
    ("data",): "List the data sets, fetch one",
    ("data", "list"): "List the data sets with",
    ("data", "fetch"): "Fetch the data set NAME",
    ("data", "where"): "Print the folder",
}


def test_help_without_docstrings() -> None:
    program = """
import sys
from click.testing import CliRunner
from fastlin.cli import main
for line in sys.stdin:
    print(" ".join(CliRunner().invoke(main, [*line.split(), "--help"]).output.split()))
"""
    lines = "".join(" ".join(command) + "\n" for command in COMMANDS)
    pages = run_python("-OO", "-c", program, input=lines).out.splitlines()
    assert len(pages) == len(COMMANDS)
    for (command, said), page in zip(COMMANDS.items(), pages, strict=True):
        assert said in page
        assert page == " ".join(run(*command, "--help").out.split())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
def test_names_of_files_that_are_no_text(tmp_path: Path) -> None:
    done = shell(tmp_path, rf"fastlin {TRAIN.replace('m.npz', '')}$'\xff.npz' --quiet > out")
    assert done.code == 0, done.err
    assert b"model file  \xff.npz" in (tmp_path / "out").read_bytes()
    done = shell(tmp_path, r"fastlin evaluate $'none\xff.npz'")
    assert done.code == 2
    assert "Traceback" not in done.err
