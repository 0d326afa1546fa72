"""The Page-Hinkley detector: no false alarms at the stated rate, shifts found within a stated number of samples."""

import math

import numpy as np
import pytest

from edgepart.dispatch.drift import PageHinkley, bennett_rate, detector
from edgepart.errors import DispatchError

#: name → (generator, n) → stationary confidences: skewed as real ones, flat, at the ends, almost always the same
STREAMS = {
    "sure": lambda random, n: 0.5 + 0.5 * random.beta(4, 1, n),
    "flat": lambda random, n: random.random(n),
    "two-sided": lambda random, n: random.beta(0.3, 0.3, n),
    "rarely low": lambda random, n: 1.0 - (random.random(n) < 0.05),
    "rarely high": lambda random, n: 1.0 * (random.random(n) < 0.05),
    "constant": lambda random, n: np.full(n, 0.7),
}


def alarms(watch: PageHinkley, values: np.ndarray) -> list[int]:
    """How many samples had been seen at each alarm."""
    return [place for place, value in enumerate(values.tolist(), start=1) if watch.update(value)]


@pytest.mark.parametrize("stream", STREAMS)
def test_false_alarms_are_no_more_frequent_than_stated(stream: str) -> None:
    """The mean run to the first alarm, cut at four times the promise, over fresh detectors on fresh streams."""
    random, promised = np.random.default_rng(len(stream)), 500
    runs = []
    for _ in range(60):
        found = alarms(PageHinkley(run_length=promised), STREAMS[stream](random, 4 * promised))
        runs.append(found[0] if found else 4 * promised)
    assert np.mean(runs) >= promised


def test_a_detector_without_a_height_would_be_seen() -> None:
    """The test above can fail: at a run length of 1 the same streams do give alarms."""
    random = np.random.default_rng(0)
    counts = [len(alarms(PageHinkley(run_length=1, tolerance=0.01), STREAMS[name](random, 3000))) for name in STREAMS]
    assert sum(count > 3 for count in counts) >= 3


@pytest.mark.parametrize("stream", ["sure", "flat", "two-sided"])
@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_a_shift_is_found_in_time(stream: str, shift: float) -> None:
    """A shift of four tolerances adds three of them a sample, where the stated delay counts on one."""
    random = np.random.default_rng(5)
    for _ in range(20):
        before, after = STREAMS[stream](random, 1000), STREAMS[stream](random, 1000)
        watch = PageHinkley()
        assert not alarms(watch, before)
        limit = watch.delay
        found = alarms(watch, after + shift)
        assert found, "a shift was never found"
        assert found[0] <= 0.75 * limit


@pytest.mark.parametrize("ends", [(4, 1), (1, 1), (0.3, 0.3)])
def test_the_delays_of_the_documentation(ends: tuple[float, float]) -> None:
    """docs/strategies.md, of confidences with two classes after 1,000 samples as usual."""
    random = np.random.default_rng(2)
    small, large = [], []
    for _ in range(20):
        before, after = (0.5 + 0.5 * random.beta(*ends, 1000) for _ in range(2))
        for shift, found in ((0.1, small), (0.2, large)):
            watch = PageHinkley()
            alarms(watch, before)
            found.append(alarms(watch, after - shift)[0])
    assert max(large) <= 100
    assert np.median(small) <= 200


def test_the_height_follows_the_spread_as_it_becomes_known() -> None:
    watch = PageHinkley()
    alarms(watch, np.full(100, 0.6))
    calm = watch.delay
    assert not alarms(watch, np.tile([0.4, 0.8], 50))
    assert watch.delay > calm


def test_the_sum_by_hand() -> None:
    """Two samples of warm-up with mean .5; the variance is below the least one, .01, which sets the height."""
    watch = PageHinkley(tolerance=0.1, run_length=0.5 * math.e**2, warm_up=2)
    rate = bennett_rate(0.1, 0.01)
    height = 2 / rate
    values = [0.5, 0.5, 1.0, 1.0, 1.0]
    total, mean, expected = 0.0, 0.5, None
    for count, value in enumerate(values[2:], start=3):
        total += value - mean - 0.1
        mean += (value - mean) / count
        if expected is None and total >= height:
            expected = count
    assert alarms(watch, np.array(values)) == [expected]
    assert expected == 4


def test_after_an_alarm_the_new_domain_is_the_usual_one() -> None:
    random = np.random.default_rng(1)
    steps = np.concatenate([random.beta(8, 2, 3000), random.beta(4, 4, 3000), random.beta(8, 2, 3000)])
    found = alarms(PageHinkley(run_length=1e6), steps)
    assert len(found) == 2
    assert 3000 < found[0] < 3200
    assert 6000 < found[1] < 6200


def test_nothing_is_told_while_it_warms_up() -> None:
    watch = PageHinkley(warm_up=50)
    assert watch.delay == math.inf
    assert not alarms(watch, np.r_[np.zeros(25), np.ones(25)])
    assert watch.delay < math.inf


@pytest.mark.parametrize(("tolerance", "variance"), [(0.05, 0.01), (0.05, 0.25), (0.001, 0.25), (0.5, 0.01)])
def test_the_rate_solves_bennetts_equation(tolerance: float, variance: float) -> None:
    rate = bennett_rate(tolerance, variance)
    assert rate > 0
    assert variance * (math.exp(rate) - 1 - rate) == pytest.approx(tolerance * rate)


def test_by_name() -> None:
    assert detector("none", 0.05, 1000.0) is None
    made = detector("page-hinkley", 0.1, 1000.0)
    assert made is not None
    assert (made.tolerance, made.run_length) == (0.1, 1000.0)


@pytest.mark.parametrize("given", [{"tolerance": 0.0}, {"run_length": 0.5}, {"warm_up": 1}, {"tolerance": math.nan}])
def test_what_cannot_be_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(DispatchError, match="expected above 0, at least 1 and at least 2"):
        PageHinkley(**given)  # type: ignore[arg-type]
