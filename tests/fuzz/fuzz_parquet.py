"""The reader of Parquet files: a column ``y`` holds the labels, if there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from harness import check_refusal, fuzz


def read(data: bytes, folder: Path) -> bool:
    """Read rows and labels."""
    from fastlin import open_rows
    from fastlin.errors import InputError

    path = folder / "a.parquet"
    path.write_bytes(data)
    for label in ("y", None):
        try:
            rows = open_rows(path, label=label, spill=folder)
        except InputError as error:
            check_refusal(error, path)
            continue
        with rows:
            found = rows[:]
            assert found.shape == rows.shape == (len(rows), len(rows.feature_names or ()))
            assert np.isfinite(found.astype(np.float64)).all()
            if label is not None:
                assert rows.labels is not None
                assert len(rows.labels) == len(rows)
                "".join(map(str, rows.labels.tolist())).encode()  # each can be printed
            return True
    return False


if __name__ == "__main__":
    fuzz(read, "fastlin.storage")
