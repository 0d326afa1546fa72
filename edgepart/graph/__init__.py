"""The Graph, its boundaries, and what can be read off it without running anything."""

from edgepart.graph.boundary import Boundary
from edgepart.graph.graph import Graph, Layer, Tensor
from edgepart.graph.liveness import peak_activation_bytes

__all__ = ["Boundary", "Graph", "Layer", "Tensor", "peak_activation_bytes"]
