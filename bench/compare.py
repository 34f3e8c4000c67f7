"""Compare two records of ``fastlin bench --json``: has anything become slower, or gone?

    python bench/compare.py OLD.json NEW.json

Exit code 1 if a case of fastlin is slower by more than ``--relative`` and by more than
``--absolute``, beyond the spread of both records, or if any case of OLD is not in NEW.
A peer that became slower is shown and does not fail. Exit code 2 for records that
cannot be compared.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import click

from fastlin.bench.results import Case, Results
from fastlin.errors import InputError

REGRESSION = 1
MISTAKE = 2


@dataclass
class Comparison:
    """The differences of two records, one line of text for each."""

    slower: list[str] = field(default_factory=list)
    slower_peers: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether fastlin became slower or a case vanished."""
        return bool(self.slower or self.vanished)


def compare(old: Results, new: Results, *, relative: float, absolute_seconds: float) -> Comparison:
    """Compare all cases by problem and contestant."""
    before, after = _by_name(old), _by_name(new)
    found = Comparison(
        vanished=[name for name in before if name not in after],
        new=[name for name in after if name not in before],
    )
    for name in before:
        if name in after and is_slower(before[name], after[name], relative, absolute_seconds):
            lines = found.slower_peers if after[name].kind == "peer" else found.slower
            lines.append(f"{name}: {_change(before[name], after[name])}")
    return found


def is_slower(old: Case, new: Case, relative: float, absolute_seconds: float) -> bool:
    """Whether the median grew by more than both thresholds and the quartiles do not meet."""
    growth = new.spread.median - old.spread.median
    return (
        growth > relative * old.spread.median
        and growth > absolute_seconds
        and new.spread.lower_quartile > old.spread.upper_quartile
    )


def _by_name(results: Results) -> dict[str, Case]:
    return {f"{case.problem} / {case.contestant}": case for case in results.cases}


def _change(old: Case, new: Case) -> str:
    before, after = old.spread.median, new.spread.median
    return f"{before * 1e3:.2f} ms -> {after * 1e3:.2f} ms ({100 * (after / before - 1):+.0f} %)"


def _load(path: Path) -> Results:
    results = Results.load(path)
    if not results.cases:
        raise InputError(f"{str(path)!r} holds no case; run 'fastlin bench --json FILE' again")
    return results


def _require_comparable(old: Results, new: Results) -> None:
    for what, before, after in (
        ("threads", old.n_threads, new.n_threads),
        ("processor", old.machine["processor"], new.machine["processor"]),
    ):
        if before != after:
            raise InputError(
                f"the two records have another {what}: {before!r} and {after!r}; "
                "make both on one machine with the same --threads"
            )


@click.command(help=(__doc__ or "").replace("\n\n", "\n\n\b\n", 1))
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--relative", type=click.FloatRange(min=0), default=0.10, show_default=True, help="A share."
)
@click.option(
    "--absolute",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Milliseconds.",
)
def main(old: Path, new: Path, relative: float, absolute: float) -> None:
    try:
        before, after = _load(old), _load(new)
        _require_comparable(before, after)
    except InputError as error:
        click.echo(f"compare: {error}", err=True)
        sys.exit(MISTAKE)
    found = compare(before, after, relative=relative, absolute_seconds=absolute / 1e3)
    for heading, lines in (
        ("slower", found.slower),
        ("vanished", found.vanished),
        ("slower peer (does not fail)", found.slower_peers),
        ("new", found.new),
    ):
        for line in lines:
            click.echo(f"{heading}: {line}")
    if found.failed:
        sys.exit(REGRESSION)
    click.echo(f"no regression in {len(before.cases)} cases")


if __name__ == "__main__":
    main()
