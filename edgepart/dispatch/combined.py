"""Route first, then leave by a threshold: a router chooses where a sample enters, its exits when it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Decisions, Policy, Setting, State, Strategy
from edgepart.dispatch.cartography import AdaptiveCartography, Cartography
from edgepart.dispatch.embedding_space import Scaling
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.learned_router import LearnedRouter, ModelName, Target
from edgepart.dispatch.options import construct
from edgepart.dispatch.threshold import Certainty, ThresholdPolicy, ThresholdStrategy, certainties, leave
from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError

#: before the values of the router's setting and of the exits', in a setting of both
_ROUTER, _EXITS = "router ", "exits "

#: numbers of a route and of a threshold
Pair = tuple[int, int]


class Combined(Strategy):
    """Enter at the tier that a router chooses, and leave at the first exit from there on that is certain enough.

    Ours. The router is ``router`` or ``cartography``; certainty and threshold are those of any strategy that looks at
    one exit alone (a sample that enters above has met no earlier ones, so rules with a history do not apply). Unlike
    a routed sample, one that no exit of its tier is certain of goes on. With every sample entering at the first tier
    it is the plain cascade. Its settings are the pairs of a router's setting and a threshold that no other pair beats
    on validation in both accuracy and cost; validation samples are routed as :meth:`Strategy.rehearse` has it. Of the
    many pairs tried the best look better than they are: so a pair is rehearsed on each part of the validation samples
    with the pair that does as well on the others (cross-fitting).

    Options:
        router: ``router`` or ``cartography``; in Python also one of these strategies itself
        base: name of the threshold strategy, or that strategy itself
        model, target: of the learned router
        embedding: ``none``, ``standardised`` or ``whitened``, for either router
        folds: parts of the validation samples for rehearsing; 1 does without
        seed: of the parts
    """

    name = "combined"

    def __init__(
        self,
        router: Literal["router", "cartography"] | LearnedRouter | Cartography = "router",
        base: str | ThresholdStrategy = "confidence",
        model: ModelName = "logistic",
        target: Target = "agree",
        embedding: Scaling = "standardised",
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        if folds < 1:
            raise DispatchError(f"folds of 'combined' is {folds}, expected 1 (no cross-fitting) or more")
        self.folds, self.seed = folds, seed
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
        self._thinned: dict[tuple[float, ...], dict[Setting, Decisions]] = {}
        self.warnings = [*self.router.warnings, *self.base.warnings]

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """The pairs of a router's setting and a threshold that no other pair beats on validation, cheapest first."""
        values = tuple(float(value) for value in grid)
        if values not in self._thinned:
            self._thinned[values] = self._front(values)
        return list(self._thinned[values])

    def policy(self, setting: Setting) -> Policy:
        router = self.router.policy(_part(setting, _ROUTER))
        cascade = ThresholdPolicy(
            self._layout, self._at_one_exit, self._thresholds(setting), alone=True, rough=self.base.roughly
        )
        return CombinedPolicy(self._layout, router, cascade)

    def rehearse(self, setting: Setting, validation: Trace) -> Decisions:
        """What the setting decides about the validation samples, routed as the router rehearses.

        A setting from :meth:`settings` stands there for the pairs that do as well without the sample.
        """
        known = next((found[setting] for found in self._thinned.values() if setting in found), None)
        if known is not None and validation is self._validation:
            return known
        entry = self.router.rehearse(_part(setting, _ROUTER), validation).entry
        certainty = certainties(self._at_one_exit, validation)
        return Decisions(entry, leave(self._layout, entry, certainty, self._thresholds(setting)))

    def _thresholds(self, setting: Setting) -> NDArray[np.float64]:
        return self.base.thresholds(_part(setting, _EXITS))

    def _front(self, grid: tuple[float, ...]) -> dict[Setting, Decisions]:
        """The pairs on the front, and what each decides about the validation samples when it is rehearsed."""
        bases = self.base.settings(grid)
        thresholds = [self.base.thresholds(one) for one in bases]
        routes: dict[bytes, tuple[Setting, NDArray[np.int64]]] = {}
        for one in self.router.settings(grid):
            entry = self.router.rehearse(one, self._validation).entry
            routes.setdefault(entry.tobytes(), (one, entry))
        routers, entries = [one for one, _ in routes.values()], np.stack([entry for _, entry in routes.values()])
        rows = np.arange(len(self._validation))
        fold = np.random.default_rng(self.seed).permutation(len(rows)) % max(min(self.folds, len(rows)), 1)
        parts = [fold == number for number in range(fold.max(initial=0) + 1)]
        found = {}
        for (router, base), stand_ins in self._tally(entries, thresholds, parts).front():
            decided = Decisions(np.empty_like(rows), np.empty_like(rows))
            for part, (route, level) in zip(parts, stand_ins, strict=True):
                entry = decided.entry[part] = entries[route][part]
                decided.exit[part] = leave(self._layout, entry, self._certainty[part], thresholds[level])
            found[_pair(routers[router], bases[base])] = decided
        return found

    def _tally(
        self,
        entries: NDArray[np.int64],
        thresholds: Sequence[NDArray[np.float64]],
        parts: Sequence[NDArray[np.bool_]],
    ) -> Tally:
        """Count all pairs at once: what thresholds give to a sample that enters at tier t is summed by tier and part.

        Args:
            entries: (R, N) tier at which each route lets the validation samples enter
            thresholds: B arrays of (K - 1,)
            parts: F masks of (N,)
        """
        cost, right = np.zeros((2, len(parts), len(entries), len(thresholds)))
        correct, rows = self._validation.correct, np.arange(len(self._validation))
        for tier in np.unique(entries):
            there = np.full(len(rows), tier)
            left = np.array([leave(self._layout, there, self._certainty, each) for each in thresholds])
            sent = (entries == tier).astype(np.float64)
            paid, answered = self._costs[tier, left].T, correct[rows, left].T.astype(np.float64)
            for number, part in enumerate(parts):
                cost[number] += sent[:, part] @ paid[part]
                right[number] += sent[:, part] @ answered[part]
        final = np.array([int(correct[part, -1].sum()) for part in parts])
        return Tally(cost, right, final, np.array([int(part.sum()) for part in parts]))


