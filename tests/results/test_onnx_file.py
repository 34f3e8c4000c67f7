"""Models that left fastlin, for onnxruntime and for scikit-learn, predict as they did in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sklearn.linear_model
from command_line import assert_mistake, run
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fastlin import LogisticRegression, datasets
from fastlin.errors import InputError, OutputError
from fastlin.results.onnx_file import INPUT_TYPES

pytestmark = pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")

DIGITS, OF_DIGITS = load_digits(return_X_y=True)


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def outputs_of(path: Path, rows: np.ndarray) -> list[np.ndarray]:
    return session_of(path).run(["label", "probabilities"], {"X": rows})


def logit_error(model: LogisticRegression, rows: np.ndarray) -> np.ndarray:
    """Bound the rounding of a row's logits, (n, 1): of d products and their sum, in any order."""
    coef, intercept = (np.abs(array, dtype=float) for array in (model.coef_, model.intercept_))
    size = np.abs(rows, dtype=float) @ coef.T + intercept
    epsilon = np.finfo(model.coef_.dtype).eps
    return (rows.shape[1] + 4) * epsilon * size.max(axis=1, keepdims=True)


def assert_same(model: LogisticRegression, rows: np.ndarray, labels: Any, shares: Any) -> None:
    """Compare with fastlin's own: each may err by its rounding of the logits."""
    expected = model.predict_proba(rows)
    assert shares.dtype == expected.dtype
    assert shares.shape == expected.shape
    bound = 2 * logit_error(model, rows)
    # A probability p changes by at most p (1 - p) times the change of the difference of logits.
    epsilon = 8 * np.finfo(shares.dtype).eps
    assert (np.abs(shares - expected) <= 2 * expected * (1 - expected) * bound + epsilon).all()
    # A label may differ only if two classes are as probable as rounding can tell.
    top = np.sort(np.log(np.maximum(expected, 1e-30)), axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * bound[:, 0]
    assert clear.mean() > 0.99
    found, wanted = np.asarray(labels), model.predict(rows)
    assert found.dtype.kind == (wanted.dtype.kind if wanted.dtype.kind != "U" else "O")
    np.testing.assert_array_equal(found[clear], wanted[clear])


@pytest.mark.parametrize("input_type", INPUT_TYPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("labels", [(3, 8), range(10)], ids=["logistic", "softmax"])
def test_digits(tmp_path: Path, input_type: str, dtype: str, labels: Any) -> None:
    kept = np.isin(OF_DIGITS, labels)
    rows, y = DIGITS[kept].astype(input_type), OF_DIGITS[kept]
    for scale in (None, "standard", (3.0, 0.25)):
        model = LogisticRegression(max_epochs=20, dtype=dtype, input_scale=scale, random_state=0)
        model.fit(rows, y).to_onnx(tmp_path / "m.onnx", input_type=input_type)
        label, probabilities = outputs_of(tmp_path / "m.onnx", rows)
        assert_same(model, rows, label, probabilities)


@pytest.mark.parametrize("classes", [(4, 9), range(10)], ids=["logistic", "softmax"])
@pytest.mark.parametrize("input_type", ["uint8", "float32"])
def test_mnist(tmp_path: Path, mnist: datasets.Dataset, classes: Any, input_type: str) -> None:
    kept = np.isin(mnist.y_train, classes)
    rows, y = mnist.X_train[kept][:20_000], mnist.y_train[kept][:20_000]
    model = LogisticRegression(max_epochs=3, input_scale=(127.5, 1 / 127.5), random_state=0)
    model.fit(rows, y).to_onnx(tmp_path / "m.onnx", input_type=input_type)
    some = mnist.X_val[np.isin(mnist.y_val, classes)].astype(input_type)
    assert_same(model, some, *outputs_of(tmp_path / "m.onnx", some))


@pytest.mark.parametrize(
    "labels",
    [
        ["ant", "bee"],
        ["ä", "日本", ""],
        [False, True],
        [-1.0, 2.0, 3e300],
        np.array([3, 200], np.uint8),
        np.array([-(2**63), 2**63 - 1]),
        np.array([1, 2**64 - 1], np.uint64),
        np.array(["a", "bc"], dtype=object),
    ],
    ids=str,
)
def test_labels_of_any_kind(tmp_path: Path, labels: Any) -> None:
    classes = np.unique(labels)
    rows = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    model = LogisticRegression(max_epochs=5, backend="numpy").fit(
        rows, classes[np.arange(60) % len(classes)]
    )
    model.to_onnx(tmp_path / "m.onnx")
    label, _ = outputs_of(tmp_path / "m.onnx", rows)
    assert np.asarray(label).tolist() == model.predict(rows).tolist()


def test_features_far_from_zero(tmp_path: Path) -> None:
    """Float32 loses the digits of such rows unless they are shifted, as in fastlin."""
    rng = np.random.default_rng(0)
    rows = (1e5 + rng.standard_normal((200, 4))).astype(np.float32)
    y = (rows[:, 0] > 1e5).astype(int)
    model = LogisticRegression(input_scale="standard", max_epochs=30, random_state=0).fit(rows, y)
    assert model.intercept_.dtype == np.float64
    model.to_onnx(tmp_path / "m.onnx")
    label, probabilities = outputs_of(tmp_path / "m.onnx", rows)
    np.testing.assert_allclose(probabilities, model.predict_proba(rows), atol=1e-5)
    np.testing.assert_array_equal(label, model.predict(rows))
    assert (label == y).mean() > 0.95
    again = model.to_sklearn()
    np.testing.assert_allclose(again.predict_proba(rows), model.predict_proba(rows), atol=1e-4)


def test_the_graph_is_named_as_skl2onnx_names_it(tmp_path: Path) -> None:
    model = LogisticRegression(max_epochs=2, backend="numpy").fit(DIGITS, OF_DIGITS)
    model.to_onnx(tmp_path / "m.onnx", input_type="float16")
    session = session_of(tmp_path / "m.onnx")
    (given,), (label, probabilities) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("X", "tensor(float16)", [None, 64])
    assert (label.name, label.type, label.shape) == ("label", "tensor(int64)", [None])
    assert probabilities.name == "probabilities"
    assert probabilities.type == "tensor(double)"
    assert probabilities.shape == [None, 10]
    for n in (0, 1, 7):
        labels, shares = outputs_of(tmp_path / "m.onnx", np.zeros((n, 64), np.float16))
        assert labels.shape == (n,)
        assert shares.shape == (n, 10)
    assert onnx.load(tmp_path / "m.onnx").producer_name == "fastlin"


def test_huge_logits_have_finite_probabilities(tmp_path: Path) -> None:
    for k in (2, 3):
        # A step size of one's own keeps the features where they are.
        model = LogisticRegression(max_epochs=2, backend="numpy", learning_rate=1e-3)
        model.fit(DIGITS[:90].astype(np.float32), np.arange(90) % k)
        # All sums are exact.
        model.coef_ = np.sign(model.coef_) * np.float32(1e4)
        model.intercept_ = np.zeros_like(model.intercept_)
        model.to_onnx(tmp_path / "m.onnx")
        rows = DIGITS.astype(np.float32)
        label, probabilities = outputs_of(tmp_path / "m.onnx", rows)
        np.testing.assert_array_equal(label, model.predict(rows))
        np.testing.assert_array_equal(probabilities, model.predict_proba(rows))


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LogisticRegression(max_epochs=2, backend="numpy").fit(DIGITS, OF_DIGITS)
    with pytest.raises(InputError, match="input_type='int8' is not one of float32, float64"):
        model.to_onnx(tmp_path / "m.onnx", input_type="int8")
    with pytest.raises(OutputError, match="there is no folder"):
        model.to_onnx(tmp_path / "none" / "m.onnx")
    monkeypatch.setattr("fastlin.results.onnx_file.MOST_BYTES", 1000)
    with pytest.raises(InputError, match="ONNX files hold at most 2 GiB"):
        model.to_onnx(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(OutputError, match=r"package onnx is missing; .*'fastlin\[onnx\]'"):
        model.to_onnx(tmp_path / "m.onnx")
    model.coef_ = np.full((10, 64), np.nan)
    for export in (model.to_sklearn, lambda: model.to_onnx(tmp_path / "m.onnx")):
        with pytest.raises(InputError, match="cannot export the model: coef_ has values"):
            export()
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path) -> None:
    model = LogisticRegression(max_epochs=2, backend="numpy").fit(DIGITS, OF_DIGITS)
    model.save(tmp_path / "m")
    done = run("export", tmp_path / "m", "--to", tmp_path / "m.onnx", "--input-type", "uint8")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith("m.onnx: X (uint8, 64 features) to label, probabilities (10)\n")
    rows = DIGITS.astype(np.uint8)
    assert_same(model, rows, *outputs_of(tmp_path / "m.onnx", rows))
    model.save(tmp_path / "x.onnx")
    for arguments, said in (
        ((tmp_path / "m",), "'--to'"),
        ((tmp_path / "m", "--to", tmp_path / "m.txt"), "a name that ends in .onnx"),
        ((tmp_path / "none", "--to", tmp_path / "m.onnx"), "no model file"),
        ((tmp_path / "x.onnx", "--to", tmp_path / "x.onnx"), "would overwrite what is read"),
    ):
        assert_mistake(run("export", *arguments), said)


# ------------------------------------------------------------------ scikit-learn


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize("labels", [(3, 8), range(10)], ids=["logistic", "softmax"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_scikit_learn_predicts_the_same(solver: str, labels: Any, dtype: str) -> None:
    kept = np.isin(OF_DIGITS, labels)
    rows, y = DIGITS[kept].astype(dtype), np.array([f"digit {y}" for y in OF_DIGITS[kept]])
    model = LogisticRegression(solver=solver, max_epochs=20, input_scale="standard", random_state=0)
    again = model.fit(rows, y).to_sklearn()
    assert type(again) is sklearn.linear_model.LogisticRegression
    check_is_fitted(again)
    assert_same(model, rows, again.predict(rows).astype(object), again.predict_proba(rows))
    found, expected = again.decision_function(rows), model.decision_function(rows)
    bound = 2 * logit_error(model, rows)
    assert (np.abs(found - expected) <= (bound if found.ndim == 2 else bound[:, 0])).all()
    assert again.score(rows, y) == model.score(rows, y)
    assert again.n_iter_.tolist() == [model.n_iter_]
    assert again.n_features_in_ == 64


def test_scikit_learn_gets_the_names_and_arrays_of_its_own(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DIGITS[:, 2:5], columns=["a", "b", "c"])
    model = LogisticRegression(max_epochs=2, backend="numpy").fit(frame, OF_DIGITS)
    again = model.to_sklearn()
    assert again.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    again.coef_[...] = 0
    assert model.coef_.any()
    with pytest.warns(ConvergenceWarning):  # its own
        again.set_params(max_iter=2).fit(frame, OF_DIGITS)
    model.save(tmp_path / "m")
    loaded = LogisticRegression.load(tmp_path / "m").to_sklearn()
    np.testing.assert_array_equal(loaded.coef_, model.coef_)
