"""Problem → Plan: which tier runs which layers, and where samples may leave."""

from edgepart.partitioning.plan import FINAL, Hop, Plan, PlannedExit, Proof, TierPlan
from edgepart.partitioning.planning import partition
from edgepart.partitioning.problem import Partitioner, Placement, Problem, Tier

__all__ = [
    "FINAL",
    "Hop",
    "Partitioner",
    "Placement",
    "Plan",
    "PlannedExit",
    "Problem",
    "Proof",
    "Tier",
    "TierPlan",
    "partition",
]
