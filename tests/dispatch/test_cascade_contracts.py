"""Margin, patience, learned, ensemble and budgeted, with their options, keep the contract."""

from edgepart import plugins
from edgepart.dispatch.base import Strategy
from edgepart.dispatch.budgeted import Budgeted
from edgepart.dispatch.ensemble import Ensemble
from edgepart.dispatch.learned import Learned
from edgepart.dispatch.margin import Margin
from edgepart.dispatch.patience import Patience
from edgepart.testing.strategies import StrategyContract


class TestMargin(StrategyContract):
    def strategy(self) -> Strategy:
        return Margin()


class TestDecayingMargin(StrategyContract):
    def strategy(self) -> Strategy:
        return Margin(decay=0.1, rate=2.0)


class TestPatience(StrategyContract):
    def strategy(self) -> Strategy:
        return Patience()


class TestLearned(StrategyContract):
    def strategy(self) -> Strategy:
        return Learned()


class TestSharedLearned(StrategyContract):
    def strategy(self) -> Strategy:
        return Learned("shared", folds=1)


class TestEnsemble(StrategyContract):
    def strategy(self) -> Strategy:
        return Ensemble()


class TestAnsweringEnsemble(StrategyContract):
    def strategy(self) -> Strategy:
        return Ensemble("answer", folds=1)


class TestBudgeted(StrategyContract):
    def strategy(self) -> Strategy:
        return Budgeted()


class TestBudgets(StrategyContract):
    def strategy(self) -> Strategy:
        return Budgeted(budgets=(0.5, 1.5, 2.5))


def test_they_are_registered_by_their_names() -> None:
    for name in ("margin", "patience", "learned", "ensemble", "budgeted"):
        assert name in plugins.names("strategy")
        assert plugins.load("strategy", name)().name == name


def test_certainty_at_one_exit_alone_is_known() -> None:
    assert Margin().alone
    for strategy in (Margin(decay=0.1), Patience(), Learned(), Ensemble()):
        assert not strategy.alone
