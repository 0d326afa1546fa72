"""The Pareto front of a search: its points, its knee, and the plan of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgepart.errors import EdgepartError, PlanError
from edgepart.files import Document, Record
from edgepart.partitioning.plan import Plan
from edgepart.partitioning.planning import make_plan
from edgepart.partitioning.problem import ExitShare, Placement, Problem
from edgepart.partitioning.quantities import unit
from edgepart.partitioning.routes import Route

ACCURACY = "accuracy"
KNEE = (
    "the least sum of the objectives, each scaled to 0…1 over the front; with two objectives, the farthest below the "
    "line through both ends"
)


@dataclass(frozen=True)
class Point:
    """A choice of exits, thresholds and placement; ``values`` in the order of the objectives, accuracy as a share."""

    values: tuple[float, ...]
    exits: tuple[ExitShare, ...]
    #: of every exit, as the strategy is given it, and the bundle that its head was found in
    thresholds: tuple[float, ...]
    bundles: tuple[str, ...]
    #: by the indices of the tiers of its route
    placement: Placement
    #: indices of the tiers that are on it, where there is more than one way up; empty: all
    route: tuple[int, ...] = ()


class ParetoExit(Record):
    """An exit of a point."""

    tensor: str
    after: str
    head: str | None
    parameters: dict[str, str | int | float | bool]
    threshold: float
    going_on: float
    bundle: str


class ParetoPoint(Record):
    """A point of the front: the values of its objectives, its exits, and how many layers every tier holds.

    ``route`` are the tiers that samples go through, where there is more than one way up; empty: all.
    """

    number: int = Field(ge=1)
    values: dict[str, float]
    exits: tuple[ParetoExit, ...]
    layers: dict[str, int]
    route: tuple[str, ...] = ()


class Pareto(Document):
    """``pareto.json``: the front; ``knee`` is the number of a point."""

    kind: ClassVar[str] = "pareto"

    network: str
    fingerprint: str
    objectives: tuple[str, ...]
    units: dict[str, str]
    strategy: str
    proven: bool
    how: str
    knee: int
    knee_is: str = KNEE
    points: tuple[ParetoPoint, ...]


@dataclass(frozen=True)
class Front:
    """What a search found: no point is as good as another in all objectives and better in one.

    Attributes:
        points: best in the first objective first; point i has number i + 1
        proven: whether nothing within the space is better than any point
        how: how the points were found, in a clause
        cautions: what the user should know, a sentence each
        trials: that were finished, of all routes; 0 where all choices could be tried
        stopped: what kept the search from its trials, Ctrl-C or a lost storage
    """

    problem: Problem
    objectives: tuple[str, ...]
    points: tuple[Point, ...]
    proven: bool
    how: str
    strategy: str
    runtime: str = ""
    cautions: tuple[str, ...] = ()
    trials: int = 0
    stopped: EdgepartError | None = None

    @property
    def knee(self) -> int:
        """Number of the point with the least sum of the objectives, each scaled to 0…1 over the front.

        With two objectives that is the point farthest below the line through the ends (Das, 1999, "On characterizing
        the 'knee' of the Pareto curve").
        """
        costs = minimised([point.values for point in self.points], self.objectives)
        span = np.ptp(costs, axis=0)
        scaled = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
        return 1 + int(scaled.sum(axis=1).argmin())

    def plan(self, number: int) -> Plan:
        """The plan of a point, for ``edgepart build``.

        Raises:
            PlanError: there is no such point.
        """
        if not 1 <= number <= len(self.points):
            raise PlanError(f"the front has no point {number}: give 1 to {len(self.points)}")
        point = self.points[number - 1]
        route = self._route(point, replace(self.problem, exits=point.exits))
        plan = make_plan(route, point.placement, self.runtime, shares="recorded" if point.exits else None)
        exits = [
            planned.model_copy(update={"threshold": threshold})
            for planned, threshold in zip(plan.exits, point.thresholds, strict=True)
        ]
        return plan.model_copy(update={"exits": tuple(exits), "strategy": self.strategy if exits else ""})

    def units(self) -> dict[str, str]:
        """The unit of every objective; none for a share."""
        return {name: "" if name == ACCURACY else unit(name) for name in self.objectives}

    def record(self) -> Pareto:
        """The front as a document."""
        return Pareto(
            network=self.problem.graph.name,
            fingerprint=self.problem.graph.fingerprint,
            objectives=self.objectives,
            units=self.units(),
            strategy=self.strategy,
            proven=self.proven,
            how=self.how,
            knee=self.knee,
            points=tuple(self._recorded(number, point) for number, point in enumerate(self.points, start=1)),
        )

    def _recorded(self, number: int, point: Point) -> ParetoPoint:
        layers, names = self.problem.graph.layers, self._route(point, self.problem).names
        held = Counter(names[tier] for tier in point.placement.tier_of.values())
        return ParetoPoint(
            number=number,
            values=dict(zip(self.objectives, point.values, strict=True)),
            exits=tuple(
                ParetoExit(
                    tensor=share.tensor,
                    after=layers[share.depth - 1].name,
                    head=share.head,
                    parameters=dict(share.parameters),
                    threshold=threshold,
                    going_on=share.going_on,
                    bundle=bundle,
                )
                for share, threshold, bundle in zip(point.exits, point.thresholds, point.bundles, strict=True)
            ),
            layers={name: held[name] for name in self.problem.tier_names},
            route=names if point.route else (),
        )

    def _route(self, point: Point, problem: Problem) -> Route:
        return Route(problem, point.route or tuple(range(len(problem.tiers))))


def minimised(values: Sequence[Sequence[float]], objectives: Sequence[str]) -> NDArray[np.float64]:
    """(points, objectives) values of which less is better."""
    signs = np.array([-1.0 if name == ACCURACY else 1.0 for name in objectives])
    costs: NDArray[np.float64] = np.array(values, np.float64).reshape(-1, len(objectives)) * signs
    return costs
