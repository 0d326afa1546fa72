"""Nodes that hold the batch a model is made for, given the batch that they read.

An exporter that was not told of a batch writes it into constants: the sizes of a Reshape, a class token that is
concatenated as it is, the first state of a recurrent layer. The nodes are run one after another at the batch that the
model is made for and at twice that, which shows where the batch is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgepart.errors import CaptureError
from edgepart.frameworks.onnx.example import Inputs
from edgepart.frameworks.onnx.layers import Names, names_of
from edgepart.frameworks.onnx.session import open_session, reason
from edgepart.frameworks.onnx.shapes import failed_node
from edgepart.frameworks.onnx.sides import Sides, inputs

#: how far results of models in half precision may lie apart, relative to the largest value
HALF_TOLERANCE = 1e-3
HINT = "export it again with a batch of any size (torch.onnx.export: dynamic_shapes or dynamic_axes)"
#: operations that a batch is given to where they hold it as a constant
_REPAIRED = ("Concat", "GRU", "Gather", "GatherND", "LSTM", "RNN", "Reshape", "Resize")


@dataclass(frozen=True)
class _Pair:
    """One value at the model's own batch and at twice that."""

    one: NDArray[Any]
    two: NDArray[Any]
    #: elements before the batch, in memory, where that is not at the start of its dimension
    before: int | None = None

    @property
    def axis(self) -> int | None:
        """The dimension that holds the batch."""
        pairs = list(zip(self.one.shape, self.two.shape, strict=True))
        axes = [axis for axis, (one, two) in enumerate(pairs) if one != two]
        return axes[0] if len(axes) == 1 and self.two.shape[axes[0]] == 2 * self.one.shape[axes[0]] else None

    @property
    def leading(self) -> tuple[int, ...]:
        """Sizes up to the batch."""
        return self.one.shape[: 0 if self.axis is None else self.axis + 1]

    @property
    def begins_alike(self) -> bool:
        """Whether the first half of the larger batch is the smaller one."""
        if self.axis is None or self.before is not None:
            return True
        return equal(np.take(self.two, range(self.one.shape[self.axis]), self.axis), [self.one], HALF_TOLERANCE)

    @property
    def outer(self) -> int:
        """Blocks in memory, each of which holds the whole batch."""
        return math.prod(self.one.shape[: self.axis]) if self.before is None else self.before


