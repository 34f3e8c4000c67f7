"""Scaling does what its option says, and is folded into the weights and out again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastlin.errors import InputError
from fastlin.rows.interface import ROW_TYPES
from fastlin.rows.scaling import ROWS_AT_ONCE, ROWS_OF_A_MEAN, InputScale

numbers = st.floats(-1e3, 1e3, width=32)
rows_of_numbers = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=numbers
)


def scaled(scale: InputScale, rows: np.ndarray) -> np.ndarray:
    return (rows - scale.shift) * scale.scale


def test_none_changes_nothing() -> None:
    scale = InputScale.from_option(None, np.ones((3, 2)))
    assert scale.shift.tolist() == [0, 0]
    assert scale.scale.tolist() == [1, 1]
    assert not scale.has_shift


@given(rows=rows_of_numbers)
def test_minmax_fills_the_range_from_0_to_1(rows: np.ndarray) -> None:
    result = scaled(InputScale.from_option("minmax", rows), rows)
    for column, before in zip(result.T, rows.T, strict=True):
        assert column.min() == 0
        if np.ptp(before) > 0:
            assert column.max() == pytest.approx(1, rel=1e-15)
        else:
            assert (column == 0).all()


@given(rows=rows_of_numbers)
def test_standard_has_mean_0_and_deviation_1(rows: np.ndarray) -> None:
    result = scaled(InputScale.from_option("standard", rows), rows)
    assert np.isfinite(result).all()
    for column, before in zip(result.T, rows.T, strict=True):
        if np.ptp(before) > 0:
            assert column.mean() == pytest.approx(0, abs=1e-6)
            assert column.std() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("dtype", ROW_TYPES)
def test_many_rows_of_every_type(dtype: str) -> None:
    generator = np.random.default_rng(0)
    low, high = (-128, 128) if dtype == "int8" else (0, 256)
    rows = generator.integers(low, high, (ROWS_AT_ONCE + 77, 5)).astype(dtype)
    exact = rows.astype(np.float64)
    scale = InputScale.from_option("standard", rows)
    np.testing.assert_allclose(scale.shift, exact.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(scale.scale, 1 / exact.std(axis=0), rtol=1e-13)
    scale = InputScale.from_option("minmax", rows)
    assert scale.shift.tolist() == exact.min(axis=0).tolist()
    np.testing.assert_allclose(scale.scale, 1 / np.ptp(exact, axis=0), rtol=1e-15)
    assert scale.shift.dtype == scale.scale.dtype == np.float64


def test_a_constant_feature_is_only_shifted() -> None:
    for value in (0.0, 7.0, 0.1):  # the mean of many 0.1 is not quite 0.1
        rows = np.column_stack([np.full(1000, value), np.arange(1000)])
        for option in ("minmax", "standard"):
            scale = InputScale.from_option(option, rows)
            assert scale.shift[0] == pytest.approx(value, rel=1e-15)
            assert scale.scale[0] == 1
            assert scale.scale[1] != 1


@pytest.mark.parametrize("option", ["minmax", "standard"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_a_row_counts_as_often_as_its_weight_says(option: str, dtype: str) -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 200, (2 * ROWS_AT_ONCE + 77, 4)).astype(dtype)
    times = generator.integers(0, 3, len(rows))
    times[:ROWS_AT_ONCE] = 0  # a whole block that does not count
    rows[0], rows[-1], times[-1] = 255, 255, 0
    rows[:, 3] = np.where(times > 0, 7, 9)  # constant where it counts
    weighted = InputScale.from_option(option, rows, 0.25 * times)
    repeated = InputScale.from_option(option, rows.repeat(times, axis=0))
    np.testing.assert_allclose(weighted.shift, repeated.shift, rtol=1e-12)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=1e-12)
    assert weighted.scale[3] == 1
    unweighted = InputScale.from_option(option, rows)
    assert (np.abs(weighted.scale / unweighted.scale - 1)[:3] > 1e-4).all()


def test_a_centred_scale_has_the_means_for_its_shift() -> None:
    generator = np.random.default_rng(0)
    times = generator.integers(0, 3, 500)
    for rows in (generator.normal(5, 1, (500, 3)), generator.integers(0, 2, (500, 3), np.uint8)):
        scale = InputScale(np.ones(3), np.full(3, 0.5))
        centred = scale.centred(rows, times.astype(float))
        np.testing.assert_allclose(centred.shift, rows.repeat(times, axis=0).mean(axis=0))
        assert centred.scale is scale.scale
    many = generator.normal(5, 1, (5 * ROWS_OF_A_MEAN, 3))
    np.testing.assert_allclose(scale.centred(many).shift, 5, atol=0.1)


def test_numbers_that_are_mostly_zero_are_not_centred() -> None:
    rows = np.zeros((10, 4))
    rows[:, 0] = 1
    scale = InputScale(np.zeros(4), np.ones(4))
    assert scale.centred(rows) is scale
    assert scale.centred(rows.astype(np.uint8)).shift.tolist() == [1, 0, 0, 0]
    assert scale.centred(np.full((2, 4), 1.7e308)) is scale
    assert scale.centred(np.ones((2, 4)), np.zeros(2)) is scale
    mixed = np.array([[1.0, 1, 1, 1], [1, 0, 0, 0]])
    for times, is_centred in (([3, 1], True), ([1, 1], True), ([1, 3], False), ([0, 1], False)):
        repeated = scale.centred(mixed.repeat(times, axis=0))
        weighted = scale.centred(mixed, np.array(times, float))
        assert repeated.has_shift is weighted.has_shift is is_centred


@pytest.mark.parametrize("option", ["minmax", "standard"])
def test_features_that_cannot_be_scaled(option: str) -> None:
    rows = np.array([[1.7e308], [-1.7e308], [0.0]])
    with pytest.raises(InputError, match=r"features as large as 1.7e\+308 overflow .*; divide"):
        InputScale.from_option(option, rows)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_of_scales_that_float32_cannot_hold(scale: float) -> None:
    one = InputScale(np.zeros(2), np.array([1.0, scale]))
    np.testing.assert_allclose(one.gain(np.dtype(np.float64)), [1, scale**2], rtol=1e-15)
    with pytest.raises(InputError, match=r"feature 1 .* square float32 cannot hold"):
        one.gain(np.dtype(np.float32))


@pytest.mark.parametrize("pair", [(127.5, 1 / 127.5), [127.5, 1 / 127.5]])
def test_a_pair_of_numbers_holds_for_every_feature(pair: Any) -> None:
    scale = InputScale.from_option(pair, np.ones((4, 3)))
    assert scale.shift.tolist() == [127.5] * 3
    assert scale.scale.tolist() == [1 / 127.5] * 3
    assert scale.has_shift


def test_a_pair_of_arrays_is_copied() -> None:
    shift, factor = np.array([1.0, 2.0]), np.array([0.5, 0.25])
    scale = InputScale.from_option((shift, factor), np.ones((4, 2)))
    shift[:] = factor[:] = 9
    assert scale.shift.tolist() == [1, 2]
    assert scale.scale.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    "pair", [(1,), (1, 2, 3), (np.ones(3), 1), ("a", 1), 5, (np.ones((2, 2)), 1)]
)
def test_what_is_no_pair_for_two_features(pair: Any) -> None:
    with pytest.raises(InputError, match=r"is not a pair \(shift, scale\) .* 2 elements"):
        InputScale.from_option(pair, np.ones((4, 2)))


@pytest.mark.parametrize(
    "pair", [(0, 0), (0, -1), (1, None), (np.nan, 1), (0, np.inf), ([0, np.inf], 1)]
)
def test_numbers_that_cannot_scale(pair: Any) -> None:
    with pytest.raises(InputError, match="finite shifts and positive scales"):
        InputScale.from_option(pair, np.ones((4, 2)))


weights_and_shift = st.tuples(
    arrays.arrays(np.float64, (3, 4), elements=numbers),
    arrays.arrays(np.float64, 3, elements=numbers),
    arrays.arrays(np.float64, 4, elements=numbers),
)


@given(model=weights_and_shift, row=arrays.arrays(np.float64, 4, elements=numbers))
@settings(deadline=None)
def test_the_raw_intercept_goes_with_raw_rows(model: Any, row: np.ndarray) -> None:
    weights, intercept, shift = model
    scale = InputScale(shift, np.ones(4))
    raw = scale.raw_intercept(weights, intercept)
    rounding = 1e-14 * (np.abs(weights) @ (np.abs(row) + np.abs(shift)) + np.abs(intercept) + 1)
    gap = (weights @ row + raw) - (weights @ (row - shift) + intercept)
    assert (np.abs(gap) <= rounding).all()


@given(model=weights_and_shift)
def test_the_intercept_comes_back(model: Any) -> None:
    weights, intercept, shift = model
    scale = InputScale(shift, np.ones(4))
    for dtype, epsilon in ((np.float32, 2.0**-23), (np.float64, 2.0**-52)):
        w, b = weights.astype(dtype), intercept.astype(dtype)
        raw = scale.raw_intercept(w, b)
        back = scale.shifted_intercept(w, raw)
        assert raw.dtype == back.dtype == dtype
        magnitude = np.abs(w).astype(np.float64) @ np.abs(shift) + np.abs(b)
        assert (np.abs(back - b) <= 8 * epsilon * magnitude).all()
