"""Problem → Plan: which tier runs which layers, and where samples may leave."""

from edgepart.partition.plan import FINAL, Hop, Plan, PlannedExit, Proof, TierPlan
from edgepart.partition.planning import partition
from edgepart.partition.problem import Partitioner, Placement, Problem, Tier

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
