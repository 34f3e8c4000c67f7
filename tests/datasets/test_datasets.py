"""Data sets by name: what load returns, and the real MNIST."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from fastlin import datasets
from fastlin.datasets import idx
from fastlin.errors import InputError


def test_digits_are_the_default_and_hold_each_of_scikit_learns_images_once() -> None:
    from sklearn.datasets import load_digits

    data = datasets.load()
    assert data.name == "digits"
    assert data.image_shape == (8, 8)
    assert data.X_train.dtype == np.uint8
    assert data.y_train.dtype == np.int64
    assert data.X_train.flags["C_CONTIGUOUS"]
    assert len(data.X_val) == 359
    X, y = load_digits(return_X_y=True)
    expected = np.column_stack([X, y])
    rows = np.column_stack(
        [np.vstack([data.X_train, data.X_val]), np.concatenate([data.y_train, data.y_val])]
    )
    assert sorted(map(tuple, rows.astype(int))) == sorted(map(tuple, expected.astype(int)))


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    first, again, other = (datasets.load("digits", seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.X_val, again.X_val)
    assert not np.array_equal(first.y_val, other.y_val)


def test_validation_fraction_sets_the_size_of_the_split() -> None:
    assert len(datasets.load("digits", validation_fraction=0.5).X_val) == round(0.5 * 1797)
    nothing = datasets.load("digits", validation_fraction=0.0)
    assert nothing.X_val.shape == (0, 64)
    assert len(nothing.X_train) == 1797


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_validation_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="validation fraction"):
        datasets.load("digits", validation_fraction=fraction)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed"):
        datasets.load("digits", seed=-1)


def test_an_unknown_name_says_which_names_are_known() -> None:
    with pytest.raises(InputError, match=r"'minst' \(did you mean mnist\?\).*digits"):
        datasets.load("minst")


def test_available_lists_the_three_names_without_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTLIN_DATA_DIR", str(tmp_path))
    listings = {listing.name: listing for listing in datasets.available()}
    assert set(listings) == {"mnist", "fashion-mnist", "digits"}
    assert not listings["mnist"].cached
    assert listings["mnist"].where == str(tmp_path / "mnist")
    assert listings["digits"].cached
    assert list(tmp_path.iterdir()) == []


def test_mnist_is_the_canonical_set_to_the_byte(mnist: datasets.Dataset) -> None:
    assert mnist.X_train.shape == (60_000, 784)
    assert mnist.X_val.shape == (10_000, 784)
    assert mnist.image_shape == (28, 28)
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.y_val[:5].tolist() == [7, 2, 1, 0, 4]
    images = idx.encode(mnist.X_train.reshape(-1, 28, 28))
    # As published with the original file.
    assert hashlib.md5(images).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


def test_the_binary_task_has_its_known_number_of_images(mnist: datasets.Dataset) -> None:
    assert np.isin(mnist.y_train[:20_000], (2, 3)).sum() == 4005
    assert np.isin(mnist.y_val, (2, 3)).sum() == 2042


def test_mnist_is_cached_after_it_was_loaded(mnist: datasets.Dataset) -> None:
    listing = next(entry for entry in datasets.available() if entry.name == "mnist")
    assert listing.cached
    assert listing.n_train == len(mnist.X_train)
    assert listing.size == mnist.X_train.nbytes + mnist.X_val.nbytes + 70_000
