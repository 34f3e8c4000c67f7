"""Passes by a pool of processes over mapped files: the bits of one process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlin import LogisticRegression, open_rows
from fastlin.errors import InputError
from fastlin.rows.dense import DenseRows
from fastlin.rows.passes import passes
from fastlin.rows.samples import Samples
from fastlin.rows.stored import parted
from fastlin.storage.pools import Mapped

RNG = np.random.default_rng(0)
N, D = 3000, 12
ROWS = RNG.standard_normal((N, D))
LABELS = (ROWS @ RNG.standard_normal((D, 3)) + 2 * RNG.gumbel(size=(N, 3))).argmax(axis=1)
WEIGHTS = RNG.integers(0, 3, N).astype(float)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        yield executor


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseRows, "rows_of_a_block", lambda rows, dtype: 256)


def files(folder: Path, rows: Any) -> str:
    for part, some in enumerate(np.split(rows, [1, 700, 701, 2000])):
        np.save(folder / f"rows-{part}.npy", some)
    return str(folder / "rows-*.npy")


def process_of(block: Samples) -> int:
    return os.getpid()


def test_other_processes_run_the_steps(pool: Executor, tmp_path: Path) -> None:
    rows = open_rows(files(tmp_path, ROWS), executor=pool)
    found = list(passes(Samples(parted(rows)), np.dtype(np.float64)).map(process_of))
    assert len(found) == -(-N // 256)
    assert os.getpid() not in found


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float32", {}),
        ("float64", {"input_scale": "standard", "class_weight": "balanced", "tol": 1e-9}),
        ("uint8", {"input_scale": "minmax", "backend": "numpy"}),
        ("float64", {"early_stopping": True, "dtype": "float32", "max_epochs": 5}),
        ("float16", {"l2": 0.0, "max_epochs": 5, "tol": None}),
    ],
)
def test_a_pool_has_the_bits_of_one_process(
    pool: Executor, tmp_path: Path, dtype: str, options: dict[str, Any]
) -> None:
    rows = (np.clip(ROWS * 40 + 120, 0, 255) if dtype == "uint8" else ROWS).astype(dtype)
    names, weight = files(tmp_path, rows), WEIGHTS if "class_weight" in options else None
    options = {"solver": "lbfgs", "random_state": 0, **options}
    by_pool = LogisticRegression(**options).fit(open_rows(names, executor=pool), LABELS, weight)
    alone = LogisticRegression(**options).fit(open_rows(names), LABELS, weight)
    assert by_pool.n_iter_ == alone.n_iter_ > 1
    assert by_pool.coef_.tobytes() == alone.coef_.tobytes()
    assert by_pool.intercept_.tobytes() == alone.intercept_.tobytes()


def test_rows_far_from_zero_are_shifted_where_they_are(pool: Executor, tmp_path: Path) -> None:
    names, options = files(tmp_path, ROWS + 1e6), {"solver": "lbfgs", "max_epochs": 3, "tol": None}
    by_pool = LogisticRegression(**options).fit(open_rows(names, executor=pool), LABELS)
    alone = LogisticRegression(**options).fit(open_rows(names), LABELS)
    assert by_pool.coef_.tobytes() == alone.coef_.tobytes()


def test_any_executor_will_do(tmp_path: Path) -> None:
    names = files(tmp_path, ROWS)
    with ThreadPoolExecutor(3) as executor:
        by_pool = LogisticRegression(solver="lbfgs").fit(
            open_rows(names, executor=executor), LABELS
        )
    alone = LogisticRegression(solver="lbfgs").fit(open_rows(names), LABELS)
    assert by_pool.coef_.tobytes() == alone.coef_.tobytes()


def test_rows_in_no_file_are_refused(pool: Executor) -> None:
    rows = open_rows([ROWS], executor=pool)
    with pytest.raises(InputError, match=r"array 0 is in no file, .*np\.save"):
        LogisticRegression(solver="lbfgs").fit(rows, LABELS)


@pytest.mark.parametrize(
    "part", [np.s_[:], np.s_[5:20], np.s_[3:2], np.s_[:, 2:5], np.s_[::3]], ids=str
)
def test_parts_of_files_are_opened_again(tmp_path: Path, part: Any) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    array = np.load(tmp_path / "a.npy", mmap_mode="r")[part].view(np.ndarray)
    place = Mapped.of(array)
    assert place is not None
    np.testing.assert_array_equal(place.opened(), array)
    assert Mapped.of(np.array(array)) is None


def test_files_of_labels_go_with_the_labels(pool: Executor, tmp_path: Path) -> None:
    rows = parted(open_rows(files(tmp_path, ROWS), executor=pool))
    executor: Any = rows.executor
    labels = np.zeros(N, np.int32)
    list(passes(Samples(rows, labels), np.dtype(np.float64)).map(process_of))
    folder = executor.folder
    assert len(list(folder.iterdir())) == 1
    del labels
    assert list(folder.iterdir()) == []
    del rows, executor
    assert not folder.exists()
