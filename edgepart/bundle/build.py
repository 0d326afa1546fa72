"""From a network, a plan and labelled data to a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.answers import embed_all, record_logits
from edgepart.bundle.bundle import GRAPH, HEADS, PARTS, PLAN, PROFILE, ROUTER, TRACE, TRAINING, Bundle, open_bundle
from edgepart.bundle.comparison import compare
from edgepart.bundle.export import PartWriter
from edgepart.bundle.heads import Heads, add_heads
from edgepart.bundle.manifest import MANIFEST, Manifest, RouterRecord, survey
from edgepart.bundle.part import open_part
from edgepart.bundle.router import mask_input, router_place
from edgepart.bundle.targets import Target, choose_targets, planned_runtimes, router_target
from edgepart.bundle.training_record import EpochRecord, ExitRecord, TrainingRecord
from edgepart.bundle.workspace import Say, Workspace, digest_dataset, digest_preprocessing, digest_text
from edgepart.data import Dataset, Preprocessing, load_dataset, preprocessing_for, require_every_class, split_dataset
from edgepart.dispatch.trace import Trace
from edgepart.errors import DataError, ExportError, PlanError, ProfileError, TrainingInterrupted
from edgepart.exits.template import Value
from edgepart.files import write_text
from edgepart.frameworks import framework_of
from edgepart.frameworks.base import Framework
from edgepart.frameworks.builder import Builder, class_count, is_single
from edgepart.frameworks.runtimes import runtime
from edgepart.graph import Graph
from edgepart.hardware import Profile
from edgepart.partitioning.plan import Plan
from edgepart.partitioning.stages import chain
from edgepart.progress import progress
from edgepart.training import Fitted, TrainingSettings, train
from edgepart.training.interrupt import Stop, stop_on_interrupt

#: share of the data set aside where no validation data is given
VALIDATION_SHARE = 0.1
#: samples of the batches that every artefact is tried on
_TRIALS = (1, 5)
#: training samples that int8 takes its ranges from
CALIBRATION_SAMPLES = 64


def build(
    model: object,
    plan: Plan,
    data: Dataset | str | Path,
    *,
    output: str | Path,
    example: object = None,
    preprocessing: Preprocessing | Mapping[str, object] | None = None,
    classes: tuple[str, ...] | None = None,
    validation: Dataset | str | Path | None = None,
    head: str | None = None,
    head_parameters: Mapping[str, Value] | None = None,
    runtimes: Mapping[str, str] | None = None,
    precisions: Mapping[str, str] | None = None,
    settings: TrainingSettings | None = None,
    profile: Profile | None = None,
    threads: int | None = None,
    say: Say = lambda text: None,
    stop: Stop | None = None,
) -> Bundle:
    """Render and train the heads, cut the network into parts and write them with all that belongs to them.

    The bundle grows in ``<output>.partial``; after an interruption the same call goes on from there, and on one thread
    ends with the same bundle.

    Args:
        model: a network of a framework that edgepart knows, or what the command line takes (``file.py:function``,
            ``hf:FOLDER``); it is copied and not changed
        data: samples to train on
        output: folder of the bundle; an older bundle there is replaced once the new one is complete
        example: inputs to capture the network with, batch first; not needed with a string
        preprocessing: turns raw samples into inputs; None: arrays go in as they are
        classes: in the order of the logits; None derives them from the data
        validation: None sets a tenth of every class aside
        head: template name or path of a ``.py.j2``; None takes the plan's choice, or ``linear``
        runtimes: tier → what its part is written for, such as ``{"mobile": "executorch"}``; for tiers that are not
            named the runtime that the plan was made for, or the framework's own where that one cannot be written
        precisions: tier → ``float32``, ``float16`` or ``int8``; float32 for tiers that are not named
        settings: None trains the heads on the frozen network
        profile: kept in the bundle
        threads: that one operation may use in this process; None leaves the framework's default
        say: told what the user may want to know
        stop: asked after every step whether to save and end; None: Ctrl-C asks

    Raises:
        PlanError: the plan is of another network.
        ProfileError: the profile is of another network than the plan.
        DataError: labels outside the classes, an empty class, other classes than the network has logits.
        TemplateError: a head cannot be rendered, compiled or run.
        TrainingError: training diverges.
        TrainingInterrupted: it was asked to stop; says how to go on.
        ExportError: a runtime cannot hold a part, or an artefact gives something else than the network. The training
            is kept: the same call with another runtime goes on from there.
        BundleError: something is in the way of the output.
        MissingExtra: a package that a runtime, or writing for it, needs is not installed; found before the training.
    """
    work = Workspace(Path(output))
    work.check()
    if profile is not None and profile.graph.fingerprint != plan.fingerprint:
        raise ProfileError(
            f"the profile is of the network '{profile.graph.name}' ({profile.graph.fingerprint}), the plan of "
            f"'{plan.network}' ({plan.fingerprint}): give the profile that it was planned from"
        )
    if isinstance(model, str):
        from edgepart.frameworks.model import load_model

        loaded = load_model(model)
        model, example = loaded.model, loaded.example if example is None else example
        preprocessing, classes = preprocessing or loaded.preprocessing, classes or loaded.classes
        for text in loaded.notes:
            say(text)
    settings = settings or TrainingSettings.for_mode("heads")
    framework = framework_of(model)
    wanted = planned_runtimes(framework, plan) | dict(runtimes or {})
    targets = choose_targets(framework, plan.tier_names, wanted, precisions or {})
    for target in targets.values():
        target.runtime.version()  # a package that is missing is told before the training, not after
    if threads is not None:
        framework.set_threads(threads)
        for target in targets.values():
            target.runtime.set_threads(threads)
    builder = framework.builder(model, example)
    plan.require(builder.program.graph)
    outputs = builder.program.graph.outputs
    if len(outputs) > 1:
        say(f"the network returns {len(outputs)} tensors: the first, '{outputs[0]}', is taken for the logits")
    source = _Source(builder.program.graph, preprocessing, classes)
    training, held_out = source.read(data, validation, settings.seed)
    if is_single(builder.program.graph):
        what = "probability" if builder.ending == "sigmoid" else "logit"
        say(f"the network gives one number a sample, which is taken for the {what} of '{training.classes[1]}'")
    heads = add_heads(builder, plan, len(training.classes), head, head_parameters or {}, settings.seed)
    _check_names(heads.plan, builder.program.graph)
    request = {
        "edgepart version": version("edgepart"),
        "framework version": framework.version(),
        "plan": digest_text(heads.plan.model_dump_json()),
        "heads": digest_text(*heads.sources.values()),
        "settings": settings.model_dump_json(),
        "training data": digest_dataset(training),
        "validation data": digest_dataset(held_out),
        "preprocessing": digest_preprocessing(source.preprocessing),
        "weights": builder.weights_digest(),
    }
    job = _Job(framework, targets, builder, heads, source.preprocessing, settings, training, held_out, profile, say)
    with work.opened(request, say):
        if stop is not None:
            job.run(work, stop)
        else:
            with stop_on_interrupt() as asked:
                job.run(work, asked)
    return open_bundle(output)


@dataclass(frozen=True)
class _Job:
    """Everything that a build needs, checked."""

    framework: Framework
    targets: Mapping[str, Target]
    builder: Builder
    heads: Heads
    preprocessing: Preprocessing
    settings: TrainingSettings
    training: Dataset
    validation: Dataset
    profile: Profile | None
    say: Say

    @property
    def graph(self) -> Graph:
        return self.builder.program.graph

    @property
    def plan(self) -> Plan:
        return self.heads.plan

    def run(self, work: Workspace, stop: Stop) -> None:
        stages = chain(self.plan, self.graph)
        fitted, _ = train(self.builder, stages, self.training, self.validation, self.settings, work.state, stop)
        self._write_parts(work.bundle, stop)
        router = self._write_router(work.bundle)
        logits = self._deployed_logits(work.bundle, fitted)
        self._write_trace(work.bundle, fitted, logits, router)
        self._write_documents(work.bundle, fitted, logits, router)

    def _write_parts(self, folder: Path, stop: Stop) -> None:
        count = len(self.validation)
        trials = [self.validation.batch(range(min(size, count))) for size in _TRIALS]
        quantised = any(target.precision == "int8" for target in self.targets.values())
        calibration = self._calibration() if quantised else []
        mask = mask_input(self.graph, self.preprocessing)
        writer = PartWriter(
            self.framework,
            self.targets,
            self.builder,
            self.plan,
            self.training.classes,
            trials,
            calibration,
            None if mask is None else self.graph.tensor(mask),
        )
        with progress("writing parts", len(self.plan.tier_names)) as advance:
            for tier in self.plan.tier_names:
                if stop():
                    raise TrainingInterrupted(
                        "stopped; the training is done and saved: run the same command again to go on"
                    )
                writer.write(tier, folder / PARTS / tier)
                advance(1)

    def _calibration(self) -> list[dict[str, NDArray[np.generic]]]:
        """Batches of training samples, of every class alike, that int8 takes its ranges from."""
        order = np.random.default_rng(self.settings.seed).permutation(len(self.training))[:CALIBRATION_SAMPLES]
        return [self.training.batch(chunk) for chunk in np.array_split(order, max(1, len(order) // 8))]

    def _write_router(self, folder: Path) -> RouterRecord:
        target = router_target(self.targets, next(tier.name for tier in self.plan.tiers if tier.layers))
        try:
            return self._write_router_for(target, folder)
        except ExportError as error:
            own = Target(runtime(self.framework.runtime))
            if target.runtime.name == own.runtime.name:
                raise
            # It may read layers that lie on later tiers, in runtimes that do hold them.
            self.say(f"the router runs in {own.runtime.name}, as {target.runtime.name} cannot hold it: {error}")
            shutil.rmtree((folder / ROUTER).parent)
            return self._write_router_for(own, folder)

    def _write_router_for(self, target: Target, folder: Path) -> RouterRecord:
        place, tensor = router_place(self.graph)
        router = self.builder.router(place, tensor, mask_input(self.graph, self.preprocessing))
        path = folder / f"{ROUTER}{target.runtime.suffix}"
        path.parent.mkdir()
        target.runtime.write(router, path)
        trial = self.validation.batch(range(min(5, len(self.validation))))
        compare(target, router, path, [trial], target.tolerance(router, self.graph))
        return RouterRecord(file=path.relative_to(folder).as_posix(), runtime=target.runtime.name)

    def _deployed_logits(self, folder: Path, fitted: Fitted) -> NDArray[np.float32]:
        """(N, K, C) what the exits answer to the validation samples on their runtimes and in their precision."""
        if all(target.is_native(self.framework) for target in self.targets.values()):
            return fitted.logits
        found = {tier: folder / PARTS / tier for tier in self.plan.tier_names}
        parts = {tier: open_part(path) for tier, path in found.items() if path.is_dir()}
        return record_logits(parts, self.plan, self.validation, self.settings.batch_size)

    def _write_trace(self, folder: Path, fitted: Fitted, logits: NDArray[np.float32], router: RouterRecord) -> None:
        opened = runtime(router.runtime).open(folder / router.file)
        Trace(
            logits=logits,
            labels=self.validation.labels,
            embeddings=embed_all(
                lambda arrays: opened.run(arrays)["embedding"].astype(np.float32, copy=False),
                self.validation,
                self.settings.batch_size,
            ),
            exits=self.plan.exit_names,
            exit_tiers=self.plan.exit_tiers,
            tiers=self.plan.tier_names,
            classes=self.training.classes,
            dynamics=fitted.dynamics,
        ).save(folder / TRACE)

    def _write_documents(self, folder: Path, fitted: Fitted, logits: NDArray[np.float32], router: RouterRecord) -> None:
        self.plan.save(folder / PLAN)
        (folder / HEADS).mkdir()
        for name, source in self.heads.sources.items():
            write_text(folder / HEADS / f"{name}.py", source)
        self.graph.save(folder / GRAPH)
        self.preprocessing.save(folder)
        self._training_record(fitted, logits).save(folder / TRAINING)
        if self.profile is not None:
            self.profile.save(folder / PROFILE)
        manifest = Manifest(
            edgepart_version=version("edgepart"),
            network=self.graph.name,
            fingerprint=self.graph.fingerprint,
            framework=self.framework.name,
            framework_version=self.framework.version(),
            router=router,
            deployment=self.plan.deployment,
            tiers=self.plan.tier_names,
            exits=self.plan.exit_names,
            classes=self.training.classes,
            files=survey(folder),
        )
        manifest.sealed().save(folder / MANIFEST)

    def _training_record(self, fitted: Fitted, logits: NDArray[np.float32]) -> TrainingRecord:
        best = fitted.epochs[fitted.best_epoch - 1]
        deployed = (logits.argmax(-1) == self.validation.labels[:, None]).mean(0).tolist()
        layers = {tier.name: self.graph.in_order(tier.layers) for tier in self.plan.tiers}
        exits = [
            ExitRecord(
                name=point.name,
                tier=point.tier,
                after=layers[point.tier][point.depth - 1],
                head=point.head,
                parameters=self.heads.sizes[point.name].parameters,
                accuracy=accuracy,
                deployed_accuracy=as_deployed,
            )
            for point, accuracy, as_deployed in zip(self.plan.exits, best.accuracy[:-1], deployed[:-1], strict=True)
        ]
        last = ExitRecord(
            name=self.plan.exit_names[-1],
            tier=self.plan.final_tier,
            after=layers[self.plan.final_tier][-1],
            accuracy=best.accuracy[-1],
            deployed_accuracy=deployed[-1],
        )
        return TrainingRecord(
            settings=self.settings,
            training_source=self.training.source,
            training_samples=len(self.training),
            validation_source=self.validation.source,
            validation_samples=len(self.validation),
            epochs=tuple(EpochRecord.model_validate(vars(epoch)) for epoch in fitted.epochs),
            best_epoch=fitted.best_epoch,
            exits=(*exits, last),
        )


class _Source:
    """Reads labelled data for one network."""

    def __init__(
        self,
        graph: Graph,
        preprocessing: Preprocessing | Mapping[str, object] | None,
        classes: tuple[str, ...] | None,
    ) -> None:
        self.preprocessing = preprocessing_for(graph, preprocessing)
        self._graph, self._classes = graph, classes

    def read(
        self, data: Dataset | str | Path, validation: Dataset | str | Path | None, seed: int
    ) -> tuple[Dataset, Dataset]:
        """(training, validation), with the same classes: as many as the network has logits, each with a sample."""
        training = data if isinstance(data, Dataset) else self._load(data)
        self._check_classes(training)
        if validation is None:
            training, held_out = split_dataset(training, VALIDATION_SHARE, seed)
        elif isinstance(validation, Dataset):
            held_out = validation
        else:
            held_out = load_dataset(validation, self.preprocessing, classes=training.classes)
        if held_out.classes != training.classes:
            raise DataError(
                f"{held_out.source} has the classes {', '.join(held_out.classes)}, but {training.source} has "
                f"{', '.join(training.classes)}: they must be the same in the same order"
            )
        require_every_class(training)
        return training, held_out

    def _load(self, source: str | Path) -> Dataset:
        dataset = load_dataset(source, self.preprocessing, classes=self._classes)
        width = class_count(self._graph)
        numbers = all(name.isdigit() and int(name) < (width or 0) for name in dataset.classes)
        if self._classes is None and width is not None and numbers and len(dataset.classes) < width:
            # Numbers are indices of the network's logits, whether or not all of them occur.
            return load_dataset(source, self.preprocessing, classes=[str(number) for number in range(width)])
        return dataset

    def _check_classes(self, dataset: Dataset) -> None:
        width = class_count(self._graph)
        if width is not None and len(dataset.classes) != width:
            gives = "one number, for two classes" if is_single(self._graph) else f"{width} logits"
            raise DataError(
                f"{dataset.source} has {len(dataset.classes)} classes ({', '.join(dataset.classes[:12])}), but the "
                f"network gives {gives}: use data with its classes, or a network with as many"
            )


def _check_names(plan: Plan, graph: Graph) -> None:
    """Tiers and exits become names of files, and exits stand beside tensors in what a part returns."""
    for what, names in (("tier", plan.tier_names), ("exit", plan.exit_names)):
        for name in names:
            if name != Path(name).name or name in ("", ".", ".."):
                raise PlanError(f"the {what} '{name}' cannot be a file name: call it something without slashes")
    plan.require_exit_names(graph)
