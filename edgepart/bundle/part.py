"""A part of a bundle: a chain of artefacts that runs from its folder alone."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.manifest import PART, PartManifest, StageRecord, verify
from edgepart.errors import BundleError, FileError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.runtimes import Artefact, Runtime, runtime

Logits = NDArray[np.float32]


class BundlePart:
    """What one tier runs, stage by stage; a stage ends at an exit or at the end of the part.

    Attributes:
        tier: name of the tier
        exits: names of its exits in order
        inputs: the tensors it is given: the network's inputs, or those that cross from the part before
        outputs: the tensors that it passes on to the next part, some of them perhaps inputs that it does not touch
    """

    def __init__(self, folder: Path, manifest: PartManifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.tier, self.inputs, self.outputs = manifest.tier, manifest.inputs, manifest.outputs
        self.exits = tuple(stage.exit for stage in manifest.stages if stage.exit is not None)

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run all stages on a batch.

        Returns:
            the logits (batch, C) of every exit by its name, and the crossing tensors (:attr:`outputs`) by theirs

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the network takes.
        """
        found: dict[str, NDArray[np.generic]] = {}
        known = dict(arrays)
        for stage, known in self._stages(arrays):
            if stage.exit is not None:
                found[stage.exit] = known[stage.exit]
        return found | {name: known[name] for name in self.outputs}

    def stages(self, arrays: Arrays) -> Generator[tuple[str, Logits], None, dict[str, NDArray[np.generic]]]:
        """Run stage by stage: (exit, logits) of every exit in order.

        A stage runs when it is asked for, so whoever stops asking saves the rest. The generator's return value (of
        ``yield from``, ``StopIteration.value``) holds the crossing tensors.
        """
        known: dict[str, Any] = dict(arrays)
        for stage, known in self._stages(arrays):
            if stage.exit is not None:
                yield stage.exit, known[stage.exit]
        return {name: known[name] for name in self.outputs}

    def _stages(self, arrays: Arrays) -> Iterator[tuple[StageRecord, dict[str, Any]]]:
        known: dict[str, Any] = dict(arrays)
        for number, stage in enumerate(self.manifest.stages):
            known = {**known, **self.step(number, known)}
            yield stage, known

    def step(self, number: int, known: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run one stage on tensors by name, of which it takes what it reads.

        Returns:
            the tensors that it makes by name, and the logits (batch, C) of its exit by the exit's
        """
        stage = self.manifest.stages[number]
        return self._artefact(number).run({name: known[name] for name in stage.inputs if name in known})

    @property
    def stage_count(self) -> int:
        """Stages, with exits or without."""
        return len(self.manifest.stages)

    def needed(self, number: int) -> set[str]:
        """Names of the tensors that stages from ``number`` on read, or that are passed on to the next part."""
        return {name for stage in self.manifest.stages[number:] for name in stage.inputs} | set(self.outputs)

    def _artefact(self, number: int) -> Artefact:
        """The artefact of a stage, opened when it is first needed."""
        if number not in self._opened:
            path = self.folder / self.manifest.stages[number].file
            self._opened[number] = self._runtime.open(path)
        return self._opened[number]

    @cached_property
    def _opened(self) -> dict[int, Artefact]:
        return {}

    @cached_property
    def _runtime(self) -> Runtime:
        return runtime(self.manifest.runtime)

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use, for what has not been run yet."""
        self._runtime.set_threads(count)


def open_part(folder: str | Path) -> BundlePart:
    """Open a part from its folder; no other file of the bundle is needed.

    Raises:
        BundleError: a file is missing, cut short or changed, or of another version.
    """
    path = Path(folder)
    try:
        manifest = PartManifest.load(path / PART)
    except FileError as error:
        raise BundleError(str(error)) from error
    for stage in manifest.stages:
        verify(path, stage.files)
    return BundlePart(path, manifest)
