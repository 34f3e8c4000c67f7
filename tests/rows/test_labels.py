"""Labels of every type and container are kept as they are and matched exactly, or refused."""

from __future__ import annotations

import datetime
import decimal
import enum
import warnings
from typing import Any

import numpy as np
import pytest

import fastlin
from fastlin import LogisticRegression
from fastlin.advice import ClassWeightWarning
from fastlin.errors import InputError
from fastlin.rows.labels import classes_of, locate, read_labels

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3))
Y = (X[:, 0] > 0).astype(int)
WORDS = np.array(["ant", "bee"])
LARGEST = 2**64 - 1
STRINGS = getattr(np.dtypes, "StringDType", None) if hasattr(np, "dtypes") else None


def model(**options: Any) -> LogisticRegression:
    return LogisticRegression(**{"backend": "numpy", "max_epochs": 5, "random_state": 0, **options})


# ------------------------------------------------------------------ what is kept


@pytest.mark.parametrize(
    ("labels", "kind", "values"),
    [
        (Y.astype(object), "i", [0, 1]),
        ((Y > 0).astype(object), "b", [False, True]),
        (Y.astype(float).astype(object), "f", [0.0, 1.0]),
        (np.array([np.int8(0), 1], object)[Y], "i", [0, 1]),
        (np.array([0, 2**63], object)[Y], "u", [0, 2**63]),
        ([2**63 if label else 5 for label in Y], "u", [5, 2**63]),
        ([LARGEST if label else LARGEST - 1 for label in Y], "u", [LARGEST - 1, LARGEST]),
        (Y.astype(np.uint64) + np.uint64(2**63), "u", [2**63, 2**63 + 1]),
        (Y + 2**53, "i", [2**53, 2**53 + 1]),
        ([1 if label else 0.5 + 1.5 for label in Y], "f", [1.0, 2.0]),
        (Y.astype(np.longdouble), "f", [0.0, 1.0]),
        ([np.str_(word) for word in WORDS[Y]], "U", ["ant", "bee"]),
        (enum.IntEnum("Pet", "cat dog")(1), "i", None),
    ],
)
def test_labels_stay_what_they_are(labels: Any, kind: str, values: list[Any] | None) -> None:
    if values is None:
        labels, values = [labels] * 45 + [type(labels)(2)] * 45, [1, 2]
    read = read_labels(labels)
    assert read.dtype.kind == kind
    assert np.unique(read).tolist() == values
    trained = model().fit(X, labels, X_val=X, y_val=labels)
    assert trained.classes_.tolist() == values
    assert set(trained.predict(X).tolist()) <= set(values)
    right = np.mean([a == b for a, b in zip(trained.predict(X), np.asarray(read), strict=True)])
    assert trained.score(X, labels) == pytest.approx(right)
    trained.partial_fit(X, labels, classes=values)


@pytest.mark.skipif(STRINGS is None, reason="NumPy before 2.0 has no such strings")
def test_strings_of_any_length() -> None:
    labels = np.array(["ant", "a bee" * 40], dtype=STRINGS())[Y]
    trained = model(max_epochs=40).fit(X, labels, X_val=X, y_val=labels)
    assert trained.classes_.tolist() == ["a bee" * 40, "ant"]
    assert trained.score(X, labels) > 0.9
    assert trained.score(X, np.array(["ant", "a bee" * 40])[Y]) == trained.score(X, labels)
    with pytest.raises(InputError, match="y contains NaN: 45 labels are missing"):
        model().fit(X, np.array(["ant", None], dtype=STRINGS(na_object=None))[np.arange(90) % 2])


def test_containers_of_other_libraries() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for labels, values in (
        (pandas.Series(Y, dtype="Int64").astype("category"), [0, 1]),
        (pandas.Series(WORDS[Y], dtype="string"), ["ant", "bee"]),
        (pandas.Index(Y), [0, 1]),
        (pandas.array(Y, dtype="UInt8"), [0, 1]),
        (pandas.DataFrame({"label": Y}), [0, 1]),
        (polars.Series(WORDS[Y], dtype=polars.Categorical), ["ant", "bee"]),
        (polars.DataFrame({"label": Y}), [0, 1]),
    ):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A column-vector y")
            assert model().fit(X, labels).classes_.tolist() == values


