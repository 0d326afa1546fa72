"""Learning through a captured Keras network: what a plain loop over the user's own network would do."""

import keras_small
import numpy as np
import pytest
import torch
from keras_small import EXAMPLE, HEAD, batch, images, keras, layers, network, stages
from small_networks import sentences

from edgepart.errors import PlanError, TrainingError, TrainingInterrupted
from edgepart.frameworks.keras import KerasFramework
from edgepart.partitioning.stages import Stage
from edgepart.training import TrainingSettings, train

OPTIONS = {"head_learning_rate_ratio": 1.0, "weight_decay": 0.01, "gradient_norm": 1.0}


def prepared(model=None, exits=("first", "second"), dropout=0.2):
    builder = KerasFramework().builder(model if model is not None else network(), EXAMPLE)
    found = stages(builder.program.graph, exits)
    for stage in found[:-1]:
        # the seed is the exit's own, whichever other exits there are
        builder.add_head(stage.exit, HEAD.format(dropout=dropout), stage.tensor, 3, seed=sum(map(ord, stage.exit)))
    return builder, found


def softmax(logits):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


class PlainLoop:
    """The user's network and heads on the outputs of its layers, Keras' gradients, torch's clipping and AdamW."""

    def __init__(self, model, heads, norm):
        self.model, self.norm, self.linears = model, norm, []
        self.features = keras.Model(model.input, [*(model.get_layer(name).output for name in heads), model.output])
        for weight, bias in heads.values():
            linear = layers.Dense(3)
            linear.build((None, 6))
            linear.set_weights([weight, bias])
            self.linears.append(linear)
        self.variables = [*model.trainable_variables, *(v for x in self.linears for v in x.trainable_variables)]
        self.mirror = [torch.nn.Parameter(torch.from_numpy(v.numpy())) for v in self.variables]
        groups = [
            {"params": [p for p in self.mirror if p.ndim > 1]},
            {"params": [p for p in self.mirror if p.ndim < 2]},
        ]
        groups[1]["weight_decay"] = 0.0
        self.optimiser = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.01)

    def step(self, x, labels, weights):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            *maps, output = self.features(x, training=True)
            answers = [linear(tf.reduce_mean(m, (1, 2))) for linear, m in zip(self.linears, maps, strict=True)]
            entropy = keras.losses.SparseCategoricalCrossentropy
            losses = [entropy(from_logits=True)(labels, answer) for answer in answers]
            losses.append(entropy()(labels, output))
            total = sum(w * loss for w, loss in zip(weights, losses, strict=True))
        for parameter, gradient in zip(self.mirror, tape.gradient(total, self.variables), strict=True):
            parameter.grad = torch.from_numpy(gradient.numpy())
        torch.nn.utils.clip_grad_norm_(self.mirror, self.norm)
        self.optimiser.step()
        for variable, parameter in zip(self.variables, self.mirror, strict=True):
            variable.assign(parameter.detach().numpy())
        return [float(loss) for loss in losses]


def test_steps_are_those_of_a_plain_loop():
    model = network(dropout=0.0)
    builder, cut = prepared(model, dropout=0.0)
    learner = builder.learner(cut, frozen=False, **OPTIONS)
    arrays, labels = batch(24, seed=1)
    before = learner.weights()
    heads = {
        s.exit.removeprefix("at "): [w for n, w in before.items() if n.startswith(f"head:{s.exit}:")] for s in cut[:-1]
    }
    loop = PlainLoop(network(dropout=0.0), heads, 1.0)
    for number in range(3):
        losses = learner.step(arrays, labels, (0.5, 1.0, 2.0), 0.01, number)
        assert losses == pytest.approx(loop.step(arrays["image"], labels, (0.5, 1.0, 2.0)), rel=1e-5)
    trained = learner.weights()
    own = {"/".join(v.path.split("/")[-2:]): v.numpy() for v in loop.model.variables}
    compared = [n for n in trained if not n.startswith("head:")]
    assert len(compared) == len(loop.model.weights)
    for name in compared:
        expected = own["/".join(name.split(".")[-2:])]
        assert np.allclose(trained[name], expected, atol=5e-6), name
        assert not np.array_equal(trained[name], before[name]), name
    for stage, linear in zip(cut, loop.linears, strict=False):
        assert np.allclose(trained[f"head:{stage.exit}:0:kernel"], linear.kernel.numpy(), atol=5e-6)


def test_softmax_at_the_end_is_taken_for_probabilities():
    for activation in ("softmax", None):
        model = network(activation=activation)
        builder, cut = prepared(model)
        arrays, _ = batch()
        logits = builder.learner(cut, frozen=False, **OPTIONS).logits(arrays)
        own = model(arrays["image"]).numpy()
        assert logits.shape == (12, 3, 3)
        assert logits.dtype == np.float32
        assert np.allclose(softmax(logits[:, -1]) if activation else logits[:, -1], own, atol=1e-6)
        assert own.std() > 0.01


