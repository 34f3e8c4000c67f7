"""The default number of threads: the least of the process's limits, determined at every fit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import fastlin
from fastlin.kernels import default_n_threads, get_backend, thread_limits

VARIABLES = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "LOKY_MAX_CPU_COUNT")


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, and no limit but those of a test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(thread_limits, "cpu_quota", lambda: None)
    monkeypatch.setattr(thread_limits, "_openmp_libraries", list)


def test_without_limits_it_is_the_number_of_cores() -> None:
    assert default_n_threads() == 8


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1), ("3", 3), (" 3 ", 3), ("4,2", 4), ("20", 8)]
    + [(nonsense, 8) for nonsense in ("", "0", "-1", "many", ",2", "1.5")],
)
def test_variables_are_heard(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: int
) -> None:
    monkeypatch.setenv(name, value)
    assert default_n_threads() == expected


def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_limits, "cpu_quota", lambda: 3.2)
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert default_n_threads() == 4
    monkeypatch.setenv("OMP_THREAD_LIMIT", "2")
    assert default_n_threads() == 2


@pytest.mark.parametrize(("quota", "expected"), [(0.01, 1), (0.5, 1), (1.0, 1), (1.01, 2), (64, 8)])
def test_a_quota_is_rounded_up(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int
) -> None:
    monkeypatch.setattr(thread_limits, "cpu_quota", lambda: quota)
    assert default_n_threads() == expected


# ------------------------------------------------------------------ control groups


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system with control groups; ``tmp_path`` stands before each of its paths."""
    monkeypatch.undo()
    read = thread_limits._read
    monkeypatch.setattr(thread_limits, "_read", lambda path: read(f"{tmp_path}{path}"))
    (tmp_path / "proc/self").mkdir(parents=True)
    caches = (thread_limits._mounts, thread_limits._files_of_quotas)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    for cache in caches:
        cache.cache_clear()


def mount(groups: Path, group: str, mounts: str) -> None:
    (groups / "proc/self/cgroup").write_text(group)
    (groups / "proc/self/mountinfo").write_text(mounts)


