"""``fastlin selftest`` finds a wrong backend, and a line says when kernels are compiled."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_mistake, run, run_process

from fastlin import selftest
from fastlin.kernels import BACKEND_NAMES, Backend, table


def test_a_right_installation() -> None:
    done = run_process("selftest")
    assert done.code == 0, done.err + done.out
    assert "All that can run here computes rightly." in done.out
    assert "WRONG" not in done.out
    assert "numpy: L-BFGS, float32" in done.err
    told = json.loads(run_process("selftest", "--json").out)
    assert told["wrong"] == 0
    assert {one["backend"] for one in told["findings"]} == {"numba", "c", "numpy"}


def spoilt(backend: Backend, kernel: str, spoil: Any) -> Backend:
    right = getattr(backend, kernel)
    return dataclasses.replace(backend, **{kernel: lambda *given: spoil(right, *given)})


def lose_a_class(right: Any, *given: Any) -> Any:
    right(*given)
    given[2].weights[0] *= 0.999


def add_to_a_gradient(right: Any, *given: Any) -> Any:
    loss, by_weights, by_intercept = right(*given)
    return loss, by_weights * 1.01, by_intercept + 1e-3


def count_one_in_a_hundred_more(right: Any, *given: Any) -> Any:
    loss, n_correct = right(*given)
    return loss, n_correct + len(given[0].rows) // 100


def shift_a_class(right: Any, *given: Any) -> Any:
    found = right(*given)
    found[:, 0] += 1e-2
    return found


@pytest.mark.parametrize(
    ("kernel", "spoil", "what"),
    [
        ("sgd_steps", lose_a_class, "descent, bytes"),
        ("loss_gradient", add_to_a_gradient, "loss, gradient and score"),
        ("score", count_one_in_a_hundred_more, "loss, gradient and score"),
        ("logits", shift_a_class, "descent, float32"),
    ],
)
def test_a_wrong_backend_is_found(
    monkeypatch: pytest.MonkeyPatch, kernel: str, spoil: Any, what: str
) -> None:
    name = "c" if table.load_backend("c").available else "numba"
    wrong = spoilt(table.load_backend(name), kernel, spoil)
    load = table.load_backend
    monkeypatch.setattr(
        table, "load_backend", lambda other: wrong if other == name else load(other)
    )
    done = run("selftest")
    assert done.code == 1
    assert f"{name}: {what}: " in done.out
    assert "report it with the output of fastlin info" in done.out


def test_a_backend_that_raises_is_wrong_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(*_: Any) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(selftest, "_fit", explode)
    found = list(selftest.findings(BACKEND_NAMES))
    failed = [one for one in found if "RuntimeError: no such luck" in one.wrong]
    assert {one.what for one in found} - {one.what for one in failed} <= {
        "loss, gradient and score",
        "load",
    }
    assert len(found) > 8


def test_a_missing_backend_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    load = table.load_backend
    gone = Backend(name="c", reason="it was taken away", remedy="put it back")
    monkeypatch.setattr(table, "load_backend", lambda name: gone if name == "c" else load(name))
    done = run("selftest")
    assert done.code == 0
    assert "c: it was taken away; put it back" in done.out
    assert_mistake(run("selftest", "--backend", "c"), "it was taken away", "put it back")


def test_one_backend_alone() -> None:
    done = run("selftest", "--backend", "numpy")
    assert done.code == 0
    assert {line.split()[0] for line in done.out.splitlines()[1:-2]} == {"numpy"}


def test_compiling_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    command = ["train", "--data", "digits", "--backend", "numba", "--epochs", "2"]
    line = "fastlin: compiling kernels for uint8 rows (once; later runs load them)"
    first = run_process(*command)
    assert first.code == 0
    assert first.err.splitlines().count(line) == 1
    assert "fastlin: the model was not kept: --out FILE keeps it" in first.err
    assert line not in run_process(*command).err


@pytest.mark.parametrize("silent", ["--quiet", "--json"])
def test_quiet_commands_do_not_say_it(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    done = run_process("train", "--backend", "numba", "--epochs", "1", silent)
    assert done.code == 0
    assert list(tmp_path.iterdir())
    assert "compiling" not in done.err
    assert "next:" not in done.err


def test_the_log_is_as_before_a_command(tmp_path: Path) -> None:
    logger = logging.getLogger("fastlin.kernels")
    before = logger.level, list(logger.handlers)
    model = tmp_path / "a model"
    done = run("train", "--backend", "numpy", "--epochs", "1", "--out", model)
    assert f"fastlin: next: fastlin evaluate '{model}' --data digits, or" in done.err
    assert (logger.level, logger.handlers) == before
