"""Heads on a captured Keras network: compiled, trained with it or on it, written with its stages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from edgepart.frameworks.builder import Ending, HeadSize, class_count, read_by_head, require_use, vectors
from edgepart.frameworks.keras.capture import capture
from edgepart.frameworks.keras.classifier import describe_classifier
from edgepart.frameworks.keras.heads import check_head, compile_head, drawn_from, head_size
from edgepart.frameworks.keras.logits import Logits, ending_of
from edgepart.frameworks.keras.part import Part
from edgepart.frameworks.keras.training import KerasLearner, MultiExit, single
from edgepart.frameworks.keras.weights import Weights
from edgepart.frameworks.signature import Signature
from edgepart.graph import Boundary, Graph, Tensor
from edgepart.graph.sizes import evaluate_size
from edgepart.partitioning.stages import Stage

Known = Mapping[str, Any]


class KerasBuilder:
    """Satisfies ``edgepart.frameworks.builder.Builder``; the user's weights are copied and stay as they are."""

    def __init__(self, model: Any, example: object) -> None:
        self.program = capture(model, example)
        self._weights = Weights(self.program)
        self.ending: Ending = ending_of(self.program)
        self._heads: dict[str, Any] = {}
        self._classes = 0

    @property
    def _graph(self) -> Graph:
        return self.program.graph

    def weights_digest(self) -> str:
        digest = hashlib.sha256()
        for name, variable in sorted(self.program.slice(None, None).variables.items()):
            array = np.asarray((self._weights.named.get(name, variable)).numpy())
            digest.update(f"{name} {variable.dtype.name} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def classifier(self, shape: Sequence[int | str]) -> list[str]:
        return describe_classifier(self.program, shape)

    def add_head(self, name: str, source: str, tensor: str, classes: int, seed: int) -> HeadSize:
        spec = self._graph.tensor(tensor)
        shape = [evaluate_size(size, self._graph.symbols) for size in spec.shape[1:]]
        with drawn_from(seed):
            head = compile_head(source, f"{name}.py")
            check_head(head, shape, classes, f"the head of exit '{name}'")
        self._heads[name], self._classes = head, classes
        self._weights.add_head(name, head)
        return head_size(head, shape)

    def learner(
        self,
        stages: Sequence[Stage],
        *,
        frozen: bool,
        head_learning_rate_ratio: float,
        weight_decay: float,
        gradient_norm: float,
    ) -> KerasLearner:
        return KerasLearner(
            MultiExit(self.program, stages, self._heads),
            self._weights,
            frozen=frozen,
            head_learning_rate_ratio=head_learning_rate_ratio,
            weight_decay=weight_decay,
            gradient_norm=gradient_norm,
        )

    def stage(self, stage: Stage, passes_on: Sequence[str]) -> Part:
        part = self._slice(stage.start, stage.stop)
        require_use(stage, passes_on)
        read = read_by_head(stage, self._graph)
        inputs = _with(part.inputs, read if read not in part.outputs else None)
        outputs = [self._graph.tensor(name) for name in passes_on]
        if stage.exit is not None:
            width = self._classes or class_count(self._graph) or 0
            outputs.append(vectors(stage.exit, width))
        head = self._heads[stage.exit] if stage.exit is not None and stage.tensor is not None else None
        own = Logits(self.program, part.layers)

        def compute(known: Known) -> list[Any]:
            results = [known[name] for name in passes_on]
            if read is not None:
                value = known[read]
                results.append(own(value) if head is None else single(head(single(value))))
            return results

        return self._composed(part, inputs, outputs, compute, () if head is None else head.weights)

    def router(self, stop: Boundary | None, tensor: str, mask: str | None) -> Part:
        part = self._slice(None, stop)

        def compute(known: Known) -> list[Any]:
            feature = known[tensor]
            if mask is not None and len(feature.shape) == 3:
                weight = tf.cast(known[mask], feature.dtype)[..., None]
                return [single(tf.reduce_sum(feature * weight, 1) / tf.maximum(tf.reduce_sum(weight, 1), 1))]
            return [single(tf.reduce_mean(feature, list(range(1, len(feature.shape) - 1))))]

        width = self._graph.channels(tensor)
        assert isinstance(width, int)
        return self._composed(part, _with(part.inputs, mask), [vectors("embedding", width)], compute)

    def _slice(self, start: Boundary | None, stop: Boundary | None) -> Part:
        part = self.program.slice(start, stop)
        for name, variable in part.variables.items():
            if name in self._weights.named:
                variable.assign(self._weights.named[name])
        return part

    def _composed(
        self,
        part: Part,
        inputs: Sequence[str],
        outputs: Sequence[Tensor],
        compute: Callable[[Known], list[Any]],
        head: Sequence[Any] = (),
    ) -> Part:
        specs = [self._graph.tensor(name) for name in inputs]
        return Composed(self._graph, part, Signature.of(specs, outputs, self._graph.symbols), compute, head)


class Composed(Part):
    """A slice, and what is computed from the tensors that go into it and come out of it, with the weights of a head."""

    def __init__(
        self,
        graph: Graph,
        part: Part,
        signature: Signature,
        compute: Callable[[Known], list[Any]],
        head: Sequence[Any],
    ) -> None:
        super().__init__(graph, (), {})
        self._part, self._compute = part, compute
        self.signature, self.layers = signature, part.layers
        self.inputs, self.outputs = signature.input_names, signature.output_names
        added = {f"head.{number}.{weight.name}": weight.value for number, weight in enumerate(head)}
        self.variables = part.variables | added
        self.parameters = part.parameters | {
            name: weight.shape.num_elements() * weight.dtype.size for name, weight in added.items()
        }

    def _traced(self, tensors: Sequence[Any], training: bool) -> list[Any]:
        known = dict(zip(self.inputs, tensors, strict=True))
        made = self._part.function([known[name] for name in self._part.inputs], training)
        known.update(zip(self._part.outputs, made, strict=True))
        return self._compute(known)


def _with(names: Sequence[str], more: str | None) -> tuple[str, ...]:
    return (*names, more) if more is not None and more not in names else tuple(names)
