"""Labelled data in the forms people have it, and what turns it into a network's inputs."""

from edgepart.data.dataset import Dataset, Encoder
from edgepart.data.labels import require_every_class
from edgepart.data.load import load_dataset
from edgepart.data.preprocessing import (
    Preprocessing,
    default_preprocessing,
    preprocessing_for,
)
from edgepart.data.split import split_dataset

__all__ = [
    "Dataset",
    "Encoder",
    "Preprocessing",
    "default_preprocessing",
    "load_dataset",
    "preprocessing_for",
    "require_every_class",
    "split_dataset",
]
