"""Every registered strategy on ten samples, followed by hand: where they enter and leave, what that costs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points

import numpy as np
import pytest
from ten_samples import COSTS, TEN

from edgepart.dispatch.adaee import AdaEE
from edgepart.dispatch.base import Setting, Strategy
from edgepart.dispatch.budgeted import Budgeted
from edgepart.dispatch.cartography import AdaptiveCartography, Cartography
from edgepart.dispatch.combined import Combined
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.controlled import Controlled
from edgepart.dispatch.ensemble import Ensemble
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.layout import walk
from edgepart.dispatch.learned import Learned
from edgepart.dispatch.learned_router import LearnedRouter
from edgepart.dispatch.margin import Margin
from edgepart.dispatch.oracle import Oracle
from edgepart.dispatch.patience import Patience
from edgepart.dispatch.random import Random
from edgepart.dispatch.splitee import ISplitEE, SplitEE, SplitEES
from edgepart.dispatch.tuned import Tuned
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import replay

#: samples 0, 1 and 6 lie at 0 to 2 and were right in every epoch; 2, 7 and 8 lie at 10 to 12 and went to and fro; the
#: others, at 20 and above but for the last one, were never right
PLACES = (0.0, 1.0, 10.0, 20.0, 21.0, 23.0, 2.0, 11.0, 12.0, 15.5)
STEADY, MOVING, NEVER = (0.9, 0.9), (1.0, 0.4), (0.1, 0.1)
HISTORY = (STEADY, STEADY, MOVING, NEVER, NEVER, NEVER, STEADY, MOVING, MOVING, NEVER)
TRACE = replace(
    TEN,
    embeddings=np.array(PLACES, np.float32)[:, None],
    dynamics=np.repeat(np.array(HISTORY, np.float32).T[:, :, None], 4, axis=2),
)


@dataclass(frozen=True)
class Known:
    """What comes out at one setting.

    Attributes:
        entry, exit: of the ten samples
        cost: of all ten together
        right: how many answers are
        at: the threshold asked for, or the setting itself, or what finds it among all
    """

    make: Callable[[], Strategy]
    exit: list[int]
    cost: float
    right: int
    entry: list[int] | None = None
    at: float | Setting | Callable[[Strategy], Setting] = 0.65


def only(strategy: Strategy) -> Setting:
    (setting,) = strategy.settings([0.65])
    return setting


def combination() -> Setting:
    return Setting("", (("router probability", 0.5), ("exits threshold", 0.65)))


BY_HAND = {
    # .9, then .5 .6 .8, then .4 .45 .7, then never, .7, never, .95, .34 .5 .9, .45 .6 .7, never
    "confidence": Known(Confidence, [0, 2, 2, 3, 0, 3, 0, 2, 2, 3], 49, 8),
    # shares of log 3: (.9 .06 .04) has .357, (.6 .3 .1) .817, (.7 .2 .1) .730, (.5 .4 .1) .859, (.9 .08 .02) .341
    "entropy": Known(Entropy, [0, 1, 2, 3, 0, 3, 0, 2, 1, 3], 45, 8, at=0.82),
    # leads: .84, then .1 .3, then .05 .05 .5, then .2 .2 .2, .5, .1 .1 .1, .91, .01 .1 .82, 0 .3, .4
    "margin": Known(Margin, [0, 1, 2, 3, 0, 3, 0, 2, 1, 0], 36, 7, at=0.25),
    # answers: 00, 11, 211, 0100, 22, 00, 100, 22, 011, 11
    "patience": Known(Patience, [1, 1, 2, 3, 1, 1, 2, 1, 2, 1], 34, 6, at=lambda made: made.settings([])[1]),
    # so strongly held back that only each exit's rate is learnt: 5 of 10 right at the first two, 8 at the third
    "learned": Known(lambda: Learned(regularisation=1e9), [2] * 10, 40, 8),
    # held to the exit alone, as confidence
    "ensemble": Known(lambda: Ensemble(regularisation=1e9), [0, 2, 2, 3, 0, 3, 0, 2, 2, 3], 49, 8),
    # a quarter each: the two surest (.95 .9), then three of .8 .6 .6, then two of .9 .7, and the rest
    "budgeted": Known(Budgeted, [0, 1, 2, 3, 1, 3, 0, 2, 1, 3], 46, 8, at=0.5),
    # easy 0 1 6 around 1, medium 2 7 8 around 11, hard the rest around 19.875; at λ = .1 medium ones are worth the
    # edge (.25 more confidence for a cost of 1), not the cloud (.117 more for 5)
    "cartography": Known(
        lambda: Cartography(lambdas=(0.1,)),
        [1, 1, 2, 3, 3, 3, 1, 2, 2, 3],
        47,
        8,
        entry=[0, 0, 1, 2, 2, 2, 0, 1, 1, 2],
        at=only,
    ),
    # the same until the last one: by then hard ones are around 20.5, so that 15.5 is nearer to 11
    "cartography-adaptive": Known(
        lambda: AdaptiveCartography(lambdas=(0.1,)),
        [1, 1, 2, 3, 3, 3, 1, 2, 2, 2],
        42,
        8,
        entry=[0, 0, 1, 2, 2, 2, 0, 1, 1, 1],
        at=only,
    ),
    # without exploration; going on costs .05, .15 and .45. θ = .3 earns 0; θ = .65 earns .15, .15, -.35 and is left
    "adaee": Known(lambda: AdaEE(mus=(0.05,), arms=(0.3, 0.65), c=0), [0, 2, 2, 3, 0, 0, 0, 0, 0, 0], 25, 6, at=only),
    # arms in turn earn .85, .4, .5, .1; the first then .65 and -.1 (.467); the third .1 (.3); the first from there on
    "splitee": Known(lambda: SplitEE(mus=(0.05,), c=0), [0, 3, 2, 3, 0, 3, 3, 3, 3, 3], 76, 8, at=only),
    # samples that pass the first exit count there, too: .85 .4 .2 .1 .65 -.1, and it stays ahead of all
    "splitee-s": Known(lambda: SplitEES(mus=(0.05,), c=0), [0, 3, 2, 3, 0, 3, 0, 3, 3, 3], 67, 8, at=only),
    # the last exit of each tier: .87, .64, .5; .2; .3; 0; the cloud .2; from there on the edge, .74 and .54
    "i-splitee": Known(lambda: ISplitEE(mus=(0.04,), c=0), [1, 2, 3, 3, 3, 3, 3, 2, 2, 3], 74, 9, at=only),
    "fixed-tier": Known(FixedTier, [2] * 10, 30, 8, entry=[1] * 10, at=lambda made: made.settings([])[1]),
    # drawn by default_rng(0): .637 .270 .041 .017 .813 .913 .607 .729 .544 .935, equal shares
    "random": Known(
        Random,
        [2, 1, 1, 1, 3, 3, 2, 3, 2, 3],
        3 * 2 + 3 * 3 + 4 * 8,
        7,
        entry=[1, 0, 0, 0, 2, 2, 1, 2, 1, 2],
        at=lambda made: made.settings([])[0],
    ),
    # the cheapest that is right: 1 at the first exit, 2 at the second, 3 entering on the edge; 8 where none is
    "oracle": Known(Oracle, [0, 0, 1, 0, 2, 3, 0, 0, 1, 2], 23, 9, entry=[0, 0, 0, 0, 1, 2, 0, 0, 0, 1], at=only),
    # every sample is its own nearest: the first tier that answers as the final exit does
    "router": Known(
        lambda: LearnedRouter("neighbours", embedding="none", nearest=1),
        [1, 1, 1, 2, 2, 1, 3, 1, 1, 2],
        29,
        9,
        entry=[0, 0, 0, 1, 1, 0, 2, 0, 0, 1],
        at=0.5,
    ),
    # the router's tiers, and from there on the first exit with .65
    "combined": Known(
        lambda: Combined(LearnedRouter("neighbours", embedding="none", nearest=1)),
        [0, 2, 2, 3, 3, 3, 3, 2, 2, 3],
        1 + 4 + 4 + 9 + 9 + 10 + 8 + 4 + 4 + 9,
        9,
        entry=[0, 0, 0, 1, 1, 0, 2, 0, 0, 1],
        at=combination(),
    ),
    # accuracy less .2 · cost / 8, at .65: entering on the edge .9 - .15, on mobile .8 - .1225, in the cloud .9 - .2;
    # where all leave at the first exit met .8 - .075 on the edge, .5 - .025 on mobile
    "tuned": Known(
        lambda: Tuned(prices=(0.2,)),
        [2, 2, 2, 3, 3, 3, 3, 2, 2, 3],
        60,
        9,
        entry=[1] * 10,
        at=lambda made: made.settings([0.65])[1],
    ),
    # of ten samples none is lost at .85, one at .65 (the fifth), four at 0: P[Bin(10, .2) ≤ 0, 1, 4] = .11, .38, .97
    "controlled": Known(
        lambda: Controlled(risk="losses", epsilon=(0.2,), delta=0.4, candidates=(0.85, 0.65, 0.0)),
        [0, 2, 2, 3, 0, 3, 0, 2, 2, 3],
        49,
        8,
        at=only,
    ),
}


def shipped() -> list[str]:
    found = entry_points(group="edgepart.strategies")
    return sorted(entry.name for entry in found if entry.value.startswith("edgepart."))


def test_every_registered_strategy_is_followed_by_hand() -> None:
    assert shipped() == sorted(BY_HAND), "add the strategy to BY_HAND: ten samples, where they leave and what it costs"


@pytest.mark.parametrize("name", BY_HAND)
def test_paths_costs_and_answers_by_hand(name: str) -> None:
    known = BY_HAND[name]
    strategy = known.make()
    assert strategy.name == name
    strategy.fit(TRACE, COSTS)
    setting = known.at
    if isinstance(setting, float):
        (setting,) = strategy.settings([setting])
    elif not isinstance(setting, Setting):
        setting = setting(strategy)
    ways = [strategy.policy(setting).decide(TRACE)]
    if strategy.deployable:
        ways.append(walk(strategy.policy(setting), TRACE, COSTS))
    for decisions in ways:
        assert decisions.entry.tolist() == (known.entry or [0] * 10)
        assert decisions.exit.tolist() == known.exit
    found = replay(TRACE, strategy.policy(setting), Costs(COSTS, full_model=10.0, router=0.25))
    routed = 0.25 if strategy.policy(setting).uses_embedding else 0.0
    assert found.cost == pytest.approx(known.cost / 10 + routed)
    assert found.accuracy == pytest.approx(known.right / 10)
    assert found.saving == pytest.approx(1 - (known.cost / 10 + routed) / 10)
