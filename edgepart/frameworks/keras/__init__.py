"""Keras 3 on TensorFlow. Importing this package imports neither; only using it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepart.errors import CaptureError, MissingExtra
from edgepart.frameworks.signature import array_dtype
from edgepart.graph import Graph
from edgepart.graph.graph import Layout
from edgepart.graph.sizes import evaluate_size
from edgepart.silence import silence

if TYPE_CHECKING:
    from edgepart.frameworks.builder import HeadSize
    from edgepart.frameworks.keras.building import KerasBuilder
    from edgepart.frameworks.keras.program import Program


class KerasFramework:
    """Captures the graph of Keras operations, runs parts as compiled functions of TensorFlow."""

    name = "keras"
    runtime = "tensorflow"
    forms: tuple[str, ...] = ("savedmodel", "onnx", "tflite")
    templates = "keras"
    layout: Layout = "channels_last"
    suffixes: tuple[str, ...] = (".keras", ".h5")

    def accepts(self, model: object) -> bool:
        """Whether the model is a keras.Model; a model of a framework that is not imported cannot exist."""
        keras = sys.modules.get("keras")
        return keras is not None and isinstance(model, keras.Model)

    def load(self, path: Path) -> tuple[object, object]:
        """A network from a ``.keras`` or ``.h5`` file, and random inputs for it; nothing in the file is executed.

        Raises:
            ModelError: not such a file, damaged, or holding layers or code that only the user's program has.
            FileError: it cannot be read.
        """
        require_keras()
        from edgepart.frameworks.keras.load import load

        return load(Path(path))

    def program(self, model: object, example: object) -> Program:
        """Capture a network.

        Args:
            model: a keras.Model; it is captured as it computes in inference, and not changed
            example: an array, a tuple of them (positional) or a dict (by the names of the inputs); first dimension:
                batch

        Raises:
            CaptureError: its operations cannot be followed; names the layer and what to try.
        """
        require_keras()
        from edgepart.frameworks.keras.capture import capture

        return capture(_model(model), example)

    def builder(self, model: object, example: object) -> KerasBuilder:
        """Copy and capture a network, to add heads to it, train them and write its parts.

        Raises:
            CaptureError: as :meth:`program`.
        """
        require_keras()
        from edgepart.frameworks.keras.building import KerasBuilder

        return KerasBuilder(_model(model), example)

    def recapture(self, model: object, graph: Graph) -> Program:
        """Capture a network with an example of zeros, of the sizes that a graph lists.

        Raises:
            CaptureError: as :meth:`program`, or it does not take those inputs.
        """
        import numpy as np

        sizes = graph.symbols | {"batch": 2}
        specs = [graph.tensor(name) for name in graph.inputs]
        example = {s.name: np.zeros([evaluate_size(n, sizes) for n in s.shape], array_dtype(s.dtype)) for s in specs}
        return self.program(model, example)

    def open_program(self, folder: Path) -> Program:
        """Read back what :meth:`Program.save` wrote; needs none of the user's code.

        Raises:
            FileError: a file is missing or damaged.
        """
        require_keras()
        from edgepart.frameworks.keras.program import Program

        return Program.open(Path(folder))

    def try_head(self, source: str, shape: Sequence[int], classes: int, name: str) -> HeadSize:
        """Compile the rendered head of an exit and hold it to the contract of templates.

        Raises:
            TemplateError: it does not compile or run, or breaks the contract; says which in one sentence.
        """
        require_keras()
        from edgepart.frameworks.keras.heads import try_head

        return try_head(source, shape, classes, name)

    def version(self) -> str:
        """Versions of TensorFlow and of Keras."""
        require_keras()
        import keras
        import tensorflow as tf

        return f"{tf.__version__} (keras {keras.__version__})"

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use in this process; one operation runs at a time.

        Raises:
            ModelError: TensorFlow has computed something in this process, and cannot change any more.
        """
        require_keras()
        from edgepart.frameworks.keras.threads import set_threads

        set_threads(count)

    def reference(self) -> Mapping[str, tuple[int, Callable[[], object]]]:
        """The reference networks of :attr:`Device.macs_per_s`: name → multiply-accumulates, one inference."""
        require_keras()
        from edgepart.frameworks.keras.reference import references

        return references()


def _model(model: object) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise CaptureError(f"the model is a {type(model).__name__}, expected a keras.Model")
    return model


def require_keras() -> None:
    """Import Keras and TensorFlow quietly.

    Raises:
        MissingExtra: one of them is not installed.
        CaptureError: Keras runs on another backend in this process.
    """
    # TensorFlow reads these once, when it is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if sys.modules.get("keras") is None and os.environ["KERAS_BACKEND"] != "tensorflow":
        raise _other_backend(os.environ["KERAS_BACKEND"])  # whose package may be missing
    for package in ("tensorflow", "keras"):
        if sys.modules.get(package) is not None:
            continue
        try:
            with silence():
                __import__(package)
        except ImportError as error:
            raise MissingExtra(package, "tensorflow") from error
    import keras

    if keras.backend.backend() != "tensorflow":
        raise _other_backend(keras.backend.backend())


def _other_backend(name: str) -> CaptureError:
    return CaptureError(
        f"Keras runs on the backend '{name}' here, edgepart captures it on TensorFlow only: set the environment "
        "variable KERAS_BACKEND=tensorflow (or the backend in ~/.keras/keras.json)"
    )
