"""Results that appear in their folder whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastlin.errors import OutputError
from fastlin.results.output_file import move_over


@contextlib.contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """Create `out` and yield a hidden folder inside it to write into; remove that at the end.

    If the block fails or is interrupted, `out` is as it was before, and gone if it is new.

    Raises
    ------
    OutputError
        `out` is not a folder, or not writable.
    """
    new_folders = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".fastlin-report-", dir=out))
    except OSError as error:
        raise OutputError(
            f"cannot write to the output folder {out}: {error.strerror or error}; expected a"
            " folder you may write to, name one with --out"
        ) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in new_folders:
            with contextlib.suppress(OSError):
                folder.rmdir()  # fails if the folder is not empty


def publish(staging: Path, out: Path, names: Sequence[str]) -> None:
    """Move the files `names` from `staging` to `out`, each in one step, over older ones.

    Raises
    ------
    OutputError
        A file cannot be replaced.
    """
    for name in names:
        try:
            move_over(staging / name, out / name)
        except OSError as error:
            raise OutputError(
                f"cannot write {out / name}: {error.strerror or error}; remove it, or name another"
                " folder with --out"
            ) from error
