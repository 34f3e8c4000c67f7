"""``fastlin bench``: fastlin against other libraries on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastlin.bench.problems import DTYPES
from fastlin.cli import options
from fastlin.cli.values import Integer, OutputFile
from fastlin.kernels import BACKEND_NAMES

if TYPE_CHECKING:
    from fastlin.bench.problems import Problem
    from fastlin.bench.results import Results
    from fastlin.kernels import Backend

FAILED = 1
"""Exit code if a result is wrong or, with --strict, if fastlin is not the fastest."""

HELP = """\
Time an epoch of fastlin and of other libraries in turn, after checking each one's result.

\b
--suite epoch    MNIST in uint8, float32 and float64, or with --grid many shapes
--suite optimum  until the objective is within 1e-5 of its minimum, with as many iterations as
                 each library needs
--suite sparse   both on texts in CSR
--suite probe    linear probes in float16 and float32: 512 to 2048 features, 100 to 1000
                 classes; two also with one batch a call
--suite fit      LogisticRegression.fit beside the epoch that it makes, with a rate given and auto
--suite predict  predict and predict_proba of MNIST's rows, and of one row
--suite dask     a pass over a Dask cluster of processes beside one here, and the rows from which on
                 two machines are faster

Other programs that run meanwhile widen the spread, so leave the machine alone.
A contestant whose result differs from the reference is not timed, and the exit code is 1.
"""

EXAMPLES = """\b
Examples:
  fastlin bench --quick
  fastlin bench --json new.json --plot bench.png
  fastlin bench --suite optimum --quick
  fastlin bench --suite probe --strict
  fastlin bench --grid --classes 100,1000 --dtype float32 --peers numpy,jax
"""


class List(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """Values separated by commas, each of which another type converts."""

    name = "list"

    def __init__(self, item: Any, metavar: str) -> None:
        self.item, self.metavar = item, metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return how the value is shown on the help page."""
        return f"{self.metavar},..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values."""
        if not isinstance(value, str):  # converted already
            return tuple(value)
        return tuple(self.item.convert(part.strip(), param, ctx) for part in value.split(","))


_sizes = List(Integer(1, 10**6), "N")


@click.command("bench", help=HELP, epilog=EXAMPLES)
@click.option(
    "--backend",
    "backend_names",
    type=List(click.Choice(("auto", *BACKEND_NAMES)), "NAME"),
    help="auto, numba, c or numpy.  [default: all available ones]",
)
@options.threads
@click.option(
    "--peers",
    type=List(click.STRING, "NAME"),
    help="numpy, pytorch-manual, pytorch, jax, sgdclassifier; to the optimum sklearn-lbfgs, "
    "sklearnex-lbfgs, pytorch-lbfgs; for predictions sklearn; or none.  [default: all]",
)
@click.option(
    "--rounds",
    type=Integer(1, 1000),
    help="Number of rounds, in which all are timed in turn.  [default: 10; 3 with --quick]",
)
@click.option("--quick", is_flag=True, help="A tenth of the work, for a first look.")
@click.option(
    "--suite",
    type=click.Choice(("epoch", "optimum", "sparse", "probe", "fit", "predict", "dask")),
    default="epoch",
    show_default=True,
    help="What to time, see above.",
)
@click.option("--grid", is_flag=True, help="Synthetic problems of many shapes instead of MNIST.")
@click.option("--features", type=_sizes, help="Those of the grid.  [default: 64,784,4096]")
@click.option("--classes", type=_sizes, help="Those of the grid.  [default: 2,10,100,1000]")
@click.option(
    "--batch-size",
    "batch_sizes",
    type=_sizes,
    help="Those of the grid.  [default: 32,128,1024,8192]",
)
@click.option(
    "--dtype",
    "dtypes",
    type=List(click.Choice(DTYPES), "TYPE"),
    help="Types of the rows.  [default: those of the suite]",
)
@click.option(
    "--data",
    type=click.Choice(("mnist", "synthetic")),
    default="mnist",
    show_default=True,
    help="Rows of the problems outside the grid; synthetic ones need no network.",
)
@options.seed
@click.option(
    "--strict", is_flag=True, help="Exit with 1 if a peer is faster than fastlin on any problem."
)
@click.option("--json", "json_path", type=OutputFile(), metavar="FILE", help="Save all figures.")
@click.option(
    "--plot",
    "plot_path",
    type=OutputFile(".png", ".svg", ".pdf"),
    metavar="FILE",
    help="Save the roofline and the ratios as .png, .svg or .pdf.",
)
@options.quiet
def command(
    backend_names: tuple[str, ...] | None,
    threads: int | None,
    peers: tuple[str, ...] | None,
    rounds: int | None,
    quick: bool,
    suite: str,
    grid: bool,
    strict: bool,
    json_path: Path | None,
    plot_path: Path | None,
    quiet: bool,
    **chosen: Any,
) -> None:
    """Run ``fastlin bench``; see HELP."""
    from fastlin.bench.peers import chosen_peers
    from fastlin.bench.suite import Plan, run
    from fastlin.bench.timing import available_cores, pinned_to_cores

    if suite == "dask":
        rounds = rounds or (5 if quick else 20)
        flags = {"peers": peers, "plot": plot_path, "grid": grid, "strict": strict}
        given = [name for name, value in flags.items() if value]
        _measure_cluster(backend_names, rounds, given, json_path, quiet)
        return
    n_threads = threads or available_cores()
    names = None if peers is None else [name for name in peers if name != "none"]
    taking_part = chosen_peers(names, grid=grid, suite=suite)
    if strict and not any(peer.installed for peer in taking_part):
        raise click.UsageError("--strict compares with peers, and none takes part; see --peers.")
    problems = _problems(suite, grid, quick, **chosen)
    with pinned_to_cores(n_threads):  # before anything that starts threads is imported
        backends, missing = _backends(backend_names)
        plan = Plan(problems, backends, taking_part, n_threads, rounds or (3 if quick else 10))
        with _progress(quiet) as say:
            results = run(plan, on_progress=say)
    results.missing |= missing
    _show(results, json_path, plot_path)
    _judge(results, strict)


