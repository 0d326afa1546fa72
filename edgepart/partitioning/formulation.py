"""A Problem as sides of hops: what the minimum cut and the integer program have in common.

Every layer v has one *node* for each hop k (1 …, between tier k-1 and tier k): it lies *below* the hop if v is on a
lower tier, else *above* it. Everything is then said in two forms:

- a *rule*: not (one node below and another above);
- a *term*: a cost that is paid when one node is below and any of some others is above.

That is how a layer is charged on a tier (its node of the next hop is below, that of this hop above), and a tensor on a
hop (its producer is below and any of its readers above: paid once, however many read it). The construction is
Ishikawa's (PAMI 2003); for two tiers see Hu et al., "Dynamic adaptive DNN surgery for inference acceleration on the
edge" (INFOCOM 2019).

With exits, the layers up to one lie no higher than what its head reads, and those after it no lower. So a hop falls
between two exits, and is crossed by the share of the samples that go on past the lower one: a tensor is charged for
those that run its last reader, and for each exit on the way to it, if that lies above the hop, for those who leave
there as well. These are terms again.

So is what it costs to start the last tier, or the first one where all else depends on one layer. Whether a tier between
two others holds anything is not submodular: its start is a term only once it is decided that it is paid.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgepart.partitioning.charges import Charges
from edgepart.partitioning.pins import Windows
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.shares import exit_layer, reaching

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: a node that is always below, and one that is always above
BELOW, ABOVE = 0, 1


@dataclass(frozen=True)
class Terms:
    """Costs; term i is paid when node ``below[i]`` is below and any of ``above[first[i]:first[i + 1]]`` is above."""

    cost: Floats
    below: Ints
    above: Ints
    first: Ints

    def paid(self, is_above: NDArray[np.bool_]) -> float:
        """The sum of what is paid, given the side of every node."""
        if not len(self.cost):
            return 0.0
        any_above = np.maximum.reduceat(is_above[self.above], self.first[:-1])
        return float(self.cost[any_above & ~is_above[self.below]].sum())

    def with_terms(self, others: Sequence[Terms]) -> Terms:
        """These and others."""
        draft = _Draft()
        for each in (self, *others):
            draft.add(each.cost, each.below, each.above, np.diff(each.first))
        return draft.terms() if others else self


@dataclass
class _Draft:
    """Terms while they are collected, in blocks."""

    cost: list[Floats] = field(default_factory=list)
    below: list[Ints] = field(default_factory=list)
    above: list[Ints] = field(default_factory=list)
    count: list[Ints] = field(default_factory=list)

    def add(self, cost: Floats, below: Ints, above: Ints, count: Ints | None = None) -> None:
        """One term for each cost; ``above`` one node after the other, ``count`` how many are each term's (1)."""
        self.cost.append(cost)
        self.below.append(below)
        self.above.append(above)
        self.count.append(np.ones(len(cost), np.int64) if count is None else count)

    def terms(self) -> Terms:
        cost, count = np.concatenate(self.cost), np.concatenate(self.count)
        below, above = np.concatenate(self.below), np.concatenate(self.above)
        paid = (cost > 0) & (count > 0)
        first = np.concatenate([[0], np.cumsum(count[paid])])
        return Terms(cost[paid], below[paid], above[np.repeat(paid, count)], first)


