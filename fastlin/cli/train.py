"""``fastlin train``: trains a model on a data set, shows its losses, and saves it."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fastlin.cli import options
from fastlin.cli.output import (
    counted,
    percent,
    print_facts,
    print_json,
    print_table,
    to_json,
)
from fastlin.cli.progress import training_progress
from fastlin.cli.selection import Source, check_trainable, load, local_file
from fastlin.cli.streams import say
from fastlin.cli.training_options import training_options
from fastlin.cli.values import Number, OutputFile
from fastlin.errors import InputError
from fastlin.results.output_file import replacing
from fastlin.results.scores import Scores, measure
from fastlin.rows.conversion import as_rows

if TYPE_CHECKING:
    from fastlin.datasets import Dataset
    from fastlin.estimator import LogisticRegression


HELP = """\
Train logistic regression (two classes) or softmax regression (more).

Validation rows are only used for checks, unless --early-stopping is given.
"""

EXAMPLES = """\b
Examples:
  fastlin train --data digits --out digits.safetensors
  fastlin train --data mnist --classes 2,3 --early-stopping --plot curve.png
"""


@click.command("train", help=HELP, epilog=EXAMPLES)
@options.source
@options.backend
@options.threads
@options.seed
@click.option("--out", type=OutputFile(), help="Save the model to this file.")
@click.option(
    "--plot",
    type=OutputFile(".png", ".svg", ".pdf"),
    help="Draw the learning curve: .png, .svg or .pdf.",
)
@click.option(
    "--history",
    type=OutputFile(".json"),
    help="Write the loss of every step and the results of every check: .json.",
)
@click.option(
    "--checkpoint",
    type=OutputFile(),
    help="Keep the run in this file; after an interruption the same command goes on from it, and "
    "evaluate and predict take it as a model.",
)
@click.option(
    "--checkpoint-every",
    type=Number(min=0),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="How often --checkpoint is written.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Train on a Dask cluster, such as tcp://host:8786, by L-BFGS; --data names Parquet files "
    "that all workers can read, and --label the column of the labels.",
)
@options.as_json
@options.quiet
def command(
    source: Source,
    backend: str,
    threads: int | None,
    seed: int,
    out: Path | None,
    plot: Path | None,
    history: Path | None,
    checkpoint: Path | None,
    checkpoint_every: float,
    scheduler: str | None,
    as_json: bool,
    **training: Any,
) -> None:
    """Run ``fastlin train``; see HELP."""
    from sklearn.exceptions import ConvergenceWarning

    from fastlin.estimator import LogisticRegression
    from fastlin.kernels import get_backend

    get_backend(backend)  # a missing one is told before any data is fetched
    _check_different(
        {
            "--data": local_file(source.data),
            "--out": out,
            "--plot": plot,
            "--history": history,
            "--checkpoint": checkpoint,
        }
    )
    if training["class_weight"] == "none":
        training["class_weight"] = None
    files = {"model": out, "history": history, "plot": plot}
    if scheduler is not None:
        if checkpoint is not None:
            raise InputError("--checkpoint is for one machine; leave it out with --scheduler")
        given = click.get_current_context().get_parameter_source("solver")
        if given is ParameterSource.DEFAULT:
            training["solver"] = "lbfgs"
        training |= {"backend": backend, "n_threads": threads, "random_state": seed}
        _train_on_cluster(source, scheduler, training, files, as_json)
        return
    dataset = load(source, training["validation_fraction"])
    check_trainable(dataset)
    _say_how_rows_are_mixed(dataset, training)
    training["input_scale"] = _input_scale(training["input_scale"], dataset)
    with training_progress(source.quiet, as_json) as callbacks:
        model = LogisticRegression(
            backend=backend,
            n_threads=threads,
            random_state=seed,
            callbacks=callbacks,
            **training,
        )
        validation = (dataset.X_val, dataset.y_val) if len(dataset.y_val) else (None, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # "stopped" says it
            with _told_where(checkpoint):
                model.fit(
                    dataset.X_train,
                    dataset.y_train,
                    X_val=validation[0],
                    y_val=validation[1],
                    checkpoint=checkpoint,
                    checkpoint_every=checkpoint_every,
                )
    model._data_layout = dataset.layout
    _write(model, files)
    scores = {"training": measure(model, dataset.X_train, dataset.y_train)}
    if len(dataset.y_val):
        scores["validation"] = measure(model, dataset.X_val, dataset.y_val)
    _print_results(model, dataset.name, scores, files, as_json)
    if not (source.quiet or as_json):
        _say_what_next(source, out)


def _train_on_cluster(
    source: Source,
    address: str,
    training: dict[str, Any],
    files: dict[str, Path | None],
    as_json: bool,
) -> None:
    """Train on the machines of a Dask cluster."""
    from sklearn.exceptions import ConvergenceWarning

    from fastlin.cli import cluster

    if training["input_scale"] == "none":
        training["input_scale"] = None
    with training_progress(source.quiet, as_json) as callbacks, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # "stopped" says it
        training["callbacks"] = callbacks
        fraction = training["validation_fraction"]
        model, name, scores = cluster.train(source, address, training, fraction)
    _write(model, files)
    _print_results(model, name, scores, files, as_json)
    if not (source.quiet or as_json):
        _say_what_next(source, files["model"])


def _write(model: LogisticRegression, files: dict[str, Path | None]) -> None:
    """Write the files that were asked for."""
    out, history, plot = files["model"], files["history"], files["plot"]
    if out is not None:
        model.save(out)
    if history is not None:
        with replacing(history) as temporary:
            temporary.write_text(to_json(model.history_.to_dict()), encoding="utf-8")
    if plot is not None:
        model.history_.plot(plot)


command.params += training_options()


def _say_how_rows_are_mixed(dataset: Dataset, training: dict[str, Any]) -> None:
    """Say which rows are shuffled together, if not all."""
    from fastlin.solvers.windows import BLOCKS_OF_A_WINDOW, Plan

    plan = Plan.of(as_rows(dataset.X_train))
    if plan is None or training["solver"] != "sgd":
        return
    size = min(plan.rows_of_a_window, len(dataset.y_train))
    say(
        f"{len(dataset.y_train)} training rows in {counted(len(plan.stretches), 'piece')}; "
        f"shuffled together are {size} rows at a time, from up to {BLOCKS_OF_A_WINDOW} places of "
        "a piece"
    )


@contextmanager
def _told_where(checkpoint: Path | None) -> Iterator[None]:
    """Say where an interrupted run is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if checkpoint is not None and checkpoint.exists():
            say(
                f"the run is kept in {checkpoint}: the same command goes on from there, and its "
                f"best weights so far are a model: fastlin evaluate {checkpoint}"
            )
        raise


