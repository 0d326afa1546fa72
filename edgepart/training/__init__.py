"""Training a network with exits: whole, or its heads on the frozen backbone; what every exit learns is recorded.

The loop knows no framework: it draws batches in an order fixed by the seed, asks a Learner for steps and logits, and
keeps the best epoch and a state to go on from. Under ``heads`` the frozen backbone runs once over the data, and the
loop sees the features that it left in memory-mapped files.
"""

from edgepart.training.loop import Epoch, Fitted
from edgepart.training.settings import TrainingSettings
from edgepart.training.train import train

__all__ = ["Epoch", "Fitted", "TrainingSettings", "train"]
