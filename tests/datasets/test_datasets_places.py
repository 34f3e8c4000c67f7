"""Data files of unusual kinds, places and names; values that other types would change."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_mistake, run
from hostile import refusal

from fastlin import datasets
from fastlin.datasets import idx
from fastlin.datasets.dataset import split
from fastlin.errors import InputError

SECONDS = 60
"""In which what does not hang has ended."""


@pytest.fixture(params=["pipe", "/dev/zero", "/dev/stdin"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The path of something that is neither a file nor a folder."""
    if request.param == "pipe":
        os.mkfifo(tmp_path / "data.csv")
        yield str(tmp_path / "data.csv")
    else:
        yield request.param


@pytest.mark.parametrize("arguments", [["train", "--data"], ["predict"]])
def test_what_is_no_file_is_refused(no_file: str, arguments: list[str]) -> None:
    """Run in a process, since a pipe without a writer would block the tests forever."""
    done = subprocess.run(
        [sys.executable, "-m", "fastlin", *arguments, no_file],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "not a regular file" in done.stderr
    assert done.stderr.count("\n") == 1


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


NO_FILES = {
    "pipe": os.mkfifo,
    "socket": socket_at,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_labels_that_are_no_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.eye(4))
    NO_FILES[kind](Path("y.npy"))
    assert f"not a regular file but a {kind}" in refusal(Path("X.npy"))
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(idx.encode(np.zeros((4, 2, 2), np.uint8)))
    NO_FILES[kind](tmp_path / "train-labels-idx1-ubyte")
    assert "no labels beside it" in refusal(images)


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", ["a.csv", "a.svm", "a.npz", "a.npy", "a-images", "a.csv.gz", "a"])
def test_a_file_that_changes_its_kind(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else takes its place after it was looked at."""
    path = tmp_path / name
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    (tmp_path / "a_labels.npy").touch()
    path.touch()
    before = path.stat()
    path.unlink()
    NO_FILES[kind](Path(name))
    monkeypatch.setattr(Path, "stat", lambda self, **_: before)
    refusal(path)


@pytest.mark.parametrize("name", ["a.csv", "a.svm", "a.npz", "a.npy", "a-images"])
def test_a_file_that_vanishes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    path.touch()
    before = path.stat()
    path.unlink()
    monkeypatch.setattr(Path, "stat", lambda self, **_: before)
    assert "No such file" in refusal(path)


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="this system has no such file")
def test_a_file_that_waits_for_more() -> None:
    refusal(Path("/proc/kmsg"))


def test_a_folder_of_links_to_themselves(tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-images"):
        (tmp_path / name).symlink_to(name)
    assert "without train-images-idx3-ubyte" in refusal(tmp_path)


def test_the_home_of_nobody() -> None:
    with pytest.raises(InputError, match="cannot read '~nobody-of-this-name"):
        datasets.load("~nobody-of-this-name/a.csv")


def test_a_name_that_controls_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31m\u202ered\x9b.csv"
    path.write_text("1,2\n3\n")
    with pytest.raises(InputError) as caught:
        datasets.load(path)
    assert r"\x1b[31m\u202ered\x9b.csv: line 2 has 1 columns" in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "x/" * 3000, "file.csv/x.csv", "loop.csv"])
def test_paths_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.csv").touch()
    Path("loop.csv").symlink_to("loop.csv")
    with pytest.raises(InputError) as caught:
        datasets.load(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(("cannot read ", "no such file"))


def test_both_capitals_and_small_letters(tmp_path: Path) -> None:
    rows, labels = np.eye(4), np.arange(4)
    np.savez(tmp_path / "both.npz", X=rows, x=-rows, y=labels)
    with pytest.raises(InputError, match="has the arrays X and x; expected one of them"):
        datasets.load(tmp_path / "both.npz")


LONG_DOUBLE = np.dtype(np.longdouble)
WIDE = pytest.mark.skipif(np.finfo(LONG_DOUBLE).max <= np.finfo(np.float64).max, reason="no wider")


def saved(folder: Path, rows: np.ndarray, labels: np.ndarray) -> datasets.Dataset:
    np.savez(folder / "mine.npz", X=rows, y=labels)
    return datasets.load(folder / "mine.npz", validation_fraction=0)


def test_unsigned_labels_keep_their_value(tmp_path: Path) -> None:
    labels = np.array([2**63 + 5, 2**63 + 6] * 5, np.uint64)
    assert saved(tmp_path, np.eye(10), labels).y_train.tolist() == labels.tolist()
    assert saved(tmp_path, np.eye(10), labels - np.uint64(2**63)).y_train.dtype == np.int64


def test_whole_labels_beyond_int64_stay_floats(tmp_path: Path) -> None:
    labels = np.array([1e300, -1e300, 2.0**63] * 3)
    assert saved(tmp_path, np.eye(9), labels).y_train.tolist() == labels.tolist()


def test_labels_as_bytes(tmp_path: Path) -> None:
    labels = np.array(["grün".encode(), b"rot"] * 4)
    assert saved(tmp_path, np.eye(8), labels).y_train.tolist() == ["grün", "rot"] * 4
    with pytest.raises(InputError, match="bytes, but not UTF-8"):
        saved(tmp_path, np.eye(8), np.array([b"\xff", b"a"] * 4))


@WIDE
def test_long_doubles_beyond_float64(tmp_path: Path) -> None:
    rows = np.eye(4, dtype=LONG_DOUBLE)
    assert saved(tmp_path, rows, np.arange(4)).X_train.dtype == np.float64
    rows[2, 2] = LONG_DOUBLE.type("1e4000")
    with pytest.raises(InputError, match="1 of the values are nan or infinite, the first one in"):
        saved(tmp_path, rows, np.arange(4))
    close = 1 + np.array([0, np.finfo(LONG_DOUBLE).eps] * 2, LONG_DOUBLE)
    with pytest.raises(InputError, match="are the same in float64"):
        saved(tmp_path, np.eye(4), close)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("X.npy", b"no array")
        archive.writestr("y.npy", b"no array")
    with pytest.raises(InputError, match="is not an array"):
        datasets.load(tmp_path / "mine.npz")


# idx

PLACES = {
    "dots": "{0}-{1}.idx{2}-ubyte",
    "nested": "{0}-{1}-idx{2}-ubyte/{0}-{1}-idx{2}-ubyte",
    "bare": "{0}-{1}",
    "dots, compressed": "{0}-{1}.idx{2}-ubyte.gz",
    "a name before": "emnist-digits-{0}-{1}-idx{2}-ubyte",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("test", ["t10k", "test"])
@pytest.mark.parametrize("give", ["folder", "file"])
def test_idx_files_of_other_names(tmp_path: Path, place: str, test: str, give: str) -> None:
    rng = np.random.default_rng(0)
    pattern = PLACES[place]
    images = {part: rng.integers(0, 256, (30, 5, 4), dtype=np.uint8) for part in ("train", test)}
    labels = (np.arange(30) % 10).astype(np.uint8)
    for part, values in images.items():
        for what, dimensions, array in (("images", 3, values), ("labels", 1, labels)):
            path = tmp_path / pattern.format(part, what, dimensions)
            path.parent.mkdir(exist_ok=True)
            content = idx.encode(array)
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    given = tmp_path if give == "folder" else tmp_path / pattern.format("train", "images", 3)
    data = datasets.load(given)
    assert data.image_shape == (5, 4)
    np.testing.assert_array_equal(data.X_train, images["train"].reshape(30, 20))
    np.testing.assert_array_equal(data.X_val, images[test].reshape(30, 20))


def test_a_folder_of_several_collections(tmp_path: Path) -> None:
    for name in ("letters", "digits"):
        (tmp_path / f"emnist-{name}-train-images-idx3-ubyte").touch()
    with pytest.raises(InputError, match="2 files of training images; give the path of one"):
        datasets.load(tmp_path)


# the split


def test_a_split_keeps_each_class_in_training() -> None:
    rng = np.random.default_rng(0)
    for seed in range(30):
        y = np.concatenate([np.arange(25), rng.integers(100, 103, 75)])
        X = np.arange(100)[:, np.newaxis]
        X_train, y_train, X_val, y_val = split(X, y, 0.3, seed)
        assert set(y_train) == set(y)
        assert len(y_val) == 30
        assert sorted([*X_train[:, 0], *X_val[:, 0]]) == list(range(100))
        np.testing.assert_array_equal(y[X_val[:, 0]], y_val)


def test_a_split_without_rare_classes_is_that_of_its_seed() -> None:
    X, y = np.arange(100)[:, np.newaxis], np.arange(100) % 2
    order = np.random.default_rng(3).permutation(100)
    np.testing.assert_array_equal(split(X, y, 0.2, 3)[2][:, 0], order[:20])


def test_a_split_where_every_class_is_rare_keeps_its_sizes() -> None:
    X, y = np.eye(5), np.arange(5)
    assert [len(part) for part in split(X, y, 0.4, 0)] == [3, 3, 2, 2]


def test_a_model_is_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.npz")
    assert_mistake(run("evaluate", tmp_path / "m.npz"), "not a regular file")
