"""Draw the README's picture: the time of one epoch in each library, from a benchmark's record.

    python bench/picture.py RECORD.json docs/epoch.png

Each library is represented by its fastest form; a bar that is much longer than the others is cut.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastlin.bench.results import Case, Results
from fastlin.errors import FastlinError, InputError, listed
from fastlin.results.plotting import BLUE, figure_style, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROBLEM = "mnist-softmax-float32-batch128"
NAMES = {"fastlin c": "fastlin, C", "fastlin numba": "fastlin, Numba", "NumPy loop": "NumPy"}
GREY = "#9A9A9A"
LONGEST = 2.0
"""A bar is cut if it is longer than this many times the next one."""


def fastest_by_library(results: Results, problem: str) -> dict[str, Case]:
    """Return the fastest case of each library by name, in ascending order of its time.

    The NumPy backend of fastlin is left out, since it is a specification.

    Raises
    ------
    InputError
        The record does not have the problem.
    """
    cases = dict(results.by_problem())
    if problem not in cases:
        raise InputError(f"the record has no {problem!r}; it has {listed(list(cases))}")
    fastest: dict[str, Case] = {}
    for case in sorted(cases[problem], key=lambda case: case.spread.median):
        is_shown = case.kind == "peer" or (
            case.contestant in results.bases and case.n_threads == results.n_threads
        )
        if is_shown and case.contestant != "fastlin numpy":
            library = case.contestant.partition(",")[0]
            fastest.setdefault(NAMES.get(library, library), case)
    return fastest


def draw(results: Results, path: Path, problem: str = PROBLEM) -> Figure:
    """Draw one horizontal bar for each library, the fastest at the top."""
    fastest = fastest_by_library(results, problem)
    times = [1000 * case.spread.median for case in fastest.values()]
    limit = max(times)
    if len(times) > 1 and times[-1] > LONGEST * times[-2]:
        limit = 1.5 * times[-2]
    with figure_style():
        figure, grid = new_figure(size=(8.0, 0.6 + 0.45 * len(times)))
        axes = grid[0, 0]
        for place, (name, milliseconds) in enumerate(zip(fastest, times, strict=True)):
            length = min(milliseconds, limit)
            axes.barh(place, length, 0.7, color=BLUE if name.startswith("fastlin") else GREY)
            axes.text(length + 0.01 * limit, place, f"{milliseconds:.0f} ms", va="center")
            if length < milliseconds:  # two white strokes across the bar
                for part in (0.88, 0.9):
                    axes.plot(
                        [(part - 0.008) * limit, (part + 0.008) * limit],
                        [place + 0.42, place - 0.42],
                        color="white",
                        linewidth=3,
                    )
        axes.set_yticks(range(len(times)), list(fastest))
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * limit)
        axes.grid(visible=False)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(left=False)
        save_figure(figure, path)
    return figure


@click.command(help=__doc__)
@click.argument("record", type=click.Path(path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
def main(record: Path, picture: Path) -> None:
    """Draw the picture; see the module."""
    try:
        draw(Results.load(record), picture)
    except FastlinError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
