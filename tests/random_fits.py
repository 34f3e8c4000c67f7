"""Fit random problems and hold each model against an optimum that is found without fastlin.

    python tests/random_fits.py [SEED] [PROBLEMS]          # 2000 problems of seed 0
    python tests/random_fits.py --fit WORD ...             # again, in this process
    python tests/random_fits.py 0 2000 --table docs/guide/accuracy.rst

A line is printed for each fault, with the word that repeats it, and another of the kinds listed in
``judge``: a crash of the process, or a hang of more than :data:`SECONDS`. At the end comes the
number of faults by kind, and the table, which ``--table`` writes into a page of the documentation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from accuracy_table import table, write_table
from judge import judged
from processes import environment
from random_problems import draw

PROBLEMS = 2000
CHUNK = 25
"""Problems of one process."""

SECONDS = 900
"""For one process, though others keep the machine busy."""


def judge_here(words: list[str], plain: bool) -> int:
    """Judge problems in this process; print a line each."""
    import faulthandler

    faulthandler.enable()
    wrong = False
    for word in words:
        result = judged(word)
        wrong = wrong or bool(result["faults"])
        if plain:
            sys.stdout.write(f"{json.dumps(result)}\n")
        else:
            facts = {name: _short(value) for name, value in result["facts"].items()}
            sys.stdout.write(f"{word}\n  {facts}\n")
            for kind, detail in result["faults"]:
                sys.stdout.write(f"  FAULT {kind}: {detail}\n")
        sys.stdout.flush()
    return 1 if wrong else 0


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def judge_apart(words: list[str]) -> list[dict[str, Any]]:
    """Judge problems in a process of their own, and the rest in another if it dies."""
    results: list[dict[str, Any]] = []
    while len(results) < len(words):
        rest = words[len(results) :]
        command = [sys.executable, __file__, "--plain", "--fit", *rest]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=SECONDS,
                env=environment({"OPENBLAS_NUM_THREADS": "1"}),
            )  # fmt: skip
            out, how = done.stdout, ("crash", f"exit code {done.returncode}: {done.stderr[-800:]}")
        except subprocess.TimeoutExpired as error:
            out = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
            how = ("hang", f"no answer in {SECONDS} s")
        found = [json.loads(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]
        results += found
        if len(found) < len(rest):
            word = rest[len(found)]
            results.append({"word": word, "faults": [how], "facts": {}, "seconds": 0.0})
    return results


def run(seed: int, n_problems: int) -> list[dict[str, Any]]:
    """Judge the problems of a seed, two processes at a time; print a line a fault."""
    words = [str(draw(seed, number)) for number in range(n_problems)]
    chunks = [words[first : first + CHUNK] for first in range(0, n_problems, CHUNK)]
    results: list[dict[str, Any]] = []
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for future in as_completed([pool.submit(judge_apart, chunk) for chunk in chunks]):
            for result in future.result():
                results.append(result)
                for kind, detail in result["faults"]:
                    said = " ".join(detail.split())
                    print(f"FAULT {kind}: {said}\n    --fit {result['word']}", flush=True)
            if len(results) % 100 < CHUNK:
                minutes = (time.monotonic() - started) / 60
                print(f"{len(results)} of {n_problems} problems, {minutes:.1f} minutes", flush=True)
    return results


def summary(results: list[dict[str, Any]]) -> str:
    """Return how many faults there are of each kind."""
    kinds = Counter(kind for result in results for kind in {kind for kind, _ in result["faults"]})
    lines = [f"{count:6d} {kind}" for kind, count in kinds.most_common()]
    n_wrong = sum(bool(result["faults"]) for result in results)
    return "\n".join([f"{len(results)} problems, {n_wrong} with a fault", *lines])


def main() -> int:
    """Read the command line of the docstring above."""
    parser = argparse.ArgumentParser(description="Judge random fits; see the file's head.")
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("problems", nargs="?", type=int, default=PROBLEMS)
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the table into this page")
    parser.add_argument("--fit", nargs="+", metavar="WORD", help="judge problems in this process")
    parser.add_argument("--plain", action="store_true", help="with --fit: lines for a program")
    options = parser.parse_args()
    if options.fit:
        return judge_here(options.fit, options.plain)
    results = run(options.seed, options.problems)
    print(f"\n{table(results)}\n\n{summary(results)}", flush=True)
    if options.table:
        write_table(options.table, results, options.seed)
    return 1 if any(result["faults"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
