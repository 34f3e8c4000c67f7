"""A benchmark's record as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fastlin.bench.results import Case, Results
from fastlin.bench.timing import Spread

# More problems than this are shown one per line.
MOST_TABLES = 12
_WIDTH_OFF_A_TERMINAL = 200


def print_results(results: Results, console: Console | None = None) -> None:
    """Print machine, limits, a table (or a line) per problem, and what is missing."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_WIDTH_OFF_A_TERMINAL)
    console.print(_heading(results))
    if len(list(results.by_problem())) > MOST_TABLES:
        console.print(_summary(results))
    else:
        for problem, cases in results.by_problem():
            console.print(_problem_table(results, problem, cases))
    console.print(_footnotes(results))


def fastest(cases: list[Case], kind: str) -> Case | None:
    """Return the case of a kind with the least median, None if there is none."""
    of_kind = [case for case in cases if case.kind == kind]
    return min(of_kind, key=lambda case: case.spread.median, default=None)


def _heading(results: Results) -> Text:
    machine = results.machine
    versions = ", ".join(
        f"{name} {version}" for name, version in machine["packages"].items() if version
    )
    busy = ": NOT IDLE, so take no figure from here" if machine["load_average"] > 0.5 else ""
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {' '.join(machine['instruction_set'])}",
        f"governor {machine['governor'] or 'not readable'}, load {machine['load_average']:.2f} "
        f"before the start{busy}",
        f"Python {machine['python']}, {versions}",
        f"{results.rounds} interleaved rounds; medians [quartiles]",
    ]
    for limits in results.limits.values():
        threads = f"{limits.n_threads} thread" + ("s" if limits.n_threads > 1 else "")
        lines.append(
            f"limits, {threads}: {limits.float32_flops_per_second / 1e9:.0f} GFLOP/s float32, "
            f"{limits.float64_flops_per_second / 1e9:.0f} float64, "
            f"{limits.read_bytes_per_second / 1e9:.1f} GB/s read ({limits.method})"
        )
    return Text("\n".join(lines))


def _problem_table(results: Results, problem: str, cases: list[Case]) -> Table:
    bases = [case for case in cases if case.contestant in results.bases]
    table = Table(title=problem, title_justify="left")
    table.add_column("")
    ratios = [f"times {base.contestant}" for base in bases]
    for heading in ("threads", "ms", *ratios, "GFLOP/s", "GB/s", "of the limit"):
        table.add_column(heading, justify="right")
    for case in cases:
        name = f"{case.contestant} ({case.variant})" if case.variant else case.contestant
        table.add_row(
            name,
            str(case.n_threads),
            _milliseconds(case.spread),
            *(_ratio(case, base) for base in bases),
            *_speed(results, case),
        )
    return table


def _summary(results: Results) -> Table:
    """Return one line per problem: fastlin's fastest kernel, and each, against the fastest peer."""
    table = Table(title="fastlin's fastest kernel and the fastest peer", title_justify="left")
    for heading in ("problem", "fastlin", "peer"):
        table.add_column(heading, no_wrap=True)
    backends = [f"/ {name.removeprefix('fastlin ')}" for name in results.bases]
    for heading in ("fastlin ms", "peer ms", "peer / fastlin", *backends, "of the limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    for problem, cases in results.by_problem():
        best, peer = fastest(cases, "kernel"), fastest(cases, "peer")
        if best is None:
            continue
        ratio = peer.ratio_to(best).median if peer else float("inf")
        table.add_row(
            problem,
            best.contestant.removeprefix("fastlin "),
            peer.contestant if peer else "none",
            f"{best.spread.median * 1e3:.2f}",
            f"{peer.spread.median * 1e3:.2f}" if peer else "",
            _ratio(peer, best) if peer else "",
            *(_median_ratio(peer, cases, name) for name in results.bases),
            _speed(results, best)[-1],
            style="red" if ratio < 1 else None,
        )
    return table


def slower_cells(results: Results) -> list[str]:
    """Say in which problems a peer was faster than fastlin's fastest kernel, and by how much."""
    lines = []
    for problem, cases in results.by_problem():
        best, peer = fastest(cases, "kernel"), fastest(cases, "peer")
        if best and peer and peer.ratio_to(best).median < 1:
            ratio = 1 / peer.ratio_to(best).median
            lines.append(
                f"{problem}: {peer.contestant} is {ratio:.2f} times as fast as {best.contestant}"
            )
    return lines


def _footnotes(results: Results) -> Group:
    """Say what was not timed, and where fastlin lost."""
    lines = [Text(f"missing: {name}; remedy: {how}") for name, how in results.missing.items()]
    lines += [
        Text(f"WRONG, not timed: {failure.contestant} on {failure.problem}: {failure.reason}")
        for failure in results.wrong
    ]
    lines += [Text(f"slower: {line}") for line in slower_cells(results)]
    lines.append(
        Text(
            "SGDClassifier is one-vs-rest, a sample at a time: not the mathematics of the rest."
            if any("SGDClassifier" in case.contestant for case in results.cases)
            else ""
        )
    )
    return Group(*(line for line in lines if line.plain))


def _milliseconds(spread: Spread) -> str:
    low, high = spread.lower_quartile * 1e3, spread.upper_quartile * 1e3
    return f"{spread.median * 1e3:.2f} [{low:.2f} {high:.2f}]"


def _ratio(case: Case, base: Case) -> str:
    if case is base:
        return "1"
    ratio = case.ratio_to(base)
    return f"{ratio.median:.2f} [{ratio.lower_quartile:.2f} {ratio.upper_quartile:.2f}]"


def _median_ratio(peer: Case | None, cases: list[Case], name: str) -> str:
    """Return how many times as long as fastlin's contestant ``name`` a peer took."""
    of_name = [case for case in cases if case.contestant == name]
    return f"{peer.ratio_to(of_name[0]).median:.2f}" if peer and of_name else ""


def _speed(results: Results, case: Case) -> list[Any]:
    seconds = case.spread.median
    share = results.share_of_limit(case)
    # SGDClassifier's arithmetic is not that of the problem.
    if case.error is None:
        return ["", "", ""]
    return [
        f"{case.flops / seconds / 1e9:.1f}",
        f"{case.bytes / seconds / 1e9:.2f}",
        f"{100 * share[0]:.0f} % {share[1]}" if share else "",
    ]
