"""Dense and sparse rows have one interface, whose results are compared with plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin.kernels import CsrRows, DenseRows, Samples
from fastlin.rows.conversion import as_rows
from fastlin.rows.interface import Rows

N, D = 60, 7


def array_of(dtype: str = "float64") -> np.ndarray:
    """Rows of which half the numbers are 0, and each tenth has none."""
    generator = np.random.default_rng(0)
    array = generator.normal(size=(N, D)) * (generator.random((N, D)) < 0.5)
    array[::10] = 0
    assert 0.3 < np.count_nonzero(array) / array.size < 0.6
    return array.astype(dtype)


def rows_of(kind: str, dtype: str = "float64") -> Rows:
    return as_rows(array_of(dtype) if kind == "dense" else csr_array(array_of(dtype)))


@pytest.fixture(params=["dense", "csr"])
def rows(request: pytest.FixtureRequest) -> Rows:
    return rows_of(request.param)


def test_arrays_and_matrices_become_rows() -> None:
    array = array_of()
    dense, sparse = as_rows(array), as_rows(csr_array(array))
    assert (type(dense), type(sparse)) == (DenseRows, CsrRows)
    assert dense.values is array
    assert as_rows(sparse) is sparse
    assert type(Samples(array).rows) is DenseRows
    assert (dense.can_be_shifted, sparse.can_be_shifted) == (True, False)


def test_shape_and_size(rows: Rows) -> None:
    assert (rows.shape, len(rows), rows.dtype) == ((N, D), N, np.float64)
    np.testing.assert_array_equal(rows.to_array(), array_of())
    stored = D if rows.can_be_shifted else np.count_nonzero(array_of()) / N
    assert rows.values_of_a_row == stored
    assert rows.products_of_a_row >= stored
    assert rows.bytes_of_a_float64_row >= 8 * int(stored)


@pytest.mark.parametrize(
    "part",
    [
        slice(None),
        slice(3, 17),
        slice(40, 99),
        slice(9, 9),
        slice(20, 10),
        slice(0),
        slice(-5, None),
    ],
)
def test_a_slice_is_a_view(rows: Rows, part: slice) -> None:
    some = rows.part(part)
    np.testing.assert_array_equal(some.to_array(), array_of()[part])
    assert some.values.size == 0 or np.shares_memory(some.values, rows.values)
    if isinstance(some, CsrRows):
        assert some.row_starts[0] == 0
        assert some.row_starts[-1] == len(some.values)


@pytest.mark.parametrize("part", [np.array([5, 3, 3, 10, 59]), np.zeros(0, int), slice(50, 3, -7)])
def test_rows_are_taken_in_the_order_given(rows: Rows, part: Any) -> None:
    np.testing.assert_array_equal(rows.part(part).to_array(), array_of()[part])


def test_blocks_cover_the_rows(rows: Rows) -> None:
    places, blocks = zip(*rows.blocks(25), strict=True)
    assert [(place.start, place.stop) for place in places] == [(0, 25), (25, 50), (50, 60)]
    joined = np.concatenate([block.to_array() for block in blocks])
    np.testing.assert_array_equal(joined, array_of())


@pytest.mark.parametrize(
    ("d", "dense", "dense_float64", "sparse"),
    [
        (1, 2**25, 2**24, 32768),
        (784, 32768, 16384, 32768),
        (10**5, 1024, 1024, 4 * 10**5),
        (2**28, 1024, 1024, 2**30),
    ],
)
def test_blocks_depend_on_features_type_and_form(
    d: int, dense: int, dense_float64: int, sparse: int
) -> None:
    """However many rows there are: else rows in pieces would be summed in another order."""
    float32, float64 = np.dtype("float32"), np.dtype("float64")
    for n in (0, 3):
        rows = DenseRows(np.broadcast_to(np.uint8(0), (n, d)))
        assert rows.rows_of_a_block(float32) == dense
        assert rows.rows_of_a_block(float64) == dense_float64
        starts = np.zeros(n + 1, np.int32)
        nothing = CsrRows(np.zeros(0), np.zeros(0, np.int32), starts, d)
        assert {nothing.rows_of_a_block(dtype) for dtype in (float32, float64)} == {sparse}


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_kernels_can_read_what_is_made_for_their_weights(kind: str) -> None:
    wide = rows_of(kind)
    assert wide.for_weights(np.dtype("float64")) is wide
    narrow = wide.for_weights(np.dtype("float32"))
    np.testing.assert_array_equal(narrow.to_array(), array_of("float32"))
    assert narrow.dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arithmetic(rows: Rows, dtype: str) -> None:
    x, generator = array_of(dtype), np.random.default_rng(1)
    matrix, scale, factors = generator.normal(size=(D, 3)), np.linspace(1, 2, D), np.arange(N) / 8
    typed = rows.scaled(np.dtype(dtype))
    assert typed.dtype == dtype
    tolerance = {"rtol": 0, "atol": 20 * np.finfo(dtype).eps}
    np.testing.assert_allclose(typed.matrix @ matrix, x @ matrix, **tolerance)
    np.testing.assert_allclose(typed.matrix.T @ factors, x.T @ factors, rtol=1e-5)
    scaled = rows.scaled(np.dtype(dtype), None, scale, factors)
    expected = (x * scale.astype(dtype)) * factors[:, np.newaxis].astype(dtype)
    np.testing.assert_allclose(scaled.to_array(), expected, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(typed.squared().to_array(), x**2)
    np.testing.assert_allclose(typed.squared_norms(), (x**2).sum(axis=1), **tolerance)
    np.testing.assert_array_equal(typed.largest(), np.abs(x).max(axis=1))
    np.testing.assert_array_equal(rows.to_array(), array_of())  # nothing was changed


def test_the_largest_of_8_bits_and_of_no_features() -> None:
    assert as_rows(np.array([[3, 255], [0, 0]], np.uint8)).largest().tolist() == [255, 0]
    assert as_rows(np.array([[3, -128], [0, 127]], np.int8)).largest().tolist() == [128, 127]
    assert as_rows(np.array([[3, -65504]], np.float16)).largest().tolist() == [65504]
    assert as_rows(np.zeros((2, 0))).largest().tolist() == [0, 0]


def test_only_dense_rows_are_shifted() -> None:
    shift = np.arange(D, dtype=float)
    shifted = rows_of("dense").scaled(np.dtype("float64"), shift, np.full(D, 2.0))
    np.testing.assert_array_equal(shifted.to_array(), (array_of() - shift) * 2)
    with pytest.raises(AssertionError, match="sparse rows have no shift"):
        Samples(rows_of("csr"), shift=shift)


def test_samples_are_taken_with_their_labels_and_weights() -> None:
    labels, weight = np.arange(N, dtype=np.int32), np.linspace(0, 1, N)
    some = Samples(array_of(), labels, weight, np.ones(D)).part(slice(10, 20))
    np.testing.assert_array_equal(some.labels, labels[10:20])
    np.testing.assert_array_equal(some.sample_weight, weight[10:20])
    bare = Samples(array_of())
    assert not bare.has_labels
    assert not bare.part(np.array([1, 2])).has_labels
