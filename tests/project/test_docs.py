"""The reference is complete: it lists all that is public, and the docstrings say what it takes."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from numpydoc.docscrape import NumpyDocString

import fastlin
from fastlin import advice, datasets, errors

REFERENCE = Path(__file__).parents[2].joinpath("docs/reference/index.rst").read_text("utf-8")
LISTED = re.findall(r"^   ([\w.]*\w)$", REFERENCE, re.MULTILINE)
PAGES = {"command_line", "environment", "kernels"}


def listed_objects() -> dict[str, Any]:
    """Return everything that the reference lists, and the classes' own methods, by name."""
    things = {}
    for listed in sorted(set(LISTED) - PAGES):
        module, _, name = f"fastlin.{listed}".rpartition(".")
        thing = getattr(importlib.import_module(module), name)
        things[listed] = thing
        if inspect.isclass(thing):
            methods = [key for key, value in vars(thing).items() if is_method(key, value)]
            things |= {f"{listed}.{method}": getattr(thing, method) for method in methods}
    return things


def is_method(name: str, value: Any) -> bool:
    of_scikit_learn = name.startswith("set_") and name.endswith("_request")
    callable_of_class = callable(value) or isinstance(value, classmethod) or hasattr(value, "fn")
    return callable_of_class and not name.startswith("_") and not of_scikit_learn


THINGS = listed_objects()


def explained(thing: Any, *sections: str) -> list[str]:
    """Return the names that the sections of a docstring explain, in order."""
    document = NumpyDocString(inspect.getdoc(thing) or "")
    entries = [entry for section in sections for entry in document[section]]
    return [name.lstrip("*") for entry in entries for name in entry.name.split(", ")]


def test_the_reference_lists_all_that_is_public() -> None:
    public = {name for name in fastlin.__all__ if name != "__version__"}
    public |= {f"datasets.{name}" for name in datasets.__all__}
    for module, base in ((errors, errors.FastlinError), (advice, advice.FastlinWarning)):
        public |= {
            f"{module.__name__.removeprefix('fastlin.')}.{name}"
            for name, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, base)
        }
    assert public - set(LISTED) == set()


@pytest.mark.parametrize("name", [name for name, thing in THINGS.items() if callable(thing)])
def test_what_it_takes_is_explained(name: str) -> None:
    thing = THINGS[name]
    assert inspect.getdoc(thing)
    if dataclasses.is_dataclass(thing):
        fields = {field.name for field in dataclasses.fields(thing)}
        assert fields - set(explained(thing, "Attributes")) == set()
    elif not (inspect.isclass(thing) and issubclass(thing, Exception)):
        taken = [name for name in inspect.signature(thing).parameters if name != "self"]
        assert explained(thing, "Parameters") == taken


@pytest.mark.parametrize(
    "name", [name for name, thing in THINGS.items() if not inspect.isclass(thing)]
)
def test_what_it_returns_is_explained(name: str) -> None:
    returned = inspect.signature(THINGS[name]).return_annotation
    assert bool(NumpyDocString(inspect.getdoc(THINGS[name]) or "")["Returns"]) == (
        returned != "None"
    )


WORDS = {"int": "int", "float": "float", "bool": "bool", "str": "str", "Path": "Path"}
"""Types that a docstring names as the code does; arrays are described by their shapes."""

CALLED = {
    "bool": ("bool", "{"),
    "str": ("str", "{", '"'),
    "int": ("int", "number"),
    "float": ("float", "number"),
}


def disagreements(thing: Any) -> list[str]:
    """Return the parameters whose type in the docstring is not that of the annotation."""
    document = NumpyDocString(inspect.getdoc(thing) or "")
    described = {
        name.lstrip("*"): entry.type
        for section in ("Parameters", "Attributes")
        for entry in document[section]
        for name in entry.name.split(", ")
    }
    found = []
    for name, parameter in inspect.signature(thing).parameters.items():
        annotation, said = str(parameter.annotation), described.get(name, "")
        parts = {part.strip() for part in annotation.split("|")}
        if not said or parameter.annotation is parameter.empty:
            continue
        found += [
            f"{name}: {said!r} does not name {part}"
            for part in parts & WORDS.keys()
            if not any(word in said for word in CALLED.get(part, (part,)))
        ]
        plain = parts <= {*WORDS, "None"}
        found += [
            f"{name}: {said!r}, but it is {annotation}"
            for word in WORDS
            if plain and re.match(rf"{word}\b", said) and word not in parts
        ]
        allows_none = parameter.default is None or "None" in parts
        if plain and allows_none != bool(re.search("None|optional", said)):
            found.append(f"{name}: {said!r} about None, but it is {annotation}")
    return found


@pytest.mark.parametrize("name", [name for name, thing in THINGS.items() if callable(thing)])
def test_types_in_words_are_those_of_the_code(name: str) -> None:
    thing = THINGS[name]
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):
        assert disagreements(thing) == []


def test_a_disagreement_is_found() -> None:
    def wrong(a: int, b: float | None = None, c: str = "") -> None:
        """Do nothing.

        Parameters
        ----------
        a : float
        b : float
        c : str or None
        """

    assert len(disagreements(wrong)) == 4
