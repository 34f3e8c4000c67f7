"""The fuzz targets: each reads its seeds, a short search finds no fault, and faults are noticed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import harness
import pytest
import search
from harness import TARGETS

from fastlin import datasets
from fastlin.errors import InputError

HERE = Path(__file__).parent
RUNS = 200
pytestmark = pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed; type: python -m pip install -e '.[fuzz]'",
)


def seeds(target: str) -> list[Path]:
    return sorted((HERE / "corpus" / target).iterdir())


def test_each_target_is_listed() -> None:
    assert {f"fuzz_{target}" for target in TARGETS} == {path.stem for path in HERE.glob("fuzz_*")}


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_are_right_files(target: str, tmp_path: Path) -> None:
    read = harness.target(target)
    for path in seeds(target):
        assert path.stat().st_size <= search.LONGEST
        assert read(path.read_bytes(), tmp_path), path.name


@needs_atheris
@pytest.mark.parametrize("target", TARGETS)
def test_a_short_search_finds_no_fault(target: str, tmp_path: Path) -> None:
    found = search.search(target, tmp_path, runs=RUNS, seed=1)
    assert found.fault is None, found.fault
    assert found.executions >= RUNS


@pytest.mark.parametrize(
    "error",
    [
        TypeError("a foreign error"),
        InputError("which file it was is not said"),
        InputError("a.csv: needs more memory than there is"),
    ],
)
def test_a_broken_promise_is_a_fault(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path) -> None:
        raise error

    monkeypatch.setattr(datasets, "load", load)
    with pytest.raises((TypeError, AssertionError)):
        harness.target("csv")(b"1,2\n", tmp_path)


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    page.write_text(f"before\n\n{search.BEGIN}\n\nold\n\n{search.END}\n\nafter\n")
    found = [search.Search("npy", 1000, 7, None), search.Search("csv", 20, 1, "TypeError")]
    search.write_table(page, search.table(found, "2026-01-02"))
    assert page.read_text() == (
        f"before\n\n{search.BEGIN}\n\n"
        "=========  ==========  =======  ======  ==========\n"
        "reader of  executions  seconds  faults  on\n"
        "=========  ==========  =======  ======  ==========\n"
        "npy        1000        7        0       2026-01-02\n"
        "csv        20          1        1       2026-01-02\n"
        "all        1020        8        1       2026-01-02\n"
        "=========  ==========  =======  ======  ==========\n\n"
        f"{search.END}\n\nafter\n"
    )
