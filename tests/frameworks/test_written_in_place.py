"""Networks that write into their tensors: parts compute what the network computes, however the memory is shared."""

import numpy as np
import pytest
import torch
from network_zoo import answers, final, run_parts
from torch import nn
from torch.nn import functional as F

from edgepart.frameworks import slices
from edgepart.frameworks.torch.capture import capture


def dropout_hands_its_input_on(net, x):
    h = net.linear(x)
    dropped = net.dropout(h)
    dropped.add_(1)
    return h + dropped * 2


def view_is_read_after_the_write(net, x):
    h = net.linear(x)
    view = h.view(x.shape[0], 2, 4)
    h.relu_()
    return view.sum(1) + h[:, :4]


def written_through_a_view(net, x):
    h = net.linear(x)
    h.view(x.shape[0], 2, 4)[:, 0].mul_(3)
    return net.linear(h)


def chunks_written(net, x):
    h = net.linear(x)
    first, second = h.chunk(2, 1)
    first.add_(1)
    second.mul_(2)
    return torch.cat([second, first], 1) * h


def items_set(net, x):
    h = net.linear(x)
    h[:, 1:3] = 0
    h[h > 0.1] = 1.0
    return net.linear(h)


def result_of_another_dtype(net, x):
    h = net.linear(x)
    h += h > 0
    h -= x.double().float()
    return h


def input_changed_and_read_again(net, x):
    x += 1
    doubled = x * 2
    x.relu_()
    return net.linear(x) + doubled


def aliases_of_one_name(net, x):
    h = net.linear(x)
    other = h
    other *= 2
    transposed = h.t()
    h += 1
    return other, transposed * 1


def fresh_memory_filled(net, x):
    h = net.linear(x)
    y = torch.empty_like(h)
    y.copy_(h)
    y.zero_()
    y.add_(h)
    return y


def activation_read_before_and_after(net, x):
    h = net.linear(x)
    early = h * 1
    return F.relu(h, inplace=True) + h + early


def detached_and_written(net, x):
    h = net.linear(x)
    frozen = h.detach()
    frozen.clamp_(min=0)
    return h + frozen


CASES = [value for name, value in list(globals().items()) if getattr(value, "__module__", "") == __name__]


def network_of(forward):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.dropout = nn.Linear(8, 8), nn.Dropout(0.5)

    Net.forward = forward
    torch.manual_seed(0)
    return Net().eval()


@pytest.mark.parametrize("forward", CASES, ids=lambda case: case.__name__)
def test_parts_equal_the_whole(forward):
    model = network_of(forward)
    program = capture(model, torch.randn(2, 8, generator=torch.Generator().manual_seed(1)))
    for batch in (1, 4):
        given = {"x": torch.randn(batch, 8, generator=torch.Generator().manual_seed(batch))}
        expected = answers(model, given)
        for boundaries in ([], *([boundary] for boundary in program.graph.boundaries())):
            found = final(program.graph, run_parts(slices(program, boundaries), given))
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("forward", CASES, ids=lambda case: case.__name__)
def test_no_part_writes_into_anything(forward):
    graph = capture(network_of(forward), torch.ones(2, 8)).graph
    for layer in graph.layers:
        assert not any(operation.split(".")[1].endswith("_") for operation in layer.ops if "." in operation)
