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

    A model that declares sequences of any length and runs only at that of the example is taken as made for that.
    """
    if inputs.fixed_batch is not None:
        inputs = free_batch(model, inputs)
    declare(model, inputs)
    try:
        return inputs, infer(model, inputs)
    except CaptureError:
        if "sequence" not in inputs.symbols:
            raise
        inputs = inputs.fixed_length()
        declare(model, inputs)
        return inputs, infer(model, inputs)
