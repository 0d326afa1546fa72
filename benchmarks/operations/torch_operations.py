"""Operations of torch networks: name → function that makes (network, example)."""

import torch
from torch import nn
from torch.nn import functional

IMAGE = (2, 4, 12, 12)
TOKENS = (2, 6, 8)


class Call(nn.Module):
    """A function between two layers, so that a part has weights on both sides."""

    def __init__(self, function, channels=4, dimensions=4, after=True):
        super().__init__()
        self.function = function
        images = dimensions == 4
        self.before = nn.Conv2d(4, channels, 3, padding=1) if images else nn.Linear(8, 8)
        self.after = after

    def forward(self, x):
        x = self.function(self.before(x))
        return x.flatten(1) if self.after else x


class Recurrent(nn.Module):
    """A layer of steps."""

    def __init__(self, kind):
        super().__init__()
        self.layer, self.out = kind(8, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.layer(x)[0])


class Attention(nn.Module):
    """Self-attention with several heads."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.layer(x, x, x, need_weights=False)[0])


class Words(nn.Module):
    """Token ids."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(30, 8), nn.Linear(8, 3)

    def forward(self, ids):
        return self.out(self.table(ids))


class Masked(nn.Module):
    """A mask of booleans."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x, keep):
        return torch.where(keep.unsqueeze(-1), self.layer(x), -1.0)


class Branch(nn.Module):
    """Python that looks at a value: nothing can be exported."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


def image(function, **options):
    return lambda: (Call(function, **options), torch.randn(IMAGE))


def layer(make):
    """A layer of its own after a convolution."""
    return lambda: (nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), make()), torch.randn(IMAGE))


def tokens(function):
    return lambda: (Call(function, dimensions=3, after=False), torch.randn(TOKENS))


def normalised():
    made = nn.BatchNorm2d(8)
    made.running_mean.uniform_(-0.5, 0.5)
    made.running_var.uniform_(0.5, 1.5)
    return made


OPERATIONS = {
    "convolution": layer(lambda: nn.Conv2d(8, 6, 3, stride=2)),
    "dilated convolution": layer(lambda: nn.Conv2d(8, 6, 3, dilation=2)),
    "depthwise convolution": layer(lambda: nn.Conv2d(8, 8, 3, groups=8)),
    "grouped convolution": layer(lambda: nn.Conv2d(8, 8, 3, groups=2)),
    "transposed convolution": layer(lambda: nn.ConvTranspose2d(8, 6, 2, stride=2)),
    "convolution over a sequence": lambda: (nn.Conv1d(4, 6, 3), torch.randn(2, 4, 12)),
    "convolution over a volume": lambda: (nn.Conv3d(2, 4, 3), torch.randn(2, 2, 6, 6, 6)),
    "fully connected": lambda: (nn.Linear(8, 5), torch.randn(2, 8)),
    "matrix product": tokens(lambda x: x @ x.transpose(1, 2)),
    "einsum": tokens(lambda x: torch.einsum("bij,bkj->bik", x, x)),
    "batch normalisation": layer(normalised),
    "layer normalisation": lambda: (nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)), torch.randn(TOKENS)),
    "group normalisation": layer(lambda: nn.GroupNorm(2, 8)),
    "instance normalisation": layer(lambda: nn.InstanceNorm2d(8)),
    "max pooling": layer(lambda: nn.MaxPool2d(2)),
    "average pooling": layer(lambda: nn.AvgPool2d(3, 2, 1)),
    "global pooling": layer(lambda: nn.AdaptiveAvgPool2d(1)),
    "adaptive pooling": layer(lambda: nn.AdaptiveAvgPool2d(4)),
    "ReLU, ReLU6": image(lambda x: functional.relu6(functional.relu(x) * 4)),
    "GELU": image(functional.gelu),
    "SiLU": image(functional.silu),
    "hard swish, hard sigmoid": image(lambda x: functional.hardswish(x) + functional.hardsigmoid(x)),
    "sigmoid, tanh": image(lambda x: torch.sigmoid(x) + torch.tanh(x)),
    "leaky ReLU, ELU": image(lambda x: functional.leaky_relu(x) + functional.elu(x)),
    "softmax": tokens(lambda x: x.softmax(-1)),
    "add, multiply, divide": image(lambda x: (x + x * x) / (x.abs() + 1)),
    "concatenate": image(lambda x: torch.cat([x, x * 2], 1)),
    "split, channel shuffle": image(
        lambda x: torch.cat(x.chunk(2, 1)[::-1], 1).view(-1, 2, 2, 12, 12).transpose(1, 2).flatten(1, 2)
    ),
    "reshape, transpose": tokens(lambda x: x.view(x.shape[0], -1, 2, 4).transpose(1, 2).flatten(2)),
    "pad": image(lambda x: functional.pad(x, (1, 2, 3, 0))),
    "nearest resize": image(lambda x: functional.interpolate(x, scale_factor=2, mode="nearest")),
    "bilinear resize": image(lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)),
    "mean, max over dimensions": image(lambda x: x.mean((2, 3)) + x.amax((2, 3))),
    "cumulative sum": tokens(lambda x: x.cumsum(1)),
    "top k": tokens(lambda x: x.topk(3, -1).values),
    "embedding": lambda: (Words(), torch.randint(0, 30, (2, 6))),
    "where, masks": lambda: (Masked(), (torch.randn(TOKENS), torch.rand(2, 6) > 0.5)),
    "attention": lambda: (Attention(), torch.randn(TOKENS)),
    "LSTM": lambda: (Recurrent(nn.LSTM), torch.randn(TOKENS)),
    "GRU": lambda: (Recurrent(nn.GRU), torch.randn(TOKENS)),
    "a branch on a value": lambda: (Branch(), torch.randn(TOKENS)),
}
