"""Build the C backend if there is a compiler, and otherwise record why not.

``FASTLIN_REQUIRE_C=1``  the build fails without the C backend
``FASTLIN_SKIP_C=1``     the C backend is not built
``FASTLIN_SANITIZE=1``   the C backend checks its memory accesses, for `make sanitize`; slow
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent
RECORD = "_native_build.json"
OFF = ("", "0")

SKIP_C = os.environ.get("FASTLIN_SKIP_C", "") not in OFF
REQUIRE_C = os.environ.get("FASTLIN_REQUIRE_C", "") not in OFF
SANITIZE = os.environ.get("FASTLIN_SANITIZE", "") not in OFF
if SKIP_C and REQUIRE_C:
    raise SystemExit(
        "FASTLIN_SKIP_C and FASTLIN_REQUIRE_C contradict each other: set one of them at most"
    )

THREADS = ["-pthread"]
UNIX_OPTIONS = [
    "-std=gnu11",
    "-O3",
    # Python's own options ask for debug information, four times the size of the code.
    "-g0",
    *THREADS,
    # Allow fused multiply-add in sums of products, as the other backends' libraries do.
    "-ffp-contract=fast",
    # Nothing reads errno, the exception flags or the sign of a zero. Unlike -ffast-math, this keeps
    # nan and infinity: a loss that is not finite must be noticed.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
]

# End the process at the first fault. With little optimisation the checks find as much, and
# compiling takes half the time.
SANITIZERS = [
    "-O1",
    "-g1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
]


class CannotBuildError(Exception):
    """Why the C backend cannot be built, and what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


class BuildNative(build_ext):
    """Compile the C backend; if that fails, leave a record of the reason instead."""

    def run(self) -> None:
        """Remember the place of the results: setuptools clears ``inplace`` while it builds."""
        self.beside_sources = bool(self.inplace or self.editable_mode)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        """Compile one extension, or record why not."""
        ext.optional = not REQUIRE_C
        self._remove(RECORD)
        try:
            self._compile(ext)
            self._remove_libraries(ext, but=self.get_ext_filename(ext.name))
        except CannotBuildError as why:
            self._remove_libraries(ext)
            if REQUIRE_C:
                raise CompileError(f"FASTLIN_REQUIRE_C is set, but the C backend {why}") from why
            self.warn(f"the C backend {why}")
            record = {"reason": f"it {why.reason}", "remedy": why.remedy}
            path = self._package_folders()[-1] / RECORD
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record))

    def _compile(self, ext: Extension) -> None:
        if SKIP_C:
            raise CannotBuildError(
                "was skipped when fastlin was installed (FASTLIN_SKIP_C is set)",
                "install fastlin again without FASTLIN_SKIP_C",
            )
        if self.compiler.compiler_type == "unix":
            sanitizers = SANITIZERS if SANITIZE else []
            ext.extra_compile_args = [*UNIX_OPTIONS, *sanitizers]
            ext.extra_link_args = [*THREADS, *sanitizers]
            self._compile_files_at_once()
        try:
            super().build_extension(ext)
        except Exception as error:
            what, remedy = self._diagnosis(error)
            raise CannotBuildError(
                f"could not be compiled when fastlin was installed ({what})", remedy
            ) from error

    def _compile_files_at_once(self) -> None:
        """Compile a file on each core: those of the instruction sets take long."""
        compile_in_turn = self.compiler.compile

        def compile_at_once(sources: list[str], *arguments: Any, **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                each = [
                    pool.submit(compile_in_turn, [source], *arguments, **options)
                    for source in sources
                ]
                return [path for one in each for path in one.result()]

        self.compiler.compile = compile_at_once

    def _diagnosis(self, error: Exception) -> tuple[str, str]:
        """Return what went wrong in plain words, and what to do about it."""
        compiler = getattr(self.compiler, "compiler_so", [""])[0]
        if compiler and shutil.which(compiler) is None:
            return (
                f"no C compiler: {compiler}",
                "install one (Debian, Ubuntu: apt install gcc libc6-dev) and install fastlin again",
            )
        if not any(Path(folder, "Python.h").exists() for folder in self.include_dirs):
            python = f"python{sysconfig.get_python_version()}"
            return (
                f"no Python.h of {python}",
                f"install it (Debian, Ubuntu: apt install {python}-dev) and install fastlin again",
            )
        cause = error.args[0] if error.args else error
        if isinstance(cause, subprocess.CalledProcessError):  # it lists a hundred options
            cause = f"{cause.cmd[0]} ended with exit status {cause.returncode}"
        return (
            " ".join(str(cause).split()) or type(error).__name__,
            "install fastlin again with FASTLIN_REQUIRE_C=1, which shows all the compiler says",
        )

    def get_source_files(self) -> list[str]:
        """Also name what is not compiled, so that a source distribution includes it."""
        others = (*ROOT.glob("csrc/**/*.h"), *ROOT.glob("csrc/*.py"))
        return [*super().get_source_files(), *(str(path.relative_to(ROOT)) for path in others)]

    def get_outputs(self) -> list[str]:
        """Name only what was really built; a missing backend must not break the install."""
        return [path for path in super().get_outputs() if Path(path).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        """Name, for an editable install, what was really built, and where it is."""
        mapping = super().get_output_mapping()
        return {built: path for built, path in mapping.items() if Path(path).exists()}

    def _package_folders(self) -> list[Path]:
        """Return the folders of the build; the last one is the one to import from."""
        folders = [Path(self.build_lib, "fastlin")]
        return [*folders, ROOT / "fastlin"] if self.beside_sources else folders

    def _remove_libraries(self, ext: Extension, but: str = "") -> None:
        """Remove results of an earlier build that this Python would mistake for its own."""
        name = ext.name.rpartition(".")[-1]
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            if name + suffix != Path(but).name:
                self._remove(name + suffix)

    def _remove(self, name: str) -> None:
        for folder in self._package_folders():
            (folder / name).unlink(missing_ok=True)


class NameWheel(bdist_wheel):
    """Name the wheel for every Python from 3.11 on, if it was built for all."""

    def finalize_options(self) -> None:
        """Follow the extension, which knows this Python."""
        if all(ext.py_limited_api for ext in self.distribution.ext_modules):
            self.py_limited_api = "cp311"
        super().finalize_options()


setup(
    cffi_modules=["csrc/build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": NameWheel},
)
