"""The table of what random fits reached, as text in reStructuredText's form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from judge import CERTIFIED
from random_problems import Problem

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
HEAD = ("fits", "", "50 %", "90 %", "99 %", "99.9 %", "worst")
BEGIN, END = ".. begin of the table", ".. end of the table"

Result = dict[str, Any]


def _solver(name: str) -> Callable[[Result], bool]:
    return lambda result: result["word"].startswith(f"{name},")


def groups(results: list[Result]) -> dict[str, list[Result]]:
    """Return the fits of each line of the table: those that ended and were held to an optimum."""
    measured = [result for result in results if "share" in result["facts"]]
    measured = [result for result in measured if ",early=" not in result["word"]]
    found: dict[str, list[Result]] = {}
    for dtype in ("float32", "float64"):
        typed = [result for result in measured if result["facts"]["type"] == dtype]
        for result in sorted(filter(_solver("lbfgs"), typed), key=lambda one: -_tol(one)):
            claimed = result["facts"]["stop"] == "tol"
            end = f"``tol={_tol(result):g}``" if claimed else "not claimed"
            if claimed and Problem.read(result["word"]).n_weights > CERTIFIED:
                end += ", many weights"
            found.setdefault(f"L-BFGS, {dtype}, {end}", []).append(result)
        for result in filter(_solver("sgd"), typed):
            found.setdefault(f"gradient descent, {dtype}", []).append(result)
    return dict(sorted(found.items(), key=lambda item: "not claimed" in item[0]))


def _tol(result: Result) -> float:
    return Problem.read(result["word"]).tol


def table(results: list[Result]) -> str:
    """Return quantiles of the excess over the optimum, as a share of the model's objective."""
    lines = [HEAD]
    for name, members in groups(results).items():
        shares = np.array([result["facts"]["share"] for result in members])
        # Quantiles that were seen, none between two.
        values = np.quantile(shares, QUANTILES, method="higher")
        lines.append((name, str(len(members)), *(f"{value:.1e}" for value in values)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    rule = "  ".join("=" * max(width, 2) for width in widths)
    text = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]
    return "\n".join([rule, text[0].rstrip(), rule, *(line.rstrip() for line in text[1:]), rule])


def write_table(page: Path, results: list[Result], seed: int) -> None:
    """Put the table, and the command that makes it, between the marks of a page."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    command = f"python tests/random_fits.py {seed} {len(results)} --table docs/guide/{page.name}"
    shown = f".. code-block:: console\n\n   $ {command}\n\n{table(results)}"
    page.write_text(f"{before}{BEGIN}\n\n{shown}\n\n{END}{after}", encoding="utf-8")
