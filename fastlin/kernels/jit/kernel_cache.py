"""Where compiled kernels are kept between processes: files that are trusted only after a check.

A kernel has a name that its content determines (:mod:`.compiled`). Two files hold it: an index,
``NAME.nbi``, a line of JSON with the name, what the kernel is made for, and the SHA-256 of its
machine code; and the machine code itself, an object file called after that SHA-256, ``*.nbc``.
(The suffixes are those of Numba's own cache, so what clears that clears this.)

Both are written under a name of their own and then renamed, and neither is ever changed. So
processes that write at once, or are killed while they write, leave whole files or files that
nothing refers to; and a file that is empty, cut, damaged or of another kernel fails the check and
is written again. Nothing that can happen to this folder changes what is computed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import platformdirs

INDEX, DATA = ".nbi", ".nbc"
TEMPORARY = ".tmp"
UNUSED_SECONDS = 90 * 24 * 3600
"""Age from which files of other versions or processors, and temporary files, are removed."""


class KernelCache:
    """A folder of compiled kernels, or none if there is no place for one.

    Parameters
    ----------
    stamp : str
        Names what all kernels depend on: versions, sources, processor. Each has its own folder, so
        kernels of another version are never even looked at.
    """

    def __init__(self, stamp: str) -> None:
        base = base_folder()
        self.folder = None if base is None else base / stamp
        self._told = False
        self._tidied = False
        if base is None:
            self._tell("there is no home folder")

    def load(self, name: str) -> bytes | None:
        """Return the machine code of a kernel, or None if it is not there whole."""
        if self.folder is None:
            return None
        try:
            index = json.loads((self.folder / (name + INDEX)).read_bytes())
            if index["kernel"] != name:
                return None
            digest = str(index["sha256"])
            code = (self.folder / (digest + DATA)).read_bytes()
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None
        return code if hashlib.sha256(code).hexdigest() == digest else None

    def store(self, name: str, made_for: str, code: bytes) -> None:
        """Keep a kernel for later processes; if that fails, say so once."""
        if self.folder is None:
            return
        digest = hashlib.sha256(code).hexdigest()
        index = {
            "kernel": name,
            "made_for": made_for,
            "sha256": digest,
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(digest + DATA, code)
            self._write(name + INDEX, json.dumps(index).encode() + b"\n")
            self._tidy()
        except OSError as error:
            self._tell(f"{self.folder}: {error.strerror or error}")

    def _write(self, name: str, content: bytes) -> None:
        assert self.folder is not None
        handle, temporary = tempfile.mkstemp(suffix=TEMPORARY, dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            # Readable for those who share the folder, as far as the umask lets them into it.
            Path(temporary).chmod(0o644)
            Path(temporary).replace(self.folder / name)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise

    def _tidy(self) -> None:
        """Remove what nobody has used for long: temporary files here, other versions' folders."""
        if self._tidied or self.folder is None:
            return
        self._tidied = True
        oldest = time.time() - UNUSED_SECONDS
        with suppress(OSError):
            for file in self.folder.glob("*" + TEMPORARY):
                if file.stat().st_mtime < time.time() - 3600:
                    file.unlink()
            for folder in self.folder.parent.iterdir():
                files = list(folder.iterdir()) if folder.is_dir() else []
                of_kernels = all(file.suffix in (INDEX, DATA, TEMPORARY) for file in files)
                if (
                    files
                    and of_kernels
                    and folder != self.folder
                    and max(file.stat().st_mtime for file in files) < oldest
                ):
                    for file in files:
                        file.unlink()
                    folder.rmdir()

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            logging.getLogger("fastlin").warning(
                "compiled kernels cannot be kept (%s), so every process compiles them anew; set "
                "NUMBA_CACHE_DIR to a folder that can be written",
                reason,
            )


def base_folder() -> Path | None:
    """Return the folder of all versions' kernels: in Numba's cache folder, or the user's."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    try:
        if chosen:
            return Path(chosen).absolute() / "fastlin-kernels"
        folder = platformdirs.user_cache_path("fastlin", appauthor=False) / "kernels"
    except (OSError, RuntimeError):
        return None
    # Without a home folder it may be "~/.cache", a folder of that name right here.
    return folder if folder.is_absolute() else None
