"""The shipped partitioners and the guide's keep the contract, and the contract notices one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from guides import contract_tests

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning import Partitioner, Placement, Problem
from edgepart.partitioning.edgelesspart import LatencyMatch, MemoryShare
from edgepart.partitioning.exhaustive import Exhaustive
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.testing.partitioners import PartitionerContract


class TestMinimumCut(PartitionerContract):
    def partitioner(self) -> Partitioner:
        return MinimumCut()


class TestExhaustive(PartitionerContract):
    def partitioner(self) -> Partitioner:
        return Exhaustive()


class TestMemoryShare(PartitionerContract):
    exact, minds_pins_and_limits = False, False
    deployments = ("split", "nested")

    def partitioner(self) -> Partitioner:
        return MemoryShare()


class TestLatencyMatch(TestMemoryShare):
    def partitioner(self) -> Partitioner:
        return LatencyMatch()


@pytest.mark.parametrize(("suite", "method"), contract_tests("add-a-partitioner.md", "TestPrefixes"))
def test_the_guides_example_keeps_the_contract(suite: Any, method: str) -> None:
    getattr(suite(), method)()


def change(placement: Placement, **proof: Any) -> Placement:
    return replace(placement, proof=placement.proof.model_copy(update=proof))


def always_up(problem: Problem) -> Placement:
    """Everything on the last tier, called optimal."""
    placement = Exhaustive().solve(problem)
    return replace(placement, tier_of=dict.fromkeys(placement.tier_of, len(problem.tiers) - 1))


def upside_down(problem: Problem) -> Placement:
    placement = Exhaustive().solve(problem)
    top = len(problem.tiers) - 1
    return replace(placement, tier_of={layer: top - tier for layer, tier in placement.tier_of.items()})


def gives_up(problem: Problem) -> Placement:
    raise InfeasiblePlan("too hard")


def heedless(problem: Problem) -> Placement:
    return Exhaustive().solve(replace(problem, pins={}))


@pytest.mark.parametrize(
    ("solve", "test", "says"),
    [
        (always_up, "test_the_proof_is_true", "is called optimal"),
        (upside_down, "test_placements_are_legal", "lies below a layer that it reads from|are not kept|over the limit"),
        (gives_up, "test_what_cannot_be_placed_is_refused", "refused, although a placement fits"),
        (heedless, "test_placements_are_legal", "the pins of .* are not kept"),
        (
            lambda problem: change(Exhaustive().solve(problem), bound=1e9),
            "test_the_proof_is_true",
            "above the optimum",
        ),
        (lambda problem: change(Exhaustive().solve(problem), status="rule"), "test_the_proof_is_true", "must prove"),
        (lambda problem: change(Exhaustive().solve(problem), gap=0.5), "test_the_proof_is_true", "the gap is"),
    ],
)
def test_the_contract_notices(solve: Any, test: str, says: str) -> None:
    class Broken:
        def solve(self, problem: Problem) -> Placement:
            return solve(problem)

    class Suite(PartitionerContract):
        def partitioner(self) -> Partitioner:
            return Broken()

    with pytest.raises(AssertionError, match=says):
        getattr(Suite(), test)()
