"""Typeset the report: ``template/report.typ`` gives both ``report.pdf`` and ``report.html``.

The template holds the text that is always true and reads everything that depends on the runs from
``report.json``.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastlin.errors import OutputError
from fastlin.report import findings_logistic, findings_softmax, spikes
from fastlin.report.drawing import Drawing
from fastlin.report.metrics import summary
from fastlin.report.problem import Problem
from fastlin.report.results import Results
from fastlin.report.wording import MINUS, count, percent, power_of_ten

# Title and origin of the data sets that are the same on every machine.
KNOWN_DATA = {
    "mnist": (
        "MNIST",
        "handwritten digits, collected by LeCun, Cortes and Burges; checked by SHA-256",
    ),
    "fashion-mnist": (
        "Fashion-MNIST",
        "articles of clothing, collected by Zalando Research; checked by SHA-256",
    ),
    "digits": ("the digits of scikit-learn", "handwritten digits, bundled with scikit-learn"),
}
TEMPLATE_FILES = ("report.typ", "derivations.typ", "layout.typ", "report.css")
DOCUMENTS = ("report.pdf", "report.html")


def typeset(content: dict[str, Any], folder: Path) -> None:
    """Write ``report.pdf`` and ``report.html`` into `folder`, which holds the figures as SVG.

    Raises
    ------
    OutputError
        A document cannot be written.
    """
    import typst

    sources = folder / "sources"
    sources.mkdir()
    template = files("fastlin.report") / "template"
    for name in TEMPLATE_FILES:
        (sources / name).write_bytes((template / name).read_bytes())
    (sources / "report.json").write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    # Only the fonts inside the wheel: the same pages on every machine.
    compiler = typst.Compiler(input=sources / "report.typ", root=folder, ignore_system_fonts=True)
    for name in DOCUMENTS:
        form: Any = Path(name).suffix.removeprefix(".")
        # The only warning says that typst's HTML is experimental; tests check the result.
        document, _ = compiler.compile_with_warnings(format=form, sys_inputs={"format": form})
        if not isinstance(document, bytes):
            raise OutputError(f"typst made no {name}; type: python -m pip install -U typst")
        (folder / name).write_bytes(document)


def make_content(
    results: Results, metrics: dict[str, Any], drawings: list[Drawing]
) -> dict[str, Any]:
    """Return what ``report.typ`` reads as ``report.json``: strings, numbers, lists and tables."""
    problem = results.problem
    name, source = problem.name, problem.source
    if not Path(source).exists():  # a file may be called mnist, too
        name, source = KNOWN_DATA.get(name, (name, source))
    everything = problem.everything
    return {
        "title": f"Single-layer networks on {name}",
        "subtitle": "Logistic and softmax regression by mini-batch gradient descent",
        "version": metrics["fastlin"],
        "facts": _facts(results, metrics["fastlin"], name, source),
        "results": [list(row) for row in summary(metrics)],
        "data_paragraph": _data_paragraph(problem, name),
        "n_classes": len(everything.class_names),
        "n_inputs": everything.X_train.shape[1] + 1,
        "pair": _pair(problem),
        "setup": _setup(results),
        "proved": results.proved,
        "gradients": _gradients(results),
        "findings": _findings(results),
        "spike_definition": spikes.DEFINITION,
        "roughness_definition": _roughness_definition(problem),
        "penalties": _penalties(results),
        "figures": {
            drawing.name: {
                "file": f"/{drawing.stem}.svg",
                "caption": drawing.caption,
                "alternative": drawing.alternative,
            }
            for drawing in drawings
        },
    }


def _facts(results: Results, version: str, name: str, source: str) -> list[list[str]]:
    n, m = len(results.problem.everything.X_train), len(results.problem.everything.X_val)
    return [
        ["Data", name],
        ["Source", source],
        ["Samples", f"{n} for training, {m} for validation"],
        ["Computed by", f"fastlin {version}, backend {results.training.backend}, float64"],
        ["Seed", str(results.training.seed)],
    ]


def _data_paragraph(problem: Problem, name: str) -> str:
    everything = problem.everything
    low, high = problem.input_range
    shape = problem.image_shape
    form = f"images of {shape[0]} by {shape[1]} pixels" if shape else "rows of numbers"
    return (
        f"The data are {name}: {form} in {len(everything.class_names)} classes. The first"
        f" {len(everything.X_train)} samples of its training part are used for training and all"
        f" {len(everything.X_val)} of its validation part for validation. Values from {low:g} to"
        f" {high:g} are mapped linearly to the range from {MINUS}1 to 1."
    )


def _pair(problem: Problem) -> dict[str, Any]:
    pair, names = problem.pair, problem.everything.class_names
    remark = ""
    if {problem.positive_name, problem.negative_name} != {"2", "3"}:
        remark = (
            f"These data have no classes 2 and 3, which the task asks for; {names[0]} and"
            f" {names[1]}, the first two, take their place."
        )
    return {
        "positive": problem.positive_name,
        "negative": problem.negative_name,
        "n_train": len(pair.X_train),
        "n_val": len(pair.X_val),
        "remark": remark,
    }


def _setup(results: Results) -> dict[str, Any]:
    settings, problem = results.settings, results.problem
    penalties = ", ".join(f"{penalty:g}" for penalty in settings.penalties)
    rate, epochs = settings.binary_learning_rate, f"at most {settings.binary_epochs}"
    logistic = problem.pair, rate, f"{epochs}, early stopping"
    softmax = problem.everything, settings.softmax_learning_rate, str(settings.softmax_epochs)
    rows = []
    for tasks, model, (split, rate, epochs), shuffled in (
        ("2b to 2d", "logistic", logistic, "no"),
        ("2e", "logistic", logistic, "every epoch"),
        ("3b to 4b", "softmax, λ = 0", softmax, "every epoch"),
        ("4b to 4e", f"softmax, λ = {penalties}", softmax, "every epoch"),
    ):
        n_steps = split.steps_per_epoch
        interval = count(n_steps // settings.checks_per_epoch, "step")
        sizes = f"{rate:g}", str(split.batch_size), str(n_steps), interval
        rows.append([tasks, model, *sizes, epochs, shuffled])
    return {
        "rows": rows,
        "patience": settings.patience,
        "checks_per_epoch": settings.checks_per_epoch,
    }


def _gradients(results: Results) -> dict[str, Any]:
    settings = results.settings
    checks = results.gradient_checks
    largest = max(check.largest_difference for check in checks)
    failed = [check for check in checks if not check.largest_difference <= settings.gradient_bound]
    bound = power_of_ten(settings.gradient_bound)
    verdict = (
        f"No difference exceeds {power_of_ten(largest)}, well within the bound of {bound} that the"
        " step size allows."
        if not failed
        else f"{count(len(failed), 'check')} of {len(checks)} exceed the bound of"
        f" {bound}: these gradients are wrong."
    )
    titles = {"logistic": "logistic", "softmax": "softmax", "l2": "softmax with penalty"}
    return {
        "step": f"{settings.gradient_step:g}",
        "rows": min(settings.gradient_rows, len(results.problem.pair.X_train)),
        "penalty": f"{settings.gradient_penalty:g}",
        "verdict": verdict,
        "rows_of_table": [
            [
                check.backend,
                titles[check.model],
                check.start_point,
                str(check.n_weights),
                power_of_ten(check.largest_difference),
            ]
            for check in checks
        ],
    }


def _findings(results: Results) -> dict[str, list[str]]:
    runs, problem = results.runs, results.problem
    ordered, shuffled, plain, penalised = runs.ordered, runs.shuffled, runs.plain, runs.penalised
    spikes_of_both = results.spikes_ordered, results.spikes_shuffled
    everything, n_classes = problem.everything, len(problem.everything.class_names)
    inputs = problem.input_scale, problem.image_shape
    return {
        "2b": findings_logistic.losses(ordered),
        "2c": findings_logistic.accuracies(ordered),
        "2d": findings_logistic.stopping(ordered, results.settings.patience),
        "2e": findings_logistic.shuffling(ordered, shuffled, *spikes_of_both, problem.pair),
        "3b": findings_softmax.losses(plain, n_classes),
        "3c": findings_softmax.accuracies(plain),
        "3d": findings_softmax.overfitting(plain),
        "4b": findings_softmax.weight_images(plain, penalised[0], everything, *inputs),
        "4c": findings_softmax.accuracy_by_penalty(plain, penalised),
        "4d": findings_softmax.cause_of_accuracy(plain, penalised, n_classes),
        "4e": findings_softmax.norms(penalised),
    }


def _roughness_definition(problem: Problem) -> str:
    if problem.image_shape is None:
        return ""
    return (
        "Roughness is measured as the mean squared difference of neighbouring weights, divided by"
        " twice their variance, and averaged over the classes: about 1 for weights that know"
        " nothing of their neighbours, near 0 for a smooth image. "
    )


def _penalties(results: Results) -> list[list[str]]:
    return [
        [
            f"{run.penalty:g}",
            f"{run.train_loss:.4f}",
            f"{run.val_loss:.4f}",
            percent(run.train_accuracy),
            percent(run.val_accuracy),
            f"{run.weight_norm:#.4g}",
        ]
        for run in (results.runs.plain, *reversed(results.runs.penalised))
    ]


def check_typesetter() -> None:
    """Check, before hours of work, that the report can be typeset and proved.

    Raises
    ------
    OutputError
        The packages typst or sympy are not installed.
    """
    from importlib.util import find_spec

    missing = [package for package in ("typst", "sympy") if find_spec(package) is None]
    if missing:
        raise OutputError(
            f"the report needs {' and '.join(missing)}, which this environment does not have;"
            " type: python -m pip install 'fastlin[report]'"
        )
