"""A small template to break in one place at a time."""

HEAD = """
import torch
from torch import nn


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear({{ channels }}, {{ classes }})

    def reduce(self, x):
        return x

    def classify(self, reduced):
        return self.linear(reduced)

    def forward(self, x):
        return self.classify(self.reduce(x))
"""


def header(**changes):
    fields = {
        "name": "mine",
        "framework": "torch",
        "summary": "A test.",
        "input_ranks": "[1]",
        "parameters": "{width: {type: int, default: 4, minimum: 1, help: Width.}}",
    }
    lines = "\n".join(f"{key}: {value}" for key, value in (fields | changes).items() if value is not None)
    return f"{{# edgepart\n{lines}\n#}}\n"
