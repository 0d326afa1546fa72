"""Training a network with exits: whole, or its heads on the frozen backbone; what every exit learns is recorded."""

from edgepart.training.loop import Epoch, Fitted
from edgepart.training.settings import TrainingSettings
from edgepart.training.train import train

__all__ = ["Epoch", "Fitted", "TrainingSettings", "train"]
