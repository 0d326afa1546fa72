"""The network with a head at every exit, as torch modules that learn, and the steps of learning.

Heads alone also learn on networks of other frameworks, which compute the features (:class:`Exits`).

The captured program is cut between all exits; the slices share the user's parameters, so what is trained here is what
is exported afterwards. An exported graph has no train() mode: dropout and batch normalisation carry a flag in each of
their nodes, which is flipped here. Dropout inside fused attention is lost when the network is captured in eval mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule, Node

from edgepart.errors import TrainingError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.builder import State
from edgepart.frameworks.torch.arrays import dtype_name, from_numpy
from edgepart.frameworks.torch.logits import Logits, ending_of
from edgepart.frameworks.torch.part import Part
from edgepart.frameworks.torch.program import Program
from edgepart.partitioning.stages import Stage

Tensors = Mapping[str, torch.Tensor]

_aten = torch.ops.aten
#: operation → position of the argument that says whether it is training
_TRAINING_ARGUMENT = {
    _aten.dropout.default: 2,
    _aten.dropout_.default: 2,
    _aten.feature_dropout.default: 2,
    _aten.alpha_dropout.default: 2,
    _aten.feature_alpha_dropout.default: 2,
    _aten.batch_norm.default: 5,
}


class TrainingFlags:
    """The flags of dropout and batch normalisation in exported graphs: :meth:`set` them, or put them back."""

    def __init__(self, graphs: Sequence[GraphModule]) -> None:
        self._graphs = list(graphs)
        self._nodes: list[tuple[Node, int, Any]] = []
        for graph in self._graphs:
            for node in graph.graph.nodes:
                position = _TRAINING_ARGUMENT.get(node.target)
                if position is not None:
                    self._nodes.append((node, position, node.args[position]))

    def set(self, training: bool) -> None:
        """Switch them all on, or back to what they were when the network was captured."""
        for node, position, captured in self._nodes:
            node.update_arg(position, True if training else captured)
        for graph in self._graphs:
            graph.recompile()


class Exits(nn.Module):
    """The slices of stages in order, a head at the end of each that has an exit, and the network's own classifier last.

    A subclass says how a slice is run.

    Args:
        logits: the network's own, among the outputs of the slices
    """

    def __init__(
        self, slices: Sequence[Any], stages: Sequence[Stage], heads: Mapping[str, nn.Module], logits: str
    ) -> None:
        super().__init__()
        self._parts, self._stages, self._logits = list(slices), list(stages), logits
        self.exits = tuple(stage.exit for stage in stages if stage.exit is not None)
        # Exits may be called anything, modules may not: heads go by number.
        self.heads = nn.ModuleList(heads[name] for name in self.exits[:-1])

    def forward(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Logits (batch, C) by exit name, from the network's inputs by name."""
        return self.classify(self.reduce(tensors))

    def reduce(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """What every head makes of its features without parameters; for the last exit the logits themselves."""
        found = {}
        for number, (stage, known) in enumerate(self._at_exits(tensors)):
            assert stage.exit is not None
            if stage.tensor is None:
                found[stage.exit] = self._own(single(known[self._logits]))
            else:
                found[stage.exit] = _head(self.heads[number]).reduce(single(known[stage.tensor]))
        return found

    def classify(self, reduced: Tensors) -> dict[str, torch.Tensor]:
        """Logits (batch, C) by exit name, from what :meth:`reduce` returned."""
        heads = zip(self.exits, self.heads, strict=False)
        return {name: _head(head).classify(reduced[name]) for name, head in heads} | {
            self.exits[-1]: reduced[self.exits[-1]]
        }

    def _at_exits(self, tensors: Tensors) -> Iterator[tuple[Stage, dict[str, torch.Tensor]]]:
        known = dict(tensors)
        for stage, part in zip(self._stages, self._parts, strict=True):
            values = self._run(part, [known[name] for name in part.inputs])
            known.update(zip(part.outputs, values, strict=True))
            if stage.exit is not None:
                yield stage, known

    def _run(self, part: Any, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """The outputs of a slice in order, from its inputs in order."""
        raise NotImplementedError

    def _own(self, answer: torch.Tensor) -> torch.Tensor:
        """The network's own logits, from what its slices give under that name."""
        return answer


class MultiExit(Exits):
    """A torch network that learns with its heads; ``train()`` and ``eval()`` switch the slices' flags too."""

    def __init__(self, program: Program, stages: Sequence[Stage], heads: Mapping[str, nn.Module]) -> None:
        slices = [program.slice(stage.start, stage.stop, share=True) for stage in stages]
        super().__init__(slices, stages, heads, program.graph.outputs[0])
        self._own_logits = Logits(program.graph, ending_of(program), slices[-1])
        self.slices = nn.ModuleList(part.module for part in slices)
        graphs = [module for module in self.slices.modules() if isinstance(module, GraphModule)]
        self._flags = TrainingFlags(graphs)
        self.eval()

    def train(self, mode: bool = True) -> MultiExit:
        """Dropout and batch normalisation of slices and heads; a slice itself refuses ``train()``."""
        self._flags.set(mode)
        for head in self.heads:
            head.train(mode)
        self.training = mode
        return self

    def _run(self, part: Part, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        values: Sequence[torch.Tensor] = part.module(*tensors)
        return values

    def _own(self, answer: torch.Tensor) -> torch.Tensor:
        return self._own_logits(answer)


def single(values: torch.Tensor) -> torch.Tensor:
    """In the precision of heads and logits, whatever that of the network is."""
    return values if values.dtype is torch.float32 else values.float()


class TorchLearner:
    """Trains a :class:`MultiExit` by AdamW, or with ``frozen`` only the heads of :class:`Exits`, from reduced features.

    Satisfies ``edgepart.frameworks.builder.Learner``. Parameters that the user froze stay frozen.

    Raises:
        TrainingError: a parameter that would learn has less than single precision.
    """

    def __init__(
        self,
        network: Exits,
        *,
        frozen: bool,
        head_learning_rate_ratio: float,
        weight_decay: float,
        gradient_norm: float,
    ) -> None:
        self.network, self.exits, self._frozen = network, network.exits, frozen
        self._gradient_norm = gradient_norm
        learning = network.heads if frozen else network
        self._parameters = {name: p for name, p in learning.named_parameters() if p.requires_grad}
        for name, parameter in self._parameters.items():
            if parameter.dtype.itemsize < 4:
                raise TrainingError(
                    f"the parameter '{name}' is {dtype_name(parameter.dtype)}, too coarse to learn: let MODEL return "
                    "network.float(), or train the heads only"
                )
        self._weights = dict(learning.named_parameters()) | dict(learning.named_buffers())
        groups = self._groups(head_learning_rate_ratio, weight_decay)
        # A frozen network without exits has nothing to learn; torch wants to be given something. Fused, because
        # that saves a fifth of a training step where a large vocabulary meets short texts.
        self._optimiser = torch.optim.AdamW(groups or [{"params": [torch.zeros(0)], "ratio": 1.0}], fused=True)
        # Heads on a frozen backbone learn each alone: a large gradient of one must not slow the others.
        self._clipped = [list(head.parameters()) for head in network.heads] if frozen else [list(learning.parameters())]

    def step(
        self, arrays: Arrays, labels: NDArray[np.int64], weights: Sequence[float], learning_rate: float, seed: int
    ) -> list[float]:
        torch.manual_seed(seed)
        self._switch(training=True)
        logits = self._forward(arrays)
        truth = torch.from_numpy(labels)
        losses = [nn.functional.cross_entropy(logits[name], truth) for name in self.exits]
        values = [loss.item() for loss in losses]
        if self._parameters and np.isfinite(values).all():
            self._optimiser.zero_grad()
            total = [weight * loss for weight, loss in zip(weights, losses, strict=True) if weight]
            torch.stack(total).sum().backward()  # type: ignore[no-untyped-call]
            self._descend(learning_rate)
        return values

    def logits(self, arrays: Arrays) -> NDArray[np.float32]:
        self._switch(training=False)
        with torch.no_grad():
            logits = self._forward(arrays)
        return torch.stack([logits[name].float() for name in self.exits], dim=1).numpy()

    def features(self, arrays: Arrays) -> dict[str, NDArray[np.float32]]:
        """(batch, …) reduced features by exit name in eval mode; for the last exit the logits."""
        self._switch(training=False)
        with torch.no_grad():
            reduced = self.network.reduce(_tensors(arrays))
        return {name: tensor.float().numpy() for name, tensor in reduced.items()}

    def weights(self) -> State:
        return {name: tensor.detach().numpy().copy() for name, tensor in self._weights.items()}

    def load_weights(self, weights: State) -> None:
        with torch.no_grad():
            for name, tensor in self._weights.items():
                tensor.copy_(torch.from_numpy(weights[name]))

    def state(self) -> State:
        state = {f"weight {name}": array for name, array in self.weights().items()}
        for name, parameter in self._parameters.items():
            for moment, value in self._optimiser.state.get(parameter, {}).items():
                state[f"{moment} {name}"] = value.detach().numpy().copy()
        return state

    def load_state(self, state: State) -> None:
        marked = {key: value for key, value in state.items() if key.startswith("weight ")}
        self.load_weights({key.removeprefix("weight "): value for key, value in marked.items()})
        for key, value in state.items():
            moment, _, name = key.partition(" ")
            if moment != "weight":
                self._optimiser.state[self._parameters[name]][moment] = torch.from_numpy(value.copy())

    def _forward(self, arrays: Arrays) -> dict[str, torch.Tensor]:
        tensors = _tensors(arrays)
        return self.network.classify(tensors) if self._frozen else self.network(tensors)

    def _switch(self, training: bool) -> None:
        if self._frozen:
            self.network.heads.train(training)
        elif self.network.training != training:
            self.network.train(training)

    def _descend(self, learning_rate: float) -> None:
        for parameters in self._clipped:
            nn.utils.clip_grad_norm_(parameters, self._gradient_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate * group["ratio"]
        self._optimiser.step()

    def _groups(self, head_ratio: float, weight_decay: float) -> list[dict[str, Any]]:
        """Heads apart from the backbone, and what is decayed (matrices, kernels) apart from what is not."""
        in_heads = {id(parameter) for parameter in self.network.heads.parameters()}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in self._parameters.values():
            ratio = head_ratio if id(parameter) in in_heads else 1.0
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((ratio, decay), []).append(parameter)
        return [{"params": found, "ratio": r, "weight_decay": d} for (r, d), found in groups.items()]


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: from_numpy(array) for name, array in arrays.items()}


def _head(module: nn.Module) -> Any:
    """A head has ``reduce`` and ``classify``, which torch's types do not know."""
    return module
