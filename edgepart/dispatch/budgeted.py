"""Leave in given shares: a budget for many samples, spent where it is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Policy, Setting, Strategy
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError

#: no probability reaches it, so nobody leaves
NEVER = 2.0
#: budgets are solved for to this share of the way from the first exit to the last
_STEPS = 10_000


class Budgeted(Strategy):
    """Leave where the largest probability is among an exit's share of highest ones, as a budget allows.

    Budgeted batch classification of MSDNet (Huang et al., ICLR 2018, section 5.3). A share proportional to q^k of the
    samples is to leave at exit k = 0, 1, …; each exit's threshold is the confidence that lets this share of the
    validation samples leave there, of those that have come so far (of equally confident ones all). The grid holds t
    from 0 to 1 with q = t / (1 - t): at 0 every sample leaves at the first exit, at ½ the same share at each, at 1 all
    at the last. Assumes that new samples are as hard as those of validation: the budget holds for many, not for each.

    Options:
        budgets: mean costs a sample may have, in the cost model's unit, instead of the grid; one setting each, with
            the largest t whose expected cost Σ share · cost, entering at the first tier, is within the budget
    """

    name = "budgeted"

    def __init__(self, budgets: tuple[float, ...] = ()) -> None:
        if not all(0 < budget < math.inf for budget in budgets):
            raise DispatchError(f"the budgets are {list(budgets)}, expected finite numbers above 0")
        self.budgets = tuple(sorted(set(budgets)))

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn how confident the validation samples are at every exit.

        Raises:
            DispatchError: the trace holds no samples.
        """
        if not len(validation):
            raise DispatchError(
                "the validation trace holds no samples, whose confidences 'budgeted' needs: record some"
            )
        self._rule = Confidence()
        self._rule.fit(validation, costs)
        self._names, self._certainties = validation.exits[:-1], self._rule.certainties(validation)
        self._costs = costs[validation.exit_tier_index[0]]
        self.warnings = [
            f"a mean cost of {budget:g} cannot be met: where every sample leaves at the first exit it is "
            f"{self._costs[0]:g}, which is what that setting does"
            for budget in self.budgets
            if budget < self._costs[0]
        ]

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per t of the grid or, where there are budgets, per budget.

        Raises:
            DispatchError: a value of the grid lies outside 0 … 1.
        """
        if self.budgets:
            return [self._setting(f"≤ {one:g}", (("budget", float(one)),), self._spend(one)) for one in self.budgets]
        if not all(0 <= value <= 1 for value in grid):
            raise DispatchError(f"the thresholds are {list(grid)}, but 'budgeted' takes numbers from 0 to 1")
        return [self._setting(f"t={value:g}", (), float(value)) for value in grid]

    def policy(self, setting: Setting) -> Policy:
        given = dict(setting.values)
        return self._rule.policy(self._rule.each({name: float(given[f"at {name}"]) for name in self._names}))

    def _setting(self, label: str, values: tuple[tuple[str, float], ...], t: float) -> Setting:
        thresholds = self._rule.each(dict(zip(self._names, self._thresholds(t), strict=True)))
        return Setting(label, (*values, ("t", t), *thresholds.values))

    def _spend(self, budget: float) -> float:
        tried = np.linspace(0, 1, _STEPS + 1)
        within = np.flatnonzero(shares(tried, len(self._costs)) @ self._costs <= budget * (1 + 1e-12))
        return float(tried[within[-1]]) if len(within) else 0.0

    def _thresholds(self, t: float) -> list[float]:
        """The confidence of the last sample that is to leave, exit by exit."""
        samples = len(self._certainties)
        # how many are to have left at each exit; a hair more than floor(), as shares are not exact in binary
        wanted = np.floor(np.cumsum(shares(np.array([t]), len(self._costs))[0]) * samples + 1e-9).astype(np.int64)
        here, found = np.ones(samples, np.bool_), []
        for index in range(len(self._names)):
            remaining = int(here.sum())
            leaving = int(wanted[index]) - (samples - remaining)
            if leaving <= 0:
                found.append(NEVER)
                continue
            seen = np.sort(self._certainties[here, index])
            # Where all are to leave, new ones that are less sure than any of these are, too.
            found.append(0.0 if leaving >= remaining else float(seen[-leaving]))
            here &= self._certainties[:, index] < found[-1]
        return found


def shares(t: Floats, exits: int) -> NDArray[np.float64]:
    """(T,) values of t → (T, K) share of the samples that leaves at each exit, ∝ (t / (1 - t))^k."""
    # ∝ t^k · (1 - t)^(K - 1 - k), which stays finite at both ends
    step = np.arange(exits)
    values = np.asarray(t, np.float64)[:, None]
    powers = values**step * (1 - values) ** (exits - 1 - step)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result
