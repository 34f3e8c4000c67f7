"""How many threads a fit takes unless told otherwise: the least of what limits this process.

Asked at every fit, since each limit can change meanwhile; it takes some 100 microseconds.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "LOKY_MAX_CPU_COUNT")
"""What users, and joblib in its workers, set to limit threads."""


def default_n_threads() -> int:
    """Return the number of threads for this process, at least 1.

    The least of: the cores that the process may run on; the CPU quota of its control group, rounded
    up; ``OMP_NUM_THREADS`` (of a list the first), ``OMP_THREAD_LIMIT`` and ``LOKY_MAX_CPU_COUNT``,
    as they are now; and what OpenMP libraries are limited to in the calling thread, by a
    ``threadpoolctl.threadpool_limits`` for one.
    """
    limits = [_n_cores(), _openmp_limit(), *_variables()]
    quota = cpu_quota()
    if quota is not None:
        limits.append(math.ceil(quota))
    return max(1, min(limits))


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _variables() -> Iterator[int]:
    for name in VARIABLES:
        first = os.environ.get(name, "").partition(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            yield int(first)


# ------------------------------------------------------------------ OpenMP's limit


def _openmp_limit() -> int:
    """Return the fewest threads that a loaded OpenMP library would use, in the calling thread.

    fastlin's threads are not always OpenMP's, but here ``threadpool_limits`` leaves its limit.
    """
    return min((library.num_threads for library in _openmp_libraries()), default=sys.maxsize)


_found: list[Any] = []


def _openmp_libraries() -> list[Any]:
    """Return handles of OpenMP libraries, found by a scan of all libraries that are loaded.

    A limit of ``threadpool_limits`` holds for all of them, so one that is known is enough: the
    libraries are scanned once only. scikit-learn's is loaded before any fit. Without threadpoolctl
    nobody has set a limit.
    """
    if not _found and "threadpoolctl" in sys.modules:
        from threadpoolctl import ThreadpoolController

        _found.extend(ThreadpoolController().select(user_api="openmp").lib_controllers)
    return _found


# ------------------------------------------------------------------ CPU quota


def cpu_quota() -> float | None:
    """Return how many cores' time the control groups (cgroups) of this process grant, if limited.

    The process' own group and all above it count, of version 2 (``cpu.max``) and of version 1
    (``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``).
    """
    quotas = (_quota_of(*files) for files in _files_of_quotas(_read("/proc/self/cgroup")))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(*files: str) -> float | None:
    try:
        quota, period = map(int, " ".join(map(_read, files)).split())
    except ValueError:  # no limit: "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None  # no limit: -1


@functools.lru_cache(maxsize=8)
def _files_of_quotas(groups: str) -> list[tuple[str, ...]]:
    """Return the files, there or not, that hold the quotas of a process in these groups."""
    files: list[tuple[str, ...]] = []
    for line in groups.splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            files.extend((f"{folder}/cpu.max",) for folder in _folders(True, group))
        elif "cpu" in controllers.split(","):
            files.extend(
                (f"{folder}/cpu.cfs_quota_us", f"{folder}/cpu.cfs_period_us")
                for folder in _folders(False, group)
            )
    return files


def _folders(version_2: bool, group: str) -> Iterator[str]:
    """Yield the folder of a control group and those of all above it that can be seen."""
    for root, mount_point in _mounts(version_2):
        path = PurePosixPath(group)
        # In a container the group may lie outside of what is mounted, which then is its own.
        inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        for part in (inside, *inside.parents):
            yield f"{mount_point}/{part}"


@functools.cache
def _mounts(version_2: bool) -> list[tuple[str, str]]:
    """Return (group at the top, folder) of each place where control groups for CPUs are mounted."""
    found = []
    for line in _read("/proc/self/mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        file_system, _, options = kind.split(" ", 2)
        wanted = file_system == "cgroup2" if version_2 else file_system == "cgroup"
        if wanted and (version_2 or "cpu" in options.split(",")):
            root, mount_point = place.split(" ")[3:5]
            found.append((root, mount_point))
    return found


def _read(path: str) -> str:
    """Return a small file's content, without the layers that make a call of ``open`` slow."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return b"".join(iter(lambda: os.read(file, 1 << 16), b"")).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(file)
