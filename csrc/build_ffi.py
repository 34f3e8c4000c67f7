"""Describe the C extension to cffi: what is declared, what is compiled."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent
SOURCES = ("dispatch.c", "isa_amx.c", "isa_avx512.c", "isa_avx2.c", "isa_baseline.c")


def declarations() -> str:
    """Return ``fastlin_api.h`` as cffi can read it: without the preprocessor's lines."""
    lines = (HERE / "fastlin_api.h").read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def has_limited_api() -> bool:
    """Return whether one build can serve this and every later Python: the limited API's promise.

    A free-threaded Python keeps no such promise, nor does a debugging one or another than CPython;
    each gets a build of its own.
    """
    debugging = hasattr(sys, "gettotalrefcount")
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return sys.implementation.name == "cpython" and not (debugging or free_threaded)


LIMITED_API = has_limited_api()

ffibuilder = cffi.FFI()
ffibuilder.cdef(declarations())
# API mode checks every declaration against the compiler's. Options of the compiler are setup.py's,
# which knows the compiler.
ffibuilder.set_source(
    "fastlin._native",
    '#include "fastlin_api.h"',
    sources=[f"csrc/{name}" for name in SOURCES],
    include_dirs=["csrc"],
    depends=[f"csrc/{path.relative_to(HERE).as_posix()}" for path in HERE.glob("**/*.h")],
    py_limited_api=LIMITED_API,
    # cffi before 2.0 leaves the limited API on in its header, whatever it is told here.
    define_macros=[] if LIMITED_API else [("_CFFI_NO_LIMITED_API", None)],
)
