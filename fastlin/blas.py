"""The threads of the BLAS libraries that NumPy and SciPy call."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@cache
def threadpools() -> ThreadpoolController:
    """Return what holds the BLAS libraries' threads.

    A scan of all loaded libraries; NumPy's and SciPy's BLAS do not change after import.
    """
    import scipy.linalg  # noqa: F401  # loads the BLAS that SciPy and scikit-learn use
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS runs on the calling thread alone.

    How BLAS shares a product out changes the order of its sums, thus their last bits; and its idle
    threads spin on the cores that the kernels want.
    """
    limit: AbstractContextManager[Any] = threadpools().limit(limits=1, user_api="blas")
    return limit
