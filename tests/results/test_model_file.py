"""The model file: loading returns what was saved, and one line reports every fault."""

from __future__ import annotations

import copy
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import FORMS, fields_of, write_model
from safetensors.numpy import load_file

from fastlin import LogisticRegression
from fastlin.errors import InputError, ModelFileError, OutputError
from fastlin.results.model_file import VERSION, SavedModel, load_model, save_model

METADATA = {"fastlin": "0.1.0", "n_iter_": 7, "backend_": "numpy", "history": {"step": [0, 1]}}
PARAMS = {
    "l2": 1e-4,
    "input_scale": (127.5, 1 / 127.5),
    "class_weight": {2: 1.0, 3: 0.5},
    "random_state": np.int64(3),
    "dtype": "auto",
    "n_threads": None,
}


def fitted_arrays(n_classes: int = 3, labels: Any = None) -> dict[str, np.ndarray]:
    rows = 1 if n_classes == 2 else n_classes
    return {
        "coef_": np.random.default_rng(0).normal(size=(rows, 4)),
        "intercept_": np.arange(rows, dtype=float),
        "classes_": np.arange(n_classes) if labels is None else np.array(labels),
    }


def save(path: Path, **changes: Any) -> None:
    save_model(path, params=PARAMS, arrays={**fitted_arrays(), **changes}, metadata=METADATA)


def rewrite(path: Path, form: str, part: str, **changes: Any) -> None:
    """Change fields in a file, whose checksums are right again afterwards; None removes one."""
    fields = fields_of(path)
    fields[part] = {
        name: value for name, value in (fields[part] | changes).items() if value is not None
    }
    write_model(path, form, **fields)


def assert_same(first: SavedModel, second: SavedModel) -> None:
    assert first.params == second.params
    assert first.metadata == second.metadata
    assert first.arrays.keys() == second.arrays.keys()
    for name in first.arrays:
        np.testing.assert_array_equal(first.arrays[name], second.arrays[name])


def test_what_comes_back_is_what_was_saved(tmp_path: Path) -> None:
    save(tmp_path / "model.npz")
    model = load_model(tmp_path / "model.npz")
    assert_same(model, SavedModel(PARAMS, fitted_arrays(), METADATA))
    assert isinstance(model.params["input_scale"], tuple)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.npz"]


@pytest.mark.parametrize(
    "labels",
    [["cat", "dog"], [-1.5, 2.0], [False, True], np.array(["ä", "日本"], dtype=object), [2, 3, 9]],
)
def test_labels_are_numbers_or_strings(tmp_path: Path, labels: Any) -> None:
    arrays = fitted_arrays(len(labels), labels)
    save_model(tmp_path / "m.npz", params={}, arrays=arrays, metadata=METADATA)
    classes = load_model(tmp_path / "m.npz").arrays["classes_"]
    assert classes.tolist() == np.array(labels).tolist()
    assert classes.dtype.kind != "O"


def test_other_programs_read_the_arrays(tmp_path: Path) -> None:
    save(tmp_path / "model")
    np.testing.assert_array_equal(load_file(tmp_path / "model")["coef_"], fitted_arrays()["coef_"])


