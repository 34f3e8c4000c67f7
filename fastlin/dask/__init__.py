"""Training on the machines of a Dask cluster, where the rows are: the bits of one machine.

Needs the packages ``dask`` and ``distributed``: ``pip install 'fastlin[dask]'``.
"""

from __future__ import annotations

try:
    import distributed as _distributed  # noqa: F401  # what is missing is told here, once
except ImportError as error:
    raise ImportError(
        f"fastlin.dask needs dask and distributed ({error}); install them with: "
        "pip install 'fastlin[dask]'"
    ) from error

from fastlin.dask.estimator import LogisticRegression

__all__ = ["LogisticRegression"]
