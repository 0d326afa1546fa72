"""From the user's model to a Program."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from edgepart.errors import CaptureError
from edgepart.frameworks.onnx.batch import free_batch
from edgepart.frameworks.onnx.example import Inputs, read_inputs
from edgepart.frameworks.onnx.lower import lower
from edgepart.frameworks.onnx.normal import normalise, structure
from edgepart.frameworks.onnx.program import Program
from edgepart.frameworks.onnx.shapes import Shaped, declare, infer


def capture(given: object, example: object) -> Program:
    """Capture a network; the model is not changed.

    Raises:
        CaptureError: it is not valid, or ONNX Runtime does not run it with any batch; names the node.
    """
    model = normalise(given)
    fingerprint = structure(model)
    inputs = read_inputs(model.graph, example)
    inputs, shapes = _shaped(model, inputs)
    graph = lower(model, inputs, shapes, model.graph.name or "onnx")
    return Program(model, graph, inputs.sample(), fingerprint)


def _shaped(model: ir.Model, inputs: Inputs) -> tuple[Inputs, Mapping[ir.Value, Shaped]]:
    """The shapes of all values; where the model is made for one batch, it is made to run at any first.

    Raises:
        CaptureError: it does not run; or at the length of the example only, though it declares any.
    """
    lengths = _length_dimensions(model, inputs)
    if inputs.fixed_batch is not None:
        inputs = free_batch(model, inputs)
    declare(model, inputs)
    try:
        return inputs, infer(model, inputs)
    except CaptureError as error:
        if not lengths:
            raise
        fixed = inputs.fixed_length()
        declare(model, fixed)
        try:
            infer(model, fixed)
        except CaptureError:
            raise error from None
        raise CaptureError(
            f"{error}; it could be cut at a length of {inputs.length} alone: fix that, for example with python -m "
            f"onnxruntime.tools.make_dynamic_shape_fixed {lengths} MODEL.onnx FIXED.onnx"
        ) from error


def _length_dimensions(model: ir.Model, inputs: Inputs) -> str:
    """Options of ONNX Runtime's tool that fix the length of sequences at that of the example; "" without any."""
    for value in model.graph.inputs:
        shape = inputs.shapes[str(value.name)]
        if "sequence" not in shape:
            continue
        declared = None if value.shape is None else value.shape[shape.index("sequence")]
        if isinstance(declared, ir.SymbolicDim) and declared.value:
            return f"--dim_param {declared.value} --dim_value {inputs.length}"
        sizes = ",".join(map(str, inputs.sample()[str(value.name)].shape))
        return f"--input_name {value.name} --input_shape {sizes}"
    return ""
