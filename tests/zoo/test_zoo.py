"""Parts equal the whole at every boundary of published networks, in three frameworks; see :mod:`equality`.

All networks at every boundary among the slow tests, four at some boundaries among the fast ones. The count over all of
them is published by ``benchmarks/zoo.py``.
"""

import pytest
import zoo
from equality import check

#: network → one boundary in so many, networks cut in three, how many of each in other ways
FAST = {
    "torch/resnet18": (4, 6, 0),
    "torch/gpt2": (4, 6, 0),
    "keras/mobilenet_v2": (40, 2, 1),
    "onnx/torch_squeezenet": (4, 6, 2),
}


def assert_equal_at(name, every=1, triples=8, sampled=8):
    findings = check(zoo.subject(name), every, triples, sampled)
    assert findings.checked_boundaries == -(-findings.boundaries // every)
    assert findings.slices > 2 * findings.checked_boundaries
    assert findings.failures == []


@pytest.mark.parametrize("name", FAST)
def test_some_boundaries(name):
    assert_equal_at(name, *FAST[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.NAMES)
def test_every_boundary(name):
    assert_equal_at(name)
