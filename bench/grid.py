"""Table and picture of ``fastlin bench --grid``: the fastest peer's time relative to each backend.

    fastlin bench --grid --quick --dtype float32 --json bench/records/zen5/grid/float32.json
    python bench/grid.py docs/grid.png docs/guide/grid.rst bench/records/zen5/grid/*.json

Every file holds one type of rows or more. Above 1, fastlin is faster.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from fastlin.bench.results import Results
from fastlin.bench.table import fastest

NAME = re.compile(r"grid-d(\d+)-k(\d+)-batch(\d+)-(\w+?)(-quick)?$")
TYPES = ("float32", "uint8", "float16", "float64")
BACKENDS = ("c", "numba")


def ratios_of(path: Path) -> dict[tuple[str, str, int, int, int], float]:
    """Return the ratios by backend, type, features, classes and batch size."""
    found = {}
    for problem, cases in Results.load(path).by_problem():
        match = NAME.match(problem)
        peer = fastest(cases, "peer")
        if match is None or peer is None:
            continue
        d, k, batch = map(int, match.groups()[:3])
        for case in cases:
            for backend in BACKENDS:
                if case.contestant == f"fastlin {backend}" and case.kind == "kernel":
                    found[backend, match[4], d, k, batch] = peer.ratio_to(case).median
    return found


def main(picture: Path, page: Path, files: list[Path]) -> None:
    """Write both."""
    ratios: dict[tuple[str, str, int, int, int], float] = {}
    for file in files:
        ratios |= ratios_of(file)
    types = [name for name in TYPES if any(key[1] == name for key in ratios)]
    shapes = sorted({key[2:4] for key in ratios})
    batches = sorted({key[4] for key in ratios})
    figure = Figure(figsize=(2.9 * len(types) + 1.5, 11), layout="constrained")
    axes = figure.subplots(2, len(types), squeeze=False)
    lines = []
    for row, backend in enumerate(BACKENDS):
        for column, name in enumerate(types):
            values = np.array(
                [
                    [ratios.get((backend, name, *shape, batch), np.nan) for batch in batches]
                    for shape in shapes
                ]
            )
            plot = axes[row, column]
            plot.imshow(np.log2(values), cmap="RdBu", norm=TwoSlopeNorm(0, -2, 2), aspect="auto")
            for (i, j), value in np.ndenumerate(values):
                plot.text(
                    *(j, i, f"{value:.2g}" if value >= 10 else f"{value:.2f}"),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if abs(np.log2(value)) > 1.3 else "black",
                )
            plot.set_xticks(range(len(batches)), batches)
            plot.set_yticks(range(len(shapes)), [f"d {d}, k {k}" for d, k in shapes])
            plot.set_title(f"{'C' if backend == 'c' else 'Numba'}, {name}")
            plot.set_xlabel("batch size")
            if column:
                plot.set_yticklabels([])
    figure.suptitle("Time of the fastest of NumPy, PyTorch and JAX relative to fastlin's")
    figure.savefig(picture, dpi=110)
    for name in types:
        lines += [
            f".. list-table:: {name}: C / Numba",
            "   :header-rows: 1",
            "",
            "   * - features, classes",
            *(f"     - batch {batch}" for batch in batches),
        ]
        for shape in shapes:
            lines.append(f"   * - {shape[0]}, {shape[1]}")
            for batch in batches:
                two = [ratios.get((backend, name, *shape, batch), np.nan) for backend in BACKENDS]
                lines.append(f"     - {two[0]:.2f} / {two[1]:.2f}")
        lines.append("")
    page.write_text("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
