"""Where compiled kernels are kept, if they can be: training works without such a place."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run
from kernel_caches import DATA, assert_whole
from processes import THOROUGH, run_python, two_at_a_time

import fastlin
from fastlin.kernels import load_backend

pytestmark = pytest.mark.skipif(
    not load_backend("numba").available, reason="backend 'numba' is not available"
)


# ------------------------------------------------------------------ no place to write


SMALL = """
import warnings
warnings.simplefilter("ignore")
import numpy as np
from fastlin import LogisticRegression
X = np.random.default_rng(0).standard_normal((300, 4))
y = (X[:, 0] + X[:, 1] / 2 > 0).astype(int)
options = dict(max_epochs=2, tol=None, random_state=0, n_threads=1)
model = LogisticRegression(backend="numpy", **options).fit(X, y)
right = model.coef_
assert np.abs(right).max() > 0.1
logits = model.decision_function(X)
model.set_params(backend="numba")
np.testing.assert_allclose(model.decision_function(X), logits, rtol=1e-9, atol=1e-12)
"""
"""Predicts, with few kernels."""

TRAIN = f"""{SMALL}
np.testing.assert_allclose(model.fit(X, y).coef_, right, rtol=1e-9)
assert LogisticRegression(**options).fit(X, y).backend_ == "numba"
"""
"""Trains too; `auto` must take Numba as well."""


def train_small(here: Path, **more: Any) -> None:
    """Train in a folder; assert that it works with one line of warning at most, and no file."""
    run_small(here, TRAIN, **more)


def run_small(here: Path, code: str = SMALL, **more: Any) -> None:
    """The same for any code: most places need no more than a kernel."""
    before = sorted(here.rglob("*"))
    done = run_python("-c", code, folder=here, **more)
    assert done.code == 0, done
    lines = done.err.splitlines()
    assert len(lines) <= 1, done.err
    assert all("NUMBA_CACHE_DIR" in line for line in lines)
    assert sorted(here.rglob("*")) == before


NO_HOME = {"HOME": None, "XDG_CACHE_HOME": None, "NUMBA_CACHE_DIR": None}


def under_a_file(here: Path, _: Path) -> None:
    (here / "file").write_text("")
    run_small(here, variables={"NUMBA_CACHE_DIR": str(here / "file")})


def not_creatable(here: Path, _: Path) -> None:
    train_small(here, variables={"NUMBA_CACHE_DIR": "/proc/fastlin/cache"})


def home_is_a_file(here: Path, _: Path) -> None:
    (here / "file").write_text("")
    run_small(here, variables=NO_HOME | {"HOME": str(here / "file")})


def cache_home_is_relative(here: Path, _: Path) -> None:
    home = here.with_name(here.name + "-home")
    run_small(here, variables=NO_HOME | {"HOME": str(home), "XDG_CACHE_HOME": "z"})


def no_file_may_grow(here: Path, _: Path) -> None:
    cache = here.with_name(here.name + "-cache")
    limit = ("prlimit", "--fsize=4096")
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    run_small(here, variables={"NUMBA_CACHE_DIR": str(cache)}, before=limit)
    assert not any(cache.rglob(DATA))


def full_disk(here: Path, _: Path) -> None:
    cache = here.with_name(here.name + "-cache")
    cache.mkdir()
    run_small(
        here,
        variables={"NUMBA_CACHE_DIR": str(cache)},
        before=mounted("mount -t tmpfs -o size=8k none", cache),
    )


def read_only_folder(here: Path, _: Path) -> None:
    cache = here.with_name(here.name + "-cache")
    cache.mkdir()
    run_small(
        here,
        variables={"NUMBA_CACHE_DIR": str(cache)},
        before=mounted("mount -t tmpfs -o ro none", cache),
    )


def mounted(mount: str, folder: Path) -> tuple[object, ...]:
    """Return what begins a command that sees a file system of its own in a folder."""
    start = ("unshare", "--mount", "sh", "-c", f'{mount} "$0" && exec "$@"', folder)
    may = shutil.which("unshare") and subprocess.run([*start, "true"], capture_output=True)
    if not may or may.returncode != 0:
        pytest.skip("this user may not mount file systems")
    return start


def relative_folder(here: Path, _: Path) -> None:
    done = run_python("-c", SMALL, folder=here, variables={"NUMBA_CACHE_DIR": "cache"})
    assert done == Run(0, "", "")
    assert [path.name for path in here.iterdir()] == ["cache"]
    assert_whole(here / "cache")


# ------------------------------------------------------------------ another user


def others_may_read(folder: Path) -> bool:
    return all(
        one.stat().st_mode & stat.S_IXOTH for one in (folder, *folder.parents) if one.exists()
    )


def interpreter_for_others() -> tuple[str, str]:
    """Return an interpreter that every user may run, and where it finds the packages."""
    packages = [Path(np.__file__).parents[1], Path(fastlin.__file__).parents[1]]
    executable = sys.executable
    if not others_may_read(Path(sys.base_prefix).resolve()):
        executable = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    if not Path(executable).exists() or not all(map(others_may_read, packages)):
        pytest.skip("no other user may read this interpreter and its packages")
    return executable, os.pathsep.join(map(str, packages))


def as_another_user(code: str, **variables: str | None) -> None:
    executable, packages = interpreter_for_others()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        run_small(
            Path(folder),
            code,
            executable=executable,
            variables={**NO_HOME, "PYTHONPATH": packages, **variables},
            user=54321,
            group=54321,
            extra_groups=[],
        )


def another_user_without_a_home(here: Path, _: Path) -> None:
    as_another_user(SMALL)


def another_user_whose_home_is_missing(here: Path, _: Path) -> None:
    as_another_user(SMALL, HOME="/nonexistent")


def another_user_s_unreadable_files(here: Path, warm: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        shutil.copytree(warm, cache)
        for number, path in enumerate(sorted(cache.rglob("*.nb?"))):
            path.chmod(0o000 if number % 2 else 0o644)
        Path(folder).chmod(0o755)
        as_another_user(TRAIN, NUMBA_CACHE_DIR=str(cache))


def folders_in_place_of_files(here: Path, warm: Path) -> None:
    cache = here.with_name(here.name + "-cache")
    shutil.copytree(warm, cache)
    for number, file in enumerate(sorted(cache.rglob("*.nb?"))):
        if number % 2:
            file.unlink()
            (file / "full").mkdir(parents=True)
    train_small(here, variables={"NUMBA_CACHE_DIR": str(cache)})


def no_pycache(here: Path, warm: Path) -> None:
    """The package is in a read-only place, and finds the same kernels."""
    copy = here.with_name(here.name + "-package")
    source = Path(fastlin.__file__).parent
    shutil.copytree(source, copy / "fastlin", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [path for path in copy.rglob("*") if path.is_dir()]:
        (folder / "__pycache__").write_text("in the way")
    path = os.pathsep.join([str(copy), *filter(None, [os.environ.get("PYTHONPATH")])])
    before = sorted(warm.rglob("*"))
    train_small(here, variables={"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(warm)})
    assert sorted(warm.rglob("*")) == before


SOME = (
    not_creatable,
    full_disk,
    relative_folder,
    folders_in_place_of_files,
    no_pycache,
)
MORE = (
    cache_home_is_relative,
    read_only_folder,
    another_user_without_a_home,
    another_user_s_unreadable_files,
    under_a_file,
    home_is_a_file,
    no_file_may_grow,
    another_user_whose_home_is_missing,
)
PLACES: dict[str, Callable[[Path, Path], None]] = {
    function.__name__.replace("_", " "): function
    for function in (SOME + MORE if THOROUGH else SOME)
}


@pytest.fixture(scope="module")
def places(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    warm = tmp_path_factory.mktemp("warm")
    train_small(tmp_path_factory.mktemp("here"), variables={"NUMBA_CACHE_DIR": str(warm)})

    def run(place: str) -> None:
        PLACES[place](tmp_path_factory.mktemp("here"), warm)

    with two_at_a_time(request, "place", run) as wait_for:
        yield wait_for


@pytest.mark.parametrize("place", PLACES)
def test_training_needs_no_place_for_the_cache(place: str, places: Callable[[str], Any]) -> None:
    places(place)
