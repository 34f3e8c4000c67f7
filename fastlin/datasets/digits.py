"""scikit-learn's 1797 digits of 8 x 8 pixels, which need no network."""

from __future__ import annotations

import numpy as np

from fastlin.datasets.dataset import Dataset, Listing, split

IMAGE_SHAPE = (8, 8)
TITLE = "digits of 8 x 8 pixels"
_N_ROWS = 1797


def load(validation_fraction: float, seed: int) -> Dataset:
    """Return the digits as uint8 rows with values 0 to 16, split by a seeded shuffle.

    Source: scikit-learn's copy of the test set of "Optical recognition of handwritten
    digits", E. Alpaydin and C. Kaynak, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    parts = split(X.astype(np.uint8), y.astype(np.int64), validation_fraction, seed)
    return Dataset("digits", *parts, IMAGE_SHAPE, f"{TITLE}, bundled with scikit-learn")


def listing(validation_fraction: float) -> Listing:
    """Describe the digits without loading them."""
    n_val = round(validation_fraction * _N_ROWS)
    d = IMAGE_SHAPE[0] * IMAGE_SHAPE[1]
    return Listing(
        name="digits",
        title=TITLE,
        n_train=_N_ROWS - n_val,
        n_val=n_val,
        n_features=d,
        size=_N_ROWS * (d + 1),
        cached=True,
        where="bundled with scikit-learn",
    )
