"""Build the C backend where a compiler is at hand, and say why where it is not.

``FASTLIN_REQUIRE_C=1``  the build fails without the C backend
``FASTLIN_SKIP_C=1``     the C backend is not tried
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
RECORD = "_native_build.json"
OFF = ("", "0")

SKIP_C = os.environ.get("FASTLIN_SKIP_C", "") not in OFF
REQUIRE_C = os.environ.get("FASTLIN_REQUIRE_C", "") not in OFF
if SKIP_C and REQUIRE_C:
    raise SystemExit(
        "FASTLIN_SKIP_C and FASTLIN_REQUIRE_C contradict each other: set one of them at most"
    )

INSTALL_COMPILER = (
    "install a C compiler (Debian, Ubuntu: apt install gcc libc6-dev) and reinstall fastlin "
    "with FASTLIN_REQUIRE_C=1, which shows the compiler's own words"
)
UNIX_OPTIONS = [
    "-std=gnu11",
    "-O3",
    # Products may be summed up by fused multiply-add, here as in the other backends' libraries.
    "-ffp-contract=fast",
    # Nobody reads errno, the exception flags or the sign of a zero. What -ffast-math assumes of
    # nan and infinity is not assumed: a loss that is neither finite must be seen.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
]


class BuildNative(build_ext):
    """Compile the C backend; where that fails, leave a record of the reason instead."""

    def run(self) -> None:
        """Remember where the record belongs: setuptools clears ``inplace`` while it builds."""
        self.beside_sources = bool(self.inplace or self.editable_mode)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        """Compile one extension, or record why not."""
        ext.optional = not REQUIRE_C
        if SKIP_C:
            self._record("it was skipped when fastlin was installed (FASTLIN_SKIP_C=1)",
                         "reinstall fastlin without FASTLIN_SKIP_C")
            return
        if self.compiler.compiler_type == "unix":
            ext.extra_compile_args = [*UNIX_OPTIONS, *self._openmp_options()]
            ext.extra_link_args = self._openmp_options()
        try:
            super().build_extension(ext)
        except Exception as error:
            if REQUIRE_C:
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            self._record(f"it could not be compiled when fastlin was installed ({reason})",
                         INSTALL_COMPILER)
            self.warn(f"the C backend was not built: {reason}")
        else:
            self._record(None, None)

    def get_source_files(self) -> list[str]:
        """Name the headers too, so that a source distribution holds them."""
        return [*super().get_source_files(), *map(str, ROOT.glob("csrc/*.h"))]

    def get_outputs(self) -> list[str]:
        """Name only what was really built; a missing backend must not break the install."""
        return [path for path in super().get_outputs() if Path(path).exists()]

    def _openmp_options(self) -> list[str]:
        """Return what turns OpenMP on, or nothing where the compiler has none."""
        options = ["-fopenmp"]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "openmp.c"
            source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads(); }\n")
            try:
                objects = self.compiler.compile([str(source)], folder, extra_postargs=options)
                self.compiler.link_executable(
                    objects, str(Path(folder) / "openmp"), extra_postargs=options
                )
            except Exception:
                self.warn("the compiler has no OpenMP: the C backend will run on one thread")
                return []
        return options

    def _record(self, reason: str | None, remedy: str | None) -> None:
        package = ROOT if self.beside_sources else Path(self.build_lib)
        path = package / "fastlin" / RECORD
        if reason is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"reason": reason, "remedy": remedy}))


setup(
    cffi_modules=["csrc/build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
