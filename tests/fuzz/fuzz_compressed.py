"""The readers of compressed files: the first bytes tell which one reads a text file of columns."""

from __future__ import annotations

from pathlib import Path

from harness import fuzz, read_dataset


def read(data: bytes, folder: Path) -> bool:
    """Read columns, compressed or not."""
    (folder / "a.csv.gz").write_bytes(data)
    return read_dataset(folder / "a.csv.gz")


if __name__ == "__main__":
    fuzz(read)
