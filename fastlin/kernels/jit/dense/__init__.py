"""Kernels for dense rows."""
