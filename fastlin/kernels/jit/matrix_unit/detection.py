"""Whether there is a matrix unit (Intel AMX) for the Numba backend, and what is worth its use."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Any

FEATURES = {"amx-int8", "amx-tile", "avx512vbmi"}
"""What LLVM calls the instructions beyond AVX-512 that are used here."""


def permitted() -> bool:
    """Ask the system for the matrix unit's registers, for the whole process.

    Linux saves them on a switch of threads only where they were asked for.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return False
    arch_prctl, request_permission, tile_data = map(ctypes.c_long, (158, 0x1023, 18))
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0)


def wanted() -> bool:
    """Return whether the environment leaves the matrix unit to be used."""
    return os.environ.get("FASTLIN_ISA") in (None, "", "amx")


def suits(row_type: Any, weight_type: Any, n_rows: int, n_classes: int) -> bool:
    """Return whether steps of so many rows hold enough products to be worth laying out operands."""
    of_types = (row_type, weight_type) == ("uint8", "float32")
    return of_types and n_classes >= 8 and n_rows * n_classes >= 1024
