"""What every partitioner promises. Subclass :class:`PartitionerContract` in a test and name your partitioner."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning import Partitioner, Placement, Problem, Tier
from edgepart.partitioning.exhaustive import Exhaustive
from edgepart.partitioning.limits import exceeded
from edgepart.partitioning.placement_cost import evaluate
from edgepart.partitioning.plan import Deployment
from edgepart.testing.graphs import random_graph
from edgepart.testing.hardware import example_device, example_link

NAMES = ("mobile", "edge", "cloud")
#: solvers round: relative and absolute error of a latency
TOLERANCE = 1e-6


class PartitionerContract:
    """Run by pytest once subclassed::

        class TestFewestBytes(PartitionerContract):
            def partitioner(self):
                return FewestBytes()

    A placement names a tier for every layer and sends tensors upwards only. Its proof claims no more than is true:
    ``optimal`` is as good as exhaustive search, a bound is no higher than the optimum. Pins and limits are kept, or
    refused as :class:`InfeasiblePlan`; an exact method refuses only what exhaustive search cannot place either.
    """

    #: whether it finds the optimum wherever there is a placement
    exact = True
    #: whether it minds pins and memory limits; rules need not, what violates one is refused afterwards
    minds_pins_and_limits = True
    deployments: tuple[Deployment, ...] = ("split",)
    #: random problems to try
    count = 100

    def partitioner(self) -> Partitioner:
        """A fresh partitioner."""
        raise NotImplementedError

    def test_placements_are_legal(self) -> None:
        for problem, placement in self._placed():
            assert_legal(problem, placement, self.minds_pins_and_limits)

    def test_the_proof_is_true(self) -> None:
        for problem, placement in self._placed():
            if self.exact:
                assert placement.proof.status == "optimal", "an exact method must prove small problems optimal"
            # a rule that ignores limits may well be faster than the best placement that keeps them
            if placement.proof.status in ("optimal", "bound"):
                assert_proof(problem, placement, Exhaustive().solve(problem))

    def test_what_cannot_be_placed_is_refused(self) -> None:
        for problem in self.problems():
            possible = _solve(Exhaustive(), problem) is not None or not self.minds_pins_and_limits
            found = _solve(self.partitioner(), problem) is not None
            assert found <= possible, f"placed, although nothing fits: {_describe(problem)}"
            assert found == possible or not self.exact, f"refused, although a placement fits: {_describe(problem)}"

    def test_the_same_problem_has_the_same_answer(self) -> None:
        for problem, placement in self._placed():
            again = self.partitioner().solve(problem)
            assert dict(again.tier_of) == dict(placement.tier_of), f"another answer the second time: {problem}"

    def test_one_tier_holds_everything(self) -> None:
        for problem in self.problems():
            alone = replace(problem, tiers=(replace(problem.tiers[0], memory_limit_bytes=None),), links=(), pins={})
            assert set(self.partitioner().solve(alone).tier_of.values()) == {0}, "there is only one tier to choose"

    def problems(self) -> Iterator[Problem]:
        """Small random problems; half of them with limits and pins, where these are minded."""
        for seed in range(self.count):
            deployment = self.deployments[seed % len(self.deployments)]
            yield random_problem(seed, deployment, constrained=self.minds_pins_and_limits and seed % 2 == 1)

    def _placed(self) -> Iterator[tuple[Problem, Placement]]:
        for problem in self.problems():
            placement = _solve(self.partitioner(), problem)
            if placement is not None:
                yield problem, placement


def random_problem(seed: int, deployment: Deployment = "split", constrained: bool = True) -> Problem:
    """Two or three tiers, upper ones mostly faster, with whole numbers so that ties occur.

    Args:
        constrained: with memory limits, some of which nothing satisfies, and sometimes a pinned layer
    """
    random = np.random.default_rng(seed)
    graph = random_graph(random)
    count = int(random.integers(2, 3, endpoint=True))
    whole = sum(graph.parameters.values()) + sum(tensor.bytes for tensor in graph.tensors)
    tiers = tuple(
        Tier(
            name=name,
            device=example_device(name),
            latency_s={layer.name: float(random.integers(0, slowest)) for layer in graph.layers},
            memory_limit_bytes=int(random.integers(whole // 4, whole)) if constrained else None,
            runtime_bytes=int(random.integers(0, whole // 8, endpoint=True)) if constrained else 0,
        )
        for name, slowest in zip(NAMES[:count], (20, 10, 4)[:count], strict=True)
    )
    links = tuple(example_link(float(random.choice([4.0, 8.0, 80.0])), float(random.integers(0, 5))) for _ in tiers[1:])
    layer = graph.layers[random.integers(len(graph.layers))].name
    pins = {layer: tiers[random.integers(count)].name} if constrained and random.random() < 0.6 else {}
    tiers = tuple(replace(tier, start_s=float(random.choice([0.0, 0.0, 1.0, 4.0]))) for tier in tiers)
    return Problem(graph, tiers, links, deployment, pins)


def assert_legal(problem: Problem, placement: Placement, pins_and_limits: bool = True) -> None:
    """Every layer has a tier, tensors travel upwards only, and pins and memory limits are kept."""
    names = [tier.name for tier in problem.tiers]
    assert placement.tier_of.keys() == problem.graph.position.keys(), "not every layer has a tier, or others have one"
    for layer in problem.graph.layers:
        tier = placement.tier_of[layer.name]
        assert 0 <= tier < len(names), f"'{layer.name}' is on tier {tier} of {len(names)}"
        for parent in problem.graph.parents[problem.graph.position[layer.name]]:
            below = placement.tier_of[problem.graph.layers[parent].name]
            assert below <= tier, f"'{layer.name}' lies below a layer that it reads from"
    if pins_and_limits:
        moved = [layer for layer, tier in problem.pins.items() if names[placement.tier_of[layer]] != tier]
        assert not moved, f"the pins of {moved} are not kept"
        assert not exceeded(problem, placement.tier_of), f"over the limit: {exceeded(problem, placement.tier_of)}"


def assert_proof(problem: Problem, placement: Placement, best: Placement) -> None:
    """A proof of status ``optimal`` or ``bound`` is true, given a best placement."""
    proof, found = placement.proof, evaluate(problem, placement.tier_of).latency_s
    optimum = evaluate(problem, best.tier_of).latency_s
    assert proof.bound is not None, "a proof of this status states a bound"
    assert proof.gap is not None, "a proof of this status states a gap"
    slack = TOLERANCE * (1 + optimum)
    assert proof.bound <= optimum + slack, f"the bound of {proof.bound} s is above the optimum of {optimum} s"
    if proof.status == "optimal":
        assert found <= optimum + slack, f"{found} s is called optimal, {optimum} s is: {_describe(problem)}"
    gap = (found - proof.bound) / found if found else 0.0
    assert math.isclose(proof.gap, gap, abs_tol=1e-9), f"the gap is {gap}, not {proof.gap}"


def _solve(partitioner: Partitioner, problem: Problem) -> Placement | None:
    try:
        return partitioner.solve(problem)
    except InfeasiblePlan:
        return None


def _describe(problem: Problem) -> str:
    layers = [(layer.name, layer.inputs) for layer in problem.graph.layers]
    tiers = [
        (tier.name, dict(tier.latency_s), tier.start_s, tier.memory_limit_bytes, tier.runtime_bytes)
        for tier in problem.tiers
    ]
    return f"layers {layers}, tiers {tiers}, pins {dict(problem.pins)}"
