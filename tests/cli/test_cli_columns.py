"""The command line and the columns of text files: what is said, and what a model remembers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import assert_mistake, run

N = 120


def flowers() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kinds = np.array(["007", "7", "x"])[np.arange(N) % 3]
    data = pd.DataFrame({"species": kinds, "a": rng.normal(size=N), "b": np.arange(N) % 3})
    data.insert(2, "Id", np.arange(N) + 1)
    return data


def train(folder: Path, data: pd.DataFrame, *options: object, header: bool = True) -> Path:
    data.to_csv(folder / "all.csv", index=False, header=header)
    done = run(
        *("train", "--data", folder / "all.csv", "--out", folder / "m.npz", "--quiet"),
        *("--epochs", 200, *options),
    )
    assert done.code == 0, done.err
    return folder / "m.npz"


def test_one_line_says_what_the_columns_are(tmp_path: Path) -> None:
    flowers().to_csv(tmp_path / "all.csv", index=False)
    options = ("--data", tmp_path / "all.csv", "--label", "species", "--quiet")
    done = run("train", *options)
    assert done.err == (
        "fastlin: all: the label is column 1 'species' of 4; left out: column 3 'Id' (another "
        "number in each row)\n"
    )
    assert "2 features" in done.out
    assert "3 features" in run("train", *options, "--drop", "none").out
    done = run("train", *options, "--drop", "a", "--drop", "Id")
    assert "column 2 'a' (as asked for), column 3 'Id' (as asked for)" in done.err
    flowers().assign(number=np.arange(N)).to_csv(tmp_path / "all.csv", index=False)
    done = run("train", *options)
    assert "fastlin: warning: column 5 'number' may number the rows; leave it out with" in done.err


@pytest.mark.parametrize("header", [True, False])
def test_a_model_reads_its_columns_again(tmp_path: Path, header: bool) -> None:
    """What was chosen in training holds afterwards, also for a part of the classes and rows."""
    model = train(tmp_path, flowers(), "--label", "1", "--drop", "3", header=header)
    part = flowers()[lambda data: data["species"] != "x"].iloc[5:45]
    part.to_csv(tmp_path / "part.csv", index=False, header=header)
    done = run("evaluate", model, "--data", tmp_path / "part.csv", "--part", "all")
    assert done.code == 0, done.err
    assert "40 rows" in done.out
    assert "accuracy  100.00 %" in done.out
    done = run("predict", model, "--data", tmp_path / "part.csv")
    assert done.out.split()[1:] == part["species"].tolist()


def test_features_are_found_by_their_names(tmp_path: Path) -> None:
    model = train(tmp_path, flowers(), "--label", "species")
    data = flowers()
    expected = data["species"].tolist()
    for other in (
        data[["b", "a", "species"]],
        data[["b", "Id", "a"]],
        data[["b", "a"]].assign(word="w"),
        data[["a", "b"]],
    ):
        other.to_csv(tmp_path / "other.csv", index=False)
        done = run("predict", model, "--data", tmp_path / "other.csv")
        assert done.code == 0, done.err
        assert done.out.split()[1:] == expected
    data[["a", "Id", "species"]].to_csv(tmp_path / "other.csv", index=False)
    done = run("predict", model, "--data", tmp_path / "other.csv")
    assert_mistake(done, "no column, or several, called 'b'", "give --data")


@pytest.mark.parametrize("labels", [("1", "2", "x"), ("1", "02", "3"), ("1", "2", "nan or so")])
def test_part_of_the_labels_is_known(tmp_path: Path, labels: tuple[str, ...]) -> None:
    """The labels of a part may all be plain integers even if those of the whole file are not."""
    rows = [f"{i % 3},{i % 2},{labels[i % 3]}" for i in range(N)]
    (tmp_path / "all.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "part.csv").write_text("\n".join(row for row in rows if row.endswith(",1")) + "\n")
    model = tmp_path / "m.npz"
    done = run("train", "--data", tmp_path / "all.csv", "--quiet", "--epochs", 200, "--out", model)
    assert done.code == 0, done.err
    for command in ("evaluate", "predict"):
        done = run(command, model, "--data", tmp_path / "part.csv", "--part", "all")
        assert done.code == 0, done.err
        assert "100.00 %" in done.out or set(done.out.split()[1:]) == {"1"}
    (tmp_path / "part.csv").write_text("0,1,1\n1,0,strange\n" * 9)
    done = run("evaluate", model, "--data", tmp_path / "part.csv", "--part", "all")
    assert done.code == 2
    assert "does not know: strange" in done.err


def test_a_model_of_numbers_knows_them_among_words(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("".join(f"{i % 3},{i % 2},{i % 3}\n" for i in range(N)))
    model = tmp_path / "m.npz"
    run("train", "--data", tmp_path / "all.csv", "--quiet", "--out", model)
    (tmp_path / "more.csv").write_text("".join(f"{i % 3},{i % 2},{i % 4}x\n" for i in range(N)))
    done = run("evaluate", model, "--data", tmp_path / "more.csv")
    assert "does not know: 0x, 1x, 2x, 3x; it knows 0, 1, 2" in done.err


def test_rows_that_number_themselves_are_left_out_in_prediction(tmp_path: Path) -> None:
    data = flowers()[["a", "b"]].assign(label=np.arange(N) % 3)
    data.to_csv(tmp_path / "all.csv")
    model = tmp_path / "m.npz"
    done = run("train", "--data", tmp_path / "all.csv", "--quiet", "--epochs", 200, "--out", model)
    assert "left out: column 1 (without a name" in done.err
    for other in (data, data.iloc[7:8], data.sample(frac=0.4, random_state=0)):
        for kept in (other, other.drop(columns="label")):
            kept.to_csv(tmp_path / "other.csv")
            done = run("predict", model, "--data", tmp_path / "other.csv")
            assert done.code == 0, done.err
            assert done.out.split()[1:] == other["label"].astype(str).tolist()


def test_a_class_of_one_row_is_trained_on(tmp_path: Path) -> None:
    labels = [f"rare{i}" if i < 60 else f"common{i % 4}" for i in range(600)]
    rows = [f"{i % 13},{i % 7},{label}" for i, label in enumerate(labels)]
    (tmp_path / "rare.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    done = run("train", "--data", tmp_path / "rare.csv", "--quiet", "--epochs", 2)
    assert done.code == 0, done.err
    assert "64 classes" in done.out
    (tmp_path / "single.csv").write_text(
        "a,b,label\n" + "".join(f"{i},{-i},w{i}\n" for i in range(9))
    )
    assert_mistake_in = run("train", "--data", tmp_path / "single.csv", "--quiet")
    assert assert_mistake_in.code == 2
    assert "--validation-fraction" in assert_mistake_in.err


@pytest.mark.parametrize("labels", ["", "?", "nan", "unknown"])
@pytest.mark.parametrize("header", ["a,b,label\n", ""])
def test_labels_are_not_looked_at_to_predict(tmp_path: Path, labels: str, header: str) -> None:
    rows = [f"{i % 3},{i % 2}," for i in range(N)]
    lines = [f"{row}{i % 3}" for i, row in enumerate(rows)]
    (tmp_path / "all.csv").write_text(header + "\n".join(lines) + "\n")
    model = tmp_path / "m.npz"
    done = run("train", "--data", tmp_path / "all.csv", "--quiet", "--epochs", 200, "--out", model)
    assert done.code == 0, done.err
    (tmp_path / "new.csv").write_text(header + "".join(f"{row}{labels}\n" for row in rows))
    done = run("predict", model, "--data", tmp_path / "new.csv")
    assert done.code == 0, done.err
    assert done.out.split()[1:] == [str(i % 3) for i in range(N)]
    assert done.err.startswith("fastlin: new: the label is column 3")


def test_a_name_that_two_features_have(tmp_path: Path) -> None:
    rows = "".join(f"{i % 3},{i % 2},{i % 3}\n" for i in range(N))
    (tmp_path / "all.csv").write_text("a,a,label\n" + rows)
    model = tmp_path / "m.npz"
    run("train", "--data", tmp_path / "all.csv", "--quiet", "--epochs", 200, "--out", model)
    done = run("evaluate", model, "--data", tmp_path / "all.csv")
    assert done.code == 0, done.err


def test_parts_whose_labels_are_of_two_kinds(tmp_path: Path) -> None:
    rows, labels = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", X_train=rows, y_train=labels.astype(str), X_val=rows, y_val=labels)
    done = run("train", "--data", tmp_path / "a.npz", "--quiet")
    assert_mistake(done, "words as labels in one part and numbers in the other", "save both alike")
