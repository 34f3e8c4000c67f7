"""How compiled kernels reach what Python hands them: records of numbers, and arrays, by address.

A kernel is a C function of three integers: the address of its call's *arguments*, the number of
the thread, and the number of threads. The arguments are one run of 64-bit words in memory, which
two or more named tuples describe: Python fills it with :func:`words_of`, a kernel reads it with
:func:`read_record`. Whatever types the caller's own numbers had, a word is a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastlin.kernels.jit.emit import Builder, Integer, emits
from fastlin.kernels.jit.kind import KindType
from fastlin.kernels.jit.options import intrinsic
from fastlin.kernels.jit.vectors import INT64

WORD_BYTES = 8


def words_of(*records: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the numbers of some records, one behind the other."""
    return np.array([word for record in records for word in record], np.int64)


@intrinsic
def read_record(typingctx: Any, record: Any, address: Any) -> Any:
    """Return the named tuple ``record`` whose fields are the 64-bit words from an address on."""
    fields = record.instance_class._fields
    result = types.NamedUniTuple(types.int64, len(fields), record.instance_class)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = builder.inttoptr(args[1], INT64.as_pointer())
        words = [builder.load(builder.gep(first, [INT64(i)])) for i in range(len(fields))]
        return context.make_tuple(builder, signature.return_type, words)

    return result(record, types.int64), codegen


@intrinsic
def array_at(typingctx: Any, element: Any, address: Any, shape: Any) -> Any:
    """Return the C-ordered array of some shape at an address; it owns nothing.

    ``element``: a Numba type, or a kind for the weights' type. It is what :func:`numba.carray`
    returns; that cannot be compiled without reference counts.
    """
    of_element = element.kind.weight if isinstance(element, KindType) else element.instance_type
    result = types.Array(of_element, len(shape), "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, address, shape = args
        sizes = cgutils.unpack_tuple(builder, shape)
        size = INT64(of_element.bitwidth // 8)
        strides, n_items = [size], INT64(1)
        for length in reversed(sizes[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        for length in sizes:
            n_items = builder.mul(n_items, length)
        array = cgutils.create_struct_proxy(result)(context, builder)
        array.data = builder.inttoptr(address, context.get_value_type(of_element).as_pointer())
        array.shape = shape
        array.strides = cgutils.pack_array(builder, strides)
        array.itemsize, array.nitems = size, n_items
        return array._getvalue()

    return result(element, types.int64, types.UniTuple(types.int64, len(shape))), codegen


@emits
def call_kernel(
    builder: Builder, kernel: Integer, data: Integer, thread: Integer, n_threads: Integer
) -> None:
    """Call a compiled kernel, given by its address.

    So a kernel is not copied into its callers' code and compiled there again.
    """
    function = ir.FunctionType(ir.VoidType(), [INT64] * 3).as_pointer()
    builder.call(builder.inttoptr(kernel, function), [data, thread, n_threads])
