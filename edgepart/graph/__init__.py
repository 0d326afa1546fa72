"""The Graph, its boundaries, and what can be read off it without running anything.

Layers stand in topological order, tensors between them. A *boundary* is a set of layers closed under predecessors: it
can run first, and the tensors that cross it are all that the rest of the network needs of it. Whatever runs in one go
lies between two boundaries: a *part* is what one tier runs, a *stage* a piece of a part up to an exit or the part's
end, a *segment* a piece that the profiler times as one. Bytes, memory and places for exits follow from the tensors
alone.
"""

from edgepart.graph.boundary import Boundary
from edgepart.graph.graph import Graph, Layer, Tensor
from edgepart.graph.liveness import peak_activation_bytes

__all__ = ["Boundary", "Graph", "Layer", "Tensor", "peak_activation_bytes"]
