"""A place where a network can be cut."""

from __future__ import annotations

from edgepart.files import Record


class Boundary(Record):
    """A set of layers closed under predecessors, and the tensors that cross from it to the rest.

    ``bytes`` counts each crossing tensor once, for one sample.
    """

    layers: frozenset[str]
    tensors: tuple[str, ...]
    bytes: int