def test_arrays_of_arrow() -> None:
    arrow = pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    words = arrow.array(WORDS[Y].tolist())
    for labels in (
        words,
        words.dictionary_encode(),
        arrow.chunked_array([words]),
        pandas.Series(WORDS[Y]).astype("string[pyarrow]"),
    ):
        assert model().fit(X, labels).classes_.tolist() == ["ant", "bee"]
    for labels in (arrow.array([0, 1, None] * 30), arrow.array(["a", None, "b"] * 30)):
        with pytest.raises(InputError, match="y contains NaN: 30 labels are missing"):
            model().fit(X, labels)


# ------------------------------------------------------------------ what is refused

HALF = np.arange(90) % 2


def missing_labels() -> dict[str, Any]:
    forms = {
        "None among words": np.array(["no", None], object)[HALF],
        "nan among words": np.array(["no", np.nan], object)[HALF],
        "None among integers": [0, None] * 45,
        "nan among floats": np.where(HALF, np.nan, 1.0),
        "no time": np.array(["2020-01-01", "NaT"], "M8[D]")[HALF],
        "masked": np.ma.masked_array(Y, HALF),
        "decimal": np.array([decimal.Decimal(1), decimal.Decimal("nan")], object)[HALF],
    }
    try:
        import pandas

        forms |= {
            "NA of strings": pandas.Series(["no", None] * 45, dtype="string"),
            "None in a category": pandas.Series(["no", None] * 45, dtype="category"),
            "nan in a category": pandas.Series([1.0, np.nan] * 45).astype("category"),
            "NA of integers": pandas.Series([0, None] * 45, dtype="Int64"),
            "NA of booleans": pandas.Series([True, None] * 45, dtype="boolean"),
            "nan of str": pandas.Series(["no", None] * 45),
            "NA in a list": [1, pandas.NA] * 45,
            "frame": pandas.DataFrame({"label": ["no", None] * 45}),
        }
        import polars

        forms |= {
            "null of words": polars.Series(["no", None] * 45),
            "null of integers": polars.Series([0, None] * 45),
            "nan of floats": polars.Series([0.0, float("nan")] * 45),
            "null in a frame": polars.DataFrame({"label": [0, None] * 45}),
        }
    except ImportError:
        pass
    return forms


