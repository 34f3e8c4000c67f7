"""Arrays that end, or begin, at a page without access: reading or writing beyond them crashes.

``place`` copies one array to such memory and ``place_rows`` a matrix, its rows at any distance and
in any order; ``guard`` wraps a backend, so that all that its kernels are given lies there, and
``guarded_allocations`` puts what NumPy allocates meanwhile there, too: a kernel's answers and its
own working memory. Bytes that belong to no element are 255, which makes a number nan.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Backend, CsrRows, DenseRows, Parameters, Samples, StepOptions

PAGE = mmap.PAGESIZE
CACHE_LINE = 64
NO_ACCESS, READ, READ_WRITE = 0, 1, 3

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def protect(address: int, size: int, access: int) -> None:
    """Set what may be done with some pages."""
    if libc.mprotect(address, size, access):
        raise OSError(ctypes.get_errno(), "mprotect failed")


class Pages:
    """Pages of memory between two without access; freed when nothing refers to them."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // PAGE) * PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._mapped = libc.mmap(None, self.size + 2 * PAGE, READ_WRITE, flags, -1, 0)
        if self._mapped in (None, ctypes.c_void_p(-1).value):
            raise MemoryError("mmap failed")
        self.start = self._mapped + PAGE
        self.stop = self.start + self.size
        protect(self._mapped, PAGE, NO_ACCESS)
        protect(self.stop, PAGE, NO_ACCESS)
        # Bound now: at the end of the process modules go before objects.
        self._give_back = libc.munmap

    def __del__(self) -> None:
        if hasattr(self, "_give_back"):
            self._give_back(self._mapped, self.size + 2 * PAGE)

    def array(
        self, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any
    ) -> NDArray[Any]:
        """Return an array over these pages, which it keeps."""
        view = _View()
        view.pages = self
        view.__array_interface__ = {
            "shape": shape,
            "strides": strides,
            "typestr": np.dtype(dtype).str,
            "data": (address, False),
            "version": 3,
        }
        return np.asarray(view)


class _View:
    """What NumPy keeps as an array's base."""

    pages: Pages
    __array_interface__: dict[str, Any]


@dataclass(frozen=True)
class Placement:
    """How arrays lie.

    Attributes
    ----------
    edge : {"end", "start"}
        Whether arrays end at a page without access, or begin behind one.
    rows : {"tight", "padded", "odd", "apart"}
        Distance of the rows: none between them; some elements; some bytes, not a multiple of an
        element's; or each row at an edge of its own.
    reversed : bool
        Whether the last row comes first in memory.
    shift : int
        Bytes between the edge and the rows, which makes their addresses no multiple of an element.
    access : {"write", "protected", "read-only"}
        Whether what kernels must not change can be written; ``"read-only"`` also says so.
    """

    edge: str = "end"
    rows: str = "tight"
    reversed: bool = False
    shift: int = 0
    access: str = "write"


def place(
    array: NDArray[Any], placement: Placement, written: bool = False, shift: int = 0
) -> NDArray[Any]:
    """Return a contiguous copy at an edge, or ``shift`` bytes from it.

    ``written``: by kernels, whatever the access.
    """
    array = np.ascontiguousarray(array)
    pages = Pages(array.nbytes + shift)
    ctypes.memset(pages.start, 255, pages.size)
    at = pages.start + shift
    if placement.edge == "end":
        at = pages.stop - shift - array.nbytes
    copy = pages.array(at, array.shape, array.strides, array.dtype)
    copy[...] = array
    return copy if written else _set_access(copy, pages, placement)


