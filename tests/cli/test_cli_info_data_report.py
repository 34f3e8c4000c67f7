"""``fastlin info``, ``fastlin data`` and ``fastlin report``."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from command_line import run

import fastlin
from fastlin import kernels
from fastlin.report import summary

BACKENDS = {
    "numba": kernels.Backend(
        "numba", reason="numba cannot be imported", remedy="pip install numba"
    ),
    "c": kernels.Backend(
        "c", version="1.2", n_threads=1, threading_layer="pthreads", instruction_set="AVX2"
    ),
    "numpy": kernels.Backend("numpy", version="2.0", n_threads=4),
}


def test_info_shows_each_backend_or_why_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "backends", lambda: BACKENDS)
    lines = run("info").out.splitlines()
    assert "  numba  missing: numba cannot be imported" in lines
    assert "         remedy: pip install numba" in lines
    assert "  c      1.2, 1 thread, threading layer pthreads, AVX2 (auto)" in lines
    assert "  numpy  2.0, 4 threads" in lines


def test_info_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTLIN_DATA_DIR", str(tmp_path))
    facts = json.loads(run("info", "--json").out)
    assert facts["fastlin"] == fastlin.__version__
    assert facts["data_folder"] == str(tmp_path)
    assert facts["cores"] >= 1
    assert facts["auto"] in facts["backends"]
    assert list(facts["backends"]) == ["numba", "c", "numpy"]
    assert facts["backends"]["numpy"]["available"] is True
    assert facts["libraries"]["numpy"]


def test_a_library_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlin.cli.info.LIBRARIES", ("no-such-library",))
    assert "no-such-library not installed" in run("info").out


def test_data_lists_the_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTLIN_DATA_DIR", str(tmp_path))
    lines = [line.split() for line in run("data").out.splitlines()]
    assert lines[0] == ["name", "training", "validation", "features", "size", "here"]
    rows = {line[0]: line for line in lines[1:]}
    assert rows["mnist"] == ["mnist", "60000", "10000", "784", "55.0", "MB", "no"]
    assert rows["digits"][-1] == "yes"
    assert run("data", "list").out == run("data").out
    assert set(json.loads(run("data", "list", "--json").out)) == rows.keys()


def test_data_where_and_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTLIN_DATA_DIR", str(tmp_path))
    assert run("data", "where").out == f"{tmp_path}\n"
    done = run("data", "fetch", "digits")
    assert done.code == 0, done.err
    assert "scikit-learn" in done.out


METRICS = {
    "fastlin": "0.1.0",
    "backend": "numpy",
    "dtype": "float64",
    "n_threads": 2,
    "seed": 3,
    "data": {"name": "digits", "n_train": 100, "n_val": 20},
    "tasks": {
        "1": {"logistic_gradient_error": 1e-9, "softmax_gradient_error": 2e-9},
        "2b": {"train_loss": 0.1, "val_loss": 0.2},
        "2c": {"train_accuracy": 0.99, "val_accuracy": 0.97},
        "2d": {"stopped_epoch": 33, "stopped_step": 1038},
        "2e": {
            "stopped_epoch": 40,
            "stopped_step": 1200,
            "spikes_unshuffled": 4,
            "spikes_shuffled": 0,
        },
        "3b": {"train_loss": 0.3, "val_loss": 0.4},
        "3c": {"train_accuracy": 0.93, "val_accuracy": 0.91},
        "3d": {"accuracy_gap": 0.02},
        "4b": {"0": {"weight_l2": 1.25}, "1": {"weight_l2": 0.25}},
        "4c": {"1": {"val_accuracy": 0.75, "val_loss": 0.8}},
        "4e": {"1": 0.25, "0.1": 0.75},
    },
    "seconds": {"train": 1.0, "report": 2.0},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of ``write_report``, which is replaced by one that only notes them."""
    asked: dict[str, Any] = {}

    def write_report(out: Path, **arguments: Any) -> dict[str, Any]:
        asked.update(arguments, out=out)
        return METRICS

    report = types.ModuleType("fastlin.report")
    report.write_report = write_report  # type: ignore[attr-defined]
    report.summary = summary  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastlin.report", report)
    return asked


def test_report_passes_its_options_on(asked: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    done = run(
        *("report", "--out", out, "--data", "digits", "--backend", "numpy"),
        *("--seed", "3", "--threads", "2", "--quiet"),
    )
    assert done.code == 0, done.err
    assert asked == {
        "out": out,
        "data": "digits",
        "backend": "numpy",
        "seed": 3,
        "n_threads": 2,
        "progress": False,
    }
    for said in (
        *("2.0 \N{MULTIPLICATION SIGN} 10⁻⁹", "0.2000 validation", "97.00% validation"),
        *("epoch 33 (step 1038)", "epoch 40 (step 1200)", "4 in fixed order", "91.00% validation"),
        *("2.00 percentage points", "1.25 (λ 0)", "75.00% (λ 1)", "0.750 (λ 0.1)", "seconds"),
    ):
        assert said in done.out
    for name in ("report.html", "report.pdf", "metrics.json"):
        assert str(out / name) in done.out


def test_report_as_json(asked: dict[str, Any], tmp_path: Path) -> None:
    done = run("report", "--out", tmp_path / "report", "--json")
    assert json.loads(done.out) == METRICS
    assert asked["data"] == "mnist"
    assert asked["progress"] is True
