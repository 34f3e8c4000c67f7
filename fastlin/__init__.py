"""fastlin trains logistic and softmax regression on CPUs, at the speed of the machine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlin.estimator import LogisticRegression
    from fastlin.kernels import Backend, backends
    from fastlin.regularization_path import RegularizationPath, path
    from fastlin.results.history import History
    from fastlin.storage import StoredRows, open_rows

__version__ = "0.2.0"

__all__ = [
    "Backend",
    "History",
    "LogisticRegression",
    "RegularizationPath",
    "StoredRows",
    "__version__",
    "backends",
    "open_rows",
    "path",
]

# Looked up on first use, so that `import fastlin` does not pay for scikit-learn and numba.
_HOME = {
    "Backend": "fastlin.kernels",
    "History": "fastlin.results.history",
    "LogisticRegression": "fastlin.estimator",
    "RegularizationPath": "fastlin.regularization_path",
    "StoredRows": "fastlin.storage",
    "backends": "fastlin.kernels",
    "open_rows": "fastlin.storage",
    "path": "fastlin.regularization_path",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
