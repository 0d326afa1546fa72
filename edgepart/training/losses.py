"""The weights of the exits' losses, as plain arithmetic.

Every way of training here minimises a weighted sum of the exits' cross-entropies, Σ w_k · CE_k; they differ in the
weights and in whether the backbone is trained with the heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgepart.errors import TrainingError

#: ``heads``: each head alone on the frozen backbone (DeeBERT; SDN, IC-only).
#: ``joint``: unweighted sum over all exits, backbone included (DIMEC-DC, eq. 3).
#: ``branchynet``: sum with a weight per exit (BranchyNet, §III-C).
#: ``pabee``: mean weighted by the exit's number (PABEE, eq. 7).
Mode = Literal["heads", "joint", "branchynet", "pabee"]

#: BranchyNet, §IV: weight 1 on the early branch and .3 on the last one beat the reverse by a point
BRANCHYNET_EARLY, BRANCHYNET_FINAL = 1.0, 0.3


def exit_weights(mode: Mode, exits: int, given: Sequence[float] | None = None) -> tuple[float, ...]:
    """The weight of every exit's loss, the network's own classifier last.

    Args:
        exits: how many there are, the network's own classifier included
        given: weights chosen by the user, for ``branchynet``

    Raises:
        TrainingError: the given weights are for another mode, too few or many, negative, or all zero.
    """
    if given is not None:
        return _checked(mode, exits, given)
    if mode == "heads":
        # The heads share no parameters, so the sum trains each of them as if it were alone.
        return (*[1.0] * (exits - 1), 0.0)
    if mode == "joint":
        return (1.0,) * exits
    if mode == "branchynet":
        return (*[BRANCHYNET_EARLY] * (exits - 1), BRANCHYNET_FINAL)
    total = exits * (exits + 1) / 2
    return tuple(number / total for number in range(1, exits + 1))


def weighted_sum(losses: Sequence[float], weights: Sequence[float]) -> float:
    """Σ w_k · CE_k; an exit of weight 0 counts for nothing, whatever its loss is."""
    return sum(weight * loss for loss, weight in zip(losses, weights, strict=True) if weight)


def _checked(mode: Mode, exits: int, given: Sequence[float]) -> tuple[float, ...]:
    if mode != "branchynet":
        raise TrainingError(f"exit weights were given, but '{mode}' has its own: train with 'branchynet'")
    if len(given) != exits or min(given) < 0 or not any(given):
        raise TrainingError(
            f"{len(given)} exit weights were given ({', '.join(f'{w:g}' for w in given)}), expected {exits} numbers "
            "of at least 0, not all 0: one per exit, the network's own classifier last"
        )
    return tuple(float(weight) for weight in given)
