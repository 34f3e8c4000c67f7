"""The public surface is written down: a change of it changes the listing, and is in the changelog.

    python tests/project/test_public_surface.py            write the listing anew
    python tests/project/test_public_surface.py --release  and that of the latest release

``surface/now.txt`` has a line for each public name, with what it takes; ``surface/released.txt`` is
that of the latest release.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from test_docs import THINGS

from fastlin.cli import main

HERE = Path(__file__).parent / "surface"
NOW, RELEASED = HERE / "now.txt", HERE / "released.txt"
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def of_python() -> Iterator[str]:
    """Describe what the reference lists, and the parameters or fields of each."""
    for name, thing in sorted(THINGS.items()):
        if dataclasses.is_dataclass(thing):
            for field in dataclasses.fields(thing):
                yield f"fastlin.{name}.{field.name}: {field.type}"
        elif inspect.isclass(thing) and issubclass(thing, BaseException):
            bases = ", ".join(base.__name__ for base in thing.__mro__[1:-1])
            yield f"fastlin.{name}: {bases}"
        else:
            taken = inspect.signature(thing)
            for parameter in taken.parameters.values():
                if parameter.name not in ("self", "cls"):
                    yield f"fastlin.{name}({parameter})"
            if not inspect.isclass(thing):
                yield f"fastlin.{name} -> {taken.return_annotation}"


def of_the_command_line() -> Iterator[str]:
    """Describe every command and its options."""
    context = click.Context(main, info_name="fastlin")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield from of_command(f"fastlin {name}", command)


def of_command(name: str, command: click.Command) -> Iterator[str]:
    yield name
    for parameter in command.params:
        word = "/".join(parameter.opts) if isinstance(parameter, click.Option) else "ARGUMENT"
        yield f"{name} {word} ({parameter.name})"
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            yield from of_command(f"{name} {inner}", command.commands[inner])


def surface() -> list[str]:
    lines = [*of_python(), *of_the_command_line()]
    return sorted(re.sub(r" at 0x\w+", "", line.replace("\n", " ")) for line in lines)


def unreleased_changes() -> str:
    """Return what the changelog says of the next release."""
    parts = re.split(r"^## (.+)$", CHANGELOG.read_text("utf-8"), flags=re.MULTILINE)
    return parts[2] if parts[1].strip() == "Unreleased" else ""


def name_of(line: str) -> str:
    """Return the word that the changelog must have if this line is new or gone: the innermost."""
    option = re.search(r" (--[\w-]+)", line)
    if option:
        return option[1]
    inside = re.match(r"[\w.]*?(\w+)(?:\(\*{0,2}(\w+)|:| ->)", line)
    if inside is None:
        return line.rpartition(" ")[2]
    return inside[2] or inside[1]


def test_the_listing_is_what_is_public() -> None:
    difference = difflib.unified_diff(
        NOW.read_text("utf-8").splitlines(), surface(), "listed", "is", lineterm="", n=0
    )
    assert not list(difference), f"run python {Path(__file__).name}, and say it in the changelog"


def test_a_change_is_in_the_changelog() -> None:
    now, released = (set(path.read_text("utf-8").splitlines()) for path in (NOW, RELEASED))
    said = unreleased_changes()
    words = set(re.findall(r"--[\w-]+|\w+", said))
    untold = {line for line in now ^ released if name_of(line) not in words}
    assert not untold


def test_what_must_be_named() -> None:
    assert name_of("fastlin.path(**parameters: Any)") == "parameters"
    assert name_of("fastlin.LogisticRegression.save -> None") == "save"
    assert name_of("fastlin.History.gap: NDArray") == "gap"
    assert name_of("fastlin train --out (out)") == "--out"
    assert name_of("fastlin selftest") == "selftest"


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for path in (NOW, RELEASED) if "--release" in sys.argv[1:] else (NOW,):
        path.write_text("\n".join(surface()) + "\n", "utf-8")
