"""Progress of long runs: speed, share of an epoch, time left, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run

from fastlin.cli.progress import describe, duration
from fastlin.solvers.progress import Progress


def progress(**changes: object) -> Progress:
    values: dict[str, object] = {
        "epoch": 2,
        "max_epochs": 10,
        "step": 500,
        "end_of_epoch": False,
        "train_loss": 0.25,
        "val_loss": None,
        "val_accuracy": None,
        "train_accuracy": None,
        "rows_per_second": 2.5e6,
        "share_of_epoch": 0.4,
        "seconds": 240.0,
        "most_seconds_left": 760.0,
    }
    return Progress(**{**values, **changes})  # type: ignore[arg-type]  # any field


def test_a_long_run_tells_how_far_it_is() -> None:
    assert describe(progress()) == (
        "epoch 3/10 40 %  loss 0.2500  2.50M rows/s  12 min left at most"
    )
    done = progress(end_of_epoch=True, share_of_epoch=1.0, seconds=3.0)
    assert describe(done) == "epoch 3/10  loss 0.2500  2.50M rows/s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3599, "59 min"), (7300, "2 h 1 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_progress_as_json(tmp_path: Path) -> None:
    done = run("train", "--data", "digits", "--epochs", "5", "--backend", "numpy", "--json")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3, 4]
    for line in lines:
        assert line["rows_per_second"] > 0
        assert line["share_of_epoch"] == 1
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    assert lines[-1]["most_seconds_left"] == 0
    assert json.loads(done.out)["epochs"] == 5


def test_the_time_left_is_the_rest_at_the_same_pace() -> None:
    from fastlin import LogisticRegression

    told: list[Progress] = []
    X = np.random.default_rng(0).standard_normal((2000, 5))
    model = LogisticRegression(max_epochs=8, tol=None, callbacks=[told.append], backend="numpy")
    model.fit(X, X[:, 0] > 0)
    for epoch, one in enumerate(told, start=1):
        assert one.most_seconds_left == pytest.approx(one.seconds * (8 / epoch - 1))
