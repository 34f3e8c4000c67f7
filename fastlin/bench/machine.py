"""Names the machine and the libraries of a benchmark, so that its figures mean something later."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from fastlin.bench.timing import available_cores

_PACKAGES = ("fastlin", "numpy", "numba", "scipy", "scikit-learn", "torch", "jax", "jaxlib")
# Those of the flags in /proc/cpuinfo that decide how fast these kernels can be.
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")
_FLAGS = ("sse4_2", "avx", "avx2", "fma", *_AVX512, "amx_int8", "asimd", "sve")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, instruction set, governor, load, versions and the date.

    A value that the operating system does not tell is None.
    """
    processor = _processor()
    flags = set(processor.get("flags", processor.get("Features", "")).split())
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "cores": available_cores(),
        "instruction_set": [flag for flag in _FLAGS if flag in flags],
        "governor": _read(_GOVERNOR),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in _PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def processor_name() -> str:
    """Return what the system calls the processor."""
    return _processor().get("model name") or platform.processor() or platform.machine()


def _processor() -> dict[str, str]:
    """Return the first processor's entries of /proc/cpuinfo; none on other systems than Linux."""
    first = (_read(Path("/proc/cpuinfo")) or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def installed_version(package: str) -> str | None:
    """Return a distribution's version, or None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
