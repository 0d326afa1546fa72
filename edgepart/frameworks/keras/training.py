"""The network with a head at every exit, and the steps of learning.

The captured program is cut between all exits. While it learns, each slice calls the user's own Keras layers, so dropout
and batch normalisation do what they do in ``fit``; but on weights that belong to the builder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgepart.errors import TrainingError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.builder import State
from edgepart.frameworks.keras.adamw import AdamW, clipped
from edgepart.frameworks.keras.logits import Logits
from edgepart.frameworks.keras.program import Program
from edgepart.frameworks.keras.weights import Weights
from edgepart.partitioning.stages import Stage
from edgepart.silence import quiet

Tensors = Mapping[str, Any]
#: name, tensor, and its shape with None for what varies
_Named = tuple[str, Any, tuple[int | None, ...]]
#: a step's seed is cut to this many, which leaves room to count generators of random numbers
_SEEDS = 2**31


class MultiExit:
    """The slices of stages in order, a head at the end of each that has an exit, and the network's own classifier last.

    To be called inside of a scope of ``Weights`` and of a function that TensorFlow compiles.
    """

    def __init__(self, program: Program, stages: Sequence[Stage], heads: Mapping[str, Any]) -> None:
        self.graph = program.graph
        self._parts = [program.slice(stage.start, stage.stop, share=True) for stage in stages]
        self._stages, self._logits = list(stages), Logits(program, self._parts[-1].layers)
        self.exits = tuple(stage.exit for stage in stages if stage.exit is not None)
        self.heads = {name: heads[name] for name in self.exits[:-1]}

    def reduce(self, tensors: Tensors, training: bool) -> dict[str, Any]:
        """What every head makes of its features without parameters; for the last exit the logits themselves."""
        found = {}
        for stage, known in self._at_exits(tensors, training):
            assert stage.exit is not None
            if stage.tensor is None:
                found[stage.exit] = self._logits(known[self.graph.outputs[0]])
            else:
                found[stage.exit] = self.heads[stage.exit].reduce(single(known[stage.tensor]))
        return found

    def classify(self, reduced: Tensors, training: bool) -> dict[str, Any]:
        """Logits (batch, C) by exit name, from what :meth:`reduce` returned."""
        logits = {name: single(head.classify(reduced[name], training=training)) for name, head in self.heads.items()}
        return logits | {self.exits[-1]: reduced[self.exits[-1]]}

    def _at_exits(self, tensors: Tensors, training: bool) -> Iterator[tuple[Stage, dict[str, Any]]]:
        known = dict(tensors)
        for stage, part in zip(self._stages, self._parts, strict=True):
            values = part.function([known[name] for name in part.inputs], training=training)
            known.update(zip(part.outputs, values, strict=True))
            if stage.exit is not None:
                yield stage, known


def single(tensor: Any) -> Any:
    """In the precision of heads and logits, whatever that of the network is."""
    return tf.cast(tensor, tf.float32)


class KerasLearner:
    """Trains a :class:`MultiExit` by AdamW: all of it, or with ``frozen`` only the heads, from reduced features.

    Satisfies ``edgepart.frameworks.builder.Learner``. Layers that are not ``trainable`` stay as they are.

    Raises:
        TrainingError: a weight that would learn has less than single precision.
    """

    def __init__(
        self,
        network: MultiExit,
        weights: Weights,
        *,
        frozen: bool,
        head_learning_rate_ratio: float,
        weight_decay: float,
        gradient_norm: float,
    ) -> None:
        self.network, self.exits, self._frozen = network, network.exits, frozen
        self._weights, self._gradient_norm = weights, gradient_norm
        heads = [weights.heads[name] for name in network.heads]
        in_heads = [name for names in heads for name in names]
        self._held = [*(() if frozen else weights.network), *in_heads]
        self._learned = {name: weights.named[name] for name in self._held if name in weights.learned}
        _require_precision(self._learned)
        ratios = dict.fromkeys(weights.network, 1.0) | dict.fromkeys(in_heads, head_learning_rate_ratio)
        self._optimiser = AdamW(self._learned, ratios, weight_decay)
        # Heads on a frozen backbone learn each alone: a large gradient of one must not slow the others.
        self._clipped = heads if frozen else [self._held]
        self._compiled: dict[object, Callable[..., Any]] = {}

    def step(
        self, arrays: Arrays, labels: NDArray[np.int64], weights: Sequence[float], learning_rate: float, seed: int
    ) -> list[float]:
        # Without a weight an exit has no gradient at all, and its head does not even decay.
        active = tuple(bool(weight) for weight in weights)
        more = [
            tf.constant(labels, tf.int64),
            tf.constant(list(weights), tf.float32),
            tf.constant(learning_rate, tf.float64),
            tf.constant(seed % _SEEDS, tf.int64),
        ]
        given = self._given(arrays)
        losses = self._run(("step", active), lambda *tensors: self._step(active, *tensors), given, more)
        return [float(loss) for loss in losses]

    def logits(self, arrays: Arrays) -> NDArray[np.float32]:
        def compute(tensors: Tensors) -> Any:
            with self._weights.scope():
                logits = self._forward(tensors, training=False)
            return tf.stack([logits[name] for name in self.exits], axis=1)

        return np.array(self._run("logits", compute, self._given(arrays)))

    def features(self, arrays: Arrays) -> dict[str, NDArray[np.float32]]:
        """(batch, …) reduced features by exit name in inference; for the last exit the logits."""

        def compute(tensors: Tensors) -> Any:
            with self._weights.scope():
                reduced = self.network.reduce(tensors, training=False)
            return [single(reduced[name]) for name in self.exits]

        found = self._run("features", compute, self._inputs(arrays))
        return {name: np.array(tensor) for name, tensor in zip(self.exits, found, strict=True)}

    def weights(self) -> State:
        return {name: np.array(self._weights.named[name].numpy()) for name in self._held}

    def load_weights(self, weights: State) -> None:
        for name in self._held:
            self._weights.named[name].assign(weights[name])

    def state(self) -> State:
        return {f"weight {name}": array for name, array in self.weights().items()} | self._optimiser.state()

    def load_state(self, state: State) -> None:
        self.load_weights({name: state[f"weight {name}"] for name in self._held})
        self._optimiser.load_state(state)

    def _step(self, active: Sequence[bool], tensors: Tensors, labels: Any, weights: Any, rate: Any, seed: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(self._learned.values()))
            with self._weights.scope(seed) as scope:
                logits = self._forward(tensors, training=True)
            losses = [_cross_entropy(labels, logits[name]) for name in self.exits]
            counted = [weights[k] * loss for k, loss in enumerate(losses) if active[k]]
            total = tf.add_n(counted) if counted else tf.zeros(())
        found = zip(self._learned, tape.gradient(total, list(self._learned.values())), strict=True)
        gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in found if gradient is not None}
        gradients = clipped(gradients, self._clipped, self._gradient_norm)

        def learn() -> Any:
            for variable, value in scope.changes():
                variable.assign(value)
            self._optimiser.apply(gradients, rate)
            return True

        tf.cond(tf.reduce_all(tf.math.is_finite(losses)), learn, lambda: False)
        return losses

    def _forward(self, tensors: Tensors, training: bool) -> dict[str, Any]:
        reduced = tensors if self._frozen else self.network.reduce(tensors, training)
        return self.network.classify(reduced, training)

    def _given(self, arrays: Arrays) -> list[_Named]:
        """What a step or logits are computed from: the network's inputs or, frozen, reduced features."""
        if not self._frozen:
            return self._inputs(arrays)
        tensors = {name: tf.constant(arrays[name], tf.float32) for name in self.exits}
        return [(name, tensor, (None, *tensor.shape[1:])) for name, tensor in tensors.items()]

    def _inputs(self, arrays: Arrays) -> list[_Named]:
        specs = [tensor for tensor in map(self.network.graph.tensor, self.network.graph.inputs) if tensor.consumers]
        shapes = [tuple(size if isinstance(size, int) else None for size in spec.shape) for spec in specs]
        return [
            (spec.name, tf.constant(arrays[spec.name], spec.dtype), shape)
            for spec, shape in zip(specs, shapes, strict=True)
        ]

    def _run(self, key: object, function: Callable[..., Any], given: Sequence[_Named], more: Sequence[Any] = ()) -> Any:
        """Compile a function once for all sizes, as a trace for one size may round otherwise, and run it."""
        if key not in self._compiled:
            names = [name for name, _, _ in given]
            specs = [tf.TensorSpec(shape, tensor.dtype) for _, tensor, shape in given]
            specs += [tf.TensorSpec([None] if place == 0 else x.shape, x.dtype) for place, x in enumerate(more)]

            def compute(*tensors: Any) -> Any:
                return function(dict(zip(names, tensors, strict=False)), *tensors[len(names) :])

            with quiet():
                compiled = tf.function(compute, autograph=False, input_signature=specs)
                self._compiled[key] = compiled.get_concrete_function()
        return self._compiled[key](*(tensor for _, tensor, _ in given), *more)


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _require_precision(learned: Mapping[str, Any]) -> None:
    for name, variable in learned.items():
        if variable.dtype.size < 4:
            raise TrainingError(
                f"the weight '{name}' is {variable.dtype.name}, too coarse to learn: make the network with the dtype "
                "policy float32 or mixed_float16, or train the heads only"
            )
