"""``fastlin report``: the whole report by one command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from fastlin.cli import options
from fastlin.cli.output import print_facts, print_json

HELP = """\
Write report.html, report.pdf, the figures and metrics.json to a folder.
"""

EXAMPLES = """\b
Example:
  fastlin report --out report --data mnist
"""


@click.command("report", help=HELP, epilog=EXAMPLES)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder to write to; it is created if it is missing.",
)
@click.option(
    "--data",
    default="mnist",
    show_default=True,
    metavar="NAME|PATH",
    help="mnist, fashion-mnist, digits, or a local file.",
)
@options.backend
@options.threads
@options.seed
@options.as_json
@options.quiet
def command(
    out: Path,
    data: str,
    backend: str,
    threads: int | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run ``fastlin report``; see HELP."""
    from fastlin.kernels import get_backend
    from fastlin.report import summary, write_report

    get_backend(backend)  # a missing one is told before any data is fetched
    start = time.perf_counter()
    metrics = write_report(
        out, data=data, backend=backend, seed=seed, n_threads=threads, progress=not quiet
    )
    seconds = time.perf_counter() - start
    if as_json:
        print_json(metrics)
    else:
        print_facts(_facts(metrics, summary(metrics), out, seconds))


def _facts(
    metrics: dict[str, Any], results: list[tuple[str, str]], out: Path, seconds: float
) -> list[tuple[str, str]]:
    data = metrics["data"]
    return [
        ("data", f"{data['name']}: {data['n_train']} training, {data['n_val']} validation rows"),
        ("backend", f"{metrics['backend']}, {metrics['dtype']}, {metrics['n_threads']} threads"),
        *results,
        *(("written", str(out / name)) for name in ("report.html", "report.pdf", "metrics.json")),
        ("figures", f"{out}, each as .png and .svg"),
        ("seconds", f"{seconds:.1f}"),
    ]
