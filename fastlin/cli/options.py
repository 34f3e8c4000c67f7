"""Options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from fastlin.cli.selection import Source
from fastlin.cli.streams import log_lines
from fastlin.cli.values import Integer, Labels
from fastlin.kernels import BACKEND_NAMES

_Function = TypeVar("_Function", bound=Callable[..., Any])

model_argument = click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))

_data = click.option(
    "--data",
    default="digits",
    show_default=True,
    metavar="NAME|PATH",
    help="digits, mnist, fashion-mnist, or a local .npz, .npy, idx, CSV or svmlight file; or, if "
    "the rows need not fit in memory, a Parquet file, a folder, or a pattern such as "
    "'rows/part-?.npy'.",
)
_labels = click.option(
    "--labels",
    metavar="PATH",
    help="Labels in .npy, for rows in .npy that need not fit in memory: a file, a pattern, or a "
    "folder with one for each file of rows.",
)
_label = click.option(
    "--label",
    metavar="NAME|NUMBER",
    help="Column of a text or Parquet file that holds the labels, by name, or of a text file by "
    "number from 1 (-1: the last).  [default: the one called label, y, target or class, else the "
    "last]",
)
_separator = click.option(
    "--separator",
    metavar="CHARACTER",
    help="Separator of the columns of a text file: a character, or comma, semicolon, tab, space or "
    "pipe.  [default: found in the file]",
)
_drop = click.option(
    "--drop",
    multiple=True,
    metavar="NAME|NUMBER",
    help="Column of a text file to leave out; may be repeated. Row numbers are left out too; none: "
    "keep them.",
)


_classes = click.option(
    "--classes",
    type=Labels(),
    metavar="LABEL,LABEL,...",
    help="Keep only the rows with these labels, such as 2,3.",
)


def source(function: _Function) -> Callable[..., Any]:
    """Add the options that say what to read; with ``--quiet``, the function gets a ``source``."""

    @wraps(function)
    def with_source(**given: Any) -> Any:
        of_source = {field.name: given.pop(field.name) for field in fields(Source)}
        return function(source=Source(**of_source), **given)

    return _data(_labels(_label(_separator(_drop(_classes(with_source))))))


backend = click.option(
    "--backend",
    type=click.Choice(("auto", *BACKEND_NAMES)),
    default="auto",
    show_default=True,
    help="Kernels that run the arithmetic; auto takes the first available ones.",
)
threads = click.option(
    "--threads",
    type=Integer(1, 1024),
    help="Number of threads.  [default: one for each core]",
)
seed = click.option(
    "--seed",
    type=Integer(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the shuffling: the same seed gives the same result.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


def _tell_of_compiling(context: click.Context, _: click.Parameter, quiet: bool) -> bool:
    """Have a line say that kernels are compiled, which takes seconds in which nothing else moves.

    With ``--json`` standard error holds nothing but JSON, too.
    """
    if not quiet and not context.resilient_parsing:
        context.with_resource(
            log_lines("fastlin.kernels", lambda: bool(context.params.get("as_json")))
        )
    return quiet


quiet = click.option(
    "--quiet",
    is_flag=True,
    callback=_tell_of_compiling,
    help="Show no progress on standard error.",
)
