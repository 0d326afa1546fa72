"""An ``.onnx`` file turned into half precision or 8 bits, by the tools that come with ONNX Runtime.

Only imported where a precision is asked for: the tools take a second to import.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import _get_all_tensors, uses_external_data
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from edgepart.errors import ExportError, FileError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.runtimes.onnx_control_flow import show_reads, sort
from edgepart.frameworks.runtimes.onnx_single import compute_in_single, holds
from edgepart.frameworks.signature import Signature
from edgepart.silence import silence

#: Left in single precision besides the operations that know no other: half precision overflows beyond 65504, which
#: powers, exponentials and sums reach first (torch.autocast leaves out the same).
_SINGLE = ("Exp", "Log", "LogSoftmax", "Pow", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Softmax")

#: what the tools know neither of weights nor of activations
_DOUBLE = (onnx.TensorProto.DOUBLE,)


def to_float16(path: Path) -> None:
    """Halve the weights, and compute in half precision where the processor can.

    It halves the file. On x86 it saves neither time nor memory: ONNX Runtime has half-precision kernels for ARM and for
    accelerators only, widens weights when it loads the file, and casts around what it computes in single precision
    (ResNet-50 took 56 ms instead of 40).

    Raises:
        ExportError: the part is in 8 bits already, or the conversion fails.
    """
    _require_unquantised(onnx.load(str(path), load_external_data=False).graph)
    external = _has_external_data(path)
    with _tools("float16"):
        _to_single(path, _DOUBLE, external)
        model = convert_float_to_float16(
            str(path), keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_SINGLE]
        )
        _drop_repeated_casts(model.graph)
        OnnxModel.graph_topological_sort(model.graph)  # the casts are at the end
        _save_alone(model, path, external)


def to_int8(path: Path, signature: Signature, samples: Sequence[Arrays]) -> None:
    """Quantise to 8 bits: statically where convolutions prevail, else dynamically.

    Static: ranges of activations come from ``samples``, and everything between two convolutions stays in 8 bits.
    Dynamic: weights of matrix products and, beside no control flow, embeddings are 8 bits wide, ranges of activations
    are taken as it runs.
    Transformers need the latter: single features of theirs are many times larger than the others (Dettmers et al.,
    2022, LLM.int8()) and would widen a range that is fixed beforehand until little is left of the rest.

    Activations are unsigned with a zero point, since nearly all follow a ReLU and have no negative half to spend bits
    on. Weights are signed, with one scale a channel: of MobileNetV2, with one scale a tensor, nothing is left. All 8
    bits are used, as 7 (``reduce_range``) cost it 14 of 73 points of accuracy. What they guard against remains: sums of
    two products can saturate on x86 without VNNI. ONNX Runtime's own guard (``session.x64quantprecision``) refuses
    weights that share a zero point, as of 1.31.

    Raises:
        ExportError: convolutions prevail and there are no samples; the part is in 8 bits already or decides as it runs;
            or the quantisation fails.
        GraphError: a sample does not fit the part.
    """
    graph = onnx.load(str(path), load_external_data=False).graph
    _require_unquantised(graph)
    control_flow = _has_graphs_inside(graph)
    external = _has_external_data(path)
    static = _convolutions_prevail(graph)
    if static and not samples:
        raise ExportError(
            "int8 of a part with convolutions needs samples of what enters it, to find the ranges of its tensors: give "
            "samples, or take float16"
        )
    reader = _Reader(signature, samples)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _tools("int8"):
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "made" / path.name
        made.parent.mkdir()
        _to_single(path, (*_DOUBLE, onnx.TensorProto.FLOAT16), external)
        # Folds batch normalisation into convolutions, and finds the shapes without which a tensor is not quantised.
        quant_pre_process(
            str(path),
            str(prepared),
            skip_symbolic_shape=True,
            save_as_external_data=external,
            all_tensors_to_one_file=True,
            external_data_location="prepared.onnx.data",
        )
        _forget_shapes_of_weights(prepared)
        if control_flow:
            show_reads(prepared)
        # ONNX Runtime ends the process on loading embeddings in 8 bits that a loop reads.
        dynamic = ["MatMul"] if control_flow else ["MatMul", "Gather"]
        _quantise(prepared, made, reader if static else None, dynamic, external)
        if control_flow:
            sort(made)
        for file in path.parent.iterdir():
            if file.is_file():
                file.unlink()
        for file in made.parent.iterdir():
            os.replace(file, path.with_name(file.name))


def _quantise(
    prepared: Path, made: Path, reader: CalibrationDataReader | None, dynamic: Sequence[str], external: bool
) -> None:
    """Statically with a reader, else the operations ``dynamic`` dynamically."""
    settings = {"per_channel": True, "weight_type": QuantType.QInt8, "use_external_data_format": external}
    if reader is not None:
        quantize_static(str(prepared), str(made), reader, activation_type=QuantType.QUInt8, **settings)
    else:
        # ONNX Runtime's dynamic convolution takes no signed weights; Gemm becomes MatMul.
        quantize_dynamic(str(prepared), str(made), op_types_to_quantize=[*dynamic], **settings)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches in the form that calibration takes them in."""

    def __init__(self, signature: Signature, samples: Sequence[Arrays]) -> None:
        names = signature.input_names
        self._batches = iter([dict(zip(names, signature.checked(batch), strict=True)) for batch in samples])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _to_single(path: Path, types: Collection[int], external: bool) -> None:
    """The tools convert float32 only, and leave weights of other types as large as they are."""
    if holds(onnx.load(str(path), load_external_data=False), types):
        model = onnx.load(str(path))
        compute_in_single(model, types)
        _save_alone(model, path, external)


