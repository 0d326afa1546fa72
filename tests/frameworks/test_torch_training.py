"""Learning through the captured program: what the user's own network would do, step by step."""

import copy

import numpy as np
import pytest
import torch
from small_networks import EXAMPLE, SmallNet, TextNet, image_plan, images, network, sentences
from torch import nn

from edgepart.errors import CaptureError, PlanError, TrainingError, TrainingInterrupted
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.torch import TorchFramework
from edgepart.frameworks.torch.training import TrainingFlags
from edgepart.partitioning.stages import Stage, chain
from edgepart.training import TrainingSettings, train

HEAD = """
from torch import nn

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(6, 3)

    def reduce(self, x):
        return x.mean((2, 3))

    def classify(self, reduced):
        return self.linear(self.dropout(reduced))

    def forward(self, x):
        return self.classify(self.reduce(x))
"""
OPTIONS = {"head_learning_rate_ratio": 1.0, "weight_decay": 0.01, "gradient_norm": 1.0}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def prepared(model=None, exits=("early", "late", "middle")):
    """A builder with heads at some of the exits of ``image_plan``, and the stages."""
    builder = TorchFramework().builder(model or network(), EXAMPLE)
    plan = image_plan(builder.program.graph)
    points = tuple(point for point in plan.exits if point.name in exits)
    for point in points:
        # the seed is the exit's own, whichever other exits there are
        builder.add_head(point.name, HEAD, point.tensor, 3, seed=sum(map(ord, point.name)))
    return builder, chain(plan.model_copy(update={"exits": points}), builder.program.graph)


def batch(count=12, seed=0):
    dataset = images(count, seed)
    return dataset.batch(range(count)), dataset.labels


def flags(learner):
    """The training flag of every dropout and batch normalisation in the slices."""
    found = []
    for part in learner.network.slices:
        for node in part.graph.nodes:
            if "dropout" in str(node.target):
                found.append(node.args[2])
            elif "batch_norm" in str(node.target):
                found.append(node.args[5])
    return found


def test_flags_are_flipped_for_steps_and_put_back_for_logits():
    builder, stages = prepared()
    learner = builder.learner(stages, frozen=False, **OPTIONS)
    arrays, labels = batch()
    assert flags(learner) == [False] * 4
    learner.step(arrays, labels, (1, 1, 1, 1), 0.01, 0)
    assert flags(learner) == [True] * 4
    assert all(head.training for head in learner.network.heads)
    learner.logits(arrays)
    assert flags(learner) == [False] * 4
    assert not any(head.training for head in learner.network.heads)


def test_flags_change_what_runs_and_a_captured_training_flag_stays():
    class Always(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(nn.functional.dropout(x, 0.5, training=True), 0.5, training=self.training)

    module = torch.export.export(Always().eval(), (torch.ones(2000),)).module(check_guards=False)
    twice = TrainingFlags([module])
    kept = [float((module(torch.ones(2000)) > 0).float().mean())]
    twice.set(True)
    kept.append(float((module(torch.ones(2000)) > 0).float().mean()))
    twice.set(False)
    kept.append(float((module(torch.ones(2000)) > 0).float().mean()))
    assert kept == pytest.approx([0.5, 0.25, 0.5], abs=0.06)


def test_logits_of_the_last_exit_are_the_networks_own():
    model = network()
    builder, stages = prepared(model)
    arrays, _ = batch()
    with torch.no_grad():
        expected = model(torch.from_numpy(arrays["image"])).numpy()
    logits = builder.learner(stages, frozen=False, **OPTIONS).logits(arrays)
    assert logits.shape == (12, 4, 3)
    assert np.array_equal(logits[:, -1], expected)


def test_a_step_has_the_gradient_of_the_users_network_in_training_mode():
    model = network()
    builder, stages = prepared(model)
    learner = builder.learner(stages, frozen=False, **OPTIONS | {"gradient_norm": 1e9})
    arrays, labels = batch()
    learner.step(arrays, labels, (0, 0, 0, 1), 0.0, seed=5)
    reference = copy.deepcopy(model).train()
    torch.manual_seed(5)
    nn.functional.cross_entropy(reference(torch.from_numpy(arrays["image"])), torch.from_numpy(labels)).backward()
    trained = dict(builder._model.named_parameters())
    for name, parameter in reference.named_parameters():
        assert torch.allclose(trained[name].grad, parameter.grad, atol=1e-7), name
    for name, buffer in reference.named_buffers():
        if "num_batches" not in name:
            assert torch.equal(dict(builder._model.named_buffers())[name], buffer), name


def test_the_loss_is_the_weighted_sum_over_the_exits():
    builder, stages = prepared()
    learner = builder.learner(stages, frozen=False, **OPTIONS | {"gradient_norm": 1e9})
    arrays, labels = batch()
    stem = builder._model.stem[0].weight
    gradients = []
    for weights in (*np.eye(4).tolist(), (0.5, 2.0, 0.0, 3.0)):
        builder._model.load_state_dict(network().state_dict())
        learner.step(arrays, labels, weights, 0.0, seed=1)
        gradients.append(stem.grad.clone())
    expected = 0.5 * gradients[0] + 2 * gradients[1] + 3 * gradients[3]
    assert torch.allclose(gradients[4], expected, atol=1e-6)
    assert gradients[4].abs().max() > 1e-3


def test_losses_are_the_cross_entropies_of_the_exits():
    builder, stages = prepared()
    learner = builder.learner(stages, frozen=True, **OPTIONS)
    arrays, labels = batch()
    for head in learner.network.heads:
        head.dropout.p = 0.0
    logits = learner.logits(learner.features(arrays)).astype(np.float64)
    expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(12), :, labels]
    assert learner.step(learner.features(arrays), labels, (1, 1, 1, 0), 0.0, 0) == pytest.approx(
        expected.mean(0), rel=1e-5
    )


