"""From a Python function to the address of its machine code: the Numba backend's compiler.

Numba compiles a function to LLVM's intermediate code, and LLVM that to an object file, which is
kept for later processes and loaded. From Numba only what it documents is used: :func:`numba.cfunc`
and its ``inspect_llvm``; :mod:`fastlin.kernels.jit.numba_internals` lists what is relied on beyond.

**A kernel's identity is its content.** Its name, which is its symbol and its key in the cache, is
a digest of all that its machine code depends on: the function, its :class:`.Kind`, the sources of
this package, the versions of Numba and LLVM and their options, the processor. It is the only
symbol of its object file: all else in there is internal, so no linker can take one kernel's part
for another's, whatever Numba called it. Numba's own cache is not used: it names compiled functions
by numbers that are counted up within a process, and files by what it finds in the folder, so
processes that share it can read each other's code under their own names.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import types

from fastlin.kernels import blocking
from fastlin.kernels.jit import numba_internals, processor
from fastlin.kernels.jit.kernel_cache import KernelCache
from fastlin.kernels.jit.kind import Kind, value_of
from fastlin.kernels.jit.numba_compiler import KernelCompiler
from fastlin.kernels.jit.options import OPTIONS

SIGNATURE = types.none(types.int64, types.int64, types.int64)
"""Of every kernel: address of its arguments, number of the thread, number of threads."""

CONFIGURATION = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
"""Options of Numba's that change the code that it makes."""

Body = Callable[[int, int, int], None]


# ------------------------------------------------------------------ identity


@functools.cache
def stamp() -> str:
    """Return a digest of what all kernels depend on."""
    digest = hashlib.sha256()
    for part in (
        numba.__version__,
        llvmlite.__version__,
        llvm.llvm_version_info,
        sys.implementation.cache_tag,
        llvm.get_process_triple(),
        processor.target(),
        OPTIONS,
        [getattr(numba.config, name, None) for name in CONFIGURATION],
    ):
        digest.update(f"{part}\n".encode())
    for name, source in sources(importlib.resources.files("fastlin.kernels.jit")):
        digest.update(f"{name}\n".encode() + source.read_bytes())
    # The one module outside that loops take numbers from.
    digest.update(Path(blocking.__file__).read_bytes())
    return digest.hexdigest()[:32]


def sources(folder: Traversable, parent: str = "") -> Iterator[tuple[str, Traversable]]:
    """Yield the files of Python code below a folder, each with its path from there, in order."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from sources(entry, f"{parent}{entry.name}/")
        elif entry.name.endswith((".py", ".pyc")):
            yield f"{parent}{entry.name}", entry


def kernel_name(body: Any, kind: Kind | None) -> str:
    """Return the name of a kernel, the same in every process."""
    content = f"{stamp()} {body.__module__}.{body.__qualname__} {kind}"
    return f"fastlin_{body.__name__}_{hashlib.sha256(content.encode()).hexdigest()[:32]}"


# ------------------------------------------------------------------ from the cache, or compiled

_lock = threading.RLock()
_addresses: dict[tuple[Body, Kind | None], int] = {}
_alive: list[Any] = []
"""Engines that own machine code, for as long as the process lives."""


@functools.cache
def cache() -> KernelCache:
    """Return the folder of this version's kernels for this processor."""
    return KernelCache(stamp())


def address_of(body: Body, kind: Kind | None = None) -> int:
    """Return where the machine code of a kernel lies; compile it if no process has done so.

    Parameters
    ----------
    body : function of ``(data, thread, n_threads)``
        What the kernel does, see :data:`SIGNATURE`.
    kind : Kind, optional
        What to compile it for; in the body, the value of ``this_kind()``.
    """
    key = body, kind
    address = _addresses.get(key)
    if address is None:
        with _lock:
            if key not in _addresses:
                _addresses[key] = _load_or_compile(kernel_name(body, kind), body, kind)
            address = _addresses[key]
    return address


