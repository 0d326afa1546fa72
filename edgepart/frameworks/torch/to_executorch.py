"""Parts as ExecuTorch programs, whose operations run in XNNPACK where it has them."""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram

from edgepart.errors import ExportError, GraphError, MissingExtra
from edgepart.files import atomic_file, require_parent
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.messages import first_line
from edgepart.frameworks.rows import require_rows, split
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.arrays import from_numpy
from edgepart.frameworks.torch.to_half import to_half
from edgepart.frameworks.torch.trace import Hint, described, dynamic_shapes, export, lacking, operation_name, trace
from edgepart.graph.sizes import evaluate_size
from edgepart.silence import silence

if TYPE_CHECKING:
    from edgepart.frameworks.runtimes import Precision

#: largest value of symbols other than the batch (a sequence's length), unless the network's example has a larger one:
#: an ExecuTorch program sets aside its memory for the largest
LARGEST_SIZE = 512

#: matrix products, by the names of their operations
_PRODUCTS = frozenset({"addmm", "baddbmm", "bmm", "linear", "matmul", "mm", "scaled_dot_product_attention"})


def write_executorch(
    module: nn.Module, signature: Signature, path: Path, *, precision: Precision, samples: Sequence[Arrays]
) -> None:
    """Write a module as an ExecuTorch program for one sample (``.pte``).

    Sequences may have any length up to :data:`LARGEST_SIZE`, or to the network's own limit. Inputs and outputs keep
    their types whatever the precision. int8 is static where convolutions prevail: activations are quantised per tensor
    at ranges seen before, weights per channel, where XNNPACK computes in integers (convolutions, linear layers,
    additions …). Elsewhere it is dynamic: only linear layers, whose activations get a range for every row as it runs.
    Transformers need that: their residual sums have single features many times larger than the others (Dettmers et al.,
    2022, LLM.int8()). MiniLM on 200 phrases of SST-2 kept 92 % of its answers statically, all of them dynamically.

    Args:
        module: called with one tensor for each input in order, returns a tuple with one for each output
        samples: batches of its inputs, which int8 takes the ranges of the activations of a convolutional part from

    Raises:
        ExportError: ExecuTorch lacks an operation, names it and its layer; no samples for int8 with convolutions.
        MissingExtra: executorch is not installed.
        FileError: the folder is missing or the disk is full.
    """
    require_executorch()
    require_parent(path)
    require_rows(signature)
    sizes = {**signature.symbols, "batch": 1}
    hint = _bounded(sizes)
    exported = trace(module, signature, sizes, hint)
    shapes = dynamic_shapes(signature, hint)
    if precision == "float16":
        exported = export(to_half(exported), signature, sizes, shapes)
    elif precision == "int8":
        exported = export(_quantised(exported, signature, samples), signature, sizes, shapes)
    content = _lower(exported, signature)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def require_executorch() -> None:
    """Raise MissingExtra where executorch is not installed."""
    with _imported():
        import executorch.exir
        import executorch.runtime  # noqa: F401


@contextmanager
def _imported() -> Iterator[None]:
    """Import what talks while it is imported, and sets up the logging of the whole process.

    Raises:
        MissingExtra: a package is not installed: executorch itself, or one that it brings, such as torchao.
    """
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        with silence():
            yield
    except ImportError as error:
        missing = (error.name or "executorch").partition(".")[0]
        raise MissingExtra(missing, "executorch") from error
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


def _bounded(sizes: Mapping[str, int]) -> Hint:
    largest = {name: max(LARGEST_SIZE, value) for name, value in sizes.items()} | {"batch": 1}

    def hint(size: int | str) -> Any:
        bound = evaluate_size(size, largest)
        return Dim.AUTO(max=bound) if bound != evaluate_size(size, sizes) or _varies(size) else None

    def _varies(size: int | str) -> bool:
        return isinstance(size, str) and evaluate_size(size, largest) != evaluate_size(size, dict.fromkeys(sizes, 1))

    return hint


def _quantised(exported: ExportedProgram, signature: Signature, samples: Sequence[Arrays]) -> nn.Module:
    """A module with the rounding of int8 in it; where convolutions prevail, at ranges seen on samples.

    Raises:
        ExportError: convolutions prevail and there are no samples, or they do not fit.
    """
    static = _convolutions_prevail(exported)
    if static and not samples:
        raise ExportError(
            "int8 of a part with convolutions takes the ranges of activations from samples, and none are given: give "
            "the data that the network will see, or another precision"
        )
    with _imported():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    class Quantizer(XNNPACKQuantizer):  # type: ignore[misc]
        def transform_for_annotation(self, model: fx.GraphModule) -> fx.GraphModule:
            return _with_whole_numbers(super().transform_for_annotation(model))

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=not static)
    quantizer = Quantizer()
    if static:
        quantizer.set_global(config)
    else:
        quantizer.set_operator_type(torch.ops.aten.linear.default, config)
        samples = samples[:1] or [signature.example(1)]  # only weights are looked at
    quantizer.set_filter_function(_is_quantisable)
    try:
        with silence(), torch.no_grad():
            prepared = prepare_pt2e(exported.module(check_guards=False), quantizer)
            for batch in samples:
                for sample in split(signature, signature.checked(batch)):
                    prepared(*_tensors(signature, sample))
            made: nn.Module = convert_pt2e(prepared)
            return made
    except GraphError as error:
        raise ExportError(f"the samples for int8 do not fit the part: {error}") from error
    except Exception as error:
        raise ExportError(
            f"ExecuTorch cannot quantise the part: {first_line(error)}; take another precision"
        ) from error


