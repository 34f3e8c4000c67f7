"""The numbers of a report, for programs (``metrics.json``) and for the command line."""

from __future__ import annotations

from typing import Any

from fastlin.report.results import Results
from fastlin.report.wording import power_of_ten


def make_metrics(results: Results, version: str) -> dict[str, Any]:
    """Return every number of the report in the schema of ``metrics.json``.

    ``seconds`` has the time of the training runs and, as ``report``, of everything else.
    """
    everything = results.problem.everything
    return {
        "fastlin": version,
        "backend": results.training.backend,
        "dtype": "float64",
        "n_threads": results.n_threads,
        "seed": results.training.seed,
        "data": {
            "name": results.problem.name,
            "n_train": len(everything.X_train),
            "n_val": len(everything.X_val),
        },
        "tasks": {
            "1": {
                f"{model}_gradient_error": results.gradient_error(model)
                for model in ("logistic", "softmax", "l2")
            },
            **_logistic_tasks(results),
            **_softmax_tasks(results),
        },
        "seconds": {"train": results.runs.seconds},
    }


def _logistic_tasks(results: Results) -> dict[str, Any]:
    ordered, shuffled = results.runs.ordered, results.runs.shuffled
    return {
        "2b": {"train_loss": ordered.train_loss, "val_loss": ordered.val_loss},
        "2c": {"train_accuracy": ordered.train_accuracy, "val_accuracy": ordered.val_accuracy},
        "2d": {
            "stopped_epoch": int(ordered.history.stopped_epoch),
            "stopped_step": int(ordered.history.stopped_step),
            "best_step": int(ordered.history.best_step),
            "best_val_loss": float(ordered.history.val_loss.min()),
        },
        "2e": {
            "stopped_epoch": int(shuffled.history.stopped_epoch),
            "stopped_step": int(shuffled.history.stopped_step),
            "best_val_loss": float(shuffled.history.val_loss.min()),
            "val_accuracy": shuffled.val_accuracy,
            "spikes_unshuffled": len(results.spikes_ordered),
            "spikes_shuffled": len(results.spikes_shuffled),
        },
    }


def _softmax_tasks(results: Results) -> dict[str, Any]:
    plain, penalised = results.runs.plain, results.runs.penalised
    return {
        "3b": {"train_loss": plain.train_loss, "val_loss": plain.val_loss},
        "3c": {"train_accuracy": plain.train_accuracy, "val_accuracy": plain.val_accuracy},
        "3d": {"accuracy_gap": plain.train_accuracy - plain.val_accuracy},
        "4b": {f"{run.penalty:g}": {"weight_l2": run.weight_norm} for run in (plain, penalised[0])},
        "4c": {
            f"{run.penalty:g}": {"val_accuracy": run.val_accuracy, "val_loss": run.val_loss}
            for run in penalised
        },
        "4e": {f"{run.penalty:g}": run.weight_norm for run in penalised},
    }


def summary(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (task, result) rows for people from the `metrics` that `write_report` returns."""
    tasks = metrics["tasks"]
    checked, binary, shuffled = tasks["1"], tasks["2d"], tasks["2e"]
    norms = ", ".join(f"{norm:#.3g} (λ {penalty})" for penalty, norm in tasks["4e"].items())
    accuracies = ", ".join(
        f"{result['val_accuracy']:.2%} (λ {penalty})" for penalty, result in tasks["4c"].items()
    )
    difference = power_of_ten(max(checked.values()))
    weights = ", ".join(
        f"weight norm {r['weight_l2']:#.3g} (λ {p})" for p, r in tasks["4b"].items()
    )
    return [
        ("1, 4a", f"gradients differ from central differences by {difference}"),
        ("2b", _losses(tasks["2b"])),
        ("2c", _accuracies(tasks["2c"])),
        ("2d", f"ended in epoch {binary['stopped_epoch']} (step {binary['stopped_step']})"),
        (
            "2e",
            f"ended in epoch {shuffled['stopped_epoch']} (step {shuffled['stopped_step']});"
            f" spikes: {shuffled['spikes_unshuffled']} in fixed order,"
            f" {shuffled['spikes_shuffled']} shuffled",
        ),
        ("3b", _losses(tasks["3b"])),
        ("3c", _accuracies(tasks["3c"])),
        ("3d", f"accuracy gap {100 * tasks['3d']['accuracy_gap']:.2f} percentage points"),
        ("4b", weights),
        ("4c", f"validation accuracy {accuracies}"),
        ("4e", f"weight norm {norms}"),
    ]


def _losses(task: dict[str, float]) -> str:
    return f"loss {task['train_loss']:.4f} training, {task['val_loss']:.4f} validation"


def _accuracies(task: dict[str, float]) -> str:
    return f"accuracy {task['train_accuracy']:.2%} training, {task['val_accuracy']:.2%} validation"
