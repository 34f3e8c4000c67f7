"""The cache of compiled kernels, even if damaged, gives a right model and never a traceback."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cold_starts
import numpy as np
import pytest
from command_line import Run
from kernel_caches import DATA, INDEX, TASKS, assert_whole, solve
from processes import LONG, THOROUGH, first_of, run_python, two_at_a_time

import fastlin
from fastlin.kernels import load_backend

pytestmark = pytest.mark.skipif(
    not load_backend("numba").available, reason="backend 'numba' is not available"
)

SEED = 8
N_AT_ONCE = 8 if THOROUGH else 4
N_KILLED = 100 if LONG else 30 if THOROUGH else 10


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a cache that one process filled, and its output; tests must not change it."""
    cache = tmp_path_factory.mktemp("good")
    done = solve(cache)
    assert done.code == 0, done
    assert done.err == ""
    assert_whole(cache)
    return cache, done.out


# ------------------------------------------------------------------ many processes, killed ones


def crowd(folder: Path) -> None:
    """Processes compile into one empty cache at the same time; then comes another."""
    done = run_python(
        cold_starts.__file__,
        *("crowd", N_AT_ONCE, *TASKS),
        variables={"NUMBA_CACHE_DIR": str(folder)},
    )
    assert done.code == 0, done
    assert done.err == ""
    assert_whole(folder)
    after = solve(folder)
    assert after.code == 0, after
    assert done.out.splitlines() == after.out.splitlines() * N_AT_ONCE


def killed(folder: Path) -> None:
    """Processes are killed at random moments of compiling; then comes another."""
    done = run_python(
        cold_starts.__file__,
        *("kill", N_KILLED, SEED, *TASKS),
        variables={"NUMBA_CACHE_DIR": str(folder)},
        seconds=6000,
    )
    assert done.code == 0, done
    assert len(done.out.splitlines()) >= N_KILLED
    after = solve(folder)
    assert after.code == 0, after
    assert after.err == ""
    assert_whole(folder)
    # What they left behind goes once it is old and a kernel is written.
    (kernels,) = {index.parent for index in folder.rglob(INDEX)}
    (kernels / "left.tmp").write_bytes(b"half a kernel")
    for file in kernels.iterdir():
        os.utime(file, times=(time.time() - 3 * 86400,) * 2)
    next(iter(folder.rglob(INDEX))).unlink()
    assert solve(folder).out == after.out
    assert {file.suffix for file in kernels.iterdir()} == {".nbi", ".nbc"}


# ------------------------------------------------------------------ other processors


AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": (
        "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c"
    ),
}
BASELINE = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse,+sse2"}
NO_MATRIX_UNIT = {"FASTLIN_ISA": "baseline"}


def instruction_sets(folder: Path) -> None:
    """Processes compile for several processors into one cache, and come back."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the instruction sets of this test are those of x86-64")
    machine: dict[str, str] = {}
    first: dict[int, str] = {}
    order = [AVX2, machine, BASELINE, NO_MATRIX_UNIT] if LONG else [AVX2, machine, BASELINE]
    order = [one for one in order if one is not AVX2 or has_avx2()]
    task = "sgd,uint8,k=3,d=7" if LONG else "sgd,float32,k=2,d=7"
    for variables in [*order, *order]:
        done = solve(folder, task, **variables)
        assert done.code == 0, f"{variables}: {done}"
        assert done.err == ""
        assert first.setdefault(id(variables), done.out) == done.out


def has_avx2() -> bool:
    return load_backend("numba").instruction_set in ("amx", "avx512", "avx2")


PROCESSES = {
    "processes at once": crowd,
    "processes killed": killed,
    "other instruction sets": instruction_sets,
}


@pytest.fixture(scope="module")
def processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    def run(name: str) -> None:
        PROCESSES[name](tmp_path_factory.mktemp("cache"))

    with two_at_a_time(request, "crowd", run) as wait_for:
        yield wait_for


@pytest.mark.parametrize("crowd", first_of(2, list(PROCESSES)))
def test_processes_that_share_a_cache(crowd: str, processes: Callable[[str], Any]) -> None:
    processes(crowd)


# ------------------------------------------------------------------ caches of others


SPY = """
import os, sys
cache = os.environ["NUMBA_CACHE_DIR"]
def look(event, arguments):
    if event == "open" and str(arguments[0]).startswith(cache) and not arguments[2] & os.O_WRONLY:
        opened.add(str(arguments[0]))
