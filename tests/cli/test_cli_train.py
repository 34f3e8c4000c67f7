"""``fastlin train``: every flag reaches the estimator, and what is printed and written is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run

from fastlin import LogisticRegression
from fastlin.cli.training_options import DEFAULTS, TABLE

#: Parameters of the estimator that the command line sets in another way, or not at all.
ELSEWHERE = {
    "backend",
    "n_threads",
    "random_state",
    "input_scale",
    "warm_start",
    "verbose",
    "callbacks",
}


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters of the estimator, and shapes, that the latest run has passed to ``fit``."""
    passed: dict[str, Any] = {}
    fit = LogisticRegression.fit

    def record(model: LogisticRegression, X: Any, y: Any, **validation: Any) -> Any:
        passed.clear()
        passed.update(model.get_params(), X=X, y=y, **validation)
        return fit(model, X, y, **validation)

    monkeypatch.setattr(LogisticRegression, "fit", record)
    return passed


def train(*arguments: object) -> Any:
    done = run("train", "--backend", "numpy", "--epochs", "1", "--quiet", *arguments)
    assert done.code == 0, done.err
    return done


def test_every_parameter_of_the_estimator_is_an_option() -> None:
    assert {option.parameter for option in TABLE} | ELSEWHERE == set(DEFAULTS)
    assert not {option.parameter for option in TABLE} & ELSEWHERE


def test_defaults_are_those_of_the_estimator(passed: dict[str, Any]) -> None:
    assert run("train", "--backend", "numpy", "--quiet", "--data", "digits").code == 0
    for option in TABLE:
        assert passed[option.parameter] == DEFAULTS[option.parameter], option.parameter


@pytest.mark.parametrize(
    ("typed", "parameter", "value"),
    [
        ("--solver lbfgs", "solver", "lbfgs"),
        ("--l2 0.5", "l2", 0.5),
        ("--learning-rate 0.25", "learning_rate", 0.25),
        ("--learning-rate AUTO", "learning_rate", "auto"),
        ("--schedule cosine", "schedule", "cosine"),
        ("--momentum 0.9", "momentum", 0.9),
        ("--momentum 0.9 --nesterov", "nesterov", True),
        ("--average", "average", True),
        ("--batch-size 32", "batch_size", 32),
        ("--drop-last", "drop_last", True),
        ("--max-epochs 3", "max_epochs", 3),
        ("--epochs 4", "max_epochs", 4),
        ("--no-shuffle", "shuffle", False),
        ("--tol 0", "tol", 0.0),
        ("--tol none", "tol", None),
        ("--early-stopping", "early_stopping", True),
        ("--patience 3", "patience", 3),
        ("--checks-per-epoch 5", "checks_per_epoch", 5),
        ("--validation-fraction 0.3", "validation_fraction", 0.3),
        ("--no-intercept", "fit_intercept", False),
        ("--regularize-intercept", "regularize_intercept", True),
        ("--input-scale none", "input_scale", None),
        ("--input-scale standard", "input_scale", "standard"),
        ("--input-scale 8,0.125", "input_scale", (8.0, 0.125)),
        ("--input-scale auto", "input_scale", (0.0, 1 / 16)),
        ("--input-scale minmax", "input_scale", "minmax"),
        ("--class-weight balanced", "class_weight", "balanced"),
        ("--class-weight none", "class_weight", None),
        ("--dtype float64", "dtype", "float64"),
        ("--threads 3", "n_threads", 3),
        ("--seed 7", "random_state", 7),
    ],
)
def test_each_flag_reaches_the_estimator(
    passed: dict[str, Any], typed: str, parameter: str, value: Any
) -> None:
    train(*typed.split())
    assert passed[parameter] == value
    assert type(passed[parameter]) is type(value)


def test_the_validation_part_of_the_data_is_passed_on(passed: dict[str, Any]) -> None:
    train("--validation-fraction", "0.25")
    assert len(passed["X_val"]) == len(passed["y_val"]) == round(0.25 * 1797)
    assert len(passed["X"]) == 1797 - len(passed["X_val"])


def test_the_split_does_not_follow_the_seed(passed: dict[str, Any]) -> None:
    train("--seed", "1")
    first = passed["X_val"]
    train("--seed", "2")
    np.testing.assert_array_equal(first, passed["X_val"])


