"""Dispatch: which tier a sample enters at and which exit it leaves at, decided on traces; one strategy a file."""

from edgepart.dispatch.base import CostTable, Decisions, Outcome, Policy, Setting, State, Strategy
from edgepart.dispatch.options import strategy
from edgepart.dispatch.trace import Trace

__all__ = ["CostTable", "Decisions", "Outcome", "Policy", "Setting", "State", "Strategy", "Trace", "strategy"]
