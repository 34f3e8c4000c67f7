"""What `make test` leaves out runs in CI: no test is skipped everywhere."""

from __future__ import annotations

import re
from pathlib import Path

from processes import run_python

ROOT = Path(__file__).parents[2]
ASK = """
import processes
marks = processes.first_of(1, [1, 2])[1].marks
print(processes.THOROUGH, processes.thorough.args[0], len(marks))
"""


def asked(**variables: str | None) -> str:
    path = {"PYTHONPATH": str(ROOT / "tests"), "FASTLIN_TEST_LONG": None}
    done = run_python("-c", ASK, variables={**path, **variables})
    assert done.code == 0, done
    return done.out.strip()


def test_ci_runs_every_form_of_every_test() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (setting,) = re.findall(r"^(\w+)=(\w+) make .* test$", script, re.MULTILINE)
    assert asked(**dict([setting])).startswith("True False")
    assert asked(FASTLIN_TEST_THOROUGH=None) == "False True 1"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"{setting[0]}=1" in makefile  # under the sanitizers too
