"""Networks that branch and concatenate: InceptionV3, DenseNet-121, U-Net, at full depth and reduced width.

Szegedy et al., *Rethinking the Inception Architecture*, CVPR 2016, figures 5 to 7 and 10 (without the auxiliary
classifier, which only training has); Huang et al., *Densely Connected Convolutional Networks*, CVPR 2017, table 1;
Ronneberger et al., *U-Net*, MICCAI 2015, figure 1.
"""

import torch
from mobile_networks import wide
from torch import nn
from torch.nn import functional as F


class Conv(nn.Module):
    """Convolution, batch normalisation, ReLU; kernels need not be square."""

    def __init__(self, inputs, outputs, kernel=1, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Branches(nn.Module):
    """Several paths over one map, concatenated; ``None`` is a pooling that halves the map."""

    def __init__(self, *paths):
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x):
        return torch.cat([path(x) for path in self.paths], 1)


def chain(inputs, *convs):
    """Convolutions in a row: each (outputs, kernel, stride, padding)."""
    layers = []
    for outputs, *rest in convs:
        layers.append(Conv(inputs, outputs, *rest))
        inputs = outputs
    return nn.Sequential(*layers)


def pooled(inputs, outputs):
    return nn.Sequential(nn.AvgPool2d(3, 1, 1), Conv(inputs, outputs))


ROW, COLUMN = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))


def inception_5(inputs, last, w):
    """Figure 5: two 3×3 in place of a 5×5."""
    return Branches(
        Conv(inputs, w(64)),
        chain(inputs, (w(48),), (w(64), 5, 1, 2)),
        chain(inputs, (w(64),), (w(96), 3, 1, 1), (w(96), 3, 1, 1)),
        pooled(inputs, w(last)),
    )


def inception_6(inputs, inner, w):
    """Figure 6: 7×7 convolutions in two factors."""
    c, o = w(inner), w(192)
    return Branches(
        Conv(inputs, o),
        chain(inputs, (c,), (c, *ROW), (o, *COLUMN)),
        chain(inputs, (c,), (c, *COLUMN), (c, *ROW), (c, *COLUMN), (o, *ROW)),
        pooled(inputs, o),
    )


def inception_7(inputs, w):
    """Figure 7: outputs side by side."""

    def fork(channels):
        return Branches(Conv(channels, w(384), (1, 3), 1, (0, 1)), Conv(channels, w(384), (3, 1), 1, (1, 0)))

    return Branches(
        Conv(inputs, w(320)),
        nn.Sequential(Conv(inputs, w(384)), fork(w(384))),
        nn.Sequential(chain(inputs, (w(448),), (w(384), 3, 1, 1)), fork(w(384))),
        pooled(inputs, w(192)),
    )


class InceptionV3(nn.Module):
    def __init__(self, width=0.125, classes=10):
        super().__init__()

        def w(channels):
            return wide(channels, width)

        self.stem = nn.Sequential(
            chain(3, (w(32), 3, 2), (w(32), 3), (w(64), 3, 1, 1)), nn.MaxPool2d(3, 2),
            chain(w(64), (w(80),), (w(192), 3)), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        outputs, blocks = w(192), []
        for last in (32, 64, 64):
            blocks.append(inception_5(outputs, last, w))
            outputs = w(64) + w(64) + w(96) + w(last)
        halved = (
            Conv(outputs, w(384), 3, 2), chain(outputs, (w(64),), (w(96), 3, 1, 1), (w(96), 3, 2)), nn.MaxPool2d(3, 2)
        )  # fmt: skip
        blocks.append(Branches(*halved))
        outputs += w(384) + w(96)
        for inner in (128, 160, 160, 192):
            blocks.append(inception_6(outputs, inner, w))
            outputs = 4 * w(192)
        o = w(192)
        halved = (
            chain(outputs, (o,), (w(320), 3, 2)), chain(outputs, (o,), (o, *ROW), (o, *COLUMN), (o, 3, 2)),
            nn.MaxPool2d(3, 2),
        )  # fmt: skip
        blocks.append(Branches(*halved))
        outputs += w(320) + o
        for _ in range(2):
            blocks.append(inception_7(outputs, w))
            outputs = w(320) + 4 * w(384) + w(192)
        self.blocks = nn.Sequential(*blocks)
        self.pool, self.dropout, self.head = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5), nn.Linear(outputs, classes)

    def forward(self, x):
        x = self.pool(self.blocks(self.stem(x)))
        return self.head(torch.flatten(self.dropout(x), 1))


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features):
        x = self.conv1(self.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(self.relu(self.norm2(x)))


class DenseBlock(nn.ModuleList):
    def forward(self, x):
        features = [x]
        for layer in self:
            features.append(layer(features))
        return torch.cat(features, 1)


class DenseNet121(nn.Module):
    def __init__(self, growth=4, classes=10):
        super().__init__()
        channels = 2 * growth
        layers = [
            nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]  # fmt: skip
        for number, depth in enumerate((6, 12, 24, 16)):
            if number:
                halved = channels // 2
                layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, halved, 1, bias=False)]
                layers.append(nn.AvgPool2d(2, 2))
                channels = halved
            layers.append(DenseBlock(DenseLayer(channels + index * growth, growth) for index in range(depth)))
            channels += depth * growth
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels))
        self.head = nn.Linear(channels, classes)

    def forward(self, x):
        x = F.relu(self.features(x), inplace=True)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


def double(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
    )  # fmt: skip


class UNet(nn.Module):
    """Five levels; what is made on the way down is read again on the way up."""

    def __init__(self, width=4, classes=3):
        super().__init__()
        widths = [width << level for level in range(5)]
        self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in upwards)
        self.up = nn.ModuleList(double(2 * b, b) for _, b in upwards)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        kept = []
        for level in self.down:
            kept.append(level(F.max_pool2d(x, 2) if kept else x))
            x = kept[-1]
        for rise, level, skipped in zip(self.rise, self.up, kept[-2::-1], strict=True):
            x = level(torch.cat([skipped, rise(x)], 1))
        return self.head(x)
