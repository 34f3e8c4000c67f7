"""``fastlin export``: writes a saved model in a form that other programs run."""

from __future__ import annotations

from pathlib import Path

import click

from fastlin.cli import options
from fastlin.cli.values import OutputFile
from fastlin.errors import InputError
from fastlin.results.onnx_file import INPUT_TYPES

HELP = """\
Write MODEL as an ONNX graph, which onnxruntime and others run without fastlin.

The graph takes rows X and returns their label and the probabilities of all classes. The scaling of
the inputs is part of it.
"""

EXAMPLES = """\b
Example:
  fastlin export digits.safetensors --to digits.onnx
"""


@click.command("export", help=HELP, epilog=EXAMPLES)
@options.model_argument
@click.option(
    "--to",
    "out",
    required=True,
    type=OutputFile(".onnx"),
    help="File to write: .onnx.",
)
@click.option(
    "--input-type",
    type=click.Choice(INPUT_TYPES),
    default=INPUT_TYPES[0],
    show_default=True,
    help="Type of the rows that the graph takes.",
)
@options.quiet
def command(model_path: Path, out: Path, input_type: str, quiet: bool) -> None:
    """Run ``fastlin export``; see HELP."""
    from fastlin.estimator import LogisticRegression

    if out.resolve() == model_path.resolve():
        raise InputError(f"--to '{out}' would overwrite what is read; choose another file")
    model = LogisticRegression.load(model_path)
    model.to_onnx(out, input_type=input_type)
    if not quiet:
        k, d = len(model.classes_), model.n_features_in_
        click.echo(f"{out}: X ({input_type}, {d} features) to label, probabilities ({k})", err=True)
