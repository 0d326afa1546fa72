"""What cannot be captured is said in one sentence that names the module and what to try."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepart.errors import CaptureError, ModelError
from edgepart.frameworks import capture


class Inner(nn.Module):
    """The module that is to be named."""

    def __init__(self, forward):
        super().__init__()
        self.call = forward

    def forward(self, x):
        return self.call(x)


def network(forward):
    return nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), Inner(forward)))


def decides(x):
    return x if x.sum() > 0 else -x


def items(x):
    return x * x.sum().item()


def selects(x):
    return x[x > 0]


def views_as_two(x):
    return x.view(2, 2, 2)


def adds_two_rows(x):
    return x + torch.ones(2, 4)


def branches_on_the_batch(x):
    return x + 1 if x.shape[0] == 2 else x


def pairs_samples(x):
    return x.reshape(-1, 8)


def leaves_torch(x):
    return torch.from_numpy(x.detach().numpy() * 2)


def returns_a_size(x):
    return x, x.shape[0]


def returns_an_object(x):
    return Inner(decides)


def returns_a_number(x):
    return 3


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (decides, ["module '1.1' (Inner)", "data-dependent control flow", "torch.where"]),
        (items, ["module '1.1'", "item", "depends on the data"]),
        (selects, ["module '1.1'", "index", "depends on the data", "mask"]),
        (views_as_two, ["module '1.1' (Inner)", "fixes the batch size", "x.shape[0]"]),
        (adds_two_rows, ["module '1.1' (Inner)", "fixes the batch size"]),
        (branches_on_the_batch, ["module '1.1' (Inner)", "fixes the batch size"]),
        (pairs_samples, ["'1.1'", "one sample"]),
        (leaves_torch, ["module '1.1' (Inner)", "torch.export"]),
        (returns_a_size, ["int", "tensors only"]),
        (returns_an_object, ["Inner", "return tensors"]),
        (returns_a_number, ["int", "tensors only"]),
    ],
)
def test_networks_that_cannot_be_captured(forward, words, capfd):
    with pytest.raises(CaptureError) as caught:
        capture(network(forward), torch.randn(2, 4))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


class CountsRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.after(self.before(x).view(len(x), -1))


def test_the_module_whose_own_code_fixes_the_batch_is_blamed():
    with pytest.raises(CaptureError, match=r"^the forward of CountsRows fixes the batch size.*not len\(x\)"):
        capture(CountsRows(), torch.randn(2, 4))
    with pytest.raises(CaptureError, match=r"^module '0' \(CountsRows\) fixes the batch size"):
        capture(nn.Sequential(CountsRows(), nn.ReLU()), torch.randn(2, 4))


def test_a_network_for_one_sample_only():
    with pytest.raises(CaptureError, match=r"one sample but not two.*'1\.1'.*x\.shape"):
        capture(network(lambda x: x.view(1, 2, 2)), torch.randn(1, 4))


def test_a_network_with_a_state():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.raises(CaptureError, match=r"buffer '1\.calls'"):
        capture(nn.Sequential(nn.Linear(4, 4), Counter()), torch.randn(2, 4))


class Both(nn.Module):
    def forward(self, image, mask):
        return image * mask


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (torch.ones(2, 3), ["Both.forward(image, mask)", "'mask'"]),
        ({"image": torch.ones(2, 3), "masks": torch.ones(2, 3)}, ["Both.forward", "mask"]),
        ((torch.ones(2, 3), torch.ones(3, 3)), ["2, 3", "batch"]),
        ((torch.ones(0, 3), torch.ones(0, 3)), ["at least 1"]),
        ((torch.ones(2, 3), torch.ones(2, 4)), ["forward of Both", "RuntimeError", "shapes"]),
        ((1.0, 2.0), ["no tensor"]),
        ((object(), torch.ones(2, 3)), ["object", "NumPy"]),
        ((np.array(["a"]), torch.ones(1, 3)), ["<U1"]),
    ],
)
def test_examples_that_do_not_fit(example, words):
    with pytest.raises(CaptureError) as caught:
        capture(Both(), example)
    for word in words:
        assert word in str(caught.value)


def test_training_flags_come_back_after_a_failure():
    model = network(decides).train()
    with pytest.raises(CaptureError):
        capture(model, torch.randn(2, 4))
    assert all(module.training for module in model.modules())
    assert "forward" not in vars(model)


@pytest.mark.parametrize("model", [3, "text", None, [nn.Linear(2, 2)]])
def test_what_is_no_network(model):
    with pytest.raises(ModelError, match="not a network of a known framework"):
        capture(model, torch.ones(2, 2))
