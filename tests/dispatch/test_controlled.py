"""Thresholds with a promise: by hand, with bases that learn, by simulation, and what the user is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from edgepart.dispatch import options
from edgepart.dispatch.base import CostTable, Decisions, Policy, Promise, Setting, Strategy
from edgepart.dispatch.budgeted import Budgeted
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.controlled import Controlled
from edgepart.dispatch.ensemble import Ensemble
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.learned import Learned
from edgepart.dispatch.margin import Margin
from edgepart.dispatch.patience import Patience
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError, FileError
from edgepart.testing.strategies import StrategyContract, example_costs
from edgepart.testing.traces import synthetic_trace

#: such that contract traces of 60 samples can be promised something
WIDE = (0.05, 0.1, 0.2, 0.4)


class TestControlled(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled(epsilon=WIDE)


class TestControlledByConformal(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled("entropy", epsilon=WIDE, method="conformal")


class TestControlledDisagreement(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled("entropy:scale=nats", epsilon=WIDE, risk="disagreement", bound="hoeffding-bentkus")


class TestControlledPatience(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled("patience", epsilon=WIDE)


class TestControlledLearned(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled("learned", epsilon=WIDE, delta=0.2)


class TestControlledShares(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled("budgeted", epsilon=WIDE, delta=0.2)


class TestControlledTuning(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled("tuned", epsilon=WIDE, method="conformal", candidates=(0.3, 0.6, 0.9))


class TestControlledCombination(StrategyContract):
    def strategy(self) -> Strategy:
        return Controlled("combined:router=cartography", epsilon=WIDE, delta=0.2, candidates=(0.3, 0.6, 0.9))


class Memory(ThresholdStrategy):
    """As overfitted as can be: it knows which samples of the validation data each exit gets right."""

    name = "memory"

    def fit(self, validation: Trace, costs: CostTable) -> None:
        super().fit(validation, costs)
        self._known = {
            row.astype(np.float64).tobytes(): bool(right)
            for rows, correct in zip(validation.probabilities, validation.correct, strict=True)
            for row, right in zip(rows, correct, strict=True)
        }

    def certainty(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = probabilities.reshape(-1, probabilities.shape[-1])
        found = [float(self._known.get(row.tobytes(), True)) for row in flat]
        return np.array(found).reshape(probabilities.shape[:-1])


class Quantile(Confidence):
    """Learns nothing but the scale of its thresholds: the grid's quantiles of the validation data."""

    name = "quantile"

    def fit(self, validation: Trace, costs: CostTable) -> None:
        super().fit(validation, costs)
        self._levels = np.sort(validation.confidence[:, 0].astype(np.float64))

    def threshold(self, setting: object) -> float:
        return float(np.quantile(self._levels, super().threshold(setting)))  # type: ignore[arg-type]


def two_exits(first: list[float], labels: list[int]) -> Trace:
    """Class 0 with that probability at the first exit; the final exit is always right."""
    right = np.array(first)
    last = np.where(np.array(labels) == 0, 0.9, 0.1)
    both = np.stack([right, last], axis=1)
    return Trace(
        logits=np.log(np.stack([both, 1 - both], axis=-1)),
        labels=np.array(labels, np.int64),
        embeddings=np.zeros((len(first), 1), np.float32),
        exits=("early", "final"),
        exit_tiers=("m", "c"),
        tiers=("m", "c"),
        classes=("0", "1"),
    )


#: wrong at .8, .7 and .6: with a threshold of .85 none is lost, of .75 one, of .65 two, of .55 three
BY_HAND = two_exits([0.95, 0.93, 0.91, 0.9, 0.88, 0.86, 0.8, 0.7, 0.6, 0.99], [0, 0, 0, 0, 0, 0, 1, 1, 1, 0])
GRID = (0.98, 0.85, 0.75, 0.65, 0.55)


