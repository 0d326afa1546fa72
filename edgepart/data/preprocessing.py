"""Which preprocessing a network has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgepart.data.arrays import ArrayPreprocessing
from edgepart.data.base import Preprocessing
from edgepart.data.images import ImagePreprocessing
from edgepart.data.text import TextPreprocessing
from edgepart.graph import Graph
from edgepart.yaml_fields import read_fields

__all__ = [
    "ArrayPreprocessing",
    "ImagePreprocessing",
    "Preprocessing",
    "TextPreprocessing",
    "default_preprocessing",
    "preprocessing_for",
    "read_preprocessing",
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


def read_preprocessing(path: str | Path) -> Preprocessing:
    """A preprocessing from a YAML file: ``kind: image`` (or text, array) and its settings.

    Raises:
        FileError: no such file, not YAML, or a field given twice.
        DataError: it is not valid.
    """
    return Preprocessing.from_dict(read_fields(Path(path)))
