"""Model files that were altered, including their checksums: one line reports every fault."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from model_files import FORMS, fields_of, npy, write_archive, write_model
from peak_memory import peak_of

from fastlin import LogisticRegression
from fastlin.advice import FastlinWarning
from fastlin.errors import FastlinError, ModelFileError

X = np.random.default_rng(0).standard_normal((40, 3))
Y = np.arange(40) % 2

VALUES = [
    *(None, False, True, 0, 1, 2, -1, 2**31, 2**63, 10**40, -(10**40)),
    *(0.0, 0.5, -0.5, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")),
    *("", "x", "auto", "sgd", "é\0", [], [1], ["a"], [[]], [None], (), (1, 2), (0, 0.5)),
    *({}, {"a": 1}, {1: 2}, {"step": []}, {"a": {"b": [{}]}}),
    *(np.array(5), np.array([]), np.array([1.0]), np.array(["a"]), np.zeros((2, 2)), np.ones(3)),
    *(np.array([5e-324, np.nan, np.inf]), np.array([2**64 - 1], np.uint64), np.array([True])),
]
"""What any field may hold."""

ARRAYS = [
    *(np.array(0.0), np.zeros(0), np.zeros((0, 0)), np.zeros((1, 0)), np.zeros((1, 4))),
    *(np.zeros((2, 3)), np.zeros((1, 1, 3)), np.full((1, 3), 1e308), np.full((1, 3), 5e-324)),
    *(
        np.full(shape, value)
        for shape in (1, 2, 3, (1, 3))
        for value in (np.nan, np.inf, 0.0, -1.0)
    ),
    *(np.ones(shape, dtype) for shape in (2, 3) for dtype in ("f2", "f4", "i1", "u8", "?", "U3")),
    *(np.full(3, 1e308), np.full(3, 5e-324), np.full(1, -1e308)),
    *(np.array(["a", "b"]), np.array(["b", "a"]), np.array(["a", "a"]), np.array([0.5, np.nan])),
]
"""What any array may be."""


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the content of a file in which every field is in use."""
    path = tmp_path_factory.mktemp("model") / "m"
    options = {"momentum": 0.5, "average": True, "input_scale": "standard", "random_state": 0}
    model = LogisticRegression(max_epochs=2, backend="numpy", early_stopping=True, **options)
    model.fit(X, Y)
    model._data_layout = {"names": ["a", "b", "c", "y"], "n_columns": 4, "label": 3}
    model.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    model.save(path)
    return fields_of(path)