def _check_different(paths: dict[str, Path | None]) -> None:
    """Refuse two options that name the same file: one would overwrite the other."""
    seen: dict[Path, str] = {}
    for flag, path in paths.items():
        if path is None:
            continue
        place = path.resolve()
        if place in seen:
            raise InputError(f"{seen[place]} and {flag} name the same file '{path}'; change one")
        seen[place] = flag


def _input_scale(choice: Any, dataset: Dataset) -> Any:
    """Return the estimator's `input_scale` for the option's value."""
    if choice == "auto":
        rows = dataset.X_train
        if rows.dtype.kind != "u":
            return None
        # One range for all features: separate ranges would magnify pixels that are nearly always 0.
        largest = max(block.largest().max(initial=0) for _, block in as_rows(rows).pieces())
        return 0.0, 1.0 / max(1, int(largest))
    return None if choice == "none" else choice


def _print_results(
    model: LogisticRegression,
    name: str,
    scores: dict[str, Scores],
    files: dict[str, Path | None],
    as_json: bool,
) -> None:
    written = {name: str(path) for name, path in files.items() if path is not None}
    if as_json:
        print_json(_as_json(model, name, scores, written))
        return
    print_facts(
        [
            ("data", f"{name}: {model.n_features_in_} features"),
            ("model", _describe(model)),
            ("stopped", _stopped(model)),
            ("seconds", f"{model.history_.seconds.get('total', 0.0):.2f}"),
            *((f"{name} file", path) for name, path in written.items()),
        ]
    )
    click.echo()
    header = ["", "rows", "loss", "accuracy"]
    body = [
        [name, str(score.n_rows), f"{score.loss:.4f}", percent(score.accuracy)]
        for name, score in scores.items()
    ]
    print_table([header, *body])


def _say_what_next(source: Source, out: Path | None) -> None:
    """Say what can be done with the model."""
    if out is None:
        say("the model was not kept: --out FILE keeps it")
    else:
        command = ["fastlin", "evaluate", str(out), "--data", source.data]
        for name in ("labels", "label", "separator"):
            if (value := getattr(source, name)) is not None:
                command += [f"--{name}", value]
        if source.classes is not None:
            command += ["--classes", ",".join(source.classes)]
        for column in source.drop:
            command += ["--drop", column]
        say(f"next: {shlex.join(command)}, or in Python LogisticRegression.load")


def _describe(model: LogisticRegression) -> str:
    kind = "logistic" if len(model.classes_) == 2 else "softmax"
    return f"{kind} regression, {len(model.classes_)} classes, {model.backend_} backend"


_LBFGS_STOPPED = {
    "tol": "at the optimum, up to --tol",
    "precision": "the weights' type can tell no further decrease",
    "line_search": "no step lowers the loss any more; try --input-scale standard",
}


def _stopped(model: LogisticRegression) -> str:
    history = model.history_
    epochs = counted(model.n_iter_, "epoch" if model.solver == "sgd" else "iteration")
    if history.stop_reason == "early_stopping":
        return f"after {epochs}: validation loss was best after step {history.best_step}"
    if history.stop_reason == "divergence":
        return f"after {epochs}: the loss became infinite; weights of step {history.best_step}"
    if model.solver == "lbfgs" and history.stop_reason in _LBFGS_STOPPED:
        return f"after {epochs}: {_LBFGS_STOPPED[history.stop_reason]}"
    if history.stop_reason == "tol":
        return f"after {epochs}: the training loss no longer improves"
    return f"after {epochs}, the most that --max-epochs allows"


def _as_json(
    model: LogisticRegression,
    name: str,
    scores: dict[str, Scores],
    written: dict[str, str],
) -> dict[str, Any]:
    history = model.history_
    return {
        "data": name,
        "n_features": model.n_features_in_,
        "classes": model.classes_,
        "backend": model.backend_,
        "epochs": model.n_iter_,
        "stop_reason": history.stop_reason,
        "best_step": history.best_step,
        "seconds": history.seconds,
        **{name: vars(score) for name, score in scores.items()},
        "files": written,
    }
