"""Search for bytes on which a reader breaks a promise, guided by the branches that they take.

    python tests/fuzz/search.py --runs 10000                  # of each target
    python tests/fuzz/search.py npy npz --seconds 600
    python tests/fuzz/search.py --runs 200000 --table docs/guide/fuzzing.rst

A target ends at its first fault, and the exit code is then 1. The bytes are kept in ``build/fuzz``,
beside those that were found to lead into new branches. Read them again with
``python tests/fuzz/fuzz_NAME.py FILE``.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import TARGETS

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "build" / "fuzz"
BEGIN, END = ".. begin of the table", ".. end of the table"

LONGEST = 4096
"""Bytes of an input: a fault that needs more is rare, and each execution is quick."""

SECONDS_OF_ONE = 60
"""For one input, though others keep the machine busy."""

MEGABYTES = 1500
"""Memory of a target, of which its libraries take a third."""


@dataclass(frozen=True)
class Search:
    """What came of one target."""

    target: str
    executions: int
    seconds: int
    fault: str | None


def search(target: str, folder: Path, *, runs: int = -1, seconds: int = 0, seed: int = 0) -> Search:
    """Search in a process of its own until one limit is reached (-1 or 0: none).

    `folder` gets the bytes of a fault, and a corpus that the next search begins with.
    """
    corpus = folder / target
    corpus.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, HERE / f"fuzz_{target}.py", corpus, HERE / "corpus" / target),
        *(f"-runs={runs}", f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1"),
        *(f"-max_len={LONGEST}", f"-timeout={SECONDS_OF_ONE}", f"-rss_limit_mb={MEGABYTES}"),
        *("-verbosity=0", f"-artifact_prefix={folder / target}-"),
    ]
    started = time.monotonic()
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", check=False
    )
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    return Search(
        target,
        int(executed[1]) if executed else 0,
        round(time.monotonic() - started),
        f"{done.stdout[-3000:]}{done.stderr[-1000:]}" if done.returncode else None,
    )


def table(searches: list[Search], date: str) -> str:
    """Return the figures in reStructuredText's form."""
    rows = [("reader of", "executions", "seconds", "faults", "on")]
    rows += [
        (one.target, str(one.executions), str(one.seconds), str(int(bool(one.fault))), date)
        for one in searches
    ]
    total = sum(one.executions for one in searches), sum(one.seconds for one in searches)
    rows.append(("all", *map(str, total), str(sum(bool(one.fault) for one in searches)), date))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def write_table(page: Path, text: str) -> None:
    """Put the table between the marks of a page."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Read the command line of the docstring above."""
    parser = argparse.ArgumentParser(description="Fuzz the readers; see the file's head.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--runs", type=int, default=-1, help="executions of each target")
    parser.add_argument("--seconds", type=int, default=0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the table into this page")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(unknown)}; choose from {', '.join(TARGETS)}")
    if options.runs < 0 and options.seconds <= 0:
        parser.error("give --runs or --seconds")
    searches = []
    for target in options.targets or TARGETS:
        found = search(
            target, RESULTS, runs=options.runs, seconds=options.seconds, seed=options.seed
        )
        searches.append(found)
        print(f"{target}: {found.executions} executions, {found.seconds} s", flush=True)
        if found.fault:
            print(found.fault, flush=True)
    text = table(searches, datetime.date.today().isoformat())
    print(f"\n{text}")
    if options.table:
        write_table(options.table, text)
    return 1 if any(one.fault for one in searches) else 0


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
