"""A small ONNX network on disk, and a kit of it that runs where edgepart and all frameworks are hidden."""

import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: hides what a kit must not need, then runs it; {hidden} are names of packages
HIDING = """
import runpy, sys
hidden = {hidden!r}
sys.modules.update(dict.fromkeys(hidden))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
FRAMEWORKS = ("edgepart", "torch", "tensorflow", "keras", "onnx", "pydantic", "scipy")


def save(path, width=16):
    """x (batch, 3, 8, 8) → two convolutions with a skip over the second → logits (batch, 5)."""
    draw = np.random.default_rng(0)
    weights = {"a": (width, 3, 3, 3), "b": (width, width, 3, 3), "c": (width, 5)}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["stem"], "stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["stem"], ["first"], "relu"),
        helper.make_node("Conv", ["first", "b"], ["second"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["first", "second"], ["sum"], "add"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "c"], ["logits"], "classifier"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(draw.normal(size=size).astype(np.float32), name) for name, size in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def run(kit, *arguments, hidden=FRAMEWORKS):
    """Run a kit in a process of its own that cannot import the hidden packages."""
    command = [sys.executable, "-I", "-c", HIDING.format(hidden=hidden), str(kit / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