@pytest.mark.parametrize("form", missing_labels())
def test_a_missing_label_is_told_of_wherever_it_is(form: str) -> None:
    labels = missing_labels()[form]
    said = (
        "masked array, of which 45" if form == "masked" else "contains NaN: 45 labels are missing"
    )
    for call in (
        lambda: model().fit(X, labels),
        lambda: model(solver="lbfgs").fit(X, labels),
        lambda: model().partial_fit(X, labels, classes=[0, 1]),
        lambda: model().fit(X, Y, X_val=X, y_val=labels),
        lambda: fastlin.path(X, labels, [1e-2], backend="numpy"),
        lambda: model().fit(X, Y).score(X, labels),
        lambda: model().partial_fit(X, Y, classes=labels),
    ):
        with pytest.raises(InputError, match=said) as caught:
            call()
        assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([1, "a"] * 45, "labels of type int, str; convert all of them"),
        ([True, 2] * 45, "labels of type bool, int"),
        (np.array([True, 1], object)[HALF], "labels of type bool, int"),
        ([2**63, -1] * 45, "integers from -1 to 9223372036854775808, beyond 64 bits"),
        ([2**64, 1] * 45, "beyond 64 bits; convert them to strings"),
        ([2**53 + 1, 1.0] * 45, "9007199254740993 beside floats, which cannot hold it exactly"),
        (np.array([2, 3], np.longdouble)[HALF] ** 2000, "float64 cannot hold exactly"),
        (np.where(HALF, np.longdouble(2) ** 53 + 1, 0), "float64 cannot hold exactly"),
        (Y + 1j, "^Complex data not supported: y holds complex128 labels"),
        (Y.astype("m8[s]"), r"labels of type timedelta64\[s\]"),
        ([datetime.date(2020, 1, 1 + v) for v in Y], "labels of type date; convert"),
        ([decimal.Decimal(v.item()) for v in Y], "labels of type Decimal"),
        (np.array([{}, {}] * 45, object), "labels of type dict"),
        (np.array([b"a", b"b"])[Y], "labels of type bytes.* np.char.decode"),
        ([[1], [2, 3]] * 45, "labels of type list"),
        (3, r"y should be a 1d array, got an array of shape \(\)"),
        (np.eye(2)[Y], r"shape \(90, 2\) instead.* y.argmax\(axis=1\)"),
        (X[:, 0], r"Unknown label type: continuous: .* such as .*sklearn.linear_model.Ridge"),
        (np.where(Y, np.inf, 0), "Input y contains infinity"),
        (Y[:-1], "90 rows and 89 labels"),
    ],
)
def test_labels_that_cannot_be_used(labels: Any, said: str) -> None:
    if "float64 cannot" in said and np.finfo(np.longdouble).nmant == 52:
        pytest.skip("long doubles are float64 here")
    for call in (
        lambda: model().fit(X, labels),
        lambda: model().partial_fit(X, labels, classes=[0, 1]),
        lambda: fastlin.path(X, labels, [1e-2], backend="numpy"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            call()
        assert len(str(caught.value)) <= 300
        assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ other types than in training


@pytest.mark.parametrize(("trained", "given"), [("u8", "i8"), ("i8", "u8"), ("i8", "i2")])
def test_large_integers_of_another_type_are_the_same_labels(trained: str, given: str) -> None:
    low = 2**60 if given != "i2" else 2**14
    labels = np.where(Y, low + 1, low)
    fitted = model(max_epochs=40).fit(X, labels.astype(trained))
    score = fitted.score(X, labels.astype(given))
    assert score == fitted.score(X, labels.astype(trained)) > 0.9
    fitted.partial_fit(X, labels.astype(given))
    model().fit(X, labels.astype(trained), X_val=X, y_val=labels.astype(given))


@pytest.mark.parametrize(
    ("classes", "label", "there"),
    [
        (np.array([2**53, 2**53 + 2], float), 2**53 + 1, False),
        (np.array([2**53, 2**53 + 1]), 2.0**53, True),
        (np.array([0, LARGEST], np.uint64), -1, False),
        (np.array([0, LARGEST], np.uint64), 2.0**64, False),
        (np.array([-1, 2**63 - 1]), LARGEST, False),
        (np.array([-1, 2**63 - 1]), 2.0**63, False),
        (np.array([-(2**63), 0]), -(2.0**63), True),
        (np.array([0, 44], np.int8), 300, False),
        (np.array([False, True]), 1, True),
        (np.array([False, True]), 2, False),
        (np.array([0.5, 1.5], np.float32), 1.5, True),
        (np.array([1, 2]), 1.5, False),
        (np.array(["1", "2"]), 1, False),
        (np.array([1, 2]), "1", False),
        (np.array(["1", "2"], object), "2", True),
    ],
)
def test_labels_are_compared_without_rounding(classes: Any, label: Any, there: bool) -> None:
    labels = np.array([label], np.uint64 if label == LARGEST else None)
    index, known = locate(labels, classes)
    assert known.tolist() == [there]
    if there:
        assert classes[index[0]] == label


def test_a_label_that_is_not_known_is_never_right() -> None:
    fitted = model().fit(X, Y)
    assert fitted.score(X, Y + 5) == 0
    assert fitted.score(X, WORDS[Y]) == 0
    weights = np.where(Y, 1.0, 0.0)
    right = (fitted.predict(X) == Y)[Y > 0].mean()
    assert fitted.score(X, Y, weights) == pytest.approx(right)
    for wrong in (np.ones(3), np.zeros(90), np.full(90, np.nan), ["a"] * 90):
        with pytest.raises(InputError, match="sample_weight"):
            fitted.score(X, Y, wrong)


# ------------------------------------------------------------------ class_weight

Y3 = np.digitize(X[:, 0], [-0.5, 0.5])
LATE = Y3 > 0


def test_labels_without_a_class_weight_weigh_one() -> None:
    by_class = model(class_weight={1: 5.0}).fit(X, Y)
    by_row = model().fit(X, Y, sample_weight=np.where(Y, 5.0, 1.0))
    np.testing.assert_array_equal(by_class.coef_, by_row.coef_)
    words = model(class_weight={"bee": 5.0}).fit(X, WORDS[Y])
    np.testing.assert_array_equal(words.coef_, by_row.coef_)
    numpy_names = model(class_weight={np.float32(1): np.float16(5)}).fit(X, Y)
    np.testing.assert_array_equal(numpy_names.coef_, by_row.coef_)


@pytest.mark.parametrize(
    "weights", [{0: 9.0}, {0: 9.0, 1: 2.0}, {0: 9.0, 1: 2.0, 2: 1.0}, {}], ids=str
)
@pytest.mark.parametrize("names", [np.arange(3), np.array(["a", "b", "c"])], ids=["int", "str"])
def test_a_block_may_lack_a_label_that_has_a_class_weight(
    weights: dict[int, float], names: np.ndarray
) -> None:
    named = {names[label].item(): weight for label, weight in weights.items()}
    by_class = model(class_weight=named)
    by_row = model()
    for part in (LATE, ~LATE, LATE):  # the first block lacks the label 0
        of_rows = np.array([weights.get(label, 1.0) for label in Y3[part]])
        by_class.partial_fit(X[part], names[Y3[part]], classes=names)
        by_row.partial_fit(X[part], names[Y3[part]], classes=names, sample_weight=of_rows)
    np.testing.assert_array_equal(by_class.coef_, by_row.coef_)


def test_a_fold_may_lack_a_label_that_has_a_class_weight() -> None:
    options = {"class_weight": {0: 9.0}, "backend": "numpy"}
    for call in (
        lambda: model(**options).fit(X[LATE], Y3[LATE]),
        lambda: fastlin.path(X[LATE], Y3[LATE], [1e-2], **options),
    ):
        with pytest.warns(ClassWeightWarning, match="names 0, but the labels .* 1, 2"):
            call()
    with warnings.catch_warnings():  # nothing can be misspelled if all labels are named
        warnings.simplefilter("error", ClassWeightWarning)
        model(class_weight={0: 9.0, 1: 1.0, 2: 3.0}).fit(X[LATE], Y3[LATE])


@pytest.mark.parametrize(
    ("weights", "labels", "said"),
    [
        ({"1": 2.0}, Y, "names '1', which is not a label; the labels are 0, 1; write 1"),
        ({1: 2.0}, Y.astype(str), "names 1, which is not a label; .* are '0', '1'; write '1'"),
        ({1: 2.0}, Y.astype(float).astype(str), "write '1.0'"),
        ({0: -1}, Y, "gives 0 the weight -1; .* not negative"),
        ({0: np.inf}, Y, "gives 0 the weight inf; .* finite"),
        ({0: "2"}, Y, "gives 0 the weight '2'"),
        ({0: None}, Y, "gives 0 the weight None"),
        ({0: 10**400}, Y, "gives 0 the weight 1000"),
        ({7: -1, 0: 1, 1: 1}, Y, "gives 7 the weight -1"),
    ],
)
def test_class_weights_that_cannot_be_meant(weights: Any, labels: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        model(class_weight=weights).fit(X, labels)
    with pytest.raises(InputError, match=said):
        model(class_weight=weights).partial_fit(X, labels, classes=np.unique(labels))


def test_a_name_of_no_class_at_all() -> None:
    with pytest.raises(InputError, match="names 7, which is not a label; the labels are 0, 1"):
        model(class_weight={7: 2.0}).partial_fit(X, Y, classes=[0, 1])


# ------------------------------------------------------------------ counted rather than sorted


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "uint64", ">i4"])
@pytest.mark.parametrize("span", [3, 250, 70_000])
def test_whole_numbers_are_found_as_by_sorting(dtype: str, span: int) -> None:
    generator = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    span = min(span, limits.max - limits.min)
    for least in (limits.min, limits.max - span, min(max(limits.min, -1), limits.max - span)):
        near = generator.integers(0, span, 400, dtype=np.uint64, endpoint=True).tolist()
        y = np.array([least + number for number in near], dtype)
        classes = classes_of(y)
        np.testing.assert_array_equal(classes, np.unique(y))
        assert classes.dtype == y.dtype.newbyteorder("=")
        index, known = locate(y, classes)
        np.testing.assert_array_equal(classes[index], y)
        assert known.all()
        # Labels that are no classes, between them and beyond them.
        some = classes[1:-1:2]
        if len(some):
            _, known = locate(y, some)
            np.testing.assert_array_equal(known, np.isin(y, some))
