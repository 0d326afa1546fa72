"""Where the exits of a trace lie, and the path that a sample takes past them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Decisions, Outcome, Policy, State
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError


@dataclass(frozen=True)
class Layout:
    """The tiers' names and, for each of K exits, the index of its tier (never falling; the last exit is final)."""

    tiers: tuple[str, ...]
    exit_tier: tuple[int, ...]

    @classmethod
    def of(cls, trace: Trace) -> Layout:
        return cls(trace.tiers, tuple(int(tier) for tier in trace.exit_tier_index))

    @property
    def final(self) -> int:
        """Index of the last exit, where every sample leaves that has not left before."""
        return len(self.exit_tier) - 1

    @property
    def first_tier(self) -> int:
        """Where samples of a cascade enter: the first tier that has an exit."""
        return self.exit_tier[0]

    @property
    def answering_tiers(self) -> tuple[int, ...]:
        """The tiers that have an exit, in order."""
        return tuple(sorted(set(self.exit_tier)))

    def answered_by(self, tier: int) -> int:
        """The tier that answers a sample meant for ``tier``: itself or, if it has no exit, the next one up that has.

        Above the final exit there is none: the final exit's own tier answers.
        """
        return next((other for other in self.answering_tiers if other >= tier), self.exit_tier[-1])

    def first_exit(self, tier: int) -> int:
        """The exit that a sample meets first that enters at ``tier``; the final one above all exits."""
        return next((index for index, own in enumerate(self.exit_tier) if own >= tier), self.final)

    def last_exit(self, tier: int) -> int:
        """The exit at which a sample leaves that is routed to ``tier`` (which must have one)."""
        return max(index for index, own in enumerate(self.exit_tier) if own == tier)

    def closes_tier(self, exit_index: int) -> bool:
        """Whether an exit is the last one of its tier."""
        return self.last_exit(self.exit_tier[exit_index]) == exit_index

    def require(self, trace: Trace) -> None:
        """Check that a trace is of the same plan.

        Raises:
            DispatchError: its tiers or exits lie elsewhere.
        """
        if Layout.of(trace) != self:
            raise DispatchError(
                f"the strategy was fitted on exits in {_names(self)}, but this trace has exits in "
                f"{_names(Layout.of(trace))}: record both traces with the same bundle"
            )


def _names(layout: Layout) -> str:
    return ", ".join(layout.tiers[tier] for tier in layout.exit_tier)


def walk(policy: Policy, trace: Trace, costs: CostTable | None = None) -> Decisions:
    """The decisions of a policy asked sample by sample, as at run time: the definition of :meth:`Policy.decide`.

    Args:
        costs: told to the policy with each outcome (nan without)
    """
    layout, state = Layout.of(trace), State()
    probabilities = trace.probabilities.astype(np.float64)
    entry, left = np.empty(len(trace), np.int64), np.empty(len(trace), np.int64)
    for sample in range(len(trace)):
        embedding = trace.embeddings[sample].astype(np.float32)
        tier = policy.admit(embedding, state)
        exit_index = _leave(policy, layout, tier, probabilities[sample], state)
        cost = float("nan") if costs is None else float(costs[tier, exit_index])
        earlier = tuple(probabilities[sample, layout.first_exit(tier) : exit_index])
        policy.observe(Outcome(embedding, tier, exit_index, probabilities[sample, exit_index], cost, earlier))
        entry[sample], left[sample] = tier, exit_index
    return Decisions(entry, left)


def _leave(policy: Policy, layout: Layout, tier: int, probabilities: NDArray[np.float64], state: State) -> int:
    first = layout.first_exit(tier)
    for index in range(first, layout.final):
        if policy.at_exit(index, probabilities[index], replace(state, earlier=tuple(probabilities[first:index]))):
            return index
    return layout.final
