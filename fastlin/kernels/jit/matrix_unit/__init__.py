"""Kernels for 8-bit rows on the processor's matrix unit (AMX)."""
