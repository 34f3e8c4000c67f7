"""What the Numba backend relies on that Numba and llvmlite do not promise, and nothing else does.

All compiling goes through documented interfaces: :func:`numba.cfunc` with its ``inspect_llvm`` and
``native_name``, :mod:`numba.extending`, ``numba.njit(parallel=True)``, ``llvmlite.binding`` and
``llvmlite.ir``. Numba's cache, its calling convention and its thread pool are not touched. Beyond
that, this is relied on. Each was tested with the versions that ``pyproject.toml`` declares:

Completeness of a C function's intermediate code
    The object file is made of it, outside of Numba, so it must hold all that it calls. Otherwise
    :func:`check_needs` raises an error before LLVM would end the process: the backend is then
    unavailable, with that reason, and ``auto`` takes another.
The error path (:func:`is_of_error_path`)
    A C function calls Numba's and Python's error handling if a function inside has raised, which
    no kernel does: a test looks for it in the code of each. So these functions become stubs that
    trap, and a kernel needs nothing of Numba's in the process. Under a new name: as above.
The threading functions (:data:`THREADING`)
    Code that ``prange`` makes calls them. Numba registers them for LLVM when its threads start,
    which ``numba.get_num_threads`` (documented) sees to. Under a new name: as above.
The options ``_nrt`` and ``no_cfunc_wrapper``
    ``_nrt=False`` stands in the documentation of :func:`numba.extending.register_jitable`; with
    reference counts an epoch of small batches took 15 % longer, compiling twice as long.
    ``no_cfunc_wrapper`` saves compiling what nobody calls. Without them kernels compute the same;
    if they go, the backend cannot be imported, and is unavailable with the reason.
Four methods of ``numba.core.codegen.JITCodeLibrary`` (:mod:`.numba_compiler`)
    Overridden, so that Numba makes no machine code: a kernel compiles in two thirds of the time.
    The way there, ``pipeline_class``, is documented. Without them all is compiled as before.
The layout of Numba's arrays (:func:`.memory.array_at`)
    Without reference counts :func:`numba.carray` cannot be compiled, so an intrinsic fills in
    ``data``, ``shape``, ``strides``, ``itemsize`` and ``nitems``. A field that is gone is an error
    when compiling: unavailable, with the reason.
``numba.core.cgutils``, ``context.get_dummy_value``, ``context.make_tuple``, ``get_value_type``
    Used inside ``@intrinsic``, as in Numba's own guide to it. If they go: as above.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numba

THREADING = frozenset(
    {
        "PyEval_RestoreThread",
        "PyEval_SaveThread",
        "allocate_sched",
        "deallocate_sched",
        "do_scheduling_signed",
        "do_scheduling_unsigned",
        "get_num_threads",
        "get_parallel_chunksize",
        "get_sched_size",
        "numba_gil_ensure",
        "numba_gil_release",
        "numba_parallel_for",
        "set_parallel_chunksize",
    }
)
"""What starts threads, and releases Python's lock meanwhile."""

C_LIBRARY = frozenset({"memcpy", "memmove", "memset", "sched_yield"})

ERROR_PATH = re.compile("NRT_|numba_|Py|printf$")


def is_of_error_path(name: str) -> bool:
    """Return whether a function is called only if compiled code has raised an exception."""
    return name not in THREADING and bool(ERROR_PATH.match(name))


def stub_of(declaration: str) -> str:
    """Return a function that ends the process in place of one that is declared.

    ``declaration``: in LLVM's assembly, ``declare TYPE @NAME(TYPES) ATTRIBUTES``.
    """
    head = declaration.strip().splitlines()[-1]
    head = head[: head.rindex(")") + 1].replace("declare", "define", 1)
    return f"{head} {{\n  call void @llvm.trap()\n  unreachable\n}}\n"


TRAP = "declare void @llvm.trap()"
"""What stubs call."""


def check_needs(names: Iterable[str]) -> None:
    """Raise an error if a kernel needs something in the process that is not there.

    LLVM would end the process. ``names``: what the kernel's code declares.
    """
    known = THREADING | C_LIBRARY
    others = [name for name in names if name not in known and not name.startswith("llvm.")]
    # Exceptions by name are data that only the error path reads.
    missing = sorted(name for name in others if not name.startswith("PyExc_"))
    if missing:
        raise RuntimeError(
            f"code of Numba {numba.__version__} needs {', '.join(missing)}, which is unknown"
        )
