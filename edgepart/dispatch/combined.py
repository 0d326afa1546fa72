"""Route first, then leave by a threshold: a router chooses where a sample enters, its exits when it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Decisions, Policy, Setting, State, Strategy
from edgepart.dispatch.cartography import AdaptiveCartography, Cartography
from edgepart.dispatch.embedding_space import Scaling
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.learned_router import LearnedRouter, ModelName, Target
from edgepart.dispatch.options import construct
from edgepart.dispatch.threshold import Certainty, ThresholdStrategy, certainties
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError

#: before the values of the router's setting and of the exits', in a setting of both
_ROUTER, _EXITS = "router ", "exits "


class Combined(Strategy):
    """Enter at the tier that a router chooses, and leave at the first exit from there on that is certain enough.

    Ours. The router is ``router`` or ``cartography``; certainty and threshold are those of any strategy that looks at
    one exit alone (a sample that enters above has met no earlier ones, so rules with a history do not apply). Unlike
    a routed sample, one that no exit of its tier is certain of goes on. With every sample entering at the first tier
    it is the plain cascade. Its settings are the pairs of a router's setting and a threshold that no other pair beats
    on validation in both accuracy and cost; validation samples are routed as :meth:`Strategy.rehearse` has it. The
    many pairs tried make the best look a little better than they are.

    Options:
        router: ``router`` or ``cartography``; in Python also one of these strategies itself
        base: name of the threshold strategy, or that strategy itself
        model, target: of the learned router
        embedding: ``none``, ``standardised`` or ``whitened``, for either router
    """

    name = "combined"

    def __init__(
        self,
        router: Literal["router", "cartography"] | LearnedRouter | Cartography = "router",
        base: str | ThresholdStrategy = "confidence",
        model: ModelName = "logistic",
        target: Target = "agree",
        embedding: Scaling = "standardised",
    ) -> None:
        if router == "router":
            self.router: LearnedRouter | Cartography = LearnedRouter(model, target, embedding)
        elif isinstance(router, str):
            self.router = Cartography(embedding=embedding)
        else:
            self.router = router
        if isinstance(self.router, AdaptiveCartography):
            raise DispatchError(
                "'combined' was given cartography-adaptive, whose centroids move with each sample: give cartography"
            )
        self.base: ThresholdStrategy = construct("strategy", base) if isinstance(base, str) else base
        self._at_one_exit = at_one_exit(self.base)

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Let the router and the threshold strategy learn.

        Raises:
            DispatchError: the trace lacks what the router learns from.
            MissingExtra: scikit-learn, which the learned router needs, is not installed.
        """
        self.router.fit(validation, costs)
        self.base.fit(validation, costs)
        self._layout, self._validation, self._costs = Layout.of(validation), validation, costs
        self._certainty = certainties(self._at_one_exit, validation)
        self._thinned: dict[tuple[float, ...], list[Setting]] = {}
        self.warnings = [*self.router.warnings, *self.base.warnings]

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """The pairs of a router's setting and a threshold that no other pair beats on validation, cheapest first."""
        values = tuple(float(value) for value in grid)
        if values not in self._thinned:
            self._thinned[values] = self._front(values)
        return self._thinned[values]

    def policy(self, setting: Setting) -> Policy:
        router = self.router.policy(_part(setting, _ROUTER))
        return CombinedPolicy(self._layout, router, self._at_one_exit, self._thresholds(setting))

    def rehearse(self, setting: Setting, validation: Trace) -> Decisions:
        """What the setting decides about the validation samples, routed as the router rehearses."""
        entry = self.router.rehearse(_part(setting, _ROUTER), validation).entry
        certainty = certainties(self._at_one_exit, validation)
        return Decisions(entry, leave(self._layout, entry, certainty, self._thresholds(setting)))

    def _thresholds(self, setting: Setting) -> NDArray[np.float64]:
        return self.base.thresholds(_part(setting, _EXITS))

    def _front(self, grid: tuple[float, ...]) -> list[Setting]:
        """Count all pairs at once: what threshold j gives to a sample that enters at tier t is summed by tier."""
        bases = self.base.settings(grid)
        routes: dict[bytes, tuple[Setting, NDArray[np.int64]]] = {}
        for one in self.router.settings(grid):
            entry = self.router.rehearse(one, self._validation).entry
            routes.setdefault(entry.tobytes(), (one, entry))
        entries = np.stack([entry for _, entry in routes.values()])
        cost, right = np.zeros((2, len(entries), len(bases)))
        rows = np.arange(len(self._validation))
        for tier in np.unique(entries):
            there = np.full(len(rows), tier)
            lefts = [leave(self._layout, there, self._certainty, self.base.thresholds(one)) for one in bases]
            sent = (entries == tier).astype(np.float64)
            cost += sent @ np.array([self._costs[tier, left] for left in lefts]).T
            right += sent @ np.array([self._validation.correct[rows, left] for left in lefts], np.float64).T
        routers = [one for one, _ in routes.values()]
        return [_pair(routers[r], bases[b]) for r, b in undominated(cost / max(len(rows), 1), right)]


