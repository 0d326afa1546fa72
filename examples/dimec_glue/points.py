"""The methods of DIMEC-DC's Table I at the operating points that the paper gives them, and what other costs change.

The other tables choose every method's setting by the accuracy that it keeps on validation. Most methods of the paper
choose by a reward instead, mean over validation of C - λ·cost, with C the largest probability where a sample leaves and
cost in units of λ; here they do, all with the same weight λ. Samples and costs are those of the other tables.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgepart.dispatch.adaee import AdaEE
from edgepart.dispatch.base import Decisions, Setting, Strategy
from edgepart.dispatch.cartography import AdaptiveCartography, Cartography
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.oracle import Oracle
from edgepart.dispatch.random import Random
from edgepart.dispatch.splitee import ISplitEE, SplitEE, SplitEES
from edgepart.dispatch.trace import Trace
from edgepart.evaluation.costs import Costs, tabulate
from edgepart.evaluation.costs.dimec import Dimec
from edgepart.evaluation.costs.layers import counted
from edgepart.evaluation.evaluate_traces import FINE_THRESHOLDS
from edgepart.evaluation.metrics import summary
from edgepart.evaluation.runs import Run
from edgepart.evaluation.selection import evaluate_strategy
from edgepart.hardware import catalogue

#: m/n/l, by l: the paper's two networks, and half of the smaller one
DEPTHS = {6: (2, 4, 6), 12: (4, 6, 12), 24: (6, 12, 24)}
#: γ in units of λ for 12 layers: what the paper's tables allow, which never state it
GAMMAS = (14.14, 18.0, 24.0, 33.0)
#: accuracy that may be lost on validation where a threshold is chosen by it
DROP = 0.005
#: each cost is multiplied by these, the others standing still
FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
#: what is varied: γ and the constants of the price, as figures name them
VARIED = {"gamma": "γ", "mobile_layer": "λ_m", "edge_layer": "λ_e", "to_edge": "o_e", "to_cloud": "o_c"}
#: weights of the cost in the reward
WEIGHTS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Point:
    """A method at one setting on one run's test samples.

    Attributes:
        varied, value: what was changed for it: a cost and its factor, or ``weight`` and the λ of the rewards; "" for
            none
        cost: mean of a sample, in λ
        saving_cloud, saving_mobile: 1 - cost / cost of everything in the cloud, or of the whole network on mobile
        tier_share: of the samples that leave at every tier
    """

    method: str
    task: str
    seed: int
    gamma: float
    varied: str
    value: float
    setting: str
    accuracy: float
    measures: dict[str, float]
    cost: float
    saving_cloud: float
    saving_mobile: float
    tier_share: dict[str, float]


@dataclass(frozen=True)
class Case:
    """A run under one cost: what every method needs."""

    run: Run
    dimec: Dimec
    costs: Costs
    weight: float

    @classmethod
    def of(cls, run: Run, gamma: float, weight: float, price: object = "dimec") -> "Case":
        dimec = Dimec(gamma=gamma, price=price)
        return cls(run, dimec, tabulate(dimec, run.plan, run.facts), weight)

    @property
    def layers(self) -> tuple[int, ...]:
        """(K,) encoder layers up to every exit."""
        return counted(self.run.plan, self.run.facts.graph).exits


def gammas(run: Run) -> tuple[float, ...]:
    """γ in units of λ for the run's network: as for 12 layers, in proportion to its own."""
    layers = Case.of(run, 0.0, 0.0).layers[-1]
    return tuple(round(gamma * layers / 12, 4) for gamma in GAMMAS)


def on_mobile(run: Run) -> float:
    """λ_m·l: what a sample costs that runs through the whole network on mobile, which section V-B1 compares with."""
    case = Case.of(run, 0.0, 0.0)
    return case.dimec.price.mobile_layer * case.layers[-1]


def paper_points(run: Run, gamma: float, weight: float) -> Iterator[Point]:
    """Every method of Table I, the single tiers, and the oracle as the ceiling."""
    case = Case.of(run, gamma, weight)
    fixed = fitted(FixedTier(), case)
    for setting in fixed.settings(FINE_THRESHOLDS):
        yield point(f"{setting.label} alone", case, setting.label, fixed.policy(setting).decide(run.test))
    random = fitted(Random(seed=run.seed), case)
    equal = random.settings(FINE_THRESHOLDS)[0]
    yield point("Random", case, equal.label, random.policy(equal).decide(run.test))
    yield in_the_cloud(case)
    for method, strategy in rewarded(weight).items():
        yield by_reward(method, strategy, case)
    yield by_reward("oracle", Oracle(), case)


def rewarded(weight: float) -> dict[str, Strategy]:
    """The paper's methods that maximise a reward."""
    weights = (weight,)
    return {
        "AdaEE": AdaEE(mus=weights),
        "SplitEE": SplitEE(mus=weights),
        "SplitEE-S": SplitEES(mus=weights),
        "I-SplitEE": ISplitEE(mus=weights),
        "Ours-F": Cartography(lambdas=weights),
        "Ours-D": AdaptiveCartography(lambdas=weights),
        "Ours-F, routed": Cartography(objective="routed", lambdas=weights),
        "Ours-D, routed": AdaptiveCartography(objective="routed", lambdas=weights),
    }


