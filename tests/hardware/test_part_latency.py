"""What a profile says about parts: measured where it was, interpolated elsewhere, exact where the model is true."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_profiles import encoder_graph, make_profile, measured

from edgepart.hardware import Cut, Middle, Profile
from edgepart.hardware.scaling import tier_latency_s, tier_part_latency_s, tier_start_s
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device

COUNT = 40


def chain(count=COUNT):
    names = [f"l{number}" for number in range(count)]
    # tensors of several sizes, so that bytes and calls can be told apart
    layers = [
        (name, [before], {name: 16 * (1 + x % 7)}) for x, (before, name) in enumerate(pairwise(["input", *names]))
    ]
    return make_graph(layers, {"input": 16}, parameters={name: {f"{name}.weight": 100} for name in names})


class World:
    """Parts that take what their layers take in truth, plus what every call costs, plus what does not fit in caches.

    ``beyond`` is what a layer costs more, as a share of its time, for each layer that the part holds beyond half of the
    network's; ``cold`` what a segment takes longer than a part.
    """

    def __init__(self, truth, call_s, graph=None, beyond=0.0, cold=0.0):
        self.truth, self.call_s, self.graph = np.array(truth), call_s, graph or chain(len(truth))
        self.names = [layer.name for layer in self.graph.layers]
        self.beyond, self.cold = beyond, cold

    def part_s(self, start, stop):
        share = (stop - start) / len(self.truth)
        factor = 1 + self.beyond * max(0.0, share - 0.5) / 0.5
        return float(self.truth[start:stop].sum()) * factor + self.call_s

    def profile(self, positions, wrong=1.0, device="this", middles=(), **rates):
        """Layers alone are timed wrong, each by another factor; every segment is a layer."""
        factors = np.linspace(1 / wrong, wrong, len(self.truth)) * (1 + self.cold)
        alone = dict(zip(self.names, (self.truth + self.call_s) * factors, strict=True))
        segments = [(index, index + 1, seconds) for index, seconds in enumerate(alone.values())]
        made = make_profile(self.graph, alone, example_device(device, **rates), segments)
        count = len(self.truth)
        cuts = tuple(
            Cut(position=x, before=measured(self.part_s(0, x)), after=measured(self.part_s(x, count)))
            for x in positions
        )
        return Profile.model_validate(
            made.model_dump()
            | {"cuts": cuts, "end_to_end": measured(self.part_s(0, count)).model_dump()}
            | {"middles": [Middle(start=x, stop=y, latency=measured(self.part_s(x, y))) for x, y in middles]}
        )


@pytest.fixture
def world():
    return World(np.random.default_rng(0).uniform(0.5, 1.5, COUNT) * 1e-3, call_s=1e-3)


def test_what_was_measured_is_told_as_it_was_measured(world):
    found = world.profile([10, 20, 30], middles=[(10, 20)])
    parts = {
        (0, 10): True, (10, COUNT): True, (0, 20): True, (0, COUNT): True, (10, 20): True, (0, 11): False,
        (20, 30): False, (3, 9): False, (5, 6): False,
    }  # fmt: skip
    for (start, stop), expected in parts.items():
        part = found.part_latency_s(world.names[start:stop])
        assert part.measured is expected, (start, stop)
        if expected and stop - start > 1:
            assert part.seconds == pytest.approx(world.part_s(start, stop))
    assert found.part_latency_s([]) == (0.0, True)


def test_without_cuts_a_segment_is_told_as_it_was_measured(world):
    assert world.profile([]).part_latency_s(world.names[5:6]) == (pytest.approx(world.part_s(5, 6)), True)


@pytest.mark.parametrize("beyond", [0.0, 0.3])
@pytest.mark.parametrize("cold", [0.0, 0.5])
def test_middle_parts_are_predicted_although_times_do_not_add_up_and_segments_were_timed_cold(beyond, cold):
    truth = np.random.default_rng(1).uniform(0.5, 1.5, COUNT) * 1e-3
    world = World(truth, call_s=2e-4, beyond=beyond, cold=cold)
    middles = [(4, 24), (8, 16), (20, 32), (12, 36), (28, 36)]
    found = world.profile(range(4, COUNT, 4), middles=middles)
    if beyond:
        assert world.part_s(0, 14) + world.part_s(14, 26) + world.part_s(26, COUNT) < 0.9 * found.end_to_end.median_s
    for start, stop in [(14, 26), (12, 28), (8, 24), (18, 30), (10, 18)]:
        part = found.part_latency_s(world.names[start:stop])
        assert not part.measured
        assert part.seconds == pytest.approx(world.part_s(start, stop), rel=0.06), (start, stop)


@pytest.mark.parametrize("wrong", [1.0, 1.3])
def test_parts_between_are_interpolated_and_calls_are_not_counted_for_every_layer(world, wrong):
    found = world.profile(range(4, COUNT, 4), wrong)
    # the layers alone sum to nearly twice the whole
    assert found.segment_sum_s > 1.8 * found.end_to_end.median_s
    for start, stop in [(0, 7), (0, 30), (9, COUNT), (33, COUNT), (6, 18), (14, 27), (10, 35)]:
        part = found.part_latency_s(world.names[start:stop])
        assert not part.measured
        assert part.seconds == pytest.approx(world.part_s(start, stop), rel=0.05)


def test_layers_and_the_cost_of_a_call_sum_to_the_whole(world):
    found = world.profile(range(4, COUNT, 4))
    layers = found.layer_latency_s()
    assert list(layers) == world.names
    assert sum(layers.values()) + found.part_overhead_s == pytest.approx(world.part_s(0, COUNT))
    assert found.part_overhead_s == pytest.approx(world.call_s, rel=0.3)
    assert min(layers.values()) > 0


def test_without_cuts_parts_are_the_sums_of_their_layers(world):
    found = world.profile([])
    assert found.part_overhead_s == 0
    part = found.part_latency_s(world.names[3:9])
    assert part.seconds == pytest.approx(sum(found.layer_latency_s()[name] for name in world.names[3:9]))
    assert not part.measured
    assert found.runtime_bytes is None


def test_layers_that_do_not_follow_one_another_are_predicted_too():
    graph = encoder_graph()
    world = World(np.full(len(graph.layers), 1e-3), 0.5e-3, graph)
    found = world.profile(range(1, len(graph.layers)))
    scattered = [world.names[index] for index in (0, 2, 3, 7)]
    part = found.part_latency_s(scattered)
    assert not part.measured
    assert part.seconds == pytest.approx(4e-3 + 0.5e-3, rel=0.15)


@given(st.lists(st.floats(1e-6, 1e-1), min_size=2, max_size=12), st.data())
def test_every_part_takes_some_time_whatever_was_measured(seconds, data):
    world = World(seconds, data.draw(st.floats(0, 1e-2)))
    positions = data.draw(st.sets(st.integers(1, len(seconds) - 1)))
    found = world.profile(sorted(positions), wrong=data.draw(st.floats(1, 3)))
    start = data.draw(st.integers(0, len(seconds) - 1))
    stop = data.draw(st.integers(start + 1, len(seconds)))
    assert 0 < found.part_latency_s(world.names[start:stop]).seconds < 100
    total = sum(found.layer_latency_s().values()) + found.part_overhead_s
    assert total == pytest.approx(found.end_to_end.median_s if positions else found.segment_sum_s)


def test_another_device_scales_parts_and_calls_alike(world):
    here = world.profile([10, 20], macs_per_s=2e9)
    there = example_device("box", macs_per_s=1e9)
    layers, estimated = tier_latency_s(here, there)
    assert estimated
    assert sum(layers.values()) + tier_start_s(here, there) == pytest.approx(2 * here.end_to_end.median_s)
    part = tier_part_latency_s(here, there, world.names[:10])
    assert part.seconds == pytest.approx(2 * here.part_latency_s(world.names[:10]).seconds)
    assert not part.measured
    assert tier_part_latency_s(here, example_device("this"), world.names[:10]).measured
