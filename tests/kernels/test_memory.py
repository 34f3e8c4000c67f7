"""Kernels access only their own memory: their arrays end, or begin, at a forbidden page.

A fault would end pytest, so each backend and instruction set has a process of its own.

``FASTLIN_TEST_LONG=1``    random cases instead of the short list, for ``FASTLIN_TEST_SECONDS``
                           seconds each (600) and of ``FASTLIN_TEST_SEED`` (0)
``FASTLIN_TEST_LIBRARY``   a C backend that was compiled with sanitizers, for `make sanitize`
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from guarded import PAGE, Placement, on_cache_lines, place, place_rows
from processes import first_of, thorough

from fastlin.kernels import get_backend, load_backend

TESTS = Path(__file__).parents[1]
LONG = os.environ.get("FASTLIN_TEST_LONG", "") not in ("", "0")
LIBRARY = os.environ.get("FASTLIN_TEST_LIBRARY", "")
HASWELL = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pages are guarded as Linux does")


def instruction_sets() -> list[str]:
    if not load_backend("c").available:
        return []
    from fastlin._native import ffi, lib

    return ffi.string(lib.fastlin_instruction_sets()).decode().split()


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(TESTS), *sys.path))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def run_cases(name: str, *arguments: str, **environment: str) -> None:
    """Run all cases of a backend; if the process fails, show the last case that was begun."""
    if LONG:
        for option, default in (("seconds", "600"), ("seed", "0")):
            value = os.environ.get(f"FASTLIN_TEST_{option.upper()}", default)
            arguments = (*arguments, f"--{option}", value)
    done = run_python(str(TESTS / "memory_cases.py"), name, *arguments, **environment)
    lines = done.stdout.splitlines() or ["nothing was printed"]
    told = f"ended with {done.returncode} at: {lines[-1]}\n{lines[0]}\n{done.stderr[-6000:]}"
    assert done.returncode == 0, told
    assert "cases on" in lines[-1], told
    print(lines[-1])


# `make sanitize` runs them all.
@pytest.mark.parametrize("isa", first_of(1, instruction_sets() or ["none"]))
def test_c(isa: str) -> None:
    if isa == "none":
        pytest.skip("backend 'c' is not available")
    if not LIBRARY:
        run_cases("c", FASTLIN_ISA=isa)
        return
    compiler = shlex.split(os.environ.get("CC") or "gcc")
    runtime = subprocess.run(
        [*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    run_cases(
        *("c", "--library", LIBRARY),
        FASTLIN_ISA=isa,
        LD_PRELOAD=runtime.stdout.strip(),
        ASAN_OPTIONS="detect_leaks=0",  # Python leaves some memory to the end of the process
        UBSAN_OPTIONS="print_stacktrace=1",
    )


def test_numba() -> None:
    if not load_backend("numba").available:
        pytest.skip("backend 'numba' is not available")
    run_cases("numba", NUMBA_NUM_THREADS="5")


@thorough
def test_numba_on_narrower_vectors() -> None:
    if not load_backend("numba").available:
        pytest.skip("backend 'numba' is not available")
    if get_backend("numba").instruction_set not in ("amx", "avx512"):
        pytest.skip("the vectors of this machine are no wider than those of this test")
    run_cases("numba", NUMBA_NUM_THREADS="2", NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=HASWELL)


# ------------------------------------------------------------------ what guards


PLACEMENTS = [
    Placement(edge, rows, turned, shift, access)
    for edge in ("end", "start")
    for rows in ("tight", "padded", "odd", "apart")
    for turned in (False, True)
    for shift in (0, 3)
    for access in ("write", "protected", "read-only")
]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_copy_has_the_same_numbers_where_it_was_asked_for(placement: Placement) -> None:
    rows = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    copy = place_rows(rows, placement)
    np.testing.assert_array_equal(copy, rows)
    assert (copy.strides[0] < 0) == placement.reversed
    assert (copy.strides[0] % 4 != 0) == (placement.rows == "odd")
    assert copy.flags.writeable == (placement.access != "read-only")
    assert copy.flags.aligned == (placement.shift == 0 and placement.rows != "odd")
    ends = copy.ctypes.data, copy.ctypes.data + 6 * copy.strides[0]
    if placement.edge == "end":
        assert (max(ends) + 20) % PAGE == -placement.shift % PAGE
    else:
        assert min(ends) % PAGE == placement.shift
    alone = place(rows, placement)
    np.testing.assert_array_equal(alone, rows)
    assert alone.flags.c_contiguous
    assert alone.flags.aligned


@pytest.mark.parametrize("edge", ["end", "start"])
def test_what_numpy_allocates_is_at_the_edge(edge: str) -> None:
    code = f"""
