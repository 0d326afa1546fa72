"""Networks for small devices: MobileNetV2, MobileNetV3-large, EfficientNet-B0, SqueezeNet 1.1, ShuffleNetV2.

Full depth, reduced width. Sandler et al., CVPR 2018, table 2; Howard et al., ICCV 2019, table 1; Tan and Le, ICML 2019,
table 1; Iandola et al., arXiv:1602.07360, and the 1.1 of its authors; Ma et al., ECCV 2018, table 5.
"""

import torch
from residual_networks import conv_bn
from torch import nn


def wide(channels, width):
    """Channels times width, a multiple of four as hardware and grouping like it."""
    return max(4, round(channels * width / 4) * 4)


class Excite(nn.Module):
    """Squeeze-and-excitation: a gate for every channel."""

    def __init__(self, channels, squeezed, gate, activation):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation, self.gate = activation(inplace=True), gate()

    def forward(self, x):
        return x * self.gate(self.expand(self.activation(self.reduce(self.pool(x)))))


class Inverted(nn.Module):
    """Inverted residual with a linear bottleneck: expand, depthwise, (excite,) project."""

    def __init__(self, inputs, inner, outputs, kernel, stride, activation, excite=None):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        layers = [] if inner == inputs else [conv_bn(inputs, inner, activation=activation)]
        layers.append(conv_bn(inner, inner, kernel, stride, inner, activation))
        layers += [excite] if excite else []
        self.layers = nn.Sequential(*layers, conv_bn(inner, outputs, activation=None))

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV2(nn.Module):
    #: expansion, channels, blocks, stride of the first
    TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, width=0.25, classes=10):
        super().__init__()
        inputs = wide(32, width)
        layers = [conv_bn(3, inputs, 3, 2, activation=nn.ReLU6)]
        for expansion, channels, blocks, stride in self.TABLE:
            for index in range(blocks):
                outputs, step = wide(channels, width), 1 if index else stride
                layers.append(Inverted(inputs, inputs * expansion, outputs, 3, step, nn.ReLU6))
                inputs = outputs
        layers.append(conv_bn(inputs, wide(1280, width), activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(wide(1280, width), classes))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class MobileNetV3(nn.Module):
    """The large one."""

    #: kernel, inner channels, channels, excited, hard swish, stride
    TABLE = (
        (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
    )  # fmt: skip

    def __init__(self, width=0.25, classes=10):
        super().__init__()
        inputs = wide(16, width)
        layers = [conv_bn(3, inputs, 3, 2, activation=nn.Hardswish)]
        for kernel, inner, channels, excited, hard, stride in self.TABLE:
            inner, outputs = wide(inner, width), wide(channels, width)
            excite = Excite(inner, wide(inner, 0.25), nn.Hardsigmoid, nn.ReLU) if excited else None
            activation = nn.Hardswish if hard else nn.ReLU
            layers.append(Inverted(inputs, inner, outputs, kernel, stride, activation, excite))
            inputs = outputs
        layers.append(conv_bn(inputs, wide(960, width), activation=nn.Hardswish))
        self.features, self.pool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1)
        last = wide(1280, width)
        self.head = nn.Sequential(
            nn.Linear(wide(960, width), last), nn.Hardswish(inplace=True), nn.Dropout(0.2), nn.Linear(last, classes)
        )

    def forward(self, x):
        return self.head(torch.flatten(self.pool(self.features(x)), 1))


class EfficientNetB0(nn.Module):
    #: expansion, channels, blocks, stride of the first, kernel
    TABLE = (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )  # fmt: skip

    def __init__(self, width=0.25, classes=10):
        super().__init__()
        inputs = wide(32, width)
        layers = [conv_bn(3, inputs, 3, 2, activation=nn.SiLU)]
        for expansion, channels, blocks, stride, kernel in self.TABLE:
            for index in range(blocks):
                inner, outputs = inputs * expansion, wide(channels, width)
                excite = Excite(inner, max(1, inputs // 4), nn.Sigmoid, nn.SiLU)
                step = 1 if index else stride
                layers.append(Inverted(inputs, inner, outputs, kernel, step, nn.SiLU, excite))
                inputs = outputs
        layers.append(conv_bn(inputs, wide(1280, width), activation=nn.SiLU))
        self.features, self.pool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Dropout(0.2, inplace=True), nn.Linear(wide(1280, width), classes))

    def forward(self, x):
        return self.head(self.pool(self.features(x)).flatten(1))


class Fire(nn.Module):
    def __init__(self, inputs, squeezed, expanded):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.one, self.three = nn.Conv2d(squeezed, expanded, 1), nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.squeeze(x))
        return torch.cat([self.relu(self.one(x)), self.relu(self.three(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self, width=0.25, classes=10):
        super().__init__()
        inputs = wide(64, width)
        layers = [nn.Conv2d(3, inputs, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True)]
        for number, squeezed in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
            if number in (2, 4):
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            layers.append(Fire(inputs, wide(squeezed, width), wide(4 * squeezed, width)))
            inputs = 2 * wide(4 * squeezed, width)
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(inputs, classes, 1), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.head(self.features(x)).flatten(1)


class Shuffle(nn.Module):
    """A unit of ShuffleNetV2: half of the channels (at stride 2 all of them, twice) pass the convolutions."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, half = stride, outputs // 2
        self.left = None
        if stride == 2:
            self.left = nn.Sequential(conv_bn(inputs, inputs, 3, 2, inputs, activation=None), conv_bn(inputs, half))
        inner = inputs if stride == 2 else half
        self.right = nn.Sequential(
            conv_bn(inner, half), conv_bn(half, half, 3, stride, half, activation=None), conv_bn(half, half)
        )

    def forward(self, x):
        if self.left is None:
            kept, x = x.chunk(2, dim=1)
        else:
            kept = self.left(x)
        x = torch.cat((kept, self.right(x)), dim=1)
        batch, channels, height, width = x.shape
        return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleNetV2(nn.Module):
    def __init__(self, width=0.25, classes=10):
        super().__init__()
        inputs = wide(24, width)
        layers = [conv_bn(3, inputs, 3, 2), nn.MaxPool2d(3, 2, 1)]
        for channels, units in ((116, 4), (232, 8), (464, 4)):
            for index in range(units):
                layers.append(Shuffle(inputs, wide(channels, width), 1 if index else 2))
                inputs = wide(channels, width)
        self.features = nn.Sequential(*layers, conv_bn(inputs, wide(1024, width)))
        self.head = nn.Linear(wide(1024, width), classes)

    def forward(self, x):
        return self.head(self.features(x).mean([2, 3]))
