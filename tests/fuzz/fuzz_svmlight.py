"""The reader of files in svmlight's format."""

from __future__ import annotations

from pathlib import Path

from harness import fuzz, read_dataset


def read(data: bytes, folder: Path) -> bool:
    """Read sparse rows."""
    (folder / "a.svm").write_bytes(data)
    return read_dataset(folder / "a.svm")


if __name__ == "__main__":
    fuzz(read)
