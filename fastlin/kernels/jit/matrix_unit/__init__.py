"""Kernels for uint8 rows on the processor's matrix unit (AMX)."""
