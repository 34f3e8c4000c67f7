"""L-BFGS's memory: the latest steps, and its approximate inverse Hessian as a product of matrices.

With steps ``s``, changes of the gradient over them ``y``, and a preconditioner ``P``, the recursion
of L-BFGS (Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.4) is a few products with
tall matrices and two small triangular systems (Byrd, Nocedal and Schnabel, "Representations of
quasi-Newton matrices and their use in limited memory methods", 1994, theorem 2.2). With
``z = P^-1 y`` kept beside each step, a direction reads every ``s`` and ``z`` twice, and the
preconditioner is applied only once (Chen, Wang and Zhou, "Large-scale L-BFGS using MapReduce",
2014, do the same for a multiple of the identity). If there are many weights, that saves most of the
time between two passes over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.kernels.threads import map_in_threads

MANY = 2**18
"""Vectors of more numbers than this are kept in the weights' type, shorter ones in float64."""

NUMBERS_AT_ONCE = 2**16
"""Sums of products run over so many numbers of a vector, then over these sums in float64."""

ARRAYS = ("vectors", "changes", "of_steps", "of_solved")

Solve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Memory:
    """The latest pairs of a step and the gradient's change, ``(k, d + 1)`` each, oldest first.

    All it holds are arrays and numbers.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any], most: int) -> None:
        self.shape, self.most, n = shape, most, shape[0] * shape[1]
        self._dtype = dtype if n > MANY else np.dtype(np.float64)
        self._width = max(1, min(n, NUMBERS_AT_ONCE))
        n_chunks = -(-n // self._width)
        # Of each chunk first the steps' numbers, then those of the z.
        self._vectors = np.zeros((n_chunks, 2 * most, self._width), self._dtype)
        self._changes = np.zeros((most, n), self._dtype)
        self.clear()

    def clear(self) -> None:
        """Forget all pairs."""
        self._order: list[int] = []  # places of the pairs
        self._of_steps = np.zeros((self.most, self.most))  # s_i y_j if j is not older than i
        self._of_solved = np.zeros((self.most, self.most))  # z_i y_j
        self._awaits = False  # whether the latest pair's products with the others are missing

    def __len__(self) -> int:
        return len(self._order)

    def to_plain(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return copies of the arrays, and the numbers."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in ARRAYS}
        return arrays, {"order": list(self._order), "awaits": self._awaits}

    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Continue from what :meth:`to_plain` returned."""
        for name in ARRAYS:
            getattr(self, f"_{name}")[...] = arrays[name]
        self._order, self._awaits = list(numbers["order"]), numbers["awaits"]

    def remember(
        self, step: NDArray[np.float64], change: NDArray[np.float64], solved: NDArray[np.float64]
    ) -> None:
        """Keep a step if the objective is convex along it, unless rounding hides that.

        ``solved`` is the preconditioner's inverse times the gradient's ``change``.
        """
        product = float(np.vdot(step, change))
        if not product > 0:
            return
        if self._awaits:
            self._multiply(np.empty((0, 0)))
        full = len(self._order) == self.most
        place = self._order.pop(0) if full else len(self._order)
        self._order.append(place)
        self._changes[place] = change.ravel()
        self._of_steps[place, place] = product
        self._of_solved[place, place] = np.vdot(solved, change)
        self._put(place, step)
        self._put(self.most + place, solved)
        self._awaits = True

    def renew(self, solve: Solve) -> None:
        """Apply another preconditioner to the changes that are kept."""
        for place in self._order:
            change = self._changes[place].astype(np.float64).reshape(self.shape)
            solved = solve(change)
            self._put(self.most + place, solved)
            self._of_solved[place, place] = np.vdot(solved, change)
        for place in self._order:
            _, of_solved = np.split(self._products(self._changes[place]), 2)
            others = np.arange(self.most) != place
            self._of_solved[others, place] = of_solved[others]

    def direction(
        self, gradient: NDArray[np.float64], solved: NDArray[np.float64], n_threads: int = 1
    ) -> NDArray[np.float64]:
        """Return minus the approximate inverse Hessian times ``gradient``.

        ``solved`` is the preconditioner's inverse times the gradient. The latest step corrects the
        size of the preconditioner (Nocedal and Wright, equation 7.20).
        """
        if not self._order:
            return -solved
        along_steps, along_solved = np.split(self._multiply(gradient, n_threads), 2)
        order, latest = self._order, self._order[-1]
        of_steps = np.triu(self._of_steps[np.ix_(order, order)])
        of_solved = self._of_solved[np.ix_(order, order)]
        size = of_steps[-1, -1] / self._of_solved[latest, latest]
        from scipy.linalg.lapack import dtrtrs

        shares, _ = dtrtrs(of_steps, along_steps[order])
        right = np.diag(of_steps) * shares - size * (along_solved[order] - of_solved @ shares)
        kept, _ = dtrtrs(of_steps, right, trans=1)
        coefficients = np.zeros(2 * self.most)
        coefficients[order] = -kept
        coefficients[self.most + np.array(order)] = size * shares
        out = self._combination(coefficients, n_threads)
        out -= size * solved
        return out

    def _multiply(self, gradient: NDArray[np.float64], n_threads: int = 1) -> NDArray[np.float64]:
        """Return the products of all kept vectors and ``gradient``; add the latest pair's."""
        columns = [gradient.ravel()] if gradient.size else []
        if self._awaits:
            latest = self._order[-1]
            columns.append(self._changes[latest])
        products = self._products(*columns, n_threads=n_threads)
        if self._awaits:
            self._awaits = False
            of_steps, of_solved = np.split(products[:, -1] if len(columns) > 1 else products, 2)
            others = np.arange(self.most) != latest
            self._of_steps[others, latest] = of_steps[others]
            self._of_solved[others, latest] = of_solved[others]
            self._of_solved[latest, others] = of_solved[others]
        return products[:, 0] if len(columns) > 1 else products

    def _put(self, row: int, vector: NDArray[np.float64]) -> None:
        flat, whole = vector.ravel(), len(vector.ravel()) // self._width
        first = flat[: whole * self._width].reshape(whole, self._width)
        self._vectors[:whole, row] = first
        rest = flat[whole * self._width :]
        if len(rest):
            self._vectors[whole, row, : len(rest)] = rest

    def _for_every_chunk(self, call: Callable[[tuple[int, slice]], object], n_threads: int) -> None:
        """Call a function with the index of every chunk, and with its place in a vector."""
        n = self.shape[0] * self.shape[1]
        places = range(0, n, self._width)
        chunks = [(i, slice(first, min(first + self._width, n))) for i, first in enumerate(places)]

        def quietly(chunk: tuple[int, slice]) -> None:
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                call(chunk)

        if len(chunks) == 1:
            quietly(chunks[0])
            return
        with one_blas_thread():
            map_in_threads(quietly, chunks, n_threads)

    def _products(self, *columns: NDArray[Any], n_threads: int = 1) -> NDArray[np.float64]:
        """Return products with every kept vector, ``(2 most,)`` or ``(2 most, columns)``."""
        partial = np.zeros((len(self._vectors), 2 * self.most, len(columns)))

        def multiply(chunk: tuple[int, slice]) -> None:
            index, place = chunk
            rows = self._vectors[index, :, : place.stop - place.start]
            for column, vector in enumerate(columns):
                partial[index, :, column] = rows @ vector[place].astype(self._dtype, copy=False)

        self._for_every_chunk(multiply, n_threads)
        total = partial.sum(axis=0)
        return np.asarray(total[:, 0] if len(columns) == 1 else total)

    def _combination(
        self, coefficients: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        """Return the sum of the kept vectors times ``coefficients (2 most,)``."""
        out = np.empty(self.shape)
        flat, factors = out.reshape(-1), coefficients.astype(self._dtype)

        def combine(chunk: tuple[int, slice]) -> None:
            index, place = chunk
            flat[place] = factors @ self._vectors[index, :, : place.stop - place.start]

        self._for_every_chunk(combine, n_threads)
        return out
