"""The estimator's training parameters as flags, from a table and the estimator's defaults."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import click

from fastlin.cli.values import InputScale, Integer, Number
from fastlin.estimator import LogisticRegression

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(LogisticRegression).parameters.items()
}


@dataclass(frozen=True)
class TrainingOption:
    """One parameter of :class:`LogisticRegression` on the command line.

    `flags` are the flags if they differ from the parameter's name; `kind` is None for a
    parameter that is True or False.
    """

    parameter: str
    kind: click.ParamType[Any] | None
    help: str
    flags: tuple[str, ...] = ()

    def option(self) -> click.Option:
        """Return the option that click parses."""
        default = DEFAULTS[self.parameter]
        flag = "--" + self.parameter.replace("_", "-")
        if self.kind is None:
            flags = self.flags or (f"{flag}/--no-{flag[2:]}",)
        else:
            flags = self.flags or (flag,)
        return click.Option(
            [self.parameter, *flags],
            type=self.kind,
            default=default,
            show_default="none" if default is None else True,
            help=self.help,
        )


_COUNT = Integer(1, 2**31 - 1)

TABLE = (
    TrainingOption(
        "solver",
        click.Choice(["sgd", "lbfgs"]),
        "Mini-batch gradient descent, or L-BFGS on all rows, to the optimum.",
    ),
    TrainingOption("l2", Number(min=0), "L2 penalty lambda: the loss grows by lambda * sum(W^2)."),
    TrainingOption(
        "learning_rate",
        Number(min=0, min_open=True, words={"auto": "auto"}),
        "Step size; auto measures a safe one on the data.",
    ),
    TrainingOption(
        "schedule",
        click.Choice(["constant", "invscaling", "cosine"]),
        "How the learning rate changes during training.",
    ),
    TrainingOption(
        "momentum",
        Number(min=0, max=1, max_open=True),
        "Fraction of the last step that is added to the next.",
    ),
    TrainingOption("nesterov", None, "Use Nesterov's momentum."),
    TrainingOption("average", None, "Return a running average of the weights."),
    TrainingOption("batch_size", _COUNT, "Rows in each step."),
    TrainingOption("drop_last", None, "Leave out the last batch of an epoch if it is smaller."),
    TrainingOption(
        "max_epochs",
        _COUNT,
        "Maximum number of passes over the training rows.",
        ("--max-epochs", "--epochs"),
    ),
    TrainingOption("shuffle", None, "Shuffle the training rows before each epoch."),
    TrainingOption(
        "tol",
        Number(min=0, words={"none": None}),
        "Stop if the loss improves by less in each of --patience epochs in a row; 0: never.",
    ),
    TrainingOption(
        "early_stopping",
        None,
        "Stop when the validation loss no longer improves; return the best weights.",
    ),
    TrainingOption("patience", _COUNT, "Checks or epochs without improvement before stopping."),
    TrainingOption(
        "checks_per_epoch", _COUNT, "Validation checks in each epoch, the first at its first step."
    ),
    TrainingOption(
        "validation_fraction",
        Number(min=0, max=1, min_open=True, max_open=True),
        "Fraction of the rows to split off if the data has no validation part of its own.",
    ),
    TrainingOption("fit_intercept", None, "Fit an intercept.", ("--fit-intercept/--no-intercept",)),
    TrainingOption("regularize_intercept", None, "Penalise the intercept too."),
    TrainingOption(
        "class_weight",
        click.Choice(["none", "balanced"]),
        "balanced: every class counts equally, however many rows it has.",
    ),
    TrainingOption(
        "dtype", click.Choice(["auto", "float32", "float64"]), "Floating-point type of the weights."
    ),
)
INPUT_SCALE = click.Option(
    ["input_scale", "--input-scale"],
    type=InputScale(),
    metavar="|".join([*InputScale.words, "SHIFT,SCALE"]),
    default="auto",
    show_default=True,
    help="Scaling of the features: (x - SHIFT) * SCALE, each feature to its range (minmax) or to "
    "mean 0 and variance 1 (standard); auto: images of whole numbers to [0, 1], else none.",
)


def training_options() -> list[click.Parameter]:
    """Return the options for a command's parameters."""
    return [*(row.option() for row in TABLE), INPUT_SCALE]
