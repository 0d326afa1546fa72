"""What one sample costs inside each layer, read off a run on fake tensors: nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from edgepart.errors import CaptureError
from edgepart.frameworks.torch.evaluate import evaluate_node
from edgepart.frameworks.torch.flatten import operation

#: operations on each element by itself and normalisations: published counts of multiply-accumulates leave them out
_BY_ELEMENT = frozenset({
    "_native_batch_norm_legit_no_training", "batch_norm", "div", "fused_rms_norm", "group_norm", "instance_norm",
    "layer_norm", "mul", "native_group_norm", "native_layer_norm", "prelu", "rms_norm",
})  # fmt: skip

#: operations that multiply nothing, whatever weights they read
_FREE = frozenset({
    "add", "cat", "clone", "contiguous", "detach", "embedding", "expand", "getitem", "gather", "index", "index_select",
    "lift_fresh_copy", "permute", "reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "sub", "t",
    "to", "transpose", "unsqueeze", "view",
})  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """One layer, one sample."""

    macs: int
    activation_bytes: int
    uncounted: tuple[str, ...]


def measure(
    bodies: Mapping[str, Sequence[fx.Node]],
    inputs: Mapping[fx.Node, tuple[int, ...]],
    state: Mapping[str, Any],
    trained: Container[str],
) -> list[Cost]:
    """Run the layers one after another on fake tensors of one sample.

    Multiply-accumulates are half the FLOPs that ``torch.utils.flop_counter`` counts; it knows matrix products,
    convolutions and attention, to which recurrent layers are added. Work on each element by itself and normalisations
    count nothing, as in published figures; other operations that multiply by a parameter are listed as uncounted.

    Raises:
        CaptureError: a layer runs two samples but not one.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    counter = FlopCounterMode(display=False, custom_mapping=_extra_formulas())
    values: dict[fx.Node, Any] = {}
    with mode, torch.no_grad():
        for node, shape in inputs.items():
            values[node] = torch.empty(shape, dtype=node.meta["val"].dtype)
        weights = {n: mode.from_tensor(v) if isinstance(v, torch.Tensor) else v for n, v in state.items()}
        with counter:
            return [_measure(name, body, values, weights, trained, counter) for name, body in bodies.items()]


def _measure(
    name: str,
    body: Sequence[fx.Node],
    values: dict[fx.Node, Any],
    weights: Mapping[str, Any],
    trained: Container[str],
    counter: FlopCounterMode,
) -> Cost:
    flops_before = counter.get_total_flops()
    uncounted: dict[str, None] = {}
    for node in body:
        for argument in node.all_input_nodes:
            if argument.op == "get_attr":
                values[argument] = weights[str(argument.target)]
        before = counter.get_total_flops()
        try:
            values[node] = evaluate_node(node, values)
        except (RuntimeError, ValueError, TypeError) as error:
            raise CaptureError(
                f"the layer '{name}' cannot run a batch of one sample ({str(error).strip().partition(chr(10))[0]}): "
                "it must treat every sample of a batch alike"
            ) from error
        weighted = any(argument.op == "get_attr" and argument.target in trained for argument in node.all_input_nodes)
        if weighted and counter.get_total_flops() == before and operation(node) not in _FREE | _BY_ELEMENT:
            uncounted[str(node.target)] = None
    macs = (counter.get_total_flops() - flops_before) // 2
    return Cost(macs, _peak_bytes(body, values), tuple(uncounted))


def _peak_bytes(body: Sequence[fx.Node], values: Mapping[fx.Node, Any]) -> int:
    """Most bytes of memory allocated in the layer that are alive at once; a view allocates nothing."""
    inside = set(body)
    size: dict[int, int] = {}
    last_use: dict[int, int] = {}
    given = [a for node in body for a in node.all_input_nodes if a not in inside]
    outside = {storage: count for a in given for storage, count in _storages(values[a]).items()}
    for step, node in enumerate(body):
        leaves = any(user not in inside for user in node.users)
        for storage, count in _storages(values[node]).items() - outside.items():
            size[storage] = count
            last_use[storage] = max(last_use.get(storage, step), len(body) if leaves else step)
        read = {storage for argument in node.all_input_nodes for storage in _storages(values[argument])}
        last_use.update((storage, max(last_use[storage], step)) for storage in read & size.keys())
    return _peak(body, values, size, last_use)


def _peak(
    body: Sequence[fx.Node], values: Mapping[fx.Node, Any], size: Mapping[int, int], last_use: Mapping[int, int]
) -> int:
    alive: set[int] = set()
    peak = 0
    for step, node in enumerate(body):
        alive.update(storage for storage in _storages(values[node]) if storage in size)
        peak = max(peak, sum(size[storage] for storage in alive))
        alive = {storage for storage in alive if last_use[storage] > step}
    return peak


def _storages(value: Any) -> dict[int, int]:
    """Identity → bytes of the memory behind a tensor or several."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        return {storage._cdata: storage.nbytes()}
    if isinstance(value, tuple | list):
        return {key: count for item in value for key, count in _storages(item).items()}
    return {}


def _extra_formulas() -> dict[Any, Any]:
    """FLOPs of the CPU kernels that torch's counter does not know, in its convention: shapes in, two per product."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
        return sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]

    def recurrent(inputs: Any, from_input: Any, from_hidden: Any, *_: Any, **__: Any) -> Any:
        return 2 * math.prod(inputs[:-1]) * (math.prod(from_input) + math.prod(from_hidden))

    return {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
        torch.ops.aten.mkldnn_rnn_layer: recurrent,
    }
