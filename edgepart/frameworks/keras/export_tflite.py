"""Parts as ``.tflite`` files for LiteRT (once TensorFlow Lite), with its own operations only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgepart.errors import ExportError
from edgepart.files import atomic_file
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.keras.traced import INPUT, Exportable, Traced
from edgepart.frameworks.messages import first_line
from edgepart.silence import silence

if TYPE_CHECKING:
    from edgepart.frameworks.runtimes.base import Precision
    from edgepart.frameworks.signature import Signature

#: a flatbuffer's offsets are signed 32-bit numbers
_MOST_BYTES = 2**31 - 1
_SIGNATURE = "serving_default"


def write_tflite(part: Exportable, path: Path, precision: Precision, samples: Sequence[Arrays]) -> None:
    """Write a part as a flatbuffer whose inputs and outputs keep the network's types.

    float16 stores weights in half precision. int8 computes a part with convolutions in integers (weights per channel,
    what passes between operations over the range that ``samples`` show) wherever LiteRT can. Of any other part the
    weights are integers, and what enters a matrix product is rounded to integers over the range that it has at the
    time: the range of attention scores with masked ones among them (-1e9) would leave one integer for all the others.

    Raises:
        ExportError: LiteRT lacks an operation (named with its layer), or there are no samples for int8.
        FileError: the folder is missing or the disk is full.
    """
    traced = Traced(part)
    if precision != "int8" or not _convolves(traced):
        samples = ()
    elif not samples:
        raise ExportError(
            "int8 takes the ranges of a part with convolutions from samples of its inputs, and none were given: give "
            "some, or write it in float32 or float16"
        )
    else:
        _require_no_loop(traced)
    try:
        content = _convert(traced, precision, samples)
    except ExportError:
        # A loop over a sequence (LSTM, GRU) keeps state whose shape LiteRT wants to know: one sample at a time then.
        if not _splits(part.signature):
            raise
        content = _convert(Traced(part, batch=1), precision, samples)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def _convert(traced: Traced, precision: Precision, samples: Sequence[Arrays]) -> bytes:
    if traced.variable_bytes > _MOST_BYTES:
        raise ExportError(
            f"the part holds {traced.variable_bytes / 1e9:.1f} GB of weights, a .tflite file holds at most 2.1 GB: "
            "split it, or run it on tensorflow"
        )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.concrete], traced.module)
    # where the batch size is fixed it is 1, although loops were captured with any
    converter._experimental_default_to_single_batch_in_tensor_list_ops = traced.batch == 1
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if samples:
        converter.representative_dataset = lambda: _representative(traced.signature, samples)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
    try:
        with silence():
            return bytes(converter.convert())
    except Exception as error:
        raise _explain(traced, error) from error


def _convolves(traced: Traced) -> bool:
    return any("Conv" in operation.type for operation in traced.concrete.graph.get_operations())


def _require_no_loop(traced: Traced) -> None:
    """The converter's calibration ends the process at a loop."""
    for operation in traced.concrete.graph.get_operations():
        if operation.type in ("While", "StatelessWhile"):
            raise ExportError(
                f"LiteRT cannot compute the loop '{operation.type}' of the layer '{traced.layer(operation.name)}' in "
                "integers beside convolutions: write the part in float32 or float16, or split the network between them"
            )


def _explain(traced: Traced, error: Exception) -> ExportError:
    """The first operation that the converter complains of, else its own words."""
    for detail in getattr(error, "errors", None) or ():
        operation = detail.operator.name.removeprefix("tf.")
        calls = [call.name for call in detail.location.call if call.name]
        if calls and operation not in ("", "Const"):
            return traced.blame("LiteRT", operation, calls[0])
    return ExportError(
        f"LiteRT's converter cannot write the part with {', '.join(traced.part.layers[:3])}: "
        f"{type(error).__name__}: {first_line(error)}"
    )


def _splits(signature: Signature) -> bool:
    """Whether every input and output has one row for each sample, first."""
    tensors = (*signature.inputs, *signature.outputs)
    return all(t.shape and t.shape[0] == "batch" and not _mentions_batch(t.shape[1:]) for t in tensors)


def _mentions_batch(shape: Sequence[int | str]) -> bool:
    return any(isinstance(size, str) and "batch" in size for size in shape)


def _representative(signature: Signature, samples: Sequence[Arrays]) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """Single samples, by the names that the inputs have in the file."""
    for batch in samples:
        arrays = signature.checked(batch)
        whole = {INPUT.format(place): array for place, array in enumerate(arrays)}
        if not arrays or not _splits(signature):
            yield _SIGNATURE, whole
            continue
        for row in range(len(arrays[0])):
            yield _SIGNATURE, {name: np.ascontiguousarray(array[row : row + 1]) for name, array in whole.items()}