class Nodes:
    """Numbers of the nodes of a problem, and its structure as arrays."""

    def __init__(self, problem: Problem) -> None:
        graph = problem.graph
        position = graph.position
        self.layers, self.hops = len(graph.layers), len(problem.links)
        self.count = 2 + self.layers * self.hops
        #: parent and child of every edge
        edges = [(parent, child) for child, parents in enumerate(graph.parents) for parent in parents]
        self.parent, self.child = _columns(edges)
        #: layers that read no other layer, and that no other one reads
        self.roots = np.setdiff1d(np.arange(self.layers), self.child)
        self.leaves = np.setdiff1d(np.arange(self.layers), self.parent)
        sent = [tensor for tensor in graph.tensors if tensor.consumers and tensor.bytes]
        self.bytes = np.array([tensor.bytes for tensor in sent], np.float64)
        #: -1: an input of the network
        self.producer = np.array([-1 if t.producer is None else position[t.producer] for t in sent], np.int64)
        readers = [[position[name] for name in tensor.consumers] for tensor in sent]
        self.readers = np.array(list(itertools.chain.from_iterable(readers)), np.int64)
        self.reader_count = np.array([len(each) for each in readers], np.int64)
        self.last_reader = np.array([each[-1] for each in readers], np.int64)
        self.exit_layer = np.array([position[exit_layer(graph, point)] for point in problem.exits], np.int64)
        self.exit_depth = np.array([point.depth for point in problem.exits], np.int64)
        self.going_on = np.array([point.going_on for point in problem.exits])
        self.reaching = np.array([reaching(problem.exits, index) for index in range(len(problem.exits))])

    def node(self, layer: Ints, hop: int) -> Ints:
        """The nodes of layers (-1: an input of the network) at a hop; every layer is above hop 0 and below the last."""
        if hop == 0:
            return np.full(len(layer), ABOVE)
        if hop > self.hops:
            return np.full(len(layer), BELOW)
        return np.where(layer < 0, BELOW, 2 + (hop - 1) * self.layers + layer)

    def share(self, layer: Ints) -> Floats:
        """Of all samples, those that run a layer."""
        return np.concatenate([[1.0], self.going_on])[np.searchsorted(self.exit_depth, layer, side="right")]

    def tiers(self, is_above: NDArray[np.bool_]) -> Ints:
        """The tier of every layer, given the side of every node."""
        return np.asarray(is_above[2:].reshape(self.hops, self.layers).sum(axis=0))

    def sides(self, tiers: Ints) -> NDArray[np.bool_]:
        """The inverse of :meth:`tiers`."""
        above = tiers[None, :] >= np.arange(1, self.hops + 1)[:, None]
        return np.concatenate([[False, True], above.reshape(-1)])


def rules(problem: Problem, nodes: Nodes, window: Windows) -> tuple[Ints, Ints]:
    """(below, above) of every rule: order of tiers and layers, windows of pins, and all constraints of that form."""
    everything = np.arange(nodes.layers)
    low, high = np.array(window.lowest), np.array(window.highest)
    found: list[tuple[Ints, Ints]] = []

    def no_lower(upper: Ints, lower: Ints, hops: Iterable[int] = range(1, nodes.hops + 1)) -> None:
        """``upper`` lies on the tier of ``lower`` or above."""
        found.extend((nodes.node(upper, hop), nodes.node(lower, hop)) for hop in hops)

    no_lower(nodes.child, nodes.parent)
    for hop in range(1, nodes.hops + 1):
        if hop < nodes.hops:
            found.append((nodes.node(everything, hop), nodes.node(everything, hop + 1)))
        raised, lowered = everything[low >= hop], everything[high < hop]
        found.append((nodes.node(raised, hop), np.full(len(raised), ABOVE)))
        found.append((np.full(len(lowered), BELOW), nodes.node(lowered, hop)))
    for lower, upper in itertools.pairwise(nodes.exit_layer):
        no_lower(np.array([upper]), np.array([lower]))
    stage = np.searchsorted(nodes.exit_depth, everything, side="right")
    before, after = everything[stage < len(nodes.exit_layer)], everything[stage > 0]
    no_lower(nodes.exit_layer[stage[before]], before)
    no_lower(after, nodes.exit_layer[stage[after] - 1])
    for names in problem.together:
        group = np.array(sorted(problem.graph.position[name] for name in names))
        no_lower(group, np.roll(group, 1))
    for name in problem.kept:
        tensor = problem.graph.tensor(name)
        readers = np.array([problem.graph.position[reader] for reader in tensor.consumers], np.int64)
        made = -1 if tensor.producer is None else problem.graph.position[tensor.producer]
        no_lower(np.full(len(readers), made), readers)
    for layer, tiers in problem.forbidden.items():
        place = np.array([problem.graph.position[layer]])
        where = [problem.tier_names.index(name) for name in tiers]
        found.extend((nodes.node(place, tier + 1), nodes.node(place, tier)) for tier in where)
    nothing = np.zeros(0, np.int64)
    return np.concatenate([nothing, *(b for b, _ in found)]), np.concatenate([nothing, *(a for _, a in found)])


def terms(problem: Problem, nodes: Nodes, charges: Charges) -> Terms:
    """What a placement is charged, as terms; exact for placements that keep the rules.

    The use of a hop is charged when a layer above it depends on an input of the network (:func:`driven_by_inputs`). The
    starts of :func:`undecided_starts` are left out.
    """
    draft, everything = _Draft(), np.arange(nodes.layers)
    per_layer = layer_charges(nodes, charges)
    for tier in range(nodes.hops + 1):
        draft.add(per_layer[tier], nodes.node(everything, tier + 1), nodes.node(everything, tier))
    driven = np.array(sorted(problem.graph.position[name] for name in driven_by_inputs(problem)), np.int64)
    for hop in range(1, nodes.hops + 1):
        byte, use = charges.byte[hop - 1], charges.use[hop - 1]
        if byte:
            _tensors(nodes, hop, byte, charges.expected, draft)
        if use:
            _use(nodes, hop, use, nodes.node(driven, hop), charges.expected, draft)
    _starts(nodes, charges, draft)
    return draft.terms()


