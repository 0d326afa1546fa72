"""On any trace: whole arrays decide as sample by sample, in any order and batching."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepart.dispatch.base import Decisions, Strategy
from edgepart.dispatch.layout import walk
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.trace import Trace
from edgepart.testing.strategies import example_costs

TIERS = ("a", "b", "c")

#: values that meet thresholds exactly, tie with one another, saturate the softmax or underflow
LOGITS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 40.0, -40.0, 1e4, -1e4])


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    places = draw(st.lists(st.integers(0, 2), min_size=1, max_size=5).map(sorted))
    samples, classes = draw(st.integers(1, 12)), draw(st.sampled_from([1, 2, 3, 9, 17]))
    size = samples * len(places) * classes
    logits = np.array(draw(st.lists(LOGITS, min_size=size, max_size=size)), np.float32)
    seed = draw(st.integers(0, 2**31))
    random = np.random.default_rng(seed)
    dimension = draw(st.sampled_from([1, 2, 7, 130]))
    return Trace(
        logits=logits.reshape(samples, len(places), classes),
        labels=random.integers(0, classes, samples),
        embeddings=random.integers(-2, 3, (samples, dimension)).astype(np.float32),
        exits=tuple(f"exit{number}" for number in range(len(places))),
        exit_tiers=tuple(TIERS[place] for place in places),
        tiers=TIERS,
        classes=tuple(str(number) for number in range(classes)),
        dynamics=random.random((3, samples, len(places))).astype(np.float32),
    )


NAMES = [
    "confidence",
    "entropy",
    "entropy:scale=nats",
    "margin",
    "margin:decay=0.1",
    "patience",
    "learned:folds=2",
    "ensemble:folds=2",
    "budgeted",
    "tuned",
    "tuned:base=entropy,thresholds=each,prices=0.01/0.3,folds=2",
    "controlled:epsilon=0.3/0.5,delta=0.9,candidates=0/0.5/0.9/1",
    "controlled:base=entropy,epsilon=0.5,delta=0.5,risk=disagreement",
    "cartography",
    "cartography:objective=routed,grid=quantile,embedding=standardised",
    "cartography:grid=quantile,embedding=whitened",
    "cartography-adaptive",
    "cartography-adaptive:embedding=standardised,drift=page-hinkley",
    "router",
    "router:model=neighbours,target=right,embedding=whitened,nearest=3",
    "router:model=boosting,embedding=none,trees=3",
    "combined:base=entropy,model=neighbours",
    "combined:router=cartography,embedding=none",
    "adaee",
    "splitee",
    "splitee-s:mus=0/0.5",
    "i-splitee",
    "random",
    "fixed-tier",
]


def fitted(name: str, trace: Trace) -> Strategy:
    made = strategy_named(name)
    made.fit(trace, example_costs(trace))
    return made


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=25)
def test_any_batch_in_any_order_decides_as_sample_by_sample(name: str, data: st.DataObject) -> None:
    validation = data.draw(traces())
    rows = data.draw(st.lists(st.integers(0, len(validation) - 1), max_size=20))
    trace = validation.select(np.array(rows, dtype=np.int64))
    strategy = fitted(name, validation)
    for setting in strategy.settings([0.0, 0.3, 0.5, 1.0]):
        single = walk(strategy.policy(setting), trace)
        cut = data.draw(st.integers(0, len(rows)))
        batched = strategy.policy(setting)
        first, second = (
            batched.decide(trace.select(np.arange(cut))),
            batched.decide(trace.select(np.arange(cut, len(rows)))),
        )
        joined = Decisions(np.concatenate([first.entry, second.entry]), np.concatenate([first.exit, second.exit]))
        for whole in (strategy.policy(setting).decide(trace), joined):
            assert whole.entry.tolist() == single.entry.tolist()
            assert whole.exit.tolist() == single.exit.tolist()
