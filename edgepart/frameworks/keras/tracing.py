"""One call of a Keras operation as a graph of TensorFlow operations that is a pure function of tensors and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from edgepart.errors import CaptureError
from edgepart.frameworks.keras.explain import reason
from edgepart.silence import quiet

#: operations that call Python, which no other process could
_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})


@dataclass(eq=False)
class Value:
    """A tensor between calls: data, or the mask that Keras attaches to data."""

    dtype: str
    #: None where a size varies
    shape: tuple[int | None, ...]
    mask: Value | None = None
    is_mask: bool = False


@dataclass
class Body:
    """What a call computes. ``inputs`` and ``weights`` are names of placeholders in ``definition``.

    ``weights`` are by the key of what is read: the id of a Keras variable or of a constant.
    """

    definition: Any
    inputs: dict[Value, str]
    weights: dict[int, str]
    outputs: list[str]
    ops: tuple[str, ...]


@dataclass
class Call:
    """One call of one operation; the values in its arguments stand for tensors."""

    operation: Any
    args: Any
    kwargs: Any
    path: tuple[str, ...]
    reads: list[Value] = field(default_factory=list)
    makes: list[Value] = field(default_factory=list)
    body: Body | None = None
    #: what the body reads: Keras variables, and tensors that are constants in the user's code
    variables: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    #: masks that calls before this one have put on values, or taken off (None), instead of their own
    masks: Mapping[Value, Value | None] = field(default_factory=dict)
    #: values whose mask this one takes off
    unmasks: frozenset[Value] = frozenset()

    @property
    def title(self) -> str:
        return ".".join(self.path)

    def values(self) -> list[Value]:
        """The data that its arguments hold, each once."""
        leaves = keras.tree.flatten((self.args, self.kwargs))
        return list(dict.fromkeys(leaf for leaf in leaves if isinstance(leaf, Value)))

    def live(self, tensors: Callable[[Value], Any], training: bool) -> list[Any]:
        """Call the operation itself; returns what it gives, flat, with masks attached."""
        given = {}
        for value in self.values():
            given[value] = tensors(value)
            if given[value] is not None:  # an argument that nothing was computed from
                mask = self.masks.get(value, value.mask)
                set_mask(given[value], tensors(mask) if mask is not None else None)
        args, kwargs = keras.tree.map_structure(
            lambda leaf: given[leaf] if isinstance(leaf, Value) else leaf, (self.args, self.kwargs)
        )
        if "training" in (getattr(self.operation, "_call_context_args", None) or ()):
            kwargs = kwargs | {"training": training}
        return list(keras.tree.flatten(self.operation(*args, **kwargs)))


class Reads(keras.StatelessScope):  # type: ignore[misc]
    """Gives a placeholder for every Keras variable that is read, and refuses changes to them."""

    def __init__(self, graph: Any) -> None:
        super().__init__()
        self.graph = graph
        self.variables: dict[int, Any] = {}
        self.places: dict[int, Any] = {}
        self.changed: list[str] = []

    def get_current_value(self, variable: Any) -> Any:
        key = id(variable)
        if key in self.state_mapping:
            return self.state_mapping[key]
        if key not in self.places:
            self.variables[key] = variable
            with self.graph.as_default(), tf.control_dependencies(None):
                # variable.dtype is the one it is cast to
                self.places[key] = tf.compat.v1.placeholder(variable._dtype, variable.shape, f"w{len(self.places)}")
        return self.places[key]

    def add_update(self, update: Any) -> None:
        variable, _ = update
        if "seed_generator" not in variable.path:
            self.changed.append(variable.path)
        super().add_update(update)


@dataclass
class Traced:
    """A call traced at given sizes."""

    graph: Any
    scope: Reads
    places: dict[Value, Any]
    outputs: list[Any]


def trace(call: Call, shape: Callable[[Value], Sequence[int | None]]) -> Traced:
    """Run a call on placeholders.

    Raises:
        CaptureError: the operation fails, or changes a state of its own.
    """
    graph = tf.__internal__.FuncGraph("layer")
    scope = Reads(graph)
    places: dict[Value, Any] = {}

    def place(value: Value) -> Any:
        if value not in places:
            places[value] = tf.compat.v1.placeholder(value.dtype, shape(value), f"x{len(places)}")
        return places[value]

    with graph.as_default(), scope, quiet():
        try:
            outputs = call.live(place, training=False)
        except Exception as error:
            raise CaptureError(_failure(call, error)) from error
    if scope.changed:
        raise CaptureError(
            f"the layer '{call.title}' changes its state '{scope.changed[0]}' while it runs, and a part may not have a "
            "state: make it stateless (stateful=False) or return the state as an output"
        )
    return Traced(graph, scope, places, outputs)


def run(call: Call, shape: Callable[[Value], Sequence[int]], fill: int) -> list[Any]:
    """Compute a call on tensors of a single value, without changing a state; returns what it gives out."""
    given: dict[Value, Any] = {}

    def tensor(value: Value) -> Any:
        if value not in given:
            given[value] = tf.cast(tf.fill(list(shape(value)), fill), value.dtype)
        return given[value]

    with keras.StatelessScope(), quiet():
        return call.live(tensor, training=False)


def _failure(call: Call, error: Exception) -> str:
    return (
        f"the layer '{call.title}' ({type(call.operation).__name__}) cannot be traced ({reason(error)}): write what it "
        "does with keras.ops and Keras layers, without Python conditions on values"
    )


def record(call: Call) -> None:
    """Trace a call at sizes that vary, and fill in what it reads and makes.

    Raises:
        CaptureError: the operation fails, has a state, or calls what no other process could.
    """
    traced = trace(call, lambda value: value.shape)
    graph = traced.graph
    # MultiHeadAttention does so; whatever reads the tensor after it then sees no mask
    masked = [value for value in call.values() if call.masks.get(value, value.mask) is not None]
    call.unmasks = frozenset(value for value in masked if get_mask(traced.places[value]) is None)
    known = {id(tensor): value for value, tensor in traced.places.items()}
    made: list[Any] = []
    masks: list[tuple[Value, Any]] = []
    with graph.as_default(), tf.control_dependencies(None):
        for tensor in traced.outputs:
            call.makes.append(_value(call, tensor))
            made.append(tf.identity(tensor))
            mask = get_mask(tensor)
            if mask is not None:
                masks.append((call.makes[-1], mask))
        for value, mask in masks:
            value.mask = known.get(id(mask))
            if value.mask is None:
                value.mask = known[id(mask)] = Value(mask.dtype.name, tuple(mask.shape), is_mask=True)
                call.makes.append(value.mask)
                made.append(tf.identity(mask))
    _write(call, traced, made)


def _value(call: Call, tensor: Any) -> Value:
    if not isinstance(tensor, tf.Tensor) or tensor.shape.rank is None or tensor.dtype == tf.string:
        what = getattr(tensor, "dtype", None) or type(tensor).__name__
        raise CaptureError(
            f"the layer '{call.title}' returns a {getattr(what, 'name', what)}, expected dense tensors of numbers of a "
            "known rank"
        )
    return Value(tensor.dtype.name, tuple(tensor.shape))


def _write(call: Call, traced: Traced, made: list[Any]) -> None:
    graph, scope = traced.graph, traced.scope
    names = [tensor.op.name for tensor in made]
    definition = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), names)
    kept = {node.name: node for node in definition.node}
    _require_portable(call, definition)
    _forget_gradients(definition)
    weights: dict[int, str] = {}
    for key, tensor in scope.places.items():
        if tensor.op.name in kept:
            weights[key] = tensor.op.name
            call.variables.append(scope.variables[key])
    for outside, inside in graph.captures:
        if inside.op.name not in kept:
            continue
        if outside.dtype in (tf.resource, tf.variant, tf.string) or not hasattr(outside, "numpy"):
            raise CaptureError(
                f"the layer '{call.title}' reads a variable or table that Keras does not know ({outside.dtype.name}): "
                "make weights with self.add_weight, and look words up before the network"
            )
        weights[id(outside)] = inside.op.name
        call.constants.append(outside)
    inputs = {value: tensor.op.name for value, tensor in traced.places.items() if tensor.op.name in kept}
    masks = {value for value in traced.places if value.is_mask} | set(_given_masks(call)) | set(call.masks.values())
    # batch normalisation reads a mask only while it learns
    every = isinstance(call.operation, keras.layers.BatchNormalization)
    call.reads = [value for value in traced.places if value in inputs or every or value not in masks]
    inner = {*inputs.values(), *weights.values(), *names}
    ops = tuple(node.op for node in definition.node if node.name not in inner and node.op not in ("Const", "NoOp"))
    call.body = Body(definition, inputs, weights, names, ops)


def _given_masks(call: Call) -> list[Value]:
    """Masks in arguments of that name: Keras hands them on, needed or not."""
    named = [value for key, value in call.kwargs.items() if key == "mask" or key.endswith("_mask")]
    return [leaf for leaf in keras.tree.flatten(named) if isinstance(leaf, Value)]


def _require_portable(call: Call, definition: Any) -> None:
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    found = next((node.op for node in nodes if node.op in _PYTHON), None)
    if found:
        raise CaptureError(
            f"the layer '{call.title}' calls Python while it runs ({found}), which no part could take along: write it "
            "with keras.ops"
        )


def _forget_gradients(definition: Any) -> None:
    """Drop gradients that are Python functions (silu has one): they hold tensors of this graph, and no file takes them.

    Training calls the operation itself.
    """
    functions = (node for function in definition.library.function for node in function.node_def)
    for node in (*definition.node, *functions):
        node.attr.pop("_gradient_op_type", None)


def get_mask(tensor: Any) -> Any:
    """The mask that Keras has attached to a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attach a mask as Keras does; None takes it off."""
    tensor._keras_mask = mask
