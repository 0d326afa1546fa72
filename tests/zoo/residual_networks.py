"""Networks whose blocks add what goes around them: ResNet-18 and -50, ConvNeXt-T, at full depth and reduced width.

He, Zhang, Ren and Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016, table 1. Liu et al., *A ConvNet for
the 2020s*, CVPR 2022, figure 4.
"""

import torch
from torch import nn


def conv_bn(inputs, outputs, kernel=1, stride=1, groups=1, activation=nn.ReLU):
    """Convolution, batch normalisation and (unless None) an activation."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation(inplace=True)] if activation else []))


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, width, 3, stride), conv_bn(width, width, 3, activation=None))
        self.shortcut = shortcut(inputs, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.body(x)
        y += self.shortcut(x)
        return self.relu(y)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = width * self.expansion
        self.reduce, self.spatial = conv_bn(inputs, width), conv_bn(width, width, 3, stride)
        self.expand = conv_bn(width, outputs, activation=None)
        self.shortcut = shortcut(inputs, outputs, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.expand(self.spatial(self.reduce(x)))
        y += self.shortcut(x)
        return self.relu(y)


def shortcut(inputs, outputs, stride):
    same = stride == 1 and inputs == outputs
    return nn.Identity() if same else conv_bn(inputs, outputs, 1, stride, activation=None)


class ResNet(nn.Module):
    def __init__(self, block, depths, width=8, classes=10):
        super().__init__()
        self.stem = conv_bn(3, width, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs, stages = width, []
        for number, depth in enumerate(depths):
            blocks = []
            for index in range(depth):
                blocks.append(block(inputs, width << number, 2 if number and not index else 1))
                inputs = (width << number) * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.stages(self.pool(self.stem(x)))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def resnet18():
    return ResNet(Basic, (2, 2, 2, 2))


def resnet50():
    return ResNet(Bottleneck, (3, 4, 6, 3))


class ChannelsNorm(nn.LayerNorm):
    """Over the channels of a map with channels first."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.expand, self.activation, self.reduce = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.reduce(self.activation(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self, depths=(3, 3, 9, 3), width=8, classes=10):
        super().__init__()
        stages = [nn.Sequential(nn.Conv2d(3, width, 4, 4), ChannelsNorm(width))]
        for number, depth in enumerate(depths):
            if number:
                stages.append(nn.Sequential(ChannelsNorm(width), nn.Conv2d(width, 2 * width, 2, 2)))
                width *= 2
            stages.append(nn.Sequential(*(ConvNextBlock(width) for _ in range(depth))))
        self.stages, self.norm, self.head = nn.Sequential(*stages), nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.norm(self.stages(x).mean((2, 3))))
