"""EdgeLessPart's two rules for where to split (Núñez Araya et al., section II).

The paper makes one split, between edge and cloud. With more than two tiers each rule is applied again to what the
lower tiers leave over; the docstrings say how. Rules know nothing of links, limits and pins: a placement that
violates a limit or pin is refused afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgepart.errors import PlanError
from edgepart.graph import Graph, peak_activation_bytes
from edgepart.partitioning.placement_cost import compute_s
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.prefixes import cut_at, cut_points
from edgepart.partitioning.problem import Placement, Problem


class MemoryShare:
    """The first tier gets the longest prefix that needs at most ``share`` of the whole network's memory.

    Memory is parameters and peak activations of the prefix run as one part; 70 % in the paper. With T tiers, a
    sequence gives one cumulative share per boundary (T - 1, ascending): what the tiers up to there hold together.
    A single share is applied again to what is left: 1 - (1 - share)**k up to the k-th tier.
    """

    def __init__(self, share: float | Sequence[float] = 0.7) -> None:
        self.shares = (share,) if isinstance(share, int | float) else tuple(share)
        if not all(0 < each <= 1 for each in self.shares) or list(self.shares) != sorted(self.shares):
            given = ", ".join(f"{each:.0%}" for each in self.shares)
            raise PlanError(f"memory share {given}: expected shares above 0 % up to 100 %, in ascending order")

    def solve(self, problem: Problem) -> Placement:
        """Cut where the shares say.

        Raises:
            PlanError: the number of shares is neither one nor that of the boundaries.
        """
        graph, boundaries = problem.graph, len(problem.tiers) - 1
        shares = self.shares
        if len(shares) == 1:
            shares = tuple(1 - (1 - shares[0]) ** number for number in range(1, boundaries + 1))
        if len(shares) != boundaries:
            raise PlanError(
                f"{len(shares)} memory shares for {boundaries} boundaries between {len(problem.tiers)} tiers: "
                "give one share, or one per boundary"
            )
        whole = prefix_memory_bytes(graph, len(graph.layers))
        points = cut_points(problem)
        needed = [prefix_memory_bytes(graph, point) for point in points]
        ends = [max(p for p, size in zip(points, needed, strict=True) if size <= share * whole) for share in shares]
        return Placement(cut_at(problem, ends), Proof(status="rule", method="memory-share"))


class LatencyMatch:
    """The lower tier gets the prefix that takes as long there as the whole network takes on the last tier.

    That is, the prefix whose latency is nearest to it (the shorter one of two equally near). With more than two
    tiers each tier below the last in turn gets such a run of the layers that are left.
    """

    def solve(self, problem: Problem) -> Placement:
        """Cut where the latencies match."""
        names = [layer.name for layer in problem.graph.layers]
        target = compute_s(problem.tiers[-1], names)
        points = cut_points(problem)
        start, ends = 0, []
        for tier in problem.tiers[:-1]:
            distance = {point: abs(compute_s(tier, names[start:point]) - target) for point in points if point >= start}
            start = min(distance, key=lambda point: (distance[point], point))
            ends.append(start)
        return Placement(cut_at(problem, ends), Proof(status="rule", method="latency-match"))


def prefix_memory_bytes(graph: Graph, length: int) -> int:
    """Parameters and peak activations of the first layers of the topological order."""
    layers = [layer.name for layer in graph.layers[:length]]
    return graph.parameter_bytes(layers) + (peak_activation_bytes(graph, layers) if layers else 0)
