"""Every shipped strategy, with its options, keeps the contract."""

from edgepart import plugins
from edgepart.dispatch.base import Strategy
from edgepart.dispatch.cartography import AdaptiveCartography, Cartography
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.oracle import Oracle
from edgepart.dispatch.random import Random
from edgepart.testing.strategies import StrategyContract


class TestConfidence(StrategyContract):
    def strategy(self) -> Strategy:
        return Confidence()


class TestEntropy(StrategyContract):
    def strategy(self) -> Strategy:
        return Entropy()


class TestEntropyInNats(StrategyContract):
    def strategy(self) -> Strategy:
        return Entropy("nats")


class TestCartography(StrategyContract):
    def strategy(self) -> Strategy:
        return Cartography()


class TestRoutedQuantileCartography(StrategyContract):
    def strategy(self) -> Strategy:
        return Cartography(objective="routed", grid="quantile", embedding="standardised", lambdas=(0.0, 0.1))


class TestAdaptiveCartography(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return AdaptiveCartography()


class TestRandom(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return Random(seed=7)


class TestFixedTier(StrategyContract):
    def strategy(self) -> Strategy:
        return FixedTier()


class TestOracle(StrategyContract):
    def strategy(self) -> Strategy:
        return Oracle()


def test_every_registered_strategy_has_the_name_it_is_registered_by() -> None:
    registered = ["cartography", "cartography-adaptive", "confidence", "entropy", "fixed-tier", "oracle", "random"]
    assert [name for name in plugins.names("strategy") if name in registered] == registered
    for name in registered:
        assert plugins.load("strategy", name)().name == name
