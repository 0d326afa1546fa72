"""Labelled data in the forms people have it, and what turns it into a network's inputs.

A reader (table, archive, folder, script) gives samples as they are stored; a Preprocessing, bound to the network's
inputs, turns a batch of them into arrays; labels become indices into the bundle's classes. A Dataset is these three.
"""

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