def test_heads_learn_each_as_if_alone():
    arrays, labels = batch(30)
    together, alone = (prepared(exits=exits) for exits in (("early", "late", "middle"), ("late",)))
    found = []
    for (builder, stages), place in ((together, 1), (alone, 0)):
        learner = builder.learner(stages, frozen=True, **OPTIONS | {"gradient_norm": 0.05})
        learner.network.heads[place].dropout.p = 0.0  # both draw from one stream, so leave chance out
        features = learner.features(arrays)
        for step in range(5):
            learner.step(features, labels, (*[1.0] * (len(learner.exits) - 1), 0.0), 0.05, step)
        found.append(learner.network.heads[place].linear.weight.detach().clone())
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("mode", ["heads", "joint"])
def test_training_leaves_the_users_model_alone_and_heads_leave_the_backbone(tmp_path, mode):
    model = network()
    before = copy.deepcopy(model.state_dict())
    builder, stages = prepared(model)
    settings = TrainingSettings.for_mode(mode, epochs=2, batch_size=8, learning_rate=0.01)
    fitted, _ = train(builder, stages, images(48), images(24, seed=1), settings, tmp_path)
    assert fitted.dynamics.shape == (2, 24, 4)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    changed = [n for n, t in builder._model.state_dict().items() if not torch.equal(t, before[n])]
    if mode == "joint":
        assert {"first.norm.running_mean", "stem.0.weight", "classifier.bias"} <= set(changed)
    else:
        assert changed == []
        arrays = images(24, seed=1).batch(range(24))
        with torch.no_grad():
            own = model(torch.from_numpy(arrays["image"])).numpy()
        assert np.allclose(fitted.logits[:, -1], own, atol=1e-6)
        assert fitted.epochs[1].accuracy[-1] == fitted.epochs[0].accuracy[-1]


@pytest.mark.parametrize("mode", ["heads", "joint", "branchynet", "pabee"])
def test_every_mode_learns(tmp_path, mode):
    builder, stages = prepared()
    settings = TrainingSettings.for_mode(
        mode, epochs=8, batch_size=16, learning_rate=0.03, head_learning_rate_ratio=1.0
    )
    fitted, _ = train(builder, stages, images(120), images(60, seed=1), settings, tmp_path)
    best = fitted.epochs[fitted.best_epoch - 1].accuracy
    assert min(best[:3]) > 0.7
    if mode != "heads":
        assert best[3] > 0.7


def test_dynamics_and_logits_are_those_of_the_weights_kept(tmp_path):
    builder, stages = prepared()
    settings = TrainingSettings.for_mode("joint", epochs=3, batch_size=16, learning_rate=0.01)
    held_out = images(30, seed=1)
    fitted, learner = train(builder, stages, images(60), held_out, settings, tmp_path)
    logits = learner.logits(held_out.batch(range(30)))
    assert np.allclose(logits, fitted.logits, atol=1e-5)
    odds = np.exp(logits.astype(np.float64))
    expected = (odds / odds.sum(-1, keepdims=True))[np.arange(30), :, held_out.labels]
    assert np.allclose(fitted.dynamics[fitted.best_epoch - 1], expected, atol=1e-5)


