"""The Graph: what every framework's network looks like to the rest of edgepart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from edgepart.errors import GraphError, UnknownName
from edgepart.files import Document, Record
from edgepart.graph.boundary import Boundary

if TYPE_CHECKING:
    import networkx


Layout = Literal["channels_first", "channels_last"]


class Tensor(Record):
    """A value that passes from one layer to another, or in or out of the network.

    ``shape`` holds integers and expressions over :attr:`Graph.symbols`, such as ``("batch", 12, "sequence", 64)``.
    ``bytes`` counts one sample (every symbol at its value in :attr:`Graph.symbols`, where batch is 1).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    bytes: int = Field(ge=0)
    #: the layer that makes it; None for an input of the network
    producer: str | None = None
    #: the layers that read it, in topological order
    consumers: tuple[str, ...] = ()
    #: whether some parameter lies upstream: a feature that an exit can classify, unlike a mask
    feature: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers, of whatever width."""
        return "float" in self.dtype


class Layer(Record):
    """Consecutive operations of one of the user's modules, indivisible when the network is cut."""

    name: str
    #: path of the user's module that the operations come from ("" for the network itself)
    module: str
    #: class of that module or, for a function called between modules, the name of the operation
    kind: str
    #: the framework's operations inside, in order
    ops: tuple[str, ...]
    #: names of the tensors read and made (only those that leave the layer)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: names of the parameters and buffers used
    parameters: tuple[str, ...] = ()
    #: multiply-accumulates for one sample
    macs: int = Field(default=0, ge=0)
    #: most bytes alive at once inside the layer for one sample, beyond its inputs (its outputs included)
    activation_bytes: int = Field(default=0, ge=0)
    #: operations with parameters whose multiply-accumulates could not be counted
    uncounted: tuple[str, ...] = ()


