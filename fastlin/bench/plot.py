"""A benchmark's record as a figure: the roofline, and every peer's time relative to fastlin's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.bench.results import Case, Results
from fastlin.bench.table import MOST_TABLES, fastest
from fastlin.results.output_file import replacing
from fastlin.results.plotting import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR_INCHES = 0.2
_LEAST_INCHES = 6.0


def plot_results(results: Results, path: Path) -> Figure:
    """Draw the roofline and the ratios, and save them; the suffix chooses the format.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    import_matplotlib()
    from matplotlib.figure import Figure

    many = len(list(results.by_problem())) > MOST_TABLES
    n_bars = 0 if many else sum(case.kind == "peer" for case in results.cases)
    height = max(_LEAST_INCHES, 2.0 + _BAR_INCHES * (n_bars + 2 * len(list(results.by_problem()))))
    figure = Figure(figsize=(15, height if not many else 7), layout="constrained")
    roofline, ratios = figure.subplots(1, 2)
    _draw_roofline(roofline, results)
    if many:
        _draw_sorted_ratios(ratios, results)
    else:
        _draw_ratio_bars(ratios, results)
    machine = results.machine
    threads = f"{results.n_threads} thread" + ("s" if results.n_threads > 1 else "")
    figure.suptitle(f"{machine['processor']}, {threads}, median of {results.rounds} rounds")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return figure


def _shown(results: Results) -> list[Case]:
    names = results.bases
    return [case for case in results.cases if case.kind == "peer" or case.contestant in names]


def _colors(results: Results) -> dict[str, Any]:
    from matplotlib import colormaps

    names = dict.fromkeys(case.contestant for case in _shown(results))
    palette = colormaps["tab10"].colors  # type: ignore[attr-defined]  # a listed colormap
    return {name: palette[number % len(palette)] for number, name in enumerate(names)}


def _draw_roofline(axes: Axes, results: Results) -> None:
    """Arithmetic speed against operations for each byte read, under the measured limits."""
    limits = results.limits[results.n_threads]
    comparable = [case for case in _shown(results) if case.error is not None]
    intensities = [case.flops / case.bytes for case in comparable] or [1.0]
    x = np.geomspace(min(intensities) / 3, max(intensities) * 3, 200)
    reading = limits.read_bytes_per_second * x
    for dtype, style in (("float32", "-"), ("float64", "--")):
        roof = np.minimum(limits.flops_per_second(dtype), reading)
        axes.loglog(x, roof / 1e9, style, color="black", label=f"limit, {dtype}")
    colors = _colors(results)
    for name in dict.fromkeys(case.contestant for case in comparable):
        cases = [case for case in comparable if case.contestant == name]
        axes.loglog(
            [case.flops / case.bytes for case in cases],
            [case.flops / case.spread.median / 1e9 for case in cases],
            linestyle="none",
            marker="o" if cases[0].kind == "peer" else "s",
            markersize=6 if cases[0].kind == "peer" else 8,
            color=colors[name],
            alpha=0.7,
            label=name,
        )
    axes.set_xlabel("operations for each byte of the rows [FLOP/byte]")
    axes.set_ylabel("arithmetic speed [GFLOP/s]")
    axes.set_title("Roofline")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(fontsize="small")


def _draw_ratio_bars(axes: Axes, results: Results) -> None:
    """One bar a peer and problem: its time in units of fastlin's fastest kernel."""
    colors = _colors(results)
    ticks: list[float] = []
    labels: list[str] = []
    seen: set[str] = set()
    position = 0.0
    for problem, cases in results.by_problem():
        base = fastest(cases, "kernel")
        peers = [case for case in cases if case.kind == "peer"]
        if base is None or not peers:
            continue
        ticks.append(position + (len(peers) - 1) / 2)
        labels.append(f"{problem}\nagainst {base.contestant}")
        for case in peers:
            _draw_bar(axes, position, case, base, colors[case.contestant], seen)
            position += 1
        position += 1
    axes.set_yticks(ticks, labels, fontsize="small")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.margins(x=0.15)
    axes.set_xlabel("time relative to fastlin (right of 1: fastlin is faster)")
    axes.set_title("Time of the peers")
    if seen:
        axes.legend(fontsize="small")


def _draw_bar(
    axes: Axes, position: float, case: Case, base: Case, color: Any, seen: set[str]
) -> None:
    ratio = case.ratio_to(base)
    label = None if case.contestant in seen else case.contestant
    seen.add(case.contestant)
    spread = [[ratio.median - ratio.lower_quartile], [ratio.upper_quartile - ratio.median]]
    # Bars of a logarithmic axis start at 1, "as fast as fastlin".
    axes.barh(position, ratio.median - 1, left=1, xerr=spread, color=color, label=label, height=0.9)
    axes.annotate(
        f"{ratio.median:.1f}",
        (max(ratio.upper_quartile, 1.0), position),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
    )


def _draw_sorted_ratios(axes: Axes, results: Results) -> None:
    """All problems by the fastest peer's time in units of fastlin's; those below 1 are named."""
    ratios = []
    for problem, cases in results.by_problem():
        base, peer = fastest(cases, "kernel"), fastest(cases, "peer")
        if base and peer:
            ratios.append((peer.ratio_to(base).median, problem))
    ratios.sort()
    values = [ratio for ratio, _ in ratios]
    axes.semilogy(np.arange(len(values)), values, "s", markersize=5)
    axes.axhline(1.0, color="black", linewidth=1)
    for number, (ratio, problem) in enumerate(ratios):
        if ratio < 1:
            axes.annotate(problem, (number, ratio), fontsize="x-small", rotation=30)
    axes.set_xlabel("problems, sorted")
    axes.set_ylabel("time of the fastest peer relative to fastlin's")
    axes.set_title("Above 1 fastlin is faster")
    axes.grid(visible=True, which="both", alpha=0.2)
