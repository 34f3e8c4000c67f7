"""Measures what the machine can do at most: fused multiply-adds, and reading memory.

Both are small Numba kernels that release the interpreter's lock, so plain Python
threads run one copy each, whatever threading layer Numba has. Where Numba cannot
be imported, a large matrix product and ``np.sum`` give lower bounds instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TRIALS = 7
# Enough independent sums to fill two units of 4 to 5 cycles' latency, few enough for
# 16 registers with the two factors.
_ACCUMULATORS = 12
_LANES = (4, 8, 16)
_FMA_SECONDS = 0.03
_READ_BYTES_LEAST = 256 * 2**20
_READ_BYTES_MOST = 768 * 2**20


@dataclass(frozen=True)
class Limits:
    """The most that a number of threads reached.

    Attributes
    ----------
    n_threads : int
    float32_flops_per_second, float64_flops_per_second : float
    read_bytes_per_second : float
    method : str
        How the arithmetic was measured.
    """

    n_threads: int
    float32_flops_per_second: float
    float64_flops_per_second: float
    read_bytes_per_second: float
    method: str

    def flops_per_second(self, dtype: str) -> float:
        """Return the arithmetic limit of problems with ``dtype`` rows."""
        if dtype == "float64":
            return self.float64_flops_per_second
        return self.float32_flops_per_second

    def least_seconds(self, flops: float, n_bytes: float, dtype: str) -> tuple[float, str]:
        """Return the least time for this much work and which limit sets it."""
        arithmetic = flops / self.flops_per_second(dtype)
        reading = n_bytes / self.read_bytes_per_second
        return max((arithmetic, "arithmetic"), (reading, "reading"))


def measure_limits(n_threads: int) -> Limits:
    """Measure arithmetic and read bandwidth with ``n_threads`` threads; takes about 3 s."""
    array = np.ones(_array_bytes() // 8, np.uint64)
    try:
        kernels = _numba_kernels()
    except ImportError:
        return Limits(
            n_threads,
            _matrix_product_flops(np.float32, n_threads),
            _matrix_product_flops(np.float64, n_threads),
            _read_speed(np.sum, array, n_threads),
            "matrix product (numba is missing, so this is a lower bound)",
        )
    fused_multiply_adds, read = kernels
    float32 = max(
        (_fma_flops(fused_multiply_adds[4, lanes], lanes, n_threads), lanes) for lanes in _LANES
    )
    float64 = max(
        (_fma_flops(fused_multiply_adds[8, lanes], lanes, n_threads), lanes)
        for lanes in (2, *_LANES[:-1])
    )
    return Limits(
        n_threads,
        float32[0],
        float64[0],
        _read_speed(read, array, n_threads),
        f"fused multiply-adds in registers, {float32[1]} float32 lanes",
    )


def _fma_flops(kernel: Callable[[int], Any], lanes: int, n_threads: int) -> float:
    flops_per_turn = 2.0 * _ACCUMULATORS * lanes
    turns = 200_000
    kernel(turns)
    seconds = _seconds_together([lambda: kernel(turns)])
    turns = max(int(turns * _FMA_SECONDS / seconds), 1)
    best = min(_seconds_together([lambda: kernel(turns)] * n_threads) for _ in range(_TRIALS))
    return n_threads * turns * flops_per_turn / best


def _read_speed(read: Callable[[Any], Any], array: NDArray[Any], n_threads: int) -> float:
    parts = np.array_split(array, n_threads)
    calls = [partial(read, part) for part in parts]
    read(array[:8])
    return array.nbytes / min(_seconds_together(calls) for _ in range(_TRIALS))


def _seconds_together(calls: Sequence[Callable[[], Any]]) -> float:
    """Return the seconds from the first start to the last end of calls on a thread each."""
    barrier = Barrier(len(calls))

    def timed(call: Callable[[], Any]) -> tuple[float, float]:
        barrier.wait()
        start = time.perf_counter()
        call()
        return start, time.perf_counter()

    with ThreadPoolExecutor(len(calls)) as pool:
        spans = list(pool.map(timed, calls))
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _matrix_product_flops(dtype: Any, n_threads: int) -> float:
    from fastlin.bench.contestants import limit_blas_threads

    limit_blas_threads(n_threads)
    size = 1024
    a, out = np.ones((size, size), dtype), np.empty((size, size), dtype)
    best = min(_seconds_together([lambda: np.matmul(a, a, out=out)]) for _ in range(_TRIALS))
    return 2.0 * size**3 / best


def _array_bytes() -> int:
    """Return a size far above the last cache's, as far as memory allows."""
    cache_file = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
    try:
        last_cache = int(cache_file.read_text().strip().removesuffix("K")) * 1024
    except (OSError, ValueError):
        last_cache = 0
    return min(max(_READ_BYTES_LEAST, 4 * last_cache), _READ_BYTES_MOST)


@cache
def _numba_kernels() -> tuple[dict[tuple[int, int], Callable[[int], Any]], Callable[[Any], Any]]:
    """Compile the kernels: multiply-adds by (bytes of an element, lanes), and reading.

    The vectoriser picks 256-bit vectors even if 512 bits are faster, hence the kernels' own
    vectors.
    """
    import numba
    from numba.core import types
    from numba.extending import intrinsic

    from fastlin.kernels.jit.vectors import VectorUnit

    def multiply_adds(lanes: int, double: bool) -> Callable[[int], Any]:
        """Compile ``turns`` rounds of ``a = a * factor + addend`` on independent vectors ``a``.

        Returns the sum of all lanes, so that nothing can be left out.
        """

        def loop_of(typing_context: Any, turns: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                unit = VectorUnit(builder, lanes, double)
                # a -> a * 0.5 + 1 tends to 2: no overflow and no subnormals, however many turns.
                factor, addend = unit.constant(0.5), unit.constant(1.0)
                starts = [unit.constant(float(start)) for start in range(_ACCUMULATORS)]
                first, *others = unit.loop(
                    arguments[0],
                    starts,
                    lambda _, sums: [unit.multiply_add(a, factor, addend) for a in sums],
                )
                return unit.sum(sum(others, start=first))

            return (types.float64 if double else types.float32)(types.int64), codegen

        loop: Any = intrinsic(loop_of)

        def run(turns: int) -> Any:
            return loop(turns)

        compiled: Any = numba.njit("float64(int64)", nogil=True)(run)
        return compiled  # type: ignore[no-any-return]  # numba is untyped

    def read(array: Any) -> Any:
        total = np.uint64(0)  # integer sums may be reordered, so this becomes vector loads
        for value in array:
            total += value
        return total

    compiled_read: Any = numba.njit("uint64(uint64[::1])", nogil=True)(read)
    kernels = {(4, lanes): multiply_adds(lanes, double=False) for lanes in _LANES}
    kernels |= {(8, lanes): multiply_adds(lanes, double=True) for lanes in (2, *_LANES[:-1])}
    return kernels, compiled_read
