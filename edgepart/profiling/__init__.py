"""Measuring what a network costs on this machine, layer by layer and segment by segment."""

from edgepart.profiling.profiler import profile, require_this

__all__ = ["profile", "require_this"]
