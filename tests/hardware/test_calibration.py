"""Fitting a device's rates to measured networks."""

import math
from dataclasses import replace

import pytest
from roofline_profiles import TRUE, chain, measured

from edgepart.errors import ProfileError
from edgepart.hardware.calibration import calibrate
from edgepart.hardware.roofline import roofline_s
from edgepart.testing.hardware import example_device


@pytest.mark.parametrize("every", [1, 3, 6])
def test_a_fit_recovers_the_numbers_that_made_the_times(every):
    found = calibrate([measured(seed, every=every) for seed in range(3)])
    # the prior, on purpose not the truth, moves what takes the least time the most
    assert found.rates == pytest.approx(TRUE, rel=0.35)
    exact = ("peak_macs_per_s", "memory_bytes_per_s", "activation_bytes_per_s", "call_overhead_s")
    assert {name: found.rates[name] for name in exact} == pytest.approx({name: TRUE[name] for name in exact}, rel=0.2)
    assert max(abs(one.error) for one in found.networks) < 0.01
    assert found.left_out is not None
    assert found.left_out[1] < 0.02
    assert found.left_out[0] <= found.left_out[1]
    assert not found.is_poor
    assert sum(share for name, share in found.shares.items() if name != "fused_share") == pytest.approx(1)
    assert found.undetermined == ()


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_networks_predict_others(count):
    rates = calibrate([measured(seed) for seed in range(count)]).rates
    for seed in (7, 8, 9):
        taken, truth = (sum(roofline_s(chain(seed), example_device(**x)).values()) for x in (rates, TRUE))
        assert taken == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 30.0])
def test_slow_and_fast_devices_are_fitted_alike(factor):
    scaled = {name: value * factor for name, value in TRUE.items()}
    scaled |= {"call_overhead_s": TRUE["call_overhead_s"] / factor, "fused_share": TRUE["fused_share"]}
    usual = calibrate([measured(seed) for seed in range(2)]).rates
    found = calibrate([measured(seed, true=scaled) for seed in range(2)]).rates
    relative = {name: value / scaled[name] for name, value in found.items()}
    assert relative == pytest.approx({name: value / TRUE[name] for name, value in usual.items()}, rel=1e-2)


def test_noise_moves_the_numbers_little_and_is_told():
    found = calibrate([measured(seed, noise=0.1) for seed in range(4)])
    assert found.rates == pytest.approx(TRUE, rel=0.35)
    assert 0.02 < found.segment_error < 0.15
    assert not found.is_poor


@pytest.mark.parametrize("spoil", [0.02, 0.25, 4.0, 50.0])
def test_no_number_is_negative_whatever_was_measured(spoil):
    profiles = []
    for seed in range(2):
        profile = measured(seed, noise=1.0, every=1)
        changed = [x.model_copy(update={"latency": x.latency.times(spoil)}) for x in profile.segments[::2]]
        rest = sorted((*changed, *profile.segments[1::2]), key=lambda x: x.start)
        profiles.append(profile.model_copy(update={"segments": tuple(rest)}))
    rates = calibrate(profiles).rates
    assert all(math.isfinite(value) and value > 0 for value in rates.values())
    assert rates["fused_share"] <= 1
    example_device(**rates)


def test_a_few_segments_far_off_do_not_spoil_the_fit():
    spoilt = []
    for seed in range(4):
        profile = measured(seed, every=1)
        one = profile.segments[seed + 2]
        wrong = one.model_copy(update={"latency": one.latency.times(4)})
        spoilt.append(
            profile.model_copy(update={"segments": tuple(wrong if x is one else x for x in profile.segments)})
        )
    clean = calibrate([measured(seed, every=1) for seed in range(4)]).rates
    assert calibrate(spoilt).rates == pytest.approx(clean, rel=0.2)


def test_times_that_no_rates_explain_are_called_a_poor_fit():
    faster = {name: value * 10 for name, value in TRUE.items()} | {"call_overhead_s": 6e-7, "fused_share": 0.7}
    found = calibrate([measured(0, true=faster), measured(0)])
    assert found.is_poor
    assert not replace(found, networks=tuple(replace(x, error=0.1) for x in found.networks), segment_error=0.1).is_poor


@pytest.mark.parametrize("name", [name for name in TRUE if name not in ("peak_macs_per_s", "fused_share")])
@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_device_unlike_others_is_still_predicted(name, factor):
    odd = TRUE | {name: TRUE[name] * factor}
    found = calibrate([measured(seed, true=odd) for seed in range(3)])
    assert found.left_out is not None
    # the prior costs something, less than what such a device would be off without a fit of its own
    assert found.left_out[1] < 0.25
    assert max(abs(one.error) for one in found.networks) < 0.12


def test_what_was_not_exercised_is_named_and_taken_to_be_usual():
    plain = measured(0)
    layers = [x.model_copy(update={"macs": 0} if x.kind == "conv2d" else {}) for x in plain.graph.layers]
    found = calibrate([plain.model_copy(update={"graph": plain.graph.model_copy(update={"layers": tuple(layers)})})])
    assert "grouped_macs_per_s" in found.undetermined
    assert "memory_bytes_per_s" not in found.undetermined
    assert found.rates["grouped_macs_per_s"] == pytest.approx(found.rates["peak_macs_per_s"] / 4, rel=1e-2)


def test_one_network_has_no_error_when_left_out():
    found = calibrate([measured(0)])
    [one] = found.networks
    assert one.left_out is None
    assert found.left_out is None


def test_a_network_given_twice_is_left_out_twice():
    twice = calibrate([measured(0), measured(0)])
    assert twice.left_out is None
    other = calibrate([measured(0), measured(0), measured(1)])
    alone = calibrate([measured(0), measured(1)])
    assert other.networks[0].left_out == pytest.approx(alone.networks[0].left_out, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runtime": "onnxruntime"}, r"another runtime \(onnxruntime\) than that of 'chain0' \(fake\)"),
        ({"threads": 4}, r"another number of threads \(4\)"),
        ({"device": example_device("box", facts={"processor": "Model T"})}, r"another machine \(Model T\)"),
    ],
)
def test_profiles_that_were_not_measured_alike_are_refused(change, message):
    with pytest.raises(ProfileError, match=message):
        calibrate([measured(0), measured(1).model_copy(update=change)])


def test_too_little_to_fit_is_told():
    with pytest.raises(ProfileError, match="there is nothing to calibrate with"):
        calibrate([])
    with pytest.raises(ProfileError, match="2 segments together, too few to tell"):
        calibrate([measured(0, every=32)])
    nothing = measured(0)
    zero = nothing.model_copy(update={"end_to_end": nothing.end_to_end.times(0)})
    with pytest.raises(ProfileError, match="holds no times above 0"):
        calibrate([zero])
