"""What all fuzz targets have in common: a file is read, and what comes of it is judged.

A target is a file ``fuzz_NAME.py`` with a function ``read(data, folder)``. It writes `data` to a
file in `folder`, reads that, and returns whether this gave anything; what it raises is a fault.
"""

from __future__ import annotations

import atexit
import importlib
import shutil
import sys
import tempfile
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TARGETS = ("idx", "npy", "npz", "csv", "svmlight", "compressed", "parquet", "model")

PACKAGES = "datasets", "results", "storage", "rows"
INSTRUMENTED = (*(f"fastlin.{name}" for name in PACKAGES), "numpy.lib", "zipfile", "gzip")
"""Packages whose branches guide the search."""

LONGEST_MESSAGE = 300

_IN_MEMORY = Path("/dev/shm")  # a disk would be the slowest part


def read_dataset(path: Path) -> bool:
    """Load a data file; return whether it is one, raise AssertionError if a promise is broken."""
    from fastlin import datasets
    from fastlin.errors import InputError

    try:
        dataset = datasets.load(path)
    except InputError as error:
        check_refusal(error, path)
        return False
    parts = (dataset.X_train, dataset.y_train), (dataset.X_val, dataset.y_val)
    for rows, labels in parts:
        assert rows.ndim == 2
        assert rows.shape[0] == len(labels)
        assert labels.ndim == 1
        assert rows.dtype.kind in "uif"
        assert labels.dtype.kind in "iufU"
        values = rows.data if not isinstance(rows, np.ndarray) else rows
        assert np.isfinite(np.asarray(values, np.float64)).all()
        "".join(map(str, labels.tolist())).encode()  # each can be printed
    return True


def read_model(path: Path) -> bool:
    """Load a model; return whether it is one, or raise AssertionError if a promise is broken."""
    from fastlin import LogisticRegression
    from fastlin.errors import ModelFileError

    try:
        model = LogisticRegression.load(path)
    except ModelFileError as error:
        check_refusal(error, path)
        return False
    assert np.isfinite(model.coef_).all()
    assert len(model.classes_) >= 2
    return True


def check_refusal(error: Exception, path: Path) -> None:
    """Raise AssertionError unless an error says in one line which file is wrong."""
    said = str(error)
    assert len(said) <= LONGEST_MESSAGE, said
    assert not any(map(_controls, said)), ascii(said)
    assert path.name in said, said
    assert "more memory" not in said, "a file of some kilobytes asked for gigabytes"


def _controls(character: str) -> bool:
    """Whether a character does something to a terminal or to the order of others."""
    kind = unicodedata.category(character)
    return kind in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in _TURNS


_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def target(name: str) -> Callable[[bytes, Path], bool]:
    """Return the function of a target."""
    read: Callable[[bytes, Path], bool] = importlib.import_module(f"fuzz_{name}").read
    return read


def fuzz(read: Callable[[bytes, Path], bool], module: str = "fastlin.datasets.local") -> None:
    """Call `read` with one sequence of bytes after another, as libFuzzer's arguments say.

    `module` is what it calls, which has not been imported yet.
    """
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        importlib.import_module(module)
    parent = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="fastlin-fuzz-", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    warnings.simplefilter("ignore")

    def once(data: bytes) -> Any:
        read(data, folder)

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()
