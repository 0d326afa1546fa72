"""Parts written for other runtimes and in other precisions: what is recorded, measured and refused."""

import importlib.util

import numpy as np
import pytest
from small_networks import CLASSES, EXAMPLE, captured, contents, image_plan, images, network

from edgepart.bundle import build, open_bundle
from edgepart.bundle.targets import planned_runtimes
from edgepart.errors import ExportError, MissingExtra, UnknownName
from edgepart.frameworks import framework_of, runtimes
from edgepart.frameworks.runtimes import runtime
from edgepart.training import TrainingSettings

SETTINGS = TrainingSettings.for_mode("heads", epochs=2)


def made(folder, planned=None, **options):
    """``planned``: tier → runtime that the plan was made for."""
    model = network()
    plan = image_plan(captured(model))
    known = planned or {}
    tiers = tuple(tier.model_copy(update={"runtime": known.get(tier.name)}) for tier in plan.tiers)
    plan = plan.model_copy(update={"tiers": tiers})
    return build(
        model,
        plan,
        images(60),
        example=EXAMPLE,
        validation=images(30, seed=1),
        settings=SETTINGS,
        output=folder,
        threads=1,
        **options,
    )


def answers(bundle, count=30):
    given, found = images(count, seed=1).batch(range(count)), {}
    for part in bundle.parts.values():
        given = part.run(given)
        found |= {name: given[name] for name in part.exits}
    return np.stack([found[name] for name in bundle.exits], axis=1)


def test_a_tier_of_another_runtime_answers_as_the_network_does(tmp_path):
    own = made(tmp_path / "own")
    other = made(tmp_path / "other", runtimes={"edge": "onnxruntime", "cloud": "triton"})
    assert np.abs(answers(own) - answers(other)).max() <= 1e-4 * np.abs(answers(own)).max()
    assert [part.manifest.runtime for part in other.parts.values()] == ["torch", "onnxruntime", "triton"]
    assert (tmp_path / "other" / "parts" / "edge" / "stage_0.onnx").is_file()
    assert (tmp_path / "other" / "parts" / "cloud" / "stage_0" / "config.pbtxt").is_file()
    for part in other.parts.values():
        assert part.manifest.runtime_version == runtime(part.manifest.runtime).version()
        assert all(stage.difference <= stage.tolerance for stage in part.manifest.stages)
    assert open_bundle(tmp_path / "other").classes == CLASSES


def test_what_a_precision_costs_is_measured_on_the_validation_data(tmp_path):
    bundle = made(
        tmp_path / "out",
        runtimes=dict.fromkeys(("mobile", "edge", "cloud"), "onnxruntime"),
        precisions={"mobile": "int8", "cloud": "float16"},
    )
    assert [part.manifest.precision for part in bundle.parts.values()] == ["int8", "float32", "float16"]
    found = answers(bundle)
    np.testing.assert_allclose(bundle.validation.logits, found, rtol=1e-4, atol=1e-5)
    labels = bundle.validation.labels
    for number, record in enumerate(bundle.training.exits):
        assert record.deployed_accuracy == pytest.approx((found[:, number].argmax(-1) == labels).mean())


def test_the_router_runs_where_samples_enter(tmp_path):
    bundle = made(tmp_path / "out", runtimes={"mobile": "onnxruntime"}, precisions={"mobile": "int8"})
    assert bundle.manifest.router.runtime == "onnxruntime"
    given = images(5, seed=1).batch(range(5))
    np.testing.assert_allclose(bundle.embed(given), made(tmp_path / "own").embed(given), rtol=1e-4, atol=1e-5)


def test_the_router_falls_back_to_the_network_s_own_runtime(tmp_path, monkeypatch):
    refusing = runtime("onnxruntime")
    write = type(refusing).write

    def refuse(self, part, path, **options):
        if path.parent.name == "router":
            raise ExportError("the runtime lacks the operation 'Frobnicate' of layer 'stage3'")
        write(self, part, path, **options)

    monkeypatch.setattr(type(refusing), "write", refuse)
    said = []
    bundle = made(tmp_path / "out", runtimes={"mobile": "onnxruntime"}, say=said.append)
    assert bundle.manifest.router.runtime == "torch"
    assert any("the router runs in torch" in text and "Frobnicate" in text for text in said)
    given = images(5, seed=1).batch(range(5))
    np.testing.assert_array_equal(bundle.embed(given), made(tmp_path / "own").embed(given))


def test_a_missing_package_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    def missing(_):
        raise MissingExtra("onnxruntime", "onnx")

    monkeypatch.setattr(type(runtime("onnxruntime")), "version", missing)
    with pytest.raises(MissingExtra, match="onnxruntime"):
        made(tmp_path / "out", runtimes={"edge": "onnxruntime"})
    assert not list(tmp_path.iterdir())


def test_a_package_that_only_writes_parts_is_missed_before_anything_is_trained(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(MissingExtra, match=r"'onnxscript', which is not installed: pip install 'edgepart\[onnx\]'"):
        made(tmp_path / "out", runtimes={"edge": "onnxruntime"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"runtimes": {"mobil": "onnxruntime"}}, UnknownName, "tier 'mobil'; did you mean mobile"),
        ({"runtimes": {"mobile": "onnxruntim"}}, UnknownName, "did you mean onnxruntime"),
        ({"runtimes": {"mobile": "litert"}}, ExportError, "does not run parts of networks of torch: choose"),
        (
            {"precisions": {"edge": "int8"}},
            ExportError,
            "for the tier 'edge', the runtime 'torch' has no precision int8",
        ),
        ({"precisions": {"edge": "int4"}}, UnknownName, "precision 'int4'"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_trained(options, error, says, tmp_path):
    with pytest.raises(error, match=says):
        made(tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_training_is_kept_when_a_runtime_cannot_hold_a_part(tmp_path, monkeypatch):
    refusing = runtime("onnxruntime")

    def refuse(*_, **__):
        raise ExportError("the runtime lacks the operation 'Frobnicate' of layer 'stem.0'")

    with monkeypatch.context() as patched:
        patched.setattr(type(refusing), "write", refuse)
        with pytest.raises(ExportError, match="Frobnicate"):
            made(tmp_path / "out", runtimes={"edge": "onnxruntime"})
    assert (tmp_path / "out.partial").is_dir()
    said = []
    bundle = made(tmp_path / "out", runtimes={"edge": "torch"}, say=said.append)
    assert any("going on with the unfinished build" in text for text in said)
    np.testing.assert_array_equal(bundle.validation.logits, made(tmp_path / "fresh").validation.logits)
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "fresh").keys()


def test_a_part_is_written_for_what_it_was_planned_for_unless_something_else_is_asked_for():
    plan = image_plan(captured(network()))
    names = {"mobile": "onnxruntime", "edge": "tensorflow", "cloud": "a plug-in that is gone"}
    tiers = tuple(tier.model_copy(update={"runtime": names[tier.name]}) for tier in plan.tiers)
    # TensorFlow cannot run parts of a torch network
    assert planned_runtimes(framework_of(network()), plan.model_copy(update={"tiers": tiers})) == {
        "mobile": "onnxruntime"
    }
    assert planned_runtimes(framework_of(network()), plan) == {}


@pytest.mark.parametrize(("asked", "expected"), [({}, "onnxruntime"), ({"mobile": "torch"}, "torch")])
def test_build_takes_the_plans_runtime(tmp_path, asked, expected):
    bundle = made(tmp_path / "out", planned={"mobile": "onnxruntime"}, runtimes=asked)
    assert [part.manifest.runtime for part in bundle.parts.values()] == [expected, "torch", "torch"]
