"""The reader of .npz files: an archive of any bytes, or one whose members are.

If the bytes do not begin as an archive, they are two arrays, which are put into one whose checksums
are right, as no change at random would leave them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from fuzz_npy import split
from harness import fuzz, read_dataset


def read(data: bytes, folder: Path) -> bool:
    """Read an archive."""
    path = folder / "a.npz"
    if data.startswith(b"PK"):
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in zip(("X.npy", "y.npy"), split(data), strict=True):
                archive.writestr(name, content)
    return read_dataset(path)


if __name__ == "__main__":
    fuzz(read)
