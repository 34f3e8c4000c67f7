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
