"""A bundle on disk: parts that run, the plan they follow, and what a router and a strategy need to know."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.chosen import ChosenPolicy
from edgepart.bundle.manifest import MANIFEST, Manifest, verify
from edgepart.bundle.part import BundlePart, open_part
from edgepart.bundle.training_record import TrainingRecord
from edgepart.data.preprocessing import Preprocessing
from edgepart.dispatch.base import Policy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.trace import Trace
from edgepart.errors import BundleError, FileError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.runtimes import Artefact, runtime
from edgepart.frameworks.signature import Signature
from edgepart.graph import Graph
from edgepart.hardware import Profile
from edgepart.partitioning.plan import Plan

PLAN, GRAPH, PROFILE, TRAINING = "plan.json", "graph.json", "profile.json", "training.json"
PARTS, HEADS, ROUTER, TRACE = "parts", "heads", "router/embed", "validation.trace.safetensors"
#: chosen after the bundle was built, and perhaps anew: not among the files that the manifest seals
POLICY = "policy.json"


class Bundle:
    """An opened bundle; :func:`open_bundle` makes one.

    Attributes:
        path: its folder
        manifest: what it says about itself
        plan: with the head of every exit filled in
        parts: by the name of the tier, in order; a tier without layers has none
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self.plan = Plan.load(path / PLAN)
        tiers = [tier for tier in manifest.tiers if (path / PARTS / tier).is_dir()]
        self.parts: dict[str, BundlePart] = {tier: open_part(path / PARTS / tier) for tier in tiers}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    @property
    def exits(self) -> tuple[str, ...]:
        """All exits in order, the network's own classifier last."""
        return self.manifest.exits

    @cached_property
    def validation(self) -> Trace:
        """Logits, embeddings and dynamics of the validation split, recorded in training."""
        return Trace.load(self.path / TRACE)

    @property
    def validation_sha256(self) -> str:
        """Of the validation trace's file."""
        return self.manifest.files[TRACE].sha256

    @cached_property
    def chosen(self) -> ChosenPolicy:
        """What the bundle answers by unless told otherwise; :meth:`keep` writes it.

        Raises:
            BundleError: it keeps no policy, or a damaged one, or one of another bundle.
        """
        path = self.path / POLICY
        if not path.is_file():
            raise BundleError(f"{self.path} keeps no policy: give one, or choose one with 'edgepart choose'")
        try:
            found = ChosenPolicy.load(path)
        except FileError as error:
            raise BundleError(str(error)) from error
        found.require_of(self)
        return found

    @cached_property
    def policy(self) -> Policy:
        """The policy of :attr:`chosen`, made once: one that adapts goes on learning as long as the bundle is open.

        Raises:
            BundleError: as :attr:`chosen`, or its strategy has no such setting.
            DispatchError: its strategy cannot learn from the bundle.
        """
        return self.chosen.policy(self)

    def keep(self, chosen: ChosenPolicy) -> None:
        """Keep a policy in the bundle, in place of an earlier one.

        Raises:
            BundleError: it was chosen on another bundle.
            FileError: it cannot be written.
        """
        chosen.require_of(self)
        chosen.save(self.path / POLICY)
        for name in ("chosen", "policy"):
            self.__dict__.pop(name, None)

    @cached_property
    def graph(self) -> Graph:
        """The network that was cut."""
        return Graph.load(self.path / GRAPH)

    @cached_property
    def signature(self) -> Signature:
        """What the network is given and gives back."""
        graph = self.graph
        return Signature.of(
            [graph.tensor(name) for name in graph.inputs], [graph.tensor(name) for name in graph.outputs], graph.symbols
        )

    @cached_property
    def layout(self) -> Layout:
        """Where its exits lie."""
        tiers = self.plan.tier_names
        return Layout(tiers, tuple(tiers.index(tier) for tier in self.plan.exit_tiers))

    @cached_property
    def training(self) -> TrainingRecord:
        """How its heads were trained and what came of it."""
        return TrainingRecord.load(self.path / TRAINING)

    @cached_property
    def profile(self) -> Profile | None:
        """The profile it was planned from, where ``build`` was given it."""
        path = self.path / PROFILE
        return Profile.load(path) if path.exists() else None

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How raw samples become the network's inputs."""
        return Preprocessing.load(self.path)

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use; call it before anything runs."""
        runtime(self.manifest.router.runtime).set_threads(count)
        for part in self.parts.values():
            part.set_threads(count)

    def embed(self, arrays: Arrays) -> NDArray[np.float32]:
        """(batch, D): what the router sees of every sample, from the network's inputs by name."""
        return self._router.run(arrays)["embedding"].astype(np.float32, copy=False)

    @cached_property
    def _router(self) -> Artefact:
        return runtime(self.manifest.router.runtime).open(self.path / self.manifest.router.file)


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle after checking every file in it.

    Raises:
        BundleError: no bundle is there, a file is missing, cut short or changed (named with its hash), or it was
            written by an edgepart of another format version.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        if folder.is_dir():
            what = "is not a bundle: it has no manifest.json"
        else:
            what = "is a file, expected a bundle's folder" if folder.exists() else "does not exist"
        raise BundleError(f"{folder} {what}; give the folder that 'edgepart build' wrote")
    try:
        manifest = Manifest.load(folder / MANIFEST)
        manifest.check_seal(folder / MANIFEST)
        verify(folder, manifest.files)
        return Bundle(folder, manifest)
    except FileError as error:
        raise BundleError(str(error)) from error