@pytest.mark.parametrize(
    ("method", "epsilon", "label", "leaving"),
    [
        ("learn-then-test", 0.3, "ε=30 % 0.85", 7),  # .7^10 = .028 ≤ .1, one lost .149
        ("learn-then-test", 0.4, "ε=40 % 0.75", 8),  # one lost .046, two .167
        ("learn-then-test", 0.2, "ε=20 % all to the final exit", 0),  # .8^10 = .107
        ("conformal", 0.3, "ε=30 % 0.65", 9),  # 3 / 11 ≤ .3
        ("conformal", 0.1, "ε=10 % 0.85", 7),  # 1 / 11
        ("conformal", 0.09, "ε=9 % all to the final exit", 0),
    ],
)
def test_ten_samples_by_hand(method: str, epsilon: float, label: str, leaving: int) -> None:
    strategy = Controlled(epsilon=(epsilon,), method=method, risk="losses", candidates=GRID)  # type: ignore[arg-type]
    costs = np.array([[1.0, 3.0], [np.inf, 2.5]])
    strategy.fit(BY_HAND, costs)
    (setting,) = strategy.settings([])
    assert setting.label == label
    decisions = strategy.policy(setting).decide(BY_HAND)
    assert (decisions.exit == 0).sum() == leaving
    # those that nothing can be promised for go straight to the final exit's tier
    expected = 3 - 2 * leaving / 10 if leaving else 2.5
    assert costs[decisions.entry, decisions.exit].mean() == pytest.approx(expected)
    assert strategy.promise(setting) == Promise("losses", epsilon, 0.1 if method == "learn-then-test" else None)


@pytest.mark.parametrize(("through", "straight", "leaving"), [(9.0, 3.4, 7), (9.0, 3.39, 0), (3.0, 1.59, 0)])
def test_what_costs_more_than_going_straight_to_the_final_exit_is_not_used(
    through: float, straight: float, leaving: int
) -> None:
    strategy = Controlled(epsilon=(0.3,), risk="losses", candidates=GRID)
    costs = np.array([[1.0, through], [np.inf, straight]])
    strategy.fit(BY_HAND, costs)
    (setting,) = strategy.settings([])
    decisions = strategy.policy(setting).decide(BY_HAND)
    assert (decisions.exit == 0).sum() == leaving
    assert costs[decisions.entry, decisions.exit].mean() <= straight + 1e-12
    assert strategy.promise(setting) == Promise("losses", 0.3, 0.1)
    told = "at ε = 30 % every sample goes to the final exit: what could be promised would cost more than that"
    assert (told in strategy.warnings) == (leaving == 0)


def test_one_sample_is_told_to_be_too_few() -> None:
    for method, needed in (("learn-then-test", 45), ("conformal", 19)):
        strategy = Controlled(epsilon=(0.05,), method=method, risk="losses")  # type: ignore[arg-type]
        trace = BY_HAND.select(np.array([0]))
        strategy.fit(trace, example_costs(trace))
        assert strategy.settings([])[0].label == "ε=5 % all to the final exit"
        assert strategy.needed(0.05) == needed
        assert f"takes at least {needed} calibration samples" in strategy.warnings[-1]


def test_the_samples_needed_are_those_of_the_guide() -> None:
    assert [Controlled().needed(epsilon) for epsilon in (0.005, 0.01, 0.02)] == [518, 258, 129]
    assert Controlled(risk="losses").needed(0.005) == 460
    assert Controlled(bound="hoeffding-bentkus").needed(0.01) > 30_000


def test_a_network_that_is_wrong_at_once_is_told_of() -> None:
    trace = two_exits([0.99] * 200, [1] * 200)
    strategy = Controlled(epsilon=(0.05,), candidates=(0.5, 0.9))
    strategy.fit(trace, example_costs(trace))
    assert "even the safest setting tried" in strategy.warnings[-1]
    assert (strategy.policy(strategy.settings([])[0]).decide(trace).exit == 1).all()


def test_a_base_that_learns_is_calibrated_on_what_it_has_not_seen() -> None:
    """On its own samples the overfitted base loses nothing; half of all new ones would be lost."""
    random = np.random.default_rng(0)
    trace = two_exits(list(random.uniform(0.5, 1, 400)), list(random.integers(0, 2, 400)))
    strategy = Controlled(Memory(), epsilon=(0.05,), candidates=(0.5,))
    strategy.fit(trace, example_costs(trace))
    assert strategy.settings([])[0].label == "ε=5 % all to the final exit"
    assert "on 200 calibration samples" in strategy.warnings[-1]


