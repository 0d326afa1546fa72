"""Promises from calibration samples: p-values against enumeration, both choices by hand and by simulation."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from edgepart.dispatch import risk
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.risk import Losses
from edgepart.dispatch.trace import Trace
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

DRAWS = 2000
DELTA = 0.1
#: violations that chance alone hardly exceeds, where each draw has a probability of DELTA
MOST = int(binom.ppf(0.9999, DRAWS, DELTA))

Choose = Callable[[Sequence[Losses]], int | None]


def ten() -> Trace:
    """Two classes, three exits, ten samples of class 0; the probability of class 0 at each exit."""
    first = [0.95, 0.9, 0.85, 0.8, 0.2, 0.7, 0.35, 0.6, 0.45, 0.5 + 1e-6]
    second = [0.95, 0.9, 0.85, 0.8, 0.85, 0.3, 0.75, 0.6, 0.45, 0.6]
    final = [0.95, 0.9, 0.85, 0.8, 0.85, 0.8, 0.75, 0.4, 0.45, 0.6]
    right = np.array([first, second, final]).T
    return Trace(
        logits=np.log(np.stack([right, 1 - right], axis=-1)),
        labels=np.zeros(10, np.int64),
        embeddings=np.zeros((10, 1), np.float32),
        exits=("x0", "x1", "final"),
        exit_tiers=("m", "e", "c"),
        tiers=("m", "e", "c"),
        classes=("0", "1"),
    )


def test_losses_by_hand() -> None:
    trace = ten()
    # samples 4 and 6 lose at the first exit, 5 at the second; 7 gains at both, 8 is wrong throughout
    assert risk.loss_table(trace, "losses").T.tolist() == [
        [0, 0, 0, 0, 1, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        [0] * 10,
    ]
    assert risk.loss_table(trace, "drop")[7].tolist() == [-1, -1, 0]
    assert risk.loss_table(trace, "disagreement")[7].tolist() == [1, 1, 0]
    assert risk.loss_table(trace, "disagreement")[8].tolist() == [0, 0, 0]
    drop, losses, disagreement = (
        risk.loss_table(trace, name).sum(axis=0).tolist() for name in ("drop", "losses", "disagreement")
    )
    assert (drop, losses, disagreement) == ([1, 0, 0], [2, 1, 0], [3, 2, 0])


def test_the_losses_of_a_cascade_by_hand() -> None:
    trace = ten()
    certainty = trace.confidence[:, :2].astype(np.float64)
    found = list(risk.cascade_losses(risk.loss_table(trace, "drop"), certainty, [np.inf, 0.78, 0.69, 0.55, 0.0]))
    assert [losses.tolist() for losses in found] == [
        [0] * 10,
        [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],  # sample 4 is sure of the wrong class at the first exit
        [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],  # 5 leaves right at the first exit, before it would be wrong at the second
        [0, 0, 0, 0, 1, 0, 1, -1, 0, 0],
        [0, 0, 0, 0, 1, 0, 1, -1, 0, 0],
    ]


def test_the_losses_of_a_cascade_are_those_of_its_policy() -> None:
    """At certainties of the trace itself, where a threshold is reached exactly."""
    trace, strategy = synthetic_trace(200, classes=4), Confidence()
    strategy.fit(trace, example_costs(trace))
    certainty, table = strategy.certainties(trace), risk.loss_table(trace, "drop")
    thresholds = sorted([*certainty[:20].ravel().tolist(), 0.5], reverse=True)
    settings = strategy.settings(thresholds)
    for setting, losses in zip(settings, risk.cascade_losses(table, certainty, thresholds), strict=True):
        left = strategy.policy(setting).decide(trace).exit
        assert np.array_equal(losses, table[np.arange(len(trace)), left])


def test_learn_then_test_by_hand() -> None:
    """Ten samples, ε = .3: no loss has p = .7^10 = .028, one loss p = .149."""
    none, one = np.zeros(10, np.int8), np.eye(10, dtype=np.int8)[3]
    assert risk.binomial(none, 0.3) == pytest.approx(0.7**10)
    assert risk.binomial(one, 0.3) == pytest.approx(0.7**10 + 10 * 0.3 * 0.7**9)
    p_value = lambda losses: risk.binomial(losses, 0.3)  # noqa: E731
    assert risk.learn_then_test([none, none, one, none], p_value, 0.1) == 1
    assert risk.learn_then_test([one, none], p_value, 0.1) is None
    assert risk.learn_then_test([none, none], p_value, 0.1) == 1
    assert risk.learn_then_test([], p_value, 0.1) is None


def test_conformal_by_hand() -> None:
    """Ten samples, ε = .3: (losses + 1) / 11 ≤ .3 up to two losses; a sample that ever lost counts for good."""
    first, second, third = np.eye(10, dtype=np.int8)[:3]
    none = np.zeros(10, np.int8)
    assert risk.conformal([none, first + second, first + second], 0.3) == 2
    assert risk.conformal([none, first, second, third, none], 0.3) == 2
    assert risk.conformal([first + second + third, none], 0.3) is None
    assert risk.conformal([-first, -second], 2 / 11) == 1, "a gain makes up for no loss"
    assert risk.conformal([-first, second + third], 2 / 11) == 0
    assert risk.conformal([none], 1 / 11) == 0


@pytest.mark.parametrize("p_value", [risk.binomial, risk.hoeffding_bentkus, lambda x, e: risk.betting(x, e, 0.1)])
def test_without_samples_nothing_is_rejected(p_value: Callable[[Losses, float], float]) -> None:
    assert p_value(np.zeros(0, np.int8), 0.01) == 1
    assert p_value(np.zeros(1, np.int8), 0.95) <= 0.2
    assert p_value(np.ones(1, np.int8), 0.95) == 1
    assert 0 <= p_value(np.zeros(100_000, np.int8), 0.01) < 1e-6


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.37, 0.9])
@pytest.mark.parametrize("count", [1, 7, 40, 333])
@pytest.mark.parametrize("p_value", [risk.binomial, risk.hoeffding_bentkus])
def test_p_values_of_counts_are_super_uniform(
    p_value: Callable[[NDArray[np.float64], float], float], count: int, epsilon: float
) -> None:
    """Exactly, by all counts of losses: P[p ≤ u] ≤ u where the mean is ε; only smaller where it is more."""
    p_values = np.array([p_value((np.arange(count) < total).astype(float), epsilon) for total in range(count + 1)])
    chances = binom.pmf(np.arange(count + 1), count, epsilon)
    for level in p_values:
        assert chances[p_values <= level].sum() <= level * (1 + 1e-9)
    assert (np.diff(p_values) >= -1e-15).all()


@pytest.mark.parametrize(("epsilon", "wrong"), [(0.05, 0.05), (0.05, 0.3), (0.2, 0.4), (0.2, 0.6), (0.5, 0.75)])
def test_betting_is_super_uniform(epsilon: float, wrong: float) -> None:
    """Exactly, by all sequences of seven losses in -1, 0 and 1 whose mean is ε."""
    chance = {1: wrong, 0: 1 - wrong - (wrong - epsilon), -1: wrong - epsilon}
    sequences = list(itertools.product((1, 0, -1), repeat=7))
    p_values = np.array([risk.betting(np.array(one, np.int8), epsilon, DELTA) for one in sequences])
    chances = np.array([math.prod(chance[loss] for loss in one) for one in sequences])
    assert chances.sum() == pytest.approx(1)
    assert len(np.unique(p_values)) > 20
    for level in np.unique(p_values):
        assert chances[p_values <= level].sum() <= level * (1 + 1e-9)


def test_betting_is_super_uniform_on_many_samples() -> None:
    random = np.random.default_rng(0)
    draws = random.choice(np.array([1, 0, -1], np.int8), p=[0.06, 0.9, 0.04], size=(4000, 300))
    p_values = np.array([risk.betting(one, 0.02, DELTA) for one in draws])
    for level in (0.01, 0.05, 0.1, 0.2, 0.5):
        assert (p_values <= level).sum() <= binom.ppf(0.9999, len(draws), level)
    assert (p_values <= 0.5).mean() > 0.1, "a p-value that never rejects promises nothing"


def test_hoeffding_bentkus_by_its_formula() -> None:
    """Against the two bounds written out, for a loss that takes other values than 0 and 1."""
    losses, epsilon = np.array([0.5] * 4 + [0.0] * 96), 0.1
    mean = 0.02
    entropy = mean * math.log(mean / epsilon) + (1 - mean) * math.log((1 - mean) / (1 - epsilon))
    bentkus = math.e * binom.cdf(2, 100, epsilon)
    assert risk.hoeffding_bentkus(losses, epsilon) == pytest.approx(min(math.exp(-100 * entropy), bentkus))
    assert risk.hoeffding_bentkus(np.full(10, 0.4), epsilon) == 1


def test_the_exact_p_value_is_never_above_the_published_one() -> None:
    for total in range(50):
        losses = (np.arange(200) < total).astype(np.int8)
        assert risk.binomial(losses, 0.1) <= risk.hoeffding_bentkus(losses, 0.1) * (1 + 1e-12)


@pytest.mark.parametrize(("epsilon", "needed"), [(0.01, 230), (0.05, 45), (0.5, 4), (0.9, 1)])
def test_the_samples_that_a_promise_needs(epsilon: float, needed: int) -> None:
    assert risk.samples_needed(lambda losses: risk.binomial(losses, epsilon) <= DELTA) == needed
    assert (1 - epsilon) ** needed <= DELTA < (1 - epsilon) ** (needed - 1)


EPSILON = 0.05


def jump(at: int) -> NDArray[np.int8]:
    """No risk before the candidate, twice ε from there on, on the same samples: ties wherever one looks."""
    table = np.zeros((20, 4000), np.int8)
    table[at:, :400] = 1
    return table


def just_around(random: np.random.Generator) -> NDArray[np.int8]:
    """Every candidate has a risk just above ε, each on samples of its own."""
    table = np.zeros((20, 4000), np.int8)
    for row in table:
        row[random.permutation(4000)[: int(4000 * EPSILON) + 1]] = 1
    return table


def up_and_down() -> NDArray[np.int8]:
    """Above ε early on, harmless afterwards, then far above it."""
    table = np.zeros((20, 4000), np.int8)
    table[3:5, :204] = 1
    table[12:, 1000:2000] = 1
    return table


def growing() -> NDArray[np.int8]:
    """The risk grows from 0 through ε, half of a percent at a time."""
    table = np.zeros((20, 4000), np.int8)
    for index, row in enumerate(table):
        row[: 20 * index] = 1
    return table


def with_gains(random: np.random.Generator) -> NDArray[np.int8]:
    """As many samples gain as lose, and ε more lose."""
    table = just_around(random)
    for row in table:
        row[np.flatnonzero(row == 0)[:1000]] = np.tile(np.array([1, -1], np.int8), 500)
    return table


POPULATIONS = {
    "a jump at the first": jump(0),
    "a jump": jump(7),
    "just around": just_around(np.random.default_rng(1)),
    "up and down": up_and_down(),
    "growing": growing(),
}


def true_risks(population: NDArray[np.int8], choose: Choose, samples: int) -> NDArray[np.float64]:
    """(DRAWS,) the risk in the population of what is chosen on samples drawn from it; 0 where nothing is."""
    random = np.random.default_rng(7)
    risks = population.mean(axis=1)
    chosen = [choose(population[:, random.integers(0, population.shape[1], samples)]) for _ in range(DRAWS)]
    return np.array([0.0 if index is None else risks[index] for index in chosen])


@pytest.mark.parametrize("samples", [60, 300])
@pytest.mark.parametrize("population", POPULATIONS.values(), ids=POPULATIONS.keys())
def test_learn_then_test_breaks_its_promise_in_at_most_delta_of_the_draws(
    population: NDArray[np.int8], samples: int
) -> None:
    for p_value in (
        lambda losses: risk.binomial(losses, EPSILON),
        lambda losses: risk.hoeffding_bentkus(losses, EPSILON),
        lambda losses: risk.betting(losses, EPSILON, DELTA),
    ):
        found = true_risks(population, lambda drawn, p=p_value: risk.learn_then_test(drawn, p, DELTA), samples)
        assert (found > EPSILON).sum() <= MOST


@pytest.mark.parametrize("samples", [60, 1000])
def test_gains_are_weighed_against_losses_without_breaking_the_promise(samples: int) -> None:
    population = with_gains(np.random.default_rng(2))
    assert (population.mean(axis=1) > EPSILON).all()
    bet = lambda losses: risk.betting(losses, EPSILON, DELTA)  # noqa: E731
    scaled = lambda losses: risk.hoeffding_bentkus((losses + 1) / 2, (EPSILON + 1) / 2)  # noqa: E731
    for p_value in (bet, scaled):
        found = true_risks(population, lambda drawn, p=p_value: risk.learn_then_test(drawn, p, DELTA), samples)
        assert (found > EPSILON).sum() <= MOST


def test_the_promise_is_not_an_empty_one() -> None:
    """Far from the border the loosest candidate that is within it is found nearly always."""
    found = true_risks(jump(7), _last, 300)
    assert (found <= EPSILON).all()
    random = np.random.default_rng(3)
    chosen = [_last(jump(7)[:, random.integers(0, 4000, 300)]) for _ in range(50)]
    assert chosen.count(6) >= 48


def test_the_first_that_is_not_rejected_would_be_unsafe() -> None:
    """The off-by-one of a public implementation breaks the promise in nearly every draw; the simulation sees it."""

    def first_not_rejected(drawn: Sequence[Losses]) -> int | None:
        last = _last(drawn)
        return min(0 if last is None else last + 1, len(drawn) - 1)

    assert (true_risks(jump(7), first_not_rejected, 300) > EPSILON).sum() > 5 * MOST


def test_going_on_after_a_failure_would_be_unsafe() -> None:
    """The last of all that would be rejected, as if each were tested alone, breaks it too often as well."""

    def last_of_all(drawn: Sequence[Losses]) -> int | None:
        return max((i for i, losses in enumerate(drawn) if risk.binomial(losses, EPSILON) <= DELTA), default=None)

    assert (true_risks(just_around(np.random.default_rng(1)), last_of_all, 300) > EPSILON).sum() > 2 * MOST


@pytest.mark.parametrize("samples", [19, 60, 300])
@pytest.mark.parametrize("population", POPULATIONS.values(), ids=POPULATIONS.keys())
def test_conformal_keeps_its_promise_in_the_mean(population: NDArray[np.int8], samples: int) -> None:
    found = true_risks(population, lambda drawn: risk.conformal(drawn, EPSILON), samples)
    assert found.mean() <= EPSILON + 4 * found.std() / math.sqrt(DRAWS)


def test_conformal_promises_nothing_of_a_single_draw() -> None:
    """Why there is no δ: in the mean the promise is nearly used up, so many single draws are beyond it."""
    found = true_risks(growing(), lambda drawn: risk.conformal(drawn, EPSILON), 300)
    assert found.mean() > 0.8 * EPSILON
    assert (found > EPSILON).sum() > 2 * MOST


def _last(drawn: Sequence[Losses]) -> int | None:
    return risk.learn_then_test(drawn, lambda losses: risk.binomial(losses, EPSILON), DELTA)
