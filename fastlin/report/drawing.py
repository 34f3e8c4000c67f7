"""What every figure of the report has: a name, a caption, limits, and two files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.report.wording import MINUS
from fastlin.results.history import History
from fastlin.results.plotting import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure and the words around it.

    Attributes
    ----------
    name : str
        Task and subject; the files are called ``task_<name>.png`` and ``.svg``.
    caption : str
        What is drawn, and how many points are outside the drawn range.
    alternative : str
        What a reader who cannot see the figure should know.
    """

    name: str
    figure: Figure
    caption: str
    alternative: str

    @property
    def stem(self) -> str:
        """File name without its suffix."""
        return f"task_{self.name}"


def save_all(drawings: Iterable[Drawing], folder: Path) -> list[str]:
    """Write each figure as PNG and as SVG into `folder`; return the file names."""
    names = [drawing.stem + suffix for drawing in drawings for suffix in (".png", ".svg")]
    for drawing in drawings:
        for suffix in (".png", ".svg"):
            save_figure(drawing.figure, folder / (drawing.stem + suffix))
    return names


def within_limits(
    drawing: Drawing, axes: Axes, limits: tuple[float, float], curves: dict[str, Any]
) -> Drawing:
    """Set the y range and say in the caption how many points of `curves` lie outside it.

    `curves` gives the drawn values, (n,), under the name of one kind of points.
    """
    axes.set_ylim(*limits)
    notes = [
        _outside(name, values, limits)
        for name, values in curves.items()
        if ((values < limits[0]) | (values > limits[1])).any()
    ]
    if not notes:
        return drawing
    return replace(drawing, caption=f"{drawing.caption} Not drawn: {'; '.join(notes)}.")


def settled_range(*curves: tuple[History, NDArray[np.float64]]) -> tuple[float, float]:
    """Return the range of all values checked after the first epoch, which changes the most."""
    settled = [values[history.check_step >= history.steps_per_epoch] for history, values in curves]
    values = np.concatenate([*settled, *(values[-1:] for _, values in curves)])
    margin = 0.06 * float(np.ptp(values)) or 0.01
    return float(values.min()) - margin, float(values.max()) + margin


def _outside(name: str, values: NDArray[np.float64], limits: tuple[float, float]) -> str:
    """Say how many of `values` lie below and above `limits`, and how far out they go."""
    below, above = int((values < limits[0]).sum()), int((values > limits[1]).sum())
    parts = []
    if above:
        parts.append(f"{above} above {limits[1]:.3g} (up to {values.max():.3g})")
    if below:
        parts.append(f"{below} below {limits[0]:.3g} (down to {values.min():.3g})")
    return f"{' and '.join(parts)} of {len(values)} {name}".replace("-", MINUS)


def step_axis(axes: Axes, last_step: int) -> None:
    """Let the x axis count steps, from 0 to `last_step`."""
    axes.set_xlabel("training step (mini-batches)")
    axes.set_xlim(-0.01 * last_step, 1.01 * last_step)