def put(groups: Path, **files: str) -> None:
    """Write files into ``/group``; ``__`` stands for a slash in their folders."""
    for name, content in files.items():
        *folders, file = name.split("__")
        path = groups.joinpath("group", *folders, file.replace("cpu_", "cpu."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


VERSION_2 = "41 31 0:38 / /group rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
VERSION_1 = (
    "30 23 0:28 / /other rw - cgroup cgroup rw,cpuset\n"
    "32 31 0:29 / /group rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
)


def test_version_2_own_group_and_those_above(groups: Path) -> None:
    mount(groups, "0::/a/b\n", VERSION_2)
    assert thread_limits.cpu_quota() is None
    put(groups, a__cpu_max="max 100000\n", a__b__cpu_max="150000 100000\n")
    assert thread_limits.cpu_quota() == 1.5
    put(groups, a__cpu_max="50000 100000\n")
    assert thread_limits.cpu_quota() == 0.5
    put(groups, a__cpu_max="max 100000\n", a__b__cpu_max="max 100000\n")
    assert thread_limits.cpu_quota() is None


def test_version_1(groups: Path) -> None:
    mount(
        groups,
        "3:cpuset:/c\n2:cpu,cpuacct:/a\n0::/\n",
        VERSION_1 + VERSION_2.replace("/group", "/v2"),
    )
    put(groups, a__cpu_cfs_quota_us="-1\n", a__cpu_cfs_period_us="100000\n")
    assert thread_limits.cpu_quota() is None
    put(groups, a__cpu_cfs_quota_us="250000\n")
    assert thread_limits.cpu_quota() == 2.5


def test_a_container_that_sees_only_its_own_group(groups: Path) -> None:
    mounted = VERSION_1.replace("0:29 /", "0:29 /docker/1f")
    put(groups, cpu_cfs_quota_us="70000\n", cpu_cfs_period_us="100000\n")
    put(groups, sub__cpu_cfs_quota_us="30000\n", sub__cpu_cfs_period_us="100000\n")
    for group, quota in (("/docker/1f", 0.7), ("/docker/1f/sub", 0.3), ("/", 0.7), ("/../2e", 0.7)):
        mount(groups, f"2:cpu,cpuacct:{group}\n", mounted)
        thread_limits._mounts.cache_clear()
        assert thread_limits.cpu_quota() == quota, group


def test_a_system_without_control_groups(groups: Path) -> None:
    assert thread_limits.cpu_quota() is None


def real_groups() -> list[tuple[Path, dict[str, str]]]:
    """Where a group for the CPU can be made here, and what gives it half a core."""
    version_1 = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    return [
        (Path("/sys/fs/cgroup/cpu"), version_1),
        (Path("/sys/fs/cgroup/cpu,cpuacct"), version_1),
        (Path("/sys/fs/cgroup"), {"cpu.max": "50000 100000"}),
    ]


def test_a_real_quota_of_half_a_core_is_heard_by_a_process_that_has_trained() -> None:
    code = """
import sys
import fastlin, fastlin.estimator
assert fastlin.backends()["numpy"].n_threads == int(sys.argv[2])
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write("0")
assert {b.n_threads for b in fastlin.backends().values()} == {1}, fastlin.backends()
"""
    for folder, files in real_groups():
        group = folder / f"fastlin-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            try:
                for name, content in files.items():
                    (group / name).write_text(content)
            except OSError:  # a folder, but the group of no CPU controller
                continue
            command = [sys.executable, "-c", code, str(group), str(cores_of_a_child())]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            return
        finally:
            group.rmdir()
    pytest.skip("no control group for the CPU can be made here")


def cores_of_a_child() -> int:
    code = "from fastlin.kernels import default_n_threads; print(default_n_threads())"
    return int(subprocess.check_output([sys.executable, "-c", code]))


# ------------------------------------------------------------------ where it is asked


@pytest.mark.parametrize("name", ["numba", "c", "numpy"])
def test_records_show_the_limit_of_the_moment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if not fastlin.backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    unlimited = get_backend(name).n_threads
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert get_backend(name).n_threads == 1
    assert fastlin.backends()[name].n_threads == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert get_backend(name).n_threads == unlimited


def threads_of_a_fit(monkeypatch: pytest.MonkeyPatch, n_threads: int | None) -> int:
    """Return the number of threads with which a fit calls its kernel."""
    from fastlin.kernels import reference, table

    asked = []
    steps = reference.sgd_steps

    def sgd_steps(*arguments):
        asked.append(arguments[-1])
        steps(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(reference, "sgd_steps", sgd_steps)
        table.load_backend.cache_clear()  # the record holds the kernels
        model = fastlin.LogisticRegression(backend="numpy", max_epochs=1, n_threads=n_threads)
        model.fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1])
    table.load_backend.cache_clear()
    (n,) = set(asked)
    return n


@pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")
def test_a_fit_asks_anew_and_honours_a_number_that_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert threads_of_a_fit(monkeypatch, None) == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_of_a_fit(monkeypatch, None) == 2
    assert threads_of_a_fit(monkeypatch, 5) == 5


@pytest.mark.parametrize(
    ("limit", "heard"),
    [
        ({"limits": 1}, True),
        ({"limits": 1, "user_api": "openmp"}, True),
        ({"limits": {"openmp": 1}}, True),
        ({"limits": 1, "user_api": "blas"}, False),
    ],
)
def test_threadpool_limits_is_heard_within_it(
    monkeypatch: pytest.MonkeyPatch, limit: dict[str, object], heard: bool
) -> None:
    monkeypatch.undo()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    unlimited = default_n_threads()
    if unlimited < 2 or not thread_limits._openmp_libraries():
        pytest.skip("needs two cores and a library with OpenMP")
    with threadpool_limits(**limit):
        assert (default_n_threads() == 1) is heard
    assert default_n_threads() == unlimited


def test_joblib_s_workers_take_what_joblib_gives_them() -> None:
    code = """
from joblib import Parallel, delayed, parallel_config
def asked():
    import fastlin
    return fastlin.backends()["numpy"].n_threads
for given in (1, 2):
    with parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=given):
        assert max(Parallel()(delayed(asked)() for _ in range(2))) <= given
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