def test_parts_give_the_learners_logits():
    builder, cut = prepared()
    learner = builder.learner(cut, frozen=False, **OPTIONS)
    arrays, labels = batch()
    for number in range(3):
        learner.step(arrays, labels, (1, 1, 1), 0.05, number)
    known = dict(arrays)
    for stage in cut:
        part = builder.stage(stage, stage.stop.tensors if stage.stop else ())
        known |= part.run({name: known[name] for name in part.inputs})
    found = np.stack([known[stage.exit] for stage in cut], axis=1)
    assert np.allclose(found, learner.logits(arrays), rtol=1e-5, atol=1e-6)
    assert sum(part.parameters.values()) == sum(v.shape.num_elements() * 4 for v in part.variables.values())


def test_dropout_follows_the_seed_and_is_off_in_logits():
    arrays, labels = batch()
    found = []
    for seed in (3, 3, 4):
        builder, cut = prepared()
        learner = builder.learner(cut, frozen=False, **OPTIONS)
        assert np.array_equal(learner.logits(arrays), learner.logits(arrays))
        # a step of another seed before it must not show
        learner.step(arrays, labels, (1, 1, 1), 0.0, seed=len(found))
        found.append(learner.step(arrays, labels, (1, 1, 1), 0.01, seed))
    assert found[0] == found[1]
    assert all(a != b for a, b in zip(found[0], found[2], strict=True))


def test_batch_normalisation_moves_while_it_learns():
    builder, cut = prepared()
    learner = builder.learner(cut, frozen=False, **OPTIONS)
    arrays, labels = batch()
    before = learner.weights()
    learner.step(arrays, labels, (1, 1, 1), 0.0, 0)
    changed = {name for name, array in learner.weights().items() if not np.array_equal(array, before[name])}
    assert changed == {f"{norm}.moving_{kind}" for norm in ("stem_norm", "block.norm") for kind in ("mean", "variance")}


class Counting(layers.Layer):
    """Has a state that only training touches."""

    def build(self, shape):
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")

    def call(self, x, training=False):
        if training:
            self.seen.assign_add(1.0)
        return x * 1.0


def test_a_state_that_only_training_touches_is_kept():
    image = keras.Input((6, 6, 1), name="image")
    counting = Counting(name="second")
    x = counting(layers.Conv2D(6, 3, name="stem")(image))
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    builder, cut = prepared(model, exits=("second",))
    learner = builder.learner(cut, frozen=False, **OPTIONS)
    arrays, labels = batch()
    for number in range(3):
        learner.step(arrays, labels, (1, 1), 0.01, number)
    learner.logits(arrays)
    assert [array for name, array in learner.weights().items() if "seen" in name] == [3.0]
    assert float(counting.seen.numpy()) == 0.0


def test_layers_that_the_user_froze_stay_frozen():
    model = network()
    model.get_layer("stem").trainable = False
    model.get_layer("block").trainable = False
    builder, cut = prepared(model)
    learner = builder.learner(cut, frozen=False, **OPTIONS)
    arrays, labels = batch()
    before = learner.weights()
    for number in range(2):
        learner.step(arrays, labels, (1, 1, 1), 0.1, number)
    kept = {name for name, array in learner.weights().items() if np.array_equal(array, before[name])}
    assert kept == {name for name in before if name.startswith(("stem.", "block."))}


def test_heads_on_cached_features_learn_as_with_a_frozen_network():
    model = network(dropout=0.0)
    frozen, cut = prepared(model, exits=("second",), dropout=0.0)
    model.trainable = False
    whole, _ = prepared(model, exits=("second",), dropout=0.0)
    arrays, labels = batch()
    learners = [b.learner(cut, frozen=f, **OPTIONS) for b, f in ((frozen, True), (whole, False))]
    given = learners[0].features(arrays), arrays
    assert given[0]["at second"].shape == (12, 6)
    heads = []
    for learner, read in zip(learners, given, strict=True):
        for number in range(4):
            learner.step(read, labels, (1.0, 0.0), 0.05, number)
        heads.append(learner.weights()["head:at second:0:kernel"])
    assert np.allclose(*heads, atol=1e-6)


def test_heads_learn_each_as_if_alone():
    arrays, labels = batch(30)
    found = []
    for exits in (("first", "second"), ("second",)):
        builder, cut = prepared(exits=exits, dropout=0.0)
        learner = builder.learner(cut, frozen=True, **OPTIONS | {"gradient_norm": 0.05})
        features = learner.features(arrays)
        for number in range(5):
            learner.step(features, labels, (*[1.0] * len(exits), 0.0), 0.05, number)
        found.append(learner.weights()["head:at second:0:kernel"])
    assert np.array_equal(*found)


