"""The C backend: :mod:`fastlin.kernels.reference`'s functions over the compiled library.

Same contract. What differs: sums are in another order, and the weights are copied into a packed
layout for the length of a call.

The file is long because all that crosses from Python to C crosses here.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin import __version__
from fastlin.errors import InputError
from fastlin.kernels.arguments import CsrRows, DenseRows, Parameters, Samples, StepOptions
from fastlin.kernels.blocking import (
    PARTS,
    REGISTERS,
    Registers,
    dense_blocking,
    sparse_blocking,
)
from fastlin.kernels.interrupts import interruptible, stop_word
from fastlin.kernels.record import Backend
from fastlin.rows.interface import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray, Rows

BUILD_RECORD = Path(__file__).parents[1] / "_native_build.json"
REINSTALL = "install fastlin again with FASTLIN_REQUIRE_C=1, which shows all the compiler says"

MOST_THREADS = 1024
"""Maximum number of threads, which fits in a C ``int``; each has memory of its own."""

PRODUCTS_WORTH_A_START, PRODUCTS_OF_VALUES_WORTH_A_START = 6_000_000, 3_000_000
"""Products that a thread makes in twice the time of starting another, about 50 microseconds: for
dense rows, and for the values of sparse rows."""

ROWS_OF_A_SUM = 1024
"""Sparse rows whose part of the gradient is summed between two barriers."""

PACKAGES = {"libgomp.so.1": "libgomp1", "libgcc_s.so.1": "libgcc-s1", "libomp.so.5": "libomp5"}
"""Debian packages of the libraries that compilers link."""

IMPORT_ERROR: Exception | None = None
try:
    from fastlin._native import ffi, lib
except Exception as error:  # whatever it is, the other backends must run
    IMPORT_ERROR = error


def load() -> Backend:
    """Return the C backend, or the reason why it is unavailable."""
    if IMPORT_ERROR is not None:
        reason, remedy = _why_missing(IMPORT_ERROR)
        return Backend(name="c", reason=reason, remedy=remedy)
    forced = os.environ.get("FASTLIN_ISA") or None
    chosen = lib.fastlin_choose_instruction_set(forced.encode() if forced else ffi.NULL)
    if chosen == ffi.NULL:
        known = ffi.string(lib.fastlin_instruction_sets()).decode().replace(" ", ", ")
        raise InputError(
            f"FASTLIN_ISA={forced} is not supported on this machine; set one of: {known}"
        )
    threads = bool(lib.fastlin_has_threads())
    return Backend(
        name="c",
        version=f"{__version__}, {ffi.string(lib.fastlin_compiler()).decode()}",
        n_threads=MOST_THREADS if threads else 1,
        threading_layer="pthreads" if threads else "none: built without threads",
        instruction_set=ffi.string(chosen).decode(),
        sgd_steps=interruptible(sgd_steps),
        loss_gradient=interruptible(loss_gradient),
        score=interruptible(score),
        logits=interruptible(logits),
    )


def sgd_steps(
    samples: Samples,
    order: NDArray[np.int64],
    parameters: Parameters,
    options: StepOptions,
    losses_out: NDArray[np.float64],
    n_threads: int = 1,
) -> None:
    """See :func:`fastlin.kernels.reference.sgd_steps`."""
    arrays = _Arrays()
    weights = parameters.weights
    c_options = ffi.new(
        "fastlin_step_options *",
        {
            "batch_size": options.batch_size,
            "learning_rates": arrays.pointer(options.learning_rates, np.float64),
            "average_rates": arrays.pointer(options.average_rates, np.float64),
            "decay": options.decay,
            "gain": arrays.pointer(options.gain, weights.dtype),
            "intercept_decay": options.intercept_decay,
            "intercept_gain": options.intercept_gain,
            "momentum": options.momentum,
            "nesterov": options.nesterov,
        },
    )
    _check(
        lib.fastlin_sgd_steps(
            arrays.samples(samples, weights.dtype),
            arrays.pointer(order, np.int64),
            len(order),
            arrays.parameters(parameters),
            c_options,
            arrays.output(losses_out),
            arrays.blocking(samples, weights, n_threads, len(order), options.batch_size),
        )
    )


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    arrays = _Arrays()
    loss_sum = np.zeros(1)
    weights_gradient = np.empty(weights.shape)
    intercept_gradient = np.empty(intercept.shape)
    _check(
        lib.fastlin_loss_gradient(
            arrays.samples(samples, weights.dtype),
            arrays.model(weights, intercept),
            arrays.output(loss_sum),
            arrays.output(weights_gradient),
            arrays.output(intercept_gradient),
            arrays.blocking(samples, weights, n_threads),
        )
    )
    return float(loss_sum[0]), weights_gradient, intercept_gradient


def score(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, int]:
    """See :func:`fastlin.kernels.reference.score`."""
    arrays = _Arrays()
    loss_sum = ffi.new("double *")
    n_correct = ffi.new("int64_t *")
    _check(
        lib.fastlin_score(
            arrays.samples(samples, weights.dtype),
            arrays.model(weights, intercept),
            loss_sum,
            n_correct,
            arrays.blocking(samples, weights, n_threads, a_pass=True),
        )
    )
    return float(loss_sum[0]), int(n_correct[0])


def logits(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> FloatArray:
    """See :func:`fastlin.kernels.reference.logits`."""
    arrays = _Arrays()
    out = np.empty((len(samples.rows), len(weights)), weights.dtype)
    _check(
        lib.fastlin_logits(
            arrays.samples(samples, weights.dtype, labels=False),
            arrays.model(weights, intercept),
            arrays.output(out),
            arrays.blocking(samples, weights, n_threads, a_pass=True),
        )
    )
    return out


class _Arrays:
    """Pointers to NumPy arrays for the length of one call; keeps what they point to alive."""

    def __init__(self) -> None:
        self._alive: list[Any] = []

    def pointer(self, array: NDArray[Any] | None, dtype: Any) -> Any:
        """Return a pointer to ``array``, or to a copy if C cannot read it.

        That is so for another type or order, and for addresses that are not aligned.
        """
        if array is None:
            return ffi.NULL
        array = np.require(array, dtype, ["C", "A"])
        self._alive.append(array)
        return ffi.cast(_c_type(array.dtype), array.ctypes.data)

    def output(self, array: NDArray[Any] | None) -> Any:
        """Return a pointer to an array that the call writes, which is never copied."""
        if array is None:
            return ffi.NULL
        assert array.flags.carray, "an output must be C-ordered and writeable"
        self._alive.append(array)
        return ffi.cast(_c_type(array.dtype), array.ctypes.data)

    def samples(self, samples: Samples, dtype: np.dtype[Any], labels: bool = True) -> Any:
        assert samples.has_labels or not labels, "this kernel needs the rows' labels"
        fields = {
            "weight_type": _type_code(dtype),
            "labels": self.pointer(samples.labels if labels else None, np.int32),
            "sample_weight": self.pointer(samples.sample_weight, np.float64),
            "shift": self.pointer(samples.shift, dtype),
            "stop": self.pointer(stop_word(), np.int32),
        }
        of_kinds: dict[type[Rows], Callable[..., dict[str, Any]]] = {
            DenseRows: self._dense,
            CsrRows: self._csr,
        }
        of_rows = of_kinds[type(samples.rows)](samples.rows)
        return self._keep(ffi.new("fastlin_samples *", {**of_rows, **fields}))

    def _csr(self, rows: CsrRows) -> dict[str, Any]:
        return {
            "rows": self.pointer(rows.values, rows.dtype),
            "columns": self.pointer(rows.columns, rows.columns.dtype),
            "row_starts": self.pointer(rows.row_starts, rows.columns.dtype),
            "n_rows": len(rows),
            "n_features": rows.n_features,
            "row_type": _type_code(rows.dtype),
            "index_type": _type_code(rows.columns.dtype),
        }

    def _dense(self, dense: DenseRows) -> dict[str, Any]:
        rows = dense.values
        if rows.ndim != 2 or (rows.size and rows.strides[1] != rows.itemsize):
            rows = np.ascontiguousarray(rows)
        self._alive.append(rows)
        return {
            "rows": ffi.cast("void *", rows.ctypes.data),
            "n_rows": rows.shape[0],
            "n_features": rows.shape[1],
            "row_stride": rows.strides[0],
            "row_type": _type_code(rows.dtype),
        }

    def blocking(
        self,
        samples: Samples,
        weights: FloatArray,
        n_threads: int,
        n_order: int | None = None,
        batch_size: int | None = None,
        a_pass: bool = False,
    ) -> Any:
        """Divide the work of a call: steps if there is a ``batch_size``, a pass, or the gradient.

        ``n_order``: number of rows that the call reads, by default all.
        """
        rows, n_threads = samples.rows, min(n_threads, MOST_THREADS)
        n_order = len(rows) if n_order is None else n_order
        of_kinds: dict[type[Rows], Callable[..., dict[str, Any]]] = {
            DenseRows: _dense_blocking,
            CsrRows: _csr_blocking,
        }
        fields = of_kinds[type(rows)](rows, weights, n_threads, n_order, batch_size, a_pass)
        fields["bounds"] = self.pointer(fields.get("bounds"), np.int64)
        return self._keep(ffi.new("fastlin_blocking *", fields))

    def parameters(self, parameters: Parameters) -> Any:
        fields = {name: self.output(array) for name, array in vars(parameters).items()}
        return self._keep(
            ffi.new("fastlin_parameters *", {"n_classes": len(parameters.weights), **fields})
        )

    def model(self, weights: FloatArray, intercept: FloatArray) -> Any:
        return self._keep(
            ffi.new(
                "fastlin_parameters *",
                {
                    "n_classes": len(weights),
                    "weights": self.pointer(weights, weights.dtype),
                    "intercept": self.pointer(intercept, weights.dtype),
                },
            )
        )

    def _keep(self, struct: Any) -> Any:
        self._alive.append(struct)
        return struct


def _registers() -> Registers:
    return REGISTERS[ffi.string(lib.fastlin_instruction_set()).decode()]


def _dense_blocking(
    rows: DenseRows,
    weights: FloatArray,
    n_threads: int,
    n_order: int,
    batch_size: int | None,
    a_pass: bool,
) -> dict[str, Any]:
    blocking = dense_blocking(
        rows.shape[1],
        len(weights),
        n_order,
        batch_size or n_order,
        (type_name(rows.dtype), type_name(weights.dtype)),
        _registers(),
        n_threads,
        steps=not a_pass,
        work_of_a_start=PRODUCTS_WORTH_A_START,
    )
    return {
        "n_threads": blocking.n_threads,
        "matrix_unit": blocking.matrix_unit,
        "classes_in_lanes": blocking.classes_in_lanes,
        "shares_residuals": blocking.shares_residuals,
        "block": blocking.block,
        "n_slices": blocking.n_slices,
    }


def _csr_blocking(
    rows: CsrRows,
    weights: FloatArray,
    n_threads: int,
    n_order: int,
    batch_size: int | None,
    a_pass: bool,
) -> dict[str, Any]:
    blocking = sparse_blocking(
        rows,
        len(weights),
        n_order,
        batch_size or (n_order if a_pass else ROWS_OF_A_SUM),
        _registers(),
        n_threads,
        work_of_a_start=PRODUCTS_OF_VALUES_WORTH_A_START,
        steps=not a_pass,
        updates=batch_size is not None,
    )
    return {
        "n_threads": blocking.n_threads,
        "n_slices": blocking.n_slices,
        "bounds": np.array(blocking.bounds, np.int64),
        "n_parts": PARTS,
        "in_place": blocking.in_place,
        "rows_of_a_sum": ROWS_OF_A_SUM,
        "flush_interval": blocking.flush_interval,
    }


@functools.cache
def _c_type(dtype: np.dtype[Any]) -> str:
    return {"float64": "double *", "int64": "int64_t *", "int32": "int32_t *"}.get(
        dtype.name, "void *"
    )


@functools.cache
def _type_code(dtype: np.dtype[Any]) -> int:
    codes = {
        "uint8": lib.FASTLIN_UINT8,
        "int8": lib.FASTLIN_INT8,
        "float16": lib.FASTLIN_FLOAT16,
        "float32": lib.FASTLIN_FLOAT32,
        "float64": lib.FASTLIN_FLOAT64,
        "int32": lib.FASTLIN_INT32,
        "int64": lib.FASTLIN_INT64,
    }
    return int(codes.get(dtype.name, -1))


def _check(status: int) -> None:
    """Turn a status of the library into an exception, here and nowhere else."""
    if status == lib.FASTLIN_NO_MEMORY:
        raise MemoryError("the C backend could not allocate its buffers")
    if status == lib.FASTLIN_BAD_TYPE:
        raise InputError("the C backend has no kernel for these types of rows and weights")
    assert status == lib.FASTLIN_OK, "the C backend has no micro-kernel for this blocking"


def _why_missing(error: Exception) -> tuple[str, str]:
    """Return why the library cannot be loaded, and what to do about it."""
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        if error.name == "_cffi_backend":
            return f"cffi is missing ({said})", "install it with: pip install cffi"
        try:
            record = json.loads(BUILD_RECORD.read_text())
            return record["reason"], record["remedy"]
        except (OSError, ValueError, KeyError):
            pass
    reason = f"its library cannot be loaded ({said})"
    library, _, problem = said.partition(": ")
    if problem.startswith("cannot open shared object file: No such file"):
        known = library in PACKAGES
        how = f"apt install {PACKAGES[library]}" if known else f"apt-file search {library} names it"
        return reason, (
            f"install the package of {library} (Debian, Ubuntu: {how}), or install fastlin again"
        )
    return reason, REINSTALL
