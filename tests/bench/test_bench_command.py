"""``fastlin bench`` as a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import assert_mistake, run, run_process

from fastlin.bench import suite
from fastlin.bench.machine import describe_machine
from fastlin.bench.peers import SUITES
from fastlin.bench.results import Case, Failure, Results

SHAPE = ["--features", "16", "--classes", "3", "--batch-size", "64", "--dtype", "float32"]
TINY_GRID = ["--grid", "--quick", *SHAPE, "--backend", "numpy"]


def test_a_tiny_benchmark_prints_a_table_and_writes_its_files(tmp_path: Path) -> None:
    json_path, plot_path = tmp_path / "record.json", tmp_path / "figure.png"
    done = run_process(
        "bench", *TINY_GRID, "--peers", "numpy", "--rounds", "1", "--threads", "1",
        "--json", str(json_path), "--plot", str(plot_path),
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "grid-d16-k3-batch64-float32-quick" in done.out
    assert "NumPy loop" in done.out
    assert "measuring the machine's limits" in done.err
    results = Results.load(json_path)
    assert [case.contestant for case in results.cases] == [
        "fastlin numpy",
        "fastlin numpy, fit",
        "NumPy loop",
    ]
    assert results.wrong == []
    assert json.loads(json_path.read_text())["machine"]["packages"]["numpy"]
    assert plot_path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "fortran"], "fortran"),
        (["--peers", "tensorflow"], "peer 'tensorflow' is unknown"),
        (["--rounds", "0"], "0 is not in the range 1<=x<=1000"),
        (["--threads", "-1"], "-1 is not in the range 1<=x"),
        (["--features", "64"], "add --grid"),
        (["--grid", "--classes", "1"], "expected 2 or more"),
        (["--grid", "--features", "many"], "'many' is not a valid integer"),
        (["--dtype", "float8"], "float8"),
        (["--strict", "--peers", "none"], "none takes part"),
        (["--suite", "probe", "--grid"], "leave the grid's options out"),
        (["--suite", "fit", "--features", "64"], "leave the grid's options out"),
        (["--suite", "fit", "--peers", "jax"], "peer 'jax' is unknown"),
        (["--suite", "predict", "--classes", "3"], "leave the grid's options out"),
        (["--suite", "predict", "--peers", "numpy"], "choose from sklearn"),
        (["--json", "/no/such/folder/record.json"], "/no/such/folder"),
        (["--plot", "figure.txt"], "figure.txt"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    assert_mistake(run("bench", *arguments), message)


def test_help_has_an_example_and_names_every_suite() -> None:
    done = run("bench", "--help")
    assert done.code == 0
    assert "fastlin bench --quick" in done.out
    assert "fastlin bench --suite probe --strict" in done.out
    for name in SUITES:
        assert f"--suite {name} " in done.out


def case(problem: str, contestant: str, kind: str, seconds: float) -> Case:
    return Case(problem, contestant, kind, "", 1, "float32", 1e9, 1e8, 3 * [seconds], 0.0, 1.0)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Results:
    """What the next benchmark will have measured: in one of two cells, a peer is the fastest."""
    results = Results(
        describe_machine(),
        n_threads=1,
        rounds=3,
        cases=[
            case("won", "fastlin c", "kernel", 1.0),
            case("won", "fastlin c, fit", "fit", 9.0),
            case("won", "NumPy loop", "peer", 1.5),
            case("lost", "fastlin c", "kernel", 3.0),
            case("lost", "fastlin numba", "kernel", 2.0),
            case("lost", "JAX", "peer", 1.0),
        ],
    )
    monkeypatch.setattr(suite, "run", lambda *_, **__: results)
    return results


def test_strict_fails_for_each_problem_that_a_peer_wins(made_up: Results) -> None:
    done = run("bench", *TINY_GRID, "--peers", "numpy", "--strict")
    assert done.code == 1
    assert done.err == "fastlin: lost: JAX is 2.00 times as fast as fastlin numba\n"
    assert run("bench", *TINY_GRID, "--peers", "numpy").code == 0


def test_strict_passes_if_fastlin_is_the_fastest_everywhere(made_up: Results) -> None:
    made_up.cases.append(case("lost", "fastlin numpy", "kernel", 0.9))
    done = run("bench", *TINY_GRID, "--peers", "numpy", "--strict")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("options", [[], ["--strict"]])
def test_a_wrong_result_fails_with_or_without_strict(made_up: Results, options: list[str]) -> None:
    made_up.cases = made_up.cases[:3]
    made_up.wrong.append(Failure("won", "JAX", "it is wrong"))
    done = run("bench", *TINY_GRID, "--peers", "numpy", *options)
    assert done.code == 1
    assert done.err == "fastlin: 1 contestants gave wrong results and were not timed\n"