def _measure_cluster(
    backends: tuple[str, ...] | None,
    rounds: int,
    given: list[str],
    json_path: Path | None,
    quiet: bool,
) -> None:
    """Run ``--suite dask``."""
    from fastlin.bench import cluster
    from fastlin.cli.output import print_table, to_json
    from fastlin.results.output_file import replacing

    if given:
        raise click.UsageError(f"--suite dask has a form of its own; leave --{given[0]} out.")
    backend = (backends or ("auto",))[0]
    with _progress(quiet) as say:
        costs = cluster.measure(backend, rounds, say=say)
    print_table(cluster.as_table(costs))
    if json_path is not None:
        with replacing(json_path) as temporary:
            temporary.write_text(to_json({"passes": cluster.as_plain(costs)}), encoding="utf-8")


def _problems(
    suite: str,
    grid: bool,
    quick: bool,
    data: str,
    dtypes: tuple[str, ...] | None,
    seed: int,
    **sizes: tuple[int, ...] | None,
) -> list[Problem]:
    from dataclasses import replace

    from fastlin.bench import problems as known

    if suite != "epoch" and (grid or any(sizes.values())):
        raise click.UsageError(f"--suite {suite} has its own shapes; leave the grid's options out.")
    if suite in ("optimum", "sparse") and dtypes:
        raise click.UsageError(f"--suite {suite} has one type of rows; leave --dtype out.")
    if grid:
        if sizes["classes"] and min(sizes["classes"]) < 2:
            raise click.UsageError("--classes: got 1, expected 2 or more.")
        problems = known.grid_problems(quick=quick, **sizes, dtypes=dtypes)
    elif any(sizes.values()):
        raise click.UsageError(
            "--features, --classes and --batch-size choose cells of the grid; add --grid."
        )
    elif suite == "optimum":
        problems = known.optimum_problems(quick=quick, source=data)
    elif suite == "sparse":
        problems = known.sparse_problems(quick=quick)
    elif suite == "probe":
        problems = known.probe_problems(quick=quick, dtypes=dtypes)
    else:
        suites = {
            "epoch": known.mnist_problems,
            "fit": known.fit_problems,
            "predict": known.predict_problems,
        }
        problems = suites[suite](quick=quick, source=data, dtypes=dtypes)
    return [replace(problem, seed=seed) for problem in problems]


def _backends(names: tuple[str, ...] | None) -> tuple[list[Backend], dict[str, str]]:
    """Return the backends to time and, unless they were named, the missing ones with a remedy."""
    from fastlin.kernels import backends, get_backend

    if names is not None:
        found = {get_backend(name).name: get_backend(name) for name in names}
        return list(found.values()), {}
    known = backends().values()
    missing = {
        f"fastlin {one.name} ({one.reason})": one.remedy or "" for one in known if not one.available
    }
    return [one for one in known if one.available], missing


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show the progress on standard error; a terminal keeps only the latest line."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with console.status("starting") as status:
            yield status.update
    else:
        yield lambda what: click.echo(what, err=True)


def _show(results: Results, json_path: Path | None, plot_path: Path | None) -> None:
    from fastlin.bench.table import print_results

    print_results(results)
    if json_path is not None:
        results.save(json_path)
    if plot_path is not None:
        from fastlin.bench.plot import plot_results

        plot_results(results, plot_path)


def _judge(results: Results, strict: bool) -> None:
    """Exit with :data:`FAILED` if a result is wrong or, if strict, a peer is faster."""
    from fastlin.bench.table import slower_cells

    faults = []
    if results.wrong:
        faults.append(f"{len(results.wrong)} contestants gave wrong results and were not timed")
    if strict:
        faults += slower_cells(results)
    for fault in faults:
        click.echo(f"fastlin: {fault}", err=True)
    if faults:
        raise SystemExit(FAILED)
