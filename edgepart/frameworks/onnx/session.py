"""Sessions of ONNX Runtime on models in memory, whose weights are neither copied nor serialised."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import onnxruntime

from edgepart.frameworks.runtimes.onnxruntime import session_options

#: weights of fewer bytes go with the model
_SMALL_BYTES = 1024
#: ONNX Runtime's severities: its default, and only what ends the process
_WARNING, _FATAL = 2, 4
#: where the weights of a serialised model pretend to be
_ELSEWHERE = "weights"


def open_session(model: ir.Model, *, fuse: bool = True, prepack: bool = True) -> onnxruntime.InferenceSession:
    """A session that runs a model on the processor.

    Args:
        fuse: let ONNX Runtime fuse operations and compute ahead what depends on weights only
        prepack: let it copy weights into the layout that its kernels like best

    Raises whatever ONNX Runtime does, see :func:`reason`.
    """
    serialised, tensors = skeleton(model)
    weights = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}
    options = session_options()
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if not fuse:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    with _quiet():
        session = onnxruntime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])
    session.edgepart_weights = (weights, values)  # ONNX Runtime does not own them: they live as long as the session
    return session


def is_small(tensor: ir.TensorProtocol) -> bool:
    """Whether a tensor goes with the model: ONNX Runtime reads sizes and axes from such, or NumPy has no such type."""
    return tensor.nbytes < _SMALL_BYTES or not is_native(tensor.dtype)


def skeleton(
    model: ir.Model, keep: Callable[[ir.TensorProtocol], bool] = is_small
) -> tuple[bytes, dict[str, ir.TensorProtocol]]:
    """A model serialised without its weights, which is small whatever the weights are, and these by name.

    Args:
        keep: which weights stay in the model
    """
    held: dict[ir.Value, ir.TensorProtocol] = {}
    weights: dict[str, ir.TensorProtocol] = {}
    try:
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or keep(tensor):
                continue
            held[value] = weights[name] = tensor
            value.const_value = ir.ExternalTensor(
                _ELSEWHERE, 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
            )
        return ir.to_proto(model).SerializeToString(), weights
    finally:
        for value, tensor in held.items():
            value.const_value = tensor


def is_native(dtype: ir.DataType) -> bool:
    """Whether NumPy has it."""
    return dtype != ir.DataType.STRING and dtype.numpy().isbuiltin == 1


def reason(error: Exception) -> str:
    """The first line of what ONNX Runtime raised, without its codes."""
    line = str(error).strip().partition("\n")[0]
    line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed:)?", "", line)
    line = re.sub(r"/onnxruntime_src/\S+:\d+ .* was false\. ?(?=\S)", "", line)
    return line.strip().rstrip(".")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)
