"""The Numba kernels for dense rows of so many classes that vectors hold classes, not features."""
