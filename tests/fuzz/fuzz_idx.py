"""The reader of idx files: the images are any bytes, the labels beside them are right."""

from __future__ import annotations

from pathlib import Path

from harness import fuzz, read_dataset

LABELS = b"\0\0\x08\x01\0\0\0\x08" + bytes(range(4)) * 2


def read(data: bytes, folder: Path) -> bool:
    """Read images."""
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(data)
    path.with_name("train-labels-idx1-ubyte").write_bytes(LABELS)
    return read_dataset(path)


if __name__ == "__main__":
    fuzz(read)
