"""Latency of a profiled network on other devices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_profiles import chain_profile

from edgepart.hardware.scaling import tier_latency_s
from edgepart.testing.hardware import example_device

ALONE = {"a": 1.0, "b": 3.0, "c": 2.0}
SEGMENTS = [(0, 2, 2.0), (2, 3, 1.5)]


def test_the_measured_machine_has_its_own_figures_under_either_name():
    on_this = chain_profile(ALONE, SEGMENTS, example_device("this"))
    assert tier_latency_s(on_this, example_device("this")) == ({"a": 0.5, "b": 1.5, "c": 1.5}, False)
    named = chain_profile(ALONE, SEGMENTS, example_device("box"))
    for name in ("box", "this"):
        # the rate is not looked at: nothing is scaled
        assert tier_latency_s(named, example_device(name, macs_per_s=5e12)) == ({"a": 0.5, "b": 1.5, "c": 1.5}, False)


@given(st.floats(1e6, 1e15), st.floats(1e6, 1e15))
def test_another_device_is_scaled_by_the_ratio_of_rates_and_called_an_estimate(here, there):
    measured = chain_profile(ALONE, SEGMENTS, example_device("this", macs_per_s=here))
    latency, estimated = tier_latency_s(measured, example_device("box", macs_per_s=there))
    assert estimated
    assert sum(latency.values()) == pytest.approx(measured.segment_sum_s * here / there)
    assert latency["b"] == pytest.approx(3 * latency["a"])


def test_layers_without_a_time_of_their_own_share_the_segment_evenly():
    this = example_device("this")
    latency, _ = tier_latency_s(chain_profile({"a": 0.0, "b": 0.0}, [(0, 2, 1.0)], this), this)
    assert latency == {"a": 0.5, "b": 0.5}
