"""What the README, the guide and the help pages show of the command line is what happens."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest
from command_line import Run, run

from fastlin.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/guide/command_line.rst"]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shown(text: str) -> list[tuple[str, str]]:
    """Return each command line that a page shows, and the output below it."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    blocks += re.findall(r"code-block:: console\n\n((?:   .*\n|\n)+)", text)
    dedented = "\n\n".join(textwrap.dedent(block).strip("\n") + "\n" for block in blocks)
    pairs = re.findall(r"^\$ fastlin (.*)\n((?:(?!\$ ).*\n)*)", dedented, re.MULTILINE)
    return [(line, re.sub(r"\n+$", "\n", output)) for line, output in pairs]


def help_examples() -> list[str]:
    """Return every example of every command's help page, in the order in which they build up."""
    commands = [importlib.import_module(f"fastlin.cli.{name}").command for name in COMMANDS]
    epilogs = [command.epilog or "" for command in (main, *commands)]
    return [line for epilog in epilogs for line in re.findall(r"^  fastlin (.*)$", epilog, re.M)]


def layout(done: Run) -> str:
    """Return all that was printed, with N for each number and the backend as on the pages."""
    text = re.sub(r"(numba|c|numpy) backend", "numba backend", done.out + done.err)
    return re.sub(r"\d+", "N", text)


def test_the_python_example_gives_what_it_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", page("README.md"), re.DOTALL)
    test = doctest.DocTestParser().get_doctest(example, {}, "README", "README.md", 0)
    assert test.examples
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_on_digits_give_what_they_show(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = [
        (line, output)
        for line, output in shown(page(name))
        if "mnist" not in line and line != "info"
    ]
    assert [line.split()[0] for line, _ in quick][:2] == ["train", "predict"]
    assert len(quick) == 3
    for line, output in quick:
        done = run(*shlex.split(line))
        assert layout(done) == re.sub(r"\d+", "N", output)


def test_the_examples_of_the_help_pages_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = help_examples()
    assert {line.split()[0] for line in examples} == set(COMMANDS)
    for line in examples:
        arguments = shlex.split(line)
        if arguments[0] in ("bench", "report"):  # take minutes, so they are only understood
            assert main.get_command(click.Context(main), arguments[0]).make_context(
                arguments[0], arguments[1:]
            )
        else:
            done = run(*arguments)
            assert done.code == 0, (line, done.err)
