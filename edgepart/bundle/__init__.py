"""The bundle: parts that run on their own, written, verified and opened.

``build`` renders heads, trains them, exports every part as a chain of stages and records the validation trace, all in
a folder beside the target, from which an interrupted run goes on and which is renamed at the end. A manifest holds
the hash of every file; ``open_bundle`` checks them before anything is used.
"""

from edgepart.bundle.build import build
from edgepart.bundle.bundle import Bundle, open_bundle
from edgepart.bundle.chosen import ChosenPolicy
from edgepart.bundle.part import BundlePart, open_part

__all__ = ["Bundle", "BundlePart", "ChosenPolicy", "build", "open_bundle", "open_part"]
