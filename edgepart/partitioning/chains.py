"""Placement of a chain by dynamic programming: exact, for every quantity and for limits of a tier or a link.

Where every layer reads the one before it (other tensors may skip any number of layers), or other rules keep them in
that order, each legal placement cuts the topological order in as many places as there are hops. What a tier charges
then depends on the two cuts around it and what a hop charges on its own one, so the best placement up to a cut is found
tier by tier: tiers · layers² steps, done as arrays. A limit on a sum over all tiers couples them and is left to the
integer program, unless it is on what is minimised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepart.hardware import ServerlessPrice
from edgepart.partitioning import charges as charged
from edgepart.partitioning.charges import Charges
from edgepart.partitioning.formulation import ABOVE, BELOW, layer_charges
from edgepart.partitioning.limits import ROUNDING, all_limits
from edgepart.partitioning.minimum_cut import Sides
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem
from edgepart.partitioning.quantities import Quantity, quantity
from edgepart.partitioning.values import head_s, value

METHOD = "dynamic programming"
#: a longer chain would take more than a GB for the quantities between all pairs of cuts
MOST_LAYERS = 3000

Floats = NDArray[np.float64]


@dataclass
class Local:
    """A quantity of a chain: what every tier adds between two cuts and every hop at its own.

    Attributes:
        tier: (tiers, cuts, cuts), the first cut before the tier and the second one after it
        hop: (hops, cuts)
    """

    tier: Floats
    hop: Floats


def applies(problem: Problem, sides: Sides) -> bool:
    """Whether every legal placement cuts the order of the layers, and every limit is one of a tier or a link."""
    nodes = sides.nodes
    asked = [quantity(name, problem.tier_names) for name in all_limits(problem) if name != problem.objective]
    if nodes.layers > MOST_LAYERS or any(each.index is None and each.kind != "period" for each in asked):
        return False
    kept = set(zip(sides.below.tolist(), sides.above.tolist(), strict=True))
    last = np.arange(1, nodes.layers)
    return all(
        kept.issuperset(zip(nodes.node(last, hop).tolist(), nodes.node(last - 1, hop).tolist(), strict=True))
        for hop in range(1, nodes.hops + 1)
    )


def solve(problem: Problem, sides: Sides) -> Placement | None:
    """The best placement, layers as low as possible; None: none keeps to the limits."""
    chain = _Chain(problem, sides)
    asked = quantity(problem.objective, problem.tier_names)
    allowed = chain.allowed()
    cuts = _best(chain.local(asked), allowed, np.maximum if asked.kind == "period" else np.add)
    if cuts is None:
        return None
    tiers = np.searchsorted(cuts, np.arange(chain.layers), side="right")
    tier_of = {layer.name: int(tier) for layer, tier in zip(problem.graph.layers, tiers, strict=True)}
    cost = value(problem, tier_of, asked)
    if cost > problem.limits.get(problem.objective, np.inf) * (1 + ROUNDING):
        return None
    return Placement(tier_of, Proof(status="optimal", method=METHOD, bound=cost, gap=0.0))


def _best(cost: Local, allowed: Local, join: np.ufunc) -> list[int] | None:
    """The cuts with the least cost; ``join`` adds up what tiers and hops cost, or takes the largest."""
    tiers, count = len(cost.tier), cost.tier.shape[1]
    best, came_from = np.where(np.arange(count) == 0, 0.0, np.inf), []
    for tier in range(tiers):
        if tier:
            best = np.where(allowed.hop[tier - 1] > 0, join(best, cost.hop[tier - 1]), np.inf)
        through = join(best[:, None], cost.tier[tier])
        through[~((allowed.tier[tier] > 0) & np.isfinite(best)[:, None])] = np.inf
        # of equally good ones the last, which leaves most on the lower tiers
        came_from.append(count - 1 - np.argmin(through[::-1], axis=0))
        best = through.min(axis=0)
    if not np.isfinite(best[-1]):
        return None
    cuts = [count - 1]
    for origins in reversed(came_from):
        cuts.append(int(origins[cuts[-1]]))
    return cuts[-2:0:-1]


class _Chain:
    """Quantities between cuts; cut c lies before layer c, the last one behind all."""

    def __init__(self, problem: Problem, sides: Sides) -> None:
        self.problem, self.sides, self.nodes = problem, sides, sides.nodes
        self.layers, self.tiers = sides.nodes.layers, len(problem.tiers)
        self.cuts = np.arange(self.layers + 1)
        #: bytes that cross a cut, and the share of all samples that does
        self.bytes = self._crossing_bytes()
        self.share = np.concatenate([[1.0], self.nodes.going_on])[
            np.searchsorted(self.nodes.exit_depth, self.cuts, side="right")
        ]

    def _crossing_bytes(self) -> Floats:
        steps = np.zeros(self.layers + 2)
        np.add.at(steps, self.nodes.producer + 1, self.nodes.bytes)
        np.add.at(steps, self.nodes.last_reader + 1, -self.nodes.bytes)
        return np.cumsum(steps)[:-1]

    # --- what is allowed ----------------------------------------------------------------------------------------------

    def allowed(self) -> Local:
        """1 where rules and limits allow a tier between two cuts, and a hop at a cut."""
        tier, hop = self._by_rules()
        tier &= self.cuts[:, None] <= self.cuts
        for name, most in all_limits(self.problem).items():
            asked = quantity(name, self.problem.tier_names)
            if name == self.problem.objective and asked.index is None:
                continue
            found, limit = self.local(asked), most * (1 + ROUNDING)
            if asked.kind in ("period", "bytes"):
                tier &= found.tier <= limit
                hop &= found.hop <= limit
            elif asked.index is not None:
                leaving = found.hop[asked.index] if asked.index < len(found.hop) else 0.0
                tier[asked.index] &= found.tier[asked.index] + leaving <= limit
        return Local(tier.astype(np.float64), hop.astype(np.float64))

    def _by_rules(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        count, hops = self.layers + 1, self.tiers - 1
        broken = np.zeros((hops, count + 1), np.int64)
        # (tiers, layers) that a layer must not lie on
        barred = np.zeros((self.tiers, self.layers), np.int64)
        for below, above in zip(self.sides.below.tolist(), self.sides.above.tolist(), strict=True):
            hop, first = self._place(below)
            other, last = self._place(above)
            if below == BELOW:
                hop, first = other, -1
            elif above == ABOVE:
                other, last = hop, self.layers
            if hop == other and first < last:
                # the cut must not lie between them
                broken[hop, first + 1] += 1
                broken[hop, last + 1] -= 1
            elif hop > other:
                barred[hop, first] += 1
        before = np.concatenate([np.zeros((self.tiers, 1)), np.cumsum(barred, axis=1)], axis=1)
        free = before[:, None, :] == before[:, :, None]
        return free, np.cumsum(broken, axis=1)[:, :count] == 0

    def _place(self, node: int) -> tuple[int, int]:
        """(hop from 0, layer) of a node."""
        return divmod(node - 2, self.layers)

    # --- quantities ---------------------------------------------------------------------------------------------------

    def local(self, asked: Quantity) -> Local:
        """A quantity, tier by tier and hop by hop."""
        if asked.kind == "memory" or asked.kind == "exits":
            tier = asked.index or 0
            of_tier = self.memory(tier) if asked.kind == "memory" else self._inside(self._exit_spans(1.0))
            return self._of_tiers({tier: of_tier})
        if asked.kind == "money":
            tiers = range(self.tiers) if asked.index is None else (asked.index,)
            return self._sum(self._money(tier) for tier in tiers)
        if asked.kind == "period":
            charges = [charged.computing(self.problem, tier) for tier in range(self.tiers)]
            charges += [charged.sending(self.problem, hop) for hop in range(self.tiers - 1)]
            return self._sum(self._additive(each) for each in charges)
        adds_up = charged.additive(self.problem, asked)
        assert adds_up is not None, f"{asked.kind} adds up"
        return self._additive(adds_up)

    def _sum(self, parts: Iterable[Local]) -> Local:
        total = self._of_tiers({})
        for part in parts:
            total = Local(total.tier + part.tier, total.hop + part.hop)
        return total

    def _of_tiers(self, of_tier: dict[int, Floats]) -> Local:
        count = self.layers + 1
        total = Local(np.zeros((self.tiers, count, count)), np.zeros((self.tiers - 1, count)))
        for tier, cost in of_tier.items():
            total.tier[tier] = cost
        return total

    def _additive(self, charges: Charges) -> Local:
        run = np.concatenate([np.zeros((self.tiers, 1)), np.cumsum(layer_charges(self.nodes, charges), axis=1)], axis=1)
        share = self.share if charges.expected else 1.0
        hop = (charges.byte[:, None] * self.bytes + charges.use[:, None] * (self.bytes > 0)) * share
        tier = run[:, None, :] - run[:, :, None]
        if charges.start.any():
            arriving = (self.cuts[:, None] < self.cuts) * np.broadcast_to(share, self.cuts.shape)[:, None]
            tier += charges.start[:, None, None] * arriving
        return Local(tier, hop)

    def memory(self, tier: int) -> Floats:
        """(cuts, cuts) bytes that a tier needs: parameters, heads, the peak of what is alive, and its runtime."""
        graph, position = self.problem.graph, self.problem.graph.position
        users: dict[str, list[int]] = {}
        for index, layer in enumerate(graph.layers):
            for name in dict.fromkeys(layer.parameters):
                users.setdefault(name, []).append(index)
        # counted for the first of its users on the tier
        spans = [
            (before + 1, user, user, float(graph.parameters[name]))
            for name, each in users.items()
            for before, user in zip([-1, *each], each, strict=False)
        ]
        held = self._inside([*spans, *self._exit_spans(None)])
        answers = []
        for name in graph.outputs:
            tensor = graph.tensor(name)
            if tensor.producer is not None:
                made = position[tensor.producer]
                last = max([made, *(position[reader] for reader in tensor.consumers)])
                answers.append((0, made, last, float(tensor.bytes)))
        alive = self._inside(answers) + self.bytes
        running = alive[:, :-1] + [layer.activation_bytes for layer in graph.layers]
        running[self.cuts[:, None] > self.cuts[:-1]] = 0.0
        peak = np.concatenate([np.zeros((len(self.cuts), 1)), np.maximum.accumulate(running, axis=1)], axis=1)
        runtime = (self.cuts[:, None] < self.cuts) * float(self.problem.tiers[tier].runtime_bytes)
        found: Floats = held + np.maximum(peak, alive) + runtime
        return found

    def _exit_spans(self, size: float | None) -> list[tuple[int, int, int, float]]:
        sizes = [size or float(point.head_bytes) for point in self.problem.exits]
        return [(0, layer, layer, each) for layer, each in zip(self.nodes.exit_layer.tolist(), sizes, strict=True)]

    def _inside(self, spans: Sequence[tuple[int, int, int, float]]) -> Floats:
        """(cuts, cuts): the sum over (first, last, end, amount) with first <= lower cut <= last and end < upper cut."""
        steps = np.zeros((len(self.cuts) + 1, len(self.cuts) + 1))
        for first, last, end, amount in spans:
            steps[first, end + 1] += amount
            steps[last + 1, end + 1] -= amount
        return np.cumsum(np.cumsum(steps, axis=0), axis=1)[:-1, :-1]

    def _money(self, tier: int) -> Local:
        price = self.problem.tiers[tier].price
        if price is None:
            return self._of_tiers({})
        fee = (self.cuts[:, None] < self.cuts) * self.share[:, None] * price.usd_per_request
        rate = self._rate(tier, price)
        offered = np.isfinite(rate)
        work = np.where(offered, self._steps(tier, price) * np.where(offered, rate, 0.0), np.inf)
        bill = self._of_tiers({tier: fee + work})
        return self._sum([bill, self._additive(charged.egress(self.problem, tier, price))])

    def _rate(self, tier: int, price: ServerlessPrice) -> Floats:
        """(cuts, cuts) USD for a step, in the smallest size that holds the part; infinite where none does."""
        rates = {0: 0.0}
        for held, ghz in sorted(price.sizes):
            rates.setdefault(held, price.usd_per_s(held, ghz) * price.step_s)
        smallest = np.searchsorted(np.array(list(rates)), self.memory(tier))
        found = np.array([*rates.values(), np.inf])[smallest]
        # what only passes through is not billed
        found[self.cuts[:, None] >= self.cuts] = 0.0
        return found

    def _steps(self, tier: int, price: ServerlessPrice) -> Floats:
        """(cuts, cuts) expected whole steps of a sample: up to each exit's depth, weighted with who leaves there."""
        where = self.problem.tiers[tier]
        run = np.concatenate([[0.0], np.cumsum([where.latency_s[layer.name] for layer in self.problem.graph.layers])])
        going_on = [1.0, *self.nodes.going_on.tolist()]
        leaving = [*(self.nodes.reaching - self.nodes.going_on).tolist(), going_on[-1]]
        heads = np.zeros((len(self.cuts), len(self.cuts)))
        total = np.zeros_like(heads)
        for number, (share, depth) in enumerate(zip(leaving, [*self.nodes.exit_depth, self.layers], strict=True)):
            if number < len(self.problem.exits):
                layer = int(self.nodes.exit_layer[number])
                seconds = head_s(where.device, self.problem.exits[number].head_macs)
                heads = heads + self._inside([(0, layer, layer, seconds)])
            inside = run[np.minimum(self.cuts, depth)] - run[np.minimum(self.cuts[:, None], depth)]
            started = where.start_s * (self.cuts[:, None] < np.minimum(self.cuts, depth))
            total += share * np.ceil(np.round((started + inside + heads) / price.step_s, 9))
        return total