def _save_alone(model: onnx.ModelProto, path: Path, external: bool) -> None:
    """Write a model in place of all files in its folder."""
    for file in path.parent.iterdir():
        if file.is_file():
            file.unlink()
    onnx.save(model, str(path), save_as_external_data=external, location=f"{path.name}.data")


def _require_unquantised(graph: onnx.GraphProto) -> None:
    """ONNX Runtime's tools may never return from a part that is in 8 bits already (1.31)."""
    for node in graph.node:
        name = node.name or node.output[0]
        if "Quantize" in node.op_type or node.op_type.startswith("QLinear") or node.op_type.endswith("Integer"):
            raise ExportError(
                f"the part is quantised already, as its node '{name}' ({node.op_type}) shows: write it in "
                "float32, which keeps it as it is"
            )


def _has_graphs_inside(graph: onnx.GraphProto) -> bool:
    return any(attribute.HasField("g") for node in graph.node for attribute in node.attribute)


def _convolutions_prevail(graph: onnx.GraphProto) -> bool:
    """Whether at least half of the layers are convolutions; a vision transformer has one, for its patches."""
    operations = [node.op_type for node in graph.node]
    convolutions = sum(operations.count(name) for name in ("Conv", "ConvTranspose"))
    return convolutions > 0 and convolutions >= sum(operations.count(name) for name in ("MatMul", "Gemm"))


def _forget_shapes_of_weights(path: Path) -> None:
    """The tools transpose weights in place, and then trip over the shapes that exporters noted down beside them."""
    model = onnx.load(str(path), load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    onnx.save(model, str(path))


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """The conversion casts a tensor once for every node left in single precision that reads it, always to one name."""
    made: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in made:
            graph.node.remove(node)
        made.update(node.output)


def _has_external_data(path: Path) -> bool:
    return any(map(uses_external_data, _get_all_tensors(onnx.load(str(path), load_external_data=False))))


@contextlib.contextmanager
def _tools(precision: str) -> Iterator[None]:
    """Run the library's tools, which print and log, and fail with whatever class of exception."""
    # logging.warning(), which they call, gives the root logger a handler for good where it has none.
    placeholder = logging.NullHandler()
    logging.root.addHandler(placeholder)
    try:
        with silence():
            yield
    except OSError as error:
        raise FileError(f"cannot write the part in {precision}: {error.strerror or error}") from error
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(
            f"ONNX Runtime's tools cannot turn the part into {precision}: {type(error).__name__}: {reason}; write "
            "it in float32"
        ) from error
    finally:
        logging.root.removeHandler(placeholder)