class Graph(Document):
    """Layers in topological order and the tensors between them.

    A *boundary* is a set of layers closed under predecessors. :meth:`boundaries` lists those of the topological
    order, :meth:`boundary` closes any other set.
    """

    kind: ClassVar[str] = "graph"
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: str
    framework: str
    #: where maps have their channels
    layout: Layout = "channels_first"
    #: value of every symbolic dimension in the example, with ``batch`` at 1
    symbols: dict[str, int]
    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    #: names of the tensors that enter and leave the network, in the order of its signature
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: bytes of every parameter and buffer
    parameters: dict[str, int]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.layers:
            raise ValueError("the graph has no layers")
        if not self.outputs:
            raise ValueError("the graph has no outputs")
        for what, names in (("layer", [x.name for x in self.layers]), ("tensor", [x.name for x in self.tensors])):
            if len(set(names)) != len(names):
                double = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"two {what}s are called '{double}'")
        known = {tensor.name for tensor in self.tensors}
        made = set(self.inputs)
        for layer in self.layers:
            for name in (*layer.inputs, *layer.outputs):
                if name not in known:
                    raise ValueError(f"layer '{layer.name}' names the tensor '{name}', which the graph does not list")
            for name in layer.inputs:
                if name not in made:
                    raise ValueError(f"layer '{layer.name}' reads '{name}' before it is made: cyclic or unordered")
            made.update(layer.outputs)
        for name in self.outputs:
            if name not in made:
                raise ValueError(f"the output '{name}' is never made")
        return self

    @cached_property
    def position(self) -> dict[str, int]:
        """Layer name → its place in the topological order."""
        return {layer.name: index for index, layer in enumerate(self.layers)}

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the structure; a profile or plan of another network has another one."""
        parts = [self.framework, repr(self.inputs), repr(self.outputs)]
        parts += [repr((x.name, x.ops, x.inputs, x.outputs, x.parameters)) for x in self.layers]
        parts += [repr((x.name, x.shape, x.dtype)) for x in self.tensors]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def layer(self, name: str) -> Layer:
        """Look a layer up.

        Raises:
            UnknownName: no such layer; lists the nearest names.
        """
        if name not in self.position:
            raise UnknownName("layer", name, self.position)
        return self.layers[self.position[name]]

    def tensor(self, name: str) -> Tensor:
        """Look a tensor up.

        Raises:
            UnknownName: no such tensor; lists the nearest names.
        """
        if name not in self._tensors:
            raise UnknownName("tensor", name, self._tensors)
        return self._tensors[name]

    def channels(self, name: str) -> int | str:
        """Size of a tensor's channel dimension: where the layout says so for maps, else the last one.

        Raises:
            UnknownName: no such tensor.
        """
        shape = self.tensor(name).shape
        return shape[1] if len(shape) == 4 and self.layout == "channels_first" else shape[-1]

    @cached_property
    def parents(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the positions of the layers it reads from, ascending."""
        producers = ({self.tensor(name).producer for name in layer.inputs} for layer in self.layers)
        return tuple(tuple(sorted(self.position[p] for p in made if p is not None)) for made in producers)

    def boundaries(self) -> list[Boundary]:
        """The boundaries of the topological order: after the first layer, the first two, … all but the last.

        One sweep over the live tensors, linear in layers and tensors plus the size of the answer.
        """
        order = [layer.name for layer in self.layers]
        last_use = {t.name: max((self.position[c] for c in t.consumers), default=-1) for t in self.tensors}
        live = {name: None for name in self.inputs if last_use[name] >= 0}
        found = []
        for index, layer in enumerate(self.layers[:-1]):
            live.update((name, None) for name in layer.outputs if last_use[name] > index)
            for name in layer.inputs:
                if last_use[name] == index:
                    live.pop(name, None)
            size = sum(self.tensor(name).bytes for name in live)
            found.append(Boundary(layers=frozenset(order[: index + 1]), tensors=tuple(live), bytes=size))
        return found

    def boundary(self, layers: Iterable[str]) -> Boundary:
        """The smallest boundary that holds the given layers: they and everything they depend on.

        Raises:
            UnknownName: a name is not a layer of this graph.
        """
        wanted = {self.position[self.layer(name).name] for name in layers}
        for index in range(len(self.layers) - 1, -1, -1):
            if index in wanted:
                wanted.update(self.parents[index])
        inside = frozenset(self.layers[index].name for index in wanted)
        crossing = self.crossing(inside)
        return Boundary(layers=inside, tensors=crossing, bytes=sum(self.tensor(name).bytes for name in crossing))

    def crossing(self, layers: frozenset[str]) -> tuple[str, ...]:
        """The tensors made in (or entering) a closed set of layers and read outside it, each named once."""

        def crosses(tensor: Tensor) -> bool:
            return (tensor.producer is None or tensor.producer in layers) and any(
                consumer not in layers for consumer in tensor.consumers
            )

        return tuple(tensor.name for tensor in self.tensors if crosses(tensor))

    def after(self, module: str) -> Boundary:
        """The smallest boundary that holds every layer of a user's module (or one layer of that name).

        Raises:
            UnknownName: neither a module nor a layer is called so.
        """
        return self.boundary(self.within(module))

    def within(self, module: str) -> tuple[str, ...]:
        """The layers of a user's module, or the one layer of that name, in topological order.

        Raises:
            UnknownName: neither a module nor a layer is called so; lists the nearest names.
        """
        inside = tuple(x.name for x in self.layers if x.module == module or x.module.startswith(f"{module}."))
        if not inside and module not in self.position:
            raise UnknownName("module or layer", module, {*self.modules, *self.position})
        return inside or (module,)

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Every path of the user's modules that holds a layer, containers included."""
        paths: dict[str, None] = {}
        for layer in self.layers:
            pieces = layer.module.split(".")
            paths.update((".".join(pieces[: end + 1]), None) for end in range(len(pieces)))
        paths.pop("", None)
        return tuple(paths)

    def to_networkx(self) -> networkx.DiGraph[str]:
        """The layers as a directed graph, for analyses and drawings of your own.

        Nodes carry ``macs``, ``module`` and ``kind``; an edge carries the ``tensors`` that pass and their ``bytes`` for
        one sample. Inputs and outputs of the network are no nodes.
        """
        import networkx

        found: networkx.DiGraph[str] = networkx.DiGraph(name=self.name)
        for layer in self.layers:
            found.add_node(layer.name, macs=layer.macs, module=layer.module, kind=layer.kind)
        for tensor in self.tensors:
            if tensor.producer is None:
                continue
            for consumer in tensor.consumers:
                passing = found.get_edge_data(tensor.producer, consumer, default={"tensors": (), "bytes": 0})
                names, size = (*passing["tensors"], tensor.name), passing["bytes"] + tensor.bytes
                found.add_edge(tensor.producer, consumer, tensors=names, bytes=size)
        return found

    def in_order(self, layers: Iterable[str]) -> tuple[str, ...]:
        """The given layers in topological order."""
        return tuple(sorted(layers, key=self.position.__getitem__))

    def parameter_bytes(self, layers: Iterable[str]) -> int:
        """Bytes of the parameters used by the layers; a parameter that several of them share counts once."""
        used = {name for layer in layers for name in self.layer(layer).parameters}
        return sum(self.parameters[name] for name in used)

    def chain(self, boundaries: Sequence[Boundary]) -> list[frozenset[str]]:
        """The layers of each part between nested boundaries, from the input to the output.

        Raises:
            GraphError: a boundary is of another graph, is not closed under predecessors, or does not hold the one
                before it.
        """
        everything = frozenset(self.position)
        parts, inside = [], frozenset[str]()
        for number, boundary in enumerate(boundaries, start=1):
            self._check_boundary(number, boundary, inside)
            parts.append(boundary.layers - inside)
            inside = boundary.layers
        return [*parts, everything - inside]

    def _check_boundary(self, number: int, boundary: Boundary, before: frozenset[str]) -> None:
        unknown = boundary.layers - self.position.keys()
        if unknown:
            raise UnknownName("layer", min(unknown), self.position)
        if not before <= boundary.layers:
            missing = self.in_order(before - boundary.layers)[0]
            raise GraphError(f"boundary {number} lacks layer '{missing}' of the one before it: boundaries must nest")
        for name in self.in_order(boundary.layers):
            outside = [self.layers[p].name for p in self.parents[self.position[name]]]
            outside = [p for p in outside if p not in boundary.layers]
            if outside:
                raise GraphError(
                    f"boundary {number} holds layer '{name}' but not '{outside[0]}', which it reads from: "
                    "make it with Graph.boundary(layers)"
                )
