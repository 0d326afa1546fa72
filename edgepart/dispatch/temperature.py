"""Temperature scaling: one number per exit that makes its probabilities say how often it is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Decisions, Outcome, Policy, State
from edgepart.dispatch.trace import Floats, Trace, log_softmax

#: temperatures lie within
BOUNDS = (0.05, 20.0)
#: tried before the best one is refined
_STEPS = 13


def temperatures(validation: Trace, bounds: tuple[float, float] = BOUNDS, prior: float = 1.0) -> NDArray[np.float64]:
    """(K,) what to divide every exit's logits by, so that their softmax has the least negative log-likelihood.

    From Guo, Pleiss, Sun and Weinberger (ICML 2017, section 4.2). To the summed likelihood comes prior/2 · (log T)²:
    nothing beside more than a few samples, but an exit that is right on all of them, whose likelihood would rise for
    ever as T falls, keeps a T that so many samples can tell of; with one class or without samples T is 1.

    Args:
        bounds: of T
        prior: how much T = 1 is preferred, in samples
    """
    from scipy.optimize import minimize_scalar

    ends = (math.log(bounds[0]), math.log(bounds[1]))
    found = np.ones(len(validation.exits))
    for index in range(len(found)):
        logits = validation.logits[:, index].astype(np.float64)
        best_logit = logits.max(axis=1)
        behind = logits - best_logit[:, None]
        missing = float((best_logit - logits[np.arange(len(logits)), validation.labels]).sum())

        def loss(log_t: float, behind: NDArray[np.float64] = behind, missing: float = missing) -> float:
            t = math.exp(log_t)
            return float(np.log(np.exp(behind / t).sum(axis=1)).sum()) + missing / t + prior / 2 * log_t**2

        tried = np.linspace(*ends, _STEPS)
        best = int(np.argmin([loss(value) for value in tried]))
        around = (tried[max(best - 1, 0)], tried[min(best + 1, _STEPS - 1)])
        refined = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-5}).x
        found[index] = math.exp(min((float(refined), float(tried[best]), 0.0), key=loss))
    return found


def calibration_error(trace: Trace, bins: int = 15) -> NDArray[np.float64]:
    """(K,) expected calibration error: how far confidence and accuracy lie apart, mean over equally wide bins.

    From Naeini, Cooper and Hauskrecht (AAAI 2015); with 15 bins as Guo et al. (2017). Each bin counts by its samples.
    """
    result = np.zeros(len(trace.exits))
    for index in range(len(result)):
        confidence: Floats = trace.confidence[:, index].astype(np.float64)
        place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
        gap = np.bincount(place, weights=confidence - trace.correct[:, index], minlength=bins)
        result[index] = np.abs(gap).sum() / max(len(trace), 1)
    return result


class ScaledPolicy(Policy):
    """A policy that sees what every exit says with its logits divided by the exit's temperature.

    Whoever has the logits divides them: :meth:`decide` (by :meth:`Trace.scaled`) and :func:`edgepart.infer` do, with
    the same decisions to the last bit. Asked with probabilities, it scales what is left of the logits in them.

    Attributes:
        policy: that decides, fitted on a trace that was scaled alike
        temperatures: (K,) of the exits
    """

    def __init__(self, policy: Policy, temperatures: NDArray[np.float64]) -> None:
        self.policy, self.temperatures = policy, temperatures
        self.uses_embedding, self.order_free = policy.uses_embedding, policy.order_free

    @property
    def alarms(self) -> Sequence[int] | None:  # type: ignore[override]
        """Of the policy that decides."""
        return self.policy.alarms

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return self.policy.admit(embedding, state)

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        met = self._scaled(exit_index, np.array([*state.earlier, probabilities], dtype=np.float64))
        return self.policy.at_exit(exit_index, met[-1], replace(state, earlier=tuple(met[:-1])))

    def admit_batch(self, embeddings: NDArray[np.float32], state: State) -> NDArray[np.int64]:
        return self.policy.admit_batch(embeddings, state)

    def at_exit_batch(self, exit_index: int, met: NDArray[np.float64], state: State) -> NDArray[np.bool_]:
        return self.policy.at_exit_batch(exit_index, self._scaled(exit_index, met), state)

    def leaves(self, exit_index: int, logits: Floats, state: State) -> bool:
        """:meth:`at_exit` from (C,) logits; those of the exits before are in ``state`` as probabilities."""
        met = state.earlier
        if len(met):
            met = tuple(self._scaled(exit_index - 1, np.array(met, dtype=np.float64)))
        own = np.asarray(logits, dtype=np.float64) / self.temperatures[exit_index]
        return self.policy.leaves(exit_index, own, replace(state, earlier=met))

    def observe(self, outcome: Outcome) -> None:
        met = self._scaled(outcome.exit, np.array([*outcome.earlier, outcome.probabilities], dtype=np.float64))
        self.policy.observe(replace(outcome, probabilities=met[-1], earlier=tuple(met[:-1])))

    def decide(self, trace: Trace) -> Decisions:
        return self.policy.decide(trace.scaled(self.temperatures))

    def _scaled(self, exit_index: int, met: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, M, C) probabilities at the M exits up to this one → the same, scaled."""
        own = self.temperatures[exit_index + 1 - met.shape[-2] : exit_index + 1, None]
        with np.errstate(divide="ignore"):
            logits = np.log(met)
        found: NDArray[np.float64] = np.exp(log_softmax(logits / own))
        return found
