"""``fastlin predict``: predicts labels or probabilities of rows with a saved model."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from fastlin.cli import options
from fastlin.cli.output import counted
from fastlin.cli.selection import PARTS, Source, local_file, rows_to_predict
from fastlin.cli.values import OutputFile
from fastlin.errors import InputError, printable
from fastlin.results.output_file import replacing

HELP = """\
Predict the label of each row with MODEL, as CSV text or a NumPy array.

A .npy or CSV file may hold only features; labels in the data are ignored. The columns of a text
file are those on which MODEL was trained, unless --label or --drop say otherwise.
"""

EXAMPLES = """\b
Examples:
  fastlin predict digits.safetensors --data digits --out labels.csv
  fastlin predict digits.safetensors --data digits --probabilities --out probabilities.npy
"""


@click.command("predict", help=HELP, epilog=EXAMPLES)
@options.model_argument
@options.source
@click.option(
    "--part",
    type=click.Choice(PARTS),
    default="all",
    show_default=True,
    help="The rows; all keeps the order of a file.",
)
@click.option(
    "--out",
    type=OutputFile(".csv", ".npy"),
    help="Write here instead of to standard output: .csv or .npy.",
)
@click.option("--probabilities", is_flag=True, help="Predict the probability of each class.")
@options.backend
@options.threads
@options.quiet
def command(
    model_path: Path,
    source: Source,
    part: str,
    out: Path | None,
    probabilities: bool,
    backend: str,
    threads: int | None,
) -> None:
    """Run ``fastlin predict``; see HELP."""
    from fastlin.estimator import LogisticRegression

    read = {path.resolve() for path in (model_path, local_file(source.data)) if path is not None}
    if out is not None and out.resolve() in read:
        raise InputError(f"--out '{out}' would overwrite what is read; choose another file")
    model = LogisticRegression.load(model_path).set_params(backend=backend, n_threads=threads)
    X = rows_to_predict(model, source, part)
    predicted = model.predict(X)
    table = model.predict_proba(X) if probabilities else None
    if out is None:
        text = _as_csv(model.classes_, predicted, table)
        if sys.stdout.isatty():  # a program gets every label as it is
            text = "".join(f"{printable(line)}\n" for line in text.splitlines())
        click.echo(text, nl=False, color=True)  # without it, click takes out what looks like colour
        return
    with replacing(out) as temporary, temporary.open("wb") as file:
        if out.suffix.lower() == ".npy":
            np.save(file, predicted if table is None else table, allow_pickle=False)
        else:
            file.write(_as_csv(model.classes_, predicted, table).encode())
    if not source.quiet:
        click.echo(f"{counted(len(predicted), 'row')} written to {out}", err=True)


def _as_csv(classes: NDArray[Any], predicted: NDArray[Any], table: NDArray[Any] | None) -> str:
    """Return one line for each row: the label and, with `table` (n, k), the probabilities."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if table is None:
        writer.writerow(["label"])
        writer.writerows([label] for label in predicted.tolist())
    else:
        writer.writerow(["label", *(f"probability of {label}" for label in classes)])
        rows = zip(predicted.tolist(), table.tolist(), strict=True)
        writer.writerows([label, *probabilities] for label, probabilities in rows)
    return text.getvalue()
