"""Numba's compiler for kernels and their parts, whose machine code Numba need not make.

Numba optimises each function that compiled code calls, and makes machine code of it, before it is
put into its caller, where both happens again; but nobody calls a part of a kernel by itself, and a
kernel's machine code is made by :mod:`.compiled`. Without the first, a kernel compiles in half the
time. The way to say so is documented: ``pipeline_class``, which ``numba.cfunc`` and
:func:`numba.extending.register_jitable` take.
"""

from __future__ import annotations

from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

NOWHERE = 1
"""In place of the address of machine code that is not made, and that nobody asks for."""


class _NoEnvironments:
    """Numba's code generator for functions without machine code."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Leave out what Numba would write beside the machine code."""


class PartLibrary(JITCodeLibrary):
    """The intermediate code of a part, with that of its own parts."""

    def _optimize_final_module(self) -> None:
        """Leave it to the kernel, in which all is optimised."""

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return no real address."""
        self._ensure_finalized()
        return NOWHERE

    @property
    def codegen(self) -> Any:
        """The code generator, which writes nothing into machine code."""
        return _NoEnvironments(super().codegen)


class KernelLibrary(PartLibrary):
    """The intermediate code of a kernel, optimised."""

    def _optimize_final_module(self) -> None:
        super(PartLibrary, self)._optimize_final_module()


class PartCompiler(Compiler):
    """Compiles a part."""

    library = PartLibrary

    def define_pipelines(self) -> Any:
        """Choose what the code is put into; the steps are Numba's own."""
        if not numba.config.BOUNDSCHECK:  # which only Numba's machine code can do
            codegen = self.state.targetctx.codegen()
            self.state.library = self.library(codegen, self.state.func_id.func_qualname)
        return super().define_pipelines()


class KernelCompiler(PartCompiler):
    """Compiles a kernel."""

    library = KernelLibrary
