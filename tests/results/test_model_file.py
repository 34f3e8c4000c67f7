"""The model file: loading returns what was saved, and one line reports every fault."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlin import LogisticRegression
from fastlin.errors import InputError, ModelFileError, OutputError
from fastlin.results.history import History
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


def rewrite_header(path: Path, **changes: Any) -> None:
    """Change fields of the header in a file whose checksums are right again afterwards."""
    members = dict(np.load(path))
    header = json.loads(members.pop("header").item()) | changes
    with path.open("wb") as file:
        np.savez(file, header=np.array(json.dumps(header).encode()), **members)


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


def test_numpy_opens_the_file_without_pickle(tmp_path: Path) -> None:
    save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
        assert json.loads(archive["header"].item())["version"] == VERSION
        np.testing.assert_array_equal(archive["coef_"], fitted_arrays()["coef_"])


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
    with pytest.raises(InputError, match="parameter random_state is a Generator"):
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
    save(tmp_path / "model.npz")
    members = dict(np.load(tmp_path / "model.npz"))
    members["classes_"] = np.array(["a", "b", 3], dtype=object)
    np.savez(tmp_path / "model.npz", **members)
    with pytest.raises(ModelFileError, match="truncated or damaged: Object arrays"):
        load_model(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": VERSION + 1}, "written by a newer fastlin .*pip install --upgrade fastlin"),
        ({"version": "1"}, "its format version is '1'"),
        ({"params": None}, "its header has no params"),
        ({"metadata": {}}, "metadata fastlin is None, expected str"),
    ],
)
def test_each_field_of_the_header_is_checked(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    save(tmp_path / "model.npz")
    rewrite_header(tmp_path / "model.npz", **changes)
    with pytest.raises(ModelFileError, match=said):
        load_model(tmp_path / "model.npz")


def test_arrays_are_checked_on_loading_too(tmp_path: Path) -> None:
    save(tmp_path / "model.npz")
    members = dict(np.load(tmp_path / "model.npz"))
    del members["intercept_"]
    np.savez(tmp_path / "model.npz", **members)
    with pytest.raises(ModelFileError, match="array intercept_ is missing"):
        load_model(tmp_path / "model.npz")


@settings(max_examples=200, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_never_loaded(
    share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("truncated") / "model.npz"
    save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError):
        load_model(path)


@settings(max_examples=300, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_never_changes_the_model(
    share: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("altered") / "model.npz"
    save(path)
    saved = load_model(path)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        loaded = load_model(path)
    except ModelFileError:
        return
    assert_same(loaded, saved)  # bytes that no reader looks at, such as a time stamp


def test_checksums_are_really_verified(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(path)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("coef_.npy").header_offset
        size = archive.getinfo("coef_.npy").compress_size
    content = bytearray(path.read_bytes())
    content[start + 60 + size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        load_model(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "model.npz"
    save(path)
    before = path.read_bytes()

    def disk_full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", disk_full)
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


@pytest.mark.parametrize("change", ["shape", "type", "value"])
def test_where_training_stopped_is_checked(tmp_path: Path, trained: Any, change: str) -> None:
    path = tmp_path / "model.npz"
    trained[0].save(path)
    members = dict(np.load(path))
    weights = members["position_weights"]
    members["position_weights"] = {
        "shape": weights[:, 1:],
        "type": weights.astype(np.float32),
        "value": np.full_like(weights, np.nan),
    }[change]
    with path.open("wb") as file:
        np.savez(file, **members)
    with pytest.raises(ModelFileError, match=r"position_weights is not .* finite numbers"):
        LogisticRegression.load(path)
    del members["position_weights"]
    with path.open("wb") as file:
        np.savez(file, **members)
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


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("params", {"momentun": 0.9}, "momentun"),
        ("metadata", {"learning_rate_": "fast"}, "fast"),
        ("metadata", {"history": {"step": [0]}}, "train_loss"),
        ("metadata", {"history": History().to_dict() | {"best_step": "one"}}, "best_step is 'one'"),
        ("metadata", {"history": History().to_dict() | {"step": ["a"]}}, "'a'"),
    ],
)
def test_each_field_of_an_estimator_is_checked(
    tmp_path: Path, trained: Any, part: str, changes: dict[str, Any], said: str
) -> None:
    path = tmp_path / "model.npz"
    trained[0].save(path)
    before = json.loads(np.load(path)["header"].item())[part]
    rewrite_header(path, **{part: before | changes})
    with pytest.raises(ModelFileError, match=f"a field is missing or wrong .*{said}"):
        LogisticRegression.load(path)


def test_a_history_of_the_first_format_is_read(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((60, 2))
    model = LogisticRegression(backend="numpy", max_epochs=4, tol=None).fit(X, X[:, 0] > 0)
    path = tmp_path / "model.npz"
    model.save(path)
    header = json.loads(np.load(path)["header"].item())
    assert header["metadata"]["history"].pop("steps_per_loss") == 1
    rewrite_header(path, metadata=header["metadata"])
    history = LogisticRegression.load(path).history_
    assert history.steps_per_loss == 1
    np.testing.assert_array_equal(history.train_loss, model.history_.train_loss)
