"""Model files that were altered, including their checksums: one line reports every fault."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlin import LogisticRegression
from fastlin.errors import ModelFileError

X = np.random.default_rng(0).standard_normal((40, 3))
Y = np.arange(40) % 2


@pytest.fixture
def members(tmp_path: Path) -> dict[str, bytes]:
    LogisticRegression(max_epochs=2, backend="numpy").fit(X, Y).save(tmp_path / "good.npz")
    with zipfile.ZipFile(tmp_path / "good.npz") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array))
    return stream.getvalue()


def npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    fields = {"shape": shape, "fortran_order": False, "descr": "<f8"}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def assert_refused(folder: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "m.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFileError) as caught:
        LogisticRegression.load(folder / "m.npz")
    text = str(caught.value).replace(str(folder), "")
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize(
    "content",
    [
        npy(np.zeros((1, 3))).replace(b"}", b"("),
        npy(np.zeros((1, 3))).replace(b"'descr'", b"'d\x00scr'"),
        npy_header((10**12,)),
        npy_header((10**30,)),
        npy_header((-1,)),
        b"",
        b"\x93NUMPY",
    ],
)
def test_arrays_whose_header_is_wrong(
    tmp_path: Path, members: dict[str, bytes], content: bytes
) -> None:
    assert_refused(tmp_path, {**members, "coef_.npy": content})


def alter(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for name in parents:
            header = header[name]
        header[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("params/l2", {"__tuple__": 5}),
        ("params/l2", {"__items__": [[[1], 2]]}),
        ("params/l2", {"__items__": [1, 2]}),
        ("metadata/learning_rate_", 10**400),
        ("metadata/learning_rate_", [1]),
        ("metadata/history/train_loss", [10**400]),
        ("metadata/history/train_loss", {"a": 1}),
        ("metadata/position", [10**400, "x"]),
        ("metadata/history", {"__tuple__": []}),
    ],
)
def test_values_of_other_kinds(
    tmp_path: Path, members: dict[str, bytes], path: str, value: Any
) -> None:
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).item())
    alter(path, value)(header)
    forged = npy(np.array(json.dumps(header).encode()))
    assert_refused(tmp_path, {**members, "header.npy": forged})


def test_a_header_nested_without_end(tmp_path: Path, members: dict[str, bytes]) -> None:
    nested = npy(np.array(b'{"a":' * 50_000 + b"1" + b"}" * 50_000))
    assert_refused(tmp_path, {**members, "header.npy": nested})


@pytest.mark.parametrize(
    "layout",
    [
        5,
        {"names": 5},
        {"names": None, "n_columns": 2, "label": 9, "features": [0]},
        {"names": ["a"], "n_columns": 4, "label": 3, "features": [0, 1, 2]},
        {"names": None, "n_columns": 4, "label": 3, "features": [0, 1, 2**40]},
        {"names": None, "n_columns": "4", "label": None, "features": "abc"},
        {"first_index": "x"},
    ],
)
def test_columns_that_cannot_be_are_not_heeded(
    tmp_path: Path, members: dict[str, bytes], layout: Any
) -> None:
    """They are a convenience of the command line, which goes by the file then."""
    from command_line import run

    header = json.loads(np.load(io.BytesIO(members["header.npy"])).item())
    header["metadata"]["data_layout"] = layout
    forged = npy(np.array(json.dumps(header).encode()))
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        for name, content in {**members, "header.npy": forged}.items():
            archive.writestr(name, content)
    for name, lines in (
        ("a.csv", [f"{a},{b},{c},{y}" for (a, b, c), y in zip(X, Y, strict=True)]),
        ("a.svm", [f"{y} 1:{a} 2:{b} 3:{c}" for (a, b, c), y in zip(X, Y, strict=True)]),
    ):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        done = run("evaluate", tmp_path / "m.npz", "--data", tmp_path / name, "--part", "all")
        assert done.code == 0, done.err
