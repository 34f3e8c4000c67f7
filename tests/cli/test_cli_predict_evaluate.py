"""``fastlin predict`` and ``fastlin evaluate`` say what the estimator itself says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_mistake, run, train_model
from sklearn.metrics import confusion_matrix, log_loss, recall_score

from fastlin import LogisticRegression, datasets

# The backend that trained, with which the estimator predicts too: the bits agree.
VAL = ("--backend", "numpy", "--part", "val")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_model(tmp_path_factory.mktemp("model"))


def digits_for(model: LogisticRegression) -> datasets.Dataset:
    return datasets.load("digits", validation_fraction=model.validation_fraction, seed=0)


def test_evaluation_is_of_the_rows_kept_aside_in_training(model: Path) -> None:
    done = run("evaluate", model, "--json")
    assert done.code == 0, done.err
    results = json.loads(done.out)
    trained = LogisticRegression.load(model)
    digits = digits_for(trained)
    predicted = trained.predict(digits.X_val)
    probabilities = trained.predict_proba(digits.X_val)
    assert results["part"] == "val"
    assert results["n_rows"] == len(digits.y_val)
    assert results["accuracy"] == (predicted == digits.y_val).mean()
    assert results["loss"] == pytest.approx(log_loss(digits.y_val, probabilities), rel=1e-5)
    assert results["confusion_matrix"] == confusion_matrix(digits.y_val, predicted).tolist()
    assert results["recall"] == pytest.approx(recall_score(digits.y_val, predicted, average=None))
    assert results["classes"] == list(range(10))


def test_parts_add_up(model: Path) -> None:
    rows = {
        part: json.loads(run("evaluate", model, "--part", part, "--json").out)["n_rows"]
        for part in ("train", "val", "all")
    }
    assert rows["train"] + rows["val"] == rows["all"] == 1797
    assert 0 < rows["val"] < rows["train"]


def test_the_table_shows_each_class_and_the_confusion_matrix(model: Path) -> None:
    results = json.loads(run("evaluate", model, "--json").out)
    lines = run("evaluate", model).out.splitlines()
    assert f"accuracy  {100 * results['accuracy']:.2f} %" in lines
    assert f"loss      {results['loss']:.4f}" in lines
    last = [int(cell) for cell in lines[-1].split()]
    assert last == [9, *results["confusion_matrix"][9]]


def test_a_model_of_two_classes_needs_their_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    assert run("train", "--classes", "2,3", "--out", path, "--backend", "numpy").code == 0
    assert_mistake(run("evaluate", path), "does not know", "--classes 2,3")
    results = json.loads(run("evaluate", path, "--classes", "2,3", "--json").out)
    assert results["classes"] == [2, 3]
    assert results["accuracy"] > 0.9


def test_labels_on_standard_output(model: Path) -> None:
    done = run("predict", model, "--data", "digits", "--part", "val")
    trained = LogisticRegression.load(model)
    expected = trained.predict(digits_for(trained).X_val)
    assert done.out.splitlines() == ["label", *map(str, expected)]
    assert done.err == ""


def test_probabilities_as_csv(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    done = run("predict", model, *VAL, "--probabilities", "--out", out)
    assert done.code == 0, done.err
    assert str(out) in done.err
    with out.open(newline="") as file:
        header, *rows = csv.reader(file)
    trained = LogisticRegression.load(model)
    expected = trained.predict_proba(digits_for(trained).X_val)
    assert header == ["label", *(f"probability of {label}" for label in range(10))]
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), expected, rtol=1e-6)
    assert [int(row[0]) for row in rows] == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize("flags", [[], ["--probabilities"]])
def test_arrays_as_npy(model: Path, tmp_path: Path, flags: list[str]) -> None:
    out = tmp_path / "result.npy"
    assert run("predict", model, *VAL, "--quiet", "--out", out, *flags).err == ""
    trained = LogisticRegression.load(model)
    X = digits_for(trained).X_val
    expected = trained.predict_proba(X) if flags else trained.predict(X)
    np.testing.assert_array_equal(np.load(out, allow_pickle=False), expected)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("kind", ["npy", "csv", "csv with header", "labelled csv", "npz"])
def test_a_file_is_predicted_in_its_order(model: Path, tmp_path: Path, kind: str) -> None:
    digits = datasets.load("digits", validation_fraction=0)
    X, y = digits.X_train[:50], digits.y_train[:50]
    path = tmp_path / f"rows.{kind.split()[0] if kind != 'labelled csv' else 'csv'}"
    if kind == "npy":
        np.save(path, X)
    elif kind == "npz":
        np.savez(path, X=X, y=y)
    else:
        names = {"csv with header": [f"pixel{i}" for i in range(64)]}.get(kind, [])
        if kind == "labelled csv":
            names = ["label", *(f"pixel{i}" for i in range(64))]
            X_text = np.column_stack([y, X])
        else:
            X_text = X
        np.savetxt(path, X_text, fmt="%d", delimiter=",", header=",".join(names), comments="")
        if not names:
            path.write_text(path.read_text().lstrip("\n"))
    done = run("predict", model, "--data", path)
    assert done.code == 0, done.err
    expected = LogisticRegression.load(model).predict(X)
    assert done.out.splitlines()[1:] == [str(label) for label in expected]


def test_rows_of_another_width_without_labels(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((5, 63)))
    done = run("predict", model, "--data", tmp_path / "rows.npy")
    assert_mistake(done, "expects 64 features", "rows.npy has 63")


def test_rows_without_labels_that_are_damaged(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.full((5, 64), np.nan))
    assert_mistake(run("predict", model, "--data", path), "rows.npy", "nan or infinite")
    path.write_bytes(b"no array")
    assert_mistake(run("predict", model, "--data", path), "rows.npy")
