"""Recording: every exit's answer for every sample in the data's own order."""

import dataclasses

import numpy as np
import pytest
import torch
from small_networks import EXAMPLE, Letters, TextNet, captured, image_plan, images, network, plan_for, sentences

from edgepart.bundle import build
from edgepart.errors import DataError, TrainingError
from edgepart.evaluation.record import record
from edgepart.training import TrainingSettings

SETTINGS = TrainingSettings.for_mode("heads", epochs=1)


@pytest.fixture(scope="module", params=["split", "nested"])
def bundle(request, tmp_path_factory):
    model = network()
    plan = image_plan(captured(model), request.param)
    output = tmp_path_factory.mktemp("recorded") / "bundle"
    return build(model, plan, images(30), example=EXAMPLE, validation=images(12, 1), settings=SETTINGS, output=output)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_recording_the_validation_data_gives_what_training_recorded(bundle, batch_size):
    trace = record(bundle, images(12, 1), batch_size=batch_size)
    expected = bundle.validation
    assert np.allclose(trace.logits, expected.logits, atol=1e-5)
    assert np.allclose(trace.embeddings, expected.embeddings, atol=1e-6)
    assert np.array_equal(trace.labels, expected.labels)
    assert (trace.exits, trace.exit_tiers, trace.tiers) == (expected.exits, expected.exit_tiers, expected.tiers)
    assert trace.dynamics is None


def test_texts_sorted_by_length_come_back_in_their_own_order(tmp_path):
    model = network(TextNet)
    example = {name: torch.from_numpy(array) for name, array in Letters()(["abcd", "bc"]).items()}
    graph = captured(model, example)
    plan = plan_for(graph, (("edge", "first"), ("cloud", None)), (("early", "edge", "norm"),))
    built = build(model, plan, sentences(30), example=example, settings=SETTINGS, output=tmp_path / "b")
    data = sentences(25, seed=4)
    together, alone = record(built, data, batch_size=8), record(built, data, batch_size=1)
    assert np.allclose(together.logits, alone.logits, atol=1e-5)
    assert np.allclose(together.embeddings, alone.embeddings, atol=1e-6)
    assert np.array_equal(together.labels, data.labels)


def test_a_logit_that_is_nan_names_exit_and_sample(bundle):
    data = images(12, 1)
    data.samples[7]["image"][:] = np.nan
    with pytest.raises(TrainingError, match="exit 'early' gives a NaN or infinite logit for sample 7"):
        record(bundle, data, batch_size=5)


def test_data_must_have_the_bundles_classes_and_samples(bundle):
    with pytest.raises(DataError, match="read the data with the bundle's classes"):
        record(bundle, images(12, classes=("a", "b", "c")))
    with pytest.raises(DataError, match="holds no samples"):
        record(bundle, dataclasses.replace(images(12), samples=[], labels=np.zeros(0, dtype=np.int64)))
