"""Dispatch: which tier a sample enters at and which exit it leaves at, decided on traces; one strategy a file.

A Strategy learns from the validation trace and names its settings; a Policy is one setting at work. It decides sample
by sample as at run time, or about a whole trace at once, with the same result. Nothing here runs a network.
"""

from edgepart.dispatch.base import CostTable, Decisions, Outcome, Policy, Setting, State, Strategy
from edgepart.dispatch.options import strategy
from edgepart.dispatch.trace import Trace

__all__ = ["CostTable", "Decisions", "Outcome", "Policy", "Setting", "State", "Strategy", "Trace", "strategy"]
