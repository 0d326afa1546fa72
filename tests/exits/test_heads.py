"""Heads: compiled from source, tried on the real shape, counted; each broken promise is one sentence."""

import pytest
import torch
from torch import nn

from edgepart.errors import TemplateError
from edgepart.frameworks.torch.heads import check_head, compile_head, head_macs

GOOD = """
import torch
from torch import nn


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def reduce(self, x):
        return x.mean((2, 3))

    def classify(self, reduced):
        return self.linear(reduced)

    def forward(self, x):
        return self.classify(self.reduce(x))
"""
SHAPE = (6, 4, 5)


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_head_passes_and_is_left_as_it_was():
    head = compile_head(GOOD, "exit.py")
    before = {name: value.clone() for name, value in head.state_dict().items()}
    drawn = torch.random.get_rng_state()
    check_head(head, SHAPE, 3)
    assert head.training
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_weights_come_from_the_seed():
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(compile_head(GOOD, "exit.py").linear.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_macs_of_one_sample():
    assert head_macs(compile_head(GOOD, "exit.py"), SHAPE) == 6 * 3
    convolution = changed("nn.Linear(6, 3)", "nn.Conv2d(6, 3, 3, padding=1)").replace("x.mean((2, 3))", "x")
    convolution = convolution.replace("self.linear(reduced)", "self.linear(reduced).mean((2, 3))")
    assert head_macs(compile_head(convolution, "exit.py"), SHAPE) == 6 * 3 * 9 * 4 * 5


def test_it_can_be_exported_with_any_batch():
    head = compile_head(GOOD, "exit.py").eval()
    exported = torch.export.export(head, (torch.randn(2, *SHAPE),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    x = torch.randn(5, *SHAPE)
    assert torch.equal(exported.module()(x), head(x))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(:\n", "exit.py does not compile: invalid syntax in line 1"),
        ("import torch\n\n1 / 0\n", "exit.py does not compile: ZeroDivisionError in line 3"),
        ("x = 1\n", "exit.py defines no class Head"),
        ("class Head:\n    pass\n", "defines no class Head derived from torch.nn.Module"),
        (changed("def reduce", "def pool"), "has no method reduce"),
        (changed("def forward", "def run"), "has no method forward"),
        (changed("nn.Linear(6, 3)", "nn.Linear(six, 3)"), "does not make its Head: NameError in line 9 (__init__)"),
        (changed("nn.Linear(6, 3)", "nn.Linear(6, 'a')"), "does not make its Head: TypeError in line 9"),
    ],
)
def test_sources_that_do_not_compile(source, expected):
    with pytest.raises(TemplateError) as raised:
        compile_head(source, "exit.py")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (changed("nn.Linear(6, 3)", "nn.Linear(6, 4)"), "gives (2, 4) for a batch of 2, expected (2, 3)"),
        (
            changed("nn.Linear(6, 3)", "nn.Linear(7, 3)"),
            "not run on a tensor (batch, 6, 4, 5): RuntimeError in line 15",
        ),
        (changed("self.linear(reduced)", "self.linear(reduced)[:1]"), "gives (1, 3) for a batch of 2"),
        (changed("self.linear(reduced)", "self.linear(reduced) / 0"), "gives NaN or infinite logits"),
        (changed("self.linear(reduced)", "(self.linear(reduced),)"), "gives tuple, expected a tensor"),
        (changed("x.mean((2, 3))", "nn.functional.dropout(x.mean((2, 3)), 0.5, self.training)"), "else in training"),
        (changed("x.mean((2, 3))", "self.linear(x.mean((2, 3))).repeat(1, 2)"), "made without parameters"),
        (changed("self.classify(self.reduce(x))", "self.linear(x.amax((2, 3)))"), "is not classify(reduce(x))"),
        (changed("x.mean((2, 3))", "x.mul_(2).mean((2, 3))"), "changes its input in place"),
        (
            changed("self.linear(reduced)", "self.linear(reduced - reduced.mean(0))"),
            "another answer when other samples",
        ),
    ],
)
def test_heads_that_break_their_contract(source, expected):
    with pytest.raises(TemplateError) as raised:
        check_head(compile_head(source, "exit.py"), SHAPE, 3)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_batch_normalisation_belongs_to_classify():
    source = changed("self.linear = nn.Linear(6, 3)", "self.linear = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))")
    check_head(compile_head(source, "exit.py"), SHAPE, 3)


def test_a_module_of_another_origin_is_held_to_the_same():
    class Silent(nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(TemplateError, match=r"the head does not run on a tensor.*AttributeError"):
        check_head(Silent(), SHAPE, 3)