class StopAfter:
    def __init__(self, number):
        self.left = number

    def __call__(self):
        self.left -= 1
        return self.left == 0


def trained(folder, mode, stop=lambda: False):
    folder.mkdir(exist_ok=True)
    builder, stages = prepared()
    settings = TrainingSettings.for_mode(mode, epochs=2, batch_size=8)
    fitted, learner = train(builder, stages, images(40), images(16, seed=1), settings, folder, stop)
    return fitted, learner.weights(), learner.state()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    torch.set_num_threads(1)
    return {mode: trained(tmp_path_factory.mktemp(mode), mode) for mode in ("heads", "joint")}


# heads: 5 and 2 batches of features come first; then, as for joint, 5 steps and 2 batches of validation an epoch
@pytest.mark.parametrize(
    ("mode", "number"), [*(("joint", n) for n in (1, 4, 6, 9, 13)), *(("heads", n) for n in (3, 6, 9, 20))]
)
def test_resuming_gives_bitwise_the_same(tmp_path, uninterrupted, mode, number):
    with pytest.raises(TrainingInterrupted):
        trained(tmp_path / "run", mode, StopAfter(number))
    fitted, weights, state = trained(tmp_path / "run", mode)
    expected, expected_weights, expected_state = uninterrupted[mode]
    assert fitted.epochs == expected.epochs
    assert np.array_equal(fitted.dynamics, expected.dynamics)
    assert np.array_equal(fitted.logits, expected.logits)
    assert weights.keys() == expected_weights.keys()
    assert all(np.array_equal(weights[name], expected_weights[name]) for name in weights)
    assert all(np.array_equal(state[name], expected_state[name]) for name in expected_state)


def test_a_state_holds_the_moments_of_adam_as_arrays():
    builder, stages = prepared()
    learner = builder.learner(stages, frozen=True, **OPTIONS)
    arrays, labels = batch()
    learner.step(learner.features(arrays), labels, (1, 1, 1, 0), 0.01, 0)
    state = learner.state()
    moments = {key.split(" ")[0] for key in state}
    assert moments == {"weight", "exp_avg", "exp_avg_sq", "step"}
    assert all(isinstance(value, np.ndarray) for value in state.values())


def test_parameters_that_the_user_froze_stay_frozen():
    model = network()
    model.stem[0].weight.requires_grad_(False)
    builder, stages = prepared(model)
    learner = builder.learner(stages, frozen=False, **OPTIONS)
    arrays, labels = batch()
    before = model.stem[0].weight.clone(), model.first.conv.weight.clone()
    learner.step(arrays, labels, (1, 1, 1, 1), 0.1, 0)
    assert torch.equal(builder._model.stem[0].weight, before[0])
    assert not torch.equal(builder._model.first.conv.weight, before[1])


def test_heads_may_learn_faster_and_biases_do_not_decay():
    builder, stages = prepared()
    learner = builder.learner(stages, frozen=False, **OPTIONS | {"head_learning_rate_ratio": 20.0})
    groups = learner._optimiser.param_groups
    kinds = {(g["ratio"], g["weight_decay"], p.ndim > 1) for g in groups for p in g["params"]}
    assert kinds == {(1.0, 0.01, True), (1.0, 0.0, False), (20.0, 0.01, True), (20.0, 0.0, False)}
    assert sum(p.numel() for g in groups if g["ratio"] == 20.0 for p in g["params"]) == 3 * (6 * 3 + 3)