def places(value: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    """Give the names that lead to each field."""
    for name, inner in value.items():
        yield (*above, name)
        if isinstance(inner, dict):
            yield from places(inner, *above, name)


def altered(value: dict[str, Any], place: tuple[str, ...], new: Any) -> dict[str, Any]:
    """Return a copy with another value at a place, or none if the new value is ``...``."""
    name, *rest = place
    changed = altered(value[name], tuple(rest), new) if rest else new
    return {key: old for key, old in (value | {name: changed}).items() if old is not ...}


def assert_refused_or_right(path: Path) -> bool:
    """Load a file; whether there is a model, with which one can do whatever one does with one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FastlinWarning)
        try:
            model = LogisticRegression.load(path)
        except ModelFileError as error:
            text = str(error).replace(str(path.parent), "")
            assert len(text.splitlines()) == 1
            assert 20 < len(text) <= 300
            return False
        model.save(path)
        again = LogisticRegression.load(path).set_params(backend="numpy", n_threads=1, verbose=0)
        vars(again).pop("feature_names_in_", None)
        with suppress(FastlinError):
            assert np.isfinite(again.predict_proba(X)).all()
            again.partial_fit(X, again.classes_[Y])
        return True


@pytest.mark.parametrize("form", FORMS)
def test_any_field_can_hold_anything(
    tmp_path: Path, fields: dict[str, dict[str, Any]], form: str
) -> None:
    write_model(tmp_path / "m", form, **fields)
    assert assert_refused_or_right(tmp_path / "m")
    n_refused = n_right = 0
    for part in ("params", "metadata"):
        found = list(places(fields[part]))
        assert len(found) > 25
        for place in found:
            for value in (..., *VALUES):
                write_model(tmp_path / "m", form, **altered(fields, (part, *place), value))
                try:
                    is_right = assert_refused_or_right(tmp_path / "m")
                except BaseException:
                    print(f"{form}: {part} {'/'.join(place)} = {value!r}")
                    raise
                n_right += is_right
                n_refused += not is_right
    assert n_refused > n_right > 100


@pytest.mark.parametrize("form", FORMS)
def test_any_array_can_be_anything(
    tmp_path: Path, fields: dict[str, dict[str, Any]], form: str
) -> None:
    n_right = 0
    for name in [*fields["arrays"], "another"]:
        for value in (..., *ARRAYS):
            write_model(tmp_path / "m", form, **altered(fields, ("arrays", name), value))
            try:
                n_right += assert_refused_or_right(tmp_path / "m")
            except BaseException:
                print(f"{form}: {name} = {value!r}")
                raise
    assert n_right > 10


# ------------------------------------------------------------------ archives


def members_of(fields: dict[str, dict[str, Any]], folder: Path) -> dict[str, bytes]:
    write_model(folder / "good", "npz", **fields)
    with zipfile.ZipFile(folder / "good") as archive:
        return {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}


def npy_header(shape: str, descr: str = "'<f8'", order: str = "False") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        npy(np.zeros((1, 3))).replace(b"}", b"("),
        npy(np.zeros((1, 3))).replace(b"'descr'", b"'d\x00scr'"),
        *(npy_header(shape) for shape in ("(1000000000000,)", "(-1,)", f"({10**30},)", "(1, 3)")),
        *(npy_header(shape) + bytes(24) for shape in ("(3)", "3", "(3.0,)", "[3]", "(1, 2)", "()")),
        *(npy_header(shape) + bytes(24) for shape in (f"(0, {10**18})", "(" * 500, "(1,) * 3")),
        *(
            npy_header("(3,)", descr) + bytes(24)
            for descr in ("'|O'", "'<M8[s]'", "'<c8'", "'<V8'")
        ),
        *(npy_header("(3,)", descr) + bytes(24) for descr in ("'<f9'", "'<U0'", "[('a', '<f8')]")),
        npy_header("(3,)", f"'<U{10**9}'") + bytes(24),
        npy(np.ones((1, 3))).replace(b"   \n", b"\n"),  # its length is given as before
        npy_header("(3,)", "'<f8'", "__import__('os').abort()") + bytes(24),
        *(b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x03\x00\xff\xff\xff\xff{"),
    ],
)
@pytest.mark.parametrize("name", ["coef_", "classes_", "header"])
def test_arrays_whose_header_is_wrong(
    tmp_path: Path, fields: dict[str, dict[str, Any]], name: str, content: bytes
) -> None:
    write_archive(tmp_path / "m", {**members_of(fields, tmp_path), name: content})
    assert not assert_refused_or_right(tmp_path / "m")


def test_members_of_other_kinds(tmp_path: Path, fields: dict[str, dict[str, Any]]) -> None:
    members, path = members_of(fields, tmp_path), tmp_path / "m"
    for form in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(path, "w", form) as archive:
            for name, content in members.items():
                archive.writestr(f"{name}.npy", content)
        assert not assert_refused_or_right(path)
    for name in ("coef_.npy", "coef_", "a/coef_.npy", "../coef_.npy", "é", "x" * 9999):
        write_archive(path, members)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile, that a name occurs twice
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(name, members["coef_"])
        assert not assert_refused_or_right(path)
    write_archive(path, members)
    whole = path.read_bytes()
    for content in (b"PK", whole + b"\0", whole[:-22], whole.replace(b"PK\x01\x02", b"PK\x01\x03")):
        path.write_bytes(content)
        assert not assert_refused_or_right(path)
    # A member that is said to be encrypted.
    place = whole.index(b"PK\x01\x02")
    path.write_bytes(whole[: place + 8] + b"\x01" + whole[place + 9 :])
    assert not assert_refused_or_right(path)


def bombs(folder: Path, fields: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Path]]:
    """Give archives that would take much more memory than they have bytes."""
    members = members_of(fields, folder)
    text = members["header"][members["header"].index(b"\n") + 1 :]

    def header(added: bytes) -> bytes:
        return npy(np.array(text.replace(b'"history":', b'"added": [' + added + b'0], "history":')))

    for name, changes in {
        "zeros": {"coef_": npy(np.zeros((1, 10**8)))},
        "two": {name: npy(np.zeros(3 * 10**6)) for name in ("coef_", "input_shift")},
        "names": {"feature_names_in_": npy(np.zeros(2 * 10**7, "U1"))},
        "spaces": {"header": npy(np.array(b" " * 10**8))},
        "lists": {"header": header(b"[]," * 10**6)},
        "dicts": {"header": header(b'{"":0},' * 10**6)},
        "strings": {"header": header(b'"ab",' * 10**6)},
        "numbers": {"header": header(b"300," * 10**6)},
        "nested": {"header": header(b"[" * 10**6)},
        "digits": {"header": header(b"1" * 10**6 + b",")},
    }.items():
        write_archive(folder / name, members | changes)
        yield name, folder / name
    many = folder / "many"
    with zipfile.ZipFile(many, "w") as archive:
        for place in range(60_000):
            archive.writestr(f"{place:x}", b"")
    yield "many", many
    # A second table of contents, which 64-bit sizes lead to.
    whole = many.read_bytes()
    with zipfile.ZipFile(folder / "far", "w") as archive:
        archive.writestr("header.npy", b"")
    end = (folder / "far").read_bytes()[-22:]
    (folder / "far").write_bytes(
        whole[:-22] + whole[-22:].replace(b"PK\5\6", b"PK\6\6") + b"PK\6\7" + bytes(16) + end
    )
    yield "far", folder / "far"


def test_memory_is_bounded(tmp_path: Path, fields: dict[str, dict[str, Any]]) -> None:
    """Twice the size of the file and 32 MiB, and what Python itself takes meanwhile."""
    for name, path in bombs(tmp_path, fields):
        before = "from fastlin.results.model_file import load_model"
        added, seconds, outcome = peak_of(before, f"load_model({str(path)!r})")
        size = path.stat().st_size
        print(f"{name}: {size / 2**20:.2f} MiB take {added / 2**20:.1f} MiB, {seconds:.2f} s")
        assert outcome.startswith("ModelFileError"), (name, outcome)
        assert added < 2 * size + 48 * 2**20, name


def test_what_fits_is_read(tmp_path: Path) -> None:
    """An archive that takes 32 MiB more than itself is one that fastlin may have written."""
    rows = np.random.default_rng(0).standard_normal((40, 200_000)).astype(np.float32)
    model = LogisticRegression(max_epochs=1, backend="numpy", tol=None).fit(rows, Y)
    model.coef_ = np.zeros_like(model.coef_)
    model.save(tmp_path / "m")
    write_model(tmp_path / "m", "npz", **fields_of(tmp_path / "m"))
    assert not LogisticRegression.load(tmp_path / "m").coef_.any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "layout",
    [
        5,
        {"names": 5},
        {"names": None, "n_columns": 2, "label": 9, "features": [0]},
        {"names": ["a"], "n_columns": 4, "label": 3, "features": [0, 1, 2]},
        {"names": None, "n_columns": 4, "label": 3, "features": [0, 1, 2**40]},
        {"names": None, "n_columns": "4", "label": None, "features": "abc"},
        {"names": np.array(5), "n_columns": 4, "label": 3, "features": np.array([[0]])},
        {"first_index": "x"},
    ],
)
def test_columns_that_cannot_be_are_not_heeded(
    tmp_path: Path, fields: dict[str, dict[str, Any]], form: str, layout: Any
) -> None:
    """They are a convenience of the command line, which goes by the file then."""
    nameless = altered(fields, ("arrays", "feature_names_in_"), ...)
    write_model(tmp_path / "m", form, **altered(nameless, ("metadata", "data_layout"), layout))
    for name, lines in (
        ("a.csv", [f"{a},{b},{c},{y}" for (a, b, c), y in zip(X, Y, strict=True)]),
        ("a.svm", [f"{y} 1:{a} 2:{b} 3:{c}" for (a, b, c), y in zip(X, Y, strict=True)]),
    ):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        done = run("evaluate", tmp_path / "m", "--data", tmp_path / name, "--part", "all")
        assert done.code == 0, done.err
