"""Local files: .npz, .npy, idx, and what is said about those that cannot be used."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastlin import datasets
from fastlin.datasets import idx
from fastlin.errors import FastlinError, InputError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (20, 6), dtype=np.uint8)
Y = RNG.integers(0, 3, 20)
X_VAL, Y_VAL = X[:5] // 2, Y[:5]
IMAGES = X.reshape(20, 2, 3)


def assert_same_rows(data: datasets.Dataset, rows: np.ndarray, labels: np.ndarray) -> None:
    """The two parts together are these rows, each with its label, in any order."""
    found_rows = np.vstack([data.X_train, data.X_val])
    found_labels = np.concatenate([data.y_train, data.y_val])
    found = sorted(zip(map(tuple, found_rows.tolist()), found_labels.tolist(), strict=True))
    assert found == sorted(zip(map(tuple, rows.tolist()), labels.tolist(), strict=True))


def assert_both_parts(data: datasets.Dataset) -> None:
    np.testing.assert_array_equal(data.X_train, X)
    np.testing.assert_array_equal(data.y_train, Y)
    np.testing.assert_array_equal(data.X_val, X_VAL)
    np.testing.assert_array_equal(data.y_val, Y_VAL)


def message(path: Path) -> str:
    """Give the one line that loading the file raises; it names the file."""
    with pytest.raises(InputError) as caught:
        datasets.load(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


# .npz


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("letter", ["X", "x"])
def test_npz_with_two_parts(tmp_path: Path, part: str, letter: str) -> None:
    arrays = {f"{letter}_train": X, "y_train": Y, f"{letter}_{part}": X_VAL, f"y_{part}": Y_VAL}
    np.savez(tmp_path / "mine.npz", **arrays)
    data = datasets.load(tmp_path / "mine.npz")
    assert_both_parts(data)
    assert data.name == "mine"
    assert data.image_shape is None
    assert data.source == str(tmp_path / "mine.npz")


@pytest.mark.parametrize("keys", [("X", "y"), ("X_train", "y_train")])
def test_npz_with_one_part_is_split(tmp_path: Path, keys: tuple[str, str]) -> None:
    np.savez_compressed(tmp_path / "mine.npz", **dict(zip(keys, (X, Y), strict=True)))
    data = datasets.load(str(tmp_path / "mine.npz"), validation_fraction=0.3)
    assert (len(data.X_train), len(data.X_val)) == (14, 6)
    assert_same_rows(data, X, Y)
    whole = datasets.load(tmp_path / "mine.npz", validation_fraction=0)
    np.testing.assert_array_equal(whole.X_train, X)
    assert whole.X_val.shape == (0, 6)


def test_a_split_gives_each_part_a_row(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", X=X[:2], y=Y[:2])
    for fraction in (0.01, 0.99):
        data = datasets.load(tmp_path / "two.npz", validation_fraction=fraction)
        assert (len(data.X_train), len(data.X_val)) == (1, 1)


def test_one_row_cannot_be_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", X=X[:1], y=Y[:1])
    with pytest.raises(InputError, match="one row cannot be split"):
        datasets.load(tmp_path / "one.npz")
    assert len(datasets.load(tmp_path / "one.npz", validation_fraction=0).X_train) == 1


def test_images_are_flattened_and_their_shape_is_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", X=IMAGES, y=Y)
    data = datasets.load(tmp_path / "images.npz", validation_fraction=0)
    np.testing.assert_array_equal(data.X_train, X)
    assert data.image_shape == (2, 3)


@pytest.mark.parametrize(
    ("given_type", "expected"),
    [
        ("u1", "u1"),
        ("f4", "f4"),
        ("f8", "f8"),
        ("?", "u1"),
        ("f2", "f2"),
        (">f2", "f2"),
        (">f8", "f8"),
        ("i1", "i1"),
        ("i2", "f4"),
        ("i8", "f4"),
    ],
)
def test_rows_become_one_of_the_types_of_training(
    tmp_path: Path, given_type: str, expected: str
) -> None:
    rows = np.asfortranarray((X > 100).astype(given_type))
    np.savez(tmp_path / "mine.npz", X=rows, y=Y)
    data = datasets.load(tmp_path / "mine.npz", validation_fraction=0)
    assert data.X_train.dtype == np.dtype(expected)
    assert data.X_train.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(data.X_train, rows)


@pytest.mark.parametrize(
    ("value", "expected"), [(2**24, "f4"), (2**24 + 1, "f8"), (-(2**40), "f8")]
)
def test_whole_numbers_keep_their_value(tmp_path: Path, value: int, expected: str) -> None:
    np.savez(tmp_path / "mine.npz", X=[[value], [0]], y=[0, 1])
    data = datasets.load(tmp_path / "mine.npz", validation_fraction=0)
    assert data.X_train.dtype == np.dtype(expected)
    assert int(data.X_train[0, 0]) == value


@pytest.mark.parametrize(
    ("labels", "expected_type"),
    [
        (Y.astype(np.uint8), "i8"),
        (Y.astype(np.float32), "i8"),
        (Y > 0, "i8"),
        (Y[:, None], "i8"),
        (Y + 0.5, "f8"),
        (np.array(["cat", "dog", "cow"])[Y], "U3"),
        (np.array([b"cat", b"dog", b"cow"])[Y], "U3"),
    ],
)
def test_labels_become_int64_or_stay_words(
    tmp_path: Path, labels: np.ndarray, expected_type: str
) -> None:
    np.savez(tmp_path / "mine.npz", X=X, y=labels)
    data = datasets.load(tmp_path / "mine.npz", validation_fraction=0)
    assert data.y_train.dtype == np.dtype(expected_type)
    np.testing.assert_array_equal(data.y_train, labels.ravel().astype(expected_type))


def with_nan(value: float) -> np.ndarray:
    rows = X.astype(np.float64)
    rows[3, 4] = value
    return rows


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"X": with_nan(np.nan), "y": Y}, "nan or infinite, the first one in row 3, column 4"),
        ({"X": with_nan(-np.inf), "y": Y}, "nan or infinite, the first one in row 3, column 4"),
        ({"X": X, "y": with_nan(np.nan)[:, 4]}, "labels are nan or infinite"),
        ({"X": X[:0], "y": Y[:0]}, "there is no data: rows have the shape (0, 6)"),
        ({"X": X[:, :0], "y": Y}, "there is no data: rows have the shape (20, 0)"),
        ({"X": X, "y": Y[:-1]}, "there are 20 rows, but 19 labels"),
        ({"X": X[0], "y": Y}, "rows have the shape (6,); expected (rows, features)"),
        ({"X": X[:, None, None], "y": Y}, "rows have the shape (20, 1, 1, 6)"),
        ({"X": X, "y": np.eye(3)[Y]}, "labels have the shape (20, 3); expected one label"),
        ({"X": X.astype(str), "y": Y}, "rows have the type <U3; expected numbers"),
        ({"X": X * 1j, "y": Y}, "rows have the type complex128; expected numbers"),
        ({"X": X, "y": Y * 1j}, "labels have the type complex128"),
        ({"X": X, "labels": Y}, "has the arrays X, labels; expected X_train and y_train"),
        ({}, "has the arrays (none)"),
        ({"X": X, "y": Y.astype(object)}, "holds Python objects"),
        (
            {"X_train": X, "y_train": Y, "X_val": X_VAL[:, :4], "y_val": Y_VAL},
            "training rows have 6 features, validation rows 4",
        ),
        (
            {"X_train": X, "y_train": Y, "X_val": X_VAL, "y_val": Y},
            "validation part: there are 5 rows, but 20 labels",
        ),
    ],
)
def test_npz_that_cannot_be_used(
    tmp_path: Path, arrays: dict[str, np.ndarray], expected: str
) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    assert expected in message(tmp_path / "mine.npz")


# .npy


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        ("X.npy", "y.npy"),
        ("x.npy", "y.npy"),
        ("X_train.npy", "y_train.npy"),
        ("pixels.npy", "pixels_labels.npy"),
        ("pixels.npy", "pixels-labels.npy"),
    ],
)
def test_npy_with_its_labels_beside_it(tmp_path: Path, rows: str, labels: str) -> None:
    np.save(tmp_path / rows, X)
    np.save(tmp_path / labels, Y)
    assert_same_rows(datasets.load(tmp_path / rows), X, Y)


@pytest.mark.parametrize("part", ["val", "test"])
def test_npy_with_a_validation_pair(tmp_path: Path, part: str) -> None:
    for name, array in {"X_train": X, "y_train": Y, f"X_{part}": X_VAL, f"y_{part}": Y_VAL}.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert_both_parts(datasets.load(tmp_path / "X_train.npy"))


def test_npy_without_labels_says_where_they_are_looked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    assert "expected y.npy or X_labels.npy or X-labels.npy" in message(tmp_path / "X.npy")


def test_npy_with_objects_is_refused_without_reading_them(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save(tmp_path / "y.npy", Y)
    assert "X.npy is damaged, or holds Python objects" in message(tmp_path / "X.npy")


def test_npz_with_the_name_of_an_npy(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", X=X)
    (tmp_path / "mine.npz").rename(tmp_path / "X.npy")
    np.save(tmp_path / "y.npy", Y)
    assert "rename it to X.npz" in message(tmp_path / "X.npy")


# idx


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("give", ["folder", "file"])
def test_idx_files_of_the_standard_names(tmp_path: Path, suffix: str, give: str) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    names = {
        "train-images-idx3-ubyte": IMAGES,
        "train-labels-idx1-ubyte": Y.astype(np.uint8),
        "t10k-images-idx3-ubyte": X_VAL.reshape(5, 2, 3),
        "t10k-labels-idx1-ubyte": Y_VAL.astype(np.uint8),
    }
    for name, array in names.items():
        data = idx.encode(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    path = folder if give == "folder" else folder / f"train-images-idx3-ubyte{suffix}"
    loaded = datasets.load(path)
    assert_both_parts(loaded)
    assert loaded.image_shape == (2, 3)
    assert loaded.name == ("raw" if give == "folder" else "train-images-idx3-ubyte")


def test_idx_without_validation_files_is_split(tmp_path: Path) -> None:
    (tmp_path / "my-images.idx3-ubyte").write_bytes(idx.encode(IMAGES))
    (tmp_path / "my-labels.idx1-ubyte").write_bytes(idx.encode(Y.astype(np.uint8)))
    assert_same_rows(datasets.load(tmp_path / "my-images.idx3-ubyte"), X, Y)


def test_idx_without_labels_says_where_they_are_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx.encode(IMAGES)))
    expected = "expected train-labels-idx1-ubyte.gz or train-labels-idx1-ubyte in"
    assert expected in message(path)


def test_idx_whose_labels_cannot_be_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.idx").write_bytes(idx.encode(IMAGES))
    assert "has 'images' in its name" in message(tmp_path / "mine.idx")


def test_a_folder_without_idx_files(tmp_path: Path) -> None:
    assert "without train-images-idx3-ubyte" in message(tmp_path)


# Any file


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["nothing.npz", "folder/nothing", "mnist/", "./mnist"])
def test_a_missing_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no such file: "):
        datasets.load(name)


def test_an_unknown_suffix(tmp_path: Path) -> None:
    assert "unknown kind of file .png; expected .npz" in message(write(tmp_path / "a.png", "x"))


def test_a_file_may_have_the_name_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert datasets.load("digits").source.endswith("scikit-learn")
    with pytest.raises(InputError, match="is a folder without"):
        datasets.load(Path("digits"))


def npz(path: Path) -> Path:
    np.savez_compressed(path / "a.npz", X=X, y=Y)
    return path / "a.npz"


def npy(path: Path) -> Path:
    np.save(path / "X.npy", X)
    np.save(path / "y.npy", Y)
    return path / "X.npy"


def idx_gz(path: Path) -> Path:
    (path / "a-images").write_bytes(gzip.compress(idx.encode(IMAGES)))
    (path / "a-labels").write_bytes(idx.encode(Y.astype(np.uint8)))
    return path / "a-images"


def csv(path: Path) -> Path:
    return write(path / "a.csv", "".join(f"{','.join(map(str, row))},a\n" for row in X))


@pytest.mark.parametrize("make", [npz, npy, idx_gz])
def test_a_truncated_file_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        message(path)


@pytest.mark.parametrize("make", [npz, npy, idx_gz, csv])
def test_a_damaged_file_never_raises_anything_but_one_line(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    whole = path.read_bytes()
    generator = random.Random(0)
    n_refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        said = ""
        try:
            datasets.load(path)
        except FastlinError as error:
            n_refused += 1
            said = str(error)
        assert "\n" not in said
    assert n_refused > 20, "hardly any of the damage was noticed"
