"""TensorFlow itself: parts as SavedModels. Importing this module does not import it; only using it does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import ExportError, FileError, MissingExtra
from edgepart.frameworks.base import Arrays, Part
from edgepart.frameworks.runtimes.base import Precision, SignedArtefact
from edgepart.frameworks.signature import Signature, array_dtype
from edgepart.silence import silence

_SIGNATURE = "serving_default"


class TensorFlowRuntime:
    """One SavedModel folder a part. Of the precisions only float32: on a CPU TensorFlow is slower in the others."""

    name = "tensorflow"
    form = "savedmodel"
    suffix = ""
    precisions: tuple[Precision, ...] = ("float32",)

    def write(
        self, part: Part, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write a part as a folder, and its signature beside it.

        Raises:
            ExportError: TensorFlow cannot trace it, or another precision is asked for.
            FileError: the folder around it is missing or the disk is full.
        """
        if precision not in self.precisions:
            raise ExportError(f"the runtime tensorflow has no {precision} on a CPU: take float32, or litert")
        path = Path(path)
        part.export(self.form, path)
        part.signature.save(Signature.beside(path))

    def open(self, path: Path) -> TensorFlowArtefact:
        """Read what :meth:`write` wrote; needs neither Keras nor the user's code.

        Raises:
            FileError: no such folder, damaged, or with operations that reach beyond their inputs.
            MissingExtra: tensorflow is not installed.
        """
        path = Path(path)
        return TensorFlowArtefact(path, Signature.load(Signature.beside(path)))

    def tolerance(self, precision: Precision) -> float:
        """The same operations, which TensorFlow may fuse anew; 6e-6 was seen at the logits of ResNet50."""
        return 1e-4

    def version(self) -> str:
        """Version of tensorflow."""
        return str(require_tensorflow().__version__)

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use in this process; to be called before TensorFlow first computes.

        Raises:
            ModelError: it has computed something, with another number of threads.
        """
        require_tensorflow()
        from edgepart.frameworks.keras.threads import set_threads

        set_threads(count)


class TensorFlowArtefact(SignedArtefact):
    """The one function of a SavedModel."""

    def __init__(self, path: Path, signature: Signature) -> None:
        super().__init__(signature)
        tf = require_tensorflow()
        if not path.is_dir():
            raise FileError(f"{path} does not exist" if not path.exists() else f"{path} is a file, expected a folder")
        _require_harmless(path)
        try:
            with silence():
                # what the function reads lives as long as this does
                self._loaded = tf.saved_model.load(str(path))
            self._function = self._loaded.signatures[_SIGNATURE]
        except Exception as error:
            raise _damaged(path, error) from error
        reads = sorted(self._function.structured_input_signature[1])
        self._makes = sorted(self._function.structured_outputs)
        for verb, found, wanted in (("reads", reads, self.inputs), ("makes", self._makes, self.outputs)):
            if len(found) != len(wanted):
                raise FileError(
                    f"{path} {verb} {len(found)} tensors, but {Signature.beside(path).name} says {len(wanted)}: "
                    "they are not of one part, write it again"
                )
        self._reads = reads
        self._constant = tf.constant
        self._dtypes = [tf.as_dtype(spec.dtype).as_numpy_dtype for spec in signature.inputs]

    def compute(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        given = {
            name: self._constant(_viewed(array, dtype))
            for name, array, dtype in zip(self._reads, arrays, self._dtypes, strict=True)
        }
        made = self._function(**given)
        return [
            _viewed(made[name].numpy(), array_dtype(spec.dtype))
            for name, spec in zip(self._makes, self.signature.outputs, strict=True)
        ]


def _viewed(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """In the byte order of this machine; a dtype that NumPy lacks (bfloat16) from its bits, and to them."""
    native = np.asarray(array, array.dtype.newbyteorder("="))
    return native if native.dtype == dtype else native.view(dtype)


def require_tensorflow() -> Any:
    """TensorFlow, imported quietly.

    Raises:
        MissingExtra: it is not installed.
    """
    # read once, when TensorFlow is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with silence():
            import tensorflow
    except ImportError as error:
        raise MissingExtra("tensorflow", "tensorflow") from error
    return tensorflow


#: operations with a state of their own that stays inside the part: variables, random numbers, calls, loops and branches
_HARMLESS = {
    "VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp", "ResourceGather", "ResourceGatherNd",
    "Placeholder", "PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf",
    "Case", "StatelessCase", "NoOp", "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal",
    "Assert", "MutexV2",
}  # fmt: skip
#: operations that TensorFlow does not count as stateful although they reach beyond their inputs
_REACHING = {"ReadFile", "WriteFile", "MatchingFiles", "PyFuncStateless", "RestoreV2", "Restore", "RestoreSlice"}


def _require_harmless(path: Path) -> None:
    """Refuse a folder whose graph does anything but compute: a SavedModel can hold operations that touch files.

    Saving and restoring are in every SavedModel, but loading reads the variables without them; they must only not be
    reached from the function that is run.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
        [graph] = model.meta_graphs
    except Exception as error:  # protobuf's own among them
        raise _damaged(path, error) from error
    _require_plain_objects(path, graph)
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    wanted = list(graph.object_graph_def.concrete_functions)
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in functions[name].node_def:
            _require_harmless_operation(path, node.op, functions)
            wanted += _called(node)


def _require_plain_objects(path: Path, graph: Any) -> None:
    """Variables and functions only: tables and assets run functions of theirs while they are loaded."""
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in ("user_object", "variable", "function", "bare_concrete_function", None) or node.registered_name:
            raise FileError(
                f"{path} holds a {node.registered_name or kind}, which runs on being read: edgepart opens only folders "
                "with variables and functions, as it writes them"
            )
        if node.saveable_objects:
            raise FileError(f"{path} restores its variables with functions of its own: edgepart does not run them")


def _require_harmless_operation(path: Path, operation: str, functions: Any) -> None:
    from tensorflow.python.framework import op_def_registry

    if operation in functions or operation in _HARMLESS:
        return
    definition = op_def_registry.get(operation)
    if definition is None or definition.is_stateful or operation in _REACHING:
        raise FileError(
            f"{path} holds the operation '{operation}', which can reach beyond the part's inputs and variables: "
            "edgepart does not run it"
        )


def _called(node: Any) -> Iterator[str]:
    yield node.op
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (function.name for function in attribute.list.func)


def _damaged(path: Path, error: Exception) -> FileError:
    return FileError(f"{path} is not a complete SavedModel ({type(error).__name__}): write it again")
