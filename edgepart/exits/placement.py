"""Where exits sit inside a part.

A *candidate* is a prefix of the part's topological order (all earlier parts included) across which exactly one
feature tensor crosses to the rest of the network, of a shape that a head can classify; masks and raw inputs may cross
beside it. Exits go to the candidates nearest to the wanted positions, which are shares of the part's compute time:

- ``linear`` (EdgeLessPart, section II): evenly spaced, the i-th of k at u = i/k;
- ``pareto`` (EdgeLessPart, section II): 80 % of the exits lie in the first 20 % of the part, and so on at every
  scale, the i-th of k at u**(log .2 / log .8) for the same u.

The last exit thus sits at the part's end, where the next part takes over. The part that ends in the network's own
classifier needs none there: its u is i/(k+1), and a rule leaves out the places behind which
nothing is left to save. Nor does a rule put two exits of a part where next to nothing is multiplied between them, such
as behind a convolution and behind its normalisation: both heads would read the same features. At most three exits a
part by default (EdgeLessPart, section II).
By hand: an exit after a module, such as DIMEC-DC's m-th and n-th encoder layer (section IV-E: 4 and 6 for BERT-base,
6 and 12 for BERT-large).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgepart.errors import PlanError
from edgepart.graph import Graph, Tensor

Rule = Literal["linear", "pareto", "none"]
RULES: tuple[Rule, ...] = ("linear", "pareto", "none")

PARETO_EXPONENT = math.log(0.2) / math.log(0.8)

#: a rule puts no exit where less than this share of the network's multiply-accumulates is left to save
LEAST_LEFT = 0.01

#: nor two exits with less than this share of their part's multiply-accumulates between them
LEAST_BETWEEN = 0.01


@dataclass(frozen=True)
class Candidate:
    """A place for an exit: the tensor that its head reads, once ``depth`` of the part's layers have run."""

    tensor: str
    depth: int


def candidates(graph: Graph, before: frozenset[str], part: Sequence[str]) -> tuple[Candidate, ...]:
    """The candidates of a part, by depth.

    While one tensor stays the only feature that crosses (layers that compute masks run in between), its place is the
    earliest one, or the part's end if it lasts until there.

    Args:
        before: all layers of the parts before
        part: the part's own layers in topological order
    """
    unread = {tensor.name: sum(name not in before for name in set(tensor.consumers)) for tensor in graph.tensors}
    live = {t.name for t in graph.tensors if t.feature and t.producer in before and unread[t.name]}
    found: dict[str, int] = {}
    for depth, name in enumerate(part, start=1):
        layer = graph.layer(name)
        for tensor in set(layer.inputs):
            unread[tensor] -= 1
        live.update(tensor for tensor in layer.outputs if graph.tensor(tensor).feature)
        live = {tensor for tensor in live if unread[tensor]}
        crossing = graph.tensor(next(iter(live))) if len(live) == 1 else None
        if crossing is not None and crossing.producer in part and is_classifiable(crossing):
            found[crossing.name] = depth if depth == len(part) else found.get(crossing.name, depth)
    return tuple(Candidate(tensor, depth) for tensor, depth in found.items())


def is_classifiable(tensor: Tensor) -> bool:
    """Whether a head can read a tensor: numbers, one row a sample, as features, tokens or a map.

    Windows or attention heads that are folded into the batch have several rows a sample.
    """
    return tensor.is_float and tensor.shape[0] == "batch" and 2 <= len(tensor.shape) <= 4


def worthwhile(graph: Graph, part: Sequence[str], places: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates of the final part before which there is still work to save.

    Behind the last block only pooling and the network's own classifier are left: a head there would answer the same
    at the same cost.
    """
    left = sum(graph.layer(name).macs for name in part)
    after_depth = [left := left - graph.layer(name).macs for name in part]
    least = LEAST_LEFT * sum(layer.macs for layer in graph.layers)
    return tuple(each for each in places if after_depth[each.depth - 1] >= least)


def place(
    rule: Rule,
    places: Sequence[Candidate],
    time_s: Sequence[float],
    macs: Sequence[int],
    count: int,
    final: bool,
) -> list[Candidate]:
    """At most ``count`` of a part's candidates, in order; fewer where there is too little work between them.

    Args:
        places: the part's candidates
        time_s: seconds of each of the part's layers, in order
        macs: multiply-accumulates of each of them
        final: whether the part ends in the network's own classifier
    """
    count = min(count, len(places))
    if rule == "none" or count <= 0:
        return []
    shares = _shares(places, time_s)
    work, least = [sum(macs[: place.depth]) for place in places], LEAST_BETWEEN * sum(macs)
    wanted = positions(rule, count, final)
    taken: set[int] = set()
    # the last one first: the part's end, where it is one of the candidates, is not given to another
    for position in (wanted[-1], *wanted[:-1]):
        nearest = min(range(len(places)), key=lambda index: abs(shares[index] - position))
        apart = (i for i in range(len(places)) if all(abs(work[i] - work[other]) >= least for other in taken))
        free = [index for index in apart if index not in taken]
        if free:
            taken.add(min(free, key=lambda index: (index < nearest, abs(index - nearest))))
    return [places[index] for index in sorted(taken)]


def positions(rule: Rule, count: int, final: bool) -> list[float]:
    """The wanted positions of ``count`` exits, as shares of the part's compute time."""
    even = [number / (count + final) for number in range(1, count + 1)]
    return [share**PARETO_EXPONENT for share in even] if rule == "pareto" else even


def after(graph: Graph, module: str, before: frozenset[str], part: Sequence[str]) -> Candidate:
    """The candidate at the end of a module (or layer) whose last layer is in the part.

    Raises:
        UnknownName: no such module or layer.
        PlanError: not exactly one feature tensor crosses there; names the nearest places.
    """
    inside = graph.after(module).layers
    depth = max((number for number, name in enumerate(part, start=1) if name in inside), default=0)
    places = candidates(graph, before, part)
    # a candidate may stand a few layers later than its tensor's producer (masks run in between)
    for place in places:
        if place.depth == depth or (place.depth > depth > 0 and graph.tensor(place.tensor).producer == part[depth - 1]):
            return place
    if depth == len(part) and not graph.crossing(before | frozenset(part)):
        raise PlanError(f"no exit can sit after '{module}': the network ends there with its own classifier")
    near = sorted(places, key=lambda place: abs(place.depth - depth))[:3]
    shown = ", ".join(f"'{part[place.depth - 1]}'" for place in sorted(near, key=lambda place: place.depth))
    raise PlanError(
        f"no exit can sit after '{module}': not exactly one feature tensor crosses there"
        + (f"; the nearest places are after {shown}" if shown else "; this part has no place for an exit")
    )


def _shares(places: Sequence[Candidate], time_s: Sequence[float]) -> list[float]:
    total = sum(time_s)
    if total <= 0:
        return [place.depth / len(time_s) for place in places]
    return [sum(time_s[: place.depth]) / total for place in places]
