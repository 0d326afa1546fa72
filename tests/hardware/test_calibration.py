"""Fitting a roofline to measured networks."""

from dataclasses import replace

import pytest
from roofline_profiles import TRUE, measured

from edgepart.errors import ProfileError
from edgepart.hardware.calibration import calibrate
from edgepart.testing.hardware import example_device


def fitted(found):
    return {name: getattr(found, name) for name in TRUE}


@pytest.mark.parametrize("every", [1, 3, 6])
def test_a_fit_recovers_the_numbers_that_made_the_times(every):
    found = calibrate([measured(seed, every=every) for seed in range(3)])
    assert fitted(found) == pytest.approx(TRUE, rel=1e-2)
    assert max(abs(one.error) for one in found.networks) < 1e-2
    assert max(abs(one.left_out) for one in found.networks) < 2e-2
    assert not found.is_poor
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.undetermined == ()


def test_noise_moves_the_numbers_little_and_is_told():
    found = calibrate([measured(seed, noise=0.1) for seed in range(4)])
    assert fitted(found) == pytest.approx(TRUE, rel=0.3)
    assert 0.02 < found.segment_error < 0.15
    assert not found.is_poor


def test_a_few_segments_far_off_do_not_spoil_the_fit():
    spoilt = []
    for seed in range(4):
        profile = measured(seed, every=1)
        one = profile.segments[seed + 2]
        wrong = one.model_copy(update={"latency": one.latency.times(4)})
        rest = tuple(wrong if x is one else x for x in profile.segments)
        total = sum(x.latency.median_s for x in rest)
        whole = profile.end_to_end.model_copy(update={"median_s": total})
        spoilt.append(profile.model_copy(update={"segments": rest, "end_to_end": whole}))
    assert fitted(calibrate(spoilt)) == pytest.approx(TRUE, rel=0.25)


def test_times_that_no_roofline_explains_are_called_a_poor_fit():
    fast = measured(0, true={name: 10 * value for name, value in TRUE.items()} | {"call_overhead_s": 2e-6})
    found = calibrate([fast, measured(0)])
    assert found.is_poor
    assert not replace(found, networks=tuple(replace(x, error=0.1) for x in found.networks), segment_error=0.1).is_poor


def test_what_was_not_exercised_is_named():
    found = calibrate([measured(seed, true=TRUE | {"memory_bytes_per_s": 1e14}) for seed in range(2)])
    assert found.undetermined == ("memory_bytes_per_s",)
    assert found.peak_macs_per_s == pytest.approx(TRUE["peak_macs_per_s"], rel=1e-2)
    none_on_top = calibrate([measured(seed, true=TRUE | {"call_overhead_s": 0.0}) for seed in range(2)])
    assert "call_overhead_s" in none_on_top.undetermined
    assert none_on_top.call_overhead_s < 1e-7


def test_one_network_has_no_error_when_left_out():
    [one] = calibrate([measured(0)]).networks
    assert one.left_out is None


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
    with pytest.raises(ProfileError, match="2 segments together, and three numbers"):
        calibrate([measured(0, every=12)])