class Repair:
    """Runs the nodes one after another at two batch sizes, and repairs those that hold the batch as a constant."""

    def __init__(self, model: ir.Model, free: Inputs, batch: int) -> None:
        self._model, self._graph, self._free, self._batch = model, model.graph, free, batch
        self._names = Names(names_of(model.graph))
        self._sides = Sides.of(model.graph)
        one, two = free.at(batch), free.at(2 * batch)
        self._values = {v: _Pair(one[str(v.name)], two[str(v.name)]) for v in model.graph.inputs}
        self._place = {node: index for index, node in enumerate(model.graph)}
        #: :attr:`_Pair.before` of what a node is about to make
        self._marks: dict[ir.Value, int] = {}

    def run(self) -> None:
        """Repair what can be.

        Raises:
            CaptureError: a node runs at no other batch; names it.
        """
        nodes = [node for node in self._graph if self._sides.is_layer(node)]
        left: dict[ir.Value, int] = {}
        for node in nodes:
            for value in inputs(node):
                left[value] = left.get(value, 0) + 1
        run: list[ir.Node] = []
        for node in nodes:
            if node.op_type in _REPAIRED:
                self._evaluate(run, left)
                run = []
                added = self._repaired(node)
                for value in (value for each in added for value in inputs(each)):
                    left[value] = left.get(value, 0) + 1
                left |= {value: len(value.uses()) for each in added for value in each.outputs}
                self._evaluate([*added, node], left)
            else:
                run.append(node)
        self._evaluate(run, left)
        RemoveUnusedNodesPass()(self._model)

    def _repaired(self, node: ir.Node) -> list[ir.Node]:
        """What was put before a node for it to follow the batch."""
        match node.op_type:
            case "Reshape":
                self._free_reshape(node)
            case "Concat":
                return self._free_constants(node, range(len(node.inputs)), None)
            case "Gather" | "GatherND":
                return self._free_indices(node)
            case "LSTM" | "GRU" | "RNN":
                return self._free_constants(node, (5, 6), 1)
            case "Resize":
                return self._free_sizes(node)
        return []

    def _evaluate(self, nodes: Sequence[ir.Node], left: dict[ir.Value, int]) -> None:
        """Run some nodes at both batches and keep what later ones read, ``left`` times yet."""
        inside = set(nodes)
        made = [
            value
            for node in nodes
            for value in node.outputs
            if value.is_graph_output() or not inside.issuperset(value.consumers())
        ]
        read = dict.fromkeys(v for node in nodes for v in inputs(node) if v in self._values)
        if made:
            results = self._results(nodes, list(read), made)
            marks = [self._values[v] for v in read if self._values[v].before is not None]
            for value, one, two in zip(made, *results, strict=True):
                pair = _Pair(one, two)
                kept = [mark for mark in marks if mark.axis == pair.axis and mark.leading == pair.leading]
                inherited = kept[0].before if kept and nodes[-1].op_type != "Reshape" else None
                self._values[value] = _Pair(one, two, self._marks.pop(value, inherited))
                value.type = ir.TensorType(ir.DataType.from_numpy(one.dtype))  # of what later nodes read
                if not self._values[value].begins_alike:
                    maker = value.producer()
                    assert maker is not None
                    raise self._fixed(maker, "makes something else of the same samples in a larger one")
        for value in (v for node in nodes for v in inputs(node)):
            left[value] = left.get(value, 1) - 1
            if not left[value]:
                self._values.pop(value, None)

    def _results(
        self, nodes: Sequence[ir.Node], read: Sequence[ir.Value], made: Sequence[ir.Value]
    ) -> list[list[NDArray[Any]]]:
        closures = [self._sides.closure(each) for each in nodes]
        constants = {each: None for found, _ in closures for each in found}
        weights = {each: None for _, found in closures for each in found}
        view = ir.GraphView(
            read,
            made,
            nodes=[*sorted(constants, key=self._place.__getitem__), *nodes],
            initializers=tuple(weights),
            opset_imports=self._graph.opset_imports,
            name="nodes",
        )
        model = ir.Model(view.clone(), ir_version=self._model.ir_version)
        pairs = {str(value.name): self._values[value] for value in read}
        given = [{name: pair.one for name, pair in pairs.items()}, {name: pair.two for name, pair in pairs.items()}]
        try:
            session = open_session(model, fuse=False, prepack=False)
            return [session.run(None, arrays) for arrays in given]
        except Exception as error:  # ONNX Runtime has a dozen classes for it, with no common base
            named = failed_node(error)
            node = next((each for each in nodes if each.name == named), nodes[-1])
            raise self._fixed(node, f"runs with no other ({reason(error)[:200]})") from error

    def _fixed(self, node: ir.Node, why: str) -> CaptureError:
        return CaptureError(
            f"the network is made for a batch of {self._batch}, and its node '{node.name}' ({node.op_type}) {why}: "
            f"{HINT}"
        )

    def _free_reshape(self, node: ir.Node) -> None:
        """Let the dimension that holds the batch follow, where the sizes are constants."""
        source, sizes = node.inputs[0], node.inputs[1]
        if source is None or sizes is None or sizes not in self._sides.constant or source not in self._values:
            return
        pair = self._values[source]
        if pair.axis is None:
            return
        wanted = [int(size) for size in self._constant(sizes)]
        target = _resolved(wanted, pair.one.shape, node.attributes.get_int("allowzero", 0) == 1)
        place = _batch_place(target, pair.outer, self._batch)
        if place is None:
            return
        axis, before = place
        if before:
            self._marks[node.outputs[0]] = pair.outer
        freed = [-1 if index == axis else size for index, size in enumerate(target)]
        if "sequence" in self._free.symbols and -1 in wanted and wanted[axis] != -1:
            return  # two sizes to be found, for which a Reshape has one place
        if freed != wanted:
            node.replace_input_with(1, self._weight(node, "sizes", np.array(freed, np.int64)))

    def _free_constants(self, node: ir.Node, places: Iterable[int], axis: int | None) -> list[ir.Node]:
        """Repeat constants for every sample, along the dimension that holds the batch of the other inputs.

        Args:
            axis: that dimension; None: the same as in the other inputs
        """
        batched = [(v, self._values[v]) for v in node.inputs if v is not None and v in self._values]
        batched = [(value, pair) for value, pair in batched if pair.axis is not None]
        if not batched or self._batch != 1:
            return []
        value, pair = batched[0]
        assert pair.axis is not None
        axis = pair.axis if axis is None else axis
        added: list[ir.Node] = []
        for place in places:
            constant = node.inputs[place] if place < len(node.inputs) else None
            if constant is None or constant in (each for each, _ in batched):
                continue
            rank, size = self._shape(constant)
            if axis >= rank or size[axis] != 1:
                continue
            if node.op_type == "Concat" and node.attributes.get_int("axis") % rank == axis:
                return []
            size_nodes = self._batch_of(node, value, pair.axis, [1] * axis, [1] * (rank - axis - 1))
            expanded = self._node(node, "Expand", [constant, size_nodes[-1].outputs[0]])
            node.replace_input_with(place, expanded.outputs[0])
            added += [*size_nodes, expanded]
        return added

    def _free_indices(self, node: ir.Node) -> list[ir.Node]:
        """Let every sample pick its own rows, where the samples lie end to end and the indices are those of the first.

        So are the masks of transformers picked.
        """
        source, index = node.inputs[0], node.inputs[1]
        pair = None if source is None else self._values.get(source)
        whole = node.attributes.get_int("axis", 0) == 0 and node.attributes.get_int("batch_dims", 0) == 0
        if pair is None or index is None or source is None or pair.axis != 0 or not whole or self._batch != 1:
            return []
        known = self._values[index].one if index in self._values else self._constant(index)
        rank, size = known.ndim, known.shape
        varies = index in self._values and self._values[index].axis is not None
        if varies or rank < 2 or size[0] != 1 or known.dtype != np.int64 or "sequence" in self._free.symbols:
            return []
        rows, column = pair.one.shape[0], np.array([-1, *[1] * (rank - 1)])
        first = np.eye(1, size[-1], dtype=np.int64)[0] if node.op_type == "GatherND" else np.int64(1)
        count = self._batch_of(node, source, 0, [], [])
        end = self._node(node, "Squeeze", [count[-1].outputs[0]])
        limits = [self._weight(node, what, np.array(at, np.int64)) for what, at in (("start", 0), ("rows", rows))]
        starts = self._node(node, "Range", [limits[0], end.outputs[0], limits[1]])
        placed = self._node(node, "Reshape", [starts.outputs[0], self._weight(node, "column", column)])
        offset = self._node(node, "Mul", [placed.outputs[0], self._weight(node, "first", np.asarray(first))])
        own = self._node(node, "Add", [index, offset.outputs[0]])
        for user, place in list(index.uses()):
            if user is node or (user.op_type == "Shape" and self._place.get(user, -1) > self._place[node]):
                user.replace_input_with(place, own.outputs[0])
        return [*count, end, starts, placed, offset, own]

    def _free_sizes(self, node: ir.Node) -> list[ir.Node]:
        """Let the sizes that a Resize makes begin with the batch it reads."""
        source, sizes = node.inputs[0], node.inputs[3] if len(node.inputs) > 3 else None
        if sizes is None or source is None or sizes not in self._sides.constant or source not in self._values:
            return []
        wanted, axis = [int(size) for size in self._constant(sizes)], self._values[source].axis
        if axis is None or "axes" in node.attributes:
            return []
        added = self._batch_of(node, source, axis, wanted[:axis], wanted[axis + 1 :])
        node.replace_input_with(3, added[-1].outputs[0])
        return added

    def _batch_of(
        self, node: ir.Node, value: ir.Value, axis: int, before: Sequence[int], after: Sequence[int]
    ) -> list[ir.Node]:
        """Nodes that make sizes: some, the batch of a value, and some more."""
        shape = self._node(node, "Shape", [value])
        index = self._weight(node, "axis", np.array([axis], np.int64))
        batch = self._node(node, "Gather", [shape.outputs[0], index], axis=0)
        sizes = [
            self._weight(node, "before", np.array(before, np.int64)) if before else None,
            batch.outputs[0],
            self._weight(node, "after", np.array(after, np.int64)) if after else None,
        ]
        joined = self._node(node, "Concat", [size for size in sizes if size is not None], axis=0)
        return [shape, batch, joined]

    def _node(self, before: ir.Node, operation: str, read: Sequence[ir.Value], **attributes: int) -> ir.Node:
        """A new node in front of another one, and in its module."""
        name = self._fresh(f"{before.name or before.op_type}/{operation}")
        node = ir.node(operation, read, attributes, name=name, metadata_props=dict(before.metadata_props))
        node.outputs[0].name = name
        self._graph.insert_before(before, node)
        return node

    def _weight(self, node: ir.Node, what: str, array: NDArray[Any]) -> ir.Value:
        name = self._fresh(f"{node.name or node.op_type}/{what}")
        array.flags.writeable = False
        tensor = ir.Tensor(array, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
        self._graph.register_initializer(value)
        self._sides.constant.add(value)
        return value

    def _fresh(self, stem: str) -> str:
        return self._names.take(f"{stem}/batch")

    def _shape(self, value: ir.Value) -> tuple[int, tuple[int, ...]]:
        """Rank and shape at the model's own batch."""
        shape = self._values[value].one.shape if value in self._values else self._constant(value).shape
        return len(shape), shape

    def _constant(self, value: ir.Value) -> NDArray[Any]:
        """What a value on the side of the weights is."""
        if value.const_value is not None:
            return value.const_value.numpy()
        maker = value.producer()
        assert maker is not None
        nodes, weights = self._sides.closure(maker)
        nodes = sorted({*nodes, maker}, key=self._place.__getitem__)
        view = ir.GraphView(
            (), [value], nodes=nodes, initializers=weights, opset_imports=self._graph.opset_imports, name="constant"
        )
        model = ir.Model(view.clone(), ir_version=self._model.ir_version)
        made: NDArray[Any] = open_session(model, fuse=False, prepack=False).run(None, {})[0]
        return made


def _resolved(sizes: Sequence[int], source: Sequence[int], keep_zeros: bool) -> list[int]:
    """The sizes that a Reshape makes, where -1 stands for the rest and 0 for the size that was."""
    found = [source[i] if size == 0 and not keep_zeros else size for i, size in enumerate(sizes)]
    if -1 in found:
        rest = math.prod(size for size in found if size != -1)
        found[found.index(-1)] = math.prod(source) // max(1, rest)
    return found


def _batch_place(target: Sequence[int], outer: int, batch: int) -> tuple[int, bool] | None:
    """Which dimension of a Reshape's result holds the batch, and whether elements of it come before the batch.

    ``outer`` blocks of memory each hold the whole batch: the batch begins where sizes multiply to that. A result of
    two dimensions is a matrix that weights are multiplied with: its rows hold the batch.
    """
    starts = [axis for axis in range(len(target)) if math.prod(target[:axis]) == outer and target[axis] % batch == 0]
    if not starts:
        return None
    single = next((axis for axis in starts if target[axis] == batch), starts[0])
    if single and len(target) == 2 and target[single] != batch:
        return single - 1, True
    return single, False


def equal(made: NDArray[Any], parts: Sequence[NDArray[Any]], tolerance: float) -> bool:
    """Whether a tensor holds those of smaller batches, one after another."""
    axes = [axis for axis, size in enumerate(parts[0].shape) if made.ndim > axis and made.shape[axis] != size]
    whole = np.concatenate(parts, axis=axes[0]) if axes else parts[0]
    if made.shape != whole.shape or (not axes and any(not np.array_equal(part, whole) for part in parts)):
        return False
    if whole.dtype.kind not in "fc":
        return bool(np.array_equal(made, whole))
    scale = np.abs(whole[np.isfinite(whole)]).max(initial=0)
    return bool(np.allclose(made, whole, rtol=0, atol=tolerance * scale, equal_nan=True))
