"""Heads on a frozen ONNX network: ONNX Runtime computes the features, torch learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from edgepart.frameworks.onnx.part import Part
from edgepart.frameworks.onnx.program import Program
from edgepart.frameworks.torch.arrays import from_numpy, to_numpy
from edgepart.frameworks.torch.training import Exits
from edgepart.partitioning.stages import Stage


class OnnxExits(Exits):
    """An ONNX network and its torch heads; no gradient flows into the network.

    Args:
        final: the last stage as it is written, which answers with the network's own logits under the exit's name
    """

    def __init__(self, program: Program, stages: Sequence[Stage], heads: Mapping[str, nn.Module], final: Part) -> None:
        slices = [program.slice(stage.start, stage.stop) for stage in stages[:-1]]
        super().__init__([*slices, final], stages, heads, final.outputs[-1])

    def _run(self, part: Part, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        made = part.run(dict(zip(part.inputs, map(to_numpy, tensors), strict=True)))
        return [from_numpy(made[name]) for name in part.outputs]
