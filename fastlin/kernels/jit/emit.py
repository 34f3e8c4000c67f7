"""Intrinsics: functions that emit LLVM's code in the place of a call, and what they all repeat.

To Numba an intrinsic is a function of types that returns a signature and a function of values. Here
it is one function, whose annotations say both::

    @emits
    def add(unit: VectorUnit, count: Integer, factor: Number, arrays: tuple[Integer, ...]) -> None:

Compiled code calls ``add(kind, count, factor, arrays)``. If the first argument is a vector unit, it
is made for the caller's kind (:mod:`.kind`); otherwise it is LLVM's builder, and the caller passes
no kind. All others arrive as LLVM's values, a tuple as a Python tuple of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.options import intrinsic
from fastlin.kernels.jit.vectors import VectorUnit

Builder = ir.IRBuilder
Integer = Annotated[Any, "int64"]
"""A number of things or bytes, or an address."""
Number = Annotated[Any, "a number of the weights' type"]
Flag = Annotated[Any, "boolean"]


class FeatureUnit(VectorUnit):
    """The vectors of features, or of rows, of a kind."""

    def __init__(self, builder: Any, kind: Kind) -> None:
        super().__init__(builder, kind.lanes, kind.double)


class ClassUnit(VectorUnit):
    """The vectors of classes of a kind of sparse rows."""

    def __init__(self, builder: Any, kind: Kind) -> None:
        super().__init__(builder, kind.class_lanes, kind.double)


def emits(emit: Callable[..., Any]) -> Any:
    """Make an intrinsic of a function that emits its code and returns its result, if it has one."""
    hints = get_type_hints(emit, include_extras=True)
    result = hints.pop("return")
    (_, first), *others = hints.items()
    n_kinds = int(issubclass(first, VectorUnit))

    def typed(typingctx: Any, *arguments: Any) -> Any:
        kind = arguments[0].kind if n_kinds else None

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            unpacked = [
                cgutils.unpack_tuple(builder, value) if get_origin(hint) is tuple else value
                for (_, hint), value in zip(others, values[n_kinds:], strict=True)
            ]
            made = emit(first(builder, kind) if n_kinds else builder, *unpacked)
            return context.get_dummy_value() if made is None else made

        of_arguments = [_numba_type(hint, kind) for _, hint in others]
        return _numba_type(result, kind)(*arguments[:n_kinds], *of_arguments), codegen

    # Numba asks for the names of the arguments, the typing context's first.
    names = ["typingctx", *["kind"] * n_kinds, *(name for name, _ in others)]
    typed.__dict__["__signature__"] = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    typed.__name__, typed.__doc__ = emit.__name__, emit.__doc__
    return intrinsic(typed)


def _numba_type(hint: Any, kind: Kind | None) -> Any:
    if get_origin(hint) is tuple:
        return types.UniTuple(_numba_type(get_args(hint)[0], kind), len(get_args(hint)))
    if hint is Number:
        assert kind is not None
        return kind.weight
    return {Integer: types.int64, Flag: types.boolean, type(None): types.none}[hint]
