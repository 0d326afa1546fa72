"""Quantities that add up: what tiers charge for starting and for every layer, and hops for use and for each byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepart.hardware import ServerlessPrice
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.quantities import Quantity
from edgepart.partitioning.values import head_s, joules_per_byte, power_w

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Charges:
    """An additive quantity, before it is weighted with the shares of the samples.

    Attributes:
        layer: (tiers, layers) for running a layer
        head: (tiers, exits) for asking a head
        byte: (hops,) for sending a byte up
        use: (hops,) for sending anything
        start: (tiers,) for running anything
        expected: whether a layer, head, hop or start is charged for the samples that come to it only; else for a sample
            that takes no exit, and heads not at all
    """

    layer: Floats
    head: Floats
    byte: Floats
    use: Floats
    start: Floats
    expected: bool = True


def latency(problem: Problem, expected: bool = True) -> Charges:
    """Seconds of a sample."""
    links, back = problem.links, problem.answer_bytes
    return Charges(
        layer=layer_s(problem),
        head=_head_s(problem),
        byte=np.array([8 / link.up_bits_per_s for link in links]),
        use=np.array([link.round_trip_s + 8 * back / link.down_bits_per_s for link in links]),
        start=_start_s(problem),
        expected=expected,
    )


def energy(problem: Problem, tier: int | None = None) -> Charges:
    """Joules of all tiers, or of one: computing, and sending what leaves it.

    Raises:
        PlanError: a device or link that counts does not state its power.
    """
    counted = [tier in (None, index) for index in range(len(problem.tiers))]
    power = np.array([power_w(where) if on else 0.0 for where, on in zip(problem.tiers, counted, strict=True)])
    byte = [joules_per_byte(link) if on else 0.0 for link, on in zip(problem.links, counted, strict=False)]
    return Charges(
        layer=layer_s(problem) * power[:, None],
        head=_head_s(problem) * power[:, None],
        byte=np.array(byte),
        use=np.zeros(len(problem.links)),
        start=_start_s(problem) * power,
    )


def computing(problem: Problem, tier: int) -> Charges:
    """Seconds that one tier works for a sample, once started."""
    only = np.arange(len(problem.tiers)) == tier
    nothing, no_start = np.zeros(len(problem.links)), np.zeros(len(problem.tiers))
    return Charges(layer_s(problem) * only[:, None], _head_s(problem) * only[:, None], nothing, nothing, no_start)


def sending(problem: Problem, hop: int) -> Charges:
    """Seconds that one link is busy with a sample: its bytes at the link's rate."""
    return _on_a_hop(problem, hop, 8 / problem.links[hop].up_bits_per_s, expected=True)


def sent_bytes(problem: Problem, hop: int) -> Charges:
    """Bytes that a sample which crosses a link sends up."""
    return _on_a_hop(problem, hop, 1.0, expected=False)


def egress(problem: Problem, tier: int, price: ServerlessPrice) -> Charges:
    """USD for what a tier sends up."""
    if tier == len(problem.links):
        return _on_a_hop(problem, tier, 0.0, expected=True)
    return _on_a_hop(problem, tier, price.egress_usd(1), expected=True)


def additive(problem: Problem, asked: Quantity) -> Charges | None:
    """The charges of a quantity; None for memory, money and the period, which do not add up.

    Raises:
        PlanError: as :func:`energy`.
    """
    if asked.kind in ("latency", "full-latency"):
        return latency(problem, expected=asked.kind == "latency")
    if asked.kind == "energy":
        return energy(problem, asked.index)
    if asked.kind == "bytes" and asked.index is not None:
        return sent_bytes(problem, asked.index)
    return None


def layer_s(problem: Problem) -> Floats:
    """(tiers, layers) seconds."""
    names = [layer.name for layer in problem.graph.layers]
    return np.array([[tier.latency_s[name] for name in names] for tier in problem.tiers])


def _start_s(problem: Problem) -> Floats:
    return np.array([tier.start_s for tier in problem.tiers])


def _head_s(problem: Problem) -> Floats:
    return np.array([[head_s(tier.device, point.head_macs) for point in problem.exits] for tier in problem.tiers])


def _on_a_hop(problem: Problem, hop: int, byte: float, expected: bool) -> Charges:
    tiers, hops = len(problem.tiers), len(problem.links)
    return Charges(
        layer=np.zeros((tiers, len(problem.graph.layers))),
        head=np.zeros((tiers, len(problem.exits))),
        byte=byte * (np.arange(hops) == hop),
        use=np.zeros(hops),
        start=np.zeros(tiers),
        expected=expected,
    )
