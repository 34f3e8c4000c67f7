"""``fastlin evaluate``: measure a saved model on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastlin.cli import options
from fastlin.cli.output import percent, print_facts, print_json, print_table
from fastlin.cli.selection import PARTS, Source, in_the_models_labels, rows_for
from fastlin.results.scores import measure

MOST_COLUMNS = 20  # a wider confusion matrix is shown only as JSON


HELP = """\
Measure MODEL: accuracy, mean cross-entropy, and each class by itself.
"""

EXAMPLES = """\b
Example:
  fastlin evaluate digits.safetensors --data digits
"""


@click.command("evaluate", help=HELP, epilog=EXAMPLES)
@options.model_argument
@options.source
@click.option(
    "--part",
    type=click.Choice(PARTS),
    default="val",
    show_default=True,
    help="The rows: validation rows, training rows, or all.",
)
@options.backend
@options.threads
@options.as_json
@options.quiet
def command(
    model_path: Path,
    source: Source,
    part: str,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Run ``fastlin evaluate``; see HELP."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    from fastlin.estimator import LogisticRegression

    model = LogisticRegression.load(model_path).set_params(backend=backend, n_threads=threads)
    dataset, X, y = rows_for(model, source, part)
    y = in_the_models_labels(model, y, dataset.name)
    scores = measure(model, X, y)
    predicted = model.predict(X)
    labels = model.classes_
    matrix = confusion_matrix(y, predicted, labels=labels)
    by_class = precision_recall_fscore_support(y, predicted, labels=labels, zero_division=0.0)
    results: dict[str, Any] = {
        "model": str(model_path),
        "data": dataset.name,
        "part": part,
        **vars(scores),
        "classes": labels,
        **dict(zip(("precision", "recall", "f1", "n_rows_by_class"), by_class, strict=True)),
        "confusion_matrix": matrix,
    }
    if as_json:
        print_json(results)
    else:
        _print(results)


def _print(results: dict[str, Any]) -> None:
    print_facts(
        [
            ("model", results["model"]),
            ("data", f"{results['data']}, part {results['part']}, {results['n_rows']} rows"),
            ("accuracy", percent(results["accuracy"])),
            ("loss", f"{results['loss']:.4f}"),
        ]
    )
    click.echo()
    labels = [str(label) for label in results["classes"]]
    columns = (results[name] for name in ("precision", "recall", "f1", "n_rows_by_class"))
    body = [
        [label, percent(precision), percent(recall), percent(f1), str(rows)]
        for label, precision, recall, f1, rows in zip(labels, *columns, strict=True)
    ]
    print_table([["class", "precision", "recall", "F1", "rows"], *body])
    if len(labels) <= MOST_COLUMNS:
        click.echo("\nRows: true class; columns: predicted class.")
        counts = [[str(count) for count in row] for row in results["confusion_matrix"]]
        named = [[label, *row] for label, row in zip(labels, counts, strict=True)]
        print_table([["", *labels], *named])
