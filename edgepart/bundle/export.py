"""The parts of a bundle: written stage by stage, and held to the network they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepart.bundle.comparison import compare
from edgepart.bundle.manifest import PART, FileRecord, PartManifest, StageRecord
from edgepart.bundle.targets import Target
from edgepart.frameworks.base import Arrays, Framework
from edgepart.frameworks.builder import Builder
from edgepart.graph import Graph, Tensor
from edgepart.partitioning.plan import Plan
from edgepart.partitioning.stages import Stage, part_stages


class PartWriter:
    """Writes the parts of one plan.

    Args:
        targets: what each tier's part is written for
        trials: batches of the network's inputs, of different sizes, that every artefact is tried on
        calibration: batches that int8 takes its ranges from; artefacts are tried on them too
        mask: the input (batch, sequence) that marks the positions that count, if there is one
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
        mask: Tensor | None = None,
    ) -> None:
        self._framework, self._targets, self._builder = framework, targets, builder
        self._plan, self._classes = plan, classes
        self._trials, self._samples = len(trials), [*trials, *calibration]
        self._mask, self._known = mask, list[dict[str, Any]]()

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
        difference, self._known = compare(target, source, path, self._known, tolerance, self._mask)
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


def _made(stage: Stage, graph: Graph) -> tuple[str, ...]:
    """What a stage makes that later layers read."""
    if stage.stop is None:
        return ()
    before = stage.start.layers if stage.start is not None else frozenset()
    inside = stage.stop.layers - before
    return tuple(name for name in graph.crossing(stage.stop.layers) if graph.tensor(name).producer in inside)