def test_classes_keep_their_rows_only(passed: dict[str, Any]) -> None:
    done = train("--classes", "2,3")
    assert set(passed["y"]) == set(passed["y_val"]) == {2, 3}
    assert "logistic regression, 2 classes" in done.out


def test_classes_may_be_words(tmp_path: Path, passed: dict[str, Any]) -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    np.savez(tmp_path / "animals.npz", X=X, y=np.array(["cat", "dog", "eel"])[np.arange(60) % 3])
    train("--data", tmp_path / "animals.npz", "--classes", "eel,cat")
    assert set(passed["y"]) == {"cat", "eel"}
    assert passed["input_scale"] is None  # no images: floating-point features


def test_files_are_written_and_named(tmp_path: Path) -> None:
    paths = {
        "model": tmp_path / "model",
        "history": tmp_path / "history.json",
        "plot": tmp_path / "curve.svg",
    }
    done = train(
        *("--out", paths["model"], "--history", paths["history"], "--plot", paths["plot"]),
        *("--epochs", "3", "--json"),
    )
    results = json.loads(done.out)
    assert results["files"] == {name: str(path) for name, path in paths.items()}
    assert set(tmp_path.iterdir()) == set(paths.values())
    model = LogisticRegression.load(paths["model"])
    assert model.n_iter_ == results["epochs"] == 3
    history = json.loads(paths["history"].read_text())
    assert history["train_loss"] == model.history_.train_loss.tolist()
    assert len(history["step"]) == 3 * history["steps_per_epoch"]
    assert paths["plot"].read_text().startswith("<?xml")


def test_an_output_may_be_called_like_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train("--data", "digits", "--out", "digits")
    assert run("evaluate", "digits", "--data", "digits").code == 0


def test_json_results_are_those_of_the_model(passed: dict[str, Any], tmp_path: Path) -> None:
    results = json.loads(train("--epochs", "5", "--out", tmp_path / "m.npz", "--json").out)
    model = LogisticRegression.load(tmp_path / "m.npz")
    assert results["training"]["accuracy"] == model.score(passed["X"], passed["y"])
    assert results["validation"]["accuracy"] == model.score(passed["X_val"], passed["y_val"])
    probability = model.predict_proba(passed["X_val"])[
        np.arange(len(passed["y_val"])), passed["y_val"]
    ]
    assert results["validation"]["loss"] == pytest.approx(-np.log(probability).mean(), rel=1e-5)
    assert results["backend"] == "numpy"
    assert results["stop_reason"] == "max_epochs"


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    for name in ("one", "two"):
        train("--seed", "5", "--out", tmp_path / name)
    train("--seed", "6", "--out", tmp_path / "three")
    one, two, three = (
        LogisticRegression.load(tmp_path / name).coef_ for name in ("one", "two", "three")
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - three).max() > 0


def test_progress_in_plain_lines_is_short() -> None:
    done = run("train", "--backend", "numpy", "--epochs", "60", "--tol", "0")
    lines = done.err.splitlines()
    assert lines[0].startswith("epoch 1/60  loss ")
    assert lines[-1] == "fastlin: the model was not kept: --out FILE keeps it"
    assert lines[-2].startswith("epoch 60/60  loss ")
    assert len(lines) == 22
    assert max(map(len, lines)) < 75
    for part in ("  val ", "  accuracy ", " rows/s"):
        assert all(part in line for line in lines[:-1])


def test_quiet_shows_no_progress() -> None:
    assert train().err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--epochs 2", "after 2 epochs, the most that --max-epochs allows"),
        ("--epochs 500 --tol 0.5 --patience 2", "the training loss no longer improves"),
        (
            "--epochs 500 --early-stopping --learning-rate 0.5 --input-scale none --patience 2 "
            "--tol none",
            "validation loss was best after step",
        ),
        ("--solver lbfgs --epochs 2", "after 2 iterations, the most that --max-epochs allows"),
        ("--solver lbfgs --epochs 100", "iterations: at the optimum, up to --tol"),
    ],
)
def test_why_training_stopped_is_said(arguments: str, said: str) -> None:
    assert said in train(*arguments.split()).out
