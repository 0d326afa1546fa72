"""AdaEE and the SplitEE family: against UCB1 of a textbook and of river, by hand, and on streams that change."""

import math
from dataclasses import replace

import numpy as np
import pytest
import river.bandit

from edgepart.dispatch.adaee import AdaEE
from edgepart.dispatch.bandit import Bandit, BanditPolicy
from edgepart.dispatch.base import Outcome, Policy, State, Strategy
from edgepart.dispatch.cartography import AdaptiveCartography
from edgepart.dispatch.layout import walk
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.splitee import ISplitEE, SplitEE, SplitEES
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import replay
from edgepart.evaluation.stream import shifted
from edgepart.testing.strategies import StrategyContract, example_costs
from edgepart.testing.traces import synthetic_trace

FAMILY = [AdaEE, SplitEE, SplitEES, ISplitEE]


class TestAdaEE(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return AdaEE()


class TestSplitEE(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return SplitEE()


class TestSplitEES(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return SplitEES(mus=(0.0, 0.2))


class TestSplitEESOnTiers(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return SplitEES(arms="tiers")


class TestISplitEE(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return ISplitEE(drift="page-hinkley")


class TestDriftingCartography(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return AdaptiveCartography(drift="page-hinkley")


def trace_of(confidence: list[tuple[float, ...]] | np.ndarray, right: np.ndarray | None = None) -> Trace:
    """Two classes; every exit answers with the first, which is right unless told otherwise."""
    chances = np.array(confidence, dtype=np.float64)
    samples, exits = chances.shape
    names = ("m", "e", "c")[-exits:] if exits < 3 else ("m", "e", "c")
    return Trace(
        logits=np.log(np.stack([chances, 1 - chances], axis=2)),
        labels=np.zeros(samples, np.int64) if right is None else 1 - right.astype(np.int64),
        embeddings=np.zeros((samples, 1), np.float32),
        exits=tuple(f"x{number}" for number in range(exits)),
        exit_tiers=names,
        tiers=names,
        classes=("a", "b"),
    )


def textbook(rewards: np.ndarray, exploration: float) -> list[int]:
    """UCB1 as Sutton and Barto (section 2.7) write it, on (N, A) rewards of which it sees only the chosen one's."""
    history: list[list[float]] = [[] for _ in range(rewards.shape[1])]
    chosen = []
    for step, row in enumerate(rewards, start=1):
        bounds = [
            math.inf if not got else sum(got) / len(got) + exploration * math.sqrt(math.log(step) / len(got))
            for got in history
        ]
        arm = max(range(len(bounds)), key=lambda index: bounds[index])
        history[arm].append(float(row[arm]))
        chosen.append(arm)
    return chosen


@pytest.mark.parametrize(("arms", "exploration"), [(1, 1.0), (2, 0.0), (3, 1.0), (6, 0.3), (12, 2.0)])
def test_the_bandit_pulls_the_textbooks_arms(arms: int, exploration: float) -> None:
    rewards = np.random.default_rng(arms).normal(np.linspace(0, 0.3, arms), 0.3, (800, arms))
    bandit, pulled = Bandit(arms, exploration), []
    for row in rewards:
        pulled.append(bandit.choose())
        bandit.reward(pulled[-1], float(row[pulled[-1]]))
        bandit.rounds += 1
    assert pulled == textbook(rewards, exploration)
    assert sum(bandit.counts) == len(rewards)
    bandit.reset()
    assert (bandit.choose(), sum(bandit.counts), bandit.rounds) == (0, 0, 0)


@pytest.mark.parametrize(("arms", "exploration"), [(2, 0.1), (4, 1.0), (7, 0.3), (12, 2.0)])
def test_the_bandit_pulls_rivers_arms(arms: int, exploration: float) -> None:
    """The library river adds δ √(2 ln t / n) where ours adds c √(ln(t + 1) / n)."""
    rewards = np.random.default_rng(arms).normal(np.linspace(0, 0.3, arms), 0.3, (3000, arms))
    bandit, theirs = Bandit(arms, exploration), river.bandit.UCB(delta=exploration / math.sqrt(2), burn_in=1)
    # a round that none of the arms has part in makes their t ours
    theirs.update("nobody", 0.0)
    pulled, expected = [], []
    for row in rewards:
        pulled.append(bandit.choose())
        bandit.reward(pulled[-1], float(row[pulled[-1]]))
        bandit.rounds += 1
        expected.append(theirs.pull(range(arms)))
        theirs.update(expected[-1], float(row[expected[-1]]))
    assert pulled == expected
    assert len(set(pulled)) == arms


def all_rewards(confidence: np.ndarray, alpha: float, charges: np.ndarray) -> np.ndarray:
    """(N, K) what SplitEE's every arm would get, as the paper writes it: C_i - λ_i, or C_L - o_i - λ_i."""
    rest = charges[-1] - charges
    stays = confidence >= alpha
    stays[:, -1] = True
    return np.where(stays, confidence - charges, confidence[:, -1:] - rest - charges)


def test_splitee_follows_the_textbook_on_the_papers_rewards() -> None:
    trace = synthetic_trace(1500, ("m", "m", "e", "c"), ("m", "e", "c"), classes=5, seed=4)
    costs = example_costs(trace)
    charges = 0.3 * costs[0]
    strategy = SplitEE(mus=(0.3,))
    strategy.fit(trace, costs)
    (setting,) = strategy.settings([0.7])
    confidence = trace.probabilities.max(axis=-1).astype(np.float64)
    arms = np.array(textbook(all_rewards(confidence, 0.7, charges), 1.0))
    confident = confidence[np.arange(len(trace)), arms] >= 0.7
    assert strategy.policy(setting).decide(trace).exit.tolist() == np.where(confident, arms, 3).tolist()


def test_adaee_follows_the_textbook_on_the_papers_rewards() -> None:
    """One exit and the final one: max(C_L - C_b, 0) - o for a sample that goes on, 0 for one that leaves."""
    trace = synthetic_trace(1500, ("m", "c"), ("m", "c"), classes=4, seed=2)
    strategy = AdaEE(mus=(0.2,))
    strategy.fit(trace, np.array([[1.0, 1.5], [np.inf, 0.5]]))
    (setting,) = strategy.settings([])
    first, last = trace.probabilities.max(axis=-1).astype(np.float64).T
    thresholds = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    goes_on = first[:, None] < thresholds
    arms = textbook(np.where(goes_on, (np.maximum(last - first, 0) - 0.2 * 0.5)[:, None], 0.0), 1.0)
    expected = goes_on[np.arange(len(trace)), arms].astype(int)
    assert strategy.policy(setting).decide(trace).exit.tolist() == expected.tolist()
    assert 0 < expected.mean() < 1


#: (C_b, C_L); the arm, its bounds at that time and the reward are told where the test uses them
TEN_OF_TWO = [
    (0.70, 0.90),  # arm 0 (.6), untried: leaves, 0
    (0.70, 0.95),  # arm 1 (.9), untried: goes on, .25 - .2 = .05
    (0.80, 0.75),  # arm 1 (.05 > 0, one sample each): goes on, no gain, -.2
    (0.55, 0.90),  # arm 0 (0 + √ln 4 > -.075 + √(ln 4 / 2)): goes on, .35 - .2 = .15
    (0.95, 0.95),  # arm 0 (.075 > -.075, two each): leaves
    (0.92, 0.99),  # arm 1 (.05 + √(ln 6 / 3) = .823 < -.075 + √(ln 6 / 2) = .872): leaves
    (0.62, 0.90),  # arm 0 (.05 > -.05, three each): leaves
    (0.58, 0.85),  # arm 1 (.0375 + √(ln 8 / 4) = .759 < -.05 + √(ln 8 / 3) = .783): goes on, .27 - .2 = .07
    (0.52, 0.60),  # arm 0 (.0375 > -.02, four each): goes on, .08 - .2 = -.12
    (0.91, 0.60),  # arm 1 (.006 + √(ln 10 / 5) = .685 < -.02 + √(ln 10 / 4) = .739): leaves
]


def test_adaee_by_hand() -> None:
    trace, table = trace_of(TEN_OF_TWO), np.array([[1.0, 3.0], [np.inf, 2.0]])
    strategy = AdaEE(mus=(0.1,), arms=(0.6, 0.9))
    strategy.fit(trace, table)
    (setting,) = strategy.settings([0.5])
    policy = strategy.policy(setting)
    decisions = policy.decide(trace)
    assert decisions.exit.tolist() == [0, 1, 1, 1, 0, 0, 0, 1, 1, 0]
    assert decisions.entry.tolist() == [0] * 10
    assert policy.bandit.counts == [5, 5]
    assert policy.bandit.means == pytest.approx([0.03 / 5, -0.08 / 5])
    assert replay(trace, strategy.policy(setting), Costs(table, 3.0)).cost == pytest.approx(2.0)
    assert setting.label == "μ=0.1"


#: (C_1, C_2, C_L); charges are .1, .2 and .4, α is .8
TEN_OF_THREE = [
    (0.90, 0.60, 0.70),  # arm 0: leaves, .8
    (0.95, 0.70, 0.90),  # arm 1: goes on, .9 - .4 = .5
    (0.99, 0.99, 0.85),  # arm 2: .45
    (0.60, 0.90, 0.80),  # SplitEE: arm 0 (.8), .4; -S: arm 2 (.45 + √ln 4)
    (0.60, 0.85, 0.90),  # arm 1 leaves, .65; -S: C_L is not seen, so that arm 0 gets .85 - .4
    (0.90, 0.90, 0.95),  # arm 2: .55
    (0.85, 0.60, 0.60),  # SplitEE: arm 0 leaves; -S: arm 1 goes on
    (0.90, 0.75, 0.60),  # SplitEE: arm 1 goes on; -S: arm 2
    (0.90, 0.90, 0.70),  # SplitEE: arm 2; -S: arm 0 leaves
    (0.70, 0.90, 0.90),  # arm 0 goes on
]
TABLE = np.array([[1.0, 2.0, 4.0], [np.inf, 1.0, 3.0], [np.inf, np.inf, 2.0]])


@pytest.mark.parametrize(
    ("kind", "exits", "counts", "means", "cost"),
    [
        # by hand: arm 0 had .8 .4 .75 .5, arm 1 .5 .65 .2, arm 2 .45 .55 .3
        (SplitEE, [0, 2, 2, 2, 1, 2, 0, 2, 2, 2], [4, 3, 3], [2.45 / 4, 1.35 / 3, 1.3 / 3], 3.2),
        # arm 0 had .8 .85 .89 .4 .45 .8 .75 .8 .8 .5, arm 1 .5 .79 .7 .65 .7 .2 .2, arm 2 .45 .4 .55 .2
        (SplitEES, [0, 2, 2, 2, 1, 2, 2, 2, 0, 2], [10, 7, 4], [0.704, 3.74 / 7, 0.4], 3.2),
        (ISplitEE, [0, 2, 2, 2, 1, 2, 0, 2, 2, 2], [4, 3, 3], [2.45 / 4, 1.35 / 3, 1.3 / 3], 3.2),
    ],
)
def test_splitee_by_hand(
    kind: type[SplitEE], exits: list[int], counts: list[int], means: list[float], cost: float
) -> None:
    trace = trace_of(TEN_OF_THREE)
    strategy = kind(mus=(0.1,))
    strategy.fit(trace, TABLE)
    (setting,) = strategy.settings([0.8])
    policy = strategy.policy(setting)
    assert policy.decide(trace).exit.tolist() == exits
    assert policy.bandit.counts == counts
    assert policy.bandit.means == pytest.approx(means)
    assert replay(trace, strategy.policy(setting), Costs(TABLE, 4.0)).cost == pytest.approx(cost)
    assert setting.label == "α=0.8 μ=0.1"


def test_one_arm_a_tier_asks_where_the_network_is_split() -> None:
    trace = synthetic_trace(200, ("m", "m", "e", "c", "c"), ("m", "e", "c"))
    found = {}
    for kind in (SplitEE, ISplitEE):
        strategy = kind()
        strategy.fit(trace, example_costs(trace))
        found[kind] = set(strategy.policy(strategy.settings([0.0])[0]).decide(trace).exit.tolist())
    assert found == {SplitEE: {0, 1, 2, 3, 4}, ISplitEE: {1, 2, 4}}


def test_adaee_with_more_exits_counts_from_the_first_one() -> None:
    """θ = .9 passes the first exit and leaves at the second: .95 - .5, less .3 for what that way has cost."""
    strategy = AdaEE(mus=(0.3,), arms=(0.9,))
    strategy.fit(trace_of([(0.5, 0.95, 0.6)]), TABLE)
    for confidence, left, reward in (
        ((0.5, 0.95, 0.6), 1, 0.45 - 0.3),
        ((0.5, 0.8, 0.95), 2, 0.45 - 0.9),
        ((0.8, 0.6, 0.7), 2, -0.9),
    ):
        policy = strategy.policy(strategy.settings([])[0])
        assert policy.decide(trace_of([confidence])).exit.tolist() == [left]
        assert policy.bandit.means == pytest.approx([reward])


def test_a_confidence_of_alpha_is_enough() -> None:
    """And is rewarded as one: .5 - .1 at the first exit, not .5 - .4 for going on."""
    trace = trace_of([(0.5, 0.5, 0.5)])
    for kind in (SplitEE, SplitEES):
        strategy = kind(mus=(0.1,))
        strategy.fit(trace, TABLE)
        policy = strategy.policy(strategy.settings([0.5])[0])
        assert policy.decide(trace).exit.tolist() == [0]
        assert policy.bandit.means == pytest.approx([0.4, 0.0, 0.0])


def test_settings_follow_what_they_are_worth() -> None:
    trace = trace_of(TEN_OF_THREE)
    adaptive, split = AdaEE(), SplitEE()
    for strategy in (adaptive, split):
        strategy.fit(trace, TABLE)
    assert [float(setting["mu"]) * 4 for setting in adaptive.settings([])][:3] == pytest.approx([0.0, 0.02, 0.05])
    assert [(setting["alpha"], setting["mu"]) for setting in split.settings([0.5, 0.9])] == [(0.5, 0.25), (0.9, 0.25)]
    adaptive.fit(trace, np.where(np.isinf(TABLE), np.inf, 0.0))
    assert [setting["mu"] for setting in adaptive.settings([])] == [0.0]


@pytest.mark.parametrize("mu", [0.0, 100.0])
def test_what_costs_nothing_goes_on_and_what_costs_much_leaves(mu: float) -> None:
    trace = trace_of(np.tile([0.7, 0.8, 0.9], (4000, 1)))
    for kind in (AdaEE, SplitEE, SplitEES):
        strategy = kind(mus=(mu,))
        strategy.fit(trace, TABLE)
        left = strategy.policy(strategy.settings([0.6])[0]).decide(trace).exit
        # rewards of a hundred cost units are learnt at once, a gain of .1 in confidence takes its time
        assert (left[2000:] == (2 if mu == 0 else 0)).mean() > (0.6 if mu == 0 else 0.99)


@pytest.mark.parametrize("kind", FAMILY)
def test_nothing_is_learnt_from_exits_that_a_sample_did_not_meet(kind: type[AdaEE] | type[SplitEE]) -> None:
    trace = synthetic_trace(400, ("m", "e", "c"), ("m", "e", "c"), classes=3, seed=6)
    strategy = kind()
    strategy.fit(trace, example_costs(trace))
    for setting in strategy.settings([0.5, 0.8]):
        seen = strategy.policy(setting).decide(trace)
        hidden = trace.logits.copy()
        hidden[np.arange(3) > seen.exit[:, None]] = np.array([7.0, -7.0, 0.0])
        again = strategy.policy(setting).decide(replace(trace, logits=hidden))
        assert again.exit.tolist() == seen.exit.tolist()


@pytest.mark.parametrize("kind", [AdaEE, SplitEE, SplitEES])
def test_an_answer_that_comes_late_is_learnt_from(kind: type[AdaEE] | type[SplitEE]) -> None:
    """A busy system admits samples before it has heard of earlier ones: the arm may have changed meanwhile."""
    strategy = kind(mus=(0.1,))
    strategy.fit(trace_of(TEN_OF_THREE), TABLE)
    policy = strategy.policy(strategy.settings([0.8])[0])
    embedding, chances = np.zeros(1, np.float32), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    for _ in range(30):
        assert policy.admit(embedding, State()) == 0
        policy.observe(Outcome(embedding, 0, 0, chances[0], 1.0))
        policy.observe(Outcome(embedding, 0, 2, chances[2], 4.0, tuple(chances[:2])))
    assert policy.bandit.rounds == 60
    assert np.isfinite(policy.bandit.means).all()


def test_a_late_answer_counts_for_the_exit_it_was_given_at() -> None:
    """Where the arm in force by then asks a later exit, of which the sample says nothing."""
    strategy = SplitEE(mus=(0.1,))
    strategy.fit(trace_of(TEN_OF_THREE), TABLE)
    policy = strategy.policy(strategy.settings([0.8])[0])
    policy.decide(trace_of(TEN_OF_THREE[:2]))
    assert not policy.at_exit(1, np.array([1.0, 0.0]), State()), "the third arm is next, which asks the final exit"
    policy.observe(Outcome(np.zeros(1, np.float32), 0, 1, np.array([0.9, 0.1]), 2.0, (np.array([0.9, 0.1]),)))
    assert policy.bandit.counts == [1, 2, 0]
    assert policy.bandit.means == pytest.approx([0.8, (0.5 + 0.7) / 2, 0.0])


def test_an_outcome_tells_of_the_exits_passed() -> None:
    """And of none before the tier of entry."""

    class Listener(Policy):
        def __init__(self) -> None:
            self.heard: list[tuple[int, list[float], float]] = []

        def admit(self, embedding: np.ndarray, state: State) -> int:
            return len(self.heard) % 3

        def at_exit(self, exit_index: int, probabilities: np.ndarray, state: State) -> bool:
            return exit_index == 1 and len(self.heard) % 2 == 0

        def observe(self, outcome: Outcome) -> None:
            earlier = [float(met.max()) for met in outcome.earlier]
            self.heard.append((outcome.exit, earlier, float(outcome.probabilities.max())))

    listener = Listener()
    walk(listener, trace_of([(0.6, 0.7, 0.8)] * 6))
    expected = [(1, [0.6], 0.7), (2, [0.7], 0.8), (2, [], 0.8), (2, [0.6, 0.7], 0.8), (1, [], 0.7), (2, [], 0.8)]
    for (left, earlier, last), (place, passed, top) in zip(listener.heard, expected, strict=True):
        assert left == place
        assert [*earlier, last] == pytest.approx([*passed, top])


@pytest.mark.parametrize("kind", [AdaEE, SplitEE])
def test_regret_per_sample_goes_down(kind: type[AdaEE] | type[SplitEE]) -> None:
    """Against the arm that is best in hindsight, whose reward on this stream is known for every arm."""
    random = np.random.default_rng(3)
    confidence = np.sort(0.5 + 0.5 * random.beta(2, 2, (30_000, 3)), axis=1)
    trace = trace_of(confidence)
    strategy = kind(mus=(0.2,))
    strategy.fit(trace, TABLE)
    (setting,) = strategy.settings([0.75])
    if kind is SplitEE:
        rewards = all_rewards(confidence, 0.75, 0.2 * TABLE[0])
    else:
        reaches = confidence[:, :, None] >= np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        reaches[:, 2] = True
        left = reaches.argmax(axis=1)
        gain = np.take_along_axis(confidence, left, axis=1) - confidence[:, :1] - 0.2 * (TABLE[0][left] - 1.0)
        rewards = np.where(left > 0, gain, 0.0)
    gaps = rewards.mean(axis=0).max() - rewards.mean(axis=0)
    policy, regrets, before = strategy.policy(setting), [], np.zeros(len(gaps))
    for rows in np.split(np.arange(len(trace)), [3000, 10_000]):
        policy.decide(trace.select(rows))
        counts = np.array(policy.bandit.counts)
        regrets.append(float((counts - before) @ gaps) / len(rows))
        before = counts
    assert regrets[0] > 0.005, "a made-up stream without anything to learn shows nothing"
    assert regrets[1] < 0.6 * regrets[0]
    assert regrets[2] < 0.6 * regrets[1]


def domains(samples: int, seed: int = 0) -> Trace:
    """The first exit is sure of the first domain and not of the second, which the second exit is sure of."""
    random = np.random.default_rng(seed)
    places = [(0.95, 0.95, 0.95), (0.6, 0.95, 0.95)]
    parts = [np.clip(random.normal(place, 0.03, (samples, 3)), 0.501, 0.999) for place in places]
    return shifted(*(trace_of(part) for part in parts))


def test_a_detector_finds_the_new_best_exit_sooner() -> None:
    trace, share = domains(5000), {}
    for drift in ("none", "page-hinkley"):
        strategy = SplitEE(mus=(0.1,), drift=drift)  # type: ignore[arg-type]
        strategy.fit(trace, TABLE)
        left = strategy.policy(strategy.settings([0.8])[0]).decide(trace).exit
        share[drift] = [float((left[:5000] == 0).mean()), float((left[5000:] == 1).mean())]
    assert share["none"][0] == share["page-hinkley"][0] > 0.7
    assert share["page-hinkley"][1] > share["none"][1] + 0.2


@pytest.mark.parametrize("kind", [*FAMILY, AdaptiveCartography])
def test_whole_streams_equal_one_by_one_across_an_alarm(kind: type[Strategy]) -> None:
    easy = synthetic_trace(500, seed=1, dimension=3)
    stream = shifted(easy, replace(easy, logits=0.1 * easy.logits, embeddings=easy.embeddings + 2))
    strategy = kind(drift="page-hinkley")
    quiet = kind()
    for one in (strategy, quiet):
        one.fit(easy, example_costs(easy))
    differs = False
    for setting in strategy.settings([0.7, 0.9]):
        whole = strategy.policy(setting).decide(stream)
        single = walk(strategy.policy(setting), stream, example_costs(easy))
        assert whole.exit.tolist() == single.exit.tolist()
        assert whole.entry.tolist() == single.entry.tolist()
        differs |= whole.exit.tolist() != quiet.policy(setting).decide(stream).exit.tolist()
    assert differs, "no alarm was given"


def test_the_alarm_brings_cartography_back_to_validation() -> None:
    validation = synthetic_trace(400, seed=2, dimension=2)
    strategy = AdaptiveCartography(lambdas=(0.05,), drift="page-hinkley")
    strategy.fit(validation, example_costs(validation))
    setting = strategy.settings([])[0]
    policy = strategy.policy(setting)
    start = policy.moving.centroids.copy()
    policy.decide(validation)
    assert np.nanmax(np.abs(policy.moving.centroids - start)) > 0.01
    unsure = replace(validation, logits=0.01 * validation.logits)
    for sample in range(400):
        policy.decide(unsure.select(np.array([sample])))
        if np.array_equal(policy.moving.centroids, start, equal_nan=True):
            break
    assert sample < 100
    assert policy.moving.sizes.tolist() == strategy.router(strategy.thresholds(setting)).sizes.tolist()


def test_other_tiers_are_no_other_domain() -> None:
    """Exits are .7, .8 and .9 sure on validation and ever after: only where the samples are sent changes."""
    random = np.random.default_rng(7)
    place = np.repeat([0.0, 10.0], 300)
    trace = replace(
        trace_of(np.tile([0.7, 0.8, 0.9], (600, 1))),
        embeddings=(place + random.normal(0, 0.1, 600))[:, None].astype(np.float32),
        dynamics=np.tile(np.where(place < 5, 0.9, 0.1)[:, None], (2, 1, 3)).astype(np.float32),
    )
    strategy = AdaptiveCartography(lambdas=(0.01,), drift="page-hinkley")
    strategy.fit(trace, TABLE)
    policy = strategy.policy(strategy.settings([])[0])
    before = sum(policy.moving.sizes)
    assert set(policy.decide(trace).exit.tolist()) == {0, 2}
    assert sum(policy.moving.sizes) == before + len(trace), "an alarm has set the sizes back"


def test_options_are_typed_as_in_the_docs() -> None:
    made = strategy_named("adaee:arms=0.5/0.9,c=0.5,drift=page-hinkley,drift_run_length=5000")
    assert isinstance(made, AdaEE)
    assert (made.arms, made.c, made.drift, made.drift_run_length) == ((0.5, 0.9), 0.5, "page-hinkley", 5000.0)
    for name, kind in (("splitee", SplitEE), ("splitee-s", SplitEES), ("i-splitee", ISplitEE)):
        assert type(strategy_named(name)) is kind
    assert isinstance(strategy_named("cartography-adaptive:drift=page-hinkley"), AdaptiveCartography)


@pytest.mark.parametrize("name", ["adaee", "splitee", "splitee-s", "i-splitee", "cartography-adaptive"])
def test_a_detector_that_cannot_be_is_refused_at_once(name: str) -> None:
    with pytest.raises(DispatchError, match="tolerance -1, run length 100000 and warm-up 100, expected above 0"):
        strategy_named(f"{name}:drift=page-hinkley,drift_tolerance=-1")


def test_a_bandit_has_arms() -> None:
    with pytest.raises(DispatchError, match="no thresholds as arms, expected at least one"):
        AdaEE(arms=())


def test_bandit_policies_start_with_their_first_arm_and_say_so() -> None:
    strategy = SplitEE()
    strategy.fit(trace_of(TEN_OF_THREE), TABLE)
    policy = strategy.policy(strategy.settings([0.8])[0])
    assert isinstance(policy, BanditPolicy)
    assert not policy.uses_embedding
    assert policy.at_exit(0, np.array([0.9, 0.1]), State())
    assert not policy.at_exit(1, np.array([0.99, 0.01]), State()), "only the chosen exit is asked"
