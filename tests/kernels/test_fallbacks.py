"""Interpreters that really lack Numba or the C backend: what ``auto`` takes, what is said."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import Run, assert_mistake

import fastlin
from fastlin.kernels import native

FASTLIN = Path(fastlin.__file__).parent
NUMBA = ("numba", "llvmlite")
MISSING = [
    ("numba", "No module named 'numba'", "pip install --upgrade numba"),
    ("c", "No module named 'fastlin._native'", "install fastlin again"),
]
START = "import sys; sys.path.insert(0, {folder!r}); from fastlin.cli import main; main()"


@dataclass(frozen=True)
class Interpreter:
    """A Python that finds its packages in one folder only."""

    folder: Path

    def run(self, *arguments: str) -> Run:
        """Run the command ``fastlin`` in it."""
        code = START.format(folder=str(self.folder))
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Run(done.returncode, done.stdout, done.stderr)


def interpreter(folder: Path, without_c: bool) -> Interpreter:
    """Link every installed package into `folder`, but Numba and, if so asked, the C backend."""
    for kind in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(kind).iterdir():
            if not path.name.startswith((*NUMBA, "fastlin", "__editable__")):
                (folder / path.name).symlink_to(path)
    (folder / "fastlin").mkdir()
    for path in FASTLIN.iterdir():
        if not (without_c and path.name.startswith("_native")):
            (folder / "fastlin" / path.name).symlink_to(path)
    return Interpreter(folder)


@pytest.fixture(scope="module")
def without_numba(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    if not fastlin.backends()["c"].available:
        pytest.skip("the C backend was not built here")
    return interpreter(tmp_path_factory.mktemp("without_numba"), without_c=False)


@pytest.fixture(scope="module")
def numpy_alone(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return interpreter(tmp_path_factory.mktemp("numpy_alone"), without_c=True)


def test_without_numba_auto_takes_c(without_numba: Interpreter) -> None:
    done = without_numba.run("train", "--epochs", "2", "--quiet")
    assert done.code == 0, done.err
    assert "c backend" in done.out


def test_without_numba_and_c_auto_takes_numpy(numpy_alone: Interpreter) -> None:
    done = numpy_alone.run("train", "--epochs", "2", "--quiet")
    assert done.code == 0, done.err
    assert "numpy backend" in done.out


def test_info_says_why_and_what_to_do(numpy_alone: Interpreter) -> None:
    lines = numpy_alone.run("info").out.splitlines()
    for name, reason, remedy in MISSING:
        (at,) = [number for number, line in enumerate(lines) if line.startswith(f"  {name:<6} ")]
        assert lines[at].split()[1] == "missing:"
        assert reason in lines[at]
        assert lines[at + 1].split()[0] == "remedy:"
        assert remedy in lines[at + 1]
    assert lines[-1].startswith("  numpy ")
    assert lines[-1].endswith(" (auto)")


@pytest.mark.parametrize(("name", "reason", "remedy"), MISSING)
def test_a_missing_backend_that_is_named_is_an_error(
    name: str, reason: str, remedy: str, numpy_alone: Interpreter
) -> None:
    done = numpy_alone.run("train", "--backend", name)
    assert_mistake(done, f"backend '{name}' is not available", reason, remedy)


def with_another_library(folder: Path, name: bytes) -> Interpreter:
    """Return an interpreter whose C backend asks for the shared library `name`."""
    if not fastlin.backends()["c"].available:
        pytest.skip("the C backend was not built here")
    found = interpreter(folder, without_c=True)
    (library,) = FASTLIN.glob("_native*.so")
    content = library.read_bytes()
    needed = b"\0libc.so.6\0"  # every C extension asks for it
    if content.count(needed) != 1 or len(name) > len(needed) - 2:
        pytest.skip("the library names what it needs in another way")
    (folder / "fastlin" / library.name).write_bytes(
        content.replace(needed, b"\0" + name.ljust(len(needed) - 2, b"\0") + b"\0")
    )
    return found


def test_a_shared_library_that_is_missing_is_named_with_a_remedy(tmp_path: Path) -> None:
    found = with_another_library(tmp_path, b"libq.so.9")
    lines = found.run("info").out.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("  c ")]
    assert "missing: its library cannot be loaded (libq.so.9: cannot open" in lines[at]
    assert "remedy: install the package of libq.so.9 (Debian, Ubuntu: " in lines[at + 1]
    assert_mistake(found.run("train", "--backend", "c"), "'c' is not available", "libq.so.9")
    assert "numpy backend" in found.run("train", "--epochs", "2", "--quiet").out


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (
            ImportError("libgomp.so.1: cannot open shared object file: No such file or directory"),
            "libgomp.so.1",
            "apt install libgomp1",
        ),
        (
            ImportError("/lib/libc.so.6: version `GLIBC_2.99' not found (required by _native.so)"),
            "GLIBC_2.99",
            "install fastlin again",
        ),
        (
            ModuleNotFoundError("No module named '_cffi_backend'", name="_cffi_backend"),
            "cffi is missing",
            "pip install cffi",
        ),
        (SystemError("initialization failed"), "initialization failed", "install fastlin again"),
    ],
)
def test_each_way_to_be_unloadable_has_its_remedy(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, remedy: str
) -> None:
    monkeypatch.setattr(native, "IMPORT_ERROR", error)
    record = native.load()
    assert not record.available
    assert reason in str(record.reason)
    assert remedy in str(record.remedy)
