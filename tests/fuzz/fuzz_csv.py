"""The reader of text files of columns."""

from __future__ import annotations

from pathlib import Path

from harness import fuzz, read_dataset


def read(data: bytes, folder: Path) -> bool:
    """Read columns."""
    (folder / "a.csv").write_bytes(data)
    return read_dataset(folder / "a.csv")


if __name__ == "__main__":
    fuzz(read)
