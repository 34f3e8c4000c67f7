"""Makes the page of all measurements out of the records in ``bench/records``.

A record is what ``fastlin bench --json FILE`` wrote; add one of your machine, and its lines appear.
The table is whole without scripts; ``_static/results.js`` lets readers sort and filter it.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fastlin.bench.results import Results

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
RECORDS = DOCS.parent / "bench/records"
PAGE = DOCS / "generated/measurements.rst"

COLUMNS = ("problem", "contestant", "threads", "milliseconds", "times fastlin", "machine", "date")
NUMBERS = ("threads", "milliseconds", "times fastlin")

HEAD = """\
All measurements
================

Each line is the median of several rounds in which all contestants took turns on one machine;
*times fastlin* is its ratio to fastlin's fastest kernel on the same problem. Click a column to sort
by it. :doc:`/guide/benchmarks` explains the problems. Send what ``fastlin bench --json FILE`` wrote
to have your machine's lines here.

.. raw:: html

"""


def lines(record: Path) -> Iterator[tuple[str, ...]]:
    """Yield the cells of a record's lines: kernels on all threads, fits, and peers."""
    results = Results.load(record)
    machine = results.machine
    name = f"{machine['processor']}, {machine['cores']} cores"
    for problem, cases in results.by_problem():
        shown = [case for case in cases if case.n_threads == results.n_threads]
        fastest = min(case.spread.median for case in shown if case.kind == "kernel")
        for case in sorted(shown, key=lambda case: case.spread.median):
            milliseconds = 1000 * case.spread.median
            yield (
                problem,
                case.contestant,
                str(case.n_threads),
                f"{milliseconds:.3f}" if milliseconds < 10 else f"{milliseconds:.1f}",
                f"{case.spread.median / fastest:.2f}",
                name,
                str(machine.get("date", "")),
            )


def table(rows: list[tuple[str, ...]]) -> str:
    """Return the rows as HTML, with a button in each heading and a field that filters."""

    def cell(tag: str, column: str, content: str) -> str:
        kind = ' class="number"' if column in NUMBERS else ""
        return f"<{tag}{kind}>{content}</{tag}>"

    heads = "".join(
        cell("th", column, f'<button type="button">{column}</button>') for column in COLUMNS
    )
    body = "\n".join(
        "<tr>"
        + "".join(cell("td", column, html.escape(row[i])) for i, column in enumerate(COLUMNS))
        + "</tr>"
        for row in rows
    )
    return (
        '<p><label>Show lines with <input type="search" id="filter" size="30" '
        'placeholder="softmax float32"></label> <span id="shown" role="status"></span></p>\n'
        '<div class="measurements" tabindex="0" role="region" aria-label="All measurements">'
        f'<table class="table" id="measurements"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def write(_: Sphinx | None = None) -> None:
    """Write the page; nothing if it is there with the same content."""
    rows = [row for record in sorted(RECORDS.rglob("*.json")) for row in lines(record)]
    indented = "".join(f"   {line}\n" for line in table(rows).splitlines())
    page = HEAD + indented
    if not PAGE.exists() or PAGE.read_text("utf-8") != page:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, "utf-8")
