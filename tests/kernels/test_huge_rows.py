"""Rows of more than 2**31 elements, in sparse files that are mapped: no index is cut to 32 bits.

Steps on a few rows, of which most lie beyond element 2**31, must be those on copies of these rows.
The files take some kilobytes of the disk; only the test of a whole fit reads gigabytes of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import thorough

from fastlin import LogisticRegression
from fastlin.kernels import BACKEND_NAMES, Parameters, Samples, StepOptions, load_backend
from fastlin.rows.csr import CsrRows
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import Rows

FIRST = 2**31
"""Elements that come before those rows."""

CASES = [("uint8", 10), ("uint8", 1), ("float32", 3), ("float64", 1)]
"""Row types and numbers of models whose kernels other tests compile too."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder whose files go at once: they seem to take gigabytes."""
    yield tmp_path
    for path in tmp_path.glob("*.npy"):
        path.unlink()


def zeros(path: Path, dtype: str, *shape: int) -> np.ndarray:
    """Return zeros that take no memory and no disk until they are written."""
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def few_rows(d: int, row_type: str) -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((40, d))
    return (20 * np.abs(rows)).astype(row_type) if row_type == "uint8" else rows.astype(row_type)


def dense_rows(folder: Path, row_type: str, d: int) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Return rows, the places of those that are not 0, and these themselves."""
    some = few_rows(d, row_type)
    n = FIRST // d + 100
    whole = zeros(folder / "dense.npy", row_type, n, d)
    places = np.r_[0:5, n - 35 : n]
    whole[places] = some
    whole.flush()
    return DenseRows(np.load(folder / "dense.npy", mmap_mode="r")), places, some


def sparse_rows(folder: Path, row_type: str, d: int) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Return the same as sparse rows, between which there are as many rows that nobody reads."""
    some = few_rows(d, row_type)
    n = FIRST // d + 100
    values = zeros(folder / "values.npy", row_type, n * d)
    columns = zeros(folder / "columns.npy", "int64", n * d)
    for part, rows in ((slice(0, 5 * d), some[:5]), (slice((n - 35) * d, None), some[5:])):
        values[part], columns[part] = rows.ravel(), np.tile(np.arange(d), len(rows))
    return CsrRows(values, columns, d * np.arange(n + 1), d), np.r_[0:5, n - 35 : n], some


def trained(
    name: str, rows: Rows, places: np.ndarray, weight_type: str, k: int
) -> list[np.ndarray]:
    """Return parameters and losses after steps on the rows at some places."""
    d = rows.shape[1]
    labels = np.zeros(len(rows), np.int32)
    labels[places] = np.arange(len(places)) % max(k, 2)
    weights = np.zeros((k, d), weight_type), np.zeros(k, weight_type)
    parameters, losses = Parameters(*weights), np.empty(8)
    options = StepOptions(10, np.full(8, 1e-6), 1e-4, np.ones(d, weight_type))
    order = np.concatenate([places, places[::-1]]).astype(np.int64)
    backend = load_backend(name)
    backend.sgd_steps(Samples(rows, labels), order, parameters, options, losses, 2)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    return [*weights, losses]


@pytest.mark.parametrize(("row_type", "k"), CASES)
@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_steps_on_dense_rows(folder: Path, name: str, row_type: str, k: int) -> None:
    rows, places, some = dense_rows(folder, row_type, 784)
    weight_type = "float32" if row_type == "uint8" else row_type
    found = trained(name, rows, places, weight_type, k)
    expected = trained(name, DenseRows(some), np.arange(40), weight_type, k)
    assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_steps_on_sparse_rows(folder: Path, name: str, k: int) -> None:
    """Numba divides the features by a look at some rows, so the order of the sums may differ."""
    rows, places, some = sparse_rows(folder, "float32", 2000)
    copies = CsrRows(some.ravel(), np.tile(np.arange(2000), 40), 2000 * np.arange(41), 2000)
    found = trained(name, rows, places, "float32", k)
    expected = trained(name, copies, np.arange(40), "float32", k)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_more_than_so_many_rows(folder: Path, name: str) -> None:
    """An index of a row has more than 31 bits too."""
    some = few_rows(1, "uint8")
    n = FIRST + 100
    whole = zeros(folder / "dense.npy", "uint8", n, 1)
    places = np.r_[0:5, n - 35 : n]
    whole[places] = some
    found = trained(name, DenseRows(whole), places, "float32", 1)
    expected = trained(name, DenseRows(some), np.arange(40), "float32", 1)
    assert all(map(np.array_equal, found, expected))


@thorough
@pytest.mark.filterwarnings("ignore::fastlin.advice.NotConvergedWarning")
@pytest.mark.parametrize("name", ["numba", "c"])
def test_a_whole_fit(folder: Path, name: str) -> None:
    """Its loss is that of the few rows, and of one row of zeros as often as there are others."""
    d = 131
    rows, places, some = dense_rows(folder, "uint8", d)
    whole = rows.to_array()
    assert whole.size > FIRST
    labels = np.zeros(len(whole), int)
    labels[places] = np.arange(40) % 2
    model = LogisticRegression(solver="lbfgs", backend=name, max_epochs=3, n_threads=2)
    model.fit(whole, labels)
    z, y = model.decision_function(some).astype(float), labels[places]
    of_others = (len(whole) - 40) * np.logaddexp(0, float(model.intercept_[0]))
    loss = (np.sum(np.logaddexp(0, z) - y * z) + of_others) / len(whole)
    losses = model.history_.train_loss
    assert losses[-1] == pytest.approx(loss, rel=1e-4)
    assert losses[2] < losses[1] < losses[0]
    logits = model.decision_function(whole)
    np.testing.assert_array_equal(logits[places], model.decision_function(some))
    assert np.unique(logits[5:-35]).tolist() == model.intercept_.tolist()
    assert model.score(whole, labels) == np.mean((logits > 0) == labels)