def test_weights_tied_across_a_boundary_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 3, padding=1)
            self.stem = nn.Conv2d(1, 6, 1)
            self.again = self.conv
            self.classifier = nn.Linear(6, 3)

        def forward(self, image):
            x = torch.relu(self.conv(self.stem(image)))
            return self.classifier(torch.relu(self.again(x)).mean((2, 3)))

    torch.manual_seed(0)
    builder = TorchFramework().builder(Tied().eval(), EXAMPLE)
    graph = builder.program.graph
    middle = graph.boundary([next(layer.name for layer in graph.layers if layer.name.startswith("relu"))])
    builder.add_head("e", HEAD, middle.tensors[0], 3, 0)
    stages = [Stage("a", None, middle, "e", middle.tensors[0]), Stage("b", middle, None, "final")]
    learner = builder.learner(stages, frozen=False, **OPTIONS)
    arrays, labels = batch()
    assert len([name for name in learner.weights() if name.endswith("weight")]) == 4
    for step in range(3):
        learner.step(arrays, labels, (1, 1), 0.01, step)
    with torch.no_grad():
        own = builder._model.eval()(torch.from_numpy(arrays["image"])).numpy()
    assert np.allclose(learner.logits(arrays)[:, 1], own, atol=1e-6)


def test_a_step_with_a_loss_that_is_not_finite_changes_nothing():
    builder, stages = prepared()
    learner = builder.learner(stages, frozen=True, **OPTIONS)
    arrays, labels = batch()
    features = learner.features(arrays)
    features["late"][3] = np.nan
    before = learner.state()
    losses = learner.step(features, labels, (1, 1, 1, 0), 0.01, 0)
    assert np.isnan(losses[1])
    assert np.isfinite([losses[0], losses[2], losses[3]]).all()
    assert all(np.array_equal(before[name], array) for name, array in learner.state().items())


class Mixed(SmallNet):
    """Another precision inside than outside."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype
        self.to(dtype)

    def forward(self, image):
        return super().forward(image.to(self.dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_heads_on_networks_of_other_precision(tmp_path, dtype):
    torch.manual_seed(0)
    builder, stages = prepared(Mixed(dtype).eval())
    settings = TrainingSettings.for_mode("heads", epochs=3)
    _, learner = train(builder, stages, images(60), images(30, seed=1), settings, tmp_path)
    arrays, _ = batch()
    logits = learner.logits(learner.features(arrays))
    assert logits.dtype == np.float32
    known = dict(arrays)
    found = []
    for number, stage in enumerate(stages):
        passes_on = stage.stop.tensors if stage.stop else ()
        part = builder.stage(stage, passes_on)
        runtime("torch").write(part, tmp_path / f"{number}.pt2")
        known |= runtime("torch").open(tmp_path / f"{number}.pt2").run(known)
        found += [known[stage.exit]] if stage.exit else []
    np.testing.assert_array_equal(np.stack(found, axis=1), logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_of_low_precision_are_not_trained_whole(dtype):
    builder, stages = prepared(Mixed(dtype).eval())
    with pytest.raises(TrainingError, match=r"'.*' is b?float16, too coarse to learn"):
        builder.learner(stages, frozen=False, **OPTIONS)


def test_a_network_that_cannot_be_copied_is_named():
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.ReLU())
    with pytest.raises(CaptureError, match=r"^the Sequential cannot be copied.*parametrizations"):
        TorchFramework().builder(model, torch.randn(2, 4))


class ConstantToo(nn.Module):
    def __init__(self):
        super().__init__()
        self.constant, self.linear = nn.Parameter(torch.ones(4)), nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x), torch.tanh(self.constant)


def test_a_stage_that_leads_to_no_exit_is_refused():
    builder = TorchFramework().builder(ConstantToo(), torch.randn(2, 4))
    graph = builder.program.graph
    unrelated = graph.boundary([graph.tensor(graph.outputs[1]).producer])
    with pytest.raises(PlanError, match="leads to no exit"):
        builder.stage(Stage("mobile", None, unrelated), ())


def test_texts_of_any_length_learn(tmp_path):
    dataset, held_out = sentences(90), sentences(45, seed=1)
    example = dataset.batch(range(3))
    builder = TorchFramework().builder(network(TextNet), {name: torch.from_numpy(x) for name, x in example.items()})
    graph = builder.program.graph
    stop = graph.after("first")
    stages = [Stage("a", None, stop), Stage("b", stop, None, "final")]
    settings = TrainingSettings.for_mode("joint", epochs=8, batch_size=8, learning_rate=0.02)
    fitted, _ = train(builder, stages, dataset, held_out, settings, tmp_path)
    assert max(epoch.accuracy[0] for epoch in fitted.epochs) > 0.6


def test_small_net_has_what_these_tests_rely_on():
    kinds = [type(module) for module in SmallNet().modules()]
    assert kinds.count(nn.BatchNorm2d) == 3
    assert kinds.count(nn.Dropout) == 1
