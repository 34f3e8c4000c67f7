"""Print what ``pyproject.toml`` needs without its upper bounds, as pip reads requirements.

``make test-newest`` installs the newest of these, ``make test-newest PRE=--pre`` also what is not
yet released, and runs the tests: if they pass, an upper bound may be raised.
"""

from __future__ import annotations

import sys
import tomllib

from lowest import PYPROJECT, declared
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

STYLE = ("ruff", "clang-format", "mypy")
"""Those whose next version finds faults of style, which are no faults of fastlin."""


def opened(requirement: Requirement) -> Requirement:
    """Return a requirement without upper bounds."""
    new = Requirement(str(requirement))
    if new.name not in STYLE:
        kept = [str(part) for part in new.specifier if part.operator not in ("<", "<=", "==", "~=")]
        new.specifier = SpecifierSet(",".join(kept))
    return new


if __name__ == "__main__":
    found = {str(opened(one)) for one in declared(tomllib.loads(PYPROJECT.read_text()))}
    sys.stdout.writelines(f"{line}\n" for line in sorted(found))