class CombinedPolicy(Policy):
    """Enter where the router says, leave at the first exit met where the cascade, which looks at one alone, would."""

    uses_embedding = True

    def __init__(self, layout: Layout, router: Policy, cascade: ThresholdPolicy) -> None:
        self._layout = layout
        self._router = router
        self._cascade = cascade

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return self._router.admit(embedding, state)

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        return self._cascade.at_exit(exit_index, probabilities, state)

    def leaves(self, exit_index: int, logits: Floats, state: State) -> bool:
        return self._cascade.leaves(exit_index, logits, state)

    def admit_batch(self, embeddings: NDArray[np.float32], state: State) -> NDArray[np.int64]:
        return self._router.admit_batch(embeddings, state)

    def at_exit_batch(self, exit_index: int, met: NDArray[np.float64], state: State) -> NDArray[np.bool_]:
        return self._cascade.at_exit_batch(exit_index, met, state)

    def decide(self, trace: Trace) -> Decisions:
        entry = self._router.decide(trace).entry
        return Decisions(entry, self._cascade.leaving(entry, trace))


@dataclass(frozen=True, eq=False)
class Tally:
    """What pairs of R routes and B thresholds come to on each of F parts of the validation samples.

    Attributes:
        cost, right: (F, R, B) sums over the samples of what they cost, and of right answers
        final: (F,) right answers of the final exit
        samples: (F,)
    """

    cost: NDArray[np.float64]
    right: NDArray[np.float64]
    final: NDArray[np.int64]
    samples: NDArray[np.int64]

    def front(self) -> list[tuple[Pair, list[Pair]]]:
        """The pairs that no other beats, cheapest first, each with the one for every part that is chosen without it.

        That is the cheapest pair that loses no larger share of the final exit's right answers on the other parts than
        the pair does on all; where none loses so few, the one that loses fewest. A single part has no others.
        """
        cost, right, samples = self.cost.sum(axis=0), self.right.sum(axis=0), self.samples.sum()
        pairs = undominated(cost, right)
        if len(self.samples) == 1:
            return [(pair, [pair]) for pair in pairs]
        columns = []
        for part, left_out in enumerate(self.samples):
            others = right - self.right[part]
            front = undominated(cost - self.cost[part], others)
            share = (samples - left_out) / samples
            least = [
                self.final.sum() - self.final[part] - share * (self.final.sum() - right[pair]) - 1e-6 for pair in pairs
            ]
            columns.append([next((one for one in front if others[one] >= enough), front[-1]) for enough in least])
        return [(pair, list(row)) for pair, row in zip(pairs, zip(*columns, strict=True), strict=True)]


def undominated(cost: NDArray[np.float64], right: NDArray[np.float64]) -> list[Pair]:
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
