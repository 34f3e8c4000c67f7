"""Errors of readers on damaged files, in words."""

from __future__ import annotations

import csv
import zipfile
import zlib

DAMAGE = (
    *(ValueError, OverflowError, MemoryError, RuntimeError, EOFError),
    *(csv.Error, zipfile.BadZipFile, zlib.error),
)
"""What the readers of the standard library and of NumPy raise on a damaged file."""


def explain_damage(error: Exception) -> str:
    """Return the end of a sentence that begins with the name of the file."""
    # NumPy takes any file that is not in its own format for a pickle.
    if "pickle" in str(error):
        return (
            "is damaged, or holds Python objects: those are not read, because reading them "
            "could run code; save arrays of numbers or strings instead"
        )
    if isinstance(error, MemoryError):
        return (
            f"needs more memory than there is ({error or 'allocation failed'}); take a part of it"
        )
    return f"is damaged, or not what its name says: {error}"
