"""A bundle on disk is the network that was trained: whole, in parts, and in another process."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_networks import CLASSES, Letters, contents, images

from edgepart.bundle import open_bundle, open_part
from edgepart.bundle.manifest import MANIFEST, Manifest, survey
from edgepart.dispatch import Trace
from edgepart.errors import GraphError

RUN = """
import sys
import numpy as np
from edgepart.bundle import open_part
part = open_part(sys.argv[1])
with np.load(sys.argv[2]) as given:
    np.savez(sys.argv[3], **part.run(dict(given)))
"""


def run_all(bundle, arrays):
    """What every part returns, each given what the plan says."""
    found, given = {}, arrays
    for tier, part in bundle.parts.items():
        found[tier] = part.run(given)
        if bundle.plan.deployment == "split":
            given = {name: found[tier][name] for name in part.outputs}
    return found


def test_the_layout_is_the_documented_one(bundle):
    files = set(contents(bundle.path))
    counts = {"split": (2, 1, 1), "nested": (2, 1, 1)}[bundle.plan.deployment]
    expected = {"manifest.json", "plan.json", "graph.json", "preprocessing.json", "training.json", "router/embed.pt2"}
    expected |= {"validation.trace.safetensors", "router/embed.pt2.json"}
    for tier, count in zip(("mobile", "edge", "cloud"), counts, strict=True):
        stages = [f"parts/{tier}/stage_{n}.pt2" for n in range(count)]
        expected |= {f"parts/{tier}/part.json", *stages, *(f"{stage}.json" for stage in stages)}
    expected |= {"heads/early.py", "heads/late.py", "heads/middle.py"}
    assert files == expected
    assert set(bundle.manifest.files) == expected - {"manifest.json"}
    assert not bundle.path.with_name("bundle.partial").exists()


def test_parts_give_what_training_left(bundle):
    dataset = images(30, seed=1)
    answers = {k: v for made in run_all(bundle, dataset.batch(range(30))).values() for k, v in made.items()}
    logits = np.stack([answers[name] for name in bundle.exits], axis=1)
    trace = bundle.validation
    assert np.allclose(logits, trace.logits, atol=1e-5)
    assert np.allclose(bundle.embed(dataset.batch(range(30))), trace.embeddings, atol=1e-6)
    assert trace.exits == ("early", "late", "middle", "final")
    assert trace.exit_tiers == ("mobile", "mobile", "edge", "cloud")
    assert trace.dynamics.shape == (2, 30, 4)
    assert (trace.labels == dataset.labels).all()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_batch_gives_each_sample_its_own_answer(bundle, count):
    arrays = images(30, seed=1).batch(range(3, 3 + count))
    for tier, made in run_all(bundle, arrays).items():
        for name in bundle.parts[tier].exits:
            number = bundle.exits.index(name)
            assert made[name].shape == (count, 3)
            assert np.allclose(made[name], bundle.validation.logits[3 : 3 + count, number], atol=1e-5)


def test_the_crossing_tensors_are_the_plans(bundle):
    parts = list(bundle.parts.values())
    if bundle.plan.deployment == "nested":
        assert all(part.inputs == ("image",) and part.outputs == () for part in parts)
    else:
        assert [part.inputs for part in parts] == [("image",), ("first.relu",), ("second.relu",)]
        assert [part.outputs for part in parts] == [("first.relu",), ("second.relu",), ()]


def test_a_tier_holds_only_its_own_layers(bundle):
    held = {}
    for tier, part in bundle.parts.items():
        names = set()
        for stage in part.manifest.stages:
            names |= set(torch.export.load(part.folder / stage.file).state_dict)
        held[tier] = {"first" if "first" in n else "second" for n in names if "first" in n or "second" in n}
    if bundle.plan.deployment == "split":
        assert held == {"mobile": {"first"}, "edge": {"second"}, "cloud": set()}
    else:
        assert held == {"mobile": {"first"}, "edge": {"first", "second"}, "cloud": {"first", "second"}}


def test_a_part_runs_in_a_process_of_its_own_from_its_folder_alone(bundle, tmp_path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(bundle.path / "parts" / "mobile", folder)
    arrays = images(30, seed=1).batch(range(4))
    np.savez(tmp_path / "in.npz", **arrays)
    subprocess.run([sys.executable, "-c", RUN, folder, tmp_path / "in.npz", tmp_path / "out.npz"], check=True)
    expected = bundle.parts["mobile"].run(arrays)
    with np.load(tmp_path / "out.npz") as found:
        assert set(found.files) == set(expected)
        for name, array in expected.items():
            assert np.allclose(found[name], array, atol=1e-6)


def test_heads_run_without_edgepart(text_bundle):
    source = text_bundle.path / "heads" / "early.py"
    code = (
        f"import sys, runpy, torch; head = runpy.run_path({str(source)!r})['Head'](); "
        "print(tuple(head(torch.zeros(2, 5, 8)).shape), 'edgepart' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 3) False"


def test_leaving_early_saves_the_later_stages(bundle, monkeypatch):
    part = open_part(bundle.path / "parts" / "mobile")
    opened = []
    original = type(part)._artefact

    def watched(self, number):
        opened.append(number)
        return original(self, number)

    monkeypatch.setattr(type(part), "_artefact", watched)
    arrays = images(30, seed=1).batch(range(4))
    stages = part.stages(arrays)
    assert opened == []
    name, logits = next(stages)
    assert (name, opened) == ("early", [0])
    assert np.allclose(logits, bundle.validation.logits[:4, 0], atol=1e-5)
    name, logits = next(stages)
    assert (name, opened) == ("late", [0, 1])
    with pytest.raises(StopIteration) as end:
        next(stages)
    assert tuple(end.value.value) == part.outputs


def test_a_missing_input_is_named(bundle):
    with pytest.raises(GraphError, match="the input 'image' is missing"):
        bundle.parts["mobile"].run({"picture": np.zeros((1, 1, 6, 6), np.float32)})


def test_texts_of_any_length_run_and_padding_changes_nothing(text_bundle):
    encode = Letters()
    alone, padded = encode(["abca"]), encode(["abca", "abcabcabcabc"])
    given, whole = (run_all(text_bundle, arrays) for arrays in (alone, padded))
    assert text_bundle.parts["edge"].outputs == ("attention_mask", *text_bundle.parts["edge"].outputs[1:])
    for tier, name in (("edge", "early"), ("cloud", "final")):
        assert np.allclose(given[tier][name], whole[tier][name][:1], atol=1e-5)
    assert text_bundle.embed(alone).shape == (1, 8)
    assert np.allclose(text_bundle.embed(alone), text_bundle.embed(padded)[:1], atol=1e-6)


def test_the_router_averages_the_embedding_layer_over_the_tokens_that_count(text_bundle):
    # the mean over tokens of LayerNorm's output, masked; the artefact holds nothing but that
    exported = torch.export.load(text_bundle.path / "router" / "embed.pt2")
    weights = {name.rpartition("slice.")[2]: tensor for name, tensor in exported.state_dict.items()}
    assert set(weights) == {"embedding.weight", "norm.weight", "norm.bias"}
    arrays = Letters()(["abc", "fedcba"])
    tokens = torch.nn.functional.embedding(torch.from_numpy(arrays["input_ids"]), weights["embedding.weight"])
    normed = torch.nn.functional.layer_norm(tokens, (8,), weights["norm.weight"], weights["norm.bias"]).detach().numpy()
    expected = np.stack([normed[0, :3].mean(0), normed[1].mean(0)])
    assert np.allclose(text_bundle.embed(arrays), expected, atol=1e-6)


def test_the_router_of_images_averages_the_stem(bundle):
    stem = torch.export.load(bundle.path / "router" / "embed.pt2").state_dict
    assert {name.rpartition("stem.")[2] for name in stem} >= {"0.weight", "1.running_mean"}
    embedding = bundle.embed(images(4).batch(range(4)))
    assert embedding.shape == (4, 6)
    assert (embedding >= 0).all()  # after the stem's ReLU


def test_the_plan_in_the_bundle_names_heads_and_their_cost(bundle):
    for point in bundle.plan.exits:
        assert point.head == "linear"
        assert point.parameters == {"pool": "auto"}
        assert point.head_macs == 6 * 3


def test_the_record_of_training_says_what_was_kept(bundle):
    record = bundle.training
    assert [x.name for x in record.exits] == list(bundle.exits)
    assert [x.parameters for x in record.exits] == [21, 21, 21, 0]
    assert [x.accuracy for x in record.exits] == pytest.approx(bundle.validation.correct.mean(0).tolist())
    assert (record.training_samples, record.validation_samples) == (60, 30)
    assert [epoch.number for epoch in record.epochs] == [1, 2]
    assert record.exits[1].after == "first.relu"


def test_every_artefact_was_compared_with_its_source(bundle):
    differences = [stage.difference for part in bundle.parts.values() for stage in part.manifest.stages]
    assert max(differences) < 1e-5


def test_a_bundle_may_be_moved(bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "moved")
    moved = open_bundle(tmp_path / "moved")
    assert moved.manifest == bundle.manifest
    assert isinstance(moved.validation, Trace)
    assert moved.graph.fingerprint == bundle.plan.fingerprint
    assert moved.profile is None
    assert moved.classes == CLASSES


def test_the_manifest_lists_what_is_there(bundle):
    assert Manifest.load(bundle.path / MANIFEST).files == survey(bundle.path)


def test_texts_reach_the_bundle_with_a_split_of_their_own(text_bundle):
    assert text_bundle.training.validation_samples == 6
    assert np.bincount(text_bundle.validation.labels).tolist() == [2, 2, 2]
