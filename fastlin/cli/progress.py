"""Training progress on standard error: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fastlin.solvers.progress import Progress

Callback: TypeAlias = "Callable[[Progress], None]"

MOST_LINES = 20  # of plain progress in one training run

LONG = 10.0
"""Seconds after which a line says how far an epoch is, and how long the rest takes."""


@contextmanager
def training_progress(quiet: bool, as_json: bool = False) -> Iterator[list[Callback]]:
    """Return the callbacks that show the progress of training; none if `quiet`."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield []
    elif as_json:
        yield [_JsonLines()]
    elif console.is_terminal:
        with _live_bar(console) as show:
            yield [show]
    else:
        yield [_Lines()]


def describe(progress: Progress) -> str:
    """Return epoch, losses, accuracy and speed in a line of about 75 characters."""
    share = "" if progress.end_of_epoch else f" {100 * progress.share_of_epoch:.0f} %"
    parts = [
        f"epoch {progress.epoch + 1}/{progress.max_epochs}{share}",
        f"loss {progress.train_loss:.4f}",
    ]
    if progress.val_loss is not None and progress.val_accuracy is not None:
        parts.append(f"val {progress.val_loss:.4f}")
        parts.append(f"accuracy {100 * progress.val_accuracy:.2f} %")
    elif progress.train_accuracy is not None:
        parts.append(f"training accuracy {100 * progress.train_accuracy:.2f} %")
    speed = progress.rows_per_second
    parts.append(f"{speed / 1e6:.2f}M rows/s" if speed >= 1e6 else f"{speed / 1e3:.0f}k rows/s")
    if progress.seconds >= LONG and progress.most_seconds_left > 0:
        parts.append(f"{duration(progress.most_seconds_left)} left at most")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in words of at most two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
                completed=progress.epoch + progress.share_of_epoch,
                total=progress.max_epochs,
                description=describe(progress),
            )

        show.between_checks = True  # type: ignore[attr-defined]  # functions have no such field
        yield show


class _Lines:
    """Prints some epochs and, if an epoch takes long, its share that is done."""

    between_checks = True

    def __init__(self) -> None:
        self._latest = 0.0

    def __call__(self, progress: Progress) -> None:
        every = -(-progress.max_epochs // MOST_LINES)
        done = progress.epoch + 1
        is_due = done % every == 0 or done in (1, progress.max_epochs)
        is_late = progress.seconds - self._latest >= LONG
        if (progress.end_of_epoch and is_due) or is_late:
            self._latest = progress.seconds
            click.echo(describe(progress), err=True)


class _JsonLines:
    """Prints every epoch, and what is between them every few seconds, as a JSON object."""

    between_checks = True

    def __init__(self) -> None:
        self._latest = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.end_of_epoch or progress.seconds - self._latest >= LONG:
            self._latest = progress.seconds
            click.echo(json.dumps(vars(progress)), err=True)
