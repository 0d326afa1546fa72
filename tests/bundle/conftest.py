"""Bundles built once for all tests of this folder."""

import pytest
import torch
from small_networks import (
    CLASSES,
    EXAMPLE,
    Letters,
    TextNet,
    captured,
    image_plan,
    images,
    network,
    plan_for,
    sentences,
)

from edgepart.bundle import build
from edgepart.training import TrainingSettings


@pytest.fixture(scope="session")
def model():
    return network()


@pytest.fixture(scope="session")
def plans(model):
    graph = captured(model)
    return {deployment: image_plan(graph, deployment) for deployment in ("split", "nested")}


@pytest.fixture(scope="session", params=["split", "nested"])
def bundle(request, model, plans, tmp_path_factory):
    """An image bundle, trained jointly, split and nested in turn."""
    settings = TrainingSettings.for_mode("joint", epochs=2, batch_size=16, learning_rate=0.01)
    output = tmp_path_factory.mktemp(request.param) / "bundle"
    return build(
        model,
        plans[request.param],
        images(60),
        validation=images(30, seed=1),
        example=EXAMPLE,
        settings=settings,
        output=output,
    )


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory):
    """A bundle of a network of token sequences, split in two."""
    net = network(TextNet)
    example = {name: torch.from_numpy(array) for name, array in Letters()(["abcd", "bc"]).items()}
    graph = captured(net, example)
    exits = (("early", "edge", "norm"),)
    plan = plan_for(graph, (("edge", "first"), ("cloud", None)), exits)
    settings = TrainingSettings.for_mode("heads", epochs=2)
    output = tmp_path_factory.mktemp("text") / "bundle"
    return build(net, plan, sentences(60), example=example, settings=settings, output=output, classes=CLASSES)
