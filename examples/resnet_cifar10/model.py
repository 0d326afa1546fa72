"""ResNet-56 for CIFAR-10 (He et al. 2016, section 4.2) with the published weights of akamaster/pytorch_resnet_cifar10.

``edgepart profile examples/resnet_cifar10/model.py:resnet56`` and the other commands call :func:`resnet56`.
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS = "resnet56-4bfd9763.th"
PUBLISHED = f"https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/{WEIGHTS}"


class Shortcut(nn.Module):
    """Halves the map and pads the new channels with zeros: option A of the paper, no parameters."""

    def __init__(self, channels: int):
        super().__init__()
        self.padding = channels // 4

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inside: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = Shortcut(channels) if stride != 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Three stages of ``blocks`` blocks with 16, 32 and 64 channels."""

    def __init__(self, blocks: int, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(blocks - 1)))
        self.linear = nn.Linear(64, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(image)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def load_weights() -> dict[str, Tensor]:
    """The published weights, from ``$EDGEPART_DATA`` if that is set, else from their repository."""
    if "EDGEPART_DATA" in os.environ:
        path = Path(os.environ["EDGEPART_DATA"]) / "weights" / "cifar10_resnet" / WEIGHTS
        stored = torch.load(path, map_location="cpu", weights_only=True)
    else:
        stored = torch.hub.load_state_dict_from_url(PUBLISHED, map_location="cpu", check_hash=True, weights_only=True)
    return {name.removeprefix("module."): value for name, value in stored["state_dict"].items()}


def resnet56():
    """The network, an example input, and how its images are prepared."""
    model = ResNet(blocks=9)
    model.load_state_dict(load_weights())
    preprocessing = {
        "kind": "image",
        "input": "image",
        "size": 32,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    return model.eval(), torch.zeros(1, 3, 32, 32), preprocessing
