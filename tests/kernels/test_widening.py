"""Rows of 8-bit integers and of 16-bit floats become floating-point numbers without rounding."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from processes import thorough
from widening import NARROW, check_widening

from fastlin.kernels import BACKEND_NAMES, backends

SCRIPT = Path(__file__).parents[1] / "widening.py"
AVX2 = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2"
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="these are x86's features")
NUMBA = pytest.mark.skipif(not backends()["numba"].available, reason="Numba is not available")


def run_script(name: str, *types: str, **environment: str) -> str:
    paths = os.pathsep.join([str(SCRIPT.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), name, *types],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_every_number_is_widened_exactly(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    check_widening(backends()[name])


def test_c_widens_them_on_every_instruction_set() -> None:
    if not backends()["c"].available:
        pytest.skip("backend 'c' is not available")
    from fastlin._native import ffi, lib

    sets = ffi.string(lib.fastlin_instruction_sets()).decode().split()
    assert "baseline" in sets
    for name in sets:
        assert run_script("c", *NARROW, FASTLIN_ISA=name) == name


@ON_X86
@NUMBA
@pytest.mark.parametrize(
    ("processor", "features", "vectors"),
    [
        pytest.param("haswell", f"{AVX2},+f16c", "avx2", marks=thorough),
        ("haswell", f"{AVX2},-f16c", "avx2"),
        pytest.param("x86-64", "+sse,+sse2,-avx,-f16c", "baseline", marks=thorough),
    ],
)
def test_numba_needs_no_instruction_for_it(processor: str, features: str, vectors: str) -> None:
    if vectors == "avx2" and backends()["numba"].instruction_set == "baseline":
        pytest.skip("this machine has no AVX2")
    found = run_script("numba", "float16", NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES=features)
    assert found == vectors


@ON_X86
@NUMBA
def test_numba_takes_the_instruction_where_there_is_one() -> None:
    """And nowhere the library that LLVM would call."""
    import llvmlite.binding as llvm

    from fastlin.kernels.jit import compiled, processor
    from fastlin.kernels.jit.dense.logits import logits_phase
    from fastlin.kernels.jit.kind import Kind

    if not processor.widens_halves():
        pytest.skip("this machine has no F16C")
    kind = Kind("float16", "float32", 1, 8)
    module = llvm.parse_assembly(compiled.compile_body(logits_phase, kind).inspect_llvm())
    code = compiled._target_machine().emit_assembly(module)
    assert "vcvtph2ps" in code
    assert "hfsf2" not in code
    assert "h2f" not in code
