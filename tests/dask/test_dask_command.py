"""``fastlin train --scheduler`` trains Parquet files on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clusters import cluster, problem
from command_line import assert_mistake, run
from distributed import Client

from fastlin import LogisticRegression

X, Y, _ = problem("float32")
FRAME = pd.DataFrame(X, columns=[f"f{place}" for place in range(X.shape[1])]).assign(
    kind=np.array(["ant", "bee", "cow"])[Y], number=np.arange(len(X))
)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with cluster(2, protocol="tcp") as found:
        yield found


@pytest.fixture
def data(tmp_path: Path) -> str:
    for place in range(10):
        part = FRAME[place * 300 : (place + 1) * 300]
        part.to_parquet(tmp_path / f"part-{place}.parquet", index=False)
    return str(tmp_path / "*.parquet")


def test_the_command_trains_on_a_cluster(client: Client, data: str, tmp_path: Path) -> None:
    address: Any = client.scheduler.address
    arguments = ("train", "--data", data, "--label", "kind", "--drop", "number", "--scheduler")
    out = tmp_path / "model"
    done = run(*arguments, address, "--validation-fraction", "0.2", "--json", "--out", out)
    assert done.code == 0, done.err
    assert "2 of 10 partitions are held back" in done.err
    told = json.loads(done.out)
    held_back = np.isin(np.arange(len(X)) // 300, [3, 6])
    names = [name for name in FRAME if name.startswith("f")]
    expected = LogisticRegression(solver="lbfgs").fit(
        FRAME[names][~held_back],
        FRAME["kind"][~held_back],
        X_val=FRAME[names][held_back],
        y_val=FRAME["kind"][held_back],
    )
    assert told["training"]["n_rows"] == 2400
    assert told["validation"]["n_rows"] == 600
    assert told["validation"]["loss"] == pytest.approx(expected.history_.val_loss[-1], rel=1e-9)
    assert told["classes"] == ["ant", "bee", "cow"]
    loaded = LogisticRegression.load(out)
    assert loaded.coef_.tobytes() == expected.coef_.tobytes()
    plain = run(*arguments, address, "--validation-fraction", "0.01", "--max-epochs", "3")
    assert plain.code == 0, plain.err
    assert "no rows are held back" in plain.err
    assert "training" in plain.out
    assert "validation" not in plain.out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--label", "king"), "has no column 'king'"),
        ((), "--scheduler needs --label COLUMN"),
        (("--label", "kind", "--solver", "sgd"), "solver='sgd' does not run on a cluster"),
        (("--label", "kind", "--classes", "1,2"), "--classes is for data that are read here"),
        (("--label", "kind", "--checkpoint", "run"), "--checkpoint is for one machine"),
        (("--data", "digits", "--label", "kind"), "--scheduler trains on Parquet files"),
    ],
)
def test_mistakes(client: Client, data: str, more: tuple[str, ...], said: str) -> None:
    address: Any = client.scheduler.address
    done = run("train", "--data", data, "--scheduler", address, "--quiet", *more)
    assert_mistake(done, said)


def test_no_scheduler(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlin.cli.cluster.SECONDS_TO_CONNECT", 1)
    done = run("train", "--data", data, "--label", "kind", "--scheduler", "tcp://127.0.0.1:1")
    assert_mistake(done, "no scheduler answers at tcp://127.0.0.1:1")
