"""Temperature scaling: one number per exit that makes its probabilities say how often it is right."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from edgepart.dispatch.trace import Floats, Trace

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
