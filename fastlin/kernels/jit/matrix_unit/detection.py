"""Whether there is a matrix unit (Intel AMX) for the Numba backend."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

FEATURES = {"amx-int8", "amx-tile", "avx512vbmi"}
"""What LLVM calls the instructions beyond AVX-512 that are used here."""


def permitted() -> bool:
    """Ask the system for the matrix unit's registers, for the whole process.

    Linux saves them on a switch of threads only if a process has asked for them.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return False
    arch_prctl, request_permission, tile_data = map(ctypes.c_long, (158, 0x1023, 18))
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0)


def wanted() -> bool:
    """Return whether the environment allows the matrix unit."""
    return os.environ.get("FASTLIN_ISA") in (None, "", "amx")
