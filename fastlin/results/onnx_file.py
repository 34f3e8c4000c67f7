"""Writes a model as an ONNX graph, which other programs and languages run without fastlin.

The graph: rows of any number are cast to the weights' type and multiplied by the weights, and a
softmax gives probabilities. Two classes are a softmax whose first logit is 0. Inputs and outputs
are named as skl2onnx names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, OutputError
from fastlin.results.output_file import replacing

INPUT_TYPES = ("float32", "float64", "float16", "uint8")

OPSET, IR_VERSION = 13, 8
"""The first version of the operators with a softmax over one axis, and of a file's outer form that
holds it; every onnxruntime from 1.9 (2021) reads both."""

MOST_BYTES = 2**31 - 2**16
"""An ONNX file has less than 2 GiB."""


def write_onnx(
    path: str | Path,
    weights: NDArray[Any],
    intercept: NDArray[Any],
    classes: NDArray[Any],
    shift: NDArray[np.float64] | None = None,
    input_type: str = "float32",
) -> None:
    """Write a model to exactly `path`.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    weights : (k, d), or (1, d) with two classes
        float32 or float64, which is also the type of the probabilities.
    intercept : (k,), or (1,) with two classes
        For rows minus the shift, if there is one.
    classes : (k,)
        Labels: numbers, booleans or strings.
    shift : (d,), optional
        What is subtracted from a row before anything is rounded to the weights' type.
    input_type : str
        Type of the rows, one of ``INPUT_TYPES``.

    Raises
    ------
    InputError
        The type is unknown, or the model is too large for ONNX.
    OutputError
        The package ``onnx`` is missing, or the file cannot be written.
    """
    if input_type not in INPUT_TYPES:
        raise InputError(f"input_type={input_type!r} is not one of {', '.join(INPUT_TYPES)}")
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise OutputError(
            "cannot write ONNX, because the package onnx is missing; type: python -m pip install "
            "'fastlin[onnx]'"
        ) from error
    from fastlin import __version__

    columns = weights.T
    if len(weights) == 1:
        columns = np.hstack([np.zeros_like(columns), columns])
        intercept = np.array([0, intercept[0]])
    if columns.nbytes > MOST_BYTES:
        raise InputError(f"ONNX files hold at most 2 GiB; the weights take {columns.nbytes} bytes")

    def type_of(dtype: Any) -> int:
        return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    constants = {
        "weights": np.ascontiguousarray(columns),
        "intercept": intercept.astype(weights.dtype),
        "classes": classes.astype(object) if classes.dtype.kind == "U" else classes,
    }
    steps, rows = [], "X"

    def step(operator: str, inputs: list[str], output: str, **options: Any) -> str:
        steps.append(helper.make_node(operator, inputs, [output], name=output, **options))
        return output

    if shift is not None:
        constants["shift"] = shift
        rows = step("Cast", [rows], "exact_rows", to=type_of(np.float64))
        rows = step("Sub", [rows, "shift"], "shifted_rows")
    rows = step("Cast", [rows], "rows", to=type_of(weights.dtype))
    products = step("MatMul", [rows, "weights"], "products")
    logits = step("Add", [products, "intercept"], "logits")
    largest = step("ArgMax", [logits], "largest", axis=1, keepdims=0)
    step("Gather", ["classes", largest], "label", axis=0)
    step("Softmax", [logits], "probabilities", axis=1)

    k, d = len(classes), weights.shape[1]
    kind = onnx.TensorProto.STRING if classes.dtype.kind == "U" else type_of(classes.dtype)
    graph = helper.make_graph(
        steps,
        "fastlin",
        [helper.make_tensor_value_info("X", type_of(input_type), [None, d])],
        [
            helper.make_tensor_value_info("label", kind, [None]),
            helper.make_tensor_value_info("probabilities", type_of(weights.dtype), [None, k]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="fastlin",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(model.SerializeToString())
