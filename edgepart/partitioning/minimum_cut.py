"""The exact optimum as a minimum cut.

Every layer v has one node for each hop k (between tier k-1 and tier k): it is on the source's side if v lies below
the hop and on the sink's side if v lies above. A cut then costs exactly the latency of the placement:

- layer v on tier k: the arc between its nodes of hop k+1 and hop k (from the source and to the sink at the ends);
- a tensor that crosses hop k: one arc from its producer's node (the source, for an input of the network) to an
  auxiliary node with infinite arcs to all its consumers, so that it is paid once however many read it;
- the round trip of hop k: one arc from the source to an auxiliary node with infinite arcs to every layer that depends
  on an input of the network: as soon as one of those lies above the hop, something must cross it;
- no way back, and no layer above hop k+1 but below hop k: infinite arcs.

Exact because every transfer over several hops pays each of them. See Hu et al., "Dynamic adaptive DNN surgery for
inference acceleration on the edge" (INFOCOM 2019) for two tiers; the ordered copies are Ishikawa's construction
(PAMI 2003). SciPy's flow has 32-bit capacities: costs are scaled so that the best known placement is 2**30, which
leaves a rounding error below ``terms / 2**30`` of it, where ``terms`` is at most layers + hops * (tensors + 1); that
error is reported as the gap. Runs in O(nodes**2 * arcs) at worst, some milliseconds for hundreds of layers.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from edgepart.errors import PlanError
from edgepart.partitioning.pins import Windows, windows
from edgepart.partitioning.placement_cost import evaluate, excess, uniform
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem

SOURCE, SINK = 0, 1
INFINITE = 2**30 - 1


class MinimumCut:
    """Minimum single-sample latency under ``split``; memory limits that bind are left to the MILP."""

    def __init__(self, time_limit_s: float = 60.0) -> None:
        self.time_limit_s = time_limit_s

    def solve(self, problem: Problem) -> Placement:
        """The best placement; among equally good ones, layers as low as possible.

        Raises:
            PlanError: the deployment is ``nested``.
            InfeasiblePlan: pins or memory limits cannot be met; says which and by how much.
        """
        if problem.deployment == "nested":
            raise PlanError(
                "a nested deployment is not a placement that minimum-cut can choose: give the boundaries by hand "
                "(--split-after TIER=MODULE) or use a rule (--method memory-share or latency-match)"
            )
        window = windows(problem)
        if _is_a_cut(problem):
            placement = _solve(problem, window)
            if not excess(problem, placement.tier_of):
                return placement
        from edgepart.partitioning.milp import solve_within_limits

        return solve_within_limits(problem, window, self.time_limit_s)


def _solve(problem: Problem, window: Windows) -> Placement:
    """The optimum without memory limits."""
    candidates = [uniform(problem, tier, window.lowest, window.highest) for tier in range(len(problem.tiers))]
    known, error = min(evaluate(problem, tier_of).latency_s for tier_of in candidates), 0.0
    # the scale follows the best known placement, so one far below it is worth a second, finer look
    while problem.links and known > 0:
        tier_of, error = _cut(problem, window, known)
        candidates.append(tier_of)
        found, before = evaluate(problem, tier_of).latency_s, known
        known = min(found, known)
        if found > before / 2:
            break
    # within the rounding error, all on one tier (the lower the better) is preferred to a split
    costs = [(evaluate(problem, each).latency_s, each) for each in candidates]
    latency, chosen = next((cost, each) for cost, each in costs if cost <= known + error)
    bound = max(0.0, known - error)
    gap = (latency - bound) / latency if latency else 0.0
    return Placement(chosen, Proof(status="optimal", method="minimum-cut", bound_s=bound, gap=gap))


def _cut(problem: Problem, window: Windows, known: float) -> tuple[dict[str, int], float]:
    """The placement of a minimum cut, and the rounding error of its cost in seconds."""
    graph, hops = problem.graph, range(1, len(problem.tiers))
    terms = len(graph.layers) + len(hops) * (len(graph.tensors) + 1)
    scale = (INFINITE - terms) / known
    network = flow_network(problem, window, scale)
    above = network.sink_side()
    tier_of = {
        layer.name: sum(network.node(index, hop) in above for hop in hops) for index, layer in enumerate(graph.layers)
    }
    return tier_of, terms / scale


class FlowNetwork:
    """A flow network with one node per layer and hop, auxiliary nodes, and scaled integer capacities."""

    def __init__(self, layers: int, hops: int, scale: float) -> None:
        self.layers, self.hops, self.scale = layers, hops, scale
        self.size = 2 + layers * hops
        self.capacity: dict[tuple[int, int], int] = defaultdict(int)

    def node(self, layer: int, hop: int) -> int:
        """The node of a layer at hop 1 …; below the first hop is the sink and above the last the source."""
        if hop == 0:
            return SINK
        return SOURCE if hop > self.hops else 2 + (hop - 1) * self.layers + layer

    def pay(self, cost_s: float, below: int, above: int) -> None:
        """Charge a cost when ``below`` is on the source's side and ``above`` on the sink's."""
        self._add(below, above, min(INFINITE, round(cost_s * self.scale)))

    def forbid(self, below: int, above: int) -> None:
        """Never ``below`` on the source's side and ``above`` on the sink's."""
        self._add(below, above, INFINITE)

    def pay_once(self, cost_s: float, below: int, above: list[int]) -> None:
        """Charge a cost once when ``below`` is on the source's side and any of ``above`` on the sink's."""
        auxiliary, self.size = self.size, self.size + 1
        self.pay(cost_s, below, auxiliary)
        for node in above:
            self.forbid(auxiliary, node)

    def _add(self, tail: int, head: int, capacity: int) -> None:
        self.capacity[tail, head] = min(INFINITE, self.capacity[tail, head] + capacity)

    def sink_side(self) -> set[int]:
        """The nodes above a minimum cut: only those from which the sink can still be reached, so the fewest."""
        ends = np.array(list(self.capacity), dtype=np.int32).T
        values = np.fromiter(self.capacity.values(), dtype=np.int32, count=len(self.capacity))
        network = csr_array((values, (ends[0], ends[1])), shape=(self.size, self.size))
        residual = network - maximum_flow(network, SOURCE, SINK).flow
        backwards = csr_array((residual > 0).T)
        return set(breadth_first_order(backwards, SINK, return_predecessors=False).tolist())


def flow_network(problem: Problem, window: Windows, scale: float) -> FlowNetwork:
    graph, top = problem.graph, len(problem.tiers) - 1
    network = FlowNetwork(len(graph.layers), top, scale)
    for index, layer in enumerate(graph.layers):
        for tier, where in enumerate(problem.tiers):
            network.pay(where.latency_s[layer.name], network.node(index, tier + 1), network.node(index, tier))
        for hop in range(1, top):
            network.forbid(network.node(index, hop), network.node(index, hop + 1))
        if window.lowest[index] > 0:
            network.forbid(network.node(index, window.lowest[index]), SINK)
        if window.highest[index] < top:
            network.forbid(SOURCE, network.node(index, window.highest[index] + 1))
    driven = driven_by_inputs(problem)
    for hop, link in enumerate(problem.links, start=1):
        for index, parents in enumerate(graph.parents):
            for parent in parents:
                network.forbid(network.node(index, hop), network.node(parent, hop))
        for tensor in graph.tensors:
            producer = SOURCE if tensor.producer is None else network.node(graph.position[tensor.producer], hop)
            readers = [network.node(graph.position[name], hop) for name in tensor.consumers]
            network.pay_once(8 * tensor.bytes / link.up_bits_per_s, producer, readers)
        network.pay_once(link.round_trip_s, SOURCE, [network.node(graph.position[name], hop) for name in driven])
    return network


def driven_by_inputs(problem: Problem) -> set[str]:
    """The layers that depend on an input of the network through tensors that take bytes."""
    driven: set[str] = set()
    for layer in problem.graph.layers:
        read = [problem.graph.tensor(name) for name in layer.inputs]
        if any(tensor.bytes and (tensor.producer is None or tensor.producer in driven) for tensor in read):
            driven.add(layer.name)
    return driven


def _is_a_cut(problem: Problem) -> bool:
    """Whether the round trips can be arcs: not if a tensor may cross that no input of the network lies behind.

    Such a tensor leads from constants to constants only, up to an output that is the same for every sample. Whether
    any of several such tensors crosses is not submodular, so these (odd) networks are left to the MILP.
    """
    graph, leads_on = problem.graph, driven_by_inputs(problem)
    for index in reversed(range(len(graph.layers))):
        if graph.layers[index].name in leads_on:
            leads_on.update(graph.layers[parent].name for parent in graph.parents[index])
    return all(leads_on.issuperset(tensor.consumers) for tensor in graph.tensors if tensor.bytes)