def test_the_path_is_taken_as_it_is(tmp_path: Path) -> None:
    save(tmp_path / "model")
    assert (tmp_path / "model").is_file()
    load_model(str(tmp_path / "model"))


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    save(tmp_path / "one.npz")
    save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coef_": np.full((3, 4), np.nan)}, "coef_ has values that are NaN or infinite"),
        ({"intercept_": np.array([0.0, np.inf, 0.0])}, "intercept_ has values"),
        ({"coef_": np.zeros((3, 4), int)}, "coef_ has type int64, expected float32 or float64"),
        ({"coef_": np.zeros((2, 4))}, r"coef_ has shape \(2, 4\), expected \(3, d\)"),
        ({"intercept_": np.zeros(2)}, r"intercept_ has shape \(2,\), expected \(3,\)"),
        ({"classes_": np.array([0, 2, 1])}, "classes_ is not a sorted list"),
        ({"classes_": np.array([1])}, "classes_ is not a sorted list of two or more"),
        ({"classes_": np.array([1j, 2j, 3j])}, "classes_ has type complex128"),
        ({"classes_": np.array([0, "a", None], dtype=object)}, "neither numbers nor strings"),
        ({"feature_names_in_": np.array(["a", "b"])}, "feature_names_in_ is not 4 strings"),
        ({"velocity": np.zeros(3)}, "array velocity is not known"),
    ],
)
def test_saving_refuses_what_loading_would_refuse(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        save(tmp_path / "model.npz", **changes)
    assert not list(tmp_path.iterdir())


def test_a_parameter_that_is_no_plain_value_is_named(tmp_path: Path) -> None:
    params = {"random_state": np.random.default_rng(0)}
    with pytest.raises(InputError, match="random_state is a Generator"):
        save_model(tmp_path / "m.npz", params=params, arrays=fitted_arrays(), metadata=METADATA)


def test_metadata_must_be_complete(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metadata n_iter_ is None, expected int"):
        save_model(tmp_path / "m.npz", params={}, arrays=fitted_arrays(), metadata={"fastlin": "1"})


def test_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no model file .*fastlin train --out"):
        load_model(tmp_path / "none.npz")


def test_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"P", b"label,x\n1,2\n", b"\x93NUMPY"])
def test_other_files_are_foreign(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ModelFileError, match="is not a model that fastlin saved"):
        load_model(tmp_path / "model.npz")


