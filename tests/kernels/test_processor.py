"""Kernels call no library for what their processor has no instruction for."""

from __future__ import annotations

import platform

import pytest

from fastlin.kernels import load_backend

pytestmark = [
    pytest.mark.skipif(not load_backend("numba").available, reason="Numba is not available"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="these are x86's features"),
]


@pytest.mark.parametrize(
    ("features", "has_fma"), [("+sse,+sse2", False), ("+sse,+sse2,+avx,+avx2,+fma", True)]
)
def test_products_and_sums_need_no_library(
    features: str, has_fma: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be called for every number: ten times as slow and more."""
    import llvmlite.binding as llvm

    from fastlin.kernels.jit import compiled, processor
    from fastlin.kernels.jit.dense.logits import logits_phase
    from fastlin.kernels.jit.kind import Kind

    monkeypatch.setattr(processor, "target", lambda: ("x86-64", features))
    assert processor.multiplies_and_adds() == has_fma
    kind = Kind("float32", "float32", 1, 8 if has_fma else 4)
    module = llvm.parse_assembly(compiled.compile_body(logits_phase, kind).inspect_llvm())
    code = compiled._target_machine().emit_assembly(module)
    assert ("vfmadd" in code) == has_fma
    assert "fmaf" not in code
