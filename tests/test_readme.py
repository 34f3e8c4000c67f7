"""What the README shows is what happens."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from command_line import Run, run

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^\$ fastlin (.*)\n((?:(?!\$ |```).*\n)*)", README, re.MULTILINE)


def test_the_python_example_gives_what_it_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    test = doctest.DocTestParser().get_doctest(example, {}, "README", "README.md", 0)
    assert test.examples
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0


def test_the_commands_on_digits_give_what_they_show(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = [(line, output) for line, output in SHOWN if "mnist" not in line and line != "info"]
    assert [line.split()[0] for line, _ in shown] == ["train", "predict", "train"]
    for line, output in shown:
        done = run(*shlex.split(line))
        assert layout(done) == re.sub(r"\d+", "N", output)


def layout(done: Run) -> str:
    """Return all that was printed, with N for each number and the backend as in the README."""
    text = re.sub(r"(numba|c|numpy) backend", "numba backend", done.out + done.err)
    return re.sub(r"\d+", "N", text)
