"""Margin, patience and budgeted on ten samples, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from ten_samples import COSTS, TEN

from edgepart.dispatch.base import State, Strategy
from edgepart.dispatch.budgeted import NEVER, Budgeted, shares
from edgepart.dispatch.margin import Margin
from edgepart.dispatch.options import strategy as made_of
from edgepart.dispatch.patience import Patience
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.replay import replay

PRICES = Costs(table=COSTS, full_model=10.0, router=0.0, unit="£", description="by hand")


def exits_of(strategy: Strategy, grid: list[float], trace: Trace = TEN) -> list[list[int]]:
    strategy.fit(TEN, COSTS)
    return [strategy.policy(setting).decide(trace).exit.tolist() for setting in strategy.settings(grid)]


def test_margin_leaves_where_the_lead_reaches_the_threshold() -> None:
    assert exits_of(Margin(), [0.0, 0.45, 1.1]) == [[0] * 10, [0, 2, 2, 3, 0, 3, 0, 2, 2, 3], [3] * 10]


def test_margin_costs_and_accuracy_by_hand() -> None:
    strategy = Margin()
    strategy.fit(TEN, COSTS)
    result = replay(TEN, strategy.policy(strategy.settings([0.45])[0]), PRICES)
    assert (result.cost, result.accuracy) == (pytest.approx(4.9), 0.8)


def test_a_decaying_margin_asks_for_less_at_every_exit() -> None:
    """Thresholds .56, .481 and .434, from .8 · .45 + .2 · exp(-2k/4)."""
    assert exits_of(Margin(decay=0.2, rate=2.0), [0.45]) == [[0, 2, 2, 3, 1, 3, 0, 2, 2, 3]]


def test_a_decaying_margin_without_falling_is_a_shifted_one() -> None:
    (fallen,) = exits_of(Margin(decay=0.2, rate=0.0), [0.3125])
    assert fallen == exits_of(Margin(), [0.45])[0]


def test_the_margin_of_one_class_is_its_probability() -> None:
    assert Margin().certainty(np.ones((4, 1))).tolist() == [1.0] * 4


@pytest.mark.parametrize("given", ["margin:decay=1", "margin:decay=-0.1", "margin:rate=-1", "margin:rate=inf"])
def test_margin_refuses_other_numbers(given: str) -> None:
    with pytest.raises(DispatchError, match="expected a"):
        made_of(given)


def test_patience_counts_equal_answers_in_a_row() -> None:
    two, three = [1, 1, 2, 3, 1, 1, 2, 1, 2, 1], [2, 2, 3, 3, 3, 2, 3, 2, 3, 3]
    assert exits_of(Patience(), []) == [[0] * 10, two, three, [3] * 10]


def test_patience_costs_by_hand() -> None:
    strategy = Patience()
    strategy.fit(TEN, COSTS)
    result = replay(TEN, strategy.policy(strategy.settings([0.5])[1]), PRICES)
    assert (result.cost, result.accuracy) == (pytest.approx(3.4), 0.6)


def test_patience_may_differ_from_exit_to_exit() -> None:
    strategy = Patience()
    strategy.fit(TEN, COSTS)
    policy = strategy.policy(strategy.each({"x0": 9, "x1": 2, "x2": 1}))
    assert policy.decide(TEN).exit.tolist() == [1, 1, 2, 2, 1, 1, 2, 1, 2, 1]
    agreeing = np.array([0.6, 0.4])
    assert policy.at_exit(1, agreeing, State(earlier=(agreeing,)))
    assert not policy.at_exit(1, agreeing, State(earlier=(agreeing[::-1],)))


def test_patience_of_a_single_exit_has_one_setting() -> None:
    alone = replace(TEN, logits=TEN.logits[:, :1], exits=("final",), exit_tiers=("m",))
    strategy = Patience()
    strategy.fit(alone, COSTS[:, :1])
    (setting,) = strategy.settings([0.1, 0.2])
    assert strategy.policy(setting).decide(alone).exit.tolist() == [0] * 10


def test_budgeted_lets_the_surest_leave_in_the_shares_asked_for() -> None:
    """A quarter each: of ten samples two, five and seven are to have left at the three exits."""
    found = exits_of(Budgeted(), [0.0, 0.5, 1.0])
    assert found == [[0] * 10, [0, 1, 2, 3, 1, 3, 0, 2, 1, 3], [3] * 10]


def test_budgeted_thresholds_are_confidences_of_validation_samples() -> None:
    strategy = Budgeted()
    strategy.fit(TEN, COSTS)
    never, quarter = strategy.settings([1.0, 0.5])
    assert dict(never.values) == {"t": 1.0, "at x0": NEVER, "at x1": NEVER, "at x2": NEVER}
    assert dict(quarter.values) == pytest.approx({"t": 0.5, "at x0": 0.9, "at x1": 0.6, "at x2": 0.7})


def test_equally_sure_samples_leave_together() -> None:
    alike = replace(TEN, logits=np.repeat(TEN.logits[:1], 10, axis=0))
    strategy = Budgeted()
    strategy.fit(alike, COSTS)
    assert strategy.policy(strategy.settings([0.5])[0]).decide(alike).exit.tolist() == [0] * 10


def test_shares_are_proportional_to_powers_of_q() -> None:
    q = 0.3 / 0.7
    assert shares(np.array([0.3]), 3)[0] == pytest.approx(np.array([1, q, q * q]) / (1 + q + q * q))
    assert shares(np.array([0.0, 0.5, 1.0]), 4).tolist() == [[1, 0, 0, 0], [0.25] * 4, [0, 0, 0, 1]]


def test_a_budget_is_solved_for() -> None:
    """A quarter at each exit costs (1 + 2 + 4 + 10) / 4."""
    strategy = Budgeted(budgets=(0.5, 1.0, 4.25, 50.0))
    strategy.fit(TEN, COSTS)
    settings = strategy.settings([])
    assert [setting["t"] for setting in settings] == pytest.approx([0.0, 0.0, 0.5, 1.0], abs=1e-4)
    assert [setting["budget"] for setting in settings] == [0.5, 1.0, 4.25, 50.0]
    assert list(strategy.warnings) == [
        "a mean cost of 0.5 cannot be met: where every sample leaves at the first exit it is 1, which is what that "
        "setting does"
    ]


def test_many_samples_keep_the_budget() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (40_000, 4, 3))
    many = replace(
        TEN, logits=logits, labels=np.zeros(len(logits), np.int64), embeddings=np.zeros((len(logits), 1), np.float32)
    )
    strategy = Budgeted(budgets=(2.0, 5.0))
    strategy.fit(many.select(np.arange(20_000)), COSTS)
    for setting in strategy.settings([]):
        spent = replay(many.select(np.arange(20_000, 40_000)), strategy.policy(setting), PRICES).cost
        assert spent == pytest.approx(float(setting["budget"]), rel=0.02)


def test_budgeted_refuses_shares_outside_0_to_1() -> None:
    strategy = Budgeted()
    strategy.fit(TEN, COSTS)
    with pytest.raises(DispatchError, match="'budgeted' takes numbers from 0 to 1"):
        strategy.settings([0.5, 1.5])


@pytest.mark.parametrize("given", ["budgets=nan", "budgets=1/0", "budgets=inf"])
def test_budgeted_refuses_budgets_that_are_none(given: str) -> None:
    with pytest.raises(DispatchError, match=r"expected finite numbers above 0|expected a finite number"):
        made_of(f"budgeted:{given}")


def test_budgeted_needs_samples() -> None:
    with pytest.raises(DispatchError, match="holds no samples"):
        Budgeted().fit(TEN.select(np.zeros(0, np.int64)), COSTS)


@pytest.mark.parametrize("text", ["margin", "margin:decay=0.1", "patience", "learned", "ensemble", "budgeted"])
def test_extreme_logits_ties_one_class_and_one_sample(text: str) -> None:
    sign = np.where(TEN.logits > math.log(0.5), 1.0, -1.0)
    odd = [
        replace(TEN, logits=(1e4 * sign).astype(np.float32)),
        replace(TEN, logits=np.zeros_like(TEN.logits)),
        replace(TEN, logits=TEN.logits[..., :1], labels=np.zeros(10, np.int64), classes=("only",)),
        TEN.select(np.array([3])),
    ]
    for trace in odd:
        strategy = made_of(text)
        strategy.fit(trace, COSTS)
        for setting in strategy.settings([0.0, 0.5, 1.0]):
            assert np.isfinite([value for _, value in setting.values]).all()
            for decisions in (strategy.policy(setting).decide(trace), strategy.rehearse(setting, trace)):
                assert ((decisions.exit >= 0) & (decisions.exit < 4)).all()
