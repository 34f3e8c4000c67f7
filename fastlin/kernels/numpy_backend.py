"""The record of the NumPy backend."""

from __future__ import annotations

import numpy as np

from fastlin.kernels import Backend, default_n_threads, reference


def load() -> Backend:
    """Return the NumPy backend, which is always available."""
    features = np.show_config(mode="dicts") or {}
    vectors = features.get("SIMD Extensions", {})
    used = vectors.get("found") or vectors.get("baseline") or []
    blas = features.get("Build Dependencies", {}).get("blas", {}).get("name", "BLAS")
    return Backend(
        name="numpy",
        version=np.__version__,
        n_threads=default_n_threads(),
        threading_layer=blas,
        instruction_set=used[-1] if used else None,
        sgd_steps=reference.sgd_steps,
        loss_gradient=reference.loss_gradient,
        score=reference.score,
        logits=reference.logits,
    )