@pytest.mark.parametrize(
    ("used", "base"),
    [
        *((60, base) for base in (Confidence(), Entropy(), Margin(), Patience())),
        *((30, base) for base in (Quantile(), Memory(), Learned(), Ensemble())),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_only_a_base_that_learns_costs_samples(used: int, base: ThresholdStrategy) -> None:
    trace = synthetic_trace(60)
    strategy = Controlled(base, epsilon=(0.001,), candidates=(0.1, 0.5, 0.9))
    strategy.fit(trace, example_costs(trace))
    assert f"there are {used}" in strategy.warnings[-1]


def test_a_calibration_trace_of_its_own(tmp_path: Path) -> None:
    validation, fresh = (synthetic_trace(400, seed=seed) for seed in (0, 1))
    fresh.save(tmp_path / "fresh.safetensors")
    text = f"controlled:base=confidence,epsilon=0.1,calibration={tmp_path}/fresh.safetensors"
    strategy, expected = options.strategy(text), Controlled(epsilon=(0.1,))
    strategy.fit(validation, example_costs(validation))
    expected.fit(fresh, example_costs(fresh))
    assert strategy.settings([]) == expected.settings([])
    assert not strategy.warnings, "its promise has no reservation"
    other = Controlled(calibration=str(tmp_path / "fresh.safetensors"))
    with pytest.raises(DispatchError, match="has other exits than the validation trace"):
        other.fit(synthetic_trace(50, ("edge", "cloud")), np.ones((3, 2)))
    narrow = replace(validation, embeddings=validation.embeddings[:, :2])
    with pytest.raises(DispatchError, match=r"has router embeddings of \d+ numbers, the validation trace of 2"):
        other.fit(narrow, example_costs(narrow))
    with pytest.raises(FileError, match="does not exist"):
        Controlled(calibration=str(tmp_path / "none")).fit(validation, example_costs(validation))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("controlled=oracle", "the strategy 'oracle' has nothing to control"),
        ("controlled:base=controlled", "the strategy 'controlled' has nothing to control"),
        ("controlled:epsilon=1", "epsilon is 1, expected a number between 0 and 1"),
        ("controlled:delta=0", "delta is 0, expected a number between 0 and 1"),
    ],
)
def test_what_cannot_be_promised_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DispatchError, match=sentence):
        options.strategy(text)


def test_sorted_samples_are_calibrated_on_as_any_others() -> None:
    """Betting goes by the order of the samples: all that are lost at the end must not stay unseen until then."""
    trace = synthetic_trace(2000, epochs=0)
    lost = trace.correct[:, -1] & ~trace.correct[:, 0]
    order = np.argsort(lost, kind="stable")
    for one in (trace.select(order), trace.select(order[::-1])):
        strategy = Controlled(epsilon=(0.02,))
        strategy.fit(one, example_costs(one))
        left = strategy.policy(strategy.settings([])[0]).decide(one).exit
        assert 0.005 < one.correct[:, -1].mean() - one.correct[np.arange(len(one)), left].mean() < 0.02


@pytest.mark.parametrize("risk", ["drop", "losses", "disagreement"])
@pytest.mark.parametrize("method", ["learn-then-test", "conformal"])
def test_promises_are_kept_on_the_population(method: str, risk: str) -> None:
    """500 calibration sets drawn from a population of 5,000: the true drop is above ε in at most δ of them."""
    population = synthetic_trace(5000, classes=4, epochs=0, seed=3)
    costs, epsilon, draws = example_costs(population), 0.03, 500
    random = np.random.default_rng(0)
    strategy = Controlled(
        epsilon=(epsilon,),
        method=method,  # type: ignore[arg-type]
        risk=risk,  # type: ignore[arg-type]
        candidates=tuple(np.linspace(0.3, 0.99, 24)),
    )
    full, rows = population.correct[:, -1].mean(), np.arange(len(population))
    drops, cache = [], {}
    for _ in range(draws):
        strategy.fit(population.select(random.integers(0, len(population), 250)), costs)
        (setting,) = strategy.settings([])
        if setting not in cache:
            exits = strategy.policy(setting).decide(population).exit
            cache[setting] = full - population.correct[rows, exits].mean()
        drops.append(cache[setting])
    found = np.array(drops)
    assert len(cache) > 3, "a simulation in which one setting is always chosen shows nothing"
    if method == "learn-then-test":
        assert (found > epsilon).sum() <= binom.ppf(0.9999, draws, 0.1)
    assert found.mean() <= epsilon + 4 * found.std() / draws**0.5


