"""Problem → Plan: which tier runs which layers, and where samples may leave.

What the user names becomes a Problem (``make_problem``), a Partitioner answers with the tier of every layer (one
method a file), exits are put into the parts (``exit_points``), and all costs are taken from one definition
(``placement_cost``). So a method knows nothing of devices, exits or files, and methods are compared on the same
terms. The Plan says what will run where; ``stages`` says in which pieces.
"""

from edgepart.partitioning.plan import FINAL, Hop, Plan, PlannedExit, Proof, TierPlan
from edgepart.partitioning.planning import partition
from edgepart.partitioning.problem import ExitShare, Partitioner, Placement, Problem, Tier

__all__ = [
    "FINAL",
    "ExitShare",
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
