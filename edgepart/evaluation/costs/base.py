"""The shape of every cost model, and the costs that a plan has under one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgepart.dispatch.base import CostTable
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan


@dataclass(frozen=True)
class Facts:
    """What a cost model may want to know besides the plan.

    Attributes:
        graph: the network, for models that count its layers
        router_s: seconds that the first tier takes to embed a sample for the router (0: unknown or negligible)
    """

    graph: Graph | None = None
    router_s: float = 0.0


class CostModel(Protocol):
    """What the path of a sample costs (entry-point group ``edgepart.cost_models``)."""

    name: str
    unit: str

    def table(self, plan: Plan, facts: Facts) -> CostTable:
        """(T, K) cost of a sample that enters at tier t and leaves at exit k; infinite where k lies below t.

        Raises:
            DispatchError: the plan or the facts lack something that the model needs.
        """
        ...

    def full_model(self, plan: Plan, facts: Facts) -> float:
        """Cost of a sample in the network without exits: what savings are measured against."""
        ...

    def router(self, plan: Plan, facts: Facts) -> float:
        """Cost of embedding a sample for a strategy that looks at embeddings."""
        return 0.0

    def describe(self) -> str:
        """One sentence for reports: what is counted, with every constant."""
        ...


@dataclass(frozen=True)
class Costs:
    """The costs of one plan under one cost model: all that replaying needs.

    Attributes:
        table: (T, K), as :meth:`CostModel.table`
        full_model: cost of a sample in the network without exits
        router: added to every sample whose strategy looks at embeddings
        unit: of all three
        description: how they were counted
    """

    table: CostTable
    full_model: float
    router: float = 0.0
    unit: str = ""
    description: str = ""


def tabulate(model: CostModel, plan: Plan, facts: Facts | None = None) -> Costs:
    """The costs of a plan under a cost model."""
    known = facts or Facts()
    return Costs(
        table=model.table(plan, known),
        full_model=model.full_model(plan, known),
        router=model.router(plan, known),
        unit=model.unit,
        description=model.describe(),
    )
