"""``fastlin selftest``: checks an installation, every backend against the reference."""

from __future__ import annotations

import sys

import click

from fastlin.cli import options
from fastlin.cli.output import print_json, print_table
from fastlin.kernels import BACKEND_NAMES, get_backend
from fastlin.selftest import Finding, findings

HELP = """\
Check this installation: train on every backend, and compare with the reference.

Takes some 20 seconds, most of them to compile Numba's kernels, which are kept. Needs no network.
"""

EXAMPLES = """\b
Example:
  fastlin selftest
  fastlin selftest --backend c
"""


@click.command("selftest", help=HELP, epilog=EXAMPLES)
@click.option(
    "--backend",
    type=click.Choice(BACKEND_NAMES),
    help="Check only this one, which must be available.  [default: all that are]",
)
@options.as_json
@options.quiet
def command(backend: str | None, as_json: bool, quiet: bool) -> None:
    """Run ``fastlin selftest``; see HELP."""
    if backend is not None:
        get_backend(backend)  # raises if it cannot run
    found = []
    for finding in findings(BACKEND_NAMES if backend is None else (backend,)):
        found.append(finding)
        if not (quiet or as_json):
            click.echo(f"{finding.backend}: {finding.what}", err=True)
    wrong = [finding for finding in found if finding.wrong]
    if as_json:
        print_json({"findings": [vars(finding) for finding in found], "wrong": len(wrong)})
    else:
        print_table([["backend", "check", "seconds", "result"], *map(_line, found)])
        click.echo()
        click.echo(_verdict(found))
    if wrong:
        sys.exit(1)


def _line(finding: Finding) -> list[str]:
    result = "missing" if finding.missing else "WRONG" if finding.wrong else "right"
    return [finding.backend, finding.what, f"{finding.seconds:.1f}", result]


def _verdict(found: list[Finding]) -> str:
    lines = [f"{one.backend}: {one.missing}" for one in found if one.missing]
    wrong = [one for one in found if one.wrong]
    lines += [f"{one.backend}: {one.what}: {one.wrong}" for one in wrong]
    if wrong:
        lines.append(
            "This installation computes wrongly; report it with the output of fastlin info."
        )
    else:
        lines.append("All that can run here computes rightly.")
    return "\n".join(lines)
