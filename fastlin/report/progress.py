"""One live progress bar per task, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlin.solvers.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class TaskBar:
    """The bar of one task of `total` units of work: epochs, checks, figures."""

    def __init__(self, bars: Bars, name: str, total: int) -> None:
        self._bars = bars
        self._task = bars.add_task(name, total=total, note="")

    def advance(self, note: str = "") -> None:
        """Count one unit of work as done and show `note` behind the bar."""
        self._bars.update(self._task, advance=1, note=note)

    def training(self, progress: Progress) -> None:
        """Show the progress of a training run; one of the estimator's ``callbacks``."""
        note = f"loss {progress.train_loss:.4f}"
        if progress.val_accuracy is not None:
            note += f", accuracy {progress.val_accuracy:.2%}"
        completed = progress.epoch + int(progress.end_of_epoch)
        self._bars.update(self._task, completed=completed, note=note)

    def finish(self, note: str) -> None:
        """Fill the bar, even if a run ended before its last epoch."""
        total = max(1.0, self._bars.tasks[self._task].completed)
        self._bars.update(self._task, total=total, completed=total, note=note)


def display(visible: bool) -> Bars:
    """Return bars, one under the other, that are shown on standard error if `visible`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # Quiet too, since older versions of rich end a display that is disabled with an empty line.
    console = Console(stderr=True, quiet=not visible)
    return Progress(*columns, console=console, disable=not visible)
