"""The C build never breaks an install: each way it can fail, built and installed by pip."""

from __future__ import annotations

import importlib.machinery
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from processes import thorough

import fastlin

ROOT = Path(__file__).resolve().parents[2]
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "csrc", "fastlin")

# Stand-ins for a compiler, since compiling for real takes half a minute.
FAILS = "exit 1"
PRETENDS = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && : > "$2"; shift; done'
WITHOUT_THREADS = 'exec cc -DFASTLIN_WITHOUT_THREADS "$@" -O0'

FREE_THREADED = """
import sysconfig
real = sysconfig.get_config_var
sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else real(name)
"""
"""What a free-threaded Python tells those who build for it, as its sitecustomize.py."""

NO_COMPILER = pytest.mark.skipif(
    not fastlin.backends()["c"].available, reason="the C backend cannot be built here"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the sources, without what was built from them."""
    copy = tmp_path / "project"
    copy.mkdir()
    for name in FILES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("_native*", "__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def compiler(folder: Path, script: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def python(*arguments: object, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`, with these variables and none of fastlin's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTLIN_")}
    return subprocess.run(
        [sys.executable, *(str(argument) for argument in arguments)],
        cwd=folder,
        env={**kept, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def pip(command: str, *arguments: object, folder: Path, **variables: str) -> str:
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check")
    done = python("-m", "pip", command, *offline, *arguments, folder=folder, **variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def with_fastlin(folder: Path, *arguments: object) -> str:
    """Run Python with the fastlin in `folder`, whichever is installed here."""
    # -S ignores the import hook of an editable install, which finds what `folder` lacks.
    packages = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    path = os.pathsep.join([str(folder), *packages])
    done = python("-S", *arguments, folder=folder, PYTHONPATH=path)
    assert done.returncode == 0, done.stdout
    return done.stdout


def c_backend(folder: Path) -> dict[str, Any]:
    """Return what the fastlin in `folder` says of its C backend."""
    code = (
        "import json; from fastlin.kernels import native; c = native.load();"
        "print(json.dumps([c.available, c.reason, c.remedy]))"
    )
    available, reason, remedy = json.loads(with_fastlin(folder, "-c", code))
    return {"available": available, "reason": reason, "remedy": remedy}


@pytest.mark.parametrize(
    ("variables", "reason", "remedy"),
    [
        ({"CC": "/nonexistent"}, "(no C compiler: /nonexistent)", "apt install gcc"),
        ({"PATH": "/nonexistent"}, "(no C compiler: ", "apt install gcc"),
        ({"CC": FAILS}, "it could not be compiled", "FASTLIN_REQUIRE_C=1"),
        ({"FASTLIN_SKIP_C": "1"}, "it was skipped", "again without FASTLIN_SKIP_C"),
    ],
    ids=["no such compiler", "no compiler on the path", "compile error", "skipped"],
)
def test_an_install_goes_through_and_tells_the_reason(
    variables: dict[str, str], reason: str, remedy: str, project: Path, tmp_path: Path
) -> None:
    if variables.get("CC") == FAILS:
        variables = {"CC": compiler(tmp_path, FAILS)}
    target = tmp_path / "installed"
    pip("install", "--target", target, ".", folder=project, **variables)
    told = c_backend(target)
    assert told["available"] is False
    assert reason in told["reason"]
    assert remedy in told["remedy"]
    assert len(told["reason"]) < 200, "the reason is a line to read, not the compiler's options"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CC": "/nonexistent"}, "FASTLIN_REQUIRE_C is set, but the C backend could not be"),
        ({"CC": FAILS}, "building 'fastlin._native' extension"),
        ({"FASTLIN_SKIP_C": "1"}, "FASTLIN_SKIP_C and FASTLIN_REQUIRE_C contradict each other"),
    ],
    ids=["no compiler", "compile error", "skipped as well"],
)
def test_a_required_backend_that_cannot_be_built_fails_the_build(
    variables: dict[str, str], message: str, project: Path, tmp_path: Path
) -> None:
    if variables.get("CC") == FAILS:
        variables = {"CC": compiler(tmp_path, FAILS)}
    done = python("setup.py", "build", folder=project, FASTLIN_REQUIRE_C="1", **variables)
    assert done.returncode != 0
    assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not list(project.rglob("_native_build.json"))


def test_missing_headers_of_python_are_named(project: Path) -> None:
    without_headers = (
        "import runpy, sys, setuptools; from distutils import sysconfig;"
        "sysconfig.get_python_inc = lambda *_, **__: '/nonexistent';"
        "sys.argv = ['setup.py', 'build_ext', '--inplace'];"
        "runpy.run_path('setup.py', run_name='__main__')"
    )
    done = python("-c", without_headers, folder=project, CC=compiler(project, FAILS))
    assert done.returncode == 0, done.stdout
    told = c_backend(project)
    version = "{}.{}".format(*sys.version_info)
    assert f"(no Python.h of python{version})" in told["reason"]
    assert f"apt install python{version}-dev" in told["remedy"]


def test_no_build_leaves_what_another_one_made(project: Path, tmp_path: Path) -> None:
    def build_editable(script: str) -> list[str]:
        code = f"from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})"
        done = python("-c", code, folder=project, CC=compiler(tmp_path, script))
        assert done.returncode == 0, done.stdout
        return [path.name for path in (project / "fastlin").glob("_native*")]

    assert build_editable(FAILS) == ["_native_build.json"]
    assert build_editable(PRETENDS) == ["_native.abi3.so"]
    assert build_editable(FAILS) == ["_native_build.json"]

    # A library under another name that this Python would import first, and so take for the new one.
    stale = project / "fastlin" / f"_native{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    stale.touch()
    assert build_editable(PRETENDS) == ["_native.abi3.so"]
    stale.touch()
    assert build_editable(FAILS) == ["_native_build.json"]


@pytest.mark.parametrize("skip", ["0", "1"])
def test_a_python_without_the_limited_api_gets_a_wheel_of_its_own(
    skip: str, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(FREE_THREADED)
    cc = compiler(tmp_path, f'echo "$@" >> {tmp_path}/asked; {PRETENDS}')
    variables = {"CC": cc, "FASTLIN_SKIP_C": skip, "PYTHONPATH": str(tmp_path)}
    pip("wheel", "--wheel-dir", tmp_path, project, folder=tmp_path, **variables)
    (wheel,) = tmp_path.glob("*.whl")
    version = "cp{}{}".format(*sys.version_info)
    assert wheel.name.startswith(f"fastlin-{fastlin.__version__}-{version}-{version}")
    with zipfile.ZipFile(wheel) as archive:
        built = [name for name in archive.namelist() if name.startswith("fastlin/_native")]
    if skip == "1":
        assert built == ["fastlin/_native_build.json"]
    else:
        assert built == [f"fastlin/_native{sysconfig.get_config_var('EXT_SUFFIX')}"]
        assert "-D_CFFI_NO_LIMITED_API" in (tmp_path / "asked").read_text()


@thorough
@NO_COMPILER
def test_a_source_distribution_becomes_one_wheel_for_every_python(
    project: Path, tmp_path: Path
) -> None:
    """Also without threads: the one build of these tests that compiles for real."""
    (project / "fastlin" / "_native_build.json").write_text('{"reason": "stale", "remedy": ""}')
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    assert python("-c", code, folder=project).returncode == 0
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*.[chp]*")}
    assert {"csrc/build_ffi.py", "csrc/dense/run.h", "csrc/dispatch.c"} <= sources <= names
    assert "fastlin/_native_build.json" not in names

    cc = compiler(tmp_path, WITHOUT_THREADS)
    pip("wheel", "--wheel-dir", tmp_path, sdist, folder=tmp_path, CC=cc, FASTLIN_REQUIRE_C="1")
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"fastlin-{fastlin.__version__}-cp311-abi3-")
    target = tmp_path / "installed"
    pip("install", "--target", target, wheel, folder=tmp_path)

    told = json.loads(with_fastlin(target, "-m", "fastlin", "info", "--json"))["backends"]["c"]
    assert told["available"] is True
    assert told["threading_layer"] == "none: built without threads"
    assert told["n_threads"] == 1
    training = ("train", "--backend", "c", "--threads", "2", "--epochs", "2", "--quiet")
    trained = with_fastlin(target, "-m", "fastlin", *training)
    assert "c backend" in trained
