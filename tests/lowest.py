"""Print the lowest of all versions that ``pyproject.toml`` allows, as pip reads requirements.

``make test-lowest`` installs these and runs the tests, so that the bounds are what was tested.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
NOT_TESTED = ("bench", "release")
"""Extras that no test needs."""


def declared(pyproject: dict[str, Any]) -> list[Requirement]:
    """Return what is needed to build, to run, and by the extras, but for fastlin itself."""
    project = pyproject["project"]
    lines = [*pyproject["build-system"]["requires"], *project["dependencies"]]
    for extra, more in project["optional-dependencies"].items():
        lines += more if extra not in NOT_TESTED else []
    requirements = [Requirement(line) for line in lines]
    return [one for one in requirements if canonicalize_name(one.name) != project["name"]]


def lowest(requirements: list[Requirement]) -> dict[str, str]:
    """Return the lowest version that all requirements of a name allow.

    Raises
    ------
    ValueError
        A requirement has no lower bound, or contradicts another one of the same name.
    """
    here = [one for one in requirements if one.marker is None or one.marker.evaluate()]
    found: dict[str, Version] = {}
    for one in here:
        bounds = [Version(part.version) for part in one.specifier if part.operator in (">=", "~=")]
        if not bounds:
            raise ValueError(f"{one} has no lower bound; write {one.name}>=X with the X tested")
        name = canonicalize_name(one.name)
        found[name] = max(bounds if name not in found else [*bounds, found[name]])
    for one in here:
        version = found[canonicalize_name(one.name)]
        if not one.specifier.contains(version):
            raise ValueError(f"{one} does not allow {version}, the lowest of the others")
    return {name: str(version) for name, version in sorted(found.items())}


if __name__ == "__main__":
    pins = lowest(declared(tomllib.loads(PYPROJECT.read_text())))
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in pins.items())
