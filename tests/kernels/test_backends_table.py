"""``fastlin.backends()``: what it shows of each backend, and how one is chosen."""

from __future__ import annotations

import inspect
import os
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import pytest

import fastlin
from fastlin import kernels
from fastlin.errors import BackendUnavailableError, FastlinError, InputError
from fastlin.kernels import Backend, reference

BACKENDS = fastlin.backends()
AVAILABLE = [pytest.param(one, id=one.name) for one in BACKENDS.values() if one.available]
COMPILED = [one for one in AVAILABLE if one.id != "numpy"]


def test_the_table_has_the_three_in_the_order_of_auto() -> None:
    assert list(BACKENDS) == ["numba", "c", "numpy"]
    assert [one.name for one in BACKENDS.values()] == list(BACKENDS)


@pytest.mark.skipif("FASTLIN_REQUIRE_C" not in os.environ, reason="C was not required")
def test_c_is_there_where_the_build_required_it() -> None:
    assert BACKENDS["c"].reason is None


@pytest.mark.parametrize("backend", AVAILABLE)
def test_an_available_backend_has_each_kernel_with_the_reference_arguments(
    backend: Backend,
) -> None:
    for name in kernels.KERNEL_NAMES:
        expected = inspect.signature(getattr(reference, name))
        assert inspect.signature(getattr(backend, name)) == expected


def test_the_record_holds_the_kernels_and_nothing_hidden() -> None:
    shown = ["name", "version", "n_threads", "threading_layer", "instruction_set"]
    why_not = ["reason", "remedy"]
    assert [field.name for field in fields(Backend)] == [*shown, *why_not, *kernels.KERNEL_NAMES]


@pytest.mark.parametrize("backend", AVAILABLE)
def test_an_available_backend_tells_all_about_itself(backend: Backend) -> None:
    assert backend.version
    assert 1 <= backend.n_threads <= len(os.sched_getaffinity(0))
    assert backend.threading_layer
    assert backend.instruction_set
    assert (backend.reason, backend.remedy) == (None, None)


def test_versions_are_those_of_what_runs_the_kernels() -> None:
    for name in ("numba", "numpy"):
        if BACKENDS[name].available:
            assert BACKENDS[name].version == metadata.version(name)
    if BACKENDS["c"].available:
        ours, _, compiler = str(BACKENDS["c"].version).partition(", ")
        assert ours == fastlin.__version__
        assert compiler.split()[0] in ("gcc", "clang")


@pytest.mark.parametrize("backend", COMPILED)
def test_instruction_set_is_one_that_the_processor_has(backend: Backend) -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    needed = {
        "amx": {"amx_tile", "amx_int8", "avx512vbmi"},
        "avx512": {"avx512f", "avx512bw"},
        "avx2": {"avx2", "fma"},
        "baseline": set(),
    }
    assert needed[str(backend.instruction_set)] <= flags


def test_a_matrix_unit_that_one_backend_finds_is_found_by_the_other() -> None:
    """Otherwise its tests would be skipped, and training would be slow, without a notice."""
    if not all(BACKENDS[name].available for name in ("c", "numba")):
        pytest.skip("a compiled backend is missing")
    compiler, version = str(BACKENDS["c"].version).partition(", ")[2].split()[:2]
    if compiler != "gcc" or int(version.partition(".")[0]) < 11:
        pytest.skip("AMX is compiled by GCC 11 and newer only")
    found = {BACKENDS[name].instruction_set == "amx" for name in ("c", "numba")}
    assert len(found) == 1


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list of names of backends; those that a test appends are unavailable."""
    missing: list[str] = []
    load = kernels.load_backend

    def load_backend(name: str) -> Backend:
        if name in missing:
            return Backend(name, reason=f"{name} broke", remedy="mend it")
        return load(name)

    monkeypatch.setattr("fastlin.kernels.table.load_backend", load_backend)
    return missing


def test_auto_takes_the_first_that_is_available(missing: list[str]) -> None:
    for name in ("numba", "c", "numpy"):
        if BACKENDS[name].available:
            assert kernels.get_backend("auto").name == name
        missing.append(name)


@pytest.mark.parametrize("name", ["numba", "c", "numpy"])
def test_a_named_one_never_falls_back(name: str, missing: list[str]) -> None:
    missing.append(name)
    with pytest.raises(BackendUnavailableError) as caught:
        kernels.get_backend(name)
    assert str(caught.value) == (
        f"backend '{name}' is not available: {name} broke; mend it, or choose backend 'auto'"
    )


@pytest.mark.parametrize("name", ["cuda", "", "NumPy", None, 3])
def test_an_unknown_name_is_answered_with_the_known_ones(name: object) -> None:
    with pytest.raises(InputError, match="choose one of 'auto', 'numba', 'c', 'numpy'") as caught:
        kernels.get_backend(name)
    assert isinstance(caught.value, FastlinError)
    assert repr(name) in str(caught.value)


def test_two_ways_to_find_the_vectors_agree() -> None:
    c, numba = (fastlin.backends()[name] for name in ("c", "numba"))
    told = [name for name in os.environ if name.startswith(("FASTLIN_ISA", "NUMBA_CPU"))]
    if not (c.available and numba.available) or told:
        pytest.skip("one of them is missing, or told what to take")
    # A C compiler may know no matrix unit.
    assert c.instruction_set in (
        numba.instruction_set,
        str(numba.instruction_set).replace("amx", "avx512"),
    )
