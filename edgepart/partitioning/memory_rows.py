"""What a tier needs of memory, exactly, as rows of an integer program.

In the topological order, what is alive on tier k while layer v runs (:func:`edgepart.graph.peak_activation_bytes`) is,
tensor by tensor, a term: its maker lies on tier k or below, and

- v comes between its maker and its last reader: one from v on is on tier k or above, or one before v is above k;
- v comes after its last reader: one of them is above tier k (or, made on k, the tensor leaves the network);
- v comes before its maker: that one lies below tier k and a reader does not, so the tensor has arrived already.

The row of v has to hold where v lies on tier k. It leaves out what cannot be then: tensors whose readers all depend on
v, or v on them. If v is not on tier k, its row states no more than what is alive between two layers of tier k, which
never exceeds what is alive during the next one, so that no row needs switching off. Where many tensors lie beside v,
rows go on from the one before, which keeps the program linear in the size of the graph. Few of the rows decide a
placement: nearly all are left out until they do (:mod:`edgepart.partitioning.linear_program`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import reduce
from operator import and_, or_

import numpy as np
from numpy.typing import NDArray

from edgepart.graph import Tensor
from edgepart.partitioning.linear_program import Expression, combine
from edgepart.partitioning.node_variables import NodeVariables
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.shares import exit_layer

#: tensors beside a layer that its row names one by one
FEW = 8


def most_bytes(problem: Problem) -> int:
    """More than any tier can need."""
    graph = problem.graph
    held = sum(graph.parameters.values()) + sum(point.head_bytes for point in problem.exits)
    held += max(tier.runtime_bytes for tier in problem.tiers)
    return held + sum(t.bytes for t in graph.tensors) + max(layer.activation_bytes for layer in graph.layers) + 1


class MemoryRows:
    """The memory of one tier, in multiples of ``unit`` bytes."""

    def __init__(self, problem: Problem, variables: NodeVariables, tier: int, unit: float) -> None:
        self.problem, self.graph, self.tier, self.unit = problem, problem.graph, tier, unit
        self.variables, self.program = variables, variables.program
        position = self.graph.position
        self.made = {t.name: -1 if t.producer is None else position[t.producer] for t in self.graph.tensors}
        self.readers = {t.name: sorted({position[name] for name in t.consumers}) for t in self.graph.tensors}

    def peak(self) -> Expression:
        """A variable that is no less than what is needed at any moment: during each layer, and at the end."""
        held = self.program.equal(self._held())
        moments = []
        for index, (layer, alive, beside) in enumerate(
            zip(self.graph.layers, self._alive(), self._beside(), strict=True)
        ):
            running = (self.variables.on(index, self.tier), layer.activation_bytes / self.unit)
            moments.append(combine([running, (held, 1.0), (alive, 1.0), (beside, 1.0)]))
        at_the_end = combine([(held, 1.0), (self._at_the_end(), 1.0)])
        # mostly the parameters decide, and the moment that would if the tier held all layers
        usual = moments.pop(int(self._activations().argmax()))
        most = most_bytes(self.problem) / self.unit
        return self.program.maximum([held, usual], seldom=[*moments, at_the_end], upper=most)

    def most_with_layers(self) -> float:
        """Bytes that the tier cannot exceed if it holds a layer."""
        moments = self._activations()
        for tensor, later, earlier in self._moments_beside():
            moments[[*later, *earlier]] += tensor.bytes
        held = sum(self.graph.parameters.values()) + sum(point.head_bytes for point in self.problem.exits)
        return held + self.problem.tiers[self.tier].runtime_bytes + float(moments.max())

    def _activations(self) -> NDArray[np.float64]:
        """Bytes of activations during each layer, if all layers were on the tier."""
        moments = np.array([float(layer.activation_bytes) for layer in self.graph.layers])
        for tensor in self.graph.tensors:
            if self.readers[tensor.name]:
                moments[self.made[tensor.name] + 1 : self.readers[tensor.name][-1] + 1] += tensor.bytes
        return moments

    def _held(self) -> Expression:
        """Parameters, each once, heads, and the runtime where there is a layer to run."""
        users: dict[str, list[int]] = defaultdict(list)
        for index, layer in enumerate(self.graph.layers):
            for name in set(layer.parameters):
                users[name].append(index)
        together: dict[tuple[int, ...], int] = defaultdict(int)
        for name, layers in users.items():
            together[tuple(layers)] += self.graph.parameters[name]
        for point in self.problem.exits:
            together[(self.graph.position[exit_layer(self.graph, point)],)] += point.head_bytes
        together[tuple(range(len(self.graph.layers)))] += self.problem.tiers[self.tier].runtime_bytes
        return combine(
            (self.variables.any_on(layers, self.tier), size / self.unit) for layers, size in together.items() if size
        )

    def _kept(self, tensor: Tensor, after: int) -> Expression:
        """1 when a tensor made before a moment is alive then; its readers from index ``after`` on are still to run."""
        at, tier = self.variables.at, self.tier
        made, readers = self.made[tensor.name], self.readers[tensor.name]
        above = [at(reader, tier + 1) for reader in readers[:after]] + [at(reader, tier) for reader in readers[after:]]
        if made >= 0 and tensor.name in self.graph.outputs:
            above.append(at(made, tier))
        return self.variables.term(at(made, tier + 1), above)

    def _alive(self) -> list[Expression]:
        """During each layer, the tensors made before it that it or a later one may read."""
        terms: list[list[tuple[Expression, float]]] = [[] for _ in self.graph.layers]
        for tensor in self.graph.tensors:
            start = self.made[tensor.name] + 1
            for number, reader in enumerate(self.readers[tensor.name]):
                kept = self._kept(tensor, number)
                for index in range(start, reader + 1):
                    terms[index].append((kept, tensor.bytes / self.unit))
                start = reader + 1
        return [combine(each) for each in terms]

    def _beside(self) -> list[Expression]:
        """During each layer, tensors past their last reader that stay, and tensors still to be made that have arrived.

        Only those made or read beside the layer: what all lies before it or after it cannot be, if the layer is on the
        tier.
        """
        at = self.variables.at
        held: list[dict[str, tuple[Expression, float]]] = [{} for _ in self.graph.layers]
        for tensor, later, earlier in self._moments_beside():
            made, readers = self.made[tensor.name], self.readers[tensor.name]
            stays = self._kept(tensor, len(readers))
            arrived = self.variables.term(at(made, self.tier), [at(reader, self.tier) for reader in readers])
            for moments, expression in ((later, stays), (earlier, arrived)):
                if expression:
                    for index in moments:
                        held[index][tensor.name] = (expression, tensor.bytes / self.unit)
        return list(self._sums(held))

    def _moments_beside(self) -> Iterator[tuple[Tensor, list[int], list[int]]]:
        """For every tensor, the layers beside which it may stay, and those beside which it may have arrived."""
        before, after = self._ancestors(), self._descendants()
        everything = (1 << len(self.graph.layers)) - 1
        for tensor in self.graph.tensors:
            made, readers = self.made[tensor.name], self.readers[tensor.name]
            beyond = max([*readers, made]) + 1
            implied = reduce(and_, (after[reader] for reader in readers), everything)
            later = everything >> beyond << beyond & ~(0 if tensor.name in self.graph.outputs else implied)
            earlier = (1 << made) - 1 & ~before[made] if self.tier and made > 0 else 0
            if tensor.bytes:
                yield tensor, list(_bits(later)), list(_bits(earlier))

    def _at_the_end(self) -> Expression:
        """After the last layer, the tensors that stay."""
        return combine(
            (self._kept(tensor, len(self.readers[tensor.name])), tensor.bytes / self.unit)
            for tensor in self.graph.tensors
        )

    def _sums(self, held: list[dict[str, tuple[Expression, float]]]) -> Iterator[Expression]:
        """The sum of what is held at each moment; where it is long, in variables that go on from the moment before."""
        total: Expression = {}
        known: dict[str, tuple[Expression, float]] = {}
        for now in held:
            if len(now) <= FEW:
                total = combine(now.values())
            else:
                more = [value for name, value in now.items() if name not in known]
                less = [(value, -factor) for name, (value, factor) in known.items() if name not in now]
                if more or less:
                    total = self.program.equal(combine([(total, 1.0), *more, *less]))
            known = now
            yield total

    def _ancestors(self) -> list[int]:
        """For each layer, a bit for every layer that it depends on."""
        found: list[int] = []
        for parents in self.graph.parents:
            found.append(reduce(or_, (found[parent] | 1 << parent for parent in parents), 0))
        return found

    def _descendants(self) -> list[int]:
        """For each layer, a bit for every layer that depends on it."""
        found = [0] * len(self.graph.layers)
        for index in reversed(range(len(found))):
            for parent in self.graph.parents[index]:
                found[parent] |= found[index] | 1 << index
        return found


def _bits(mask: int) -> Iterator[int]:
    """The positions of the ones."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