class CombinedPolicy(Policy):
    """Enter where the router says, leave at the first exit met whose certainty reaches its threshold; (K - 1,)."""

    uses_embedding = True

    def __init__(self, layout: Layout, router: Policy, certainty: Certainty, thresholds: NDArray[np.float64]) -> None:
        self._layout = layout
        self._router = router
        self._certainty = certainty
        self._thresholds = thresholds

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return self._router.admit(embedding, state)

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        met = np.array([probabilities], dtype=np.float64)
        return bool(self._certainty(met) >= self._thresholds[exit_index])

    def decide(self, trace: Trace) -> Decisions:
        entry = self._router.decide(trace).entry
        return Decisions(entry, leave(self._layout, entry, certainties(self._certainty, trace), self._thresholds))


def leave(
    layout: Layout, entry: NDArray[np.int64], certainty: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(N,) the first exit from the tier of entry on whose certainty, (N, K - 1), reaches its threshold, or the last."""
    leaves = np.ones((len(entry), layout.final + 1), dtype=np.bool_)
    leaves[:, :-1] = (certainty >= thresholds) & (np.array(layout.exit_tier[:-1]) >= entry[:, None])
    result: NDArray[np.int64] = leaves.argmax(axis=1)
    return result


def undominated(cost: NDArray[np.float64], right: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Indices of the entries that no other is both as cheap and as often right as, cheapest first; first of equals."""
    # Sums of the same costs in another order differ in their last bits, which must not put a pair on the front.
    rounded = np.round(cost / (np.abs(cost).max() or 1.0), 12).ravel()
    answers = right.ravel()
    found: list[int] = []
    for index in np.lexsort((-answers, rounded)):
        if not found or answers[index] > answers[found[-1]]:
            found.append(int(index))
    return [(index // cost.shape[1], index % cost.shape[1]) for index in found]


def _pair(router: Setting, exits: Setting) -> Setting:
    values = [(_ROUTER + name, value) for name, value in router.values]
    values += [(_EXITS + name, value) for name, value in exits.values]
    return Setting(f"{router.label}, then {exits.label}", tuple(values))


def _part(setting: Setting, prefix: str) -> Setting:
    kept = tuple((name.removeprefix(prefix), value) for name, value in setting.values if name.startswith(prefix))
    return Setting(setting.label, kept)


def at_one_exit(base: Strategy) -> Certainty:
    """The certainty of a threshold strategy that looks at one exit alone.

    Raises:
        DispatchError: it is none.
    """
    if not isinstance(base, ThresholdStrategy):
        raise DispatchError(
            f"'combined' was given the base '{base.name}', which is no threshold strategy: give confidence"
        )
    if not base.alone or type(base).certainty is ThresholdStrategy.certainty:
        raise DispatchError(
            f"'combined' was given the base '{base.name}', whose rule needs the exits before or knows each exit, which "
            "samples that enter above have not met: give one that looks at a single exit, such as confidence"
        )
    return lambda met: base.certainty(met[..., -1, :])