def test_an_archive_of_someone_else_is_foreign(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    np.savez(tmp_path / "b.npz", header=np.zeros(3))
    np.savez(tmp_path / "c.npz", header=np.array(b'{"format": "another"}'))
    for name in "abc":
        with pytest.raises(ModelFileError, match="is not a model that fastlin saved"):
            load_model(tmp_path / f"{name}.npz")


def test_objects_in_an_archive_are_never_unpickled(tmp_path: Path) -> None:
    save(tmp_path / "m")
    arrays = {"classes_": np.array(["a", "b", 3], dtype=object)}
    fields = fields_of(tmp_path / "m")
    write_model(tmp_path / "m", "npz", **fields | {"arrays": fields["arrays"] | arrays})
    with pytest.raises(ModelFileError, match=r"truncated or damaged: .* or it holds objects"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("form", FORMS)
def test_both_formats_hold_the_same(tmp_path: Path, form: str) -> None:
    save(tmp_path / "m")
    write_model(tmp_path / "m", form, **fields_of(tmp_path / "m"))
    assert_same(load_model(tmp_path / "m"), SavedModel(PARAMS, fitted_arrays(), METADATA))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": VERSION + 1}, "written by a newer fastlin .*pip install --upgrade fastlin"),
        ({"params": None}, "it has no params"),
        ({"metadata": [1]}, "it has no metadata"),
        ({"metadata": {}}, "metadata fastlin is None, expected str"),
    ],
)
def test_each_part_is_checked(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    save(tmp_path / "m")
    write_model(tmp_path / "m", "safetensors", **fields_of(tmp_path / "m") | changes)
    with pytest.raises(ModelFileError, match=said):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "1"}, "its format version is '1'"),
        ({"version": 2}, "its format version is 2"),
        ({"params": None}, "it has no params"),
        ({"metadata": {}}, "metadata fastlin is None, expected str"),
    ],
)
def test_each_part_of_an_archive_is_checked(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    save(tmp_path / "m")
    write_model(tmp_path / "m", "npz", **fields_of(tmp_path / "m") | changes)
    with pytest.raises(ModelFileError, match=said):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("form", FORMS)
def test_arrays_are_checked_on_loading_too(tmp_path: Path, form: str) -> None:
    save(tmp_path / "m")
    rewrite(tmp_path / "m", form, "arrays", intercept_=None)
    with pytest.raises(ModelFileError, match="array intercept_ is missing"):
        load_model(tmp_path / "m")


def forms(folder: Path) -> Path:
    """Write a file of each form into a folder."""
    for form in FORMS:
        save(folder / form)
        write_model(folder / form, form, **fields_of(folder / form))
    return folder


@settings(max_examples=400, deadline=None)
@given(form=st.sampled_from(FORMS), share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_never_loaded(
    form: str, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = forms(tmp_path_factory.getbasetemp()) / form
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError):
        load_model(path)


@settings(max_examples=1000, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    flips=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4
    ),
)
def test_flipped_bits_never_change_the_model(
    form: str, flips: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = forms(tmp_path_factory.getbasetemp()) / form
    saved = load_model(path)
    content = bytearray(path.read_bytes())
    for share, bit in flips:
        content[int(share * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        loaded = load_model(path)
    except ModelFileError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  (each kind of error is a pass)
        return
    assert_same(loaded, saved)  # bytes that no reader looks at, such as a time stamp


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "model.npz"
    save(path)
    before = path.read_bytes()

    def disk_full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastlin.results.model_file.write_arrays", disk_full)
    with pytest.raises(OutputError, match=r"cannot write .*No space left on device"):
        save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"there is no folder '.*none'; create it first"):
        save(tmp_path / "none" / "model.npz")


@pytest.fixture(scope="module", params=[2, 3], ids=["logistic", "softmax"])
def trained(request: pytest.FixtureRequest) -> tuple[LogisticRegression, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(5, 3, size=(90, 4))
    y = np.array(["ant", "bee", "cat"])[np.arange(90) % request.param]
    model = LogisticRegression(
        backend="numpy",
        input_scale="standard",
        class_weight={"ant": 1.0, "bee": 2.0, "cat": 1.0},
        max_epochs=5,
        random_state=0,
        callbacks=[lambda progress: None],
    )
    return model.fit(X, y, X_val=X[:30], y_val=y[:30]), X, y


def test_a_loaded_estimator_is_the_saved_one(tmp_path: Path, trained: Any) -> None:
    model, X, _ = trained
    model.save(tmp_path / "model.npz")
    loaded = LogisticRegression.load(tmp_path / "model.npz")
    assert loaded.get_params() == model.get_params() | {"callbacks": None}
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.coef_.dtype == model.coef_.dtype
    for name in ("n_iter_", "backend_", "learning_rate_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(model, name)
    for name, value in vars(model.history_).items():
        np.testing.assert_array_equal(getattr(loaded.history_, name), value)
        assert type(getattr(loaded.history_, name)) is type(value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "average": True, "schedule": "invscaling"},
        {"solver": "lbfgs", "tol": 0},
    ],
)
def test_training_goes_on_after_loading(
    tmp_path: Path, trained: Any, options: dict[str, Any]
) -> None:
    model, X, y = trained
    model = copy.deepcopy(model).set_params(**options).fit(X, y).set_params(solver="sgd")
    model.save(tmp_path / "model.npz")
    loaded = LogisticRegression.load(tmp_path / "model.npz").partial_fit(X, y)
    expected = copy.deepcopy(model).partial_fit(X, y)
    np.testing.assert_array_equal(loaded.coef_, expected.coef_)
    np.testing.assert_array_equal(loaded.intercept_, expected.intercept_)
    assert np.abs(loaded.coef_ - model.coef_).max() > 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", ["shape", "type", "value"])
def test_where_training_stopped_is_checked(
    tmp_path: Path, trained: Any, form: str, change: str
) -> None:
    path = tmp_path / "model"
    trained[0].save(path)
    weights = fields_of(path)["arrays"]["position_weights"]
    altered = {
        "shape": weights[:, 1:],
        "type": weights.astype(np.float32),
        "value": np.full_like(weights, np.nan),
    }[change]
    rewrite(path, form, "arrays", position_weights=altered)
    with pytest.raises(ModelFileError, match=r"position_weights is not .* finite numbers"):
        LogisticRegression.load(path)
    trained[0].save(path)
    rewrite(path, form, "arrays", position_weights=None)
    with pytest.raises(ModelFileError, match=r"a field is missing or wrong .*'weights'"):
        LogisticRegression.load(path)


def test_names_of_features_come_back(tmp_path: Path, trained: Any) -> None:
    model = copy.deepcopy(trained[0])
    model.feature_names_in_ = np.array(["a", "b", "c", "ä"], dtype=object)
    model.save(tmp_path / "model.npz")
    names = LogisticRegression.load(tmp_path / "model.npz").feature_names_in_
    assert names.tolist() == ["a", "b", "c", "ä"]
    assert names.dtype == object


def test_a_generator_as_random_state_is_not_kept(tmp_path: Path, trained: Any) -> None:
    model = copy.deepcopy(trained[0]).set_params(random_state=np.random.RandomState(0))
    model.save(tmp_path / "model.npz")
    assert LogisticRegression.load(tmp_path / "model.npz").random_state is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("params", {"momentun": 0.9}, "momentun"),
        ("params", {"momentum": 2.0}, "'momentum' .* must be a float in the range"),
        ("params", {"solver": "newton"}, "'solver' .* must be a str among"),
        ("params", {"callbacks": [1]}, "it has callbacks"),
        ("metadata", {"backend_": "cuda"}, "an unknown backend"),
        ("metadata", {"learning_rate_": "fast"}, "'fast', expected a number above 0"),
        ("metadata", {"learning_rate_": 0.0}, r"0.0, expected a number above 0"),
        ("metadata", {"n_iter_": -1}, "n_iter_ is -1"),
        ("metadata", {"n_iter_": True}, "n_iter_ is True"),
        ("metadata", {"position": [3, -1]}, "position is .*expected two counts"),
        ("metadata", {"seen": {"n_rows": -5}}, "seen is .*expected counts"),
        ("metadata", {"seen": {"epochs": 2.5}}, "seen is .*expected counts"),
        ("metadata", {"intercept_gain": -1.0}, "intercept_gain is -1.0"),
        ("metadata", {"before_centring": [1.0]}, "before_centring is"),
        ("metadata", {"before_centring": "1"}, "before_centring is '1'"),
        ("metadata", {"trained_with": {"momentum": -1}}, "'momentum' .* must be a float"),
        ("metadata", {"trained_with": {"weights": [1]}}, "trained_with is .*the weights' type"),
        ("metadata", {"history": {"step": [0], "train_loss": [1.0]}}, "objective"),
        ("arrays", {"input_factor": np.zeros(4)}, "input_factor is not 4 finite numbers above 0"),
        ("arrays", {"input_factor": -np.ones(4)}, "input_factor is not 4 finite numbers above 0"),
        ("arrays", {"coef_": np.zeros((1, 4), np.float16)}, "coef_ has type float16"),
    ],
)
def test_each_field_of_an_estimator_is_checked(
    tmp_path: Path, form: str, part: str, changes: dict[str, Any], said: str
) -> None:
    X = np.random.default_rng(0).standard_normal((60, 4))
    path = tmp_path / "model"
    LogisticRegression(backend="numpy", max_epochs=2).fit(X, X[:, 0] > 0).save(path)
    rewrite(path, form, part, **changes)
    with pytest.raises(ModelFileError, match=said):
        LogisticRegression.load(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"best_step": "one"}, "best_step is 'one'"),
        ({"best_step": -2}, "best_step is -2"),
        ({"stop_reason": 5}, "stop_reason is 5"),
        ({"steps_per_loss": 0}, "steps_per_loss is 0"),
        ({"steps_per_epoch": -1}, "steps_per_epoch is -1"),
        ({"seconds": {"total": "x"}}, "seconds are"),
        ({"step": ["a"]}, "step is"),
        ({"step": [0.5]}, "step is"),
        ({"step": [[0]]}, "step is"),
        ({"step": [0]}, "step, train_loss disagree"),
        ({"step": [-1, 0], "train_loss": [1.0, 1.0]}, "step do not increase from 0"),
        ({"step": [1, 0], "train_loss": [1.0, 1.0]}, "step do not increase from 0"),
        ({"gap": [1.0]}, "objective, gradient_norm, gap disagree"),
        ({"val_loss": [1.0] * 9}, "check_step, val_loss, .* disagree"),
        ({"later": 1}, "later"),
    ],
)
def test_each_field_of_a_history_is_checked(
    tmp_path: Path, trained: Any, form: str, changes: dict[str, Any], said: str
) -> None:
    path = tmp_path / "model"
    trained[0].save(path)
    history = trained[0].history_.to_dict()
    rewrite(path, form, "metadata", history=history)
    LogisticRegression.load(path)
    trained[0].save(path)
    rewrite(path, form, "metadata", history=history | changes)
    with pytest.raises(ModelFileError, match=said):
        LogisticRegression.load(path)


