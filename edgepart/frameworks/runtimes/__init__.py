"""Runtimes: what parts run on where they are deployed, one file each. Importing this package imports none of them.

A framework's Part exports itself to a *form* (``pt2``, ``onnx``, ``tflite`` …); a Runtime writes that form to disk in a
precision, and reads it back as an Artefact that takes and gives NumPy arrays by tensor name.
"""

from __future__ import annotations

from importlib.util import find_spec

from edgepart import plugins
from edgepart.errors import ExportError, MissingExtra
from edgepart.frameworks.base import Framework
from edgepart.frameworks.runtimes.base import PRECISIONS, Artefact, Precision, Runtime

__all__ = ["PRECISIONS", "Artefact", "Precision", "Runtime", "require_runtime", "runtime"]

#: (framework, form) → the package that writes it and its extra, where neither framework nor runtime needs it otherwise
_WRITERS = {("torch", "onnx"): ("onnxscript", "onnx"), ("keras", "onnx"): ("tf2onnx", "onnx")}


def runtime(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        UnknownName: no such runtime; lists the nearest names.
    """
    found: Runtime = plugins.load("runtime", name)()
    return found


def require_runtime(framework: Framework, name: str, precision: Precision = "float32") -> Runtime:
    """The runtime of that name, if parts of the framework can be written for it in a precision.

    Raises:
        UnknownName: no such runtime; lists the nearest names.
        ExportError: it does not take parts of this framework, or has no such precision; names those that do.
        MissingExtra: a package that writes parts for it is not installed.
    """
    found = runtime(name)
    if found.form not in framework.forms:
        able = [each for each in plugins.names("runtime") if runtime(each).form in framework.forms]
        raise ExportError(
            f"the runtime '{name}' does not run parts of networks of {framework.name}: choose {' or '.join(able)}"
        )
    if precision not in found.precisions:
        raise ExportError(
            f"the runtime '{name}' has no precision {precision}: choose {' or '.join(found.precisions)}, or another "
            "runtime"
        )
    package, extra = _WRITERS.get((framework.name, found.form), (None, ""))
    if package is not None and find_spec(package) is None:
        raise MissingExtra(package, extra)
    return found