opened = set()
sys.addaudithook(look)
import hunt
code = hunt.run_tasks(sys.argv[1:])
print(*sorted(opened), sep="\\n")
sys.exit(code)
"""


class Trap:
    """Writes a file when it is read back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_files_of_other_versions_are_not_even_opened(
    good: tuple[Path, str], tmp_path: Path
) -> None:
    cache, said = good
    ours = tmp_path / "cache"
    shutil.copytree(cache, ours)
    (kernels,) = {index.parent for index in ours.rglob(INDEX)}
    planted = []
    # Another version's kernels of the same names, whole by their checksums.
    code = b"no code at all"
    digest = hashlib.sha256(code).hexdigest()
    for folder in (kernels.parent / ("0" * len(kernels.name)), kernels.parent):
        folder.mkdir(exist_ok=True)
        (folder / f"{digest}.nbc").write_bytes(code)
        for index in kernels.glob(INDEX):
            content = json.loads(index.read_bytes()) | {"sha256": digest}
            (folder / index.name).write_text(json.dumps(content))
        planted.append(folder)
    # What Numba's cache had, for each file of ours, in any folder that it may have used.
    for source in Path(fastlin.__file__).parent.glob("kernels/**/*.py"):
        for folder in (ours, ours / "kernels_0123456789", kernels):
            folder.mkdir(exist_ok=True)
            name = f"{source.stem}.run_share-1.py{sys.version_info[0]}{sys.version_info[1]}"
            for end in (".nbi", ".1.nbc"):
                (folder / (name + end)).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    before = {path: path.read_bytes() for path in ours.rglob("*") if path.is_file()}

    done = run_python(
        *("-c", SPY, *TASKS),
        variables={
            "NUMBA_CACHE_DIR": str(ours),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        },
    )
    assert done.code == 0, done
    lines = done.out.splitlines()
    assert lines[: len(TASKS)] == said.splitlines()
    opened = {Path(line) for line in lines[len(TASKS) :]}
    assert opened == {path for path in opened if path.parent == kernels}
    # The kernels were there: each was read, none was made.
    names = {path.relative_to(cache) for path in cache.rglob("*.nb?")}
    assert {path.relative_to(ours) for path in opened} == names
    assert before == {path: path.read_bytes() for path in ours.rglob("*") if path.is_file()}
    assert not (tmp_path / "sprung").exists()


# ------------------------------------------------------------------ damaged files


def random_bytes(n: int) -> bytes:
    return np.random.default_rng(SEED).bytes(n)


def cut(file: Path, _: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def swap(file: Path, other: Path) -> None:
    mine, others = file.read_bytes(), other.read_bytes()
    file.write_bytes(others)
    other.write_bytes(mine)


def one_bit(file: Path, _: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def folder_in_its_place(file: Path, _: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda file, _: file.write_bytes(b""),
    "cut in half": cut,
    "zeros": lambda file, _: file.write_bytes(bytes(file.stat().st_size)),
    "random bytes": lambda file, _: file.write_bytes(random_bytes(file.stat().st_size)),
    "longer": lambda file, _: file.write_bytes(file.read_bytes() * 2),
    "one bit": one_bit,
    "swapped": swap,
    "missing": lambda file, _: file.unlink(),
    "a link to itself": lambda file, _: (file.unlink(), file.symlink_to(file)),
    "another kind of JSON": lambda file, _: file.write_text('[{"kernel": 1, "sha256": null}]'),
    "deep JSON": lambda file, _: file.write_text("[" * 100_000),
}
"""What may become of a file; its place can be written again."""

ROUNDS = {
    f"{what}, {' + '.join(names)}": (pattern, names)
    for what, pattern in (("index", INDEX), ("data", DATA))
    for names in ([[name] for name in DAMAGES] if LONG else [list(DAMAGES)])
}
"""Each kernel's file gets one damage of these, in turn."""


@pytest.fixture(scope="module")
def damaged(
    request: pytest.FixtureRequest, good: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], tuple[Path, Run]]]:
    def run(name: str) -> tuple[Path, Run]:
        pattern, damages = ROUNDS[name]
        cache = tmp_path_factory.mktemp("damaged") / "cache"
        shutil.copytree(good[0], cache)
        files = sorted(cache.rglob(pattern))
        for number, file in enumerate(files):
            DAMAGES[damages[number % len(damages)]](file, files[number - 1])
        return cache, solve(cache)

    with two_at_a_time(request, "damage", run) as wait_for:
        yield wait_for


@pytest.mark.parametrize("damage", ROUNDS)
def test_damaged_files_are_written_again(
    damage: str, good: tuple[Path, str], damaged: Callable[[str], tuple[Path, Run]]
) -> None:
    cache, done = damaged(damage)
    assert done == Run(0, good[1], "")
    assert_whole(cache)