@pytest.mark.parametrize("dtype", [">i4", ">f8", ">U3", "<i2"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_labels_of_any_order_of_bytes_come_back_in_their_type(
    tmp_path: Path, dtype: str, method: str
) -> None:
    X = np.random.default_rng(0).standard_normal((30, 2))
    y = (np.arange(30) % 3).astype(dtype)
    model = LogisticRegression(backend="numpy", max_epochs=2, random_state=0)
    given = {"classes": y[:3]} if method == "partial_fit" else {}
    getattr(model, method)(X, y, **given).save(tmp_path / "model")
    loaded = LogisticRegression.load(tmp_path / "model")
    assert loaded.classes_.dtype == model.classes_.dtype
    assert loaded.predict(X).dtype == model.predict(X).dtype
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_a_model_that_would_not_load_is_not_saved(tmp_path: Path, trained: Any) -> None:
    model = copy.deepcopy(trained[0]).set_params(momentum=2.0)
    with pytest.raises(InputError, match="momentum"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_history_of_the_first_format_is_read(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((60, 2))
    model = LogisticRegression(backend="numpy", max_epochs=4, tol=None).fit(X, X[:, 0] > 0)
    path = tmp_path / "model.npz"
    model.save(path)
    history = model.history_.to_dict()
    assert history.pop("steps_per_loss") == 1
    rewrite(path, "npz", "metadata", history=history)
    history = LogisticRegression.load(path).history_
    assert history.steps_per_loss == 1
    np.testing.assert_array_equal(history.train_loss, model.history_.train_loss)


def test_long_options_are_kept(tmp_path: Path) -> None:
    """Whether as arrays, lists or dicts: their text would be too long."""
    d, rng = 5000, np.random.default_rng(0)
    X, y = rng.standard_normal((40, d)).astype(np.float32), np.arange(40) % 3
    options = {
        "input_scale": ([0.0] * d, np.full(d, 0.5)),
        "class_weight": {int(label): 1.0 + label for label in range(20_000)},
        "max_epochs": 2,
    }
    model = LogisticRegression(backend="numpy", random_state=0, **options).fit(X, y)
    model._data_layout = {"names": [f"column {i}" for i in range(d)], "n_columns": d}
    model.save(tmp_path / "m")
    loaded = LogisticRegression.load(tmp_path / "m")
    assert loaded.class_weight == model.class_weight
    np.testing.assert_array_equal(loaded.input_scale, model.input_scale)
    np.testing.assert_array_equal(loaded._data_layout["names"], model._data_layout["names"])
    found, expected = (one.partial_fit(X, y).coef_ for one in (loaded, model))
    np.testing.assert_array_equal(found, expected)


def test_a_private_file_stays_private(tmp_path: Path, trained: Any) -> None:
    path = tmp_path / "model"
    trained[0].save(path)
    path.chmod(0o600)
    trained[0].save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
