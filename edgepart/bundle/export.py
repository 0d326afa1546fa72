"""The parts of a bundle: written stage by stage, read back, and compared with the network they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.manifest import PART, FileRecord, PartManifest, StageRecord
from edgepart.errors import BundleError
from edgepart.files import write_text
from edgepart.frameworks.base import Arrays, Framework, Part
from edgepart.frameworks.builder import Builder
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan
from edgepart.partitioning.stages import Stage, part_stages

#: largest difference between an artefact and its source, relative to the largest value
TOLERANCE = 1e-4


class PartWriter:
    """Writes the parts of one plan.

    Args:
        samples: batches of the network's inputs, of different sizes, that every artefact is tried on
    """

    def __init__(
        self, framework: Framework, builder: Builder, plan: Plan, classes: tuple[str, ...], samples: Sequence[Arrays]
    ) -> None:
        self._framework, self._builder, self._plan, self._classes = framework, builder, plan, classes
        self._samples = list(samples)
        self._known: list[dict[str, Any]] = []

    @property
    def _graph(self) -> Graph:
        return self._builder.program.graph

    def write(self, tier: str, folder: Path, sources: Mapping[str, str]) -> None:
        """Write a tier's part into ``folder``; nothing where it holds no layers. Tiers come in order.

        Raises:
            BundleError: an artefact gives something else than the network that it was exported from.
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
        (folder / "heads").mkdir(parents=True)
        records = []
        for number, stage in enumerate(stages):
            passes_on = () if nested and stage is stages[-1] else _made(stage, self._graph)
            records.append(self._write_stage(stage, passes_on, folder / f"stage_{number}.pt2"))
            if stage.exit is not None and stage.exit in sources:
                write_text(folder / "heads" / f"{stage.exit}.py", sources[stage.exit])
        PartManifest(
            framework=self._framework.name,
            runtime_version=self._framework.runtime_version(),
            tier=tier,
            classes=self._classes,
            inputs=inputs,
            outputs=outputs,
            stages=tuple(records),
        ).save(folder / PART)

    def _write_stage(self, stage: Stage, passes_on: Sequence[str], path: Path) -> StageRecord:
        source = self._builder.stage(stage, passes_on)
        source.save(path)
        difference, self._known = compare(self._framework, source, path, self._known)
        return StageRecord(
            file=path.name,
            inputs=source.inputs,
            outputs=tuple(passes_on),
            exit=stage.exit,
            difference=difference,
            record=FileRecord.of(path),
        )


def compare(
    framework: Framework, source: Part, path: Path, batches: Sequence[Mapping[str, Any]]
) -> tuple[float, list[dict[str, Any]]]:
    """Run an artefact beside its source.

    Returns:
        the largest absolute difference, and the batches with what the source made of them

    Raises:
        BundleError: it exceeds the tolerance.
    """
    artefact = framework.open_artefact(path)
    largest, known = 0.0, []
    for arrays in batches:
        expected, found = source.run(arrays), artefact.run(arrays)
        for name, array in expected.items():
            absolute, relative = _difference(array, found[name])
            if not relative <= TOLERANCE:
                raise BundleError(
                    f"the artefact {path.name} of {path.parent.name} makes another '{name}' than the network it was "
                    f"exported from (relative difference {relative:.1e}, at most {TOLERANCE:g} is tolerated): check "
                    "that the network gives the same answer twice, and try another version of "
                    f"{framework.name} than {framework.runtime_version()}"
                )
            largest = max(largest, absolute)
        known.append({**arrays, **expected})
    return largest, known


def _difference(expected: NDArray[Any], found: NDArray[Any]) -> tuple[float, float]:
    """Largest absolute difference, and the same relative to the largest expected value."""
    if expected.shape != found.shape:
        return np.inf, np.inf
    if not expected.size:
        return 0.0, 0.0
    first, second = expected.astype(np.float64), found.astype(np.float64)
    # Masks hold -inf where attention must not look; equal infinities differ by nothing.
    gaps = np.where(first == second, 0.0, np.abs(first - second))
    scale = float(np.abs(first[np.isfinite(first)]).max(initial=0.0))
    absolute = float(gaps.max())
    return absolute, absolute / scale if scale else absolute


def _made(stage: Stage, graph: Graph) -> tuple[str, ...]:
    """What a stage makes that later layers read."""
    if stage.stop is None:
        return ()
    before = stage.start.layers if stage.start is not None else frozenset()
    inside = stage.stop.layers - before
    return tuple(name for name in graph.crossing(stage.stop.layers) if graph.tensor(name).producer in inside)
