"""Building: taken up where it was left, nothing half-written, and every mistake found before training."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
from sample_profiles import encoder_profile
from small_networks import CLASSES, EXAMPLE, SmallNet, contents, images, network, plan_for
from torch import nn

from edgepart.bundle import build, open_bundle
from edgepart.bundle import build as build_function
from edgepart.bundle.comparison import compare
from edgepart.bundle.export import PartWriter
from edgepart.bundle.targets import Target
from edgepart.bundle.workspace import digest_dataset
from edgepart.errors import (
    BundleError,
    DataError,
    ExportError,
    FileError,
    InfeasiblePlan,
    PlanError,
    ProfileError,
    TemplateError,
    TrainingError,
    TrainingInterrupted,
    UnknownName,
)
from edgepart.evaluation.choosing import choose_policy
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.torch import TorchFramework
from edgepart.hardware import catalogue
from edgepart.lock import alone
from edgepart.training import TrainingSettings

HEADS = TrainingSettings.for_mode("heads", epochs=2, batch_size=16)
JOINT = TrainingSettings.for_mode("joint", epochs=2, batch_size=16)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_stop_between_training_and_export_is_heard(model, plans, tmp_path):
    # the last question of training is the one after the last validation batch
    asked = StopAfter(10**9)
    make(model, plans["split"], tmp_path / "a", stop=asked)
    used = 10**9 - asked.left
    with pytest.raises(TrainingInterrupted, match="the training is done and saved"):
        make(model, plans["split"], tmp_path / "b", stop=StopAfter(used))
    assert not (tmp_path / "b").exists()
    assert make(model, plans["split"], tmp_path / "b").exits == ("early", "late", "middle", "final")


class StopAfter:
    def __init__(self, number):
        self.left = number

    def __call__(self):
        self.left -= 1
        return self.left == 0


def make(model, plan, output, **options):
    given = {"data": images(48), "example": EXAMPLE, "settings": HEADS, "validation": images(16, seed=1)} | options
    return build(model, plan, given.pop("data"), output=output, **given)


def weights(bundle):
    return {
        (tier, stage.file, name): tensor
        for tier, part in bundle.parts.items()
        for stage in part.manifest.stages
        for name, tensor in torch.export.load(part.folder / stage.file).state_dict.items()
    }


def test_a_bundle_that_another_process_builds_is_left_to_it(model, plans, tmp_path):
    with (
        alone(tmp_path / "b.partial.lock"),
        pytest.raises(BundleError, match=r"another process is building .*b: wait until it is done, or choose another"),
    ):
        make(model, plans["split"], tmp_path / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("settings", "number"), [(HEADS, 2), (JOINT, 6)])
def test_an_interrupted_build_goes_on_and_ends_with_the_same_bundle(model, plans, tmp_path, settings, number):
    said = []
    with pytest.raises(TrainingInterrupted, match="run the same command again"):
        make(model, plans["split"], tmp_path / "b", settings=settings, stop=StopAfter(number))
    assert [path.name for path in tmp_path.iterdir()] == ["b.partial"]
    second = make(model, plans["split"], tmp_path / "b", settings=settings, say=said.append)
    first = make(model, plans["split"], tmp_path / "a", settings=settings)
    assert said == [f"going on with the unfinished build in {tmp_path / 'b.partial'}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert np.array_equal(first.validation.logits, second.validation.logits)
    assert np.array_equal(first.validation.dynamics, second.validation.dynamics)
    assert first.training == second.training
    expected, found = weights(first), weights(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_ctrl_c_is_a_request_to_stop(model, plans, tmp_path):
    class PressCtrlC:
        """A data set whose third batch is interrupted by the person at the keyboard."""

        def __init__(self, encoder):
            self.encoder, self.calls = encoder, 0

        def __call__(self, samples):
            self.calls += 1
            if self.calls == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return self.encoder(samples)

    data = images(48)
    pressed = dataclasses.replace(data, encoder=PressCtrlC(data.encoder))
    with pytest.raises(TrainingInterrupted, match="after batch 3 of 3"):
        make(model, plans["split"], tmp_path / "b", data=pressed)
    assert make(model, plans["split"], tmp_path / "b").path.is_dir()


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"settings": HEADS.model_copy(update={"seed": 1})}, "settings"),
        ({"data": images(47)}, "training data"),
        ({"validation": images(16, seed=2)}, "validation data"),
        ({"head": "mlp"}, "plan, heads"),
    ],
)
def test_another_build_starts_afresh_and_says_so(model, plans, tmp_path, changed, what):
    with pytest.raises(TrainingInterrupted):
        make(model, plans["split"], tmp_path / "b", stop=StopAfter(6))
    said = []
    with pytest.raises(TrainingInterrupted, match="after batch 1 of"):
        make(model, plans["split"], tmp_path / "b", say=said.append, stop=StopAfter(1), **changed)
    assert said == [f"{tmp_path / 'b.partial'} was started with other {what}: starting afresh"]


def test_other_weights_start_afresh(model, plans, tmp_path):
    with pytest.raises(TrainingInterrupted):
        make(model, plans["split"], tmp_path / "b", stop=StopAfter(6))
    said = []
    built = make(network(seed=1), plans["split"], tmp_path / "b", say=said.append)
    assert "other weights: starting afresh" in said[0]
    fresh = make(network(seed=1), plans["split"], tmp_path / "a")
    assert np.array_equal(built.validation.logits, fresh.validation.logits)


def test_a_new_bundle_takes_the_place_of_an_old_one_only_when_it_is_complete(model, plans, tmp_path):
    old = make(model, plans["split"], tmp_path / "b")
    before = contents(old.path)
    with pytest.raises(TrainingInterrupted):
        make(model, plans["nested"], tmp_path / "b", stop=StopAfter(6))
    assert contents(tmp_path / "b") == before
    assert open_bundle(tmp_path / "b").plan.deployment == "split"
    assert make(model, plans["nested"], tmp_path / "b").plan.deployment == "nested"


def test_a_bundle_is_not_replaced_together_with_what_lies_beside_it(model, plans, tmp_path):
    built = make(model, plans["split"], tmp_path / "b")
    built.keep(choose_policy(built, "fixed-tier"))
    (built.path / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match=r"b holds notes\.txt beside its bundle"):
        make(model, plans["nested"], tmp_path / "b")
    (built.path / "notes.txt").unlink()
    # its own policy was chosen for the parts that are replaced
    again = make(model, plans["nested"], tmp_path / "b")
    assert again.plan.deployment == "nested"
    assert not (again.path / "policy.json").exists()
    (again.path / "manifest.json").write_text("{")
    assert make(model, plans["split"], tmp_path / "b").plan.deployment == "split"


def test_nothing_of_the_users_is_overwritten(model, plans, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("mine")
    with pytest.raises(BundleError, match="thesis exists and is not a bundle"):
        make(model, plans["split"], tmp_path / "thesis")
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "mine").write_text("mine")
    with pytest.raises(BundleError, match=r"b\.partial exists and is not an unfinished build"):
        make(model, plans["split"], tmp_path / "b")
    with pytest.raises(FileError, match=r"the folder .* does not exist"):
        make(model, plans["split"], tmp_path / "no" / "b")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "mine"


def refused(error, match, tmp_path, *arguments, **options):
    """A mistake of the user: the sentence, and nothing written."""
    with pytest.raises(error, match=match):
        make(*arguments, tmp_path / "b", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_another_network(plans, tmp_path):
    class Other(SmallNet):
        def forward(self, image):
            return super().forward(image) * 2

    refused(PlanError, "the plan was made for the network 'SmallNet'", tmp_path, network(Other), plans["split"])


def test_data_of_other_classes_than_the_network(model, plans, tmp_path):
    data = images(48, classes=(*CLASSES, "blue"))
    refused(DataError, "4 classes .* the network gives 3 logits", tmp_path, model, plans["split"], data=data)
    other = images(16, classes=("light", "grey", "dark"))
    refused(DataError, "must be the same in the same order", tmp_path, model, plans["split"], validation=other)


def test_a_profile_of_another_network(model, plans, tmp_path):
    other = encoder_profile(catalogue.device("raspberry-pi-4"))
    sentence = f"the profile is of the network '{other.graph.name}' .*, the plan of 'SmallNet'"
    refused(ProfileError, sentence, tmp_path, model, plans["split"], profile=other)


@pytest.mark.parametrize("settings", [HEADS, JOINT])
def test_a_network_with_nan_weights_leaves_nothing(plans, tmp_path, settings):
    broken = network()
    with torch.no_grad():
        broken.second.conv.weight[0] = torch.nan
    refused(TrainingError, "check .* network's weights", tmp_path, broken, plans["split"], settings=settings)


def test_a_full_disk_keeps_what_was_trained(model, plans, tmp_path, monkeypatch):
    def full(*arguments):
        raise FileError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(PartWriter, "write", full)
        with pytest.raises(FileError, match="no space left"):
            make(model, plans["split"], tmp_path / "b")
    said = []
    make(model, plans["split"], tmp_path / "b", say=said.append)
    assert said == [f"going on with the unfinished build in {tmp_path / 'b.partial'}"]


def test_a_disk_that_is_full_from_the_start_leaves_nothing(model, plans, tmp_path, monkeypatch):
    def full(*arguments):
        raise FileError("no space left")

    monkeypatch.setattr("edgepart.bundle.workspace.write_json", full)
    refused(FileError, "no space left", tmp_path, model, plans["split"])


def test_an_empty_class(model, plans, tmp_path):
    data = images(48)
    data = data.subset(np.flatnonzero(data.labels != 1))
    refused(DataError, "no sample of the class 'grey'", tmp_path, model, plans["split"], data=data)


def test_an_unknown_head_or_parameter(model, plans, tmp_path):
    refused(
        UnknownName, "unknown exit template 'liner'; did you mean linear", tmp_path, model, plans["split"], head="liner"
    )
    options = {"head": "mlp", "head_parameters": {"hiden": "3"}}
    refused(UnknownName, "hiden.*did you mean hidden", tmp_path, model, plans["split"], **options)
    options = {"head": "mlp", "head_parameters": {"hidden": "many"}}
    refused(TemplateError, "hidden='many', but int is expected", tmp_path, model, plans["split"], **options)


def test_a_network_that_does_not_end_in_classes(tmp_path):
    class Segments(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 3, 1)

        def forward(self, image):
            return self.last(torch.relu(self.first(image)))

    from small_networks import captured

    net = network(Segments)
    plan = plan_for(captured(net), (("edge", "first"), ("cloud", None)), ())
    refused(
        PlanError, r"first output 'last' has shape \(batch, 3, 6, 6\), expected \(batch, classes\)", tmp_path, net, plan
    )


def test_which_of_several_outputs_is_taken_is_said(tmp_path):
    class WithFeatures(SmallNet):
        def forward(self, image):
            features = self.first(self.stem(image))
            return self.classifier(self.second(features).mean((2, 3))), features

    from small_networks import captured

    net, said = network(WithFeatures), []
    make(net, plan_for(captured(net), (("cloud", None),), ()), tmp_path / "b", say=said.append)
    assert said == ["the network returns 2 tensors: the first, 'classifier', is taken for the logits"]


def test_exit_names_must_be_file_names_and_not_those_of_tensors(model, plans, tmp_path):
    def renamed(name):
        first, *others = plans["split"].exits
        return plans["split"].model_copy(update={"exits": (first.model_copy(update={"name": name}), *others)})

    refused(PlanError, "exit '../up' cannot be a file name", tmp_path, model, renamed("../up"))
    refused(PlanError, "exit 'first.relu' is called like a tensor", tmp_path, model, renamed("first.relu"))


@pytest.mark.parametrize("runtime_name", ["torch", "onnxruntime", "executorch"])
def test_a_layer_inside_a_part_may_be_called_as_the_last_exit(runtime_name, tmp_path):
    class WithFinal(SmallNet):
        def __init__(self):
            super().__init__()
            self.final = torch.nn.Linear(6, 6)

        def forward(self, image):
            x = self.first(self.stem(image)).mean((2, 3))
            return self.classifier(torch.relu(self.final(x)))

    from small_networks import captured

    net = network(WithFinal)
    graph = captured(net)
    assert "final" in {tensor.name for tensor in graph.tensors}
    plan = plan_for(graph, (("edge", "stem"), ("cloud", None)), (("early", "edge", "stem"),))
    built = make(net, plan, tmp_path / "b", runtimes={"cloud": runtime_name})
    arrays = images(30, seed=1).batch(range(30))
    made = built.parts["cloud"].run(built.parts["edge"].run(arrays))["final"]
    with torch.no_grad():
        np.testing.assert_allclose(made, net(torch.from_numpy(arrays["image"])), rtol=1e-4, atol=1e-5)
    crossing = plan_for(graph, (("edge", "final"), ("cloud", None)), ())
    with pytest.raises(PlanError, match=r"exit 'final' is called like a tensor .* rename that layer"):
        make(net, crossing, tmp_path / "c")


def test_a_head_of_ones_own_with_parameters(model, plans, tmp_path):
    template = tmp_path / "scaled.py.j2"
    template.write_text(
        "{# edgepart\nname: scaled\nframework: torch\nsummary: A linear layer on scaled means.\ninput_ranks: [3]\n"
        "parameters:\n  scale: {type: float, default: 1.0, help: Factor of the means.}\n#}\n"
        "import torch\nfrom torch import nn\n\n\nclass Head(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.linear = nn.Linear({{ channels }}, {{ classes }})\n\n"
        "    def reduce(self, x):\n        return x.mean((2, 3)) * {{ scale }}\n\n"
        "    def classify(self, reduced):\n        return self.linear(reduced)\n\n"
        "    def forward(self, x):\n        return self.classify(self.reduce(x))\n"
    )
    built = make(model, plans["split"], tmp_path / "b", head=str(template), head_parameters={"scale": "2.5"})
    assert {(point.head, point.parameters["scale"]) for point in built.plan.exits} == {("scaled", 2.5)}
    assert "* 2.5" in (built.path / "heads/early.py").read_text()


def test_the_plans_own_choice_of_heads_counts_unless_another_is_given(model, plans, tmp_path):
    chosen = [point.model_copy(update={"head": "mlp", "parameters": {"hidden": 5}}) for point in plans["split"].exits]
    plan = plans["split"].model_copy(update={"exits": (chosen[0], *plans["split"].exits[1:])})
    built = make(model, plan, tmp_path / "a")
    assert [point.head for point in built.plan.exits] == ["mlp", "linear", "linear"]
    assert built.plan.exits[0].parameters["hidden"] == 5
    assert {point.head for point in make(model, plan, tmp_path / "b", head="conv_pool").plan.exits} == {"conv_pool"}


def test_heads_that_a_tier_cannot_hold_are_told_before_training(model, plans, tmp_path):
    plan = plans["split"]
    tight = plan.tiers[0].model_copy(update={"memory_limit_bytes": 20})
    held = plan.model_copy(update={"tiers": (tight, *plan.tiers[1:])})
    refused(InfeasiblePlan, "with its heads 'mobile' needs .* above its limit of 20 B", tmp_path, model, held)


def test_the_plan_of_a_bundle_counts_the_memory_of_its_heads(model, plans, tmp_path):
    built = make(model, plans["split"], tmp_path / "b")
    mobile = built.plan.tiers[0]
    stages = [torch.export.load(file).state_dict for file in (built.path / "parts/mobile").glob("*.pt2")]
    learnt = sum(x.numel() * x.element_size() for held in stages for name, x in held.items() if ".head." in name)
    assert built.plan.memory_bytes(mobile) == mobile.memory_bytes + learnt > mobile.memory_bytes


def test_replicated_classifiers_fit_every_exit(model, plans, tmp_path):
    built = make(model, plans["split"], tmp_path / "b", head="replicate_classifier")
    assert "Dropout(0.3)" in (built.path / "heads/early.py").read_text()


def test_a_plan_without_exits_has_the_networks_own_answer(model, plans, tmp_path):
    built = make(model, plans["split"].model_copy(update={"exits": ()}), tmp_path / "b")
    assert built.exits == ("final",)
    data = images(16, seed=1)
    with torch.no_grad():
        own = model(torch.from_numpy(data.batch(range(16))["image"])).numpy()
    assert np.allclose(built.validation.logits[:, 0], own, atol=1e-5)


def test_heads_only_leaves_the_backbone_bit_by_bit(model, plans, tmp_path):
    built = make(model, plans["split"], tmp_path / "b")
    own = model.state_dict()
    found = 0
    for (_, _, name), tensor in weights(built).items():
        original = own.get(name.rpartition("slice.")[2])
        if "head." not in name and original is not None:
            assert torch.equal(tensor, original), name
            found += 1
    assert found == len([name for name in own if "num_batches" not in name])


def test_an_artefact_that_differs_from_its_source_fails_the_build(model, tmp_path):
    builder = TorchFramework().builder(model, EXAMPLE)
    part = builder.program.slice(None, builder.program.graph.after("stem"))
    target = Target(runtime("torch"))
    target.runtime.write(part, tmp_path / "stage.pt2")
    arrays = images(4).batch(range(4))
    assert compare(target, part, tmp_path / "stage.pt2", [arrays], 1e-4)[0] < 1e-6
    with torch.no_grad():
        for parameter in part.module.parameters():
            parameter.mul_(1.01)
    with pytest.raises(ExportError, match=r"stage\.pt2 of .* makes another 'stem\.2' .*relative difference"):
        compare(target, part, tmp_path / "stage.pt2", [arrays], 1e-4)


def test_the_digest_of_data_sees_every_change():
    data = images(12)
    digests = {digest_dataset(data)}
    digests.add(digest_dataset(images(12, seed=1)))
    digests.add(digest_dataset(images(11)))
    digests.add(digest_dataset(dataclasses.replace(data, labels=data.labels[::-1].copy())))
    digests.add(digest_dataset(dataclasses.replace(data, classes=("a", "b", "c"))))
    texts = [("ab", "c"), ("a", "bc"), "abc", b"abc"]
    digests |= {digest_dataset(dataclasses.replace(data, samples=[text] * 12)) for text in texts}
    assert len(digests) == 9
    assert digest_dataset(images(12)) == digest_dataset(data)


def test_build_is_public():
    import edgepart

    assert edgepart.build is build_function
