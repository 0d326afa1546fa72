"""Heads on ONNX networks learn as torch would train them on the recorded features."""

import numpy as np
import pytest
import torch
from onnx_parts import images, texts
from test_onnx_heads import by_hand, small
from torch import nn

from edgepart.errors import TrainingError

OPTIONS = {"head_learning_rate_ratio": 2.0, "weight_decay": 0.01, "gradient_norm": 1.0}
LABELS = np.arange(12) % 4


@pytest.fixture(params=["image", "text"])
def learner_and_inputs(request):
    builder, stages = small(request.param)
    return builder.learner(stages, frozen=True, **OPTIONS), (images if request.param == "image" else texts)(12)


def test_features_are_what_the_heads_reduce(learner_and_inputs):
    """The text network's by hand; its slices are tested elsewhere."""
    builder, stages = small("text")
    learner, given = builder.learner(stages, frozen=True, **OPTIONS), texts(12)
    known, features = by_hand(builder, stages, given), learner.features(given)
    assert tuple(features) == learner.exits == ("early", "final")
    tokens = known["residual_add"]
    np.testing.assert_allclose(features["early"], tokens[:, 0] + tokens.mean(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(features["final"], known["final"], rtol=1e-5, atol=1e-5)
    logits = learner.logits(features)
    assert logits.shape == (12, 2, 4)
    np.testing.assert_allclose(logits[:, 0], known["early"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits[:, 1], known["final"], rtol=1e-5, atol=1e-5)


def test_steps_are_those_of_adamw_on_the_features():
    builder, stages = small("text")
    learner = builder.learner(stages, frozen=True, **OPTIONS)
    features = learner.features(texts(12))
    reference, _ = small("text")
    head = reference._heads["early"].train()
    decayed = [p for p in head.parameters() if p.ndim > 1]
    plain = [p for p in head.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}])
    for seed in range(5):
        losses = learner.step(features, LABELS, (1.0, 1.0), 0.05, seed)
        loss = nn.functional.cross_entropy(head.classify(torch.from_numpy(features["early"])), torch.from_numpy(LABELS))
        assert losses[0] == pytest.approx(loss.item(), rel=1e-5)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = 0.1
        optimiser.step()
    made = {name.partition(".")[2]: array for name, array in learner.weights().items()}
    for name, parameter in head.named_parameters():
        np.testing.assert_allclose(made[name], parameter.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_a_head_learns_and_the_network_does_not(learner_and_inputs):
    learner, given = learner_and_inputs
    features = learner.features(given)
    losses = [learner.step(features, LABELS, (1.0, 1.0), 0.02, seed) for seed in range(40)]
    assert losses[-1][0] < 0.5 * losses[0][0]
    assert losses[-1][1] == losses[0][1]


def test_training_goes_on_where_it_was_saved(learner_and_inputs):
    learner, given = learner_and_inputs
    features = learner.features(given)
    learner.step(features, LABELS, (1.0, 1.0), 0.05, 0)
    saved = learner.state()
    losses = [learner.step(features, LABELS, (1.0, 1.0), 0.05, seed) for seed in (1, 2)]
    learner.load_state(saved)
    assert [learner.step(features, LABELS, (1.0, 1.0), 0.05, seed) for seed in (1, 2)] == losses


def test_what_is_trained_is_what_is_written():
    builder, stages = small("image")
    learner, given = builder.learner(stages, frozen=True, **OPTIONS), images(12)
    features = learner.features(given)
    before = builder.stage(stages[0], []).run(given)["early"]
    for seed in range(3):
        learner.step(features, LABELS, (1.0, 1.0), 0.1, seed)
    after = builder.stage(stages[0], []).run(given)["early"]
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after, learner.logits(features)[:, 0], rtol=1e-5, atol=1e-5)


def test_the_network_itself_is_not_trained():
    builder, stages = small("image")
    with pytest.raises(TrainingError, match="cannot be trained further: train the heads only") as caught:
        builder.learner(stages, frozen=False, **OPTIONS)
    assert "\n" not in str(caught.value)
