"""Parts of a Keras network together are the network: at every boundary, at any batch size and length.

Compared with the network compiled by TensorFlow as a whole; it may fuse operations differently in a part, which shows
in the last bits (float16 and bfloat16 layers: in theirs).
"""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_zoo import NETWORKS, TOKENS, answers, final, inputs, network, program, run_parts

from edgepart.errors import GraphError
from edgepart.frameworks import framework, slices

TOLERANCE = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}
#: of every way of branching one; the others take longer
FAST = ("sequential", "residual", "nested", "dicts", "lambda", "masked", "mixed_float16", "tower")
ZOO = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


def assert_parts_equal_whole(name, boundaries, given):
    graph = program(name).graph
    known = run_parts(slices(program(name), boundaries), given)
    for found, wanted in zip(final(graph, known), answers(name, given), strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        largest = np.abs(wanted).max()
        assert np.abs(found.astype(float) - wanted.astype(float)).max() <= TOLERANCE.get(name, 2e-6) * largest
    return known


def random_boundary(graph, draw):
    names = [layer.name for layer in graph.layers]
    while True:
        found = graph.boundary(draw.sample(names, draw.randint(1, max(1, len(names) // 3))))
        if len(found.layers) < len(names):
            return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_zoo_is_no_vacuous_test(name):
    for output in answers(name, inputs(name, 4)):
        assert np.abs(output).max() > 0.05
        assert np.ptp(output.astype(float), axis=0).max() > 0.01


@pytest.mark.parametrize("name", NETWORKS)
def test_one_part_equals_the_whole(name):
    assert_parts_equal_whole(name, [], inputs(name, 3, seed=2))


@pytest.mark.parametrize("name", ZOO)
def test_two_parts_at_every_boundary(name):
    given = inputs(name, 3, seed=1)
    for boundary in program(name).graph.boundaries():
        assert_parts_equal_whole(name, [boundary], given)


@pytest.mark.parametrize("name", ZOO)
def test_other_batch_sizes_and_lengths(name):
    graph, draw = program(name).graph, random.Random(name)
    parts = slices(program(name), [random_boundary(graph, draw)])
    sizes = [(1, {}), (2, {}), (5, {}), *([(2, {"length": 6}), (1, {"length": 14})] if name in TOKENS else [])]
    for batch, size in sizes:
        given = inputs(name, batch, seed=batch, **size)
        known = run_parts(parts, given)
        for found, wanted in zip(final(graph, known), answers(name, given), strict=True):
            assert (
                np.abs(found.astype(float) - wanted.astype(float)).max()
                <= TOLERANCE.get(name, 2e-6) * np.abs(wanted).max()
            )


@pytest.mark.parametrize("name", ZOO)
def test_boundaries_off_the_topological_order_and_three_parts(name):
    graph, draw = program(name).graph, random.Random(name)
    given = inputs(name, 2)
    for _ in range(2):
        first = random_boundary(graph, draw)
        second = graph.boundary({*first.layers, *random_boundary(graph, draw).layers})
        cuts = [first, second] if first.layers < second.layers < set(graph.position) else [first]
        assert_parts_equal_whole(name, cuts, given)


@pytest.mark.parametrize("name", ZOO)
def test_crossing_tensors_are_those_of_the_boundary(name):
    """What a part sends is what the boundary lists, each once, with the bytes that the Graph says."""
    graph, draw = program(name).graph, random.Random(name)
    given = inputs(name, 1)
    for boundary in (random_boundary(graph, draw), graph.boundaries()[-1]):
        first, second = slices(program(name), [boundary])
        assert len(set(boundary.tensors)) == len(boundary.tensors)
        assert set(second.inputs) == set(boundary.tensors)
        assert set(boundary.tensors) - set(graph.inputs) <= set(first.outputs)
        assert set(first.outputs) <= {*boundary.tensors, *graph.outputs}
        assert not set(first.outputs) & set(second.outputs)
        known = run_parts([first], given)
        assert sum(known[tensor].nbytes for tensor in boundary.tensors) == boundary.bytes


@pytest.mark.parametrize("name", NETWORKS)
def test_a_part_holds_only_what_it_uses(name):
    graph = program(name).graph
    boundaries = graph.boundaries()
    for part in slices(program(name), [boundaries[len(boundaries) // 2]]):
        used = {weight for layer in part.layers for weight in graph.layer(layer).parameters}
        assert set(part.parameters) == set(part.variables) == used
        held = {key: int(np.prod(v.shape)) * v.dtype.size for key, v in part.variables.items()}
        assert held == part.parameters
        assert sum(held.values()) == graph.parameter_bytes(part.layers)


def test_a_padded_token_changes_nothing_wherever_the_network_is_cut():
    """The mask of an embedding crosses with what it masks."""
    ids = inputs("masked", 2, seed=5)["ids"]
    longer = np.concatenate([ids, np.zeros((2, 4), "int32")], axis=1)
    for boundary in program("masked").graph.boundaries():
        parts = slices(program("masked"), [boundary])
        short, padded = (final(program("masked").graph, run_parts(parts, {"ids": x})) for x in (ids, longer))
        np.testing.assert_allclose(short[0], padded[0], rtol=1e-4, atol=1e-5)


def test_parts_own_their_weights():
    given = inputs("residual", 2)
    before = answers("residual", given)
    whole = program("residual").slice(None, None)
    for variable in whole.variables.values():
        variable.assign(tf.fill(variable.shape, 3.0))
    np.testing.assert_array_equal(answers("residual", given), before)
    assert np.abs(whole.run(given)[whole.outputs[0]] - before[0]).max() > 0.1


def test_gradients_flow_through_parts_to_the_network_itself():
    model, graph = network("residual"), program("residual").graph
    boundary = graph.boundaries()[6]
    parts = [program("residual").slice(*edges, share=True) for edges in ((None, boundary), (boundary, None))]
    image = tf.constant(inputs("residual", 4)["image"])
    with tf.GradientTape() as tape:
        known = {"image": image}
        for part in parts:
            known |= dict(
                zip(part.outputs, part.function([known[n] for n in part.inputs], training=False), strict=True)
            )
        loss = tf.reduce_sum(known[graph.outputs[0]] ** 2)
    found = tape.gradient(loss, [v.value for v in model.trainable_variables])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(image, training=False) ** 2)
    for gradient, expected in zip(
        found, tape.gradient(loss, [v.value for v in model.trainable_variables]), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_shared_parts_train_as_the_network_does():
    """Dropout draws and batch normalisation takes the batch's own statistics and learns from them."""
    keras.utils.set_random_seed(1)
    x = keras.Input((6,), name="x")
    y = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization(name="norm")(x))
    model = keras.Model(x, keras.layers.Dense(3)(y))
    from edgepart.frameworks import framework

    given = np.random.default_rng(0).normal(3, 2, (64, 6)).astype("float32")
    captured = framework("keras").program(model, given)
    part = captured.slice(None, None, share=True)
    first, second = (part.function([tf.constant(given)], training=True)[0].numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.1
    mean = model.get_layer("norm").moving_mean.numpy()
    np.testing.assert_allclose(mean, given.mean(0) * (1 - 0.99**2), rtol=1e-3)
    with pytest.raises(GraphError, match="share=True"):
        captured.slice(None, None).function([tf.constant(given)], training=True)


def test_wrong_inputs_and_boundaries_are_refused():
    captured = program("residual")
    part, given = captured.slice(None, None), inputs("residual", 2)["image"]
    with pytest.raises(GraphError, match="is missing"):
        part.run({})
    with pytest.raises(GraphError, match="expected float32"):
        part.run({"image": given.astype("float64")})
    with pytest.raises(GraphError, match=r"expected \(batch, 12, 12, 3\)"):
        part.run({"image": given[:, :5]})
    boundary = captured.graph.boundaries()[2]
    with pytest.raises(GraphError, match="no layer between"):
        captured.slice(boundary, boundary)


def test_a_runner_computes_and_checks_beforehand():
    part = program("sequential").slice(None, None)
    given = inputs("sequential", 2)
    [found] = part.runner(given)()
    np.testing.assert_array_equal(found, part.run(given)[part.outputs[0]])
    with pytest.raises(GraphError, match="is missing"):
        part.runner({})


@pytest.mark.parametrize("length", [None, 6])
def test_attention_takes_the_mask_off_what_it_reads(length):
    """The sum after it has no mask then, nor has what follows, although Keras' symbolic tensors do."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((length,), dtype="int32", name="ids")
    x = keras.layers.Embedding(9, 16, mask_zero=True)(ids)
    x = keras.layers.Add(name="residual")([x, keras.layers.MultiHeadAttention(2, 8)(x, x)])
    x = keras.layers.MultiHeadAttention(2, 8)(keras.layers.LayerNormalization()(x), x)
    model = keras.Model(ids, keras.layers.Dense(3)(keras.layers.GlobalMaxPooling1D()(x)))
    padded = np.array([[3, 1, 4, 1, 5, 2], [2, 6, 5, 0, 0, 0]], np.int32)
    captured = framework("keras").program(model, padded)
    parts = slices(captured, [captured.graph.after("residual")])
    found = final(captured.graph, run_parts(parts, {"ids": padded}))
    assert np.abs(found[0] - model.predict(padded, verbose=0)).max() < 1e-6
