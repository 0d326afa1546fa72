"""Routing by data cartography: DIMEC-DC (Bajpai and Hanawal, section IV)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Decisions, Outcome, Policy, Setting, State, Strategy
from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.drift import Drift, PageHinkley, detector
from edgepart.dispatch.embedding_space import Scaling, require_embeddings
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.moving_centroids import BLOCK, MovingCentroids
from edgepart.dispatch.one_sample import largest
from edgepart.dispatch.options import require_nonnegative
from edgepart.dispatch.pools import POOLS, Router, nearest, nearest_to, pools, squares_of
from edgepart.dispatch.routed import RoutedPolicy
from edgepart.dispatch.trace import Floats, Trace

#: the paper's grid (section V-D)
ALPHAS = (0.55, 0.6, 0.65, 0.7, 0.8)
BETAS = (0.05, 0.08, 0.11, 0.14, 0.17)
#: levels of the quantile grid: of the confidences for α, of the variances for β
LEVELS = tuple(level / 10 for level in range(1, 10))
#: λ of the curve where none is given: how much confidence the dearest tier's cost is worth
WORTHS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Thresholds(NamedTuple):
    """α on the mean and β on the variance of the data map."""

    alpha: float
    beta: float


class Worth(NamedTuple):
    """Means over the validation trace when every sample goes to a given tier."""

    confidence: float
    cost: float

    def reward(self, weight: float) -> float:
        """DIMEC-DC eq. 6 with the weight λ."""
        return self.confidence - weight * self.cost


class Cartography(Strategy):
    """Send a sample to the tier of the nearest pool (easy, medium, hard) of the data map (DIMEC-DC, fixed).

    Pools are made on the validation trace from the training dynamics at the exit that answers easy samples, the
    first tier's last one. For every λ the thresholds (α, β) are those with the greatest mean reward
    C_h(x) - λ · cost(tier), where C_h is the largest probability at the tier's last exit and cost(tier) that of
    entering there and leaving at that exit (eqs. 5 and 6: with the ``dimec`` cost model and the paper's nested
    deployment the costs are λ_m·m, λ_e·n + o_e and o_c + γ). Easy samples go to the first tier, hard ones to the
    last, medium ones to the middle one (the upper middle of an even number); a tier without an exit passes its
    samples up. Assumes that samples which are hard for the first exit lie together in the space of embeddings.

    Options:
        objective: ``oracle`` maximises the reward over the pools themselves, as in the paper; ``routed`` over the
            tiers that the nearest centroid sends the validation samples to, which is what happens at run time.
            Every setting tells both rewards.
        grid: ``paper`` (S_α × S_β of section V-D) or ``quantile`` (of the confidences and the variances)
        embedding: ``none`` (as recorded), ``standardised`` (each dimension to mean 0, deviation 1 on validation) or
            ``whitened`` (its principal directions to deviation 1)
        lambdas: weights of the cost in the reward, per unit of the cost model; one setting each. By default ten,
            from 0 to where the dearest tier's cost is worth 5 (a probability is worth at most 1).
    """

    name = "cartography"

    def __init__(
        self,
        objective: Literal["oracle", "routed"] = "oracle",
        grid: Literal["paper", "quantile"] = "paper",
        embedding: Scaling = "none",
        lambdas: tuple[float, ...] = (),
    ) -> None:
        require_nonnegative(lambdas=lambdas)
        self.objective = objective
        self.grid = grid
        self.embedding = embedding
        self.lambdas = lambdas

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Make the data map and choose (α, β) for every λ.

        Raises:
            DispatchError: the trace holds no training dynamics or no embeddings.
        """
        require_embeddings(validation, "data cartography")
        self._layout = layout = Layout.of(validation)
        self._tiers = pool_tiers(layout)
        leave = [layout.last_exit(tier) for tier in self._tiers]
        self.data_map = DataMap.of(validation, leave[0])
        self._embeddings = validation.embeddings
        self._confidence = validation.confidence[:, leave].astype(np.float64)
        self._usual: list[float] = validation.confidence.mean(axis=0, dtype=np.float64).tolist()
        self._cost = np.array([costs[tier, index] for tier, index in zip(self._tiers, leave, strict=True)])
        self._settings = self._choose()
        self.warnings = self._empty_pools()

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per λ of the reward, with its best (α, β) on validation; the grid is not used."""
        return self._settings

    def policy(self, setting: Setting) -> Policy:
        return CentroidPolicy(self._layout, self._tiers, self.router(self.thresholds(setting)))

    @staticmethod
    def thresholds(setting: Setting) -> Thresholds:
        """The (α, β) of a setting."""
        return Thresholds(float(setting["alpha"]), float(setting["beta"]))

    def router(self, thresholds: Thresholds) -> Router:
        """The centroids that the thresholds give on the validation trace."""
        return Router.of(self._embeddings, pools(self.data_map, *thresholds), self.embedding)

    def candidates(self) -> list[Thresholds]:
        """The (α, β) to choose from."""
        if self.grid == "paper":
            return [Thresholds(alpha, beta) for alpha in ALPHAS for beta in BETAS]
        alphas = np.unique(np.quantile(self.data_map.confidence, LEVELS))
        betas = np.unique(np.quantile(self.data_map.variance, LEVELS))
        return [Thresholds(float(alpha), float(beta)) for alpha in alphas for beta in betas]

    def _choose(self) -> list[Setting]:
        cells = self.candidates()
        as_pooled = {cell: self._worth(pools(self.data_map, *cell)) for cell in cells}
        as_routed = {cell: self._routed_worth(cell) for cell in cells} if self.objective == "routed" else {}
        objective = as_routed if self.objective == "routed" else as_pooled
        settings = []
        for weight in self._weights():
            best = max(cells, key=lambda cell: objective[cell].reward(weight))
            if best not in as_routed:
                as_routed[best] = self._routed_worth(best)
            values = (
                ("lambda", weight),
                ("alpha", best.alpha),
                ("beta", best.beta),
                ("reward_oracle", as_pooled[best].reward(weight)),
                ("reward_routed", as_routed[best].reward(weight)),
            )
            settings.append(Setting(f"λ={weight:.3g} α={best.alpha:.3g} β={best.beta:.3g}", values))
        return settings

    def _weights(self) -> tuple[float, ...]:
        if self.lambdas:
            return tuple(float(weight) for weight in self.lambdas)
        dearest = float(self._cost.max())
        return tuple(worth / dearest for worth in WORTHS) if dearest > 0 else (0.0,)

    def _worth(self, pool: NDArray[np.int64]) -> Worth:
        confidence = self._confidence[np.arange(len(pool)), pool]
        return Worth(float(confidence.mean()), float(self._cost[pool].mean()))

    def _routed_worth(self, cell: Thresholds) -> Worth:
        return self._worth(self.router(cell).pools(self._embeddings))

    def _empty_pools(self) -> list[str]:
        """One sentence on what was tried and, if it matters there, one on what was chosen."""
        filled = {cell: self._filled(cell) for cell in self.candidates()}
        lacking = sum(len(names) < len(POOLS) for names in filled.values())
        if not lacking:
            return []
        told = [
            f"{lacking} of {len(filled)} pairs of α and β put no validation sample into one of the pools "
            f"{_listed(POOLS)}; a pool without samples has no centroid, so none is ever sent there"
        ]
        chosen = Counter(filled[self.thresholds(setting)] for setting in self._settings)
        counts = [
            f"at {count} every sample counts as {_listed(names)}"
            for names, count in chosen.items()
            if len(names) < len(POOLS)
        ]
        if counts:
            told.append(f"of its {len(self._settings)} settings, " + ", ".join(counts))
        return told

    def _filled(self, cell: Thresholds) -> tuple[str, ...]:
        pool = pools(self.data_map, *cell)
        return tuple(name for index, name in enumerate(POOLS) if (pool == index).any())


class AdaptiveCartography(Cartography):
    """Like ``cartography``, and each sample moves the centroid it was nearest to (DIMEC-DC, Algorithm 2).

    P ← (n·P + x) / (n + 1), n ← n + 1, where n starts as the size of the pool on validation. The order of the
    samples matters. (α, β) are chosen with the centroids standing still.

    Options: as for ``cartography``, and
        drift: ``none``, or ``page-hinkley`` to go back to the centroids of validation when the confidence of the
            answers has changed (less its mean at their exit on validation, so that all tiers count alike)
        drift_tolerance, drift_run_length: of the detector (:class:`edgepart.dispatch.drift.PageHinkley`)
    """

    name = "cartography-adaptive"

    def __init__(
        self,
        objective: Literal["oracle", "routed"] = "oracle",
        grid: Literal["paper", "quantile"] = "paper",
        embedding: Scaling = "none",
        lambdas: tuple[float, ...] = (),
        drift: Drift = "none",
        drift_tolerance: float = 0.05,
        drift_run_length: float = 100_000,
    ) -> None:
        super().__init__(objective, grid, embedding, lambdas)
        self.drift: Drift = drift
        self.drift_tolerance = drift_tolerance
        self.drift_run_length = drift_run_length
        # refused here, before anything is recorded
        detector(drift, drift_tolerance, drift_run_length)

    def policy(self, setting: Setting) -> Policy:
        watch = detector(self.drift, self.drift_tolerance, self.drift_run_length)
        router = self.router(self.thresholds(setting))
        return AdaptiveCentroidPolicy(self._layout, self._tiers, router, self._usual, watch)


def _listed(names: Sequence[str]) -> str:
    """``easy, medium or hard``."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def pool_tiers(layout: Layout) -> tuple[int, ...]:
    """The tiers that answer the easy, the medium and the hard samples."""
    count = len(layout.tiers)
    return tuple(layout.answered_by(tier) for tier in (0, count // 2, count - 1))


class CentroidPolicy(RoutedPolicy):
    """The tier of the nearest pool."""

    uses_embedding = True

    def __init__(self, layout: Layout, tiers: tuple[int, ...], router: Router) -> None:
        super().__init__(layout)
        self._pool_tiers = np.array(tiers, dtype=np.int64)
        self._router = router
        self._tier_of, self._squares = tiers, squares_of(router.centroids)

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        point = self._router.space.point(embedding)
        return self._tier_of[nearest_to(point, self._router.centroids, self._squares)]

    def tiers(self, embeddings: Floats) -> NDArray[np.int64]:
        result: NDArray[np.int64] = self._pool_tiers[self._router.pools(embeddings)]
        return result


class AdaptiveCentroidPolicy(CentroidPolicy):
    """The tier of the nearest pool, whose centroid then moves towards the sample.

    Args:
        usual: (K,) mean confidence at each exit, which the detector measures from
    """

    order_free = False

    def __init__(
        self,
        layout: Layout,
        tiers: tuple[int, ...],
        router: Router,
        usual: Sequence[float],
        watch: PageHinkley | None = None,
    ) -> None:
        super().__init__(layout, tiers, router)
        self.moving = MovingCentroids(router)
        self._usual, self._detector = usual, watch
        self.alarms = None if watch is None else watch.alarms
        self.uses_probabilities = watch is not None
        self._pools_of = {tier: [pool for pool in self.moving.filled if tiers[pool] == tier] for tier in tiers}

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        point = self._router.space.point(embedding)
        return self._tier_of[nearest_to(point, self.moving.centroids, self.moving.squares)]

    def tiers(self, embeddings: Floats) -> NDArray[np.int64]:
        points = self._router.points(embeddings)
        result: NDArray[np.int64] = self._pool_tiers[nearest(points, self.moving.centroids)]
        return result

    def observe(self, outcome: Outcome) -> None:
        # Only pools of the tier entered: if centroids have moved meanwhile, the sample still counts for its own.
        own = self._pools_of.get(outcome.entry)
        if self._alarmed(outcome.probabilities, outcome.exit) or not own:
            return
        point = self._router.space.point(outcome.embedding)
        self.moving.take_one(point, own[0] if len(own) == 1 else self.moving.nearest_of(point, own))

    def _alarmed(self, probabilities: NDArray[np.float64], exit_index: int) -> bool:
        """Whether the detector gives the alarm at this answer, upon which the centroids go back."""
        if self._detector is None:
            return False
        if not self._detector.update(largest(probabilities) - self._usual[exit_index]):
            return False
        self.moving.reset()
        return True

    def decide(self, trace: Trace) -> Decisions:
        self._layout.require(trace)
        left = self.leaving(self._pool_tiers).exit
        unusual = trace.probabilities.max(axis=-1)[:, left].astype(np.float64) - np.array(self._usual)[left]
        pool = np.empty(len(trace), dtype=np.int64)
        start = 0
        while start < len(trace):
            points = self._router.points(trace.embeddings[start : start + BLOCK])
            found = self.moving.in_turn(points)
            learnt = self._learn(points, found, unusual[np.arange(start, start + len(found)), found])
            pool[start : start + learnt] = found[:learnt]
            start += learnt
        return self.leaving(self._pool_tiers[pool])

    def _learn(self, points: NDArray[np.float64], pool: NDArray[np.int64], unusual: NDArray[np.float64]) -> int:
        """Take in points until the detector gives the alarm; how many it were, all or fewer.

        Args:
            points: (n, R)
            pool: (n,) of each
            unusual: (n,) confidence of each answer, less its mean at that exit
        """
        if self._detector is not None:
            for index, value in enumerate(unusual.tolist()):
                if self._detector.update(value):
                    self.moving.reset()
                    return index + 1
        self.moving.take(points, pool)
        return len(points)
