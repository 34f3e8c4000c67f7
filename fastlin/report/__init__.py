"""The course report: derivations, training runs, figures and findings, by one call."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlin.errors import InputError, OutputError
from fastlin.report.metrics import make_metrics, summary
from fastlin.report.problem import Settings
from fastlin.report.results import Results
from fastlin.report.tasks import Training, train_all

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["Settings", "summary", "write_report"]


def write_report(
    out: str | Path,
    data: str = "mnist",
    backend: str = "auto",
    seed: int = 0,
    n_threads: int | None = None,
    progress: bool = True,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Train every task of the report and write it into the folder `out`.

    The folder then holds ``report.html``, ``report.pdf``, ``metrics.json`` and each figure as PNG
    and SVG. They appear only once all of them are finished; older ones are replaced.

    Parameters
    ----------
    out : str or Path
        Folder to write to, created if necessary.
    data : str
        ``"mnist"``, ``"fashion-mnist"``, ``"digits"`` or the path of a local file.
    backend : str
        ``"auto"``, ``"numba"``, ``"c"`` or ``"numpy"``.
    seed : int
        Seed of the shuffling and of the random weights of the gradient checks.
    n_threads : int, optional
        The backend's default if None.
    progress : bool
        Show a progress bar for each task on standard error.
    settings : Settings, optional
        Hyper-parameters, if they should differ from the course's.

    Returns
    -------
    dict
        The content of ``metrics.json``.

    Raises
    ------
    OutputError
        `out` cannot be written to, or a package that typesets the report is missing.
    BackendUnavailableError, DatasetError, InputError
        The backend or the data cannot be used.
    """
    from fastlin.report.document import check_typesetter
    from fastlin.report.output import publish, staging_folder
    from fastlin.report.progress import display

    started = time.perf_counter()
    if seed not in range(2**32):
        raise InputError(f"the seed is {seed}; expected a whole number from 0 to 4294967295")
    if n_threads is not None and n_threads < 1:
        raise InputError(f"the number of threads is {n_threads}; expected 1 or more")
    check_typesetter()
    out = Path(out)
    with staging_folder(out) as staging:
        with display(progress) as bars:
            training = Training(backend, seed, n_threads)
            results = _compute(data, training, settings or Settings(), bars, progress)
            try:
                metrics, names = _write(results, staging, started, bars)
            except OSError as error:
                raise OutputError(
                    f"cannot write the report to {out}: {error}; free some space there, or name"
                    " another folder with --out"
                ) from error
        publish(staging, out, names)
    return metrics


def _compute(
    data: str, training: Training, settings: Settings, bars: Bars, progress: bool
) -> Results:
    """Load the data, check the gradients, train every model."""
    from fastlin.datasets import load
    from fastlin.kernels import backends, get_backend
    from fastlin.report.derivation import gradient_checks, symbolic_checks
    from fastlin.report.problem import make_problem

    chosen, seed = get_backend(training.backend), training.seed
    problem = make_problem(load(data, seed=seed, progress=progress), settings)
    training = replace(training, backend=chosen.name)
    others = [b for b in backends().values() if b.available and b.name != chosen.name]
    return Results(
        problem=problem,
        settings=settings,
        training=training,
        n_threads=training.n_threads or chosen.n_threads,
        proved=symbolic_checks(),
        gradient_checks=gradient_checks(problem, [chosen, *others], settings, seed, bars),
        runs=train_all(problem, settings, training, bars),
    )


def _write(
    results: Results, staging: Path, started: float, bars: Bars
) -> tuple[dict[str, Any], list[str]]:
    """Write every file of the report into `staging`; return the metrics and the file names."""
    from fastlin import __version__
    from fastlin.report.document import DOCUMENTS, make_content, typeset
    from fastlin.report.drawing import save_all
    from fastlin.report.figures import draw_all
    from fastlin.report.progress import TaskBar

    bar = TaskBar(bars, "figures and documents", 3)
    drawings = draw_all(results)
    bar.advance("drawing")
    names = save_all(drawings, staging)
    bar.advance("typesetting")
    metrics = make_metrics(results, __version__)
    typeset(make_content(results, metrics, drawings), staging)
    elapsed = time.perf_counter() - started
    metrics["seconds"]["report"] = elapsed - metrics["seconds"]["train"]
    (staging / "metrics.json").write_text(
        json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    bar.advance("done")
    return metrics, [*names, *DOCUMENTS, "metrics.json"]
