"""How to train: one record, with defaults that suit each mode."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, ValidationError

from edgepart.errors import TrainingError
from edgepart.files import Record
from edgepart.invalid import explain
from edgepart.training.losses import Mode

_WHOLE_NETWORK = {"epochs": 3, "batch_size": 32, "learning_rate": 5e-5, "head_learning_rate_ratio": 20.0}

#: what a mode uses where the user chose nothing
DEFAULTS: dict[Mode, dict[str, Any]] = {
    "heads": {"epochs": 30, "batch_size": 32, "learning_rate": 1e-2, "head_learning_rate_ratio": 1.0},
    "joint": _WHOLE_NETWORK,
    "branchynet": _WHOLE_NETWORK,
    "pabee": _WHOLE_NETWORK,
}


class TrainingSettings(Record):
    """Settings of one training run; with the data, the network and the plan they determine its result.

    Make them with :meth:`for_mode`, which fills in the mode's defaults.
    """

    mode: Mode
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    #: peak of the schedule, for what was trained before; under ``heads``, where nothing else learns, for the heads
    learning_rate: float = Field(gt=0)
    #: fresh heads learn this many times faster; 1 trains everything alike, as DIMEC-DC does
    head_learning_rate_ratio: float = Field(gt=0)
    #: share of all steps during which the learning rate rises linearly; afterwards it falls linearly to zero
    warm_up: float = Field(default=0.1, ge=0, le=1)
    #: decoupled weight decay (AdamW) of matrices and kernels; biases and norms are not decayed
    weight_decay: float = Field(default=0.01, ge=0)
    #: gradients are scaled down to this norm
    gradient_norm: float = Field(default=1.0, gt=0)
    #: weight of every exit's loss, for ``branchynet``
    exit_weights: tuple[float, ...] | None = None
    seed: int = Field(default=0, ge=0)

    @classmethod
    def for_mode(cls, mode: Mode = "heads", **given: Any) -> Self:
        """Settings of a mode; what is not given, or None, takes the mode's default.

        Raises:
            TrainingError: a value is out of range, or there is no such mode or setting.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        try:
            return cls.model_validate({"mode": mode, **DEFAULTS.get(mode, {}), **chosen})
        except ValidationError as error:
            raise TrainingError(f"the training settings are not valid: {explain(error)}") from error


def learning_rate_factor(step: int, steps: int, warm_up: float) -> float:
    """Linear rise over the first ``warm_up`` share of the steps, then linear fall to zero after the last one.

    Args:
        step: number of the step, from 0
        steps: of the whole run
    """
    rising = int(warm_up * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (steps - step) / max(1, steps - rising)