def test_an_exit_without_weight_does_not_even_decay():
    builder, cut = prepared()
    learner = builder.learner(cut, frozen=True, **OPTIONS)
    arrays, labels = batch()
    before = learner.state()
    learner.step(learner.features(arrays), labels, (0.0, 1.0, 0.0), 0.1, 0)
    after = learner.state()
    assert all(np.array_equal(after[name], before[name]) for name in before if "head:at first" in name)
    assert after["step head:at second:0:kernel"] == 1


@pytest.mark.parametrize("frozen", [True, False])
def test_a_step_with_a_loss_that_is_not_finite_changes_nothing(frozen):
    builder, cut = prepared()
    learner = builder.learner(cut, frozen=frozen, **OPTIONS)
    arrays, labels = batch()
    given = learner.features(arrays) if frozen else dict(arrays)
    learner.step(given, labels, (1, 1, 1), 0.01, 0)
    name = "at second" if frozen else "image"
    given[name] = given[name].copy()
    given[name][3] = np.nan
    before = learner.state()
    losses = learner.step(given, labels, (1, 1, 1), 0.01, 1)
    assert np.isnan(losses[1])
    assert equal(learner.state(), before)


def test_a_frozen_network_without_exits_has_nothing_to_learn():
    builder = KerasFramework().builder(network(), EXAMPLE)
    learner = builder.learner([Stage("cloud", None, None, "final")], frozen=True, **OPTIONS)
    arrays, labels = batch()
    features = learner.features(arrays)
    losses = learner.step(features, labels, (1.0,), 0.01, 0)
    expected = -np.log(softmax(features["final"])[np.arange(12), labels]).mean()
    assert losses == pytest.approx([expected], rel=1e-5)
    assert learner.weights() == {}


@pytest.mark.parametrize("mode", ["heads", "joint"])
def test_training_learns_and_leaves_the_users_model_alone(tmp_path, mode):
    model = network()
    before = [variable.numpy() for variable in model.variables]
    builder, cut = prepared(model)
    digest = builder.weights_digest()
    settings = TrainingSettings.for_mode(
        mode, epochs=8, batch_size=16, learning_rate=0.03, head_learning_rate_ratio=1.0
    )
    fitted, _ = train(builder, cut, images(120), images(60, seed=1), settings, tmp_path)
    best = fitted.epochs[fitted.best_epoch - 1].accuracy
    assert min(best[:2] if mode == "heads" else best) > 0.7
    for variable, array in zip(model.variables, before, strict=True):
        assert np.array_equal(variable.numpy(), array), variable.path
    assert (builder.weights_digest() == digest) == (mode == "heads")


class StopAfter:
    def __init__(self, number):
        self.left = number

    def __call__(self):
        self.left -= 1
        return self.left == 0


def trained(folder, mode, stop=lambda: False):
    folder.mkdir(exist_ok=True)
    builder, cut = prepared()
    settings = TrainingSettings.for_mode(mode, epochs=2, batch_size=8)
    fitted, learner = train(builder, cut, images(40), images(16, seed=1), settings, folder, stop)
    return fitted, learner.weights(), learner.state()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return {mode: trained(tmp_path_factory.mktemp(mode), mode) for mode in ("heads", "joint")}


# heads: 5 and 2 batches of features come first; then, as for joint, 5 steps and 2 batches of validation an epoch
@pytest.mark.parametrize(("mode", "number"), [("joint", 4), ("joint", 9), ("heads", 3), ("heads", 9)])
def test_resuming_gives_bitwise_the_same(tmp_path, uninterrupted, mode, number):
    with pytest.raises(TrainingInterrupted):
        trained(tmp_path / "run", mode, StopAfter(number))
    fitted, weights, state = trained(tmp_path / "run", mode)
    expected, expected_weights, expected_state = uninterrupted[mode]
    assert fitted.epochs == expected.epochs
    assert np.array_equal(fitted.dynamics, expected.dynamics)
    assert np.array_equal(fitted.logits, expected.logits)
    assert equal(weights, expected_weights)
    assert equal(state, expected_state)