import os
import numpy as np
from guarded import PAGE, guarded_allocations
with guarded_allocations({edge!r}):
    arrays = [np.empty(5, np.float32), np.zeros((3, 7)), np.arange(9), np.zeros(2000, np.uint8)]
    grown = np.arange(4.0)
    grown.resize(1000)
    arrays += [grown, arrays[1] + 1]
assert np.isnan(arrays[0]).all() and not arrays[1].any() and (arrays[5] == 1).all()
assert (arrays[2] == range(9)).all() and grown[:4].tolist() == [0, 1, 2, 3] and not grown[4:].any()
for array in arrays:
    edge = array.ctypes.data + (array.nbytes if {edge!r} == "end" else 0)
    assert edge % PAGE == 0
after = np.empty(5)
print("done", flush=True)
os._exit(0)
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


ACCESSES = {
    "the last byte": ("end", "write", "read(copy, copy.nbytes - 1)", True),
    "beyond the end": ("end", "write", "read(copy, copy.nbytes)", False),
    "the first byte": ("start", "write", "read(copy, 0)", True),
    "before the start": ("start", "write", "read(copy, -1)", False),
    "a write where that is allowed": ("end", "write", "write(copy, 0)", True),
    "a write to what is protected": ("end", "protected", "write(copy, 0)", False),
    "a read of what is protected": ("end", "protected", "read(copy, 0)", True),
    "beyond a row": ("end", "write", "read(apart, apart[:1].nbytes)", False),
    "within another row": ("end", "write", "read(apart, apart.strides[0])", True),
    "beyond what NumPy allocated": ("end", "write", "read(own, own.nbytes)", False),
    "within what NumPy allocated": ("end", "write", "read(own, own.nbytes - 1)", True),
}


@pytest.mark.parametrize("access", ACCESSES)
def test_a_fault_ends_the_process(access: str) -> None:
    edge, protection, expression, allowed = ACCESSES[access]
    code = f"""
import ctypes, os
import numpy as np
from guarded import Placement, guarded_allocations, place, place_rows
def read(array, offset):
    ctypes.string_at(array.ctypes.data + offset, 1)
def write(array, offset):
    ctypes.memset(array.ctypes.data + offset, 0, 1)
copy = place(np.ones(5), Placement({edge!r}, access={protection!r}))
apart = place_rows(np.ones((3, 5)), Placement({edge!r}, "apart"))
with guarded_allocations({edge!r}):
    own = np.empty(5)
{expression}
os._exit(0)
"""
    done = run_python("-c", code)
    assert done.returncode == (0 if allowed else -signal.SIGSEGV), done.stderr


def test_working_memory_lies_on_cache_lines_at_the_edge() -> None:
    for shape, slack in (((3, 5, 16), 0), ((7,), 36), ((2, 0), 0)):
        array = on_cache_lines(shape, np.float32)
        assert array.flags.c_contiguous
        assert not array.any()
        assert array.ctypes.data % 64 == 0
        assert (array.ctypes.data + array.nbytes + slack) % PAGE == 0
        array[...] = 1
