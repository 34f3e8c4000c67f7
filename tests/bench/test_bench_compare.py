"""``bench/compare.py`` as a program: what it lets pass and what it does not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fastlin.bench.results import Case, Results

PROGRAM = Path(__file__).parents[2] / "bench" / "compare.py"
MACHINE = {"processor": "some processor"}


def case(contestant: str = "fastlin c", kind: str = "kernel", ms: float = 20.0) -> Case:
    seconds = [ms / 1e3 * factor for factor in (0.98, 0.99, 1.0, 1.01, 1.02)]
    return Case("epoch", contestant, kind, "", 2, "float32", 1e9, 1e8, seconds, 0.0, 1.0)


def record(*cases: Case) -> Results:
    return Results(MACHINE, n_threads=2, rounds=5, cases=list(cases))


@pytest.fixture
def compare(tmp_path: Path):
    def run(old: Results, new: Results, *options: str) -> subprocess.CompletedProcess[str]:
        for name, results in (("old", old), ("new", new)):
            results.save(tmp_path / f"{name}.json")
        return run_program(str(tmp_path / "old.json"), str(tmp_path / "new.json"), *options)

    return run


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, check=False
    )


def test_the_same_record_passes(compare) -> None:
    done = compare(record(case()), record(case()))
    assert (done.returncode, done.stdout) == (0, "no regression in 1 cases\n")


def test_slower_by_more_than_both_thresholds_fails(compare) -> None:
    done = compare(record(case()), record(case(ms=25)))
    assert done.returncode == 1
    assert "slower: epoch / fastlin c: 20.00 ms -> 25.00 ms (+25 %)" in done.stdout


def test_faster_passes(compare) -> None:
    assert compare(record(case()), record(case(ms=10))).returncode == 0


def test_a_large_share_of_very_little_passes(compare) -> None:
    assert compare(record(case(ms=0.5)), record(case(ms=0.9))).returncode == 0


def test_a_small_share_of_very_much_passes(compare) -> None:
    assert compare(record(case(ms=1000)), record(case(ms=1090))).returncode == 0


def test_within_the_spread_passes(compare) -> None:
    noisy = replace(case(), seconds=[0.010, 0.018, 0.025, 0.030, 0.050])
    assert compare(record(case()), record(noisy)).returncode == 0


def test_thresholds_can_be_set(compare) -> None:
    old, new = record(case(ms=20)), record(case(ms=21.5))
    assert compare(old, new).returncode == 0
    assert compare(old, new, "--relative", "0.05").returncode == 1
    assert compare(old, new, "--relative", "0.05", "--absolute", "2").returncode == 0


def test_a_case_that_vanished_fails(compare) -> None:
    done = compare(record(case(), case("fastlin numba")), record(case()))
    assert done.returncode == 1
    assert "vanished: epoch / fastlin numba" in done.stdout


def test_a_peer_that_vanished_fails_too(compare) -> None:
    done = compare(record(case(), case("JAX", "peer")), record(case()))
    assert done.returncode == 1
    assert "vanished: epoch / JAX" in done.stdout


def test_a_new_case_is_listed_and_passes(compare) -> None:
    done = compare(record(case()), record(case(), case("fastlin numba")))
    assert done.returncode == 0
    assert "new: epoch / fastlin numba" in done.stdout


def test_a_slower_peer_is_listed_and_passes(compare) -> None:
    old, new = (record(case(), case("JAX", "peer", ms)) for ms in (100, 200))
    done = compare(old, new)
    assert done.returncode == 0
    assert "slower peer (does not fail): epoch / JAX" in done.stdout


def test_fit_is_judged_like_a_kernel(compare) -> None:
    old, new = (record(case("fastlin c, fit", "fit", ms)) for ms in (20, 30))
    assert compare(old, new).returncode == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_threads": 1}, "another threads: 2 and 1"),
        ({"machine": {"processor": "other"}}, "another processor"),
        ({"cases": []}, "holds no case"),
    ],
)
def test_records_that_cannot_be_compared_are_a_mistake(compare, changes, message) -> None:
    done = compare(record(case()), replace(record(case()), **changes))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    done = run_program(str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert done.returncode == 2
    assert "a.json' is not a benchmark's record" in done.stderr
    assert "Traceback" not in done.stderr
