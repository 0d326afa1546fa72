"""Heads on a captured ONNX network: they learn in torch and are written as nodes of its stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from edgepart.errors import TrainingError
from edgepart.frameworks.builder import Ending, HeadSize, class_count, read_by_head, require_use, vectors
from edgepart.frameworks.onnx.capture import capture
from edgepart.frameworks.onnx.classifier import describe_classifier
from edgepart.frameworks.onnx.logits import ending_of, own_logits
from edgepart.frameworks.onnx.merge import Draft, export_head
from edgepart.frameworks.onnx.part import Part
from edgepart.frameworks.onnx.training import OnnxExits
from edgepart.frameworks.torch.heads import check_head, compile_head, head_size
from edgepart.frameworks.torch.training import TorchLearner
from edgepart.graph import Boundary, Graph, Tensor
from edgepart.graph.sizes import evaluate_size
from edgepart.partitioning.stages import Stage


class OnnxBuilder:
    """Satisfies ``edgepart.frameworks.builder.Builder``; the user's model stays as it is."""

    def __init__(self, model: object, example: object) -> None:
        self.program = capture(model, example)
        self.ending: Ending = ending_of(self.program)
        self._heads: dict[str, nn.Module] = {}
        self._classes = 0

    @property
    def _graph(self) -> Graph:
        return self.program.graph

    def weights_digest(self) -> str:
        return self.program.weights_digest()

    def classifier(self, shape: Sequence[int | str]) -> list[str]:
        return describe_classifier(self.program, shape)

    def add_head(self, name: str, source: str, tensor: str, classes: int, seed: int) -> HeadSize:
        spec, what = self._graph.tensor(tensor), f"the head of exit '{name}'"
        shape = [evaluate_size(size, self._graph.symbols) for size in spec.shape[1:]]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = compile_head(source, f"{name}.py")
        check_head(head, shape, classes, what)
        # What cannot be written must not be trained first.
        export_head(head, spec, self._graph.symbols, 0, what)
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
        """What trains the heads.

        Raises:
            TrainingError: the network itself is to learn, which no runtime of ONNX does.
        """
        if not frozen:
            raise TrainingError(
                "an ONNX network cannot be trained further: train the heads only (--train heads), or train the network "
                "in the framework that it came from and export it again"
            )
        return TorchLearner(
            OnnxExits(self.program, stages, self._heads, self.stage(stages[-1], ())),
            frozen=True,
            head_learning_rate_ratio=head_learning_rate_ratio,
            weight_decay=weight_decay,
            gradient_norm=gradient_norm,
        )

    def stage(self, stage: Stage, passes_on: Sequence[str]) -> Part:
        part = self.program.slice(stage.start, stage.stop)
        require_use(stage, passes_on)
        read = read_by_head(stage, self._graph)
        draft = Draft(part, self._with(part, read))
        kept = [self._graph.tensor(name) for name in passes_on]
        if stage.exit is None or read is None:
            return draft.finish(kept, {})
        if stage.tensor is None:
            logits = own_logits(draft, self._graph, self.ending)
        else:
            what = f"the head of exit '{stage.exit}'"
            head = export_head(
                self._heads[stage.exit], self._graph.tensor(read), self._graph.symbols, draft.opset, what
            )
            if draft.opset < head.graph.opset_imports[""]:
                draft.raise_opset(head.graph.opset_imports[""])
            logits = draft.attach(head, draft.single(self._graph.tensor(read)), stage.exit)
        width = self._classes or class_count(self._graph) or 0
        return draft.finish(kept, {stage.exit: (logits, vectors(stage.exit, width))})

    def router(self, stop: Boundary | None, tensor: str, mask: str | None) -> Part:
        part, spec = self.program.slice(None, stop), self._graph.tensor(tensor)
        draft = Draft(part, self._with(part, mask))
        value, width = draft.value(tensor), self._graph.channels(tensor)
        assert isinstance(width, int)
        if len(spec.shape) == 4:
            value = draft.add("Flatten", draft.add("GlobalAveragePool", value))
        elif len(spec.shape) == 3:
            value = _mean_over_tokens(draft, value, None if mask is None else draft.value(mask))
        return draft.finish([], {"embedding": (value, vectors("embedding", width))})

    def _with(self, part: Part, more: str | None) -> list[Tensor]:
        """What a part reads, and one tensor more where it neither reads nor makes it."""
        names = [*part.inputs]
        if more is not None and more not in (*part.inputs, *part.outputs):
            names.append(more)
        return [self._graph.tensor(name) for name in names]


def _mean_over_tokens(draft: Draft, tokens: ir.Value, mask: ir.Value | None) -> ir.Value:
    """(batch, sequence, D) → (batch, D), over the positions where the mask is 1."""
    if mask is None:
        return draft.add("Flatten", draft.add("GlobalAveragePool", draft.add("Transpose", tokens, perm=[0, 2, 1])))
    one, first, last = (ir.tensor(np.array(value)) for value in (1.0, [1], [2]))
    weight = draft.add("Unsqueeze", draft.add("CastLike", mask, tokens), last)
    total = draft.add("ReduceSum", draft.add("Mul", tokens, weight), first, keepdims=0)
    count = draft.add("ReduceSum", weight, first, keepdims=0)
    return draft.add("Div", total, draft.add("Max", count, draft.add("CastLike", one, tokens)))
