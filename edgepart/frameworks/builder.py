"""What building a bundle asks of a framework: heads that are added to a network, learn, and are written with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import PlanError
from edgepart.frameworks.base import Arrays, Part, Program
from edgepart.graph import Boundary, Graph, Tensor
from edgepart.partitioning.stages import Stage

#: weights, moments … by name; what they mean is the framework's own business
State = dict[str, NDArray[Any]]

#: the activation that a network's output comes from, where that is no logit
Ending = Literal["", "softmax", "sigmoid"]


@dataclass(frozen=True)
class HeadSize:
    """Multiply-accumulates of a head for one sample, and how many numbers it learns."""

    macs: int
    parameters: int


def read_by_head(stage: Stage, graph: Graph) -> str | None:
    """The tensor that the exit of a stage answers from: its head's, or the network's own logits; None without exit."""
    if stage.exit is None:
        return None
    return stage.tensor if stage.tensor is not None else graph.outputs[0]


def is_single(graph: Graph) -> bool:
    """Whether a network gives one number a sample, (batch, 1) or (batch,), for two classes.

    Its logits are (0, z), of which softmax makes (1 - p, p) with p = sigmoid(z), the probability of the second class.
    """
    return graph.tensor(graph.outputs[0]).shape in (("batch",), ("batch", 1))


def class_count(graph: Graph) -> int | None:
    """Between how many classes a network decides, where its shape says so.

    Raises:
        PlanError: its first output is neither (batch, classes) nor one number a sample.
    """
    output = graph.tensor(graph.outputs[0])
    if is_single(graph):
        return 2
    if len(output.shape) != 2:
        raise PlanError(
            f"the network's first output '{output.name}' has shape ({', '.join(map(str, output.shape))}), expected "
            "(batch, classes): wrap the network so that it returns the logits first"
        )
    return output.shape[1] if isinstance(output.shape[1], int) else None


def require_use(stage: Stage, passes_on: Sequence[str]) -> None:
    """Check that a stage makes something.

    Raises:
        PlanError: it has no exit and nothing that a later part reads.
    """
    if stage.exit is None and not passes_on:
        raise PlanError(
            f"what tier '{stage.tier}' runs leads to no exit, only to further outputs of the network, which a bundle "
            "leaves out: give it other layers"
        )


def vectors(name: str, width: int) -> Tensor:
    """The tensor of one float32 vector a sample: logits, or a router's embedding."""
    return Tensor(name=name, shape=("batch", width), dtype="float32", bytes=4 * width)


class Learner(Protocol):
    """A network, or only the heads on a frozen one, that learns. ``exits`` are in order, the own classifier last (K).

    A learner of heads takes what :meth:`features` returns where a learner of the network takes its inputs.
    """

    exits: tuple[str, ...]

    def step(
        self, arrays: Arrays, labels: NDArray[np.int64], weights: Sequence[float], learning_rate: float, seed: int
    ) -> list[float]:
        """One step of gradient descent on Σ w_k · CE_k; returns the K cross-entropies before it.

        Leaves everything as it was where one of them is not finite.
        """
        ...

    def logits(self, arrays: Arrays) -> NDArray[np.float32]:
        """(batch, K, C) with dropout off and the running statistics of batch normalisation."""
        ...

    def features(self, arrays: Arrays) -> dict[str, NDArray[np.float32]]:
        """(batch, …) what each head makes of the network's inputs without parameters, by exit name; last the logits."""
        ...

    def weights(self) -> State:
        """What inference needs: trained parameters and buffers."""
        ...

    def load_weights(self, weights: State) -> None:
        """Go back to what :meth:`weights` returned."""
        ...

    def state(self) -> State:
        """What training needs to go on: weights and the optimiser's moments."""
        ...

    def load_state(self, state: State) -> None:
        """Go back to what :meth:`state` returned."""
        ...


class Builder(Protocol):
    """One network, copied from the user's and captured, that heads are added to.

    Its own classifier answers with logits, as heads do: a network that ends in a softmax with what goes into that, one
    that gives a single number (:func:`is_single`) with (0, z), where z is that number or, if it comes from a sigmoid,
    what goes into the sigmoid. Where that is computed in an earlier part than the last, with the logarithms of the
    probabilities or of the odds.
    """

    program: Program

    @property
    def ending(self) -> Ending:
        """The activation that the network ends in."""
        ...

    def weights_digest(self) -> str:
        """sha256 of all parameters and buffers."""
        ...

    def classifier(self, shape: Sequence[int | str]) -> list[str]:
        """Source lines of modules that replicate the network's own classifier, fitted to a tensor without its batch.

        Raises:
            TemplateError: it cannot be replicated for such a tensor.
        """
        ...

    def add_head(self, name: str, source: str, tensor: str, classes: int, seed: int) -> HeadSize:
        """Compile the rendered head of an exit and try it on the tensor's shape; ``seed`` draws its weights.

        Raises:
            TemplateError: it does not compile or run, or gives something else than (batch, classes) logits.
        """
        ...

    def learner(
        self,
        stages: Sequence[Stage],
        *,
        frozen: bool,
        head_learning_rate_ratio: float,
        weight_decay: float,
        gradient_norm: float,
    ) -> Learner:
        """What trains the network cut into ``stages``, or with ``frozen`` only its heads.

        Dropout and batch normalisation are in training mode while it steps, whatever mode the model was in.
        """
        ...

    def stage(self, stage: Stage, passes_on: Sequence[str]) -> Part:
        """A stage and the head of its exit; its outputs are ``passes_on``, then the logits under the exit's name."""
        ...

    def router(self, stop: Boundary | None, tensor: str, mask: str | None) -> Part:
        """From the network's inputs to ``embedding`` (batch, D): the tensor averaged over positions that count.

        Args:
            mask: the input (batch, sequence) that is 1 where a position counts; None where all do
        """
        ...