@pytest.mark.parametrize("base", ["budgeted", "tuned", "combined:router=cartography"])
def test_promises_of_settings_in_an_order_of_their_own_are_kept(base: str) -> None:
    """The order is learnt on one half of each draw, the promise made on the other."""
    population = synthetic_trace(4000, classes=4, epochs=2, seed=3)
    costs, epsilon, draws = example_costs(population), 0.04, 100
    random, rows = np.random.default_rng(1), np.arange(len(population))
    strategy = Controlled(base, epsilon=(epsilon,), delta=0.2, candidates=tuple(np.linspace(0.05, 0.95, 10)))
    full, drops, savings = population.correct[:, -1].mean(), [], []
    for _ in range(draws):
        strategy.fit(population.select(random.integers(0, len(population), 500)), costs)
        (setting,) = strategy.settings([])
        found = strategy.policy(setting).decide(population)
        drops.append(full - population.correct[rows, found.exit].mean())
        savings.append(costs[0, -1] - costs[found.entry, found.exit].mean())
    assert (np.array(drops) > epsilon).sum() <= binom.ppf(0.9999, draws, 0.2)
    assert np.mean(savings) > 0.1, "a simulation in which nobody leaves shows nothing"


def test_what_sends_all_to_the_final_exit_is_tried_first() -> None:
    """However the other settings look on the half that they are learnt from."""
    trace = synthetic_trace(600, epochs=0)
    strategy = Controlled("fixed-tier", epsilon=(0.004, 0.6))
    strategy.fit(trace, example_costs(trace))
    never, any_tier = strategy.settings([])
    assert never.label == "ε=0.4 % all to the final exit"
    assert any_tier["tier"] == "mobile"
    strategy = Controlled("fixed-tier", epsilon=(0.01,))
    strategy.fit(trace, example_costs(trace))
    assert strategy.settings([])[0]["tier"] == "cloud"


@pytest.mark.parametrize("base", ["adaee", "cartography-adaptive", "random"])
def test_nothing_is_promised_of_what_hangs_on_other_samples(base: str) -> None:
    trace = synthetic_trace(100)
    with pytest.raises(DispatchError, match=f"'{base}', whose decisions hang on samples before or on chance"):
        Controlled(base).fit(trace, example_costs(trace))


def test_a_base_of_settings_learns_on_the_validation_trace_where_calibration_has_its_own(tmp_path: Path) -> None:
    trace = synthetic_trace(900, epochs=0)
    trace.select(np.arange(500, 900)).save(tmp_path / "aside.safetensors")
    strategy = Controlled("budgeted", epsilon=(0.1,), calibration=str(tmp_path / "aside.safetensors"))
    strategy.fit(trace.select(np.arange(500)), example_costs(trace))
    alone = Budgeted()
    alone.fit(trace.select(np.arange(500)), example_costs(trace))
    (setting,) = strategy.settings([])
    (expected,) = alone.settings([float(setting["t"])])
    assert setting.values[2:] == expected.values


def test_what_a_base_learns_from_is_not_calibrated_on() -> None:
    """A base that knows every sample it has seen by heart: promises made on those would be worth nothing."""

    class Known(FixedTier):
        name = "known"

        def fit(self, validation: Trace, costs: CostTable) -> None:
            super().fit(validation, costs)
            learnt.append({row.tobytes() for row in validation.embeddings})

        def policy(self, setting: Setting) -> Policy:
            made = super().policy(setting)
            decide = made.decide

            def listened(trace: Trace) -> Decisions:
                asked.append({row.tobytes() for row in trace.embeddings})
                return decide(trace)

            made.decide = listened  # type: ignore[method-assign]
            return made

    learnt: list[set[bytes]] = []
    asked: list[set[bytes]] = []
    trace = synthetic_trace(300, epochs=0)
    Controlled(Known()).fit(trace, example_costs(trace))
    (seen,) = learnt
    calibrated = [one for one in asked if not one <= seen]
    assert calibrated
    assert all(not one & seen and len(one) == 150 for one in calibrated)
