"""Kernels for rows in compressed sparse form."""
