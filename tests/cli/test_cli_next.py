"""What `fastlin train` says to do next can be typed as it stands, and does it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import run
from sklearn.datasets import load_iris

X, Y = load_iris(return_X_y=True)
WORDS = np.array(["setosa", "versicolor", "virginica"])[Y]


def table() -> pa.Table:
    columns = {f"x {number}": X[:, number] for number in range(4)}
    return pa.table({"key": np.arange(150) * 3, **columns, "kind": WORDS})


def csv(folder: Path) -> list[str]:
    lines = [
        ",".join(f"{value}" for value in (*row, word)) for row, word in zip(X, WORDS, strict=True)
    ]
    lines = [f"{number % 7};{line.replace(',', ';')}" for number, line in enumerate(lines)]
    (folder / "of iris.csv").write_text("\n".join(["week;a;b;c;d;kind", *lines]) + "\n")
    options = ["--label", "kind", "--separator", "semicolon", "--drop", "week"]
    return ["--data", str(folder / "of iris.csv"), *options]


def parquet(folder: Path) -> list[str]:
    pq.write_table(table(), folder / "iris.parquet")
    return ["--data", str(folder / "iris.parquet"), "--label", "kind", "--drop", "key"]


def stored(folder: Path) -> list[str]:
    for name, rows in (("rows", X), ("labels", Y)):
        (folder / name).mkdir()
        np.save(folder / name / "1.npy", rows[::2])
        np.save(folder / name / "2.npy", rows[1::2])
    return ["--data", f"{folder}/rows/*.npy", "--labels", f"{folder}/labels/*.npy"]


def two_digits(_: Path) -> list[str]:
    return ["--data", "digits", "--classes", "2,3"]


@pytest.mark.parametrize("source", [csv, parquet, stored, two_digits])
def test_the_next_command_measures_the_model(source: object, tmp_path: Path) -> None:
    assert callable(source)
    model = tmp_path / "a model"
    options = ["--backend", "numpy", "--solver", "lbfgs", "--epochs", "20"]
    trained = run("train", *source(tmp_path), *options, "--out", model)
    assert trained.code == 0, trained.err
    said = re.search(r"^fastlin: next: (fastlin .*), or in Python ", trained.err, re.MULTILINE)
    assert said is not None
    command = shlex.split(said[1])
    evaluated = run(*command[1:], "--json")
    assert evaluated.code == 0, evaluated.err
    # The same rows: as many as were trained on and held back, and nearly all of them right.
    counts = [
        int(found)
        for found in re.findall(r"^(?:training|validation) +(\d+) ", trained.out, re.MULTILINE)
    ]
    told = json.loads(evaluated.out)
    assert told["n_rows"] in (sum(counts), counts[-1])
    assert told["accuracy"] > 0.9
