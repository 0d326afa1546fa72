"""Joint search: which exits with which heads, thresholds and split points, by accuracy and costs at once."""

from edgepart.search.bank import Bank, Head, Level, open_banks
from edgepart.search.front import Front, Pareto, Point
from edgepart.search.joint import search

__all__ = ["Bank", "Front", "Head", "Level", "Pareto", "Point", "open_banks", "search"]
