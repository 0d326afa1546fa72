"""Streams that change domain, and windows along them."""

from dataclasses import replace

import numpy as np
import pytest

from edgepart.dispatch.cartography import Cartography
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.splitee import SplitEE
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import replay
from edgepart.evaluation.stream import running, shifted
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace


def test_one_domain_follows_the_other() -> None:
    first, second = synthetic_trace(30, seed=1), synthetic_trace(50, seed=2)
    stream = shifted(first, second)
    assert len(stream) == 80
    assert stream.dynamics is None
    for name in ("logits", "labels", "embeddings"):
        joined = getattr(stream, name)
        assert np.array_equal(joined[:30], getattr(first, name))
        assert np.array_equal(joined[30:], getattr(second, name))
    assert (stream.exits, stream.tiers, stream.classes) == (first.exits, first.tiers, first.classes)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"classes": ("cat", "dog")}, "the classes of the two domains are class0, class1 and cat, dog: record both"),
        ({"exits": ("a", "b", "final")}, "the exits of the two domains are exit1, exit2, final and a, b, final"),
        (
            {"exit_tiers": ("edge", "edge", "cloud")},
            "the tiers of the exits of the two domains are mobile, edge, cloud",
        ),
        ({"tiers": ("mobile", "edge", "cloud", "far")}, "the tiers of the two domains are"),
        ({"embeddings": np.zeros((9, 3), np.float32)}, "the embedding lengths of the two domains are 16 and 3"),
    ],
)
def test_domains_of_different_bundles_are_refused(changed: dict[str, object], sentence: str) -> None:
    first = synthetic_trace(9)
    with pytest.raises(DispatchError) as caught:
        shifted(first, replace(first, **changed))  # type: ignore[arg-type]
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_windows_by_hand() -> None:
    """Seven samples, windows of three: all leave at the first exit, whose answers are right, wrong, wrong …"""
    trace = synthetic_trace(7)
    right = np.array([True, False, False, True, True, True, False])
    trace = replace(
        trace, labels=np.where(right, trace.logits[:, 0].argmax(axis=-1), 1 - trace.logits[:, 0].argmax(-1))
    )
    strategy, costs = Confidence(), Costs(example_costs(trace), 3.0)
    strategy.fit(trace, costs.table)
    found = running(trace, strategy.policy(strategy.settings([0.0])[0]), costs, 3)
    assert [(one.start, one.stop) for one in found] == [(0, 3), (3, 6), (6, 7)]
    assert [one.accuracy for one in found] == pytest.approx([1 / 3, 1.0, 0.0])
    assert [one.cost for one in found] == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("window", [1, 64, 1000, 5000])
def test_windows_make_up_the_whole(window: int) -> None:
    trace = synthetic_trace(1000, seed=3)
    costs = Costs(example_costs(trace), 3.0, router=0.25)
    for strategy in (SplitEE(), Cartography(lambdas=(0.1,))):
        strategy.fit(trace, costs.table)
        setting = strategy.settings([0.7])[0]
        found = running(trace, strategy.policy(setting), costs, window)
        sizes = np.array([one.stop - one.start for one in found])
        whole = replay(trace, strategy.policy(setting), costs)
        assert np.average([one.accuracy for one in found], weights=sizes) == pytest.approx(whole.accuracy)
        assert np.average([one.cost for one in found], weights=sizes) == pytest.approx(whole.cost)


def test_windows_show_the_change_of_domain() -> None:
    """A domain that is harder for every exit: a cascade at one threshold gets dearer where it begins."""
    easy = synthetic_trace(600, seed=4)
    stream = shifted(easy, replace(easy, logits=0.1 * easy.logits))
    costs = Costs(example_costs(easy), 3.0)
    strategy = Confidence()
    strategy.fit(easy, costs.table)
    found = running(stream, strategy.policy(strategy.settings([0.8])[0]), costs, 200)
    spent = [one.cost for one in found]
    assert max(spent[:3]) + 0.5 < min(spent[3:])


def test_a_window_holds_a_sample() -> None:
    trace = synthetic_trace(5)
    strategy = Confidence()
    strategy.fit(trace, example_costs(trace))
    with pytest.raises(DispatchError, match="the window is 0, expected at least one sample"):
        running(trace, strategy.policy(strategy.settings([0.5])[0]), Costs(example_costs(trace), 3.0), 0)
