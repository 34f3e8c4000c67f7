"""Rows that are not in memory: the same results as in memory, and errors that name file and row."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processes import run_python, thorough
from sklearn.datasets import load_digits

from fastlin import LogisticRegression, StoredRows, open_rows
from fastlin.advice import OrderWarning
from fastlin.errors import InputError, OutputError
from fastlin.rows.dense import DenseRows
from fastlin.rows.stored import parted
from fastlin.solvers.windows import Plan, batches_of, unevenness
from fastlin.storage.spilling import Spill

X_ALL, Y_ALL = load_digits(return_X_y=True)


@pytest.fixture(autouse=True)
def own_spill_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "spill"
    monkeypatch.setenv("FASTLIN_SPILL_DIR", str(folder))
    return folder


def digits(dtype: str = "float32") -> tuple[Any, Any]:
    return X_ALL.astype(dtype), Y_ALL


def saved(folder: Path, X: Any, y: Any, cuts: list[int]) -> tuple[Path, Path]:
    """Save rows and labels as shards; return their folders."""
    folders = folder / "rows", folder / "labels"
    edges = [0, *cuts, len(X)]
    for where, values in zip(folders, (X, y), strict=True):
        where.mkdir(parents=True)
        for part, (first, stop) in enumerate(itertools.pairwise(edges)):
            np.save(where / f"part-{part}.npy", values[first:stop])
    return folders


CUTS = {
    "one file": [],
    "odd files": [1, 1, 300, 1000, 1001],
    "single rows": [*range(1, 40)],
}


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
def test_lbfgs_has_the_bits_of_rows_in_memory(tmp_path: Path, backend: str, dtype: str) -> None:
    X, y = digits(dtype)
    options = {"solver": "lbfgs", "backend": backend, "tol": 1e-5}
    in_memory = LogisticRegression(**options).fit(X, y)
    for name, cuts in CUTS.items():
        rows, labels = saved(tmp_path / name, X, y, cuts)
        stored = open_rows(rows, labels=str(labels))
        assert stored.shape == X.shape
        model = LogisticRegression(**options).fit(stored, stored.labels)
        assert model.coef_.tobytes() == in_memory.coef_.tobytes(), name
        assert model.intercept_.tobytes() == in_memory.intercept_.tobytes()
        np.testing.assert_array_equal(model.predict(stored), in_memory.predict(X))
        np.testing.assert_array_equal(model.predict_proba(stored), in_memory.predict_proba(X))
        assert model.score(stored, y) == in_memory.score(X, y)


@pytest.mark.parametrize("scale", [None, "standard", "minmax", (3.0, 0.2)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_scaled_rows_have_the_bits_of_rows_in_memory(scale: Any, offset: float) -> None:
    X, y = X_ALL[:, 10:30] + offset, Y_ALL % 3
    options = {"solver": "lbfgs", "input_scale": scale, "max_epochs": 5, "tol": None}
    in_memory = LogisticRegression(**options).fit(X, y)
    model = LogisticRegression(**options).fit(open_rows([X[:700], X[700:]]), y)
    assert model.coef_.tobytes() == in_memory.coef_.tobytes()
    assert model.intercept_.tobytes() == in_memory.intercept_.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
def test_rows_of_one_window_are_shuffled_as_well_as_in_memory(backend: str, dtype: str) -> None:
    X, y = digits(dtype)
    options = {"backend": backend, "max_epochs": 15, "random_state": 0, "input_scale": (0, 1 / 16)}
    for arrays in ([X], [X[:1000], X[1000:1001], X[1001:]]):
        model = LogisticRegression(**options).fit(open_rows(arrays), y)
        in_memory = LogisticRegression(**options).fit(X, y)
        assert model.score(X, y) == pytest.approx(in_memory.score(X, y), abs=0.01)
        assert len(model.history_.train_loss) == len(in_memory.history_.train_loss)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
def test_descent_in_the_order_of_the_files_has_the_bits_of_rows_in_memory(
    backend: str, dtype: str
) -> None:
    """Labels and weights of a batch are those of its rows, wherever the files end."""
    X, y = digits(dtype)
    weight = np.random.default_rng(0).exponential(size=len(y))
    options: dict[str, Any] = {"shuffle": False, "max_epochs": 3, "tol": None, "momentum": 0.5}
    options |= {"backend": backend, "learning_rate": 0.003, "average": True, "batch_size": 50}
    for some in (None, weight):
        in_memory = LogisticRegression(**options).fit(X, y, sample_weight=some)
        for cuts in CUTS.values():
            rows = open_rows(np.split(X, cuts))
            model = LogisticRegression(**options).fit(rows, y, sample_weight=some)
            assert model.coef_.tobytes() == in_memory.coef_.tobytes(), cuts
            np.testing.assert_array_equal(model.history_.train_loss, in_memory.history_.train_loss)


def test_the_same_seed_gives_the_same_bits() -> None:
    X, y = digits()
    rows = open_rows([X[:1000], X[1000:]])
    one, other = (
        LogisticRegression(max_epochs=3, random_state=7, n_threads=n).fit(rows, y) for n in (1, 2)
    )
    assert one.coef_.tobytes() == other.coef_.tobytes()
    third = LogisticRegression(max_epochs=3, random_state=8).fit(rows, y)
    assert third.coef_.tobytes() != one.coef_.tobytes()


def test_early_stopping_and_weights_and_checkpoints(tmp_path: Path) -> None:
    X, y = digits()
    rows = open_rows([X[:600], X[600:]])
    weight = np.where(np.arange(len(y)) % 3 == 0, 0.0, 1.5)
    options = {"early_stopping": True, "random_state": 0, "max_epochs": 40, "backend": "c"}
    whole = LogisticRegression(**options).fit(rows, y, sample_weight=weight)
    assert whole.score(X, y) > 0.9

    class Stop(Exception):  # noqa: N818  # it is no error
        pass

    def stop(progress: Any) -> None:
        if progress.epoch == 4:
            raise Stop

    path = tmp_path / "run"
    with pytest.raises(Stop):
        LogisticRegression(**options, callbacks=[stop]).fit(
            rows, y, sample_weight=weight, checkpoint=path, checkpoint_every=0
        )
    again = LogisticRegression(**options).fit(rows, y, sample_weight=weight, checkpoint=path)
    assert again.coef_.tobytes() == whole.coef_.tobytes()
    np.testing.assert_array_equal(again.history_.val_loss, whole.history_.val_loss)


def test_a_run_is_kept_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlin.solvers import windows

    monkeypatch.setattr(windows, "BYTES_OF_A_BLOCK", 2**9)
    monkeypatch.setattr(windows, "BLOCKS_OF_A_WINDOW", 4)
    X, y = digits()
    rows, calls = open_rows([X[:1500], X[1500:]]), []
    options = {"max_epochs": 3, "batch_size": 5, "random_state": 0, "momentum": 0.5, "backend": "c"}

    class Stop(Exception):  # noqa: N818  # it is no error
        pass

    class Callback:
        between_checks = True

        def __call__(self, progress: Any) -> None:
            calls.append(progress)
            if len(calls) == stop_at:
                raise Stop

    stop_at = 10**9
    whole = LogisticRegression(**options, callbacks=[Callback()]).fit(rows, y)
    shares = [each.share_of_epoch for each in calls]
    assert len(shares) > 300
    assert sum(share == 1 for share in shares) == 3
    for stop_at in (3, 101, len(calls) - 4):
        path = tmp_path / str(stop_at)
        calls.clear()
        with pytest.raises(Stop):
            LogisticRegression(**options, callbacks=[Callback()]).fit(
                rows, y, checkpoint=path, checkpoint_every=0
            )
        again = LogisticRegression(**options).fit(rows, y, checkpoint=path)
        assert again.coef_.tobytes() == whole.coef_.tobytes()
        np.testing.assert_array_equal(again.history_.train_loss, whole.history_.train_loss)


# ------------------------------------------------------------------ orders


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("stretches", "batch_size"),
    [
        ([(0, 1000)], 7),
        ([(0, 3), (3, 4), (4, 500), (500, 501), (501, 1000)], 16),
        ([(i, i + 1) for i in range(100)], 8),
        ([(0, 10)], 64),
    ],
)
def test_every_row_is_in_one_batch(
    stretches: list[tuple[int, int]], batch_size: int, shuffle: bool
) -> None:
    plan = Plan(stretches, 2**18)
    generator = np.random.default_rng(0) if shuffle else None
    windows = [rows for rows, _ in batches_of(plan.windows(generator), batch_size, generator)]
    assert all(len(rows) % batch_size == 0 for rows in windows[:-1])
    rows = np.concatenate(windows)
    np.testing.assert_array_equal(np.sort(rows), np.arange(stretches[-1][1]))
    assert shuffle != np.array_equal(rows, np.arange(len(rows)))


def test_the_ends_of_windows_are_in_few_batches_of_their_own() -> None:
    windows = [[(first, first + 100)] for first in range(0, 5000, 100)]
    generator = np.random.default_rng(0)
    found = [rows for rows, _ in batches_of(iter(windows), 64, generator, rows_kept=600)]
    assert [len(rows) for rows in found].count(64) == 50
    ends = [rows for rows in found if len(rows) != 64]
    assert [len(rows) for rows in ends] == [576, 576, 576, 72]
    assert len(np.unique(ends[0] // 100)) == 16  # of 36 rows each
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(5000))


def test_a_window_reads_from_few_places() -> None:
    plan = Plan([(0, 10_000)], 2**16)
    for window in plan.windows(np.random.default_rng(0)):
        assert len(window) <= 32
    first = next(plan.windows(np.random.default_rng(0)))
    starts = np.sort([start for start, _ in first])
    assert np.diff(starts).max() > 64  # from all over the file


def test_a_fit_warns_of_labels_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlin.solvers import windows

    monkeypatch.setattr(windows, "BYTES_OF_A_BLOCK", 2**11)
    monkeypatch.setattr(windows, "BLOCKS_OF_A_WINDOW", 4)
    order = np.argsort(Y_ALL, kind="stable")
    rows = open_rows([X_ALL[order]])
    model = LogisticRegression(max_epochs=1)
    with pytest.warns(OrderWarning, match="the rows lie in the order of their labels"):
        model.fit(rows, Y_ALL[order])
    model.fit(open_rows([X_ALL]), Y_ALL)  # warnings are errors here


def test_labels_in_order_are_noticed() -> None:
    plan = Plan([(0, 100_000)], 2**13)
    labels = np.repeat(np.arange(10), 10_000).astype(np.int32)
    assert unevenness(plan, labels, 10) > 0.1
    assert unevenness(plan, np.random.default_rng(0).permutation(labels), 10) < 0.02


# ------------------------------------------------------------------ sources


def table(X: Any, y: Any, **more: Any) -> pa.Table:
    columns = {f"f{place}": X[:, place] for place in range(X.shape[1])}
    return pa.table({**columns, "digit": y, **more})


@pytest.mark.parametrize("words", [False, True])
def test_parquet_files(tmp_path: Path, words: bool, own_spill_folder: Path) -> None:
    X, y = digits("uint8")
    y = np.array([f"number {label}" for label in y]) if words else y
    for part, place in enumerate(range(0, len(X), 500)):
        one = table(
            X[place : place + 500], y[place : place + 500], row=np.arange(len(X))[place:][:500]
        )
        pq.write_table(one, tmp_path / f"part-{part}.parquet", row_group_size=77)
    told: list[str] = []
    rows = open_rows(tmp_path / "*.parquet", label="digit", drop=["row"], said=told.append)
    assert rows.dtype == np.uint8
    assert rows.feature_names == [f"f{place}" for place in range(64)]
    np.testing.assert_array_equal(rows[:], X)
    np.testing.assert_array_equal(rows.labels, y)
    (spilled,) = own_spill_folder.iterdir()
    assert str(spilled) in told[0]
    assert "0.1 MB" in told[0]
    model = LogisticRegression(solver="lbfgs", max_epochs=5, tol=None).fit(rows, rows.labels)
    assert list(model.feature_names_in_) == rows.feature_names
    assert model.score(rows, rows.labels) > 0.9
    rows.close()
    assert not list(own_spill_folder.iterdir())
    with pytest.raises(InputError, match="have been closed"):
        model.predict(rows)


@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
@pytest.mark.parametrize("weights", ["float32", "float64"])
@pytest.mark.parametrize(("stored", "far"), [("float32", 0), ("float64", 0), ("float64", 1000)])
def test_rows_of_another_type_than_the_weights_have_the_bits_of_memory(
    tmp_path: Path, stored: str, far: float, weights: str, backend: str, monkeypatch: Any
) -> None:
    """Blocks that lie in two files, or are converted or shifted, follow one another in memory."""
    monkeypatch.setattr(DenseRows, "rows_of_a_block", lambda rows, dtype: 256)
    generator = np.random.default_rng(0)
    X = (20 * generator.standard_normal((900, 12)) + far).astype(stored)
    y = generator.integers(0, 3, 900)
    for part, (first, stop) in enumerate([(0, 300), (300, 301), (301, 700), (700, 900)]):
        np.save(tmp_path / f"{part}.npy", X[first:stop])
    rows = open_rows(tmp_path / "*.npy")
    options: dict[str, Any] = {"solver": "lbfgs", "backend": backend, "dtype": weights}
    whole = LogisticRegression(**options, max_epochs=8, tol=None).fit(X, y)
    found = LogisticRegression(**options, max_epochs=8, tol=None).fit(rows, y)
    assert found.coef_.tobytes() == whole.coef_.tobytes()
    assert found.history_.gap.tobytes() == whole.history_.gap.tobytes()
    assert found.predict_proba(rows).tobytes() == whole.predict_proba(X).tobytes()


def test_lists_in_parquet_are_features(tmp_path: Path) -> None:
    X, y = digits()
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 64)
    loose = pa.array(X[:, :3].tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"a": lists, "b": loose, "y": y}), tmp_path / "x.parquet")
    rows = open_rows(tmp_path / "x.parquet", label="y")
    np.testing.assert_array_equal(rows[:], np.hstack([X, X[:, :3]]))
    assert rows.feature_names[63:66] == ["a_63", "b_0", "b_1"]


def test_parquet_files_that_would_fill_the_disk_are_refused_at_once(
    tmp_path: Path, own_spill_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = digits()
    for name in "ab":
        pq.write_table(table(X, y), tmp_path / f"{name}.parquet")
    needed = 2 * X.nbytes
    free = shutil.disk_usage(tmp_path)._replace(free=needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert len(open_rows(tmp_path / "*.parquet", label="digit")) == 2 * len(X)
    free = free._replace(free=needed - 1)
    said = rf"a.parquet and the others hold {2 * len(X)} rows, which take .* by spill="
    monkeypatch.setattr(Spill, "append", None)
    with pytest.raises(InputError, match=said):
        open_rows(tmp_path / "*.parquet", label="digit")
    assert not list(own_spill_folder.iterdir())


def test_parquet_files_that_are_no_rows_are_refused(tmp_path: Path, own_spill_folder: Path) -> None:
    X, y = digits()
    for name in ("empty-0", "empty-1"):
        pq.write_table(table(X[:0], y[:0]), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=r"empty-0.parquet holds no rows"):
        open_rows(tmp_path / "empty-0.parquet", label="digit")
    with pytest.raises(InputError, match=r"empty-0.parquet and the others hold no rows"):
        open_rows(tmp_path / "empty-*.parquet")
    words = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xa9\xff")
    )
    columns = {"x": [1, 2], "y": words}
    pq.write_table(pa.table(columns), tmp_path / "words.parquet", use_dictionary=False)
    with pytest.raises(
        InputError, match=r"words.parquet cannot be read as Parquet \('utf-8' codec"
    ):
        open_rows(tmp_path / "words.parquet", label="y")
    assert not list(own_spill_folder.iterdir())


def test_a_function_that_yields_batches(own_spill_folder: Path) -> None:
    X, y = digits()

    def read() -> Iterator[Any]:
        for first in range(0, len(X), 100):
            yield X[first : first + 100], y[first : first + 100]

    with open_rows(read) as rows:
        np.testing.assert_array_equal(rows[:], X)
        np.testing.assert_array_equal(rows.labels, y)
        assert list(own_spill_folder.iterdir())
    assert not list(own_spill_folder.iterdir())


def test_a_temporary_file_does_not_outlive_its_rows(own_spill_folder: Path) -> None:
    rows = open_rows(lambda: iter([X_ALL]))
    part = parted(rows).divided(0.1, np.random.default_rng(0))[0]
    assert list(own_spill_folder.iterdir())
    del rows
    assert list(own_spill_folder.iterdir())  # the part needs it
    del part
    assert not list(own_spill_folder.iterdir())


SPILL = """
import numpy as np, os, signal
from fastlin import open_rows
rows = open_rows(lambda: iter([np.ones((10, 3))]))
print(len(os.listdir(os.environ["FASTLIN_SPILL_DIR"])))
HOW
"""


@pytest.mark.parametrize("how", ["", "raise KeyboardInterrupt", "os.kill(os.getpid(), 9)"])
def test_a_temporary_file_does_not_outlive_its_process(own_spill_folder: Path, how: str) -> None:
    done = run_python("-c", SPILL.replace("HOW", how))
    assert done.out == "1\n"
    if "kill" in how:  # nobody could remove it; the next process does
        assert len(list(own_spill_folder.iterdir())) == 1
        run_python("-c", SPILL.replace("HOW", ""))
    assert not list(own_spill_folder.iterdir())


def test_names_are_sorted_as_numbers(tmp_path: Path) -> None:
    for part in (0, 1, 2, 9, 10, 11):
        np.save(tmp_path / f"part-{part}.npy", np.full((2, 3), part, np.float32))
    assert open_rows(tmp_path)[:][::2, 0].tolist() == [0, 1, 2, 9, 10, 11]
    assert open_rows(str(tmp_path / "part-1?.npy"))[:][::2, 0].tolist() == [10, 11]


# ------------------------------------------------------------------ mistakes


def write(folder: Path, name: str, array: Any) -> Path:
    np.save(folder / name, array)
    return folder / name


def cut(folder: Path) -> Path:
    path = write(folder, "a.npy", np.zeros((10, 3), np.float32))
    path.write_bytes(path.read_bytes()[:-1])
    return path


def parquet(folder: Path, name: str = "a.parquet", **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


MISTAKES: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "missing": (lambda f: f / "no.npy", {}, "cannot read .*no.npy: No such file"),
    "no match": (lambda f: f / "*.npy", {}, r"no .npy or .parquet file matches"),
    "empty folder": (lambda f: f, {}, "has no .npy or .parquet file"),
    "text": (lambda f: ((f / "a.txt").write_text("") and None) or f / "a.txt", {}, "is not a .npy"),
    "cut off": (cut, {}, "a.npy is not a whole .npy file"),
    "empty file": (lambda f: (f / "a.npy").touch() or f / "a.npy", {}, "is empty"),
    "one dimension": (lambda f: write(f, "a.npy", np.zeros(3)), {}, r"has shape \(3,\)"),
    "type": (lambda f: write(f, "a.npy", np.zeros((3, 2), complex)), {}, "type complex128"),
    "order": (
        lambda f: write(f, "a.npy", np.asfortranarray(np.zeros((3, 2)))),
        {},
        "not stored row by row",
    ),
    "features": (
        lambda f: [write(f, "a.npy", np.zeros((3, 2))), write(f, "b.npy", np.zeros((3, 4)))],
        {},
        "b.npy has features 4, but .*a.npy has 2",
    ),
    "labels": (
        lambda f: write(f, "a.npy", np.zeros((3, 2))),
        {"labels": np.zeros(4)},
        r"labels has shape \(4,\), and there are 3 rows",
    ),
    "label": (lambda f: write(f, "a.npy", np.zeros((3, 2))), {"label": "y"}, "for Parquet files"),
    "no parquet": (
        lambda f: (f / "a.parquet").write_bytes(b"PAR1" * 9) and f / "a.parquet",
        {},
        "a.parquet cannot be read as Parquet",
    ),
    "no column": (lambda f: parquet(f, a=[1.0]), {"label": "y"}, "has no column 'y'"),
    "words": (lambda f: parquet(f, a=["x"], y=[1]), {"label": "y"}, "column 'a' .* holds string"),
    "null": (
        lambda f: parquet(f, a=[1.0, None], y=[1, 2]),
        {"label": "y"},
        r"row 1 of .*a.parquet \(counted from 0\) lacks column 'a'",
    ),
    "nan": (
        lambda f: parquet(f, a=[1.0, 2.0, float("nan")], y=[1, 2, 3]),
        {"label": "y"},
        "row 2 of .*a.parquet .* holds nan as feature 0",
    ),
    "no label": (
        lambda f: parquet(f, a=[1.0, 2.0], y=[1, None]),
        {"label": "y"},
        "row 1 of .* lacks column 'y'",
    ),
    "other columns": (
        lambda f: [parquet(f, a=[1.0], y=[1]), parquet(f, "b.parquet", b=[1.0], y=[1])],
        {"label": "y"},
        "b.parquet lacks column 'a', unlike .*a.parquet",
    ),
    "other types": (
        lambda f: [parquet(f, a=[1.0], y=[1]), parquet(f, "b.parquet", a=[1], y=[1])],
        {"label": "y"},
        "column 'a' is of type int64 in .*b.parquet, and double in .*a.parquet",
    ),
    "lists": (
        lambda f: parquet(f, a=[[1.0, 2.0], [1.0]], y=[1, 2]),
        {"label": "y"},
        "row 1 of .* has 1 numbers in column 'a', and the first row 2",
    ),
    "no batches": (lambda _: lambda: iter([]), {}, "yielded no rows"),
    "other batches": (
        lambda _: lambda: iter([np.zeros((2, 3)), np.zeros((2, 4))]),
        {},
        r"batch 1 \(counted from 0\) has 4 features",
    ),
    "batches without labels": (
        lambda _: lambda: iter([(np.zeros((2, 3)), [0, 1]), np.zeros((2, 3))]),
        {},
        "batch 1 .* has no labels, unlike the first",
    ),
    "a number": (lambda _: 5, {}, "cannot be opened|is not iterable"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line(tmp_path: Path, name: str, own_spill_folder: Path) -> None:
    make, options, message = MISTAKES[name]
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises((InputError, TypeError), match=message) as told:
        open_rows(make(folder), **options)
    assert "\n" not in str(told.value)
    assert not own_spill_folder.exists() or not list(own_spill_folder.iterdir())


def test_a_nan_in_a_file_is_named(tmp_path: Path) -> None:
    X, y = digits()
    rows, labels = saved(tmp_path, X, y, [500, 900])
    bad = np.load(rows / "part-1.npy")
    bad[17, 5] = np.nan
    np.save(rows / "part-1.npy", bad)
    stored = open_rows(rows, labels=str(labels))
    for options in ({}, {"solver": "lbfgs"}, {"early_stopping": True}):
        with pytest.raises(InputError, match=r"row 17 of .*part-1.npy .*, column 5"):
            LogisticRegression(max_epochs=2, **options).fit(stored, stored.labels)


def test_a_label_file_of_another_length_is_named(tmp_path: Path) -> None:
    X, y = digits()
    rows, labels = saved(tmp_path, X, y, [500, 900])
    np.save(labels / "part-1.npy", y[:7])
    with pytest.raises(InputError, match=r"part-1.npy has 400 rows, and .*part-1.npy 7 labels"):
        open_rows(rows, labels=str(labels))


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        open_rows(lambda: iter([X_ALL]), spill=tmp_path / "file" / "below")


def test_other_features_than_in_training() -> None:
    X, y = digits()
    model = LogisticRegression(max_epochs=1).fit(X, y)
    with pytest.raises(InputError, match=r"has 3 features, but .* is expecting 64"):
        model.predict(StoredRows([X[:, :3].copy()]))
    named = StoredRows([X], feature_names=[f"f{i}" for i in range(64)])
    model = LogisticRegression(max_epochs=1).fit(named, y)
    swapped = StoredRows([X], feature_names=["f1", "f0", *(f"f{i}" for i in range(2, 64))])
    with pytest.raises(InputError, match="feature 0 of X is 'f1', and was 'f0'"):
        model.predict(swapped)


# ------------------------------------------------------------------ command line


def test_the_command_trains_on_folders_and_parquet(tmp_path: Path) -> None:
    X, y = digits("uint8")
    saved(tmp_path, X, y, [500, 900])
    pq.write_table(table(X, y), tmp_path / "digits.parquet")
    for data in (
        ["--data", "rows", "--labels", "labels"],
        ["--data", "rows/*.npy", "--labels", "labels/*.npy"],
        ["--data", "digits.parquet", "--label", "digit"],
    ):
        train = run_python(
            *("-m", "fastlin", "train", *data, "--epochs", "20", "--out", "m", "--quiet"),
            folder=tmp_path,
        )
        assert train.code == 0, train.err
        assert "rows" in train.out or "digits" in train.out
        for command in (["evaluate", "m", *data], ["predict", "m", *data]):
            done = run_python("-m", "fastlin", *command, folder=tmp_path)
            assert done.code == 0, done.err
        found = done.out.split()
        assert found[0] == "label"
        assert np.mean(np.array(found[1:], int) == y) > 0.9
    assert not list((tmp_path / "spill").iterdir())


LIMITED = """
import resource, sys
import numpy as np
from fastlin import LogisticRegression, open_rows
rows = open_rows("rows.npy", labels="labels.npy")
options = {"max_epochs": 4, "tol": None, "random_state": 0, "backend": "c"}
scale = (0, 1 / 200) if rows.dtype.kind == "u" else None
model = LogisticRegression(solver=sys.argv[1], input_scale=scale, **options)
model.fit(rows, rows.labels)
print(model.score(rows, rows.labels))
"""


@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/memory").is_dir() or os.geteuid() != 0,
    reason="limiting the memory of a process needs root and control groups",
)
@thorough
@pytest.mark.parametrize(("solver", "dtype"), [("sgd", "float32"), ("lbfgs", "uint8")])
def test_memory_stays_below_a_quarter_of_the_rows(tmp_path: Path, solver: str, dtype: str) -> None:
    size, d = 1_600_000_000, 1000
    n = size // (d * np.dtype(dtype).itemsize)
    rows = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", dtype, (n, d))
    labels, rng = np.empty(n, np.int64), np.random.default_rng(0)
    for first in range(0, n, 20_000):
        block = rng.integers(0, 200, (20_000, d), np.uint8)
        rows[first : first + 20_000] = block if dtype == "uint8" else block / np.float32(200)
        labels[first : first + 20_000] = block[:, :3].argmax(axis=1)
    rows.flush()
    del rows
    np.save(tmp_path / "labels.npy", labels)
    group = Path(f"/sys/fs/cgroup/memory/fastlin-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(size // 4))
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        enter = f"import os; open('{group}/tasks', 'w').write(str(os.getpid()))\n"
        done = subprocess.run(
            [sys.executable, "-c", enter + LIMITED, solver],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) > 0.9
    finally:
        group.rmdir()