def varied_points(run: Run, weight: float) -> Iterator[Point]:
    """The paper's method, a threshold on the confidence and the oracle while one cost, or λ in the reward, changes."""
    gamma, price = gammas(run)[1], catalogue.price("dimec")
    for name in VARIED:
        for factor in FACTORS:
            changed = price if name == "gamma" else price.model_copy(update={name: getattr(price, name) * factor})
            case = Case.of(run, gamma * factor if name == "gamma" else gamma, weight, changed)
            for found in (*ours(case), by_accuracy("confidence, ≤ 0.5 %", Confidence(), case), ceiling(case)):
                yield replace(found, varied=name, value=factor)
    for other in WEIGHTS:
        for found in ours(Case.of(run, gamma, other)):
            yield replace(found, varied="weight", value=other)


def ours(case: Case) -> Iterator[Point]:
    chosen = rewarded(case.weight)
    for method in ("Ours-F", "Ours-D", "Ours-D, routed"):
        yield by_reward(method, chosen[method], case)


def ceiling(case: Case) -> Point:
    return by_reward("oracle", Oracle(), case)


def fitted(strategy: Strategy, case: Case) -> Strategy:
    strategy.fit(case.run.validation, case.costs.table)
    return strategy


def by_reward(method: str, strategy: Strategy, case: Case) -> Point:
    """At the setting with the greatest mean reward on validation; of several the first."""
    fitted(strategy, case)
    validation = case.run.validation
    settings = strategy.settings(FINE_THRESHOLDS)
    rewards = [reward(validation, strategy.rehearse(setting, validation), case) for setting in settings]
    best = settings[int(np.argmax(rewards))]
    return point(method, case, best.label, strategy.policy(best).decide(case.run.test))


def reward(trace: Trace, decisions: Decisions, case: Case) -> float:
    """Mean over samples of C - λ·cost."""
    confidence = trace.confidence[np.arange(len(trace)), decisions.exit]
    return float((confidence - case.weight * case.costs.table[decisions.entry, decisions.exit]).mean())


def by_accuracy(method: str, strategy: Strategy, case: Case) -> Point:
    """At the cheapest setting that keeps the accuracy on validation; at the full model where there is none."""
    setting, decisions = kept(strategy, case.run, case.costs)
    return point(method, case, setting, decisions)


def in_the_cloud(case: Case) -> Point:
    """DeeBERT as section V-B3 deploys it: all in the cloud, which charges the share of the layers that were used."""
    table = np.broadcast_to(cloud_costs(case), case.costs.table.shape)
    setting, decisions = kept(Entropy(), case.run, replace(case.costs, table=table))
    found = point("DeeBERT (in the cloud)", case, setting, decisions)
    return priced(found, float(table[0, decisions.exit].mean()), case)


def cloud_costs(case: Case) -> np.ndarray:
    """(K,) o_c + γ · layers up to the exit / all layers."""
    layers = np.array(case.layers)
    return case.dimec.price.to_cloud + case.dimec.gamma * layers / layers[-1]


def kept(strategy: Strategy, run: Run, costs: Costs) -> tuple[str, Decisions]:
    """The cheapest setting that keeps the accuracy on validation, and what it decides about the test samples."""
    curve = evaluate_strategy(strategy, run.validation, run.test, costs, FINE_THRESHOLDS, (DROP,))
    index = curve.choices[0].index
    if index is None:
        tiers, exits = costs.table.shape
        full = np.full(len(run.test), 1)
        return "none keeps the accuracy", Decisions(full * (tiers - 1), full * (exits - 1))
    setting: Setting = curve.settings[index]
    return setting.label, strategy.policy(setting).decide(run.test)


def point(method: str, case: Case, setting: str, decisions: Decisions) -> Point:
    run, test = case.run, case.run.test
    left = np.bincount(test.exit_tier_index[decisions.exit], minlength=len(test.tiers)) / len(test)
    measures = summary(test, decisions)
    found = Point(
        method=method,
        task=run.task,
        seed=run.seed,
        gamma=case.dimec.gamma,
        varied="",
        value=0.0,
        setting=setting,
        accuracy=measures.pop("accuracy"),
        measures=measures,
        cost=0.0,
        saving_cloud=0.0,
        saving_mobile=0.0,
        tier_share=dict(zip(test.tiers, left.tolist(), strict=True)),
    )
    return priced(found, float(case.costs.table[decisions.entry, decisions.exit].mean()), case)


def priced(found: Point, cost: float, case: Case) -> Point:
    """The point at that mean cost of a sample, and what it saves."""
    mobile = case.dimec.price.mobile_layer * case.layers[-1]
    return replace(found, cost=cost, saving_cloud=1 - cost / case.costs.full_model, saving_mobile=1 - cost / mobile)


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