def place_rows(rows: NDArray[Any], placement: Placement) -> NDArray[Any]:
    """Return a copy of rows ``(n, d)``, with the layout of the placement."""
    n, d = rows.shape
    item, of_row = rows.itemsize, d * rows.itemsize
    apart = placement.rows == "apart"
    if apart:
        room = -(-(of_row + placement.shift) // PAGE) * PAGE
        stride = room + PAGE
    else:
        stride = of_row + {"tight": 0, "padded": 3 * item, "odd": item + 1}[placement.rows]
    extent = (n - 1) * stride + of_row
    pages = Pages(n * stride if apart else extent + placement.shift)
    ctypes.memset(pages.start, 255, pages.size)
    if placement.edge == "start":
        first = pages.start + placement.shift
    else:
        stop = pages.stop - PAGE if apart else pages.stop
        first = stop - placement.shift - extent
    if placement.reversed:
        first, stride = first + (n - 1) * stride, -stride
    copy = pages.array(first, (n, d), (stride, item), rows.dtype)
    copy[...] = rows
    copy = _set_access(copy, pages, placement)
    if apart:
        for row in range(n):
            protect(pages.start + row * abs(stride) + room, PAGE, NO_ACCESS)
    return copy


def _set_access(copy: NDArray[Any], pages: Pages, placement: Placement) -> NDArray[Any]:
    if placement.access != "write" and pages.size:
        protect(pages.start, pages.size, READ)
    if placement.access == "read-only":
        copy.flags.writeable = False
    return copy


def place_samples(samples: Samples, placement: Placement) -> Samples:
    """Return samples of which all arrays are placed."""
    rows = samples.rows
    if isinstance(rows, CsrRows):
        arrays = (rows.values, rows.columns, rows.row_starts)
        placed: Any = CsrRows(*(place(array, placement) for array in arrays), rows.n_features)
    else:
        placed = DenseRows(place_rows(rows.values, placement))
    others = {
        name: None if array is None else place(array, placement)
        for name, array in vars(samples).items()
        if name != "rows"
    }
    return Samples(placed, **others)


def on_cache_lines(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return zeros that start on a cache line and end, but for the rest of one, at the edge."""
    dtype = np.dtype(dtype)
    strides = np.cumprod([dtype.itemsize, *shape[:0:-1]])[::-1]
    size = math.prod(shape) * dtype.itemsize
    pages = Pages(size)
    at = pages.stop - -(-size // CACHE_LINE) * CACHE_LINE
    return pages.array(at, shape, tuple(map(int, strides)), dtype)


def guard(backend: Backend, placement: Placement) -> Backend:
    """Return a backend whose kernels work on placed copies of all that they are given."""

    def sgd_steps(
        samples: Samples,
        order: NDArray[np.int64],
        parameters: Parameters,
        options: StepOptions,
        losses_out: NDArray[np.float64],
        n_threads: int = 1,
    ) -> None:
        given = {name: array for name, array in vars(parameters).items() if array is not None}
        changed = {name: place(array, placement, written=True) for name, array in given.items()}
        losses = place(losses_out, placement, written=True)
        arrays = {
            name: place(value, placement)
            for name, value in vars(options).items()
            if isinstance(value, np.ndarray)
        }
        arguments = (
            place_samples(samples, placement),
            place(order, placement),
            Parameters(**changed),
            replace(options, **arrays),
            losses,
            n_threads,
        )
        with guarded_allocations(placement.edge):
            backend.sgd_steps(*arguments)
        losses_out[:] = losses
        for name, array in given.items():
            array[...] = changed[name]

    def on_a_model(name: str) -> Any:
        def kernel(samples: Samples, weights: Any, intercept: Any, n_threads: int = 1) -> Any:
            model = place(weights, placement), place(intercept, placement)
            placed = place_samples(samples, placement)
            with guarded_allocations(placement.edge):
                return getattr(backend, name)(placed, *model, n_threads)

        return kernel

    passes = {name: on_a_model(name) for name in ("loss_gradient", "score", "logits")}
    return replace(backend, sgd_steps=sgd_steps, **passes)


# ------------------------------------------------------------------ what NumPy allocates


class _Allocator(ctypes.Structure):
    """``PyDataMemAllocator`` of NumPy's C interface (NEP 49)."""

    malloc_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    calloc_type = ctypes.CFUNCTYPE(
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
    )
    realloc_type = ctypes.CFUNCTYPE(
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
    )
    free_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    _fields_ = (
        ("ctx", ctypes.c_void_p),
        ("malloc", malloc_type),
        ("calloc", calloc_type),
        ("realloc", realloc_type),
        ("free", free_type),
    )


class _Handler(ctypes.Structure):
    """``PyDataMem_Handler``."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("of", _Allocator))


_blocks: dict[int, tuple[Pages, int]] = {}
"""What NumPy has been given, by its address, with the size asked for."""


def _allocate(edge: str, size: int, fill: int) -> int:
    pages = Pages(max(size, 1))
    ctypes.memset(pages.start, fill, pages.size)
    address = pages.start if edge == "start" else pages.stop - size
    _blocks[address] = pages, size
    return address


def _reallocate(edge: str, address: int | None, size: int) -> int:
    grown = _allocate(edge, size, 255)
    if address:
        ctypes.memmove(grown, address, min(size, _blocks[address][1]))
        del _blocks[address]
    return grown


def _handler(edge: str) -> _Handler:
    return _Handler(
        b"fastlin_guarded",
        1,
        _Allocator(
            None,
            _Allocator.malloc_type(lambda _, size: _allocate(edge, size, 255)),
            _Allocator.calloc_type(lambda _, count, size: _allocate(edge, count * size, 0)),
            _Allocator.realloc_type(lambda _, address, size: _reallocate(edge, address, size)),
            _Allocator.free_type(lambda _, address, size: _blocks.pop(address, None) and None),
        ),
    )


def _capsule(handler: _Handler) -> Any:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(ctypes.addressof(handler), b"mem_handler", None)


# These live as long as the process: so may an array that was allocated by them. On its way out a
# process must not call them, though: it leaves by os._exit.
_HANDLERS = {edge: _handler(edge) for edge in ("end", "start")}
_CAPSULES = {edge: _capsule(handler) for edge, handler in _HANDLERS.items()}


def _set_handler() -> Any:
    """Return NumPy's ``PyDataMem_SetHandler``, which stands at a fixed place in its interface."""
    try:
        from numpy._core import _multiarray_umath as umath
    except ImportError:  # before NumPy 2
        from numpy.core import _multiarray_umath as umath
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype = ctypes.c_void_p
    get.argtypes = [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(get(umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])


set_handler = _set_handler()


@contextmanager
def guarded_allocations(edge: str = "end") -> Iterator[None]:
    """Let all arrays that NumPy allocates end at a page without access, or begin behind one."""
    before = set_handler(_CAPSULES[edge])
    try:
        yield
    finally:
        set_handler(before)