def test_a_layer_called_on_both_sides_of_a_boundary_stays_one():
    keras.utils.set_random_seed(0)
    image, shared = keras.Input((6, 6, 1), name="image"), layers.Conv2D(6, 3, padding="same", name="shared")
    first = layers.ReLU(name="first")(shared(layers.Conv2D(6, 1, name="stem")(image)))
    second = layers.ReLU(name="second")(shared(first))
    model = keras.Model(image, layers.Dense(3, name="classifier")(layers.GlobalAveragePooling2D()(second)))
    builder, cut = prepared(model, exits=("first",))
    learner = builder.learner(cut, frozen=False, **OPTIONS)
    arrays, labels = batch()
    assert len([name for name in learner.weights() if name.startswith("shared")]) == 2
    for number in range(3):
        learner.step(arrays, labels, (1, 1), 0.01, number)
    parts = [builder.stage(stage, stage.stop.tensors if stage.stop else ()) for stage in cut]
    kernels = [part.variables["shared.kernel"].numpy() for part in parts]
    assert np.array_equal(*kernels)
    assert not np.array_equal(kernels[0], shared.kernel.numpy())


class Reader(keras_small.layers.Layer):
    """One layer of a transformer."""

    def __init__(self, name):
        super().__init__(name=name)
        self.attention = layers.MultiHeadAttention(2, 4, dropout=0.1)
        self.norm = layers.LayerNormalization()

    def call(self, x, training=False):
        return self.norm(x + self.attention(x, x, training=training))


def test_texts_of_any_length_learn(tmp_path):
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int64", name="input_ids")
    mask = keras.Input((None,), dtype="int64", name="attention_mask")
    x = layers.Embedding(20, 8, name="embedding")(ids)
    x = x * keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)
    x = Reader("second")(Reader("first")(x))
    model = keras.Model([ids, mask], layers.Dense(3, name="classifier")(keras.ops.mean(x, axis=1)))
    dataset, held_out = sentences(90), sentences(45, seed=1)
    builder = KerasFramework().builder(model, dataset.batch(range(3)))
    graph = builder.program.graph
    stop = graph.after("first")
    tensor = graph.layer(graph.within("first")[-1]).outputs[0]
    assert builder.classifier(("sequence", 8)) == ["keras.layers.GlobalAveragePooling1D()", "keras.layers.Dense(3)"]
    head = HEAD.format(dropout=0.1).replace("axis=(1, 2)", "axis=1")
    builder.add_head("early", head, tensor, 3, 0)
    cut = [Stage("a", None, stop, "early", tensor), Stage("b", stop, None, "final")]
    settings = TrainingSettings.for_mode("joint", epochs=6, batch_size=8, learning_rate=0.02)
    fitted, learner = train(builder, cut, dataset, held_out, settings, tmp_path)
    assert min(fitted.epochs[fitted.best_epoch - 1].accuracy) > 0.6
    assert len(learner._compiled) == 2
    arrays = held_out.batch(range(5))
    known = dict(arrays)
    for stage in cut:
        part = builder.stage(stage, stage.stop.tensors if stage.stop else ())
        known |= part.run({name: known[name] for name in part.inputs})
    assert np.allclose(np.stack([known["early"], known["final"]], 1), learner.logits(arrays), atol=1e-5)
    router = builder.router(stop, tensor, "attention_mask")
    weight = arrays["attention_mask"][..., None]
    expected = (known[tensor] * weight).sum(1) / weight.sum(1)
    assert np.allclose(router.run(arrays)["embedding"], expected, atol=1e-5)


def test_the_router_averages_over_height_and_width():
    builder, cut = prepared()
    arrays, _ = batch()
    part = builder.stage(cut[0], cut[0].stop.tensors)
    expected = part.run(arrays)[cut[0].tensor].mean((1, 2))
    router = builder.router(cut[0].stop, cut[0].tensor, None)
    assert router.signature.output_names == ("embedding",)
    assert np.allclose(router.run(arrays)["embedding"], expected, atol=1e-6)


def test_a_stage_that_leads_to_no_exit_is_refused():
    image = keras.Input((6, 6, 1), name="image")
    pooled = layers.GlobalAveragePooling2D(name="pool")(image)
    model = keras.Model(image, [layers.Dense(3, name="a")(pooled), layers.Dense(4, name="b")(pooled)])
    builder = KerasFramework().builder(model, EXAMPLE)
    graph = builder.program.graph
    with pytest.raises(PlanError, match="leads to no exit"):
        builder.stage(Stage("mobile", graph.after("a"), graph.boundary(["a", "b"])), ())


def test_networks_of_low_precision_are_not_trained_whole(tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1), name="image")
    x = layers.Conv2D(6, 3, name="second", dtype="float16")(image)
    model = keras.Model(image, layers.Dense(3, dtype="float32")(layers.GlobalAveragePooling2D()(x)))
    builder, cut = prepared(model, exits=("second",))
    with pytest.raises(TrainingError, match=r"^the weight 'second.kernel' is float16, too coarse to learn"):
        builder.learner(cut, frozen=False, **OPTIONS)
    settings = TrainingSettings.for_mode("heads", epochs=3)
    fitted, _ = train(builder, cut, images(60), images(30, seed=1), settings, tmp_path)
    assert fitted.logits.dtype == np.float32
