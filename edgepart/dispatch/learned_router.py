"""Routing by a model that has learnt, from embeddings, which tiers will answer well enough."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch import predictors
from edgepart.dispatch.base import CostTable, Decisions, Policy, Setting, State, Strategy
from edgepart.dispatch.embedding_space import EmbeddingSpace, Scaling, require_embeddings
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.predictors import Events, Learner
from edgepart.dispatch.routed import RoutedPolicy
from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError

ModelName = Literal["logistic", "neighbours", "boosting"]
Target = Literal["agree", "right"]


class LearnedRouter(Strategy):
    """Send a sample to the cheapest tier whose predicted chance of answering like the full model is high enough.

    Ours. For every tier that costs less than the last one, a model learns on the validation trace, from the
    embedding, whether the tier's last exit answers like the full model (or rightly). A sample goes to the cheapest
    tier whose probability reaches the threshold, else to the last tier. The grid holds the thresholds. Needs
    scikit-learn (the extra ``router``). Assumes that embeddings of the data served are like those of validation.

    Thresholds are chosen on the very samples that the models learn from, where a model looks better than it is. So
    :meth:`rehearse` decides about each validation sample by models fitted without its fold (cross-fitting), while
    policies, which see new samples only, use models fitted on all.

    Options:
        model: ``logistic`` (regression), ``neighbours`` (the share among the nearest) or ``boosting`` (of trees)
        target: ``agree`` (with the full model; needs no labels) or ``right``
        embedding: ``none``, ``standardised`` or ``whitened``, as for ``cartography``
        folds: of the cross-fitting
        strength: of logistic regression's L2 penalty, per sample
        nearest: how many neighbours vote
        trees, leaves, rate: number of trees, leaves of each, and learning rate of boosting
        seed: of the folds and of boosting
    """

    name = "router"

    def __init__(
        self,
        model: ModelName = "logistic",
        target: Target = "agree",
        embedding: Scaling = "standardised",
        folds: int = 5,
        strength: float = 0.01,
        nearest: int = 25,
        trees: int = 50,
        leaves: int = 8,
        rate: float = 0.1,
        seed: int = 0,
    ) -> None:
        for option, value, least in (("folds", folds, 2), ("nearest", nearest, 1), ("trees", trees, 1)):
            if value < least:
                raise DispatchError(f"{option} of the router is {value}, expected at least {least}")
        if leaves < 2 or not (strength > 0 and rate > 0):
            raise DispatchError(
                f"the router has leaves={leaves}, strength={strength:g} and rate={rate:g}, expected at least two "
                "leaves and a strength and a rate above 0"
            )
        self.model, self.target, self.embedding = model, target, embedding
        self.folds, self.seed = folds, seed
        self._learners: dict[ModelName, Learner] = {
            "logistic": predictors.logistic(strength),
            "neighbours": predictors.neighbours(nearest),
            "boosting": predictors.boosting(trees, leaves, rate, seed),
        }

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Fit the models on all samples and, for :meth:`rehearse`, once without each fold.

        Raises:
            DispatchError: the trace holds no embeddings, or one with a NaN.
            MissingExtra: scikit-learn is not installed.
        """
        predictors.require_sklearn()
        require_embeddings(validation, "the router")
        self._layout = layout = Layout.of(validation)
        self._tiers = cheaper_tiers(layout, costs)
        answers = validation.logits.argmax(axis=-1)
        wanted = answers[:, -1] if self.target == "agree" else validation.labels
        events: Events = answers[:, [layout.last_exit(tier) for tier in self._tiers]] == wanted[:, None]
        self._embeddings = validation.embeddings
        self._predictor = self._learn(validation.embeddings, events)
        self._held_out = self._cross_fitted(validation.embeddings, events)
        several = len(layout.answering_tiers) > 1
        self.warnings = [_NOTHING_TO_SAVE] if several and not self._tiers else []

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per threshold of the grid, on the predicted probability."""
        return [Setting(f"{value:g}", (("probability", float(value)),)) for value in grid]

    def policy(self, setting: Setting) -> Policy:
        return LearnedRouterPolicy(self._layout, self._tiers, self._predictor, float(setting["probability"]))

    def rehearse(self, setting: Setting, validation: Trace) -> Decisions:
        """What the setting decides about the validation samples, each by models that have not seen it.

        Raises:
            DispatchError: it is not the trace of the last :meth:`fit`.
        """
        if not np.array_equal(validation.embeddings, self._embeddings):
            raise DispatchError("the router was fitted on another trace than it is to rehearse on: give the same one")
        policy = LearnedRouterPolicy(self._layout, self._tiers, self._predictor, float(setting["probability"]))
        return policy.leaving(policy.chosen(self._held_out))

    def _learn(self, embeddings: Floats, events: Events) -> EmbeddingPredictor:
        space = EmbeddingSpace.of(embeddings, self.embedding) if len(embeddings) else None
        return EmbeddingPredictor(space, self._learners[self.model], embeddings, events)

    def _cross_fitted(self, embeddings: Floats, events: Events) -> NDArray[np.float64]:
        """(N, P) the probabilities of every sample's events by models fitted on the other folds."""
        result = np.empty(events.shape)
        order = np.random.default_rng(self.seed).permutation(len(embeddings))
        for fold in np.array_split(order, max(min(self.folds, len(embeddings)), 1)):
            others = np.ones(len(embeddings), dtype=np.bool_)
            others[fold] = False
            result[fold] = self._learn(embeddings[others], events[others]).probabilities(embeddings[fold])
        return result


