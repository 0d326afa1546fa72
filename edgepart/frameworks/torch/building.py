"""Heads on a captured torch network: compiled, trained with it or on it, written with its stages."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from edgepart.errors import CaptureError
from edgepart.frameworks.builder import Ending, HeadSize, class_count, read_by_head, require_use, vectors
from edgepart.frameworks.torch.capture import capture
from edgepart.frameworks.torch.classifier import describe_classifier
from edgepart.frameworks.torch.example import zeros
from edgepart.frameworks.torch.heads import check_head, compile_head, head_size
from edgepart.frameworks.torch.logits import Logits, ending_of
from edgepart.frameworks.torch.part import Part
from edgepart.frameworks.torch.training import MultiExit, TorchLearner, single
from edgepart.graph import Boundary, Graph, Tensor
from edgepart.partitioning.stages import Stage


class TorchBuilder:
    """Satisfies ``edgepart.frameworks.builder.Builder``; the user's model is copied and stays as it is."""

    def __init__(self, model: nn.Module, example: object) -> None:
        self._model = _copied(model)
        self.program = capture(self._model, example)
        self.ending: Ending = ending_of(self.program)
        self._heads: dict[str, nn.Module] = {}
        self._classes = 0

    @property
    def _graph(self) -> Graph:
        return self.program.graph

    def weights_digest(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def classifier(self, shape: Sequence[int | str]) -> list[str]:
        return describe_classifier(self.program, shape)

    def add_head(self, name: str, source: str, tensor: str, classes: int, seed: int) -> HeadSize:
        spec = self._graph.tensor(tensor)
        shape = tuple(zeros(spec.shape, spec.dtype, self._graph.symbols).shape[1:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = compile_head(source, f"{name}.py")
        check_head(head, shape, classes, f"the head of exit '{name}'")
        self._heads[name], self._classes = head, classes
        return head_size(head, shape)

    def learner(
        self,
        stages: Sequence[Stage],
        *,
        frozen: bool,
        head_learning_rate_ratio: float,
        weight_decay: float,
        gradient_norm: float,
    ) -> TorchLearner:
        return TorchLearner(
            MultiExit(self.program, stages, self._heads),
            frozen=frozen,
            head_learning_rate_ratio=head_learning_rate_ratio,
            weight_decay=weight_decay,
            gradient_norm=gradient_norm,
        )

    def stage(self, stage: Stage, passes_on: Sequence[str]) -> Part:
        part = self.program.slice(stage.start, stage.stop, share=True)
        require_use(stage, passes_on)
        read = read_by_head(stage, self._graph)
        inputs = _with(part.inputs, read if read not in part.outputs else None)
        head = self._heads[stage.exit] if stage.exit is not None and stage.tensor is not None else None
        own = Logits(self._graph, self.ending, part) if stage.exit is not None and head is None else None
        module = _StageModule(part, inputs, passes_on, read, own or head).eval()
        outputs = [self._graph.tensor(name) for name in passes_on]
        if stage.exit is not None:
            width = self._classes or class_count(self._graph) or 0
            outputs.append(vectors(stage.exit, width))
        return self._as_part(module, part, inputs, outputs)

    def router(self, stop: Boundary | None, tensor: str, mask: str | None) -> Part:
        part = self.program.slice(None, stop, share=True)
        inputs = _with(part.inputs, mask)
        module = _EmbeddingModule(part, inputs, tensor, mask).eval()
        width = self._graph.channels(tensor)
        assert isinstance(width, int)
        return self._as_part(module, part, inputs, [vectors("embedding", width)])

    def _as_part(self, module: nn.Module, part: Part, inputs: Sequence[str], outputs: Sequence[Tensor]) -> Part:
        specs = [self._graph.tensor(name) for name in inputs]
        held = [*module.named_parameters(), *module.named_buffers()]
        sizes = {name: tensor.nbytes for name, tensor in held}
        return Part(module, part.layers, specs, outputs, sizes, self._graph.symbols)


class _StageModule(nn.Module):
    """A slice and the head at its end: tensors in order to (what is passed on …, logits)."""

    def __init__(
        self,
        part: Part,
        inputs: Sequence[str],
        passes_on: Sequence[str],
        read: str | None,
        head: nn.Module | Logits | None,
    ) -> None:
        super().__init__()
        self.slice = part.module
        self.head = head
        self._inputs, self._part, self._passes_on, self._read = tuple(inputs), part, tuple(passes_on), read

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        known = dict(zip(self._inputs, tensors, strict=True))
        made = self.slice(*(known[name] for name in self._part.inputs))
        known.update(zip(self._part.outputs, made, strict=True))
        results = [known[name] for name in self._passes_on]
        if self._read is not None:
            assert self.head is not None
            results.append(self.head(single(known[self._read])))
        return tuple(results)


class _EmbeddingModule(nn.Module):
    """The first layers and the mean over tokens, or over height and width, of what they make."""

    def __init__(self, part: Part, inputs: Sequence[str], tensor: str, mask: str | None) -> None:
        super().__init__()
        self.slice = part.module
        self._part, self._inputs, self._tensor, self._mask = part, tuple(inputs), tensor, mask

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor]:
        known = dict(zip(self._inputs, tensors, strict=True))
        made = self.slice(*(known[name] for name in self._part.inputs))
        feature = dict(zip(self._part.outputs, made, strict=True))[self._tensor]
        if self._mask is not None and feature.ndim == 3:
            weight = known[self._mask].to(feature.dtype).unsqueeze(-1)
            pooled = (feature * weight).sum(1) / weight.sum(1).clamp(min=1)
        elif feature.ndim == 4:
            pooled = feature.mean((2, 3))
        elif feature.ndim == 3:
            pooled = feature.mean(1)
        else:
            # A network's first tensor may be its input itself, which an exported program must not return.
            pooled = feature.clone()
        return (pooled.float(),)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise CaptureError(
            f"the {type(model).__name__} cannot be copied to add heads to it: {type(error).__name__}: {reason}; keep "
            "only modules, parameters and plain values in it (torch.nn.utils.parametrizations instead of weight_norm)"
        ) from error


def _with(names: Sequence[str], more: str | None) -> tuple[str, ...]:
    return (*names, more) if more is not None and more not in names else tuple(names)
