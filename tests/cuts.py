"""How kernels cut their work in a test: problems as small as those of tests get one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from fastlin.kernels import blocking, native

ANY_WORK = {"WORK_OF_A_THREAD": 1, "WORK_OF_A_SPARSE_THREAD": 1}
ANY_START = {"PRODUCTS_WORTH_A_START": 0, "PRODUCTS_OF_VALUES_WORTH_A_START": 0}


@contextmanager
def every_thread_taken(**constants: float) -> Iterator[None]:
    """Let any work be worth a thread, and change other ``constants`` of the blocking."""
    with (
        mock.patch.multiple(blocking, **ANY_WORK, **constants),
        mock.patch.multiple(native, **ANY_START),
    ):
        blocking.dense_blocking.cache_clear()
        try:
            yield
        finally:
            blocking.dense_blocking.cache_clear()


def slices(n: int) -> dict[str, float]:
    """Return the constants that cut sparse rows of a few values into ``n`` slices for a step."""
    return {"PRODUCTS_OF_A_SLICE": 0.1, "MOST_SLICES": n}
