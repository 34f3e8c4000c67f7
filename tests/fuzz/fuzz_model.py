"""The reader of models."""

from __future__ import annotations

from pathlib import Path

from harness import fuzz, read_model


def read(data: bytes, folder: Path) -> bool:
    """Read a model."""
    (folder / "model").write_bytes(data)
    return read_model(folder / "model")


if __name__ == "__main__":
    fuzz(read, "fastlin.estimator")
