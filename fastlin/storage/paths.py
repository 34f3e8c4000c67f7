"""The files that a name, a pattern, a folder or a list of names stands for."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastlin.errors import InputError, listed, shown

PATTERN = re.compile(r"[*?\[]")


def is_pattern(text: str) -> bool:
    """Whether a path has wildcards and is not the name of a file."""
    return bool(PATTERN.search(text)) and not os.path.lexists(text)


def are_stored(data: str) -> bool:
    """Whether a path stands for rows that are not read into memory as a whole."""
    path = Path(data).expanduser()
    if is_pattern(str(path)) or path.suffix.lower() == ".parquet":
        return True
    return path.is_dir() and any(
        name.suffix.lower() in (".npy", ".parquet") for name in path.iterdir()
    )


def found(source: Any, suffixes: Sequence[str], what: str = "rows") -> list[Path]:
    """Return the files, in the order of their names, all of one of the suffixes.

    Raises
    ------
    InputError
        There is none, one is not a regular file, or they have several suffixes.
    """
    expected = " or ".join(suffixes)
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        if is_pattern(str(path)):
            names = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207  (absolute too)
            files = [name for name in names if name.suffix.lower() in suffixes]
            if not files:
                raise InputError(f"no {expected} file matches {shown(str(source))}")
            files.sort(key=_in_natural_order)
        elif path.is_dir():
            files = [name for name in path.iterdir() if name.suffix.lower() in suffixes]
            if not files:
                raise InputError(f"the folder {path} has no {expected} file")
            files.sort(key=_in_natural_order)
        else:
            files = [path]
    elif isinstance(source, Sequence) and source:
        try:
            files = [Path(name).expanduser() for name in source]
        except TypeError as error:
            raise InputError(
                f"{what} are a list of {type(source[0]).__name__}; pass paths or NumPy arrays"
            ) from error
    else:
        raise InputError(
            f"{what} of type {type(source).__name__} cannot be opened; pass paths, NumPy arrays, "
            "or a function that yields them"
        )
    for file in files:
        _require_regular(file)
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        raise InputError(f"the {what} are in files of several kinds: {listed(kinds)}; give one")
    if kinds[0] not in suffixes:
        raise InputError(f"{files[0]} is not a {expected} file")
    return files


def _require_regular(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read {str(file)[:150]}: {reason}") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{file} is not a regular file")


def _in_natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a key by which numbers in names are compared as numbers."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
