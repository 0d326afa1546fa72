"""A small residual network for scikit-learn's handwritten digits: 1,797 grey images of 8 × 8 pixels, ten classes.

``python model.py`` trains it in seconds and writes beside this file ``weights.safetensors`` and the images as
``train.npz``, ``validation.npz`` and ``test.npz``. After that ``model.py:network`` is what edgepart calls a MODEL: a
function that returns a trained network and example inputs. Nothing in this file knows edgepart.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

HERE = Path(__file__).resolve().parent
#: images in each file; the network is trained on the first, thresholds are chosen on the second
SPLIT = {"train": 897, "validation": 450, "test": 450}
EPOCHS = 15


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)))))
        return relu(inner + self.shortcut(x))


class DigitNet(nn.Module):
    """(batch, 1, 8, 8) pixels in 0 … 1 → (batch, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stage1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1))
        self.stage2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.stage3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1))
        self.classifier = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stage3(self.stage2(self.stage1(self.stem(image))))
        return self.classifier(x.mean(dim=(2, 3)))


def network() -> tuple[nn.Module, Tensor]:
    """The trained network and an example input, for ``edgepart profile model.py:network``."""
    net = DigitNet()
    net.load_state_dict(load_file(HERE / "weights.safetensors"))
    return net.eval(), torch.zeros(1, 1, 8, 8)


def write_data() -> None:
    """Write the images of every split, the same ones in the same order every time."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    for name, size in SPLIT.items():
        chosen, order = order[:size], order[size:]
        np.savez_compressed(HERE / f"{name}.npz", image=images[chosen], label=digits.target[chosen])


def read_data(name: str) -> tuple[Tensor, Tensor]:
    """(N, 1, 8, 8) images and (N,) labels of one split."""
    with np.load(HERE / f"{name}.npz") as data:
        return torch.from_numpy(data["image"]), torch.from_numpy(data["label"])


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((net.eval()(images).argmax(1) == labels).float().mean())


def train() -> float:
    """Train with Adam and a one-cycle learning rate, write the weights, return the accuracy on the test images."""
    torch.manual_seed(0)
    # The network is tiny: more threads gain nothing, and wait for each other on a busy machine.
    torch.set_num_threads(1)
    images, labels = read_data("train")
    net = DigitNet().train()
    steps = EPOCHS * -(-len(images) // 64)
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.01, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(64):
            loss = cross_entropy(net(images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    save_file(net.state_dict(), HERE / "weights.safetensors")
    return accuracy(net, *read_data("test"))


if __name__ == "__main__":
    write_data()
    print(f"trained: {train():.1%} of the {SPLIT['test']} test images right; weights and images are in {HERE}")
