"""``fastlin bench`` as a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import assert_mistake, run, run_process

from fastlin.bench.results import Results

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
        (["--dtype", "float16"], "float16"),
        (["--json", "/no/such/folder/record.json"], "/no/such/folder"),
        (["--plot", "figure.txt"], "figure.txt"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    assert_mistake(run("bench", *arguments), message)


def test_help_has_an_example() -> None:
    done = run("bench", "--help")
    assert done.code == 0
    assert "fastlin bench --quick" in done.out