def undecided_starts(nodes: Nodes, charges: Charges) -> tuple[int, ...]:
    """The tiers whose start :func:`terms` leaves out: those between others; the first, if several layers are roots."""
    as_terms = {nodes.hops, *((0,) if len(nodes.roots) == 1 else ())}
    return tuple(tier for tier in range(nodes.hops + 1) if charges.start[tier] and tier not in as_terms)


def paid_start(nodes: Nodes, charges: Charges, tier: int) -> Terms:
    """The start of a tier, whether it holds anything or not, for the samples that come so far."""
    draft = _Draft()
    _use(nodes, tier, float(charges.start[tier]), np.array([ABOVE]), charges.expected, draft)
    return draft.terms()


def layer_charges(nodes: Nodes, charges: Charges) -> Floats:
    """(tiers, layers): what a layer is charged on a tier, with the heads that read what it makes."""
    if not charges.expected:
        return charges.layer
    per_layer = charges.layer * nodes.share(np.arange(nodes.layers))
    for index, layer in enumerate(nodes.exit_layer):
        per_layer[:, layer] += charges.head[:, index] * nodes.reaching[index]
    return per_layer


def _tensors(nodes: Nodes, hop: int, byte: float, expected: bool, draft: _Draft) -> None:
    """Every tensor whose producer is below the hop and a reader above."""
    cost, producer = byte * nodes.bytes, nodes.node(nodes.producer, hop)
    share = nodes.share(nodes.last_reader) if expected else 1.0
    draft.add(cost * share, producer, nodes.node(nodes.readers, hop), nodes.reader_count)
    if not expected:
        return
    for index, leaving in enumerate(nodes.reaching - nodes.going_on):
        depth = nodes.exit_depth[index]
        passing = (nodes.producer < depth) & (nodes.last_reader >= depth)
        count = int(passing.sum())
        exit_node = np.repeat(nodes.node(nodes.exit_layer[[index]], hop), count)
        draft.add(leaving * cost[passing], producer[passing], exit_node)


def _starts(nodes: Nodes, charges: Charges, draft: _Draft) -> None:
    """Those of the last tier and of the first, as far as they are terms."""
    last = nodes.hops
    if charges.start[last]:
        _use(nodes, last, float(charges.start[last]), nodes.node(nodes.leaves, last), charges.expected, draft)
    if last and charges.start[0] and len(nodes.roots) == 1:
        draft.add(charges.start[:1], nodes.node(nodes.roots, 1), np.array([ABOVE]))


def _use(nodes: Nodes, hop: int, use: float, above: Ints, expected: bool, draft: _Draft) -> None:
    """The hop itself, as soon as one of the nodes ``above`` is above it."""
    below = np.array([BELOW])
    remaining = nodes.going_on[-1] if expected and len(nodes.going_on) else 1.0
    draft.add(np.array([use * remaining]), below, above, np.array([len(above)]))
    if expected:
        leaving = nodes.reaching - nodes.going_on
        draft.add(use * leaving, np.full(len(leaving), BELOW), nodes.node(nodes.exit_layer, hop))


def driven_by_inputs(problem: Problem) -> set[str]:
    """The layers that depend on an input of the network through tensors that take bytes."""
    driven: set[str] = set()
    for layer in problem.graph.layers:
        read = [problem.graph.tensor(name) for name in layer.inputs]
        if any(tensor.bytes and (tensor.producer is None or tensor.producer in driven) for tensor in read):
            driven.add(layer.name)
    return driven


def use_is_a_term(problem: Problem) -> bool:
    """Whether the use of a hop can be charged by layers that depend on an input.

    Not if a tensor may cross that no input of the network lies behind. Such a tensor leads from constants to constants
    only, up to an output that is the same for every sample. Whether any of several such tensors crosses is not
    submodular, so these (odd) networks are left to the integer program.
    """
    graph, leads_on = problem.graph, driven_by_inputs(problem)
    if any(exit_layer(graph, point) not in leads_on for point in problem.exits):
        return False
    for index in reversed(range(len(graph.layers))):
        if graph.layers[index].name in leads_on:
            leads_on.update(graph.layers[parent].name for parent in graph.parents[index])
    return all(leads_on.issuperset(tensor.consumers) for tensor in graph.tensors if tensor.bytes)


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[Ints, Ints]:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
