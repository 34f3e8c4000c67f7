"""Checks variables that would end the process, or give obscure errors, when Numba reads them."""

from __future__ import annotations

import os


def fault() -> str | None:
    """Return what is wrong with Numba's variables, naming the variable, or None."""
    n_threads = os.environ.get("NUMBA_NUM_THREADS", "")
    if n_threads.strip().lstrip("-").isdecimal() and int(n_threads) < 1:
        return f"NUMBA_NUM_THREADS={n_threads} is not a positive number"
    features = os.environ.get("NUMBA_CPU_FEATURES", "")
    for feature in filter(None, map(str.strip, features.split(","))):
        if feature[0] not in "+-":  # LLVM ends the process
            return f"NUMBA_CPU_FEATURES holds {feature[:40]!r}, and each feature begins with + or -"
    return None
