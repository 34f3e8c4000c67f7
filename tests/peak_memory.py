"""How much memory a call takes, measured in a process of its own by the system."""

from __future__ import annotations

from pathlib import Path

from processes import run_python

PROGRAM = """
import sys, time

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])

{before}
open("/proc/self/clear_refs", "w").write("5")
start, begin = peak(), time.perf_counter()
try:
    {call}
    outcome = "done"
except Exception as error:
    outcome = f"{{type(error).__name__}}: {{error}}"
print(peak() - start, time.perf_counter() - begin, outcome)
"""


def peak_of(before: str, call: str) -> tuple[int, float, str]:
    """Return the bytes that a call adds to what `before` took, its seconds and how it ended."""
    done = run_python("-c", PROGRAM.format(before=before, call=call), folder=Path(__file__).parent)
    assert done.code == 0, done.err
    added, seconds, outcome = done.out.strip().split(" ", 2)
    return int(added), float(seconds), outcome
