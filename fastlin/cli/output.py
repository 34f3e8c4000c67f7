"""How results are printed: tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from fastlin.errors import CONTROLS, printable


def print_json(results: dict[str, Any]) -> None:
    """Print one JSON document on standard output."""
    click.echo(to_json(results))


def to_json(results: dict[str, Any]) -> str:
    """Return strict JSON text with one line for each entry of `results`.

    NumPy values become plain ones; NaN and infinity, which JSON lacks, become null.
    """
    lines = [f" {_compact(key)}: {_compact(value)}" for key, value in results.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length in columns, the first left-aligned, the others right-aligned."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        click.echo("  ".join(cells).rstrip())


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two left-aligned columns."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name.ljust(width)}  {printable(value)}".rstrip())


def percent(fraction: float) -> str:
    """Return a fraction as ``97.25 %``."""
    return f"{100 * fraction:.2f} %"


def counted(number: int, noun: str) -> str:
    """Return ``1 thread`` or ``2 threads``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _compact(value: Any) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
