"""Where the router of a network looks: an embedding that is cheap to compute before any tier has begun."""

from __future__ import annotations

from edgepart.data.base import Preprocessing
from edgepart.data.text import TextPreprocessing
from edgepart.exits.placement import is_classifiable
from edgepart.graph import Boundary, Graph


def router_place(graph: Graph) -> tuple[Boundary | None, str]:
    """The boundary up to which the router runs and the tensor that it averages.

    For texts that is the output of the embedding layer: the last place where one feature crosses before any
    multiply-accumulate is spent (DIMEC-DC embeds a text so). For images it is the output of the stem: the last such
    place before the second layer that multiplies, so that the stem's normalisation and activation are in. A network
    without such a place is embedded at the first place there is, or by its output.
    """
    tokens = not any(graph.tensor(name).is_float for name in graph.inputs)
    found: list[tuple[Boundary, str]] = []
    for boundary, multiplying in zip(graph.boundaries(), _multiplying_layers(graph), strict=True):
        features = [name for name in boundary.tensors if graph.tensor(name).feature and graph.tensor(name).is_float]
        if len(features) != 1 or not _can_be_averaged(graph, features[0]):
            continue
        if found and multiplying > (0 if tokens else 1):
            break
        found.append((boundary, features[0]))
    return found[-1] if found else (None, graph.outputs[0])


def mask_input(graph: Graph, preprocessing: Preprocessing) -> str | None:
    """The input that marks the positions that count (1) among padding (0); None where there is none."""
    if isinstance(preprocessing, TextPreprocessing):
        return next((name for name, role in preprocessing.inputs.items() if role == "attention_mask"), None)
    return "attention_mask" if "attention_mask" in graph.inputs else None


def _multiplying_layers(graph: Graph) -> list[int]:
    """How many layers that multiply have run after the first layer, the first two, … all but the last."""
    count, counts = 0, []
    for layer in graph.layers[:-1]:
        count += layer.macs > 0
        counts.append(count)
    return counts


def _can_be_averaged(graph: Graph, name: str) -> bool:
    return is_classifiable(graph.tensor(name)) and isinstance(graph.channels(name), int)
