"""The name of a compiled kernel depends only on its content, so it is the same in every process."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from processes import THOROUGH

from fastlin.kernels import load_backend

pytestmark = pytest.mark.skipif(
    not load_backend("numba").available, reason="backend 'numba' is not available"
)


def compile_kernels(seed: int, share: float) -> list[dict[str, Any]]:
    """Compile a share of all kinds of kernel in a process of its own, in an order of its own."""
    from fastlin.kernels.jit import processor
    from fastlin.kernels.jit.matrix_unit import detection as matrix_unit

    environment, has_unit = dict(os.environ), platform.machine() == "x86_64"
    if has_unit:  # compiled, never run, so any processor will do
        name, features = processor.target()
        wanted = [*matrix_unit.FEATURES, "avx512f", "avx512bw", "avx512dq", "avx512vl"]
        features = ",".join([features, *(f"+{feature}" for feature in wanted)])
        environment |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    script = Path(__file__).parents[1] / "compile_kernels.py"
    command = [sys.executable, script, str(seed), "unit" if has_unit else "vectors", str(share)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_kernels_are_named_by_their_content_in_every_process() -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(compile_kernels, (1, 2), (1.0, 0.5 if THOROUGH else 0.25))
    # A part of them, after others than in the first process, tell whether names depend on an order.
    assert [kernel["kernel"] for kernel in one][: len(other)] != [k["kernel"] for k in other]
    for kernels, least in ((one, 20), (other, 5)):
        names = [kernel["name"] for kernel in kernels]
        assert len(set(names)) == len(names) >= least
        for kernel in kernels:
            # Nothing else that a linker could take for another kernel's.
            assert kernel["symbols"] == [kernel["name"]]
            # Only a kernel's launch checks for errors (a number of threads below 1).
            assert kernel["raises"] == (".launch" in kernel["kernel"]), kernel["kernel"]
    by_kernel = [
        {kernel["kernel"]: kernel["name"] for kernel in kernels} for kernels in (one, other)
    ]
    assert by_kernel[1].items() <= by_kernel[0].items()


def test_another_version_processor_or_option_gives_other_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import numba

    from fastlin.kernels.jit import compiled, processor
    from fastlin.kernels.jit.dense import run as dense
    from fastlin.kernels.jit.kind import Kind

    kind = Kind("float32", "float32", 10, 16)

    def name() -> str:
        compiled.stamp.cache_clear()
        processor.target.cache_clear()
        return compiled.kernel_name(dense.run, kind)

    names = {name(), name()}
    assert len(names) == 1
    with monkeypatch.context() as patch:
        patch.setattr(numba, "__version__", "0.99.0")
        names.add(name())
    with monkeypatch.context() as patch:
        patch.setattr(numba.config, "CPU_FEATURES", "+avx2")
        names.add(name())
    with monkeypatch.context() as patch:
        patch.setattr(numba.config, "OPT", 1)
        names.add(name())
    assert len(names) == 4
    name()


def test_the_sources_of_all_kernels_are_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that was compiled from an older file would write beyond today's buffers."""
    from fastlin.kernels.jit import compiled

    folder = Path(compiled.__file__).parent
    before = compiled.stamp.__wrapped__()
    read = Path.read_bytes
    numbers = folder.parent / "blocking.py"  # blocks, panels and slices
    for source in (*sorted(folder.rglob("*.py")), numbers):
        with monkeypatch.context() as patch:
            patch.setattr(
                Path,
                "read_bytes",
                lambda path, source=source: read(path) + b"#" * (path == source),
            )
            assert compiled.stamp.__wrapped__() != before, source


def test_whole_code_of_another_kernel_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An index with a right name and digest, of an object file that is not of this kernel."""
    from fastlin.kernels.jit import compiled, team
    from fastlin.kernels.jit.kernel_cache import KernelCache

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    cache = KernelCache(compiled.stamp())
    name = compiled.kernel_name(team.launch, None)
    right = compiled.object_of(name, compiled.compile_body(team.launch, None))
    other = compiled.object_of("another", compiled.compile_body(team.launch, None))
    cache.store(name, "launch", other)
    assert cache.load(name) == other
    assert compiled.load_code(name, other) == 0
    monkeypatch.setattr(compiled, "cache", lambda: cache)
    assert compiled._load_or_compile(name, team.launch, None) != 0
    kept = cache.load(name)
    assert kept != other
    assert kept is not None
    assert len(kept) == len(right)
