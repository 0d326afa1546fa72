"""Profiles of other runtimes than the framework's own: pieces are written for them and timed as deployed."""

import pytest
from small_networks import EXAMPLE, network

from edgepart.errors import ExportError, UnknownName
from edgepart.frameworks.runtimes import runtime
from edgepart.profiling import profile


def test_a_torch_network_is_measured_in_onnx_runtime():
    own = profile(network(), EXAMPLE, runtime="torch", quick=True)
    other = profile(network(), EXAMPLE, runtime="onnxruntime", quick=True)
    assert (own.runtime, other.runtime) == ("torch", "onnxruntime")
    assert other.runtime_version == runtime("onnxruntime").version()
    assert own.graph == other.graph
    assert [(one.start, one.stop) for one in own.segments] == [(one.start, one.stop) for one in other.segments]
    assert all(one.latency.median_s > 0 for one in (*other.segments, *other.layers))
    assert sum(other.layer_latency_s().values()) + other.part_overhead_s == pytest.approx(other.end_to_end.median_s)
    # nothing but ONNX Runtime is loaded where its memory is measured
    assert own.runtime_bytes > other.runtime_bytes > 10e6
    assert other.device.facts["runtime"] == f"onnxruntime {other.runtime_version}"


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("onnxruntim", UnknownName, "did you mean onnxruntime"),
        ("litert", ExportError, "does not run parts of networks of torch"),
    ],
)
def test_a_runtime_that_does_not_fit_is_refused_at_once(name, error, says):
    with pytest.raises(error, match=says):
        profile(network(), EXAMPLE, runtime=name)
