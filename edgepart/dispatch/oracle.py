"""The ceiling: what could be had if the label were known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Decisions, Policy, Setting, State, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError


class Oracle(Strategy):
    """Leave at the cheapest exit that answers correctly, else at the final one (a ceiling, not deployable).

    Every exit is reached in the cheapest way, whichever tier that means to enter at. It looks at the labels of the
    samples it decides about, which no deployed system can: no accuracy is higher than its own.
    """

    name = "oracle"
    deployable = False

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but where the exits lie and what they cost."""
        self._layout, self._costs = Layout.of(validation), costs

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """A single setting; the grid is not used."""
        return [Setting("cheapest correct exit", ())]

    def policy(self, setting: Setting) -> OraclePolicy:
        return OraclePolicy(self._layout, self._costs)


class OraclePolicy(Policy):
    """Decides about whole traces only: it needs the labels."""

    def __init__(self, layout: Layout, costs: CostTable) -> None:
        self._layout = layout
        self._entry = costs.argmin(axis=0).astype(np.int64)
        self._cost = costs.min(axis=0)

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        raise DispatchError("the oracle needs the labels of its samples: use it to evaluate, not to serve")

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        raise DispatchError("the oracle needs the labels of its samples: use it to evaluate, not to serve")

    def decide(self, trace: Trace) -> Decisions:
        self._layout.require(trace)
        left = np.full(len(trace), self._layout.final, dtype=np.int64)
        # From the dearest exit to the cheapest, so that the cheapest correct one stays; earlier ones win ties.
        for index in sorted(range(len(self._cost)), key=lambda k: (self._cost[k], k), reverse=True):
            left[trace.correct[:, index]] = index
        return Decisions(self._entry[left], left)
