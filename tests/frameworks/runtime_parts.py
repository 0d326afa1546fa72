"""Small torch parts that try what is hard for a runtime."""

from functools import cache

import torch
from torch import nn

from edgepart.frameworks import slices
from edgepart.frameworks.torch.capture import capture


class Mixed(nn.Module):
    """Convolutions, and tokens that are embedded; modules called "0" and "1"."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 6, 1))
        self.embedding, self.norm, self.head = nn.Embedding(5, 6), nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, image, tokens, mask):
        weight = mask.to(torch.float32).unsqueeze(-1)
        words = self.norm(self.embedding(tokens)) * weight
        x = self.block(self.stem(image)).mean((2, 3)) + words.mean(1)
        return self.head(x), x, words


@cache
def parts():
    """(image, tokens, mask) → crossing tensors → three outputs."""
    torch.manual_seed(0)
    model = Mixed().eval()
    nn.init.uniform_(model.stem[1].running_var, 0.5, 1.5)
    example = {
        "image": torch.randn(2, 3, 8, 8),
        "tokens": torch.randint(0, 5, (2, 7)),
        "mask": torch.ones(2, 7, dtype=torch.bool),
    }
    program = capture(model, example)
    graph = program.graph
    return slices(program, [graph.boundary([*graph.within("stem"), *graph.within("norm"), *graph.within("embedding")])])
