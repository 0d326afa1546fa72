"""Parts of a network equal the network, at every boundary of it: the checker of the zoo.

At each boundary of the topological order the network is cut in two and both parts run, the second on nothing but the
tensors that the boundary lists; at random nested boundaries, mostly off that order, in three; and once into a part for
every layer. Beside the answers it compares what is sent with what the Graph says, from the definitions: a tensor
crosses that is made inside (or enters) and is read outside; a part owns the parameters of its layers.

Nothing raises: what fails is counted and described, so that a benchmark can publish how many do.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgepart.frameworks import slices
from edgepart.graph import Boundary, Graph
from edgepart.graph.sizes import evaluate_size

Arrays = Mapping[str, np.ndarray]

#: what a network answers must be at least this large, and differ this much between samples, relative to the largest
NOT_NEAR_ZERO, DIFFERENT = 0.01, 1e-3


@dataclass(frozen=True)
class Way:
    """How parts are run, and what the network itself answers when it is run so.

    Attributes:
        answers: what the network makes of inputs, in the order of its outputs
        run: what a part makes of arrays by name
        tolerance: largest difference, relative to the largest answer; 0: bit by bit
    """

    answers: Callable[[Arrays], Sequence[np.ndarray]]
    run: Callable[[Any, Arrays], Arrays] = lambda part, arrays: part.run(arrays)
    tolerance: float = 0.0


@dataclass(frozen=True)
class Subject:
    """A network of the zoo, captured, and the network itself to compare with.

    Attributes:
        inputs: arrays for a batch size and a seed
        held: names and bytes of the parameters that a part really holds; fails where no operation in it reads one
        everywhere: how parts run at every boundary
        sampled: ways that take too long for that or are not exact, such as parts as they are deployed
        batches: sizes for two parts, three parts and one part a layer; ones where the network fixes it
    """

    name: str
    program: Any
    inputs: Callable[[int, int], Arrays]
    held: Callable[[Any], Mapping[str, int]]
    everywhere: Way
    sampled: tuple[Way, ...] = ()
    batches: tuple[int, int, int] = (1, 2, 3)


@dataclass
class Findings:
    """What came out of checking one network."""

    name: str
    layers: int
    boundaries: int
    checked_boundaries: int = 0
    slices: int = 0
    largest_difference: float = 0.0
    failures: list[str] = field(default_factory=list)


def check(subject: Subject, every: int = 1, triples: int = 20, sampled: int = 8) -> Findings:
    """Cut a network at every boundary (or each ``every``-th of them), and ``triples`` times in three.

    In the ways that are not for everywhere, ``sampled`` boundaries and as many triples.
    """
    with _few_collections():
        return _checked(subject, every, triples, sampled)


def _checked(subject: Subject, every: int, triples: int, sampled: int) -> Findings:
    graph = subject.program.graph
    boundaries = graph.boundaries()
    findings = Findings(subject.name, len(graph.layers), len(boundaries))
    findings.failures += _wrong_boundaries(graph, boundaries)
    checker = _Checker(subject, subject.everywhere, findings)
    checker.check_not_vacuous()
    checker.check_by_layer(boundaries, subject.batches[2])
    for boundary in boundaries[::every]:
        checker.cut([boundary], subject.batches[0])
        findings.checked_boundaries += 1
    draw = random.Random(subject.name)
    thrice = [nested(graph, draw) for _ in range(triples)]
    for pair in thrice:
        checker.cut(pair, subject.batches[1])
    for way in subject.sampled if sampled else ():
        checker = _Checker(subject, way, findings)
        for cuts in [*thrice[:sampled], *([each] for each in boundaries[:: -(-len(boundaries) // sampled)])]:
            checker.cut(cuts, subject.batches[1])
    return findings


@contextmanager
def _few_collections() -> Iterator[None]:
    """Slices hold cycles; to look for them through all that lives, every thousand objects, takes half of the time."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(500_000, 2, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def nested(graph: Graph, draw: random.Random) -> list[Boundary]:
    """Two boundaries, one inside the other, each closed around a few layers drawn at random."""
    names = [layer.name for layer in graph.layers]
    while True:
        first = graph.boundary(draw.sample(names, draw.randint(1, 2)))
        second = graph.boundary([*first.layers, *draw.sample(names, draw.randint(1, 2))])
        if first.layers < second.layers < set(names):
            return [first, second]


