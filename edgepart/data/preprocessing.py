"""Which preprocessing a network has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepart.data.arrays import ArrayPreprocessing
from edgepart.data.base import Preprocessing
from edgepart.data.images import ImagePreprocessing
from edgepart.data.text import TextPreprocessing
from edgepart.graph import Graph

__all__ = [
    "ArrayPreprocessing",
    "ImagePreprocessing",
    "Preprocessing",
    "TextPreprocessing",
    "default_preprocessing",
    "preprocessing_for",
]


def preprocessing_for(graph: Graph, given: Preprocessing | Mapping[str, Any] | None) -> Preprocessing:
    """The preprocessing that the user gave beside a network, bound to it; :func:`default_preprocessing` for None.

    Raises:
        DataError: it is not valid, or makes something else than the network takes.
    """
    if given is None:
        return default_preprocessing(graph)
    return (given if isinstance(given, Preprocessing) else Preprocessing.from_dict(given)).bind(graph)


def default_preprocessing(graph: Graph) -> Preprocessing:
    """Arrays go to the network as they are. Anything else (texts, images) is declared, not guessed."""
    return ArrayPreprocessing().bind(graph)
