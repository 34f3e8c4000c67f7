"""What pyproject.toml declares: all that is imported, each for a reason, from a bound on."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import lowest
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
TESTED = ("report", "onnx", "dask", "docs", "fuzz", "test")
"""Extras that the tests need."""

NAMES = {"sklearnex": "scikit-learn-intelex"}
"""Distributions whose names differ from the modules that they install, by module."""


def names(lines: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def imported(paths: Iterable[Path]) -> Iterator[str]:
    """Give the distributions that these files import, also inside functions."""
    distributions = packages_distributions()
    own = {path.stem for folder in ("tests", "docs") for path in (ROOT / folder).rglob("*.py")}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules = [node.module]
            for top in {module.partition(".")[0] for module in modules}:
                if top not in sys.stdlib_module_names | own | {"fastlin"}:
                    name = distributions.get(top, [NAMES.get(top, top)])[0]
                    yield canonicalize_name(name)


@pytest.mark.parametrize(
    ("patterns", "lines"),
    [
        (
            ["fastlin/**/*.py"],
            [
                *PROJECT["dependencies"],
                *EXTRAS["report"],
                *EXTRAS["onnx"],
                *EXTRAS["dask"],
                *EXTRAS["bench"],
            ],
        ),
        (["setup.py", "csrc/*.py"], PYPROJECT["build-system"]["requires"]),
        (
            ["tests/**/*.py", "docs/*.py", "docs/gallery/*.py", "conftest.py"],
            [*PROJECT["dependencies"], *(one for name in TESTED for one in EXTRAS[name])],
        ),
    ],
    ids=["fastlin", "its build", "tests and pages"],
)
def test_what_is_imported_is_declared(patterns: list[str], lines: list[str]) -> None:
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert len(paths) > 1
    assert set(imported(paths)) - names(lines) == set()


def test_what_is_declared_is_imported() -> None:
    of_fastlin = set(imported(ROOT.glob("fastlin/**/*.py")))
    of_the_report = set(imported(ROOT.glob("fastlin/report/*.py")))
    compiled = {"cffi"}  # imported by the C backend
    assert names(PROJECT["dependencies"]) - of_fastlin == compiled
    assert names(EXTRAS["report"]) - of_the_report == set()


def test_each_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    lines = [line for line in text.splitlines() if re.match(r'  "[a-z][^"]*[=<>\]][^"]*",', line)]
    bench = set(EXTRAS["bench"])
    without = [line for line in lines if "  # " not in line and line.strip(' ",') not in bench]
    assert len(lines) > 30
    assert without == []


def test_the_lowest_versions_are_those_that_are_declared() -> None:
    pins = lowest.lowest(lowest.declared(PYPROJECT))
    declared = {
        canonicalize_name(requirement.name): requirement.specifier
        for requirement in map(Requirement, PROJECT["dependencies"])
    }
    assert pins.keys() >= declared.keys() | {"pytest", "sphinx", "setuptools", "pandas"}
    assert "torch" not in pins
    for name, specifier in declared.items():
        assert f">={pins[name]}" in {str(part) for part in specifier}


def test_of_two_bounds_the_higher_one_counts() -> None:
    lines = ["NumPy>=1.26", "numpy>=2.0,<3", "click~=8.2", "old>=1; python_version < '3'"]
    assert lowest.lowest([Requirement(line) for line in lines]) == {"click": "8.2", "numpy": "2.0"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["numpy"], "numpy has no lower bound; write numpy>=X"),
        (["numpy<3"], "has no lower bound"),
        (["numpy>=2", "numpy>=1,<2"], "does not allow 2"),
    ],
)
def test_bounds_that_cannot_be_tested(lines: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lowest.lowest([Requirement(line) for line in lines])


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["test", "test-lowest"])
def test_another_python_makes_the_environment_again(target: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "setup.py", "tests/lowest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for version in ("3.98", "3.99"):
        (tmp_path / f"python{version}").write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / f"python{version}").chmod(0o755)

    def plan(version: str) -> list[str]:
        command = ["make", "--dry-run", f"PYTHON=./python{version}", target]
        # Of its own options, not those of the make that runs these tests.
        environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    made = plan("3.98")
    assert any("-m venv --clear" in line for line in made)
    for stamp in (line.removeprefix("touch ") for line in made if line.startswith("touch ")):
        (tmp_path / stamp).parent.mkdir(exist_ok=True)
        (tmp_path / stamp).touch()
    assert not any("venv --clear" in line or "pip install" in line for line in plan("3.98"))
    again = plan("3.99")
    assert any("./python3.99 -m venv --clear" in line for line in again)
    assert any("pip install" in line for line in again)
