"""A program in a folder: operations as TensorFlow writes them down, weights, the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgepart.errors import FileError
from edgepart.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from edgepart.frameworks.keras.part import Step
from edgepart.frameworks.signature import array_dtype
from edgepart.graph import Graph

_GRAPH, _STEPS, _WEIGHTS, _SAMPLE = "graph.json", "layers.json", "weights.safetensors", "example.safetensors"
_OPERATIONS = "operations"
#: safetensors cannot read back a file that holds neither arrays nor a header
_HEADER = {"framework": "keras"}
#: TensorFlow's operations that reach outside of the process, which no layer of a network needs
_FORBIDDEN = frozenset({
    "EagerPyFunc", "PyFunc", "PyFuncStateless", "ReadFile", "WriteFile", "MatchingFiles", "LoadAndRemapMatrix",
    "Save", "SaveV2", "SaveSlices", "Restore", "RestoreV2", "RestoreSlice", "MergeV2Checkpoints", "PrintV2", "Print",
    "DebugIdentity", "DebugIdentityV2", "RemoteCall", "ImmutableConst", "LookupTableImportV2",
})  # fmt: skip


def save_program(
    folder: Path,
    graph: Graph,
    steps: Iterable[Step],
    state: Mapping[str, Any],
    sample: Mapping[str, NDArray[Any]],
) -> None:
    """Write a program.

    Raises:
        FileError: the folder's parent is missing or the disk is full.
    """
    with atomic_folder(folder) as temporary:
        (temporary / _OPERATIONS).mkdir()
        described = {}
        for number, step in enumerate(steps):
            (temporary / _OPERATIONS / f"{number}.pb").write_bytes(step.definition.SerializeToString())
            described[step.layer] = {"inputs": step.inputs, "weights": step.weights, "outputs": step.outputs}
        arrays = {name: _bits(np.asarray(variable.numpy())) for name, variable in state.items()}
        dtypes = {name: variable.dtype.name for name, variable in state.items()}
        write_json(temporary / _STEPS, {"layers": described, "dtypes": dtypes})
        write_arrays(temporary / _WEIGHTS, arrays, _HEADER)
        write_arrays(temporary / _SAMPLE, sample, _HEADER)
        graph.save(temporary / _GRAPH)


def load_program(folder: Path) -> tuple[Graph, list[Step], dict[str, Any], dict[str, NDArray[Any]]]:
    """Graph, layers, weights by name and the example that :func:`save_program` wrote.

    Raises:
        FileError: a file is missing or damaged.
    """
    graph = Graph.load(folder / _GRAPH)
    described = read_json(folder / _STEPS)
    arrays, sample = read_arrays(folder / _WEIGHTS), read_arrays(folder / _SAMPLE)
    try:
        steps = [
            Step(
                layer=layer.name,
                definition=_operations(folder / _OPERATIONS / f"{number}.pb"),
                inputs=dict(described["layers"][layer.name]["inputs"]),
                weights=dict(described["layers"][layer.name]["weights"]),
                outputs=dict(described["layers"][layer.name]["outputs"]),
            )
            for number, layer in enumerate(graph.layers)
        ]
        state = {name: tf.constant(_typed(arrays[name], described["dtypes"][name])) for name in graph.parameters}
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{folder} is not a complete program of Keras ({error}): capture the network again") from error
    return graph, steps, state, sample


def _operations(path: Path) -> Any:
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(path.read_bytes())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # protobuf's DecodeError, which has a place of its own in every version
        raise FileError(f"{path} is damaged: capture the network again") from error
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    found = next((node.op for node in nodes if node.op in _FORBIDDEN), None)
    if found:
        raise FileError(f"{path} holds the operation {found}, which no layer of a network has: do not trust this file")
    return definition


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    return array.view(array_dtype(array.dtype.name)) if array.dtype.kind == "V" else array


def _typed(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    wanted = tf.as_dtype(dtype).as_numpy_dtype
    return array if array.dtype == wanted else array.view(wanted)
