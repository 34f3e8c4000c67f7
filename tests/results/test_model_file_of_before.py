"""A model file that an earlier fastlin wrote goes on as it would have gone on there.

Files that a test writes and reads itself would not notice what changes on both ways at once: two
arrays that change places, a counter that begins elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

from fastlin import LogisticRegression

FILE = Path(__file__).with_name("model_of_positions.npz")
"""Three blocks of 30 rows of iris: momentum, averages, scaled inputs, an automatic rate."""

# What that fastlin made of it with two more blocks of rows, in float64 by NumPy's backend.
COEF = [
    [-0.4313050855857593, 1.1348289776623448, -0.4079631322022537, -1.1389095002403944],
    [-0.13067146436003657, -1.1660614215783707, 0.005725257059585039, -0.13490163602805375],
    [0.5619765499457958, 0.03123244391602611, 0.4022378751426686, 1.273811136268448],
]
INTERCEPT = [2.4915913651590436, 4.471117753333477, -6.962709118492521]
LEARNING_RATE = 0.32909593273020366


@pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")
def test_a_run_goes_on_from_a_file_of_an_earlier_version() -> None:
    rows, labels = load_iris(return_X_y=True)
    model = LogisticRegression.load(FILE)
    assert model.get_params()["backend"] == "numpy"
    model.partial_fit(rows[::4], labels[::4]).partial_fit(rows[1::4], labels[1::4])
    np.testing.assert_allclose(model.coef_, COEF, rtol=1e-11)
    np.testing.assert_allclose(model.intercept_, INTERCEPT, rtol=1e-11)
    assert model.learning_rate_ == pytest.approx(LEARNING_RATE, rel=1e-12)
