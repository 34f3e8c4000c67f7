"""The processor that kernels are compiled for."""

from __future__ import annotations

import functools
import platform

import llvmlite.binding as llvm
import numba


@functools.cache
def target() -> tuple[str, str]:
    """Return name and features of the processor that Numba compiles for."""
    name = numba.config.CPU_NAME or llvm.get_host_cpu_name()
    listed = numba.config.CPU_FEATURES
    if listed is None:
        found = llvm.get_host_cpu_features()
        if not numba.config.ENABLE_AVX:
            found = {key: has and not key.startswith("avx") for key, has in found.items()}
        listed = ",".join(("+" if has else "-") + key for key, has in sorted(found.items()))
    return name, listed


def features() -> frozenset[str]:
    """Return the features that it has."""
    return frozenset(key[1:] for key in target()[1].split(",") if key.startswith("+"))


def multiplies_and_adds() -> bool:
    """Return whether an instruction rounds a product and its sum once.

    LLVM calls a library for that where there is none, for each number.
    """
    return "fma" in features() or platform.machine() not in ("x86_64", "AMD64")


def widens_halves() -> bool:
    """Return whether an instruction turns float16 numbers into float32 ones.

    LLVM calls a library for that where there is none, for each number.
    """
    # On x86, F16C works on AVX's registers. All 64-bit Arm processors have it.
    return {"avx", "f16c"} <= features() or platform.machine() in ("aarch64", "arm64")