def _load_or_compile(name: str, body: Body, kind: Kind | None) -> int:
    if numba.config.BOUNDSCHECK:  # code that raises exceptions, which only Numba itself can run
        function = compile_body(body, kind)
        _alive.append(function)
        return int(function.address)
    code = cache().load(name)
    address = 0 if code is None else load_code(name, code)
    if not address:  # not kept, or the code of another kernel
        if kind is not None and kind.rows:
            _say_what_is_compiled(kind.rows, bool(kind.columns))
        code = object_of(name, compile_body(body, kind))
        cache().store(name, f"{body.__qualname__} {kind or ''}".strip(), code)
        address = load_code(name, code)
    if not address:
        raise RuntimeError(f"LLVM finds no function {name} in the code that it made itself")
    return address


@functools.cache  # once, though several kernels are compiled for a kind of rows
def _say_what_is_compiled(rows: str, sparse: bool) -> None:
    what = f"sparse {rows}" if sparse else rows
    kept = "once; later runs load them" if cache().folder is not None else "they cannot be kept"
    logging.getLogger("fastlin.kernels").info("compiling kernels for %s rows (%s)", what, kept)


def compile_body(body: Body, kind: Kind | None) -> Any:
    """Return the C function that Numba makes of a kernel."""
    if kind is not None:
        # The same code, to which `this_kind` means this kind. A wrapper around it that passes the
        # kind would have LLVM compile all of it twice.
        names = {**body.__globals__, "this_kind": value_of(kind)}
        body = FunctionType(body.__code__, names, body.__name__)
    with _settings_of_the_import():
        return numba.cfunc(SIGNATURE, pipeline_class=KernelCompiler, **OPTIONS)(body)


@contextmanager
def _settings_of_the_import() -> Iterator[None]:
    """Let Numba see the number of threads that it was imported with.

    Numba reads its variables anew whenever it compiles, and refuses to go on if this one has
    changed since its threads were started, by whomever.
    """
    name, number = "NUMBA_NUM_THREADS", str(numba.config.NUMBA_NUM_THREADS)
    before = os.environ.get(name)
    if (before or str(numba.config.NUMBA_DEFAULT_NUM_THREADS)) == number:
        yield
        return
    os.environ[name] = number
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def object_of(name: str, function: Any) -> bytes:
    """Return an object file whose only symbol is ``name``: a C function of Numba's.

    The functions inside get names in their order, so that equal code has equal bytes.
    """
    module = llvm.parse_assembly(function.inspect_llvm())
    stubs = [
        numba_internals.stub_of(str(outside))
        for outside in module.functions
        if outside.is_declaration and numba_internals.is_of_error_path(outside.name)
    ]
    if stubs:
        module.link_in(llvm.parse_assembly("\n".join([*stubs, numba_internals.TRAP])))
    numba_internals.check_needs(
        [v.name for v in (*module.functions, *module.global_variables) if v.is_declaration]
    )
    inside = [f for f in module.functions if not f.is_declaration]
    inside += [v for v in module.global_variables if not v.is_declaration]
    for number, value in enumerate(inside):
        if value.name == function.native_name:
            value.name, value.linkage = name, llvm.Linkage.external
        else:
            value.name, value.linkage = f"inner_{number}", llvm.Linkage.internal
    module.name = name
    module.verify()
    return bytes(_target_machine().emit_object(module))


def load_code(name: str, code: bytes) -> int:
    """Load an object file, and return where its symbol lies, 0 if it has no such symbol."""
    # An engine of its own, in which nothing can have the same name.
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _alive.append(engine)
    return int(engine.get_function_address(name))


def _target_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = processor.target()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    # As code that is made where it runs: at fixed addresses on x86, whose calls may go far.
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=name,
        features=features,
        opt=3,
        reloc=reloc,
        codemodel="jitdefault",
        jit=True,
    )


def _after_fork_in_child() -> None:
    """Forget a lock that a thread held which the child does not have."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
