"""A whole benchmark on tiny problems: what is right is timed, what is wrong is not."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fastlin.bench import suite
from fastlin.bench.limits import Limits
from fastlin.bench.peers import PEERS
from fastlin.bench.plot import plot_results
from fastlin.bench.problems import Problem
from fastlin.bench.results import Case, Results
from fastlin.bench.table import MOST_TABLES, print_results, slower_cells
from fastlin.errors import InputError, OutputError
from fastlin.kernels import Backend, backends, get_backend

NUMPY = get_backend("numpy")
TINY = [
    Problem("tiny-uint8", 128, 16, 3, 32, "uint8"),
    Problem("tiny-binary", 128, 16, 2, 32, "float32"),
]


@pytest.fixture(autouse=True)
def fixed_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suite, "measure_limits", lambda n: Limits(n, n * 100e9, n * 50e9, n * 10e9, "by hand")
    )


def plan(*chosen: Backend, peers: tuple[str, ...] = (), n_threads: int = 2) -> suite.Plan:
    return suite.Plan(TINY, chosen, [PEERS[name] for name in peers], n_threads, rounds=2)


@pytest.fixture(scope="module")
def results() -> Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            suite, "measure_limits", lambda n: Limits(n, n * 100e9, n * 50e9, n * 10e9, "by hand")
        )
        return suite.run(plan(NUMPY, peers=("numpy", "sgdclassifier")))


def broken(backend: Backend) -> Backend:
    """A backend that forgets the last step."""

    def sgd_steps(samples, order, parameters, options, losses_out, n_threads):
        fewer = replace(options, learning_rates=options.learning_rates[:-1])
        backend.sgd_steps(samples, order, parameters, fewer, losses_out, n_threads)
        losses_out[-1] = losses_out[-2]

    return replace(backend, sgd_steps=sgd_steps)


def printed(results: Results) -> str:
    stream = io.StringIO()
    print_results(results, Console(file=stream))
    return stream.getvalue()


@pytest.mark.parametrize("name", list(backends()))
def test_every_backend_passes_the_check(name: str) -> None:
    backend = backends()[name]
    if not backend.available:
        pytest.skip(f"{backend.reason}; {backend.remedy}")
    found = suite.run(plan(backend))
    assert found.wrong == []
    assert len(found.cases) == 3 * len(TINY)


def test_every_contestant_has_a_case_a_problem(results: Results) -> None:
    expected = [
        "fastlin numpy",
        "fastlin numpy, 1 thread",
        "fastlin numpy, fit",
        "NumPy loop",
        "scikit-learn SGDClassifier",
    ]
    for _, cases in results.by_problem():
        assert [case.contestant for case in cases] == expected
        assert all(len(case.seconds) == 2 and min(case.seconds) > 0 for case in cases)
    assert results.bases == ["fastlin numpy"]
    assert results.wrong == []


def test_only_what_cannot_be_compared_is_unchecked(results: Results) -> None:
    unchecked = {case.contestant for case in results.cases if case.error is None}
    assert unchecked == {"scikit-learn SGDClassifier"}


def test_a_wrong_kernel_is_refused() -> None:
    found = suite.run(plan(broken(NUMPY), n_threads=1))
    assert [failure.contestant for failure in found.wrong] == 2 * ["fastlin numpy"]
    assert not any(case.kind == "kernel" for case in found.cases)
    assert "WRONG, not timed: fastlin numpy on tiny-uint8" in printed(found)


def test_what_is_missing_is_listed_with_its_command() -> None:
    absent = replace(PEERS["jax"], package="no_such_package")
    found = suite.run(replace(plan(NUMPY), peers=[absent]))
    assert found.missing == {"JAX, jit + lax.scan": "pip install no_such_package"}
    assert "missing: JAX, jit + lax.scan; remedy: pip install no_such_package" in printed(found)


def test_the_record_survives_json(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    results.save(path)
    assert Results.load(path) == results
    case = json.loads(path.read_text())["cases"][0]
    low, high = case["quartiles_seconds"]
    assert low <= case["median_seconds"] <= high


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 99}', '{"format": 1}'])
def test_another_file_is_no_record(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is not a benchmark's record"):
        Results.load(path)
    with pytest.raises(InputError, match="is not a benchmark's record"):
        Results.load(tmp_path / "missing.json")


def test_a_record_that_cannot_be_written_is_one_clear_error(
    results: Results, tmp_path: Path
) -> None:
    with pytest.raises(OutputError):
        results.save(tmp_path / "no" / "folder.json")


def test_shares_and_ratios_are_those_of_the_seconds(results: Results) -> None:
    base = replace(results.cases[0], flops=40e9, bytes=1e9, seconds=[1.0, 1.0], n_threads=1)
    other = replace(base, seconds=[2.0, 4.0])
    share = results.share_of_limit(base)
    assert share == (pytest.approx(0.4), "arithmetic")
    assert other.ratio_to(base).median == 3.0
    assert results.share_of_limit(replace(base, n_threads=64)) is None


def test_the_table_shows_everybody_and_the_machine(results: Results) -> None:
    text = printed(results)
    for case in results.cases:
        assert case.problem in text
        assert case.contestant.split(",")[0] in text
    assert results.machine["processor"] in text
    assert "GFLOP/s" in text
    assert "limits, 2 threads: 200 GFLOP/s float32, 100 float64, 20.0 GB/s read" in text


def many_problems(results: Results) -> Results:
    _, cases = next(results.by_problem())
    copies = [
        replace(case, problem=f"cell-{number}")
        for number in range(MOST_TABLES + 1)
        for case in cases
    ]
    return replace(results, cases=copies)


def test_many_problems_are_a_line_each(results: Results) -> None:
    text = printed(many_problems(results))
    lines = [line for line in text.splitlines() if line.startswith("│ cell-")]
    assert len(lines) == MOST_TABLES + 1
    assert all("NumPy loop" in line or "SGDClassifier" in line for line in lines)


def test_a_line_has_the_peers_ratio_to_each_backend() -> None:
    def case(problem: str, contestant: str, kind: str, seconds: float) -> Case:
        return Case(problem, contestant, kind, "", 1, "float32", 1e9, 1e8, [seconds], 0.0, 1.0)

    cases = [
        case(f"cell-{number}", *rest)
        for number in range(MOST_TABLES + 1)
        for rest in (
            ("fastlin c", "kernel", 1.0),
            ("fastlin numba", "kernel", 2.0),
            ("fastlin numba, fit", "fit", 9.0),
            ("JAX", "peer", 1.5),
        )
        if (number, rest[0]) != (1, "fastlin numba")
    ]
    machine = {"packages": {}, "load_average": 0.0, "processor": "one", "cores": 1}
    machine |= {"instruction_set": [], "governor": None, "python": "3"}
    text = printed(Results(machine, n_threads=1, rounds=1, cases=cases))
    heading, first, second = (
        re.split(r" *[│┃] *", line)[1:-1]
        for line in text.splitlines()
        if "problem" in line or "cell-0 " in line or "cell-1 " in line
    )
    columns = [heading.index(name) for name in ("/ c", "/ numba")]
    assert [first[column] for column in columns] == ["1.50", "0.75"]
    assert [second[column] for column in columns] == ["1.50", ""]


def test_a_problem_that_a_peer_wins_is_listed(results: Results) -> None:
    def timed(kind: str) -> list[float]:
        return [1.0, 1.0] if kind == "peer" else [2.0, 2.0]

    cases = [replace(case, seconds=timed(case.kind)) for case in results.cases]
    lines = slower_cells(replace(results, cases=cases))
    assert len(lines) == len(TINY)
    assert "NumPy loop is 2.00 times as fast as fastlin numpy" in lines[0]
    assert lines[0] in printed(replace(results, cases=cases))
    fast = [
        replace(case, seconds=[0.5, 0.5] if case.kind == "kernel" else [1.0, 1.0]) for case in cases
    ]
    assert slower_cells(replace(results, cases=fast)) == []


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_figure_is_written(results: Results, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"figure{suffix}"
    plot_results(results, path)
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)


def test_the_figure_names_every_problem_and_peer(results: Results, tmp_path: Path) -> None:
    figure = plot_results(results, tmp_path / "figure.svg")
    roofline, ratios = figure.axes
    shown = [label.get_text() for label in ratios.get_yticklabels()]
    assert [text.split("\n")[0] for text in shown] == [problem.name for problem in TINY]
    legend = [text.get_text() for text in ratios.get_legend().get_texts()]
    assert legend == ["NumPy loop", "scikit-learn SGDClassifier"]
    assert "fastlin numpy" in [text.get_text() for text in roofline.get_legend().get_texts()]
    plot_results(many_problems(results), tmp_path / "many.svg")
