"""Describe the C extension to cffi: what is declared, what is compiled."""

from __future__ import annotations

from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent
SOURCES = ("dispatch.c", "isa_amx.c", "isa_avx512.c", "isa_avx2.c", "isa_baseline.c")


def declarations() -> str:
    """Return ``fastlin_api.h`` as cffi can read it: without the preprocessor's lines."""
    lines = (HERE / "fastlin_api.h").read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


ffibuilder = cffi.FFI()
ffibuilder.cdef(declarations())
# API mode checks every declaration against the compiler's; the limited API makes one build serve
# every Python from 3.11 on. Options of the compiler are setup.py's, which knows the compiler.
ffibuilder.set_source(
    "fastlin._native",
    '#include "fastlin_api.h"',
    sources=[f"csrc/{name}" for name in SOURCES],
    include_dirs=["csrc"],
    depends=[f"csrc/{path.name}" for path in HERE.glob("*.h")],
    py_limited_api=True,
)