class _Checker:
    def __init__(self, subject: Subject, way: Way, findings: Findings) -> None:
        self._subject, self._way, self._graph, self._findings = subject, way, subject.program.graph, findings
        self._whole: dict[int, tuple[Arrays, list[np.ndarray]]] = {}

    def _answered(self, batch: int) -> tuple[Arrays, list[np.ndarray]]:
        """Inputs, the same arrays whenever the batch is, and what the network makes of them."""
        if batch not in self._whole:
            given = self._subject.inputs(batch, batch)
            self._whole[batch] = given, list(self._way.answers(given))
        return self._whole[batch]

    def check_not_vacuous(self) -> None:
        """A network that answers zeros, or the same to anything, would make any comparison pass."""
        answers = [self._way.answers(self._subject.inputs(self._subject.batches[1], seed)) for seed in (2, 3)]
        for name, *values in zip(self._graph.outputs, *answers, strict=True):
            scale = np.abs(values[0]).max()
            if not scale > NOT_NEAR_ZERO:
                self._findings.failures.append(f"the network's '{name}' is near zero")
            if not np.abs(values[0] - values[1]).max() > DIFFERENT * scale:
                self._findings.failures.append(f"the network's '{name}' is the same for other inputs")

    def cut(self, boundaries: Sequence[Boundary], batch: int) -> None:
        where = " and ".join(f"after {len(each.layers)} layers" for each in boundaries)
        self._collect(where, lambda: self._wrong_cut(boundaries, batch))

    def check_by_layer(self, boundaries: Sequence[Boundary], batch: int) -> None:
        """One part a layer; every tensor has the shape that the Graph says."""
        self._collect("one part a layer", lambda: self._wrong_by_layer(boundaries, batch))

    def _collect(self, where: str, check: Callable[[], Iterator[str]]) -> None:
        try:
            self._findings.failures += [f"{where}: {wrong}" for wrong in check()]
        except Exception as error:  # whatever a slice raises is a finding
            self._findings.failures.append(f"{where}: {type(error).__name__}: {error}")

    def _wrong_cut(self, boundaries: Sequence[Boundary], batch: int) -> Iterator[str]:
        graph, parts = self._graph, slices(self._subject.program, boundaries)
        self._findings.slices += len(parts)
        arriving, answers = self._answered(batch)
        leaving: dict[str, np.ndarray] = {}
        for part, boundary in zip(parts, [*boundaries, None], strict=True):
            yield from self._wrong_part(part)
            made = self._way.run(part, {name: arriving[name] for name in part.inputs})
            sent = boundary.tensors if boundary else ()
            if set(made) - {*sent, *graph.outputs}:
                yield f"a part makes {sorted(set(made) - {*sent, *graph.outputs})}, which nobody reads"
            if set(made) & {*arriving, *leaving}:
                yield f"{sorted(set(made) & {*arriving, *leaving})} are made twice"
            leaving |= {name: made[name] for name in graph.outputs if name in made}
            known = {**arriving, **made}
            arriving = {name: known[name] for name in sent}
            if boundary:
                yield from _wrong_bytes(graph, boundary, arriving, batch)
        yield from self._different([leaving[name] for name in graph.outputs], answers)

    def _wrong_part(self, part: Any) -> Iterator[str]:
        graph = self._graph
        owned = {name for layer in part.layers for name in graph.layer(layer).parameters}
        expected = {name: graph.parameters[name] for name in owned}
        if dict(part.parameters) != expected:
            yield f"a part says it owns {_difference(part.parameters, expected)}"
        if dict(held := self._subject.held(part)) != expected:
            yield f"a part holds {_difference(held, expected)}"

    def _wrong_by_layer(self, boundaries: Sequence[Boundary], batch: int) -> Iterator[str]:
        given, answers = self._answered(batch)
        known = dict(given)
        for part in slices(self._subject.program, boundaries):
            self._findings.slices += 1
            known |= self._way.run(part, {name: known[name] for name in part.inputs})
        sizes = self._graph.symbols | {"batch": batch}
        for name, array in known.items():
            shape = tuple(evaluate_size(size, sizes) for size in self._graph.tensor(name).shape)
            if array.shape != shape:
                yield f"'{name}' has the shape {array.shape}, the graph says {shape}"
        yield from self._different([known[name] for name in self._graph.outputs], answers)

    def _different(self, found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> Iterator[str]:
        for name, one, other in zip(self._graph.outputs, found, expected, strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                yield f"'{name}' is {one.dtype} {one.shape}, the network's {other.dtype} {other.shape}"
                continue
            distance = np.abs(one.astype(np.float64) - other.astype(np.float64)).max() / np.abs(other).max()
            self._findings.largest_difference = max(self._findings.largest_difference, float(distance))
            if not distance <= self._way.tolerance:
                yield f"'{name}' differs by {distance:.2g} of the largest answer"


def _wrong_boundaries(graph: Graph, boundaries: Sequence[Boundary]) -> Iterator[str]:
    """What crosses, from the definition: made inside or entering, and read by a layer outside."""
    readers: dict[str, list[int]] = {}
    made = dict.fromkeys(graph.inputs, -1)
    for position, layer in enumerate(graph.layers):
        for name in layer.outputs:
            if name in made:
                yield f"'{name}' is made twice"
            made[name] = position
        for name in layer.inputs:
            readers.setdefault(name, []).append(position)
    for last, boundary in enumerate(boundaries):
        crossing = {name for name, place in made.items() if place <= last < max(readers.get(name, [-1]))}
        if len(set(boundary.tensors)) != len(boundary.tensors):
            yield f"after {last + 1} layers a tensor is sent twice"
        if set(boundary.tensors) != crossing:
            yield f"after {last + 1} layers {sorted(crossing ^ set(boundary.tensors))} should (not) cross"


def _wrong_bytes(graph: Graph, boundary: Boundary, sent: Arrays, batch: int) -> Iterator[str]:
    """Bytes for one sample against arrays of one sample, and that none is sent twice under two names."""
    if batch == 1 and sum(array.nbytes for array in sent.values()) != boundary.bytes:
        told = {name: graph.tensor(name).bytes for name in sent}
        wrong = {name: (array.nbytes, told[name]) for name, array in sent.items() if array.nbytes != told[name]}
        yield f"bytes sent (and told) are {wrong}"
    seen: dict[object, str] = {}
    for name, array in sent.items():
        if not graph.tensor(name).feature:
            continue
        other = seen.setdefault((array.shape, array.dtype.str, array.tobytes()), name)
        if other != name:
            yield f"'{other}' and '{name}' are the same values, sent twice"


def _difference(found: Mapping[str, int], expected: Mapping[str, int]) -> str:
    names = sorted({name for name, _ in set(found.items()) ^ set(expected.items())})
    return f"other parameters than its layers use: {', '.join(names)}"
