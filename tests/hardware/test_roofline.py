"""Latency of a network on a device of which only rates are known."""

import pytest
from sample_profiles import encoder_graph, make_profile

from edgepart.errors import FileError, ProfileError
from edgepart.hardware import catalogue
from edgepart.hardware.roofline import moved_bytes, roofline_s
from edgepart.hardware.scaling import tier_latency_s, tier_part_latency_s, tier_start_s
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device

LAYERS = [("conv", ["x"], {"conv": 4000}), ("add", ["x", "conv"], {"add": 4000}), ("head", ["add"], {"head": 40})]


def network():
    """One layer that computes, one that only moves bytes, one whose parameters are most of what it moves."""
    graph = make_graph(LAYERS, {"x": 1000}, parameters={"conv": {"w": 500}, "head": {"u": 40000}})
    macs = {"conv": 2_000_000, "add": 0, "head": 10_000}
    return graph.model_copy(update={"layers": tuple(x.model_copy(update={"macs": macs[x.name]}) for x in graph.layers)})


def board(**fields):
    return example_device("board", **{"peak_macs_per_s": 1e9, "memory_bytes_per_s": 1e7} | fields)


def test_a_layer_takes_what_its_slower_side_takes_and_the_overhead():
    assert roofline_s(network(), board(call_overhead_s=1e-6)) == pytest.approx(
        {"conv": 2e-3 + 1e-6, "add": 9000e-7 + 1e-6, "head": 44040e-7 + 1e-6}
    )
    # so much bandwidth that all is computing: what moves bytes only takes nothing
    fast = roofline_s(network(), board(memory_bytes_per_s=1e15))
    assert fast == pytest.approx({"conv": 2e-3, "add": 0.0, "head": 1e-5}, abs=1e-9)


def test_a_table_that_is_looked_up_is_not_read_whole():
    graph = make_graph([("embed", ["ids"], {"embed": 400})], {"ids": 80}, parameters={"embed": {"table": 10**8}})
    looked_up = graph.layers[0].model_copy(update={"macs": 0})
    assert moved_bytes(graph, looked_up) == 80 + 400 + 400
    assert moved_bytes(graph, graph.layers[0]) == 80 + 10**8 + 400


def test_a_tier_with_a_roofline_is_computed_and_called_an_estimate():
    graph = network()
    profile = make_profile(graph, {"conv": 1.0, "add": 1.0, "head": 1.0}, example_device("this"))
    there = board(call_overhead_s=1e-6)
    assert tier_latency_s(profile, there) == (roofline_s(graph, there), True)
    assert tier_start_s(profile, there) == 0
    part = tier_part_latency_s(profile, there, ["add", "head"])
    assert part.seconds == pytest.approx(roofline_s(graph, there)["add"] + roofline_s(graph, there)["head"])
    assert not part.measured


def test_the_machine_of_the_profile_is_measured_whatever_its_roofline():
    graph = network()
    profile = make_profile(graph, {"conv": 1.0, "add": 2.0, "head": 3.0}, board())
    assert tier_latency_s(profile, board()) == ({"conv": 1.0, "add": 2.0, "head": 3.0}, False)


def test_faster_parts_never_make_a_network_slower():
    graph = encoder_graph()
    before = sum(roofline_s(graph, board(call_overhead_s=1e-5)).values())
    for change in ({"peak_macs_per_s": 2e9}, {"memory_bytes_per_s": 2e7}, {"call_overhead_s": 1e-6}):
        assert sum(roofline_s(graph, board(**{"call_overhead_s": 1e-5} | change)).values()) <= before


def test_a_device_without_a_roofline_says_what_to_add():
    with pytest.raises(ProfileError, match="'example' states no roofline: add peak_macs_per_s and memory_bytes_per_s"):
        roofline_s(network(), example_device())


DEVICE = """
title: From its data sheet
tier: edge
memory_bytes: 1000
cores: 1
basis: data-sheet
source: its maker
"""


def test_a_file_with_a_roofline_needs_no_effective_rate(tmp_path):
    path = tmp_path / "board.yaml"
    path.write_text(DEVICE + "peak_macs_per_s: 4.0e+9\nmemory_bytes_per_s: 2.0e+9\n")
    device = catalogue.device(str(path))
    assert (device.macs_per_s, device.call_overhead_s, device.is_analytic) == (4e9, None, True)
    catalogue.write_device(tmp_path / "again.yaml", device)
    assert catalogue.device(str(tmp_path / "again.yaml")) == device.model_copy(update={"name": "again"})


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ("", "field 'macs_per_s' is missing"),
        ("peak_macs_per_s: -1\nmemory_bytes_per_s: 1", "field 'peak_macs_per_s' is -1, expected more than 0"),
        (
            "macs_per_s: 1\npeak_macs_per_s: -1\nmemory_bytes_per_s: 1",
            "field 'peak_macs_per_s' is -1, expected more than 0",
        ),
        ("peak_macs_per_s: 1\nmemory_bytes_per_s: 0", "field 'memory_bytes_per_s' is 0, expected more than 0"),
        ("peak_macs_per_s: .inf\nmemory_bytes_per_s: 1", "is inf, expected a finite number"),
        ("peak_macs_per_s: 1", "add memory_bytes_per_s or leave the others out"),
        ("macs_per_s: 1\ncall_overhead_s: 1", "add peak_macs_per_s or leave the others out"),
        ("macs_per_s: 1\nactivation_bytes_per_s: 1", "add peak_macs_per_s or leave the others out"),
        ("peak_macs_per_s: 1\nmemory_bytes_per_s: 1\nfused_share: 0.5", "go with activation_bytes_per_s: add it"),
        ("macs_per_s: 1\npeak_macs_per_s: 1\nmemory_bytes_per_s: 1\ncall_overhead_s: -1", "'call_overhead_s' is -1"),
    ],
)
def test_a_wrong_or_missing_rate_is_one_sentence(rates, message, tmp_path):
    path = tmp_path / "board.yaml"
    path.write_text(DEVICE + rates)
    with pytest.raises(FileError, match=r"board.yaml is not a valid device: ") as caught:
        catalogue.device(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
