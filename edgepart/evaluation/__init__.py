"""Record what every exit says, replay strategies on it, and report what they cost and how often they are right.

Recording runs every stage of a bundle over the data, whoever would have left earlier, and is slow. Replaying is
arithmetic: a cost model turns the plan into a table of tiers × exits, a policy turns the trace into decisions, and
indexing the one with the other gives the cost of every sample. Settings are chosen on validation data only.
"""

from edgepart.evaluation.evaluate import evaluate
from edgepart.evaluation.record import record
from edgepart.evaluation.replay import replay
from edgepart.evaluation.report import Report

__all__ = ["Report", "evaluate", "record", "replay"]