_NOTHING_TO_SAVE = "no tier costs less than the last one, so every sample goes there"


def cheaper_tiers(layout: Layout, costs: CostTable) -> tuple[int, ...]:
    """The tiers with an exit at whose last exit a sample costs less than at the last tier's, cheapest first."""
    last = layout.exit_tier[-1]
    cost = {tier: float(costs[tier, layout.last_exit(tier)]) for tier in layout.answering_tiers}
    return tuple(sorted((tier for tier in cost if cost[tier] < cost[last]), key=lambda tier: (cost[tier], tier)))


class EmbeddingPredictor:
    """The probabilities of P events at an embedding; those of the last array asked for are kept.

    Every setting asks about the same traces, so that all but the first are answered from what was kept.
    """

    def __init__(self, space: EmbeddingSpace | None, learner: Learner, embeddings: Floats, events: Events) -> None:
        """``space`` is None where there is nothing to learn from."""
        self._space = space
        points = space.points(embeddings) if space else np.zeros((0, embeddings.shape[1]))
        self._predictor = learner(points, events)
        self._kept: tuple[bytes, NDArray[np.float64]] = (b"", np.empty((0, 0)))

    def probabilities(self, embeddings: Floats) -> NDArray[np.float64]:
        """(n, D) → (n, P), the same for a sample alone and among others."""
        single = np.ascontiguousarray(embeddings, dtype=np.float32)
        digest = blake2b(single.data if single.size else b"").digest()
        kept, result = self._kept
        if digest != kept or len(result) != len(single):
            result = self._ask(single)
            self._kept = digest, result
        return result

    def of_one(self, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """(D,) → (P,)"""
        return self._predictor.of_one(self._space.point(embedding) if self._space else embedding.astype(np.float64))

    def _ask(self, embeddings: Floats) -> NDArray[np.float64]:
        points = self._space.points(embeddings) if self._space else embeddings.astype(np.float64)
        return self._predictor.probabilities(points)


class LearnedRouterPolicy(RoutedPolicy):
    """The first tier in order of cost whose probability reaches the threshold, else the last tier."""

    uses_embedding = True

    def __init__(self, layout: Layout, tiers: tuple[int, ...], predictor: EmbeddingPredictor, threshold: float) -> None:
        super().__init__(layout)
        self._in_turn = (*tiers, layout.exit_tier[-1])
        self._choices = np.array(self._in_turn, dtype=np.int64)
        self._predictor = predictor
        self._threshold = threshold

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        chances = self._predictor.of_one(embedding).tolist()
        for tier, chance in zip(self._in_turn, chances, strict=False):
            if chance >= self._threshold:
                return tier
        return self._in_turn[-1]

    def tiers(self, embeddings: Floats) -> NDArray[np.int64]:
        return self.chosen(self._predictor.probabilities(embeddings))

    def chosen(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n, P) probabilities → (n,) tiers."""
        reached = np.ones((len(probabilities), len(self._choices)), dtype=np.bool_)
        reached[:, :-1] = probabilities >= self._threshold
        result: NDArray[np.int64] = self._choices[reached.argmax(axis=1)]
        return result
