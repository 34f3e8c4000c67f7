"""The default number of threads of a fit: the least of the limits on this process.

Every fit determines it again, since limits can change; this takes about 100 microseconds.
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
"""Variables that users, and joblib in its workers, set to limit threads."""


def default_n_threads() -> int:
    """Return the number of threads for this process, at least 1.

    It is the least of the cores that the process may run on; the CPU quota of its control group,
    rounded up; ``OMP_NUM_THREADS`` (the first number if it is a list), ``OMP_THREAD_LIMIT`` and
    ``LOKY_MAX_CPU_COUNT``; and the limit of OpenMP libraries in the calling thread, which
    ``threadpoolctl.threadpool_limits`` sets.
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
    """Return the smallest number of threads that a loaded OpenMP library would use in this thread.

    fastlin's threads are not always OpenMP's, but this is where ``threadpool_limits`` sets a limit.
    """
    return min((library.num_threads for library in _openmp_libraries()), default=sys.maxsize)


_found: list[Any] = []


def _openmp_libraries() -> list[Any]:
    """Return handles of OpenMP libraries, found by a scan of all loaded libraries.

    ``threadpool_limits`` limits all of them, so knowing one is enough, and the libraries are
    scanned only once. scikit-learn's is loaded before any fit. Without threadpoolctl no limit has
    been set.
    """
    if not _found and "threadpoolctl" in sys.modules:
        from threadpoolctl import ThreadpoolController

        _found.extend(ThreadpoolController().select(user_api="openmp").lib_controllers)
    return _found


# ------------------------------------------------------------------ CPU quota


def cpu_quota() -> float | None:
    """Return the CPU quota of this process's control groups (cgroups) in cores, None if unlimited.

    The process's own group and all groups above it count, in version 2 (``cpu.max``) and in version
    1 (``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``).
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
    """Return the files, existing or not, with the quotas of a process in these groups."""
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
    """Yield the folder of a control group and of all visible groups above it."""
    for root, mount_point in _mounts(version_2):
        path = PurePosixPath(group)
        # In a container the group may be outside of the mount, which is then the group's own.
        inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        for part in (inside, *inside.parents):
            yield f"{mount_point}/{part}"


@functools.cache
def _mounts(version_2: bool) -> list[tuple[str, str]]:
    """Return (top group, folder) of each mount point of control groups for CPUs."""
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
    """Return the content of a small file, without the layers that make ``open`` slow."""
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