def _convolutions_prevail(exported: ExportedProgram) -> bool:
    """Whether at least half of the layers are convolutions; a vision transformer has one, for its patches."""
    named = [operation_name(node) for node in exported.graph.nodes if node.op == "call_function"]
    convolutions = sum(name.startswith("conv") for name in named)
    return convolutions > 0 and convolutions >= sum(name in _PRODUCTS for name in named)


def _with_whole_numbers(model: fx.GraphModule) -> fx.GraphModule:
    """Constants of integer arithmetic as integers again: the quantizer makes float32 of every number in an addition."""
    for node in model.graph.nodes:
        if node.op != "get_attr" or not str(node.target).startswith("_tensor_constant_"):
            continue
        for user in node.users:
            dtype = user.meta["val"].dtype
            if not dtype.is_floating_point:
                setattr(model, node.target, getattr(model, node.target).to(dtype))
                node.meta["val"] = node.meta["val"].to(dtype)
    return model


def _is_quantisable(node: fx.Node) -> bool:
    """Whether XNNPACK may compute it in integers: float32 only, and weights that are not computed."""
    values = [each.meta.get("val") for each in (node, *node.all_input_nodes)]
    if any(isinstance(value, torch.Tensor) and value.dtype is not torch.float32 for value in values):
        return False
    weighted = node.target in (torch.ops.aten.linear.default, torch.ops.aten.conv2d.default)
    return not weighted or (isinstance(node.args[1], fx.Node) and node.args[1].op == "get_attr")


def _tensors(signature: Signature, sample: Sequence[Any]) -> list[torch.Tensor]:
    return [from_numpy(array, spec.dtype) for array, spec in zip(sample, signature.inputs, strict=True)]


def _lower(exported: ExportedProgram, signature: Signature) -> bytes:
    with _imported():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    try:
        with silence(), torch.no_grad():
            edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    except Exception as error:
        raise _refused(exported, error) from error
    _require_kernels(edge.exported_program())
    try:
        with silence():
            content = bytes(edge.to_executorch().buffer)
    except Exception as error:
        raise _refused(edge.exported_program(), error) from error
    _require_runs(content, edge.exported_program(), signature)
    return content


def _require_runs(content: bytes, program: ExportedProgram, signature: Signature) -> None:
    """Raise ExportError where a kernel refuses its arguments, which only running it shows (convolutions of volumes)."""
    from executorch.runtime import Runtime

    given = _tensors(signature, list(signature.example(1).values()))
    said = io.StringIO()
    with tempfile.TemporaryFile() as complaints, silence(), _stderr_to(complaints.fileno()), redirect_stderr(said):
        try:
            Runtime.get().load_program(content).load_method("forward").execute(given)
        except RuntimeError as error:
            complaints.seek(0)
            # What is wrong is only said on stderr: by C++ itself, or through Python's where that is another stream.
            heard = complaints.read().decode(errors="replace") + said.getvalue()
            found = re.search(r"in operator (\S+?)(?:\.\w+)?: ", heard)
            named = (lacking(found[1], [program]) or f"the operation '{found[1]}'") if found else "the part"
            raise ExportError(f"ExecuTorch writes {named} but cannot run it: {_ADVICE}") from error


@contextmanager
def _stderr_to(descriptor: int) -> Iterator[None]:
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _require_kernels(program: ExportedProgram) -> None:
    """Raise ExportError where the runtime has no kernel for an operation; a file with one could not be opened."""
    from executorch.runtime import Runtime

    with silence():
        known = {name.partition(".")[0] for name in Runtime.get().operator_registry.operator_names}
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and schema is not None and schema.name.partition(".")[0] not in known:
            raise ExportError(f"ExecuTorch has no kernel for {described(node)}: {_ADVICE}")


def _refused(program: ExportedProgram, error: Exception) -> ExportError:
    with silence():
        found = lacking(str(error), (program, program.run_decompositions()))
    if found:
        return ExportError(f"ExecuTorch lacks {found}: {_ADVICE}")
    return ExportError(f"ExecuTorch cannot hold the part: {type(error).__name__}: {first_line(error)}")


_ADVICE = "cut the network such that it is in a part that runs in torch"
