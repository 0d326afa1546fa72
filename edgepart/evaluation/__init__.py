"""Record what every exit says, replay strategies on it, and report what they cost and how often they are right."""

from edgepart.evaluation.evaluate import evaluate
from edgepart.evaluation.record import record
from edgepart.evaluation.replay import replay
from edgepart.evaluation.report import Report

__all__ = ["Report", "evaluate", "record", "replay"]
