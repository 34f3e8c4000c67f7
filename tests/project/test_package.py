"""The package: quick to import, and open about what it holds."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from typing import Any

import pytest

import fastlin


def modules_after(code: str) -> set[str]:
    """Return the names of the modules that an interpreter of its own holds after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


HEAVY = {"numpy", "numba", "llvmlite", "sklearn", "scipy", "matplotlib", "rich", "pooch", "cffi"}


@pytest.mark.parametrize("code", ["import fastlin", "import fastlin; fastlin.__version__"])
def test_importing_is_light(code: str) -> None:
    loaded = modules_after(code)
    assert "fastlin" in loaded
    assert not loaded & HEAVY


def test_the_estimator_comes_without_what_only_some_need() -> None:
    loaded = modules_after("import fastlin; fastlin.LogisticRegression")
    assert "sklearn" in loaded
    # Not rich: scikit-learn's callbacks import it.
    assert not loaded & {"numba", "matplotlib", "pooch", "typst", "sympy"}


def test_an_unneeded_backend_is_not_loaded() -> None:
    loaded = modules_after("from fastlin.kernels import load_backend; load_backend('c')")
    assert "fastlin.kernels.native" in loaded
    assert "numba" not in loaded


def test_the_public_names() -> None:
    names = {"Backend", "History", "LogisticRegression", "RegularizationPath", "StoredRows"}
    names |= {"backends", "open_rows", "path"}
    namespace: dict[str, Any] = {}
    exec("from fastlin import *", namespace)
    assert namespace.keys() - {"__builtins__"} == names | {"__version__"}
    for name in names:
        assert namespace[name].__name__ == name
        assert namespace[name].__module__.startswith("fastlin.")
    assert names | {"__version__"} <= set(dir(fastlin))
    assert list(fastlin.backends()) == ["numba", "c", "numpy"]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(
        AttributeError, match="module 'fastlin' has no attribute 'LinearRegression'"
    ):
        _ = fastlin.LinearRegression


def test_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", fastlin.__version__)


def test_types_are_for_users_too() -> None:
    assert resources.files("fastlin").joinpath("py.typed").is_file()
