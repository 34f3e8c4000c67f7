"""What notebooks show: a run's results beside its learning curve, and a bar while it trains."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def table_and_figure(rows: Sequence[tuple[str, str]], figure: Figure, described: str) -> str:
    """Return names and values as a table in HTML, and a figure beside it."""
    lines = "".join(
        f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in rows
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=80)
    data = base64.b64encode(picture.getvalue()).decode("ascii")
    return (
        "<div style='display:flex;flex-wrap:wrap;align-items:center;gap:1em'>"
        f"<table>{lines}</table>"
        f"<img alt='{html.escape(described)}' style='max-width:100%' "
        f"src='data:image/png;base64,{data}'></div>"
    )


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which draws HTML."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def bar(title: str) -> Callable[[float, str], None]:
    """Show a bar in the notebook that this is; call the result with the share done and a line."""
    ipython: Any = sys.modules["IPython"].display
    shown = ipython.display(ipython.HTML(_bar(title, 0.0, "")), display_id=True)

    def show(share: float, line: str) -> None:
        shown.update(ipython.HTML(_bar(title, share, line)))

    return show


def _bar(title: str, share: float, line: str) -> str:
    return (
        f"<progress aria-label='{html.escape(title)}' max='1' value='{share:.4f}'></progress> "
        f"<code>{html.escape(line)}</code>"
    )
