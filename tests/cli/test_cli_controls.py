"""Names and labels that would control a terminal are shown harmlessly, and kept as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run

from fastlin import LogisticRegression
from fastlin.errors import CONTROLS

BAD = "\x1b[31m[red]\u202ered\x9b7m\x07"
SHOWN = r"\x1b[31m[red]\u202ered\x9b7m\x07"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give rows in a file and a model of them, all of whose names are bad."""
    folder = tmp_path_factory.mktemp("controls")
    rows = "".join(f"{i},{i % 3}.5,{i % 7},{('[b]', BAD)[i % 2]}\n" for i in range(60))
    data, model = folder / f"{BAD}.csv", folder / f"{BAD}.npz"
    data.write_text(f"a,{BAD},{BAD} id,y\n{rows}")
    done = run("train", "--data", data, "--out", model, "--epochs", "3", "--backend", "numpy")
    assert done.code == 0, done.err
    assert_harmless(done.out + done.err)
    assert f"data        {SHOWN}: " in done.out
    return data, model


def assert_harmless(text: str) -> None:
    assert not CONTROLS.search(text.replace("\n", "")), ascii(text)


def test_tables(files: tuple[Path, Path]) -> None:
    done = run("evaluate", files[1], "--data", files[0])
    assert done.code == 0, done.err
    assert_harmless(done.out + done.err)
    assert f"\n{SHOWN}  " in done.out
    assert "\n[b] " in done.out


def test_json_keeps_every_character(files: tuple[Path, Path]) -> None:
    done = run("evaluate", files[1], "--data", files[0], "--json")
    assert_harmless(done.out)
    results = json.loads(done.out)
    assert results["classes"] == [BAD, "[b]"]
    assert results["data"] == BAD


def test_predictions_are_exact_for_a_program_and_harmless_on_a_terminal(
    files: tuple[Path, Path],
) -> None:
    exact = run("predict", files[1], "--data", files[0]).out
    assert set(exact.splitlines()[1:]) <= {BAD, "[b]"}
    expected = LogisticRegression.load(files[1]).classes_.tolist()
    assert expected == [BAD, "[b]"]
    command = [sys.executable, "-m", "fastlin", "predict", files[1], "--data", files[0]]
    terminal, end = os.openpty()
    with os.fdopen(end, "wb") as stdout:
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)
    shown = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
    assert done.returncode == 0, done.stderr
    lines = shown.decode().replace("\r\n", "\n")
    assert_harmless(lines)
    assert lines == exact.replace(BAD, SHOWN)


def test_mistakes(files: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(files[0].read_text() + f"1,2,3,new{BAD}\n" * 30)
    for arguments in (
        ("evaluate", files[1], "--data", other),
        ("train", "--data", files[0], "--classes", f"1,{BAD}"),
        ("train", "--data", files[0], "--label", BAD),
        ("train", "--data", f"{BAD}/missing"),
        ("train", "--data", "digits", "--l2", BAD),
        ("predict", files[1], "--data", "digits"),
    ):
        done = run(*arguments)
        assert done.code == 2
        assert done.err.count("\n") <= 3  # two lines tell the columns of the file
        assert_harmless(done.err)
