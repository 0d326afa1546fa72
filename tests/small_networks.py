"""Networks that capture, train and export in a second, data that they can learn, and plans over them."""

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgepart.data import Dataset
from edgepart.frameworks import framework_of
from edgepart.hardware import catalogue
from edgepart.partitioning import Hop, Plan, PlannedExit, Proof, TierPlan

CLASSES = ("dark", "grey", "light")
EXAMPLE = torch.zeros(2, 1, 6, 6)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)) + x)


class SmallNet(nn.Module):
    """(batch, 1, 6, 6) → (batch, 3), with a shortcut, batch normalisation and dropout."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.first, self.second = Block(6), Block(6)
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(6, 3)

    def forward(self, image):
        x = self.second(self.first(self.stem(image)))
        return self.classifier(self.dropout(x.mean((2, 3))))


class TextNet(nn.Module):
    """(batch, sequence) tokens and their mask → (batch, 3); padding changes nothing."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.norm = nn.LayerNorm(8)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.classifier = nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask):
        weight = attention_mask.unsqueeze(-1).to(torch.float32)
        x = self.norm(self.embedding(input_ids))
        x = torch.tanh(self.first(x)) + (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        x = torch.tanh(self.second(x)) * weight
        return self.classifier(x.sum(1) / weight.sum(1))


def network(kind=SmallNet, seed=0):
    """A network whose batch normalisation has seen something, so that eval mode is not the identity."""
    torch.manual_seed(seed)
    made = kind()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return made.eval()


def images(count, seed=0, classes=CLASSES):
    """(count, 1, 6, 6) noise around a brightness that tells the class; the label goes round."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    noise = generator.normal(size=(count, 1, 6, 6))
    arrays = (noise + 1.5 * (labels - 1)[:, None, None, None]).astype(np.float32)
    return Dataset([{"image": x} for x in arrays], labels, classes, StackImages(), "images")


class StackImages:
    def __call__(self, samples):
        return {"image": np.stack([sample["image"] for sample in samples])}


def sentences(count, seed=0):
    """Texts of 2 to 9 letters whose most frequent letter tells the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    texts = []
    for label in labels:
        letters = generator.integers(3, 20, size=generator.integers(2, 10))
        letters[::2] = label
        texts.append("".join(chr(ord("a") + letter) for letter in letters))
    return Dataset(texts, labels, CLASSES, Letters(), "sentences")


class Letters:
    """A letter is a token; shorter texts are padded with token 19 and masked."""

    def __call__(self, samples):
        longest = max(len(text) for text in samples)
        ids = np.full((len(samples), longest), 19, dtype=np.int64)
        mask = np.zeros((len(samples), longest), dtype=np.int64)
        for row, text in enumerate(samples):
            ids[row, : len(text)] = [ord(letter) - ord("a") for letter in text]
            mask[row, : len(text)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def captured(model, example=EXAMPLE):
    return framework_of(model).program(model, example).graph


def plan_for(graph, parts, exits, deployment="split"):
    """A plan by hand: ``parts`` (tier, last module) and ``exits`` (name, tier, module); costs are made up."""
    tiers, before = [], frozenset()
    for name, module in parts:
        inside = frozenset(graph.position) if module is None else graph.after(module).layers | before
        tiers.append(tier_plan(name, graph.in_order(inside - before)))
        before = inside
    held = {tier.name: tier.layers for tier in tiers}
    points = []
    for name, tier, module in exits:
        last = max(held[tier].index(layer) for layer in graph.after(module).layers if layer in held[tier])
        tensor = graph.layer(held[tier][last]).outputs[0]
        points.append(PlannedExit(name=name, tier=tier, tensor=tensor, depth=last + 1, compute_s=0.001))
    hops = [
        Hop(source=a.name, target=b.name, link=catalogue.link("wifi"), tensors=(), bytes=0, transfer_s=0.01)
        for a, b in itertools.pairwise(tiers)
    ]
    return Plan(
        network=graph.name,
        fingerprint=graph.fingerprint,
        deployment=deployment,
        tiers=tuple(tiers),
        hops=tuple(hops),
        exits=tuple(points),
        latency_s=0.1,
        unsplit_s={},
        proof=Proof(status="by hand", method="test"),
    )


def tier_plan(name, layers):
    return TierPlan(
        name=name,
        device=catalogue.device("raspberry-pi-4"),
        layers=layers,
        compute_s=0.01,
        parameter_bytes=1,
        activation_bytes=1,
        estimated=False,
    )


def image_plan(graph, deployment="split"):
    """Three tiers; exits in the middle and at the end of the first part, and at the end of the second."""
    parts = (("mobile", "first"), ("edge", "second"), ("cloud", None))
    exits = (("early", "mobile", "stem"), ("late", "mobile", "first"), ("middle", "edge", "second"))
    return plan_for(graph, parts, exits, deployment)


def contents(folder):
    """Every file below a folder by its path, as bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
