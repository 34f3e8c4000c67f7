"""Training progress on standard error: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fastlin.solvers.progress import Progress

Callback: TypeAlias = "Callable[[Progress], None]"

MOST_LINES = 20  # of plain progress in one training run


@contextmanager
def training_progress(quiet: bool) -> Iterator[list[Callback]]:
    """Return the callbacks that show the progress of training; none if `quiet`."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield []
    elif console.is_terminal:
        with _live_bar(console) as show:
            yield [show]
    else:
        yield [_print_line]


def describe(progress: Progress) -> str:
    """Return epoch, losses, accuracy and speed in a line of less than 75 characters."""
    parts = [
        f"epoch {progress.epoch + 1}/{progress.max_epochs}",
        f"loss {progress.train_loss:.4f}",
    ]
    if progress.val_loss is not None and progress.val_accuracy is not None:
        parts.append(f"val {progress.val_loss:.4f}")
        parts.append(f"accuracy {100 * progress.val_accuracy:.2f} %")
    elif progress.train_accuracy is not None:
        parts.append(f"training accuracy {100 * progress.train_accuracy:.2f} %")
    speed = progress.rows_per_second
    parts.append(f"{speed / 1e6:.2f}M rows/s" if speed >= 1e6 else f"{speed / 1e3:.0f}k rows/s")
    return "  ".join(parts)


@contextmanager
def _live_bar(console: Console) -> Iterator[Callback]:
    from rich import progress as rich_progress

    bar = rich_progress.Progress(
        rich_progress.BarColumn(bar_width=6),
        rich_progress.TextColumn("{task.description}"),
        console=console,
    )
    with bar:
        task = bar.add_task("preparing", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.epoch + int(progress.end_of_epoch),
                total=progress.max_epochs,
                description=describe(progress),
            )

        yield show


def _print_line(progress: Progress) -> None:
    every = -(-progress.max_epochs // MOST_LINES)
    done = progress.epoch + 1
    if progress.end_of_epoch and (done % every == 0 or done in (1, progress.max_epochs)):
        click.echo(describe(progress), err=True)
