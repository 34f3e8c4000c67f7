"""What one compiled kernel is made for, as a value and as a type of Numba's.

A kernel's loops are written once, and compiled for each :class:`Kind`: types of the rows and of the
weights, sizes of a block of classes and of a vector. A loop passes its kind on as its first
argument. At run time that argument is nothing; its Numba type, :class:`KindType`, tells the
intrinsics what to emit, and spells out the whole kind in its name.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from numba import types
from numba.extending import models, register_model

from fastlin.kernels.jit.options import intrinsic


@dataclass(frozen=True)
class Kind:
    """All that a kernel's machine code depends on, besides its sources and the processor.

    Attributes
    ----------
    rows, weights : str
        Element types: of the weights ``"float32"`` or ``"float64"``, of the rows the same or a
        narrower one of ``ROW_TYPES``; no rows, if it reads none.
    block : int
        Dense rows: classes of a block. Sparse rows, and many classes: vectors of classes of a
        block, or of a slice. 0 if any.
    lanes : int
        Elements of a vector of rows or features.
    unit : str
        What multiplies: ``"vectors"``, or ``"integers"`` for a matrix unit.
    columns : str
        Type of the column indices of sparse rows; empty for dense rows.
    class_lanes : int
        Classes of a vector, for sparse rows and many classes; else 0.
    streamed : bool
        Whether dense rows come from main memory, as in a pass, rather than from a cache.
    """

    rows: str
    weights: str
    block: int
    lanes: int
    unit: str = "vectors"
    columns: str = ""
    class_lanes: int = 0
    streamed: bool = False

    def __str__(self) -> str:
        return ",".join(str(field) for field in astuple(self))

    @property
    def without_rows(self) -> Kind:
        """What all kernels have in common that read neither dense rows nor packed weights."""
        return Kind("", self.weights, 0, self.lanes)

    @property
    def row_bytes(self) -> int:
        """Size of an element of a row."""
        return {"uint8": 1, "int8": 1, "float16": 2, "float32": 4, "float64": 8}[self.rows]

    @property
    def double(self) -> bool:
        """Whether the weights are float64."""
        return self.weights == "float64"

    @property
    def weight(self) -> Any:
        """Numba's type of the weights."""
        return types.float64 if self.double else types.float32


class KindType(types.Type):  # type: ignore[misc]  # numba is untyped
    """Numba's type of a kind; two kinds have one type if and only if they are equal."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        super().__init__(name=f"fastlin.Kind({kind})")


register_model(KindType)(models.OpaqueModel)


def value_of(kind: Kind) -> Any:
    """Return an intrinsic that gives compiled code the value of a kind."""
    kind_type = KindType(kind)

    @intrinsic
    def value(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.get_dummy_value()

        return kind_type(), codegen

    return value


def this_kind() -> Any:
    """In a kernel, the kind that it is being compiled for; see :func:`.compiled.compile_body`."""
    raise RuntimeError("only compiled kernels have a kind")
