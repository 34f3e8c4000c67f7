"""Try wheels as strangers do: ``python release/try_wheels.py FOLDER [PYTHON ...]``.

For each Python a virtual environment gets the wheel that pip chooses for this machine, and its
dependencies. In an empty folder, far from the sources, the first page's commands run, and then
the short tests that come with the source distribution, on the installed package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

FIVE_LINES = """
from sklearn.datasets import load_digits
from fastlin import LogisticRegression
X, y = load_digits(return_X_y=True)
model = LogisticRegression(input_scale=(0, 1 / 16), momentum=0.9, random_state=0).fit(X, y)
assert model.score(X, y) > 0.98
"""

QUICK = (
    "tests/kernels/test_backends.py",
    "tests/test_estimator.py",
    "tests/results/test_model_file.py",
    "tests/cli/test_cli_train.py",
)

# Of two ways to find out which vectors there are, the C compiler's and Numba's.
WITH_C = """
import fastlin
c, numba = (fastlin.backends()[name] for name in ("c", "numba"))
assert c.available, c.reason
assert c.instruction_set in (numba.instruction_set, numba.instruction_set.replace("amx", "avx512"))
"""


def try_one(python: str, wheels: Path) -> None:
    """Install and use the wheel in an environment of its own; end with the first that fails."""
    with tempfile.TemporaryDirectory(prefix="fastlin-try-") as temporary:
        folder = Path(temporary)

        def run(*command: object, where: Path = folder) -> None:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=where,
                env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
                | {"NUMBA_CACHE_DIR": str(folder / "cache")},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            said = done.stdout.strip().splitlines()
            print(f"  {Path(str(command[0])).name} {' '.join(map(str, command[1:]))[:60]}")
            if done.returncode:
                sys.exit("\n".join(said[-40:]))

        run(python, "-m", "venv", folder / "venv")
        program = folder / "venv/bin"
        pip = [program / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        run(
            *pip,
            "--only-binary=fastlin",
            "--find-links",
            wheels,
            "fastlin[report]==" + version(wheels),
        )
        empty = folder / "empty"
        empty.mkdir()
        run(program / "python", "-c", WITH_C, where=empty)
        run(program / "python", "-c", FIVE_LINES, where=empty)
        run(program / "fastlin", "info", where=empty)
        run(program / "fastlin", "selftest", where=empty)
        options = ["--data", "digits", "--quiet"]
        run(program / "fastlin", "train", *options, "--out", "model", where=empty)
        run(program / "fastlin", "predict", "model", *options, "--out", "labels.csv", where=empty)
        run(program / "fastlin", "evaluate", "model", *options, where=empty)
        run(program / "fastlin", "report", "--data", "digits", "--quiet", where=empty)
        run(*pip, "pytest", "hypothesis", "pandas", "polars")
        run(program / "python", "-m", "pytest", "-q", "-x", *QUICK, where=tests(wheels, folder))


def version(wheels: Path) -> str:
    """Return the version of the wheels in a folder."""
    (archive,) = wheels.glob("fastlin-*.tar.gz")
    return archive.name.removeprefix("fastlin-").removesuffix(".tar.gz")


def tests(wheels: Path, folder: Path) -> Path:
    """Unpack the source distribution, and leave nothing of the package but its tests."""
    (archive,) = wheels.glob("fastlin-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    shutil.rmtree(source / "fastlin")
    return source


def main(arguments: Sequence[str]) -> None:
    """Try the wheels on every Python named, by default on this one."""
    wheels, *pythons = arguments
    for python in pythons or [sys.executable]:
        print(f"{python}:")
        try_one(python, Path(wheels).resolve())


if __name__ == "__main__":
    main(sys.argv[1:])
