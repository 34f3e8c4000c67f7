"""What the bits of a fit depend on, so that a checkpoint is not taken for that of another run."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from fastlin.errors import shown
from fastlin.kernels import Backend
from fastlin.kernels.threads import map_in_threads
from fastlin.rows.interface import Rows
from fastlin.solvers.state import State
from fastlin.training_set import Options, TrainingSet

FLOAT32 = np.dtype(np.float32)

WITHOUT_EFFECT = ("backend", "callbacks", "n_threads", "random_state", "verbose")
"""Parameters that do not change the bits, or that are compared in another way."""


def identity_of(
    options: Options, backend: Backend, data: TrainingSet, before: State | None
) -> dict[str, str]:
    """Return everything on which the bits of a fit depend but its seed, by names for messages.

    Parameters
    ----------
    options : Options
    backend : Backend
    data : TrainingSet
        As it is trained on, without rows that were split off.
    before : State or None
        The model from which the fit starts.
    """
    from fastlin import __version__

    parameters = options.all_parameters
    seed = parameters["random_state"]
    found = {
        "fastlin's version": __version__,
        "NumPy's version": np.__version__,
        "the backend": f"{backend.name} {backend.version or ''}".strip(),
        "the instruction set": str(backend.instruction_set),
        "BLAS": blas_in_words(),
        **{
            name: _in_words(value)
            for name, value in sorted(parameters.items())
            if name not in WITHOUT_EFFECT
        },
        "random_state": f"{seed:g}" if isinstance(seed, Real) else "drawn",
    }
    n_threads = options.threads(backend)
    validation = data.validation or (None, None, None)
    for name, rows in (("the rows", data.rows), ("the validation rows", validation[0])):
        found[name] = "none"
        if rows is not None:
            n, d = rows.shape
            content = checksum_of_rows(rows, n_threads)
            found[name] = f"{n} x {d} {rows.dtype} {content:08x}"
    found["the labels"] = f"{checksum(data.classes, data.labels, validation[1]):08x}"
    found["the row weights"] = f"{checksum(data.weights, validation[2]):08x}"
    start = (None,) * 2 if before is None else (np.asarray(before.coef), before.intercept)
    found["the model at the start"] = f"{checksum(*start):08x}"
    return found


def blas_in_words() -> str:
    """Return the libraries of linear algebra, and the processor that they compute for."""
    libraries = threadpoolctl.threadpool_info()
    return ", ".join(
        sorted(
            f"{library['internal_api']} {library['version']} {library.get('architecture', '')}"
            for library in libraries
            if library["user_api"] == "blas"
        )
    )


def _in_words(value: Any) -> str:
    """Return an option as text, with arrays by their checksums."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} {checksum(value):08x}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_in_words, value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{key}: {_in_words(value[key])}' for key in value))}}}"
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, str) else shown(value)


def checksum_of_rows(rows: Rows, n_threads: int) -> int:
    """Return a checksum of all values, the same wherever the rows are stored."""
    size = rows.rows_of_a_block(FLOAT32)
    sums = np.zeros(-(-len(rows) // size), np.uint32)

    def add(index: int) -> None:
        sums[index] = rows.part(slice(index * size, (index + 1) * size)).checksum()

    map_in_threads(add, range(len(sums)), n_threads)
    return checksum(sums)


def checksum(*arrays: NDArray[Any] | None) -> int:
    """Return a checksum of arrays, of which some may be None."""
    total = 0
    for array in arrays:
        if array is None:
            total = zlib.crc32(b"none", total)
            continue
        if array.dtype.kind == "O":
            array = array.astype(np.str_)
        total = zlib.crc32(f"{array.dtype.str} {array.shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, total)
    return total
