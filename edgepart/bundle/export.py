"""The parts of a bundle: written stage by stage, read back, and compared with the network they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.manifest import PART, FileRecord, PartManifest, StageRecord
from edgepart.bundle.targets import Target
from edgepart.errors import ExportError
from edgepart.frameworks.base import Arrays, Framework, Part
from edgepart.frameworks.builder import Builder
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan
from edgepart.partitioning.stages import Stage, part_stages


class PartWriter:
    """Writes the parts of one plan.

    Args:
        targets: what each tier's part is written for
        trials: batches of the network's inputs, of different sizes, that every artefact is tried on
        calibration: batches that int8 takes its ranges from; artefacts are tried on them too
    """

    def __init__(
        self,
        framework: Framework,
        targets: Mapping[str, Target],
        builder: Builder,
        plan: Plan,
        classes: tuple[str, ...],
        trials: Sequence[Arrays],
        calibration: Sequence[Arrays],
    ) -> None:
        self._framework, self._targets, self._builder = framework, targets, builder
        self._plan, self._classes = plan, classes
        self._trials, self._samples = len(trials), [*trials, *calibration]
        self._known: list[dict[str, Any]] = []

    @property
    def _graph(self) -> Graph:
        return self._builder.program.graph

    def write(self, tier: str, folder: Path) -> None:
        """Write a tier's part into ``folder``; nothing where it holds no layers. Tiers come in order.

        Raises:
            ExportError: the runtime cannot hold the part, or an artefact gives something else than the network that it
                was exported from.
        """
        stages = part_stages(self._plan, self._graph, tier)
        if not stages:
            return
        nested = self._plan.deployment == "nested"
        if nested or not self._known:
            self._known = [dict(arrays) for arrays in self._samples]
        inputs = self._graph.inputs if stages[0].start is None else self._graph.crossing(stages[0].start.layers)
        end = stages[-1].stop
        outputs = () if nested or end is None else self._graph.crossing(end.layers)
        folder.mkdir(parents=True)
        target, records = self._targets[tier], []
        for number, stage in enumerate(stages):
            passes_on = () if nested and stage is stages[-1] else _made(stage, self._graph)
            records.append(self._write_stage(stage, passes_on, folder / f"stage_{number}{target.runtime.suffix}"))
        PartManifest(
            framework=self._framework.name,
            runtime=target.runtime.name,
            runtime_version=target.runtime.version(),
            precision=target.precision,
            tier=tier,
            classes=self._classes,
            inputs=inputs,
            outputs=outputs,
            stages=tuple(records),
        ).save(folder / PART)

    def _write_stage(self, stage: Stage, passes_on: Sequence[str], path: Path) -> StageRecord:
        source, target = self._builder.stage(stage, passes_on), self._targets[stage.tier]
        samples = [{name: arrays[name] for name in source.inputs} for arrays in self._known[self._trials :]]
        target.runtime.write(source, path, precision=target.precision, samples=samples)
        tolerance = target.tolerance(source, self._graph)
        difference, self._known = compare(target, source, path, self._known, tolerance)
        # What belongs to the artefact beside it (its signature, weights of more than 2 GB) is named after it.
        files = [path, *path.rglob("*"), *path.parent.glob(f"{path.name}.*")]
        return StageRecord(
            file=path.name,
            inputs=source.inputs,
            outputs=tuple(passes_on),
            exit=stage.exit,
            difference=difference,
            tolerance=tolerance,
            files={each.relative_to(path.parent).as_posix(): FileRecord.of(each) for each in files if each.is_file()},
        )


def compare(
    target: Target, source: Part, path: Path, batches: Sequence[Mapping[str, Any]], tolerance: float
) -> tuple[float, list[dict[str, Any]]]:
    """Run an artefact beside its source.

    A difference is that of the element that differs most, relative to the largest value in any of the batches: one
    undecided sample has logits near nought, beside which any rounding is large. In int8 it is the root of the mean
    square over all elements, relative to that of the values: at positions that a mask hides, and no later layer reads,
    single features of transformers come and go with the rounding.

    Args:
        tolerance: the largest difference that passes, see :meth:`edgepart.bundle.targets.Target.tolerance`

    Returns:
        the largest difference, relative to the largest value, and the batches with what the source made of them

    Raises:
        ExportError: it exceeds the tolerance.
    """
    artefact, types = target.runtime.open(path), {spec.name: spec.dtype for spec in source.signature.outputs}
    answers = [source.run(arrays) for arrays in batches]
    made = [artefact.run(arrays) for arrays in batches]
    measure, largest = _mean_difference if target.precision == "int8" else _largest_difference, 0.0
    for name in source.outputs:
        tensors = [(known[name], found[name]) for known, found in zip(answers, made, strict=True)]
        difference = np.inf
        if all(known.shape == found.shape and known.dtype == found.dtype for known, found in tensors):
            difference = measure([tuple(_numbers(each, types[name]) for each in pair) for pair in tensors])
        if not difference <= tolerance:
            raise ExportError(
                f"the artefact {path.name} of {path.parent.name} makes another '{name}' than the network it was "
                f"exported from (relative difference {difference:.1e}, at most {tolerance:g} is tolerated): "
                f"{_advice(target)}"
            )
        largest = max(largest, difference)
    return largest, [{**arrays, **known} for arrays, known in zip(batches, answers, strict=True)]


def _advice(target: Target) -> str:
    if target.precision != "float32":
        return f"give this tier a finer precision than {target.precision}, or another runtime"
    return (
        "check that the network gives the same answer twice, and try another runtime, or another version of "
        f"{target.runtime.name} than {target.runtime.version()}"
    )


def _largest_difference(pairs: Sequence[tuple[NDArray[np.float64], ...]]) -> float:
    """Of expected and found tensors: the largest of their elements, relative to the largest expected value."""
    gaps = [float(_gaps(*pair).max(initial=0.0)) for pair in pairs]
    scale = max(float(np.abs(known[np.isfinite(known)]).max(initial=0.0)) for known, _ in pairs)
    return float(np.max(gaps)) / (scale or 1.0)


def _mean_difference(pairs: Sequence[tuple[NDArray[np.float64], ...]]) -> float:
    """Of expected and found tensors: the root mean square, relative to that of the expected values."""
    gaps = sum(float(np.square(_gaps(*pair)).sum()) for pair in pairs)
    scale = sum(float(np.square(known[np.isfinite(known)]).sum()) for known, _ in pairs)
    return float(np.sqrt(gaps / (scale or 1.0)))


def _gaps(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitudes; masks hold -inf where attention must not look, and equal infinities differ by nothing."""
    with np.errstate(invalid="ignore"):
        return np.where(expected == found, 0.0, np.abs(expected - found))


def _numbers(array: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """The values of an array; bfloat16, which NumPy lacks, travels as its bits, the upper half of those of float32."""
    if dtype == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def _made(stage: Stage, graph: Graph) -> tuple[str, ...]:
    """What a stage makes that later layers read."""
    if stage.stop is None:
        return ()
    before = stage.start.layers if stage.start is not None else frozenset()
    inside = stage.stop.layers - before
    return tuple(name for name in graph.crossing(stage.stop.layers) if graph.tensor(name).producer in inside)
