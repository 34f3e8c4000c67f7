"""The user's mistakes: one line says what was received, what is expected, and what to type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import assert_mistake, run, run_process

from fastlin.results.history import History
from fastlin.results.model_file import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files, each wrong in its own way, and models that do not fit the digits."""
    folder = tmp_path_factory.mktemp("mistakes")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    np.savez(folder / "good.npz", X=X, y=y)
    np.savez(folder / "one_class.npz", X=X, y=np.full(40, 7))
    np.savez(folder / "no_rows.npz", X=X[:0], y=y[:0])
    np.savez(folder / "words.npz", X=rng.normal(size=(40, 64)), y=np.array(["cat", "dog"])[y])
    np.savez(folder / "new_label.npz", X_train=X, y_train=y, X_val=X, y_val=y + 1)
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        bad = X.copy()
        bad[4, 2] = value
        np.savez(folder / f"{name}.npz", X=bad, y=y)
    (folder / "empty.csv").touch()
    for features, classes in ((784, 10), (64, 2)):
        rows = 1 if classes == 2 else classes
        save_model(
            folder / f"model_of_{features}.npz",
            params={"backend": "numpy"},
            arrays={
                "coef_": np.zeros((rows, features)),
                "intercept_": np.zeros(rows),
                "classes_": np.arange(classes),
                "input_shift": np.zeros(features),
                "input_factor": np.ones(features),
            },
            metadata={
                "fastlin": "0.1.0",
                "n_iter_": 1,
                "backend_": "numpy",
                "learning_rate_": 0.1,
                "history": History().to_dict(),
            },
        )
    content = (folder / "model_of_64.npz").read_bytes()
    (folder / "half.npz").write_bytes(content[: len(content) // 2])
    return folder


# As processes: what a person sees, traceback or not.
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --backend cuda", ["'--backend'", "'cuda'", "'numba', 'c', 'numpy'"]),
        ("train --data missing.csv", ["no such file", "missing.csv"]),
        ("evaluate missing.npz", ["no model file 'missing.npz'", "fastlin train --out"]),
        ("evaluate model_of_784.npz --data digits", ["expects 784 features", "digits has 64"]),
        ("train --data nan.npz", ["nan.npz", "nan or infinite", "row 4, column 2"]),
        ("train --data infinite.npz", ["infinite.npz", "nan or infinite"]),
        ("train --data one_class.npz", ["one class only, 7", "expected two or more"]),
        ("train --data empty.csv", ["empty.csv", "empty"]),
        ("train --data no_rows.npz", ["no_rows.npz", "no data"]),
        (
            "evaluate model_of_64.npz --data digits",
            ["does not know: 2, 3,", "it knows 0, 1", "--classes 0,1"],
        ),
        ("train --out none/model.npz", ["cannot write 'none/model.npz'", "no folder", "create"]),
        ("train --batch-size -1", ["'--batch-size'", "-1 is not in the range 1<=x"]),
        ("train --epochs 0", ["'--epochs'", "0 is not in the range 1<=x"]),
        ("report --out good.npz", ["'--out'", "good.npz", "is a file"]),
    ],
)
def test_mistakes_as_processes(folder: Path, arguments: str, said: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert_mistake(run_process(*arguments.split(), folder=folder), *said)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --threads 0", ["'--threads'", "0 is not in the range 1<=x<=1024"]),
        ("train --threads two", ["'--threads'", "'two' is not a valid integer"]),
        ("train --seed -1", ["'--seed'", "-1 is not in the range 0<=x<=4294967295"]),
        ("train --patience 0", ["'--patience'", "0 is not in the range"]),
        ("train --checks-per-epoch 0", ["'--checks-per-epoch'", "0 is not in the range"]),
        ("train --batch-size 1.5", ["'--batch-size'", "'1.5' is not a valid integer"]),
        ("train --batch-size 9999999999999", ["'--batch-size'", "x<=2147483647"]),
        ("train --l2 -0.1", ["'--l2'", "-0.1 is not in the range x>=0"]),
        ("train --l2 nan", ["'--l2'", "'nan' is not finite"]),
        ("train --l2 inf", ["'--l2'", "'inf' is not finite"]),
        ("train --learning-rate 0", ["'--learning-rate'", "0.0 is not in the range x>0"]),
        ("train --learning-rate fast", ["'--learning-rate'", "'fast' is not a valid number"]),
        ("train --momentum 1", ["'--momentum'", "1.0 is not in the range 0<=x<1"]),
        ("train --tol -1", ["'--tol'", "-1.0 is not in the range x>=0"]),
        ("train --validation-fraction 1", ["'--validation-fraction'", "not in the range 0<x<1"]),
        ("train --input-scale log", ["'--input-scale'", "got 'log'", "minmax", "SHIFT,SCALE"]),
        ("train --input-scale 1,0", ["'--input-scale'", "scale above 0"]),
        ("train --input-scale 1,2,3", ["'--input-scale'", "got '1,2,3'"]),
        ("train --solver adam", ["'--solver'", "'adam'", "'lbfgs'"]),
        ("train --schedule never", ["'--schedule'", "'never'", "'cosine'"]),
        ("train --dtype float16", ["'--dtype'", "'float16'", "'float64'"]),
        ("train --class-weight some", ["'--class-weight'", "'some'", "'balanced'"]),
        ("train --classes 2", ["'--classes'", "got '2'", "two or more different labels"]),
        ("train --classes 2,2", ["'--classes'", "got '2,2'"]),
        ("train --classes 2,11", ["digits does not have: 11", "it has 0, 1, 2"]),
        ("train --epochs", ["'--epochs'", "requires an argument"]),
        ("train --bogus 1", ["--bogus", "fastlin train --help"]),
        ("train more", ["unexpected extra argument", "more"]),
        ("train --data fashion", ["'fashion'", "fashion-mnist"]),
        ("train --data .", ["folder"]),
        ("train --data new_label.npz", ["labels that no training row has: 2"]),
        ("train --batch-size 500 --drop-last --data good.npz", ["batch_size=500", "lower"]),
        ("train --out .", ["cannot write '.'", "it is a folder"]),
        ("train --plot curve.gif", ["'--plot'", "curve.gif", ".png or .svg or .pdf"]),
        ("train --plot none/curve.png", ["cannot write 'none/curve.png'", "create it first"]),
        ("train --history losses.txt", ["'--history'", "losses.txt", ".json"]),
        ("train --out a.png --plot a.png", ["--out and --plot name the same file 'a.png'"]),
        ("train --data good.npz --out good.npz", ["--data and --out name the same file"]),
        ("evaluate .", ["'.' is a folder", "model file"]),
        ("evaluate good.npz", ["not a model that fastlin saved"]),
        ("evaluate half.npz", ["truncated or damaged", "train and save the model again"]),
        ("evaluate model_of_64.npz --data words.npz", ["does not know: cat, dog"]),
        ("evaluate model_of_64.npz --part test", ["'--part'", "'test'", "'val'"]),
        ("evaluate", ["Missing argument 'MODEL'", "fastlin evaluate --help"]),
        ("predict model_of_64.npz --data good.npz", ["expects 64 features", "good.npz has 3"]),
        ("predict model_of_64.npz --out labels.txt", ["'--out'", "labels.txt", ".csv or .npy"]),
        ("predict model_of_64.npz --data x.csv --out x.csv", ["overwrite"]),
        ("data fetch iris", ["'iris'", "mnist or fashion-mnist or digits"]),
        ("data list extra", ["unexpected extra argument"]),
    ],
)
def test_mistakes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, said: list[str]
) -> None:
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert_mistake(run(*arguments.split()), *said)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "command",
    [
        "train --data digits",
        "report --data digits --out report",
        "evaluate model_of_64.npz --classes 0,1",
        "predict model_of_64.npz",
    ],
)
def test_a_backend_that_is_missing_is_never_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from fastlin import kernels

    def load(name: str) -> kernels.Backend:
        return kernels.Backend(name, reason="there was no compiler", remedy="install gcc")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("fastlin.kernels.table.load_backend", load)
    done = run(*command.split(), "--backend", "c")
    assert_mistake(done, "'c' is not available", "there was no compiler", "install gcc")
    assert not (folder / "report").exists()


@pytest.mark.filterwarnings("default")
def test_a_learning_rate_that_diverges(tmp_path: Path) -> None:
    done = run(
        "train", "--learning-rate", "1e30", "--backend", "numpy", "--out", tmp_path / "m.npz"
    )
    assert done.code == 2
    assert done.out == ""
    last = done.err.splitlines()[-1]
    assert last.startswith("fastlin: error: ")
    assert "learning_rate=1e+30" in last
    assert not list(tmp_path.iterdir())


def test_outputs_are_checked_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("training began")

    monkeypatch.setattr("fastlin.estimator.LogisticRegression.fit", never)
    for flag, name in (("--out", "m.npz"), ("--plot", "c.png"), ("--history", "h.json")):
        assert_mistake(run("train", flag, tmp_path / "none" / name), "no folder", "create it")
