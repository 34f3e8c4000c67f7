"""The rows and labels of a benchmark's problem: MNIST, random pixels, words, or embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.bench.problems import Problem

PIXEL_SCALE = 1.0 / 255.0  # uint8 rows u stand for x = u * PIXEL_SCALE
_FIRST_RANK = 10  # the most frequent words of all are left out, as stop words are


@dataclass(frozen=True)
class Data:
    """Rows, labels and the order in which an epoch takes them.

    Attributes
    ----------
    rows : (n, d) uint8, float16, float32 or float64, C-ordered, or a CSR array of SciPy
    labels : (n,) int32, in ``range(n_classes)``
    order : (n_steps * batch_size,) int64
        Consecutive slices of ``batch_size`` are the batches.
    scale : float
        A row ``u`` stands for ``x = u * scale``; 1 unless rows are uint8.
    """

    rows: NDArray[Any]
    labels: NDArray[np.int32]
    order: NDArray[np.int64]
    scale: float

    @cached_property
    def float_rows(self) -> NDArray[Any]:
        """Rows as the scaled floats that the arithmetic wants; no copy of float32 or float64."""
        if self.rows.dtype in (np.float32, np.float64):
            return self.rows
        scaled: NDArray[Any] = np.multiply(self.rows, np.float32(self.scale), dtype=np.float32)
        return scaled

    def first_steps(self, n_steps: int, batch_size: int) -> Data:
        """Return the same rows with the order cut to the first few batches."""
        return replace(self, order=self.order[: n_steps * batch_size])


def make_data(problem: Problem) -> Data:
    """Load or draw a problem's rows and labels, and its seeded shuffled order."""
    sources = {
        "mnist": _mnist,
        "text": make_text,
        "embedding": _embedding,
        "synthetic": _synthetic,
    }
    rows, labels = sources[problem.source](problem)
    if rows.dtype == np.uint8 and problem.dtype != "uint8":
        scaled = np.multiply(rows, PIXEL_SCALE, dtype=problem.weight_dtype)
        rows = scaled.astype(problem.dtype, copy=False)
    order = np.random.default_rng(problem.seed).permutation(len(labels))
    return Data(
        rows=rows,
        labels=labels,
        order=order[: problem.n_steps * problem.batch_size],
        scale=PIXEL_SCALE if problem.dtype == "uint8" else 1.0,
    )


def make_text(problem: Problem) -> tuple[Any, NDArray[np.int32]]:
    """Draw texts of which a sixth of the words tell the class, weighed by tf-idf, of length 1.

    A word's frequency falls as one over its rank (Zipf's law); a text has ``nonzeros`` words, of
    which some occur twice. Weights as scikit-learn's ``TfidfVectorizer`` has them.
    """
    from scipy.sparse import csr_array

    random = np.random.default_rng(problem.seed)
    n, d, k, length = problem.n_rows, problem.n_features, problem.n_classes, problem.nonzeros or 1
    labels = random.integers(0, k, n, dtype=np.int32)
    frequency = 1.0 / np.arange(_FIRST_RANK, d + _FIRST_RANK)
    cumulative = np.cumsum(frequency / frequency.sum())
    words = np.searchsorted(cumulative, random.random((n, length)))
    of_class = (random.integers(0, 200, (n, length)) * k + labels[:, np.newaxis]) % d
    words = np.where(random.random((n, length)) < 1 / 6, of_class, words.clip(max=d - 1))
    starts = np.arange(n + 1, dtype=np.int32) * np.int32(length)
    rows = csr_array(
        (np.ones(words.size, np.float32), words.ravel().astype(np.int32), starts), shape=(n, d)
    )
    rows.sum_duplicates()
    documents = np.bincount(rows.indices, minlength=d)
    rows.data *= (np.log((1 + n) / (1 + documents)) + 1).astype(np.float32)[rows.indices]
    lengths = np.sqrt(rows.multiply(rows).sum(axis=1))
    rows.data /= np.repeat(lengths, np.diff(rows.indptr)).astype(np.float32)
    return rows, labels


def _embedding(problem: Problem) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Draw what a frozen network might put out: correlated features, and classes that overlap.

    A row is a point near the mean of its class in a space of a quarter of the dimensions, whose
    extents fall as the root of their number, seen through random directions, and some noise; all
    have length 1, as embeddings that are compared by angles have.
    """
    random = np.random.default_rng(problem.seed)
    n, d, k = problem.n_rows, problem.n_features, problem.n_classes
    labels = random.integers(0, k, n, dtype=np.int32)
    inner = max(d // 4, 1)
    points = random.standard_normal((n, inner)) + random.normal(0, 0.2, (k, inner))[labels]
    points /= np.sqrt(np.arange(1, inner + 1))
    rows = points @ random.standard_normal((inner, d)) + random.normal(0, 0.1, (n, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), labels


def _mnist(problem: Problem) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Take MNIST's first rows; two classes are odd and even digits."""
    from fastlin import datasets

    mnist = datasets.load("mnist")
    pixels = np.ascontiguousarray(mnist.X_train[: problem.n_rows])
    digits = np.asarray(mnist.y_train[: problem.n_rows]).astype(np.int32)
    labels = digits % 2 if problem.n_classes == 2 else digits
    return pixels, labels


def _synthetic(problem: Problem) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Draw pixels at random, and labels that a linear model can partly learn.

    A row of class ``c`` has its feature ``c`` (modulo ``d``) at the largest value,
    so that the classes differ and the gradient does not cancel.
    """
    random = np.random.default_rng(problem.seed)
    n, d, k = problem.n_rows, problem.n_features, problem.n_classes
    pixels = random.integers(0, 256, (n, d), dtype=np.uint8)
    labels = random.integers(0, k, n, dtype=np.int32)
    pixels[np.arange(n), labels % d] = 255
    return pixels, labels
