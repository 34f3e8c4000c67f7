"""Files that nobody should have to trust, and the bounds within which they are read."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlin import datasets
from fastlin.errors import InputError

MEGABYTES = 500
"""Of addresses, which exceed the memory in use; for files of some kilobytes."""

SECONDS = 120
"""After which a reader hangs, though others keep the machine busy."""

X = np.arange(60, dtype=np.uint8).reshape(10, 6)
Y = np.arange(10) % 3


class Hanging(BaseException):
    """No Exception, which a reader could take for one of a file."""


@contextmanager
def bounded(megabytes: int = MEGABYTES) -> Iterator[None]:
    """Raise MemoryError or Hanging if the block takes too much."""

    def stop(*_: Any) -> None:
        raise Hanging(f"not done after {SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


def loaded(path: Path, megabytes: int = MEGABYTES) -> datasets.Dataset:
    """Load a file within bounds."""
    with bounded(megabytes):
        return datasets.load(path, validation_fraction=0)


def refusal(path: Path, megabytes: int = MEGABYTES) -> str:
    """Return the one line that refuses a file, within bounds."""
    with pytest.raises(InputError) as caught:
        loaded(path, megabytes)
    text = str(caught.value)
    assert str(path) in text
    assert len(text) <= 300
    assert text.isprintable()
    assert "more memory" not in text, "gigabytes were asked for"
    return text
