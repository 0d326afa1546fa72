"""The bundle: parts that run on their own, written, verified and opened."""

from edgepart.bundle.build import build
from edgepart.bundle.bundle import Bundle, open_bundle
from edgepart.bundle.part import BundlePart, open_part

__all__ = ["Bundle", "BundlePart", "build", "open_bundle", "open_part"]
