"""The reference networks that a machine's effective rate is measured with (``Device.macs_per_s``).

MobileNetV2 (Sandler et al., CVPR 2018), SqueezeNet 1.1 (Iandola et al., 2016) and ResNet-50 (He et al., CVPR 2016) with
random weights: only their speed matters. Multiply-accumulates are those of convolutions and fully connected layers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

#: factor, channels, blocks, stride of each stage of MobileNetV2
_INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
#: width and blocks of each stage of ResNet-50
_BOTTLENECKS = ((64, 3), (128, 4), (256, 6), (512, 3))


def references() -> dict[str, tuple[int, Callable[[], object]]]:
    """Name → multiply-accumulates, one inference at batch 1 of an image of 224 x 224 pixels."""
    image = torch.zeros(1, 3, 224, 224)
    networks = {"mobilenet_v2": _mobilenet_v2(), "squeezenet": _squeezenet(), "resnet50": _resnet50()}
    return {name: (_macs(network, image), _inference(network, image)) for name, network in networks.items()}


def _inference(network: nn.Module, image: Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return network(image)

    return run


def _macs(network: nn.Module, image: Tensor) -> int:
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        total += weight.numel() * output.numel() // weight.shape[0]

    counted = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in counted]
    with torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    return total


class _Residual(nn.Module):
    """``branch(x) + shortcut(x)``, then ``after``."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.branch, self.shortcut, self.after = branch, shortcut or nn.Identity(), after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.after(self.branch(x) + self.shortcut(x))
        return result


class _Fire(nn.Module):
    """SqueezeNet's module: few channels first, then two convolutions side by side."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(channels, squeeze, 1), nn.ReLU())
        self.one = nn.Conv2d(squeeze, expand, 1)
        self.three = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.relu(torch.cat([self.one(x), self.three(x)], dim=1))


def _conv(before: int, after: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after))


def _mobilenet_v2() -> nn.Module:
    layers: list[nn.Module] = [_conv(3, 32, 3, 2), nn.ReLU6()]
    channels = 32
    for factor, width, blocks, first in _INVERTED:
        for stride in (first, *[1] * (blocks - 1)):
            hidden = channels * factor
            expand: list[nn.Module] = [_conv(channels, hidden), nn.ReLU6()] if factor > 1 else []
            block = nn.Sequential(*expand, _conv(hidden, hidden, 3, stride, hidden), nn.ReLU6(), _conv(hidden, width))
            layers.append(_Residual(block) if stride == 1 and width == channels else block)
            channels = width
    tail = (_conv(320, 1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))
    return nn.Sequential(*layers, *tail)


def _squeezenet() -> nn.Module:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), _Fire(64, 16, 64), _Fire(128, 16, 64)),
        *(pool(), _Fire(128, 32, 128), _Fire(256, 32, 128)),
        *(pool(), _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256)),
        *(nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def _resnet50() -> nn.Module:
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, (width, blocks) in enumerate(_BOTTLENECKS):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            branch = nn.Sequential(
                *(_conv(channels, width, 1, stride), nn.ReLU(), _conv(width, width, 3), nn.ReLU()),
                _conv(width, 4 * width),
            )
            shortcut = _conv(channels, 4 * width, 1, stride) if not block else None
            layers.append(_Residual(branch, shortcut, nn.ReLU()))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
