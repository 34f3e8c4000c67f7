"""The types that fastlin ships hold in a user's program, for mypy and for pyright."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import fastlin

SAMPLE = Path(__file__).parents[1] / "typing_sample.py"
WRONG = "from fastlin import LogisticRegression\nLogisticRegression(l2='much').fit([[1]], [1])\n"


def check(*command: str, program: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command, str(program)],
        cwd=Path(fastlin.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )


CHECKERS = {
    # Faults of the library itself are not shown to its users.
    "mypy": ("mypy", "--strict", "--no-error-summary", "--follow-imports=silent"),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}


def needed(checker: str) -> tuple[str, ...]:
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    return CHECKERS[checker]


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_program_passes(checker: str) -> None:
    done = check(*needed(checker), program=SAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_mistake_is_found(checker: str, tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    done = check(*needed(checker), program=program)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "l2" in done.stdout


def test_the_program_runs(tmp_path: Path) -> None:
    run = f"import sys; sys.path.insert(0, {str(SAMPLE.parent)!r}); import typing_sample;"
    code = f"{run} from pathlib import Path; typing_sample.train(Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
