"""Which columns of a text file are labels, features, names and numbers of rows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastlin import datasets
from fastlin.advice import ColumnsWarning, LeftOutWarning
from fastlin.datasets.csv_layout import ColumnOptions
from fastlin.errors import InputError

N = 60


def frame(columns: Any = ("a", "b", "c"), label: Any = "label") -> pd.DataFrame:
    """Noise of three features, sorted by three labels."""
    noise = np.random.default_rng(0).standard_normal((N, 3)).round(3)
    result = pd.DataFrame(noise, columns=list(columns))
    result[label] = np.sort(np.arange(N) % 3)
    return result


def load(path: Path, text: str, **options: Any) -> datasets.Dataset:
    path.write_text(text, encoding="utf-8")
    return datasets.load(path, validation_fraction=0, **options)


def repeated(data: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([data, data])


def called(name: str, values: Any = None) -> pd.DataFrame:
    data = frame()
    data.index = pd.Index(np.arange(N) if values is None else values, name=name)
    return data


ROW_NUMBERS = {
    "to_csv": frame().to_csv(),
    "shuffled": frame().sample(frac=1, random_state=0).to_csv(),
    "a part": frame().sample(frac=0.5, random_state=0).to_csv(),
    "repeated": repeated(frame()).to_csv(),
    "reset_index": frame().reset_index().to_csv(index=False),
    "numbers as names": frame(range(3), 3).to_csv(),
    "words": called("", [f"row {i}" for i in range(N)]).to_csv(),
    "an id": called("id").to_csv(),
    "an Id from 1": called("Id", np.arange(1, N + 1)).to_csv(),
    "a customer_id": called("customer_id", np.arange(N) * 977 % 1000).to_csv(),
    "a PassengerId": called("PassengerId").to_csv(),
    "ids of words": called("id", [f"A{i}" for i in range(N)]).to_csv(),
    "at the end": frame().assign(index=np.arange(N)).to_csv(index=False),
}
TWO = {
    "written twice": frame().reset_index().rename(columns={"index": "Unnamed: 0"}).to_csv(),
    "two levels": frame().set_index([np.arange(N) // 6, np.arange(N) % 6]).to_csv(),
    "two levels, reset": frame()
    .set_index([np.arange(N) // 6, np.arange(N) % 6])
    .reset_index()
    .to_csv(index=False),
}


@pytest.mark.parametrize("kind", [*ROW_NUMBERS, *TWO])
def test_numbers_of_rows_are_no_features(tmp_path: Path, kind: str) -> None:
    text = {**ROW_NUMBERS, **TWO}[kind]
    with pytest.warns(LeftOutWarning, match="left out column"):
        data = load(tmp_path / "noise.csv", text)
    assert data.X_train.shape[1] == 3
    assert len(data.left_out) == (2 if kind in TWO else 1)
    assert abs(data.X_train).max() < 6, "noise alone"
    if kind not in ("words", "ids of words"):
        kept = load(tmp_path / "noise.csv", text, drop="none")
        assert kept.X_train.shape[1] == 3 + len(data.left_out)


def test_what_may_be_a_feature_is_kept_and_told(tmp_path: Path) -> None:
    for text in (
        frame().to_csv(header=False),
        called("time").to_csv(),
        frame().sample(frac=1, random_state=0).to_csv(header=False),
        repeated(frame()).reset_index().to_csv(index=False),
    ):
        with pytest.warns(ColumnsWarning, match="column 1.* may number the rows"):
            data = load(tmp_path / "noise.csv", text)
        assert data.X_train.shape[1] == 4
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load(tmp_path / "noise.csv", text, drop=1).X_train.shape[1] == 3


@pytest.mark.parametrize("name", ["index", "id", "humid", "idea", "indexed", "row"])
def test_measurements_are_features_whatever_their_name(tmp_path: Path, name: str) -> None:
    text = called(name, np.random.default_rng(1).normal(size=N)).to_csv()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tmp_path / "noise.csv", text).X_train.shape[1] == 4


HEADERS = {
    "0, 1, 2, 3": frame(range(3), 3).to_csv(index=False),
    "0, 1, 2, and labels that are floats": frame(range(3), 3)
    .astype(float)
    .drop(columns=2)
    .rename(columns={3: 2})
    .to_csv(index=False),
    "1, 2, 3, 4": frame(range(1, 4), 4).to_csv(index=False),
    "years": frame(range(2019, 2022), 2022).to_csv(index=False),
    "years and a word": frame(range(2019, 2022), "out").to_csv(index=False),
    "wavelengths and a word": frame((350.5, 351.0, 351.5), "kind").to_csv(index=False),
    "numbers and a label": frame((7, 3, 5), "label").to_csv(index=False),
    "a number among words": frame(("a", 3, "c"), "kind").to_csv(index=False),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_of_numbers_is_no_row(tmp_path: Path, kind: str) -> None:
    assert len(load(tmp_path / "noise.csv", HEADERS[kind]).y_train) == N


@pytest.mark.parametrize(
    "text",
    [
        "1,2,y\n3,4,n\n" * 9,
        "1.5,2,y\n" + "3,4,n\n" * 17,
        "0,1,cat\n2,3,dog\n" * 9,
        "0,1,2\n2,1,0\n1,0,1\n" * 6,
        "5,1,class\n3,2,other\n" * 9,
        "1,2,x\n",
        "0,1,2,3,4\n",
    ],
)
def test_a_row_is_no_header(tmp_path: Path, text: str) -> None:
    assert len(load(tmp_path / "mine.csv", text).y_train) == text.count("\n")


FIRST = "species,a,b\n" + "x,1,2\ny,3,4\n" * 20


@pytest.mark.parametrize("label", ["species", "Species", "1", 1, "-3", -3])
def test_labels_in_a_column_of_choice(tmp_path: Path, label: str | int) -> None:
    data = load(tmp_path / "mine.csv", FIRST, label=label)
    assert data.X_train[:2].tolist() == [[1, 2], [3, 4]]
    assert data.y_train[:2].tolist() == ["x", "y"]
    assert data.label_column == "column 1 'species' of 3"


@pytest.mark.parametrize("first", ["2,1,a", "7,2,1"])
def test_a_number_is_no_name(tmp_path: Path, first: str) -> None:
    data = load(tmp_path / "mine.csv", f"{first}\n" + "5,6,7\n8,9,7\n" * 20, label="3")
    assert data.label_column is not None
    assert data.label_column.startswith("column 3")


def test_names_that_differ_in_case(tmp_path: Path) -> None:
    text = "X,x,z\n" + "5,6,7\n8,9,10\n" * 20
    assert load(tmp_path / "mine.csv", text, label="x").y_train[:2].tolist() == [6, 9]
    assert load(tmp_path / "mine.csv", text, label="X").y_train[:2].tolist() == [5, 8]
    assert load(tmp_path / "mine.csv", text).X_train[0].tolist() == [5, 6]


def test_columns_left_out_on_request(tmp_path: Path) -> None:
    text = "name,a,b,label\n" + "Ann,1,2,x\nBob,3,4,y\n" * 20
    data = load(tmp_path / "mine.csv", text, drop=["name", 3])
    assert data.X_train[:2].tolist() == [[1], [3]]
    assert data.left_out == ("column 1 'name' (as asked for)", "column 3 'b' (as asked for)")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": "kind"}, "no column is called 'kind'; the first line has species, a, b; give"),
        ({"label": 4}, "column 4 was asked for; expected a number from 1 to 3"),
        ({"label": 0}, "a column is called 0; expected its name, or its number from 1"),
        ({"label": True}, "a column is called True"),
        ({"label": 1.0}, "a column is called 1.0"),
        ({"drop": [None]}, "a column is called None"),
        ({"label": "a", "drop": "a"}, "'a' is the column of labels and is to be left out"),
        ({"separator": "::"}, "separator is '::'; expected comma, semicolon"),
        ({"separator": "1"}, "separator is '1'"),
        ({"separator": ";"}, "has one column"),
        ({}, "line 2, column 1: 'x' is not a number; put one there, or leave the column out with"),
        ({"label": "species", "drop": ["a", "b"]}, "has no column of features"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path / "mine.csv", FIRST, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 300


@pytest.mark.parametrize("option", [{"label": 1}, {"separator": "tab"}, {"drop": "x"}])
def test_other_data_has_no_columns_to_choose(tmp_path: Path, option: Any) -> None:
    np.savez(tmp_path / "mine.npz", X=np.eye(4), y=np.arange(4))
    for name in ("digits", tmp_path / "mine.npz"):
        with pytest.raises(InputError, match="cannot be given"):
            datasets.load(name, **option)


def test_a_name_that_two_columns_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 columns are called 'a': name one by its number, 1 or"):
        load(tmp_path / "mine.csv", "a,a,b\n" + "1,2,3\n4,5,6\n" * 9, label="a")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "#", "comma", "TAB", "pipe"])
def test_separators_of_choice(tmp_path: Path, separator: str) -> None:
    named = {"comma": ",", "TAB": "\t", "pipe": "|"}
    text = frame().to_csv(index=False, sep=named.get(separator, separator))
    assert load(tmp_path / "mine.csv", text, separator=separator).X_train.shape == (N, 3)


def test_options_are_kept_as_given() -> None:
    options = ColumnOptions.of("a", None, ("auto", "b"))
    assert options.drop == ("b",)
    assert options.given == ["label", "drop"]
    assert ColumnOptions.of(None, None, "auto").given == []
