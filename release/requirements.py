"""Print what building needs and what pyproject.toml lists under ``release``, one a line."""

from __future__ import annotations

import tomllib
from pathlib import Path

content = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())
extras = content["project"]["optional-dependencies"]
print(*content["build-system"]["requires"], *extras["release"], sep="\n")
