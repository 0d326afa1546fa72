"""Measuring what a network costs on this machine, layer by layer and segment by segment.

The parent captures the network and saves it; a fresh process opens it, where nothing else has run, and times the
segments and the whole in turn until their medians are known well enough, then the layers of each segment. The parent
shows progress, watches what else the machine does, and puts the Profile together.
"""

from edgepart.profiling.profiler import profile, require_this

__all__ = ["profile", "require_this"]
